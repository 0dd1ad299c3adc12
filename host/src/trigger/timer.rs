//! Timers: functions that are invoked by the clock.
//!
//! A tick of a cron expression is named by its moment on the wall clock, and runs once however that clock is set: an adjustment forward
//! (up to [`ADJUSTED_MAX`]) runs the ticks that it passed over, and one backward waits until it is past them again. A clock that is set
//! further than that was wrong, and counts as time in which the gateway was down. What becomes of ticks that were missed then, or that come
//! while the last one still runs, the timer says itself. An interval goes by the time that passes, whatever the wall clock says.
//!
//! A tick is an async invocation: it is on disk, together with the note that it was, before anything runs.

mod ticking;

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::clock::Clock;
use crate::function::Functions;
use crate::name::FunctionName;
use crate::queue::Queue;
use crate::queue::job::Job;
use crate::schedule;
use crate::set::{self, Missed};
use crate::store::writer::Handle;
use crate::store::{Batch, Store, Table};
use crate::telemetry::OncePerSecond;
pub use ticking::{ADJUSTED_MAX, LOOK_AGAIN, Now, Row, Ticking};

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
    ticking: Ticking,
    /// The invocation of the last tick, which may run still.
    running: Option<Uuid>,
    /// A tick that came meanwhile, and is to run after that.
    waiting: Option<u64>,
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
                Some(before) if before.timer.schedule == timer.schedule => {
                    let mut ticking = before.ticking;
                    ticking.missed = timer.missed;
                    armed.push(Armed { timer: timer.clone(), ticking, ..before });
                }
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
        let key = key(function, &timer.name);
        let row = self.store.get_json::<Row>(Table::Timers, &key).ok().flatten();
        let noted = match Ticking::new(&timer.schedule, timer.missed, row, now) {
            Ok(ticking) => batch.put_json(Table::Timers, key, &ticking.row()).map(|()| ticking).map_err(|error| format!("{error:#}")),
            Err(wrong) => Err(wrong),
        };
        match noted {
            Ok(ticking) => Some(Armed { function: function.clone(), timer: timer.clone(), ticking, running: None, waiting: None }),
            // A deployment checks it. This one was made by another version.
            Err(wrong) => {
                tracing::error!("timer `{}` of function `{function}` does not tick: {wrong}", timer.name);
                None
            }
        }
    }

    pub fn list(&self) -> Vec<TimerState> {
        let now = self.now();
        let shown = |armed: &Armed| TimerState {
            function: armed.function.clone(),
            timer: armed.timer.clone(),
            last_ms: armed.ticking.last_ms,
            next_ms: armed.ticking.next_ms(now),
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
            for tick_ms in armed.ticking.due(now) {
                if armed.is_running(&self.queue) {
                    armed.waiting = (armed.timer.missed == Missed::RunOnce).then_some(tick_ms);
                } else {
                    self.fire(armed, tick_ms);
                }
            }
            if let Some(tick_ms) = armed.waiting
                && !armed.is_running(&self.queue)
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
        let row = armed.ticking.row_after(tick_ms);
        let mut rows = Batch::new();
        let id = job.id;
        let queued = rows.put_json(Table::Timers, key(name, &timer.name), &row).map_err(|error| format!("{error:#}"));
        match queued.and_then(|()| self.queue.submit_with(job, rows).map(drop).map_err(|full| full.to_string())) {
            Ok(()) => (armed.running, armed.ticking.last_ms) = (Some(id), Some(tick_ms)),
            Err(reason) => {
                if let Some(others) = self.refusals.turn() {
                    let timer = &timer.name;
                    tracing::warn!("a tick of timer `{timer}` of function `{name}` is lost: {reason} (and {others} more such ticks)");
                }
            }
        }
    }

    fn now(&self) -> Now {
        Now::of(&self.clock)
    }
}

impl Armed {
    fn is_running(&self, queue: &Queue) -> bool {
        self.running.is_some_and(|id| queue.is_under_way(id))
    }

    fn look_again(&self, now: Now) -> Instant {
        let soonest = self.ticking.look_again(now);
        if self.waiting.is_some() { soonest.min(now.monotonic + LOOK_AGAIN / 10) } else { soonest }
    }
}

fn key(function: &FunctionName, timer: &str) -> String {
    format!("{function}/{timer}")
}
