//! The first calls of a function that was just deployed: where all of them fail, whoever deployed it is told.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::mpsc;

use crate::name::FunctionName;
use crate::set::Digest;

/// A function whose first calls have all failed.
#[derive(Clone, Debug)]
pub struct Failing {
    pub name: FunctionName,
    pub digest: Digest,
    pub calls: u32,
    /// The last failure.
    pub reason: String,
}

pub struct Probation {
    calls: u32,
    /// Failures so far; [`OVER`] once it is over.
    failed: AtomicU32,
    tell: mpsc::UnboundedSender<Failing>,
}

const OVER: u32 = u32::MAX;

impl Probation {
    /// It has not begun. `tell` gets one message at most.
    pub fn new(calls: u32, tell: mpsc::UnboundedSender<Failing>) -> Self {
        Self { calls, failed: AtomicU32::new(OVER), tell }
    }

    /// From now on calls count: what came before was the health check.
    pub fn begin(&self) {
        self.failed.store(0, Ordering::Relaxed);
    }

    pub fn succeeded(&self) {
        if self.failed.load(Ordering::Relaxed) != OVER {
            self.failed.store(OVER, Ordering::Relaxed);
        }
    }

    pub fn failed(&self, name: &FunctionName, digest: &Digest, reason: &str) {
        let counted = |failed: u32| (failed != OVER).then(|| if failed + 1 >= self.calls { OVER } else { failed + 1 });
        let before = self.failed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        if before.is_ok_and(|failed| failed + 1 >= self.calls) {
            let failing = Failing { name: name.clone(), digest: digest.clone(), calls: self.calls, reason: reason.to_owned() };
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
        let digest = Digest::of(b"c");
        let (tell, mut told) = mpsc::unbounded_channel();
        let bad = Probation::new(3, tell.clone());
        bad.succeeded();
        bad.begin();
        (0..10).for_each(|_| bad.failed(&name, &digest, "broken"));
        assert_eq!(told.try_recv().unwrap().calls, 3);
        let good = Probation::new(3, tell);
        good.begin();
        good.failed(&name, &digest, "broken");
        good.succeeded();
        (0..10).for_each(|_| good.failed(&name, &digest, "broken"));
        assert!(told.try_recv().is_err());
    }
}
