//! How much time those who serve others may lose to devices that they ask themselves.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What takes longer is not quick. On a machine that has other things to do, or is a share of one, a few answers seem to be late that are not.
const QUICK: Duration = Duration::from_micros(200);
/// What is not quick may take so much of a while, all together. Beyond, it waits for the next one.
const OF_A_DEVICE: Duration = Duration::from_millis(200);
const OF_ALL: Duration = Duration::from_millis(500);
const WHILE_MS: u64 = 10_000;

/// Of a device, or of all. Times are milliseconds since 1970. If the clock is set back, what was slow is slow for longer.
pub struct LostTime {
    max: Duration,
    began_ms: AtomicU64,
    slow_us: AtomicU64,
}

impl Default for LostTime {
    /// Of a device.
    fn default() -> Self {
        Self { max: OF_A_DEVICE, began_ms: AtomicU64::default(), slow_us: AtomicU64::default() }
    }
}

impl LostTime {
    pub fn of_all() -> Self {
        Self { max: OF_ALL, ..Self::default() }
    }

    pub fn is_bearable(&self, now_ms: u64) -> bool {
        u128::from(self.slow_us.load(Relaxed)) < self.max.as_micros() || self.is_over(now_ms)
    }

    /// An answer was computed for so long, on the threads that serve. It stands for so many that are not timed.
    pub fn took(&self, computed: Duration, stands_for: u32, now_ms: u64) {
        if computed <= QUICK {
            return;
        }
        let lost_us = u64::try_from((computed * stands_for).as_micros()).unwrap_or(u64::MAX / 2);
        if self.is_over(now_ms) {
            self.began_ms.store(now_ms, Relaxed);
            self.slow_us.store(0, Relaxed);
        }
        self.slow_us.fetch_add(lost_us, Relaxed);
    }

    fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.began_ms.load(Relaxed) + WHILE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_slow_for_too_long_gets_another_chance_later() {
        let (lost, now_ms) = (LostTime::default(), 1_000_000);
        for _ in 0..10_000 {
            lost.took(QUICK, 8, now_ms);
        }
        lost.took(OF_A_DEVICE / 16, 8, now_ms);
        assert!(lost.is_bearable(now_ms));
        lost.took(OF_A_DEVICE / 16, 8, now_ms + 1);
        assert!(!lost.is_bearable(now_ms + 1) && !lost.is_bearable(now_ms + WHILE_MS - 1));
        assert!(lost.is_bearable(now_ms + WHILE_MS));
        lost.took(OF_A_DEVICE / 16, 8, now_ms + WHILE_MS);
        assert!(lost.is_bearable(now_ms + WHILE_MS));
    }
}
