//! What the gateway asks for: it goes to the line of the device, before the next poll.

use std::cell::RefCell;
use std::time::Duration;

use futures_channel::{mpsc, oneshot};
use ledge_sdk::value::Value;
use ledge_sdk::{Fault, clock};

use crate::write::Encoded;

/// One order, for the device of that number on its line.
pub struct Order {
    pub device: usize,
    /// By the driver's clock.
    pub asked_at: Duration,
    pub what: What,
}

pub enum What {
    /// Points by their number in the mapping, and where their values go.
    Get(Vec<usize>, Answer<Vec<(usize, Value)>>),
    Set(Vec<Encoded>, Answer<()>),
    /// A service: what it writes, what it reads after that, and where these values go.
    Call(Vec<Encoded>, Vec<usize>, Answer<Vec<(usize, Value)>>),
    /// The device's polling interval was changed.
    Interval(Duration),
}

pub type Answer<T> = oneshot::Sender<Result<T, Fault>>;

/// The way to a line.
pub struct Orders(RefCell<mpsc::Sender<Order>>);

/// Orders that may wait for one line.
const WAITING_MAX: usize = 64;

pub fn channel() -> (Orders, mpsc::Receiver<Order>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Orders(RefCell::new(sender)), receiver)
}

impl Orders {
    /// Gives an order and waits for its answer.
    pub async fn ask<T>(&self, device: usize, what: impl FnOnce(Answer<T>) -> What) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        self.give(device, what(answer))?;
        answered.await.unwrap_or_else(|_| Err(Fault::new(Fault::UNKNOWN, "the driver dropped the call")))
    }

    pub fn give(&self, device: usize, what: What) -> Result<(), Fault> {
        let order = Order { device, asked_at: clock::now(), what };
        self.0.borrow_mut().try_send(order).map_err(|_| {
            Fault::new(Fault::TOO_MANY, format!("{WAITING_MAX} calls wait for this device's connection already; try again later"))
        })
    }
}
