//! So many in a second, without a lock: what is too much is refused ([`Rate`]), or waits its turn ([`Pace`]).

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

/// Lets as many through at once as a second has room for, and then one after another, evenly and in the order in which they came.
#[derive(Debug)]
pub struct Pace {
    interval_ns: u64,
    start: Instant,
    /// When all that were let through so far would have been, had they come evenly: nanoseconds after `start`.
    due_ns: AtomicU64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Pace {
    pub fn new(per_s: u32) -> Self {
        Self { interval_ns: SECOND_NS / u64::from(per_s.max(1)), start: Instant::now(), due_ns: AtomicU64::new(0) }
    }

    /// A place in the order, and how long to wait for it. None, if that would be longer than `wait_max`.
    pub fn reserve(&self, wait_max: Duration) -> Option<Duration> {
        self.reserve_at(self.start.elapsed(), wait_max)
    }

    fn reserve_at(&self, now: Duration, wait_max: Duration) -> Option<Duration> {
        // A second's worth may have been saved up, from the beginning on.
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).saturating_add(SECOND_NS);
        let place = |due: u64| due.max(now_ns.saturating_sub(SECOND_NS)) + self.interval_ns;
        let wait = |due: u64| Duration::from_nanos(place(due).saturating_sub(now_ns));
        let taken = self.due_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| (wait(due) <= wait_max).then(|| place(due)));
        taken.ok().map(wait)
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

    #[test]
    fn what_is_too_much_waits_evenly_and_not_for_ever() {
        let (pace, second) = (Pace::new(10), Duration::from_secs(1));
        let waits = |now_ms: u64| (0..30).map(|_| pace.reserve_at(Duration::from_millis(now_ms), second)).collect::<Vec<_>>();
        let first = waits(5_000);
        assert!(first[..10].iter().all(|wait| *wait == Some(Duration::ZERO)), "{first:?}");
        assert_eq!(first[10..13], [100, 200, 300].map(|ms| Some(Duration::from_millis(ms))));
        assert_eq!(first[20..22], [None, None]);
        // Those that were refused hold no place.
        assert_eq!(waits(6_000)[0], Some(Duration::from_millis(100)));
        assert_eq!(waits(60_000).iter().filter(|wait| **wait == Some(Duration::ZERO)).count(), 10);
    }
}
