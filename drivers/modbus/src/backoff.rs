//! How long to wait before something that failed is tried again: it doubles, up to a most.

use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure.
    pub fn next(&mut self, min: Duration, max: Duration) -> Duration {
        let pause = min.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(max);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_most() {
        let mut backoff = Backoff::default();
        let mut next = || backoff.next(Duration::from_millis(100), Duration::from_millis(500)).as_millis();
        assert_eq!([next(), next(), next(), next()], [100, 200, 400, 500]);
        assert!((0..100).all(|_| next() == 500));
    }
}
