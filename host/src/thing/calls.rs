//! The calls of one thing that have not ended: how many there may be, so that a device that never answers keeps nobody else waiting, and
//! fills nothing up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::fault::{self, Fault};

/// Calls that may wait or run for one thing. One more is answered at once.
pub const CALLS_MAX: u32 = 128;
/// Calls of one thing that had no answer, with none that had one in between. Beyond, the thing is asked once a minute.
pub const STUCK_MAX: u32 = 8;
pub const TRY_EVERY: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Calls {
    open: AtomicU32,
    /// Of those, the ones that the driver is at.
    running: AtomicU32,
    /// Calls whose time was over, since the last that was answered.
    silent: AtomicU32,
    tried: Mutex<Option<Instant>>,
}

/// One call, which has ended when this is dropped.
pub struct Turn {
    calls: Arc<Calls>,
    is_running: bool,
}

impl Calls {
    pub fn begin(self: &Arc<Self>, now: Instant) -> Result<Turn, Fault> {
        if self.silent.load(Relaxed) >= STUCK_MAX {
            self.try_again(now)?;
        }
        if self.open.fetch_add(1, Relaxed) >= CALLS_MAX {
            self.open.fetch_sub(1, Relaxed);
            return Err(Fault::new(fault::TOO_MANY, format!("{CALLS_MAX} calls of it wait already; try again")));
        }
        Ok(Turn { calls: self.clone(), is_running: false })
    }

    pub fn had_answer(&self) {
        self.silent.store(0, Relaxed);
    }

    pub fn had_none(&self) {
        self.silent.fetch_add(1, Relaxed);
    }

    fn try_again(&self, now: Instant) -> Result<(), Fault> {
        let mut tried = self.tried.lock();
        let wait = tried.map_or(Duration::ZERO, |tried| TRY_EVERY.saturating_sub(now - tried));
        if wait.is_zero() {
            *tried = Some(now);
            return Ok(());
        }
        let message = format!("{STUCK_MAX} calls of it have had no answer from its driver; it is asked again in {} s", wait.as_secs() + 1);
        Err(Fault::new(fault::TIMEOUT, message))
    }
}

impl Turn {
    /// How many calls of this thing the driver is at.
    pub fn running(&self) -> u32 {
        self.calls.running.load(Relaxed)
    }

    /// The driver has begun.
    pub fn start(&mut self) {
        self.is_running = true;
        self.calls.running.fetch_add(1, Relaxed);
    }

    /// Its time is over, and the driver has not let go of it.
    pub fn stop_running(&mut self) {
        if std::mem::take(&mut self.is_running) {
            self.calls.running.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.stop_running();
        self.calls.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_that_never_answers_is_asked_now_and_then_and_as_ever_once_it_does() {
        let (calls, now) = (Arc::new(Calls::default()), Instant::now());
        (0..STUCK_MAX).for_each(|_| calls.had_none());
        drop(calls.begin(now).unwrap());
        let refused = calls.begin(now + TRY_EVERY / 2).map(drop).unwrap_err();
        assert_eq!(refused.code, fault::TIMEOUT);
        drop(calls.begin(now + TRY_EVERY).unwrap());
        calls.had_answer();
        for _ in 0..2 {
            drop(calls.begin(now + TRY_EVERY).unwrap());
        }
    }

    #[test]
    fn so_many_calls_may_be_open_and_no_more() {
        let (calls, now) = (Arc::new(Calls::default()), Instant::now());
        let turns: Vec<Turn> = (0..CALLS_MAX).map(|_| calls.begin(now).unwrap()).collect();
        assert_eq!(calls.begin(now).map(drop).unwrap_err().code, fault::TOO_MANY);
        drop(turns);
        assert!(calls.begin(now).is_ok());
    }
}
