//! Whether a device is so quick that it may be asked on a thread that serves others too.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What takes longer is not quick. A machine that has other things to do makes a few answers late that are.
const QUICK: Duration = Duration::from_micros(200);
/// What all that is not quick may take together in a while. With it a guest's own millisecond, this is what a device can hold up others by.
const SLOW_MAX: Duration = Duration::from_millis(5);
const WHILE_MS: u64 = 10_000;

/// Times are milliseconds since 1970. If the clock is set back, what was slow is slow for longer.
#[derive(Default)]
pub struct Pace {
    began_ms: AtomicU64,
    slow_us: AtomicU64,
}

impl Pace {
    pub fn is_quick(&self, now_ms: u64) -> bool {
        u128::from(self.slow_us.load(Relaxed)) < SLOW_MAX.as_micros() || now_ms >= self.began_ms.load(Relaxed) + WHILE_MS
    }

    /// It has computed for so long.
    pub fn took(&self, computed: Duration, now_ms: u64) {
        if computed <= QUICK {
            return;
        }
        if now_ms >= self.began_ms.load(Relaxed) + WHILE_MS {
            self.began_ms.store(now_ms, Relaxed);
            self.slow_us.store(0, Relaxed);
        }
        self.slow_us.fetch_add(u64::try_from(computed.as_micros()).unwrap_or(u64::MAX / 2), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_slow_for_too_long_gets_another_chance_later() {
        let (pace, now_ms) = (Pace::default(), 1_000_000);
        for _ in 0..1_000 {
            pace.took(QUICK, now_ms);
        }
        pace.took(SLOW_MAX / 2, now_ms);
        assert!(pace.is_quick(now_ms));
        pace.took(SLOW_MAX / 2, now_ms + 1);
        assert!(!pace.is_quick(now_ms + 1) && !pace.is_quick(now_ms + WHILE_MS - 1));
        assert!(pace.is_quick(now_ms + WHILE_MS));
        pace.took(SLOW_MAX / 2, now_ms + WHILE_MS);
        assert!(pace.is_quick(now_ms + WHILE_MS));
    }
}
