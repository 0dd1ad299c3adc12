//! What a rule keeps from one moment to the next, and the actions that are to run still.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use super::log::{Evaluation, Log};
use crate::call_path::CallPath;
use crate::rule::Deed;
use crate::set;
use crate::store::{Store, Table};
use crate::trigger::timer::{Now, Ticking};

/// Actions of one rule that run at once. The others wait.
const RUNNING_MAX: usize = 16;
/// Actions of one rule that wait. Beyond them it does not run.
pub const WAITING_MAX: usize = 1_000;
/// What they are to tell, in bytes, all together.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// Judgements of one rule that are kept.
const EVALUATIONS_MAX: usize = 64;

/// Of one rule.
#[derive(Default)]
pub struct State {
    pub is_on: bool,
    pub ticking: Vec<(usize, Ticking)>,
    /// By when they are due, and in the order in which they came.
    pub waiting: BTreeMap<(Instant, u64), Waiting>,
    pub running: usize,
    pub runs: u64,
    pub log: Log,
    /// The last ones, the newest last.
    pub evaluations: VecDeque<Evaluation>,
    /// A second, and the runs in it.
    window: Option<(Instant, u32)>,
}

/// An action that is to run. Its row on disk is the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waiting {
    pub number: u64,
    pub place: Place,
    pub deed: Deed,
    /// What happened, for those who are told. Shared by the actions of a run.
    pub cause: Arc<Json>,
    pub cause_bytes: usize,
    /// When that happened, in milliseconds since 1970.
    pub at_ms: u64,
    pub path: CallPath,
    /// It runs so long after this moment. Told so, a clock that is set meanwhile makes it at most as much later.
    pub from_ms: u64,
    pub delay_ms: u64,
    pub is_on_disk: bool,
    /// Since when it waits for a thing that was not there yet.
    #[serde(skip)]
    pub not_yet_since: Option<Instant>,
}

/// Where an action stands in the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The key of its run.
    pub run: String,
    pub trace: Uuid,
    pub action: usize,
}

impl Waiting {
    pub fn key(&self, name: &str) -> String {
        format!("{name}/{:016x}", self.number)
    }
}

/// The number in a row's key.
pub fn number(key: &str) -> Option<u64> {
    u64::from_str_radix(key.rsplit_once('/')?.1, 16).ok()
}

impl State {
    /// What is on disk of a rule.
    pub fn restored(store: &Store, name: &str, now: Now) -> Self {
        let mut state = Self { log: Log::restored(store, name), ..Self::default() };
        let rows = store.list_some(Table::RuleActions, &format!("{name}/"), None, usize::MAX).unwrap_or_default();
        for (key, row) in rows {
            match serde_json::from_slice::<Waiting>(&row) {
                Ok(waiting) => {
                    let passed_ms = now.wall_ms.saturating_sub(waiting.from_ms);
                    let left = Duration::from_millis(waiting.delay_ms.saturating_sub(passed_ms));
                    state.waiting.insert((now.monotonic + left, waiting.number), waiting);
                }
                Err(error) => tracing::error!("an action of rule `{name}` (row `{key}`) is damaged and does not run: {error}"),
            }
        }
        state.log.keep_open(store, state.waiting.values().map(|waiting| &waiting.place));
        state
    }

    /// Whether one more run may begin, with so many actions, which are to tell so many bytes.
    pub fn has_room(&mut self, row: &set::Rule, actions: usize, bytes: usize, now: Instant) -> Result<(), String> {
        if bytes > 0 && bytes + self.waiting.values().map(|waiting| waiting.cause_bytes).sum::<usize>() > WAITING_BYTES_MAX {
            return Err(format!("what its actions are to tell has more than {WAITING_BYTES_MAX} bytes, with those that wait"));
        }
        if self.waiting.len() + actions > WAITING_MAX {
            return Err(format!("{} actions of it wait already, {WAITING_MAX} at most", self.waiting.len()));
        }
        let (began, runs) = self.window.filter(|(began, _)| now.saturating_duration_since(*began) < SECOND).unwrap_or((now, 0));
        if runs >= row.runs_per_s {
            return Err(format!("limit runs_per_s ({}) hit", row.runs_per_s));
        }
        self.window = Some((began, runs + 1));
        Ok(())
    }

    /// It could not run yet, and is to be tried again.
    pub fn put_back(&mut self, waiting: Waiting, due: Instant) {
        self.running -= 1;
        self.waiting.insert((due, waiting.number), waiting);
    }

    pub fn take_due(&mut self, now: Instant) -> Option<Waiting> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now && self.running < RUNNING_MAX)?;
        self.running += 1;
        Some(first.remove())
    }

    /// When the next action can run. `None`: only once another has ended.
    pub fn next_due(&self) -> Option<Instant> {
        let ((due, _), _) = self.waiting.first_key_value()?;
        (self.running < RUNNING_MAX).then_some(*due)
    }

    pub fn note(&mut self, evaluation: Evaluation) {
        if self.evaluations.len() == EVALUATIONS_MAX {
            self.evaluations.pop_front();
        }
        self.evaluations.push_back(evaluation);
    }
}

const SECOND: Duration = Duration::from_secs(1);
