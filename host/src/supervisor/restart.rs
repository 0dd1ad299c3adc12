//! When one that ended starts again, and when it does so no more.
//!
//! It asks no clock: whoever knows when a driver began and ended says so.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How patient the gateway is with those that end.
#[derive(Clone, Copy, Debug)]
pub struct RestartPolicy {
    /// The wait after the first failure; each one after it doubles the wait.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// A driver that ran for so long is healthy again: its backoff starts anew.
    pub healthy_after: Duration,
    /// So many failures within [`RestartPolicy::failures_within`] are one too many: it is quarantined.
    pub failures_max: usize,
    pub failures_within: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(60),
            healthy_after: Duration::from_secs(600),
            failures_max: 10,
            failures_within: Duration::from_secs(600),
        }
    }
}

/// What becomes of a driver that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    StartAgainAfter(Duration),
    Quarantine,
}

/// The failures of one driver since it was deployed or released.
pub struct Failures {
    policy: RestartPolicy,
    backoff: Duration,
    /// When each of the last ones happened, those within the window only.
    recent: VecDeque<Instant>,
}

impl Failures {
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, backoff: policy.backoff_min, recent: VecDeque::new() }
    }

    pub fn policy(&self) -> &RestartPolicy {
        &self.policy
    }

    /// Takes note of a life that went from `began` to `now`.
    pub fn ended(&mut self, began: Instant, now: Instant) -> Verdict {
        let policy = &self.policy;
        if now.saturating_duration_since(began) >= policy.healthy_after {
            self.backoff = policy.backoff_min;
        }
        self.recent.push_back(now);
        self.recent.retain(|failed| now.saturating_duration_since(*failed) < policy.failures_within);
        if self.recent.len() >= policy.failures_max {
            return Verdict::Quarantine;
        }
        let wait = self.backoff;
        self.backoff = (wait * 2).min(policy.backoff_max);
        Verdict::StartAgainAfter(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        backoff_min: Duration::from_millis(200),
        backoff_max: Duration::from_secs(60),
        healthy_after: Duration::from_secs(600),
        failures_max: 10,
        failures_within: Duration::from_secs(600),
    };

    /// A driver with its own time.
    struct Life {
        failures: Failures,
        now: Instant,
    }

    impl Life {
        fn new(policy: RestartPolicy) -> Self {
            Self { failures: Failures::new(policy), now: Instant::now() }
        }

        /// Runs for so long, fails, and waits as it is told.
        fn fails_after(&mut self, ran: Duration) -> Verdict {
            let began = self.now;
            self.now += ran;
            let verdict = self.failures.ended(began, self.now);
            if let Verdict::StartAgainAfter(wait) = verdict {
                self.now += wait;
            }
            verdict
        }
    }

    fn millis(wait: u64) -> Verdict {
        Verdict::StartAgainAfter(Duration::from_millis(wait))
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let policy = RestartPolicy::default();
        assert_eq!(format!("{policy:?}"), format!("{POLICY:?}"));
    }

    #[test]
    fn each_wait_is_twice_the_last_and_none_is_longer_than_a_minute() {
        let mut life = Life::new(RestartPolicy { failures_max: usize::MAX, ..POLICY });
        let waits: Vec<_> = (0..11).map(|_| life.fails_after(Duration::ZERO)).collect();
        let wanted = [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000];
        assert_eq!(waits, wanted.map(millis));
    }

    #[test]
    fn ten_minutes_of_health_begin_the_waits_anew() {
        let mut life = Life::new(POLICY);
        for wanted in [200, 400, 800] {
            assert_eq!(life.fails_after(Duration::from_secs(1)), millis(wanted));
        }
        assert_eq!(life.fails_after(Duration::from_millis(599_999)), millis(1_600));
        assert_eq!(life.fails_after(Duration::from_secs(600)), millis(200));
        assert_eq!(life.fails_after(Duration::ZERO), millis(400));
    }

    #[test]
    fn the_tenth_failure_in_ten_minutes_is_quarantine() {
        let mut life = Life::new(POLICY);
        for _ in 0..9 {
            assert_ne!(life.fails_after(Duration::ZERO), Verdict::Quarantine);
        }
        assert_eq!(life.fails_after(Duration::ZERO), Verdict::Quarantine);
    }

    #[test]
    fn failures_that_are_far_apart_never_quarantine() {
        let mut life = Life::new(POLICY);
        for _ in 0..1_000 {
            assert_ne!(life.fails_after(Duration::from_secs(61)), Verdict::Quarantine);
        }
    }
}
