//! The CPU time of one invocation, in ticks of the [`Ticker`](super::ticker::Ticker): those that pass while it is polled.
//!
//! A call of another function is polled inside its caller's, and then only its own meter runs.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One thread polls an invocation at a time, so relaxed is enough.
#[derive(Debug, Default)]
pub struct Meter {
    spent: AtomicU64,
    /// The tick up to which `spent` is counted.
    counted: AtomicU64,
}

thread_local! {
    /// The meter that runs on this thread.
    static RUNNING: RefCell<Option<Arc<Meter>>> = const { RefCell::new(None) };
}

impl Meter {
    /// Ticks up to `now`, this one included. Only while it runs.
    pub fn spent(&self, now: u64) -> u64 {
        let counted = self.counted.swap(now, Ordering::Relaxed);
        let spent = self.spent.load(Ordering::Relaxed) + now.saturating_sub(counted);
        self.spent.store(spent, Ordering::Relaxed);
        spent
    }

    /// For the next invocation of the same instance.
    pub fn reset(&self) {
        self.spent.store(0, Ordering::Relaxed);
    }

    fn resume(&self, now: u64) {
        self.counted.store(now, Ordering::Relaxed);
    }
}

/// A meter that runs until it is dropped; that of the caller stands still meanwhile.
pub struct Running<'c> {
    clock: &'c AtomicU64,
    caller: Option<Arc<Meter>>,
}

impl<'c> Running<'c> {
    pub fn start(meter: &Arc<Meter>, clock: &'c AtomicU64) -> Self {
        let now = clock.load(Ordering::Relaxed);
        let caller = RUNNING.replace(Some(meter.clone()));
        if let Some(caller) = &caller {
            caller.spent(now);
        }
        meter.resume(now);
        Self { clock, caller }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let now = self.clock.load(Ordering::Relaxed);
        if let Some(caller) = &self.caller {
            caller.resume(now);
        }
        if let Some(meter) = RUNNING.replace(self.caller.take()) {
            meter.spent(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ticks_that_pass_while_it_runs_count_and_a_callee_counts_its_own() {
        let (clock, caller, callee) = (AtomicU64::new(10), Arc::new(Meter::default()), Arc::new(Meter::default()));
        let pass = |ticks| clock.fetch_add(ticks, Ordering::Relaxed);
        let run = Running::start(&caller, &clock);
        pass(3);
        {
            let _nested = Running::start(&callee, &clock);
            pass(5);
        }
        pass(2);
        drop(run);
        pass(100);
        let run = Running::start(&caller, &clock);
        pass(1);
        assert_eq!(caller.spent(clock.load(Ordering::Relaxed)), 6);
        drop(run);
        assert_eq!((callee.spent.load(Ordering::Relaxed), caller.spent.load(Ordering::Relaxed)), (5, 6));
    }
}
