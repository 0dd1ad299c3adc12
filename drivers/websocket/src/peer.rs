//! One connection, from its acceptance to its end: what it is heard to say, what it is told, and whether it is still there.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::time::Duration;

use ledge_sdk::Fault;
use ledge_sdk::clock;
use ledge_sdk::listen::Connection;

use crate::frames::{Close, Event, Frames};
use crate::places::Taken;
use crate::rate::Rate;
use crate::registry::PeerId;
use crate::replies::Replies;
use crate::settings::Settings;
use crate::slot::Slot;

pub struct Peer {
    pub id: PeerId,
    pub name: String,
    pub ip: IpAddr,
    pub replies: RefCell<Replies>,
    connection: Connection,
    frames: RefCell<Frames>,
    messages: RefCell<Rate>,
    bytes: RefCell<Rate>,
    began: Duration,
    heard: Cell<Duration>,
    /// It is told so, and has no place.
    pub is_refused: bool,
    /// Since when it has no device online, if it has none.
    idle_since: Cell<Option<Duration>>,
    /// Whether it ever had one.
    had_device: Cell<bool>,
    /// Since when it is over and only its last bytes are on their way.
    over_since: Cell<Option<Duration>>,
    /// Questions whether it is there, since it was heard last.
    pings: Cell<u32>,
    was_slowed: Cell<bool>,
    /// There is something to write, or nothing more will come.
    work: Slot<()>,
    is_gone: Cell<bool>,
}

/// Unanswered pings after which a peer is gone.
const PINGS_MAX: u32 = 2;
/// Bytes that may wait for a peer that does not read them.
const OUTGOING_BYTES_MAX: usize = 256 << 10;
/// What one connection may send in a second, besides the limit of messages.
const BYTES_PER_S: u32 = 1 << 20;
/// How long the last bytes may take: closed at once, a peer that is still sending would not see them.
const LINGER: Duration = Duration::from_secs(2);
const READ_BYTES: u32 = 16 << 10;
/// What one host call carries: well within the limit `host_call_bytes`.
const WRITE_BYTES: usize = 16 << 10;

impl Peer {
    /// `refusal` is what it is told in place of being let in.
    pub fn new(id: PeerId, connection: Connection, refusal: Option<String>, settings: &Settings) -> Self {
        let (peer, now) = (connection.peer(), clock::now());
        Self {
            id,
            name: peer.to_string(),
            ip: peer.ip(),
            is_refused: refusal.is_some(),
            replies: RefCell::default(),
            connection,
            frames: RefCell::new(Frames::new(refusal, settings.origins.clone())),
            messages: RefCell::new(Rate::new(settings.messages_per_s, now)),
            bytes: RefCell::new(Rate::new(BYTES_PER_S, now)),
            began: now,
            heard: Cell::new(now),
            idle_since: Cell::new(Some(now)),
            had_device: Cell::new(false),
            over_since: Cell::new(None),
            pings: Cell::new(0),
            was_slowed: Cell::new(false),
            work: Slot::default(),
            is_gone: Cell::new(false),
        }
    }

    /// What it says next. Nothing once it is over.
    pub async fn hear(&self) -> Option<Event> {
        loop {
            let event = self.frames.borrow_mut().next();
            // Pongs wait as well.
            if self.frames.borrow().waiting() > OUTGOING_BYTES_MAX {
                self.connection.close();
                return None;
            }
            self.wake_writer();
            match event {
                Some(Event::Text(_) | Event::Alive) => {
                    let pause = self.messages.borrow_mut().take(1, clock::now());
                    self.slow_down(pause).await;
                }
                Some(_) => {}
                None if self.frames.borrow().is_over() => return None,
                None => {
                    let bytes = self.read().await?;
                    let pause = self.bytes.borrow_mut().take(bytes.len(), clock::now());
                    self.slow_down(pause).await;
                    self.frames.borrow_mut().feed(&bytes);
                    continue;
                }
            }
            return event;
        }
    }

    async fn read(&self) -> Option<Vec<u8>> {
        let bytes = self.connection.read(READ_BYTES).await.ok().filter(|bytes| !bytes.is_empty())?;
        self.heard.set(clock::now());
        self.pings.set(0);
        Some(bytes)
    }

    async fn slow_down(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        if !self.was_slowed.replace(true) {
            println!("{} sends too much at once: it is read more slowly from here on", self.name);
        }
        clock::sleep(time).await;
        // The time that it waited here is no silence of its own.
        self.heard.set(clock::now());
    }

    /// Lets its last words reach it, and what it still sends go nowhere.
    pub async fn linger(&self) {
        self.frames.borrow_mut().end();
        self.wake_writer();
        while self.read().await.is_some() {}
        self.is_gone.set(true);
        self.wake_writer();
    }

    /// Writes what is to be said until there is nothing more to come.
    pub async fn write(&self) {
        let mut is_finished = false;
        loop {
            let bytes = self.frames.borrow_mut().take();
            if !bytes.is_empty() {
                for piece in bytes.chunks(WRITE_BYTES) {
                    if self.connection.write_all(piece.to_vec()).await.is_err() {
                        self.connection.close();
                        return;
                    }
                }
            } else if self.is_gone.get() {
                return;
            } else if self.frames.borrow().is_over() && !is_finished {
                is_finished = true;
                let _ = self.connection.finish().await;
            } else {
                self.work.take().await;
            }
        }
    }

    fn wake_writer(&self) {
        self.work.put(());
    }

    /// Fault: the peer does not read, and is closed.
    pub fn send(&self, text: String) -> Result<(), Fault> {
        let mut frames = self.frames.borrow_mut();
        frames.send(text);
        if frames.waiting() > OUTGOING_BYTES_MAX {
            self.connection.close();
            let message =
                format!("the device's connection does not read what it is sent; {OUTGOING_BYTES_MAX} bytes wait, so it is closed");
            return Err(Fault::new(Fault::DEVICE_OFFLINE, message));
        }
        drop(frames);
        self.wake_writer();
        Ok(())
    }

    /// Says goodbye.
    pub fn close(&self, close: Close, reason: &str) {
        self.frames.borrow_mut().close(close, reason);
        self.wake_writer();
    }

    /// Closes at once, without a word.
    pub fn drop_now(&self) {
        self.frames.borrow_mut().end();
        self.connection.close();
    }

    /// Gives its place to another, and says so where it can be said.
    pub fn give_way(&self) {
        if self.frames.borrow().is_opening() {
            return self.drop_now();
        }
        self.close(Close::Full, "all places are taken, and no device is online on this connection; try again later");
    }

    /// Its place, unless it is on its way out.
    pub fn place(&self) -> Option<Taken> {
        let has_place = !self.is_refused && !self.frames.borrow().is_over();
        has_place.then(|| Taken { id: self.id, ip: self.ip, has_device: self.idle_since.get().is_none() })
    }

    /// Notes whether a device is online on it.
    pub fn has_device(&self, has_one: bool) {
        let since = if has_one { None } else { Some(self.idle_since.get().unwrap_or_else(clock::now)) };
        self.idle_since.set(since);
        self.had_device.set(self.had_device.get() || has_one);
    }

    /// Looks whether anything has taken too long.
    pub fn look(&self, now: Duration, settings: &Settings) {
        self.replies.borrow_mut().expire(now);
        let (is_opening, is_over) = (self.frames.borrow().is_opening(), self.frames.borrow().is_over());
        if is_over {
            let since = self.over_since.get().unwrap_or(now);
            self.over_since.set(Some(since));
            if now - since > LINGER {
                self.connection.close();
            }
        } else if is_opening && now - self.began > settings.handshake.min(settings.online) {
            self.drop_now();
        } else if !is_opening && self.has_idled(now, settings) {
            self.close(Close::Policy, "no device came online on this connection in time");
        } else if !is_opening && now.saturating_sub(self.heard.get()) > settings.ping * (self.pings.get() + 1) {
            self.ask_whether_it_is_there();
        }
    }

    pub fn had_device(&self) -> bool {
        self.had_device.get()
    }

    /// Whatever else it sends: only a device that comes online counts.
    fn has_idled(&self, now: Duration, settings: &Settings) -> bool {
        let most = if self.had_device.get() { settings.idle } else { settings.online };
        self.idle_since.get().is_some_and(|since| now.saturating_sub(since) > most)
    }

    fn ask_whether_it_is_there(&self) {
        if self.pings.get() >= PINGS_MAX {
            println!("{} does not answer: {PINGS_MAX} pings had no reply, so it is closed", self.name);
            self.connection.close();
            return;
        }
        self.pings.set(self.pings.get() + 1);
        self.frames.borrow_mut().ping();
        self.wake_writer();
    }
}
