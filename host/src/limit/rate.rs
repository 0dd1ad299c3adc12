//! So many in a second, without a lock.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts what happens in each second, and refuses what is too much.
#[derive(Debug)]
pub struct Rate {
    per_s: u32,
    /// The second, and below it how many there were in it.
    window: AtomicU64,
}

const COUNT_BITS: u32 = 32;

impl Rate {
    pub fn new(per_s: u32) -> Self {
        Self { per_s, window: AtomicU64::new(0) }
    }

    pub fn per_s(&self) -> u32 {
        self.per_s
    }

    /// Whether there is room for one more.
    pub fn take(&self) -> bool {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.take_at(START.elapsed().as_secs())
    }

    /// The same by another clock, whose seconds these are.
    pub fn take_at(&self, second: u64) -> bool {
        let now = second << COUNT_BITS;
        let next = |window: u64| {
            let window = if window >> COUNT_BITS == second { window } else { now };
            (window - now < u64::from(self.per_s)).then_some(window + 1)
        };
        self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_room_for_as_many_and_no_more() {
        let rate = Rate::new(3);
        for second in [0, 1, 7] {
            assert_eq!((0..10).filter(|_| rate.take_at(second)).count(), 3);
        }
        assert!(!Rate::new(0).take());
    }
}
