//! A place for one value that somebody waits for. One side puts it in, the other takes it out.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

pub struct Slot<T> {
    value: Cell<Option<T>>,
    waiting: RefCell<Option<Waker>>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { value: Cell::new(None), waiting: RefCell::new(None) }
    }
}

impl<T> Slot<T> {
    /// Puts a value in, in place of one that nobody has taken yet.
    pub fn put(&self, value: T) {
        self.value.set(Some(value));
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// The value, once there is one. For one who waits at a time.
    pub async fn take(&self) -> T {
        poll_fn(|context| match self.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.waiting.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}
