//! Timers: functions that are invoked by the clock.
//!
//! A tick of a cron expression is named by its moment on the wall clock, and runs once however that clock is set: an adjustment forward
//! (up to [`ADJUSTED_MAX`]) runs the ticks that it passed over, and one backward waits until it is past them again. A clock that is set
//! further than that was wrong, and counts as time in which the gateway was down. What becomes of ticks that were missed then, or that come
//! while the last one still runs, the timer says itself. An interval goes by the time that passes, whatever the wall clock says.
//!
//! A tick is an async invocation: it is on disk, together with the note that it was, before anything runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::clock::Clock;
use crate::function::Functions;
use crate::name::FunctionName;
use crate::queue::Queue;
use crate::queue::job::Job;
use crate::schedule::{self, Parsed};
use crate::set::{self, Missed};
use crate::store::writer::Handle;
use crate::store::{Batch, Store, Table};
use crate::telemetry::OncePerSecond;

/// How far the wall clock is set while it counts as the same clock, a little wrong.
pub const ADJUSTED_MAX: Duration = Duration::from_secs(3 * 60 * 60);
/// How soon it is noticed that the wall clock was set.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Ticks of one timer that one adjustment of the clock may set off.
const AT_ONCE_MAX: usize = 200;

/// Every timer that is deployed.
pub struct Timers {
    store: Arc<Store>,
    writer: Handle,
    clock: Clock,
    functions: Arc<Functions>,
    queue: Arc<Queue>,
    armed: Mutex<Vec<Armed>>,
    changed: Notify,
    refusals: OncePerSecond,
}

/// What is shown of a timer.
pub struct TimerState {
    pub function: FunctionName,
    pub timer: set::Timer,
    /// Milliseconds since 1970.
    pub last_ms: Option<u64>,
    pub next_ms: Option<u64>,
}

struct Armed {
    function: FunctionName,
    timer: set::Timer,
    schedule: Parsed,
    /// The wall clock up to which every tick was looked at. Of an interval: the last tick.
    seen_ms: u64,
    /// When that was, by the clock that is never set.
    seen_at: Instant,
    /// The last tick that ran.
    last_ms: Option<u64>,
    /// Of an interval.
    next: Instant,
    /// Whether the time before now is time in which the gateway was down.
    is_fresh: bool,
    /// The invocation of the last tick, which may run still.
    running: Option<Uuid>,
    /// A tick that came meanwhile, and is to run after that.
    waiting: Option<u64>,
}

/// What is on disk of a timer.
#[derive(Serialize, Deserialize)]
struct Row {
    /// A timer whose schedule was changed begins anew.
    schedule: set::Schedule,
    seen_ms: u64,
    last_ms: Option<u64>,
}

/// What a clock shows.
#[derive(Clone, Copy)]
struct Now {
    wall_ms: u64,
    monotonic: Instant,
}

impl Timers {
    pub fn new(store: Arc<Store>, writer: Handle, clock: Clock, functions: Arc<Functions>, queue: Arc<Queue>) -> Self {
        let (armed, changed) = (Mutex::default(), Notify::new());
        Self { store, writer, clock, functions, queue, armed, changed, refusals: OncePerSecond::default() }
    }

    /// Replaces all timers. One that was there with the same schedule goes on.
    pub fn replace<'f>(&self, functions: impl Iterator<Item = &'f set::Function>) {
        let now = self.now();
        let mut armed = self.armed.lock();
        let mut old = std::mem::take(&mut *armed);
        let mut batch = Batch::new();
        for (function, timer) in functions.flat_map(|function| function.timers.iter().map(|timer| (&function.name, timer))) {
            let same = |it: &Armed| it.function == *function && it.timer.name == timer.name;
            let before = old.iter().position(same).map(|at| old.swap_remove(at));
            match before {
                Some(before) if before.timer.schedule == timer.schedule => armed.push(Armed { timer: timer.clone(), ..before }),
                _ => armed.extend(self.armed(function, timer, now, &mut batch)),
            }
        }
        for gone in old {
            batch.delete(Table::Timers, key(&gone.function, &gone.timer.name));
        }
        drop(armed);
        // It need not be waited for: at worst a timer that was deleted is read again, and deleted again.
        drop(self.writer.commit(batch));
        self.changed.notify_one();
    }

    fn armed(&self, function: &FunctionName, timer: &set::Timer, now: Now, batch: &mut Batch) -> Option<Armed> {
        let schedule = match timer.schedule.parse() {
            Ok(schedule) => schedule,
            // A deployment checks it. This one was made by another version.
            Err(wrong) => {
                tracing::error!("timer `{}` of function `{function}` does not tick: {wrong}", timer.name);
                return None;
            }
        };
        let row = self.store.get_json::<Row>(Table::Timers, &key(function, &timer.name)).ok().flatten();
        let row = row.filter(|row| row.schedule == timer.schedule);
        let is_fresh = row.is_some();
        let row = row.unwrap_or(Row { schedule: timer.schedule.clone(), seen_ms: now.wall_ms, last_ms: None });
        if !is_fresh && let Err(error) = batch.put_json(Table::Timers, key(function, &timer.name), &row) {
            tracing::error!("{error:#}");
        }
        let next = match &schedule {
            Parsed::Every(pause) => now.monotonic + *pause,
            Parsed::Cron(_) => now.monotonic,
        };
        Some(Armed {
            function: function.clone(),
            timer: timer.clone(),
            schedule,
            seen_ms: row.seen_ms,
            seen_at: now.monotonic,
            last_ms: row.last_ms,
            next,
            is_fresh,
            running: None,
            waiting: None,
        })
    }

    pub fn list(&self) -> Vec<TimerState> {
        let now = self.now();
        let shown = |armed: &Armed| TimerState {
            function: armed.function.clone(),
            timer: armed.timer.clone(),
            last_ms: armed.last_ms,
            next_ms: armed.next_ms(now),
        };
        self.armed.lock().iter().map(shown).collect()
    }

    /// Ticks until it is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            let next = self.tick();
            tokio::select! {
                () = changed => {}
                () = self.clock.until(next) => {}
            }
        }
    }

    /// Sets off what is due. When there is something to look at again.
    fn tick(&self) -> Instant {
        let now = self.now();
        let mut next = now.monotonic + ADJUSTED_MAX;
        for armed in &mut *self.armed.lock() {
            for tick_ms in armed.due(now) {
                if armed.running.is_some_and(|id| self.queue.is_under_way(id)) {
                    armed.waiting = (armed.timer.missed == Missed::RunOnce).then_some(tick_ms);
                } else {
                    self.fire(armed, tick_ms);
                }
            }
            if let Some(tick_ms) = armed.waiting
                && !armed.running.is_some_and(|id| self.queue.is_under_way(id))
            {
                armed.waiting = None;
                self.fire(armed, tick_ms);
            }
            next = next.min(armed.look_again(now));
        }
        next
    }

    fn fire(&self, armed: &mut Armed, tick_ms: u64) {
        let Armed { function: name, timer, .. } = armed;
        let Some(function) = self.functions.get(name) else { return };
        let event = json!({"triggerTime": schedule::iso(tick_ms), "triggerName": timer.name, "payload": timer.payload}).to_string();
        let job = Job::new(name.clone(), event, function.limits.concurrency);
        let row = Row { schedule: timer.schedule.clone(), seen_ms: armed.seen_ms.max(tick_ms), last_ms: Some(tick_ms) };
        let mut rows = Batch::new();
        let id = job.id;
        let queued = rows.put_json(Table::Timers, key(name, &timer.name), &row).map_err(|error| format!("{error:#}"));
        match queued.and_then(|()| self.queue.submit_with(job, rows).map(drop).map_err(|full| full.to_string())) {
            Ok(()) => (armed.running, armed.last_ms) = (Some(id), Some(tick_ms)),
            Err(reason) => {
                if let Some(others) = self.refusals.turn() {
                    let timer = &timer.name;
                    tracing::warn!("a tick of timer `{timer}` of function `{name}` is lost: {reason} (and {others} more such ticks)");
                }
            }
        }
    }

    fn now(&self) -> Now {
        Now { wall_ms: self.clock.unix_ms(), monotonic: self.clock.monotonic() }
    }
}

impl Armed {
    /// The ticks that are to be set off now, by their moment on the wall clock.
    fn due(&mut self, now: Now) -> Vec<u64> {
        let was_down = std::mem::take(&mut self.is_fresh);
        match self.schedule.clone() {
            Parsed::Every(pause) => self.due_of_interval(now, pause, was_down),
            Parsed::Cron(cron) => self.due_of_cron(now, |after_ms| schedule::next_tick(&cron.0, &cron.1, after_ms), was_down),
        }
    }

    fn due_of_interval(&mut self, now: Now, pause: Duration, was_down: bool) -> Vec<u64> {
        if was_down && self.timer.missed == Missed::RunOnce {
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
            }
            return Vec::new();
        }
        let (from_ms, until_ms) = (std::mem::replace(&mut self.seen_ms, now.wall_ms), now.wall_ms);
        let passed = now.monotonic.saturating_duration_since(std::mem::replace(&mut self.seen_at, now.monotonic));
        let is_away = was_down || (until_ms - from_ms).saturating_sub(passed.as_millis() as u64) > adjusted_max_ms;
        let mut ticks = std::iter::successors(next_tick(from_ms), |tick| next_tick(*tick)).take_while(|tick| *tick <= until_ms);
        if !is_away {
            return ticks.take(AT_ONCE_MAX).collect();
        }
        match self.timer.missed {
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

    fn look_again(&self, now: Now) -> Instant {
        let soonest = match &self.schedule {
            Parsed::Every(_) => self.next,
            Parsed::Cron(_) => {
                let left_ms = self.next_ms(now).map_or(u64::MAX, |next_ms| next_ms.saturating_sub(now.wall_ms));
                now.monotonic + LOOK_AGAIN.min(Duration::from_millis(left_ms))
            }
        };
        if self.waiting.is_some() { soonest.min(now.monotonic + LOOK_AGAIN / 10) } else { soonest }
    }

    /// The next tick on the wall clock.
    fn next_ms(&self, now: Now) -> Option<u64> {
        match &self.schedule {
            Parsed::Every(_) => Some(now.wall_ms + self.next.saturating_duration_since(now.monotonic).as_millis() as u64),
            Parsed::Cron(cron) => schedule::next_tick(&cron.0, &cron.1, self.seen_ms.max(now.wall_ms)),
        }
    }
}

/// A stretch in which the last tick before now is searched, before the first one of all is taken.
const NEAR_MS: u64 = 25 * 60 * 60 * 1_000;

fn key(function: &FunctionName, timer: &str) -> String {
    format!("{function}/{timer}")
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
        armed: Armed,
        ran: Vec<u64>,
    }

    impl Bench {
        fn new(schedule: set::Schedule, missed: Missed) -> Self {
            let (clock, hands) = Clock::fixed(START_MS);
            let timer = set::Timer { name: "t".into(), schedule: schedule.clone(), payload: String::new(), missed };
            let schedule = schedule.parse().unwrap();
            let next = match &schedule {
                Parsed::Every(pause) => clock.monotonic() + *pause,
                Parsed::Cron(_) => clock.monotonic(),
            };
            let function = "a/b".parse().unwrap();
            let armed = Armed {
                function,
                timer,
                schedule,
                seen_ms: START_MS,
                seen_at: clock.monotonic(),
                last_ms: None,
                next,
                is_fresh: false,
                running: None,
                waiting: None,
            };
            Self { clock, hands, armed, ran: Vec::new() }
        }

        fn now(&self) -> Now {
            Now { wall_ms: self.clock.unix_ms(), monotonic: self.clock.monotonic() }
        }

        fn look(&mut self) {
            let now = self.now();
            let due = self.armed.due(now);
            self.armed.last_ms = due.last().copied().or(self.armed.last_ms);
            self.ran.extend(due);
        }

        /// Lets time pass as [`Timers::run`] does.
        fn pass(&mut self, by: Duration) {
            let until = self.clock.monotonic() + by;
            while self.clock.monotonic() < until {
                self.look();
                let next = self
                    .armed
                    .next_ms(self.now())
                    .map_or(until, |ms| self.clock.monotonic() + Duration::from_millis(ms.saturating_sub(self.clock.unix_ms()).max(1)));
                self.hands.advance(next.min(until).saturating_duration_since(self.clock.monotonic()));
            }
            self.look();
        }

        fn restart(&mut self, down: Duration) {
            self.hands.advance(down);
            self.armed.is_fresh = true;
            if let Parsed::Every(pause) = &self.armed.schedule {
                self.armed.next = self.clock.monotonic() + *pause;
            }
            self.look();
        }
    }

    fn cron(text: &str, zone: &str) -> set::Schedule {
        set::Schedule::Cron { cron: text.into(), time_zone: zone.into() }
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
        let mut every = Bench::new(set::Schedule::EveryS(90), Missed::Skip);
        every.pass(DAY * 365);
        assert_eq!(every.ran.len(), 365 * 960);
    }

    #[test]
    fn ticks_while_the_gateway_is_down_run_once_or_not_at_all() {
        for (missed, wanted) in [(Missed::Skip, 0), (Missed::RunOnce, 1)] {
            for schedule in [cron("*/5 * * * *", "UTC"), set::Schedule::EveryS(300)] {
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
