//! What the gateway asks for: it goes to the line of the device, before the next poll.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::{mpsc, oneshot};
use ledge_sdk::value::Value;
use ledge_sdk::{Fault, clock};

use crate::device::Device;
use crate::write::Encoded;

/// One order, for the device of that number.
pub struct Order {
    pub device: usize,
    /// By the driver's clock.
    pub asked_at: Duration,
    pub what: What,
    /// Its place among those that wait.
    _place: Option<Place>,
}

pub enum What {
    /// Points by their number in the mapping, and where their values go.
    Get(Vec<usize>, Answer<Got>),
    Set(Vec<Encoded>, Answer<()>),
    /// A service: what it writes, what it reads after that, and where these values go.
    Call(Vec<Encoded>, Vec<usize>, Answer<Vec<(usize, Value)>>),
    /// The device's polling interval was changed.
    Interval(Duration),
    /// The device is on this line from now on.
    Add(Box<Device>),
    /// It no longer is.
    Remove,
}

/// What there is of the values that were asked for, and why the first of those is missing that are.
pub type Got = (Vec<(usize, Value)>, Option<Fault>);

pub type Answer<T> = oneshot::Sender<Result<T, Fault>>;

/// The way to a line.
pub struct Orders {
    sender: mpsc::UnboundedSender<Order>,
    waiting: Rc<Cell<usize>>,
}

/// Lets the next one in when it is dropped.
struct Place(Rc<Cell<usize>>);

/// Calls that may wait for one line.
const WAITING_MAX: usize = 64;

pub fn channel() -> (Orders, mpsc::UnboundedReceiver<Order>) {
    let (sender, receiver) = mpsc::unbounded();
    (Orders { sender, waiting: Rc::default() }, receiver)
}

impl Orders {
    /// Gives an order and waits for its answer.
    pub async fn ask<T>(&self, device: usize, what: impl FnOnce(Answer<T>) -> What) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let place = self.place().ok_or_else(|| {
            Fault::new(Fault::TOO_MANY, format!("{WAITING_MAX} calls wait for this device's connection already; try again later"))
        })?;
        self.give(device, what(answer), Some(place));
        answered.await.unwrap_or_else(|_| Err(Fault::new(Fault::UNKNOWN, "the driver dropped the call: the device was moved or removed")))
    }

    /// Tells the line that the configuration was changed. No such order is lost, however many calls wait.
    pub fn tell(&self, device: usize, what: What) {
        self.give(device, what, None);
    }

    fn give(&self, device: usize, what: What, place: Option<Place>) {
        // A line that has ended has no devices any more.
        let _ = self.sender.unbounded_send(Order { device, asked_at: clock::now(), what, _place: place });
    }

    fn place(&self) -> Option<Place> {
        let waiting = self.waiting.get();
        (waiting < WAITING_MAX).then(|| {
            self.waiting.set(waiting + 1);
            Place(self.waiting.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_calls_wait_and_a_place_that_is_left_is_taken_again() {
        let (orders, _receiver) = channel();
        let mut places: Vec<Place> = (0..WAITING_MAX).map(|_| orders.place().unwrap()).collect();
        assert!(orders.place().is_none());
        places.pop();
        assert!(orders.place().is_some());
    }
}
