//! How much a peer may send in a second. Who sends more is read more slowly: what it sends then waits on its own side.

use std::time::Duration;

/// Fills with time, up to what one second allows.
pub struct Rate {
    per_s: f64,
    left: f64,
    at: Duration,
}

impl Rate {
    pub fn new(per_s: u32, now: Duration) -> Self {
        Self { per_s: per_s.into(), left: per_s.into(), at: now }
    }

    /// Takes so much, and says how long to wait until it would have been there.
    pub fn take(&mut self, amount: usize, now: Duration) -> Duration {
        self.left = (self.left + (now.saturating_sub(self.at)).as_secs_f64() * self.per_s).min(self.per_s);
        self.at = now;
        self.left -= amount as f64;
        if self.left >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.left / self.per_s) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_is_free_and_the_rest_takes_its_time() {
        let mut rate = Rate::new(10, Duration::ZERO);
        assert_eq!(rate.take(10, Duration::ZERO), Duration::ZERO);
        assert_eq!(rate.take(5, Duration::ZERO), Duration::from_millis(500));
        // Half a second later the debt is paid, and another second later it is full again, and not more than that.
        assert_eq!(rate.take(0, Duration::from_millis(500)), Duration::ZERO);
        assert_eq!(rate.take(10, Duration::from_secs(60)), Duration::ZERO);
        assert!(rate.take(1, Duration::from_secs(60)) > Duration::ZERO);
    }
}
