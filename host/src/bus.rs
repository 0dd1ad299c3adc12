//! The bus: hands each message to those who want it, without ever waiting for one of them.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use bytes::Bytes;
use parking_lot::RwLock;
use serde_json::Value as Json;
use tokio::sync::mpsc;

use crate::call_path::CallPath;
use crate::name::{FunctionName, ThingId};

/// A message on its way.
#[derive(Debug)]
pub struct Message {
    pub topic: String,
    pub payload: Payload,
    pub source: Source,
    pub kind: Kind,
    /// The calls that led to it, so that a loop of publishers is cut at the call depth.
    pub path: CallPath,
}

/// What a message says. A report becomes text only where somebody wants to read it, and once for all who do.
pub struct Payload(LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>);

impl Payload {
    pub fn made_when_asked(json: impl FnOnce() -> Json + Send + 'static) -> Self {
        Self(LazyLock::new(Box::new(|| json().to_string().into())))
    }

    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl<B: Into<Bytes>> From<B> for Payload {
    fn from(bytes: B) -> Self {
        let bytes = bytes.into();
        Self(LazyLock::new(Box::new(|| bytes)))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Thing(ThingId),
    Function(FunctionName),
    /// An automation rule, by its name.
    Rule(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A report of properties; the payload is `{"<property>": {"value": v, "time": ms}}`.
    Properties,
    /// An event of the TSL; the payload is `{"params": {"value": {...}, "time": ms}}`.
    Event(String),
    /// A thing came online, or went offline; the payload is `{"status": "online"}`, with the thing and the time.
    Status { is_online: bool },
    /// Anything that a function or a rule published.
    Message,
}

/// Somebody who is handed every message. It must take it or leave it at once.
pub trait Sink: Send + Sync {
    fn deliver(&self, message: &Arc<Message>) -> Option<Receipt>;
}

/// Ready once the message is on disk where that was promised, or with why it is not.
pub type Receipt = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A message that was handed out. Dropped, it is on its way all the same.
#[must_use]
pub struct Published(Vec<Receipt>);

impl Published {
    pub fn new(receipts: Vec<Receipt>) -> Self {
        Self(receipts)
    }

    /// Waits until everybody who promised to keep the message has it on disk.
    pub async fn kept(self) -> Result<(), String> {
        for receipt in self.0 {
            receipt.await?;
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct Bus {
    sinks: RwLock<Vec<Weak<dyn Sink>>>,
}

impl Bus {
    /// Hands messages to `sink` from now on, until its last `Arc` is dropped.
    pub fn attach(&self, sink: &Arc<dyn Sink>) {
        let mut sinks = self.sinks.write();
        sinks.retain(|sink| sink.strong_count() > 0);
        sinks.push(Arc::downgrade(sink));
    }

    pub fn publish(&self, message: Message) -> Published {
        let message = Arc::new(message);
        let (mut receipts, mut gone) = (Vec::new(), false);
        for sink in self.sinks.read().iter() {
            match sink.upgrade() {
                Some(sink) => receipts.extend(sink.deliver(&message)),
                None => gone = true,
            }
        }
        if gone {
            self.sinks.write().retain(|sink| sink.strong_count() > 0);
        }
        Published(receipts)
    }

    /// A bounded stream of the messages that `wanted` picks. A reader who is slow misses messages and can say how many.
    pub fn subscribe(&self, wanted: impl Fn(&Message) -> bool + Send + Sync + 'static, capacity: usize) -> Subscription {
        let (sender, messages) = mpsc::channel(capacity);
        let mailbox = Arc::new(Mailbox { wanted: Box::new(wanted), sender, missed: AtomicU64::new(0) });
        let sink: Arc<dyn Sink> = mailbox.clone();
        self.attach(&sink);
        Subscription { mailbox, messages }
    }
}

pub struct Subscription {
    mailbox: Arc<Mailbox>,
    messages: mpsc::Receiver<Arc<Message>>,
}

impl Subscription {
    pub async fn next(&mut self) -> Option<Arc<Message>> {
        self.messages.recv().await
    }

    /// The next message, if it is there already.
    pub fn try_next(&mut self) -> Option<Arc<Message>> {
        self.messages.try_recv().ok()
    }

    /// How many messages did not fit since the subscription began.
    pub fn missed(&self) -> u64 {
        self.mailbox.missed.load(Ordering::Relaxed)
    }
}

struct Mailbox {
    wanted: Box<dyn Fn(&Message) -> bool + Send + Sync>,
    sender: mpsc::Sender<Arc<Message>>,
    missed: AtomicU64,
}

impl Sink for Mailbox {
    fn deliver(&self, message: &Arc<Message>) -> Option<Receipt> {
        if (self.wanted)(message) && self.sender.try_send(message.clone()).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        None
    }
}
