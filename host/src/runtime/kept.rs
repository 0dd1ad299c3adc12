//! Instances that wait for the next call of their function, where a manifest asks for it (`reuse = N`).
//!
//! Only an instance whose last call returned is ever here: one that trapped, met a limit or was cancelled is dropped.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use wasmtime::Store;

use super::state::FunctionState;

/// An instance with its Store. `I` is what its exports are called through.
pub struct Live<I> {
    pub store: Store<FunctionState>,
    pub instance: I,
    /// Calls that it may still take, the one under way included.
    pub calls_left: u32,
}

/// The waiting instances of one function.
pub struct Kept<I>(Mutex<Vec<Live<I>>>);

impl<I> Default for Kept<I> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<I> Kept<I> {
    /// The one that was used last: its memory is still in the caches.
    pub fn take(&self) -> Option<Live<I>> {
        self.0.lock().pop()
    }

    /// After a call that returned.
    pub fn put(&self, mut live: Live<I>) {
        live.calls_left -= 1;
        if live.calls_left > 0 {
            self.0.lock().push(live);
        }
    }
}

/// Somebody who holds instances that nobody waits for.
pub trait Hoard: Send + Sync {
    /// Drops them, and says how many.
    fn clear(&self) -> usize;
}

impl<I: Send> Hoard for Kept<I> {
    fn clear(&self) -> usize {
        // Dropped outside of the lock: it takes a while.
        let all = std::mem::take(&mut *self.0.lock());
        all.len()
    }
}

/// All waiting instances of a gateway: their slots are given up where another function needs one.
#[derive(Default)]
pub struct Hoards(Mutex<Vec<Weak<dyn Hoard>>>);

impl Hoards {
    pub fn add(&self, hoard: &Arc<dyn Hoard>) {
        let mut all = self.0.lock();
        all.retain(|hoard| hoard.strong_count() > 0);
        all.push(Arc::downgrade(hoard));
    }

    /// Drops every waiting instance. Whether there was any.
    pub fn clear(&self) -> bool {
        let all: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        all.iter().map(|hoard| hoard.clear()).sum::<usize>() > 0
    }
}
