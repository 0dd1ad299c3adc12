//! Devices that connect to the gateway over WebSocket and speak the original's JSON protocol (README.md).
//!
//! One task looks after all connections: each is read and written beside the others, and none waits for another. What is pure is in
//! modules of its own, which know neither sockets nor the gateway.

mod frames;
mod message;
mod peer;
mod places;
mod rate;
mod registry;
mod replies;
mod settings;
mod slot;
mod told;
mod value;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join;
use futures_util::stream::FuturesUnordered;
use ledge_sdk::device::Driver;
use ledge_sdk::listen::{Connection, Listener};
use ledge_sdk::serde_json::{self, Value as Json, json};
use ledge_sdk::thing_access::{self, Thing};
use ledge_sdk::value::Properties;
use ledge_sdk::{Error, Fault, ThingId, clock};

use crate::frames::{Close, Event};
use crate::message::{Incoming, Request};
use crate::peer::Peer;
use crate::places::{Taken, Verdict};
use crate::registry::{PeerId, Registry};
use crate::settings::Settings;
use crate::told::Told;

ledge_sdk::driver!(WebSocket);

#[derive(Default)]
struct WebSocket {
    settings: OnceCell<Settings>,
    registry: RefCell<Registry>,
    peers: RefCell<BTreeMap<PeerId, Rc<Peer>>>,
    /// The handles of those that are online.
    things: RefCell<BTreeMap<ThingId, Rc<Thing>>>,
    last_peer: Cell<PeerId>,
    strangers: RefCell<Told>,
}

/// What the driver waits for, of which any may come next.
enum Happened {
    Accepted(Result<Connection, Fault>),
    Ended(PeerId),
    Tick,
}

type Waiting<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Happened> + 'a>>>;

/// How exact times are.
const TICK: Duration = Duration::from_millis(250);
/// Connections that are refused or over, and have yet to be told. With one more, the first of them is closed without a word: they are
/// places too, of the driver's limit `connections`.
const LEAVING_MAX: usize = 32;
/// After a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Driver for WebSocket {
    async fn run(&self) -> Result<(), Error> {
        let config = thing_access::driver_config().await?;
        self.registry.replace(Registry::new(&config.devices)?);
        let settings = Settings::read(&config)?;
        let listener = Listener::open(&settings.listen).await?;
        println!("devices connect to {}", listener.address());
        let settings = self.settings.get_or_init(|| settings);

        let waiting: Waiting = FuturesUnordered::new();
        waiting.push(Box::pin(accept(&listener)));
        self.attend(waiting, &listener, settings).await;
        Ok(())
    }

    async fn get_properties(&self, thing: &ThingId, identifiers: Vec<String>) -> Result<Properties, Fault> {
        let payload = self.ask(thing, "getProperty", json!({"properties": &identifiers})).await?;
        let values = message::values(&payload["properties"], "properties")?;
        let missing = message::missing(&identifiers, &values);
        if !missing.is_empty() && (missing.len() == identifiers.len() || are_named(thing, &identifiers).await) {
            return Err(message::without(&missing));
        }
        Ok(values)
    }

    async fn set_properties(&self, thing: &ThingId, properties: Properties) -> Result<(), Fault> {
        self.ask(thing, "setProperty", json!({"properties": value::to_list(&properties)})).await.map(drop)
    }

    async fn call_service(&self, thing: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        // The original's own client ignores a call without `inputData`.
        let more = json!({"identifier": service, "inputData": value::to_list(&arguments)});
        let payload = self.ask(thing, "callService", more).await?;
        match &payload["outputData"] {
            Json::Null => Ok(Properties::new()),
            outputs => message::values(outputs, "outputData"),
        }
    }
}

/// Whether somebody has asked for these by their names. The gateway asks for all that can be read where nobody has named any.
async fn are_named(thing: &ThingId, identifiers: &[String]) -> bool {
    let tsl = thing_access::get_tsl(&thing.product_key).await.ok();
    let tsl: Json = tsl.and_then(|tsl| serde_json::from_str(&tsl).ok()).unwrap_or_default();
    let is_readable = |property: &&Json| property["accessMode"].as_str().is_some_and(|access| access.contains('r'));
    identifiers.len() < tsl["properties"].as_array().into_iter().flatten().filter(is_readable).count()
}

async fn accept(listener: &Listener) -> Happened {
    Happened::Accepted(listener.accept().await)
}

impl WebSocket {
    /// Goes on for as long as the driver lives.
    async fn attend<'a>(&'a self, mut waiting: Waiting<'a>, listener: &'a Listener, settings: &'a Settings) {
        let mut is_ticking = false;
        while let Some(happened) = waiting.next().await {
            match happened {
                Happened::Accepted(Ok(connection)) => {
                    let peer = self.welcome(connection, settings);
                    waiting.push(Box::pin(self.serve(peer)));
                    waiting.push(Box::pin(accept(listener)));
                }
                Happened::Accepted(Err(fault)) => {
                    println!("a connection could not be taken: {fault}");
                    waiting.push(Box::pin(async {
                        clock::sleep(ACCEPT_PAUSE).await;
                        accept(listener).await
                    }));
                }
                Happened::Ended(id) => {
                    self.peers.borrow_mut().remove(&id);
                }
                Happened::Tick => {
                    is_ticking = false;
                    let now = clock::now();
                    self.peers.borrow().values().for_each(|peer| peer.look(now, settings));
                }
            }
            // Where nobody is connected, there is nothing to look at.
            if !is_ticking && !self.peers.borrow().is_empty() {
                is_ticking = true;
                waiting.push(Box::pin(async {
                    clock::sleep(TICK).await;
                    Happened::Tick
                }));
            }
        }
    }

    fn welcome(&self, connection: Connection, settings: &Settings) -> Rc<Peer> {
        let from = connection.peer();
        let taken: Vec<Taken> = self.peers.borrow().values().filter_map(|peer| peer.place()).collect();
        let refusal = match places::find(from.ip(), &taken, settings) {
            Verdict::Free => None,
            Verdict::InPlaceOf(id) => {
                if let Some(other) = self.peers.borrow().get(&id) {
                    self.tell(format_args!("{} has no device online and gives its place to {from}", other.name));
                    other.give_way();
                }
                None
            }
            Verdict::Refused(why) => {
                self.tell(format_args!("{from} is refused: {why}"));
                Some(why)
            }
        };
        self.hurry();
        let id = self.last_peer.get() + 1;
        self.last_peer.set(id);
        let peer = Rc::new(Peer::new(id, connection, refusal, settings));
        self.peers.borrow_mut().insert(id, peer.clone());
        peer
    }

    /// Says something of those who have brought no device online.
    fn tell(&self, line: std::fmt::Arguments) {
        if let Some(line) = self.strangers.borrow_mut().line(line, clock::now()) {
            println!("{line}");
        }
    }

    /// Makes room among those who are leaving.
    fn hurry(&self) {
        let peers = self.peers.borrow();
        let leaving: Vec<&Rc<Peer>> = peers.values().filter(|peer| peer.place().is_none()).collect();
        leaving.iter().take((leaving.len() + 1).saturating_sub(LEAVING_MAX)).for_each(|peer| peer.drop_now());
    }

    async fn serve(&self, peer: Rc<Peer>) -> Happened {
        let listen = async {
            while let Some(event) = peer.hear().await {
                match event {
                    Event::Text(text) => self.handle(&peer, &text).await,
                    Event::Ended(why) if peer.had_device() => println!("{} ended: {why}", peer.name),
                    Event::Ended(_) if peer.is_refused => {}
                    Event::Ended(why) => self.tell(format_args!("{} ended: {why}", peer.name)),
                    Event::Opened | Event::Alive => {}
                }
            }
            self.lose(&peer);
            peer.linger().await;
        };
        join(listen, peer.write()).await;
        Happened::Ended(peer.id)
    }

    async fn handle(&self, peer: &Rc<Peer>, text: &str) {
        let (id, done) = match message::parse(text) {
            Incoming::Reply(id, reply) => return peer.replies.borrow_mut().came(id, reply),
            Incoming::Wrong(id, fault) => (id, Err(fault)),
            Incoming::Request(id, request) => (id, self.act(peer, request).await),
        };
        // Who does not read is closed, and that is all that there is to say.
        let _ = peer.send(message::reply(id, &done));
    }

    async fn act(&self, peer: &Rc<Peer>, request: Request) -> Result<(), Fault> {
        match request {
            Request::Online(thing) => self.bring_online(peer, thing).await,
            Request::Offline(thing) => {
                self.registry.borrow().check(&thing, peer.id)?;
                self.take_offline(&thing);
                peer.replies.borrow_mut().cancel(Some(&thing), "the device went offline before it replied");
                peer.has_device(!self.registry.borrow().on(peer.id).is_empty());
                Ok(())
            }
            Request::Properties(thing, values, wrong) => {
                // Of a report with some bad values, the good ones are kept: both by the gateway and here.
                let reported = match self.thing(&thing, peer)? {
                    _ if values.is_empty() && !wrong.is_empty() => Ok(()),
                    handle => handle.report_properties(values).await,
                };
                left_out(reported, wrong)
            }
            Request::Event(thing, event, outputs) => self.thing(&thing, peer)?.report_event(&event, outputs).await,
        }
    }

    async fn bring_online(&self, peer: &Rc<Peer>, thing: ThingId) -> Result<(), Fault> {
        self.registry.borrow().may_come(&thing, peer.ip)?;
        // A second handle of a thing that is online already: it stays so while its connection changes.
        let handle = Thing::register_by_device_name(&thing.product_key, &thing.device_name).await?;
        if peer.place().is_none() {
            return Err(Fault::new(Fault::DEVICE_OFFLINE, "the connection was closed meanwhile"));
        }
        let loser = self.registry.borrow_mut().claim(&thing, peer.id);
        self.things.borrow_mut().insert(thing.clone(), Rc::new(handle));
        peer.has_device(true);
        let Some(loser) = loser.and_then(|loser| self.peers.borrow().get(&loser).cloned()) else { return Ok(()) };
        println!("device `{thing}` was online from {} and is taken over by {}", loser.name, peer.name);
        loser.replies.borrow_mut().cancel(Some(&thing), "the device was taken over by another connection before it replied");
        let has_others = !self.registry.borrow().on(loser.id).is_empty();
        loser.has_device(has_others);
        if !has_others {
            loser.close(Close::TakenOver, &format!("device {thing} came online on another connection"));
        }
        Ok(())
    }

    /// The handle of a thing that is online on this connection.
    fn thing(&self, thing: &ThingId, peer: &Peer) -> Result<Rc<Thing>, Fault> {
        self.registry.borrow().check(thing, peer.id)?;
        let handle = self.things.borrow().get(thing).cloned();
        handle.ok_or_else(|| Fault::new(Fault::DEVICE_OFFLINE, format!("device `{thing}` is offline")))
    }

    fn take_offline(&self, thing: &ThingId) {
        self.registry.borrow_mut().release(thing);
        // Its last handle.
        self.things.borrow_mut().remove(thing);
    }

    /// The connection is over: its devices are offline at once.
    fn lose(&self, peer: &Peer) {
        let things = self.registry.borrow().on(peer.id);
        things.iter().for_each(|thing| self.take_offline(thing));
        peer.replies.borrow_mut().cancel(None, "the device's connection ended before it replied");
    }

    /// Asks a device, and waits for its reply.
    async fn ask(&self, thing: &ThingId, method: &'static str, more: Json) -> Result<Json, Fault> {
        let offline = || Fault::new(Fault::DEVICE_OFFLINE, format!("device `{thing}` is not connected"));
        let settings = self.settings.get().ok_or_else(offline)?;
        let id = self.registry.borrow().peer_of(thing).ok_or_else(offline)?;
        let peer = self.peers.borrow().get(&id).cloned().ok_or_else(offline)?;
        let (id, answer) = peer.replies.borrow_mut().expect(thing, method, clock::now() + settings.reply)?;
        peer.send(message::request(id, method, thing, more))?;
        answer.take().await
    }
}

/// A report's verdict, and what was wrong with values that never got there.
fn left_out(reported: Result<(), Fault>, wrong: Vec<String>) -> Result<(), Fault> {
    if wrong.is_empty() {
        return reported;
    }
    let wrong = format!("left out: {}", wrong.join("; "));
    match reported {
        Ok(()) => Err(Fault::new(Fault::INVALID_PARAM, wrong)),
        Err(fault) => Err(Fault::new(fault.code, format!("{}; {wrong}", fault.message))),
    }
}
