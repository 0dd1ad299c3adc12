//! Whether a device is so quick that it may be asked on a thread that serves others too.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Quick until it is found to be slow, and again a while later.
#[derive(Default)]
pub struct Pace {
    slow_until_ms: AtomicU64,
}

const SLOW_MS: u64 = 10_000;

impl Pace {
    /// Times are milliseconds since 1970. If the clock is set back, it is slow for longer.
    pub fn is_quick(&self, now_ms: u64) -> bool {
        now_ms >= self.slow_until_ms.load(Relaxed)
    }

    pub fn was_slow(&self, now_ms: u64) {
        self.slow_until_ms.store(now_ms.saturating_add(SLOW_MS), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_slow_gets_another_chance_later() {
        let pace = Pace::default();
        assert!(pace.is_quick(0) && pace.is_quick(5));
        pace.was_slow(5);
        assert!(!pace.is_quick(5) && !pace.is_quick(SLOW_MS + 4));
        assert!(pace.is_quick(SLOW_MS + 5));
    }
}
