//! When each line of a recording is due: as long after the line before it as it was recorded, divided by the speed.

use std::time::Duration;

pub struct Schedule {
    /// 0: everything at once.
    speed: f64,
    /// The time of a line, and when it was due. The lines after it are counted from there, so that no waiting adds up.
    anchor: Option<(f64, Duration)>,
    last_ms: f64,
    gap_ms: f64,
}

/// When a line is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    pub at: Duration,
    /// Its time is before that of the line before it.
    pub is_backwards: bool,
}

/// Between the last line of a round and the first of the next, where a recording has but one line.
const USUAL_GAP_MS: f64 = 1_000.0;
/// What can be waited for: a century.
const WAIT_MS_MAX: f64 = 3.2e12;

impl Schedule {
    pub fn new(speed: f64) -> Self {
        Self { speed, anchor: None, last_ms: 0.0, gap_ms: USUAL_GAP_MS }
    }

    /// When the line with the time `time_ms` is due. What lies before the last one is due at once, and the next counts from it.
    pub fn due(&mut self, time_ms: f64, now: Duration) -> Due {
        let Some((anchor_ms, anchor)) = self.anchor else {
            self.begin(time_ms, now);
            return Due { at: now, is_backwards: false };
        };
        if time_ms < self.last_ms {
            self.begin(time_ms, now);
            return Due { at: now, is_backwards: true };
        }
        if time_ms > self.last_ms {
            self.gap_ms = time_ms - self.last_ms;
        }
        self.last_ms = time_ms;
        Due { at: anchor + self.scaled(time_ms - anchor_ms), is_backwards: false }
    }

    /// The next line is the first of another round, which begins after as long as there was between the last two lines.
    pub fn next_round(&mut self, now: Duration) -> Duration {
        self.anchor = None;
        now + self.scaled(self.gap_ms)
    }

    /// Everything that is to come comes so much later.
    pub fn postpone(&mut self, by: Duration) {
        self.anchor = self.anchor.map(|(time_ms, at)| (time_ms, at + by));
    }

    /// The next line is due at once, as after a jump.
    pub fn restart(&mut self) {
        self.anchor = None;
    }

    fn begin(&mut self, time_ms: f64, now: Duration) {
        self.anchor = Some((time_ms, now));
        self.last_ms = time_ms;
    }

    fn scaled(&self, ms: f64) -> Duration {
        if self.speed == 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((ms / self.speed).clamp(0.0, WAIT_MS_MAX) / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn lines_are_as_far_apart_as_they_were_recorded_divided_by_the_speed() {
        let mut schedule = Schedule::new(10.0);
        assert_eq!(schedule.due(1_565_181_000_000.0, at(7)).at, at(7));
        assert_eq!(schedule.due(1_565_181_001_000.0, at(7)).at, at(107));
        // It was late, and the next one is not later for it.
        assert_eq!(schedule.due(1_565_181_002_000.0, at(150)).at, at(207));
    }

    #[test]
    fn at_speed_0_everything_is_due_at_once() {
        let mut schedule = Schedule::new(0.0);
        for time_ms in [0.0, 1e12, 5.0] {
            assert!(schedule.due(time_ms, at(3)).at <= at(3));
        }
        assert_eq!(schedule.next_round(at(4)), at(4));
    }

    #[test]
    fn a_pause_makes_what_follows_later_and_after_a_jump_the_next_line_is_due_at_once() {
        let mut schedule = Schedule::new(1.0);
        schedule.due(0.0, at(0));
        schedule.postpone(at(5_000));
        assert_eq!(schedule.due(1_000.0, at(0)).at, at(6_000));
        schedule.restart();
        assert_eq!(schedule.due(90_000.0, at(7_000)), Due { at: at(7_000), is_backwards: false });
    }

    #[test]
    fn a_time_that_goes_backwards_is_due_at_once_and_the_next_counts_from_it() {
        let mut schedule = Schedule::new(1.0);
        schedule.due(10_000.0, at(0));
        schedule.due(11_000.0, at(0));
        assert_eq!(schedule.due(2_000.0, at(1_000)), Due { at: at(1_000), is_backwards: true });
        assert_eq!(schedule.due(2_500.0, at(1_000)), Due { at: at(1_500), is_backwards: false });
    }

    #[test]
    fn a_round_begins_as_long_after_the_last_line_as_there_was_between_the_last_two() {
        let mut schedule = Schedule::new(2.0);
        schedule.due(0.0, at(0));
        schedule.due(400.0, at(0));
        assert_eq!(schedule.next_round(at(200)), at(400));
        assert_eq!(schedule.due(0.0, at(400)).at, at(400));
        // One line alone does not spin.
        let mut alone = Schedule::new(1.0);
        alone.due(0.0, at(0));
        assert_eq!(alone.next_round(at(0)), at(1_000));
    }

    #[test]
    fn no_gap_is_too_long_to_be_waited_for() {
        let mut schedule = Schedule::new(1e-300);
        schedule.due(-1e300, at(0));
        assert!(schedule.due(1e300, at(0)).at > at(1));
    }
}
