//! The first calls of a function that was just deployed: where all of them fail, whoever deployed it is told.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::name::FunctionName;

/// A function whose first calls have all failed.
#[derive(Clone, Debug)]
pub struct Failing {
    pub name: FunctionName,
    /// [`Probation::id`] of the one that fails: what is deployed by now may be another.
    pub id: u64,
    /// What failed, as in `its first 3 calls failed`.
    pub what: String,
    /// The last failure.
    pub reason: String,
}

pub struct Probation {
    pub id: u64,
    calls: u32,
    /// Failures so far; [`OVER`] once it is over.
    failed: AtomicU32,
    /// The same, of instances of a persistent function that ended soon after they were started.
    lives: AtomicU32,
    tell: mpsc::UnboundedSender<Failing>,
}

const OVER: u32 = u32::MAX;
const LIFE_MIN: Duration = Duration::from_secs(60);

impl Probation {
    /// It has not begun. `tell` gets one message at most.
    pub fn new(calls: u32, tell: mpsc::UnboundedSender<Failing>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), calls, failed: AtomicU32::new(OVER), lives: AtomicU32::new(OVER), tell }
    }

    /// From now on calls count.
    pub fn begin(&self) {
        self.failed.store(0, Ordering::Relaxed);
        self.lives.store(0, Ordering::Relaxed);
    }

    pub fn succeeded(&self) {
        if self.failed.load(Ordering::Relaxed) != OVER {
            self.failed.store(OVER, Ordering::Relaxed);
        }
    }

    pub fn failed(&self, name: &FunctionName, reason: &str) {
        self.count(&self.failed, name, "calls failed", reason);
    }

    /// An instance of a persistent function has failed. One that has lived for a while works, whatever comes later.
    pub fn life_failed(&self, name: &FunctionName, lived: Duration, reason: &str) {
        if lived < LIFE_MIN {
            self.count(&self.lives, name, "instances failed", reason);
        } else {
            self.lives.store(OVER, Ordering::Relaxed);
        }
    }

    fn count(&self, failed: &AtomicU32, name: &FunctionName, what: &str, reason: &str) {
        let counted = |failed: u32| (failed != OVER).then(|| if failed + 1 >= self.calls { OVER } else { failed + 1 });
        let before = failed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        if before.is_ok_and(|failed| failed + 1 >= self.calls) {
            let failing =
                Failing { name: name.clone(), id: self.id, what: format!("its first {} {what}", self.calls), reason: reason.to_owned() };
            // Nobody listens where the gateway is about to end.
            let _ = self.tell.send(failing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_all_fail_are_told_and_once() {
        let name = "a/b".parse().unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let bad = Probation::new(3, tell.clone());
        bad.succeeded();
        bad.begin();
        (0..10).for_each(|_| bad.failed(&name, "broken"));
        assert_eq!(told.try_recv().unwrap().what, "its first 3 calls failed");
        (0..10).for_each(|_| bad.life_failed(&name, Duration::ZERO, "broken"));
        assert_eq!(told.try_recv().unwrap().what, "its first 3 instances failed");
        let good = Probation::new(3, tell);
        good.begin();
        good.failed(&name, "broken");
        good.succeeded();
        (0..10).for_each(|_| good.failed(&name, "broken"));
        assert!(told.try_recv().is_err());
    }
}
