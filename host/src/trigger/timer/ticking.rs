//! When one schedule ticks, however the clock is set and however long the gateway is down. It sets nothing off by itself.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::schedule::{self, Parsed, Schedule};
use crate::set::Missed;

/// How far the wall clock is set while it counts as the same clock, a little wrong.
pub const ADJUSTED_MAX: Duration = Duration::from_secs(3 * 60 * 60);
/// How soon it is noticed that the wall clock was set.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Ticks of one timer that one adjustment of the clock may set off.
const AT_ONCE_MAX: usize = 200;
/// A stretch in which the last tick before now is searched, before the first one of all is taken.
const NEAR_MS: u64 = 25 * 60 * 60 * 1_000;

/// A schedule, and up to when its ticks were looked at.
pub struct Ticking {
    pub schedule: Schedule,
    pub missed: Missed,
    /// The last tick that ran.
    pub last_ms: Option<u64>,
    parsed: Parsed,
    /// The wall clock up to which every tick was looked at. Of an interval: the last tick.
    seen_ms: u64,
    /// When that was, by the clock that is never set.
    seen_at: Instant,
    /// Of an interval.
    next: Instant,
    /// Of a cron expression: the first tick after `seen_ms`, if it was searched. Searching is slow where ticks are rare.
    upcoming: Cell<Option<Option<u64>>>,
    /// Whether the time before now is time in which the gateway was down.
    is_fresh: bool,
}

/// What is on disk of it.
#[derive(Serialize, Deserialize)]
pub struct Row {
    /// A timer whose schedule was changed begins anew.
    schedule: Schedule,
    seen_ms: u64,
    last_ms: Option<u64>,
}

/// What a clock shows.
#[derive(Clone, Copy)]
pub struct Now {
    pub wall_ms: u64,
    pub monotonic: Instant,
}

impl Now {
    pub fn of(clock: &Clock) -> Self {
        Self { wall_ms: clock.unix_ms(), monotonic: clock.monotonic() }
    }
}

impl Ticking {
    /// Goes on from what is on disk, if that is of the same schedule. The error says what is wrong with the schedule.
    pub fn new(schedule: &Schedule, missed: Missed, row: Option<Row>, now: Now) -> Result<Self, String> {
        let parsed = schedule.parse()?;
        let row = row.filter(|row| row.schedule == *schedule);
        let next = match &parsed {
            Parsed::Every(pause) => now.monotonic + *pause,
            Parsed::Cron(_) => now.monotonic,
        };
        Ok(Self {
            schedule: schedule.clone(),
            missed,
            last_ms: row.as_ref().and_then(|row| row.last_ms),
            parsed,
            seen_ms: row.as_ref().map_or(now.wall_ms, |row| row.seen_ms),
            seen_at: now.monotonic,
            next,
            upcoming: Cell::new(None),
            is_fresh: row.is_some(),
        })
    }

    /// What is to be on disk now, before a first tick ran.
    pub fn row(&self) -> Row {
        Row { schedule: self.schedule.clone(), seen_ms: self.seen_ms, last_ms: self.last_ms }
    }

    /// What is to be on disk once that tick runs.
    pub fn row_after(&self, tick_ms: u64) -> Row {
        Row { seen_ms: self.seen_ms.max(tick_ms), last_ms: Some(tick_ms), ..self.row() }
    }

    /// The ticks that are to be set off now, by their moment on the wall clock.
    pub fn due(&mut self, now: Now) -> Vec<u64> {
        let was_down = std::mem::take(&mut self.is_fresh);
        match self.parsed.clone() {
            Parsed::Every(pause) => self.due_of_interval(now, pause, was_down),
            Parsed::Cron(cron) => self.due_of_cron(now, |after_ms| schedule::next_tick(&cron.0, &cron.1, after_ms), was_down),
        }
    }

    fn due_of_interval(&mut self, now: Now, pause: Duration, was_down: bool) -> Vec<u64> {
        if was_down && self.missed == Missed::RunOnce {
            let away = now.wall_ms.saturating_sub(self.last_ms.unwrap_or(self.seen_ms));
            if u128::from(away) >= pause.as_millis() {
                self.next = now.monotonic;
            }
        }
        if self.next > now.monotonic {
            return Vec::new();
        }
        // Where more than one went by, as while the machine slept, they are one.
        while self.next <= now.monotonic {
            self.next += pause;
        }
        self.seen_ms = now.wall_ms;
        vec![now.wall_ms]
    }

    fn due_of_cron(&mut self, now: Now, next_tick: impl Fn(u64) -> Option<u64>, was_down: bool) -> Vec<u64> {
        let adjusted_max_ms = ADJUSTED_MAX.as_millis() as u64;
        if now.wall_ms < self.seen_ms {
            if self.seen_ms - now.wall_ms > adjusted_max_ms {
                (self.seen_ms, self.seen_at) = (now.wall_ms, now.monotonic);
                self.upcoming.set(None);
            }
            return Vec::new();
        }
        let upcoming = self.upcoming(&next_tick);
        let (from_ms, until_ms) = (std::mem::replace(&mut self.seen_ms, now.wall_ms), now.wall_ms);
        let passed = now.monotonic.saturating_duration_since(std::mem::replace(&mut self.seen_at, now.monotonic));
        let is_away = was_down || (until_ms - from_ms).saturating_sub(passed.as_millis() as u64) > adjusted_max_ms;
        if upcoming.is_none_or(|tick| tick > until_ms) {
            return Vec::new();
        }
        self.upcoming.set(None);
        let mut ticks = std::iter::successors(upcoming, |tick| next_tick(*tick)).take_while(|tick| *tick <= until_ms);
        if !is_away {
            return ticks.take(AT_ONCE_MAX).collect();
        }
        match self.missed {
            Missed::Skip => Vec::new(),
            // The last of them, which need not be searched from the first: years may lie between.
            Missed::RunOnce => {
                let first = ticks.next();
                let near = until_ms.saturating_sub(NEAR_MS).max(from_ms);
                let last = std::iter::successors(next_tick(near), |tick| next_tick(*tick)).take_while(|tick| *tick <= until_ms).last();
                last.or(first).into_iter().collect()
            }
        }
    }

    fn upcoming(&self, next_tick: &impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let upcoming = self.upcoming.get().unwrap_or_else(|| next_tick(self.seen_ms));
        self.upcoming.set(Some(upcoming));
        upcoming
    }

    /// When there may be something due again.
    pub fn look_again(&self, now: Now) -> Instant {
        match &self.parsed {
            Parsed::Every(_) => self.next,
            Parsed::Cron(_) => {
                let left_ms = self.next_ms(now).map_or(u64::MAX, |next_ms| next_ms.saturating_sub(now.wall_ms));
                now.monotonic + LOOK_AGAIN.min(Duration::from_millis(left_ms))
            }
        }
    }

    /// The next tick on the wall clock.
    pub fn next_ms(&self, now: Now) -> Option<u64> {
        match &self.parsed {
            Parsed::Every(_) => Some(now.wall_ms + self.next.saturating_duration_since(now.monotonic).as_millis() as u64),
            Parsed::Cron(cron) => {
                let next_tick = |after_ms| schedule::next_tick(&cron.0, &cron.1, after_ms);
                // One that is due already is not the next.
                self.upcoming(&next_tick).filter(|tick| *tick > now.wall_ms).or_else(|| next_tick(self.seen_ms.max(now.wall_ms)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Hands;

    const MINUTE_MS: u64 = 60_000;
    const HOUR_MS: u64 = 60 * MINUTE_MS;
    /// 2026-01-01T00:00:00Z.
    const START_MS: u64 = 1_767_225_600_000;

    struct Bench {
        clock: Clock,
        hands: Hands,
        ticking: Ticking,
        ran: Vec<u64>,
    }

    impl Bench {
        fn new(schedule: Schedule, missed: Missed) -> Self {
            let (clock, hands) = Clock::fixed(START_MS);
            let ticking = Ticking::new(&schedule, missed, None, Now::of(&clock)).unwrap();
            Self { clock, hands, ticking, ran: Vec::new() }
        }

        fn look(&mut self) {
            let now = Now::of(&self.clock);
            let due = self.ticking.due(now);
            self.ticking.last_ms = due.last().copied().or(self.ticking.last_ms);
            self.ran.extend(due);
        }

        /// Lets time pass as [`Timers::run`] does.
        fn pass(&mut self, by: Duration) {
            let until = self.clock.monotonic() + by;
            while self.clock.monotonic() < until {
                self.look();
                let next = self
                    .ticking
                    .next_ms(Now::of(&self.clock))
                    .map_or(until, |ms| self.clock.monotonic() + Duration::from_millis(ms.saturating_sub(self.clock.unix_ms()).max(1)));
                self.hands.advance(next.min(until).saturating_duration_since(self.clock.monotonic()));
            }
            self.look();
        }

        fn restart(&mut self, down: Duration) {
            self.hands.advance(down);
            let row = self.ticking.row();
            self.ticking = Ticking::new(&row.schedule.clone(), self.ticking.missed, Some(row), Now::of(&self.clock)).unwrap();
            self.look();
        }
    }

    fn cron(text: &str, zone: &str) -> Schedule {
        Schedule::Cron { cron: text.into(), time_zone: zone.into() }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_year_has_every_tick_once() {
        let mut daily = Bench::new(cron("30 2 * * *", "Europe/Berlin"), Missed::Skip);
        daily.pass(DAY * 365);
        assert_eq!(daily.ran.len(), 365, "two of them in weeks in which the clocks change");
        let mut quarter = Bench::new(cron("*/15 * * * *", "Asia/Shanghai"), Missed::Skip);
        quarter.pass(DAY * 365);
        assert_eq!(quarter.ran.len(), 365 * 96);
        assert!(quarter.ran.windows(2).all(|two| two[1] - two[0] == 15 * MINUTE_MS));
        let mut every = Bench::new(Schedule::EveryS(90), Missed::Skip);
        every.pass(DAY * 365);
        assert_eq!(every.ran.len(), 365 * 960);
    }

    #[test]
    fn ticks_while_the_gateway_is_down_run_once_or_not_at_all() {
        for (missed, wanted) in [(Missed::Skip, 0), (Missed::RunOnce, 1)] {
            for schedule in [cron("*/5 * * * *", "UTC"), Schedule::EveryS(300)] {
                let mut bench = Bench::new(schedule, missed);
                bench.restart(Duration::from_millis(HOUR_MS + MINUTE_MS));
                assert_eq!(bench.ran.len(), wanted);
                bench.pass(Duration::from_secs(300));
                assert_eq!(bench.ran.len(), wanted + 1);
            }
            let mut yearly = Bench::new(cron("0 0 1 3 *", "UTC"), missed);
            yearly.restart(DAY * 3_000);
            assert_eq!(yearly.ran.len(), wanted);
        }
    }

    #[test]
    fn a_clock_that_was_wrong_by_days_counts_as_time_away() {
        let mut bench = Bench::new(cron("0 * * * *", "UTC"), Missed::RunOnce);
        bench.hands.set_unix_ms(START_MS + 55 * 365 * 24 * HOUR_MS);
        bench.look();
        assert_eq!(bench.ran.len(), 1);
        bench.hands.set_unix_ms(START_MS);
        bench.look();
        bench.pass(Duration::from_millis(HOUR_MS * 3));
        assert_eq!(bench.ran.len(), 4, "it goes on by the clock that is right now");
    }

    proptest! {
        #[test]
        fn no_jump_of_the_clock_loses_a_tick_or_doubles_one(jumps in proptest::collection::vec((1..600u64, -170..170i64), 40..60)) {
            let mut bench = Bench::new(cron("*/10 * * * *", "UTC"), Missed::Skip);
            let mut latest_ms = START_MS;
            // Two weeks of jumps, each after some minutes.
            for (pass_minutes, jump_minutes) in jumps {
                bench.pass(Duration::from_millis(pass_minutes * MINUTE_MS));
                latest_ms = latest_ms.max(bench.clock.unix_ms());
                let to_ms = bench.clock.unix_ms().checked_add_signed(jump_minutes * MINUTE_MS as i64).unwrap();
                // Never further from what it has shown than counts as an adjustment.
                if latest_ms.saturating_sub(to_ms) <= ADJUSTED_MAX.as_millis() as u64 {
                    bench.hands.set_unix_ms(to_ms);
                }
                bench.look();
                latest_ms = latest_ms.max(bench.clock.unix_ms());
            }
            let wanted: Vec<u64> = (START_MS / (10 * MINUTE_MS) + 1..=latest_ms / (10 * MINUTE_MS)).map(|at| at * 10 * MINUTE_MS).collect();
            prop_assert_eq!(&bench.ran, &wanted);
        }
    }
}
