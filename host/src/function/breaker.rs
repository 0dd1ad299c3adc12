//! The breaker of one function: after so many failures in a row callers are refused at once, until a probe goes well.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::InvokeError;
use crate::name::FunctionName;
use crate::telemetry::printable;

pub struct Breaker {
    /// 0: it never opens.
    failures_max: u32,
    /// In a row, so far.
    failures: AtomicU32,
    open: Mutex<Option<Open>>,
}

/// What is known while callers are refused.
struct Open {
    reason: String,
    pause: Duration,
    probe_at: Instant,
    is_probing: bool,
}

/// One call that was let through. Dropped without a word, it says nothing of the function.
#[must_use]
pub struct Attempt<'b> {
    breaker: &'b Breaker,
    is_probe: bool,
}

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Breaker {
    pub fn new(failures_max: u32) -> Self {
        Self { failures_max, failures: AtomicU32::new(0), open: Mutex::new(None) }
    }

    /// Lets a call through, or says why not.
    pub fn enter(&self, name: &FunctionName) -> Result<Attempt<'_>, InvokeError> {
        self.enter_at(name, Instant::now)
    }

    fn enter_at(&self, name: &FunctionName, now: impl FnOnce() -> Instant) -> Result<Attempt<'_>, InvokeError> {
        let failures = self.failures.load(Ordering::Relaxed);
        if self.failures_max == 0 || failures < self.failures_max {
            return Ok(Attempt { breaker: self, is_probe: false });
        }
        let mut open = self.open.lock();
        let Some(open) = &mut *open else { return Ok(Attempt { breaker: self, is_probe: false }) };
        let left = open.probe_at.saturating_duration_since(now());
        if left.is_zero() && !open.is_probing {
            open.is_probing = true;
            return Ok(Attempt { breaker: self, is_probe: true });
        }
        let retry_s = left.as_secs() + 1;
        Err(InvokeError::Broken { name: name.clone(), failures, retry_s, reason: open.reason.clone() })
    }

    /// Whether callers are refused now.
    pub fn is_open(&self) -> bool {
        self.open.lock().is_some()
    }
}

impl Attempt<'_> {
    pub fn succeeded(self, name: &FunctionName) {
        // Without a lock where all is well.
        if self.breaker.failures.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.breaker.failures.store(0, Ordering::Relaxed);
        if self.breaker.open.lock().take().is_some() {
            tracing::info!(function.name = %name, "function `{name}` works again: it is called as before");
        }
    }

    pub fn failed(self, name: &FunctionName, reason: &str) {
        let breaker = self.breaker;
        let failures = breaker.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if breaker.failures_max == 0 || failures < breaker.failures_max {
            return;
        }
        let mut open = breaker.open.lock();
        let pause = match &*open {
            // Another call that was under way when it opened.
            Some(_) if !self.is_probe => return,
            Some(open) => (open.pause * 2).min(PAUSE_MAX),
            None => PAUSE_MIN,
        };
        let (reason, pause_s) = (printable(reason), pause.as_secs());
        tracing::warn!(function.name = %name, "function `{name}` failed {failures} times in a row and is not called for {pause_s} s: {reason}");
        *open = Some(Open { reason, pause, probe_at: Instant::now() + pause, is_probing: false });
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(open) = &mut *self.breaker.open.lock()
        {
            open.is_probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> FunctionName {
        "a/b".parse().unwrap()
    }

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.enter(&name()).unwrap().failed(&name(), "trapped");
        }
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_a_probe_closes_it() {
        let breaker = Breaker::new(3);
        fail(&breaker, 2);
        breaker.enter(&name()).unwrap().succeeded(&name());
        fail(&breaker, 3);
        let Err(InvokeError::Broken { failures, reason, retry_s, .. }) = breaker.enter(&name()).map(|_| ()) else { panic!("it is closed") };
        assert_eq!((failures, reason.as_str(), retry_s), (3, "trapped", 1));
        let later = || Instant::now() + PAUSE_MIN;
        let probe = breaker.enter_at(&name(), later).unwrap();
        assert!(breaker.enter_at(&name(), later).is_err(), "one probe at a time");
        drop(probe);
        breaker.enter_at(&name(), later).unwrap().succeeded(&name());
        assert!(!breaker.is_open());
        breaker.enter(&name()).unwrap().succeeded(&name());
    }

    #[test]
    fn a_probe_that_fails_doubles_the_pause() {
        let breaker = Breaker::new(1);
        fail(&breaker, 1);
        for _ in 0..10 {
            let far = Instant::now() + PAUSE_MAX * 2;
            breaker.enter_at(&name(), || far).unwrap().failed(&name(), "again");
        }
        assert_eq!(breaker.open.lock().as_ref().unwrap().pause, PAUSE_MAX);
    }

    #[test]
    fn it_can_be_switched_off() {
        let breaker = Breaker::new(0);
        fail(&breaker, 100);
        assert!(breaker.enter(&name()).is_ok());
    }
}
