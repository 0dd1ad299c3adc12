//! The concurrency limit of one function: so many run, so many may wait, the next is answered at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::InvokeError;
use crate::limit::WAITING_MAX;
use crate::name::FunctionName;

pub struct Gate {
    places: Semaphore,
    places_max: u32,
    waiting: AtomicUsize,
}

impl Gate {
    pub fn new(concurrency: u32) -> Self {
        Self { places: Semaphore::new(concurrency as usize), places_max: concurrency, waiting: AtomicUsize::new(0) }
    }

    /// Invocations that run now.
    pub fn running(&self) -> u32 {
        self.places_max - u32::try_from(self.places.available_permits()).unwrap_or(self.places_max)
    }

    pub async fn enter(&self, name: &FunctionName, deadline: Instant) -> Result<SemaphorePermit<'_>, InvokeError> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let busy = |waiting| InvokeError::Busy { name: name.clone(), running: self.places_max, waiting };
        let queue = WaitingPlace::take(&self.waiting);
        if queue.ahead >= WAITING_MAX {
            return Err(busy(queue.ahead));
        }
        match tokio::time::timeout_at(deadline.into(), self.places.acquire()).await {
            // The semaphore is never closed, so the only failure is the time that ran out.
            Ok(Ok(place)) => Ok(place),
            _ => Err(busy(queue.ahead)),
        }
    }
}

/// One place among those who wait; a caller who goes away gives it back.
struct WaitingPlace<'a> {
    waiting: &'a AtomicUsize,
    ahead: usize,
}

impl<'a> WaitingPlace<'a> {
    fn take(waiting: &'a AtomicUsize) -> Self {
        Self { waiting, ahead: waiting.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
