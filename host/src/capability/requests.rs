//! `requests`: what is asked of drivers, and how those that block come by it.
//!
//! A driver that does not block is called instead (`device`); the requests are the same.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::Guest;
use super::thing_access::DriverConfig;
use super::values::convert;
use crate::bindings::blocking::ledge::edge::requests;
use crate::bindings::types;
use crate::name::ThingId;
use crate::thing::Turn;
use crate::thing::fault::Fault;
use crate::thing::value::Property;

/// A call into a driver's instance, and where its answer goes. An answer that nobody waits for any more is given up.
pub enum Request {
    Get { turn: Turn, thing: ThingId, identifiers: Vec<String>, answer: oneshot::Sender<Result<Vec<Property>, Fault>> },
    Set { turn: Turn, thing: ThingId, properties: Vec<Property>, answer: oneshot::Sender<Result<(), Fault>> },
    Call { turn: Turn, thing: ThingId, service: String, arguments: Vec<Property>, answer: oneshot::Sender<Result<Vec<Property>, Fault>> },
    Configure { config: Arc<DriverConfig>, answer: oneshot::Sender<Result<(), Fault>> },
}

impl Request {
    /// That of its thing, if it is about one.
    pub fn turn(&mut self) -> Option<&mut Turn> {
        match self {
            Self::Get { turn, .. } | Self::Set { turn, .. } | Self::Call { turn, .. } => Some(turn),
            Self::Configure { .. } => None,
        }
    }
}

/// The interface's part of a Store.
#[derive(Default)]
pub struct Requests {
    pub waiting: Arc<Waiting>,
    /// Those that were taken and not answered.
    taken: HashMap<u64, Answer>,
    last: u64,
}

/// Requests that the driver has not taken.
#[derive(Default)]
pub struct Waiting {
    requests: Mutex<VecDeque<Request>>,
    came: Notify,
    went: Notify,
}

/// How many may wait here. The others wait where they are answered that there are too many.
const WAITING_MAX: usize = 8;

impl Waiting {
    /// Brings in what is asked, until nobody can ask any more.
    pub async fn bring(&self, mut asked: mpsc::Receiver<Request>) {
        loop {
            let went = self.went.notified();
            if self.requests.lock().len() >= WAITING_MAX {
                went.await;
                continue;
            }
            let Some(request) = asked.recv().await else { return };
            self.requests.lock().push_back(request);
            self.came.notify_waiters();
        }
    }

    fn take(&self) -> Option<Request> {
        let taken = self.requests.lock().pop_front();
        self.went.notify_waiters();
        taken
    }
}

/// What the guest polls.
struct Arrival(Arc<Waiting>);

#[wasmtime_wasi::async_trait]
impl Pollable for Arrival {
    async fn ready(&mut self) {
        loop {
            let came = self.0.came.notified();
            if !self.0.requests.lock().is_empty() {
                return;
            }
            came.await;
        }
    }
}

/// Where an answer goes, by what was asked for, and the turn that has ended then. A change of the configuration has none.
enum Answer {
    Values(Turn, oneshot::Sender<Result<Vec<Property>, Fault>>),
    Done(Option<Turn>, oneshot::Sender<Result<(), Fault>>),
}

impl Answer {
    /// Whether somebody waits for it.
    fn is_awaited(&self) -> bool {
        match self {
            Self::Values(_, answer) => !answer.is_closed(),
            Self::Done(_, answer) => !answer.is_closed(),
        }
    }

    fn send(self, answer: Result<Vec<Property>, Fault>) -> bool {
        match self {
            Self::Values(_turn, to) => to.send(answer).is_ok(),
            Self::Done(_turn, to) => to.send(answer.map(drop)).is_ok(),
        }
    }
}

/// A view of a Store: the requests, the configuration that one of them may change, and the table of its handles.
pub struct View<'a> {
    pub requests: &'a mut Requests,
    pub config: &'a mut Arc<DriverConfig>,
    pub guest: &'a Arc<Guest>,
    pub table: &'a mut ResourceTable,
    /// That the driver answered is a sign of life.
    pub answered: &'a mut bool,
}

pub struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a>;
}

pub fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&mut T) -> View<'_>) -> wasmtime::Result<()> {
    requests::add_to_linker::<T, Linked>(linker, get)
}

impl requests::Host for View<'_> {
    async fn subscribe(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let arrival = self.table.push(Arrival(self.requests.waiting.clone()))?;
        subscribe(self.table, arrival)
    }

    async fn wait(&mut self, at_most: u64) -> bool {
        let mut arrival = Arrival(self.requests.waiting.clone());
        tokio::time::timeout(Duration::from_nanos(at_most), arrival.ready()).await.is_ok()
    }

    async fn take(&mut self) -> Option<(u64, requests::Request)> {
        while let Some(request) = self.requests.waiting.take() {
            let (asked, answer) = self.asked(request);
            if !answer.is_awaited() {
                continue;
            }
            // Those whose askers are gone would pile up in a driver that never answers.
            self.requests.taken.retain(|_, answer| answer.is_awaited());
            self.requests.last += 1;
            self.requests.taken.insert(self.requests.last, answer);
            return Some((self.requests.last, asked));
        }
        None
    }

    async fn answer(&mut self, id: u64, answer: Result<Vec<types::Property>, types::Fault>) -> bool {
        *self.answered = true;
        let Some(to) = self.requests.taken.remove(&id) else {
            self.guest.tell(None, &format!("answers request {id}, which it has answered before, or too late, or never took"));
            return false;
        };
        to.send(answer.map(convert).map_err(Fault::from))
    }
}

impl View<'_> {
    /// A request as the guest sees it.
    fn asked(&mut self, request: Request) -> (requests::Request, Answer) {
        match request {
            Request::Get { turn, thing, identifiers, answer } => {
                (requests::Request::GetProperties(requests::GetRequest { thing: thing.into(), identifiers }), Answer::Values(turn, answer))
            }
            Request::Set { turn, thing, properties, answer } => {
                let asked = requests::SetRequest { thing: thing.into(), properties: convert(properties) };
                (requests::Request::SetProperties(asked), Answer::Done(Some(turn), answer))
            }
            Request::Call { turn, thing, service, arguments, answer } => {
                let asked = requests::CallRequest { thing: thing.into(), service, arguments: convert(arguments) };
                (requests::Request::CallService(asked), Answer::Values(turn, answer))
            }
            Request::Configure { config, answer } => {
                let whole = config.whole.clone();
                *self.config = config;
                (requests::Request::ConfigChanged(whole), Answer::Done(None, answer))
            }
        }
    }
}
