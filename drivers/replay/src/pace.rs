//! Whose turn it is: all things of the driver share its limit `publishes_per_s`, and one at speed 0 would take all of it.
//!
//! As long as there are timed things, those at speed 0 spread what the timed ones leave evenly over time, so that there is always room for
//! a line that becomes due. What the limit is nobody tells: it is found out from what is refused.

use std::cell::Cell;
use std::time::Duration;

#[derive(Debug)]
pub struct Pace {
    /// Things that play by the time.
    timed: Cell<usize>,
    /// Those of them whose report was refused and is to be taken first.
    late: Cell<usize>,
    /// Reports of all things together, as far as those at speed 0 may bring it.
    per_s: Cell<f64>,
    /// When there is room for the next one at this rate.
    next: Cell<Duration>,
    /// Whether somebody waited for it since the rate was changed.
    is_awaited: Cell<bool>,
    changed: Cell<Duration>,
    /// Since the last refusal, or the start.
    taken: Cell<u64>,
    since: Cell<Option<Duration>>,
    is_refused: Cell<bool>,
    was_refused: Cell<bool>,
}

/// One more, for as long as this is there.
pub struct Counted<'a>(&'a Cell<usize>);

/// What a gateway takes from a driver unless the project says otherwise.
const USUAL_PER_S: f64 = 1_000.0;
const PER_S_MIN: f64 = 1.0;
/// How the rate grows in a second: until the limit is met for the first time, and then.
const GROWTH: f64 = 1.0 + 1.0 / 8.0;
const GROWTH_NEAR_LIMIT: f64 = 1.0 + 1.0 / 64.0;
/// What is left of it after a refusal.
const BACK: f64 = 7.0 / 8.0;
const SECOND: Duration = Duration::from_secs(1);
/// How much a sleep that was too long may be made up for.
const SLACK: Duration = Duration::from_millis(20);
/// The shortest sleep.
const LOOK: Duration = Duration::from_millis(1);

impl Default for Pace {
    fn default() -> Self {
        Self {
            timed: Cell::default(),
            late: Cell::default(),
            per_s: Cell::new(USUAL_PER_S),
            next: Cell::default(),
            is_awaited: Cell::default(),
            changed: Cell::default(),
            taken: Cell::default(),
            since: Cell::default(),
            is_refused: Cell::default(),
            was_refused: Cell::default(),
        }
    }
}

impl Pace {
    /// A thing plays by the time.
    pub fn timed(&self) -> Counted<'_> {
        Counted::new(&self.timed)
    }

    /// A report of such a thing was refused, and is tried again.
    pub fn late(&self) -> Counted<'_> {
        Counted::new(&self.late)
    }

    /// How long a thing at speed 0 waits before it looks again whether it is its turn; `None` where it is.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        if self.timed.get() == 0 {
            return None;
        }
        let rest = self.next.get().saturating_sub(now);
        if rest.is_zero() && self.late.get() == 0 {
            return None;
        }
        self.is_awaited.set(true);
        Some(rest.max(LOOK))
    }

    /// The gateway took a report, of whichever thing.
    pub fn taken(&self, now: Duration) {
        if self.since.get().is_none() {
            self.since.set(Some(now));
            self.changed.set(now);
        }
        self.is_refused.set(false);
        self.taken.set(self.taken.get() + 1);
        if now.saturating_sub(self.changed.get()) >= SECOND {
            self.changed.set(now);
            if self.is_awaited.replace(false) {
                self.per_s.set(self.per_s.get() * if self.was_refused.get() { GROWTH_NEAR_LIMIT } else { GROWTH });
            }
        }
        let gap = Duration::from_secs_f64(1.0 / self.per_s.get());
        self.next.set(self.next.get().max(now.saturating_sub(SLACK)) + gap);
    }

    /// The gateway takes no more for now.
    pub fn refused(&self, now: Duration) {
        // Until it takes one again, what it says is the same.
        if self.is_refused.replace(true) {
            return;
        }
        self.was_refused.set(true);
        let over = now.saturating_sub(self.since.replace(Some(now)).unwrap_or(now));
        let taken = self.taken.replace(0) as f64;
        // It took no less than the limit, if that was all within a second or two.
        let limit = if over <= 2 * SECOND { taken } else { f64::INFINITY };
        self.per_s.set((self.per_s.get().min(limit) * BACK).max(PER_S_MIN));
        self.changed.set(now);
    }
}

impl<'a> Counted<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gateway that takes so many in each second of its own clock, which is not the driver's.
    struct Gateway {
        per_s: u64,
        second: u64,
        taken: u64,
    }

    impl Gateway {
        fn takes(&mut self, ms: u64) -> bool {
            let second = (ms + 300) / 1_000;
            if second != self.second {
                (self.second, self.taken) = (second, 0);
            }
            self.taken += 1;
            self.taken <= self.per_s
        }
    }

    /// The longest that a timed line waited, in ms, and how many lines a second came at speed 0, from `from_s` on.
    fn played(per_s: u64, every_ms: u64, from_s: u64, to_s: u64) -> (u64, u64) {
        let (pace, mut gateway) = (Pace::default(), Gateway { per_s, second: 0, taken: 0 });
        let _timed = pace.timed();
        let (mut due, mut late, mut longest, mut count) = (0, None, 0, 0);
        for ms in 0..to_s * 1_000 {
            let now = Duration::from_millis(ms);
            while due <= ms {
                if !gateway.takes(ms) {
                    pace.refused(now);
                    late.get_or_insert_with(|| pace.late());
                    break;
                }
                pace.taken(now);
                late = None;
                if ms >= from_s * 1_000 {
                    longest = longest.max(ms - due);
                }
                due += every_ms;
            }
            while pace.wait(now).is_none() {
                if !gateway.takes(ms) {
                    pace.refused(now);
                    break;
                }
                pace.taken(now);
                count += u64::from(ms >= from_s * 1_000);
            }
        }
        (longest, count / (to_s - from_s))
    }

    #[test]
    fn a_timed_line_hardly_waits_and_the_rest_of_the_limit_is_used() {
        for (per_s, every_ms, from_s, to_s) in [(1_000, 20, 4, 60), (100, 50, 4, 60), (1_000, 2, 4, 60), (20_000, 20, 40, 80)] {
            let (longest, at_speed_0) = played(per_s, every_ms, from_s, to_s);
            let rest = per_s - 1_000 / every_ms;
            assert!(longest <= 40, "of {per_s}: a line waited for {longest} ms");
            assert!(at_speed_0 * 100 >= rest * 75, "of {per_s}: {at_speed_0} lines a second of {rest}");
        }
    }

    #[test]
    fn a_timed_line_is_never_late_by_more_than_the_second_in_which_the_limit_is_found_out() {
        for per_s in [10, 100, 1_000, 20_000] {
            let (longest, _) = played(per_s, 200, 0, 30);
            assert!(longest <= 1_000, "of {per_s}: a line waited for {longest} ms");
        }
        assert!(played(1_000, 20, 0, 60).0 <= 150, "{}", played(1_000, 20, 0, 60).0);
    }

    #[test]
    fn where_nobody_plays_by_the_time_nobody_waits() {
        let pace = Pace::default();
        drop(pace.timed());
        for _ in 0..5_000 {
            assert_eq!(pace.wait(SECOND), None);
            pace.taken(SECOND);
        }
        let _timed = pace.timed();
        assert!(pace.wait(SECOND).is_some());
    }

    #[test]
    fn what_was_refused_of_a_timed_thing_comes_first() {
        let (pace, now) = (Pace::default(), SECOND * 9);
        let _timed = pace.timed();
        assert_eq!(pace.wait(now), None);
        let late = pace.late();
        assert_eq!(pace.wait(now), Some(LOOK));
        drop(late);
        assert_eq!(pace.wait(now), None);
    }
}
