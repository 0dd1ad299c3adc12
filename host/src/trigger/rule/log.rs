//! What rules did, and why: every judgement in memory, every run on disk, written behind.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use super::WRITTEN_BEHIND;
use super::waiting::Place;
use crate::name::ThingId;
use crate::rule::{Happened, Rule, Verdict};
use crate::store::{Batch, Store, Table};

/// Runs of one rule that are kept.
pub const RUNS_MAX: usize = 200;
/// The longest text that an action may leave in the log, in bytes.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// Something that happened, and what a rule made of it.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The same for every rule that was asked about the same.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Whose report it was.
    pub thing: Option<ThingId>,
    /// What happened, cut where it is long.
    pub cause: Arc<Json>,
    pub verdict: Verdict,
    pub outcome: Outcome,
}

impl Evaluation {
    pub fn is_run(&self) -> bool {
        matches!(self.outcome, Outcome::Ran(_))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its run, by its trace id.
    Ran(Uuid),
    /// No trigger was met, or a condition does not hold.
    NotMet,
    /// It would have run, and is disabled.
    Off,
    /// It would have run, but for this.
    Refused(String),
}

/// One run of a rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub trace: Uuid,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub cause: Arc<Json>,
    pub verdict: Verdict,
    pub actions: Vec<Acted>,
}

/// What became of an action.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acted {
    pub what: String,
    /// When it is to run, or was, in milliseconds since 1970.
    pub due_ms: u64,
    pub ended_ms: Option<u64>,
    /// `None`: it has not ended.
    pub is_ok: Option<bool>,
    pub message: String,
}

/// The runs of one rule.
#[derive(Default)]
pub struct Log {
    /// All of them, the oldest first.
    keys: VecDeque<String>,
    /// Those that are not on disk as they are, or whose actions have not all ended.
    open: HashMap<String, Open>,
    /// Runs that are too old, and on disk.
    gone: Vec<String>,
    write_at: Option<Instant>,
    /// Something is to be written, and nobody has said when.
    is_changed: bool,
}

struct Open {
    run: Run,
    is_changed: bool,
}

impl Run {
    pub fn new(now_ms: u64, happened: &Happened, verdict: Verdict, rule: &Rule) -> Self {
        let acted = |action: &crate::rule::Action| Acted {
            what: action.deed.to_string(),
            due_ms: now_ms + u64::try_from(action.delay.as_millis()).unwrap_or(u64::MAX),
            ended_ms: None,
            is_ok: None,
            message: String::new(),
        };
        let actions = rule.actions.iter().map(|action| acted(&action.it)).collect();
        Self { trace: Uuid::new_v4(), at_ms: now_ms, cause: happened.shown.clone(), verdict, actions }
    }

    /// Keys of one rule sort by time.
    pub fn key(&self, name: &str) -> String {
        format!("{name}/{:013}/{}", self.at_ms, self.trace)
    }

    /// As it is told once nothing of it can run any more: the log is written behind, and an end may have come before that.
    pub fn after_all(mut self) -> Self {
        for action in self.actions.iter_mut().filter(|action| action.is_ok.is_none()) {
            (action.is_ok, action.message) = (Some(false), "the gateway ended before it was noted how this went".to_owned());
        }
        self
    }

    fn has_ended(&self) -> bool {
        self.actions.iter().all(|action| action.is_ok.is_some())
    }
}

impl Log {
    pub fn restored(store: &Store, name: &str) -> Self {
        Self { keys: store.keys(Table::RuleRuns, &format!("{name}/")).unwrap_or_default().into(), ..Self::default() }
    }

    /// Actions of these runs will end.
    pub fn keep_open<'p>(&mut self, store: &Store, places: impl Iterator<Item = &'p Place>) {
        for place in places {
            if !self.open.contains_key(&place.run)
                && let Ok(Some(run)) = store.get_json(Table::RuleRuns, &place.run)
            {
                self.open.insert(place.run.clone(), Open { run, is_changed: false });
            }
        }
    }

    pub fn began(&mut self, key: String, run: Run) {
        if self.keys.len() == RUNS_MAX
            && let Some(oldest) = self.keys.pop_front()
        {
            self.open.remove(&oldest);
            self.gone.push(oldest);
        }
        self.keys.push_back(key.clone());
        self.open.insert(key, Open { run, is_changed: true });
        self.is_changed = true;
    }

    pub fn ended(&mut self, place: &Place, result: Result<String, String>, now_ms: u64) {
        let Some(open) = self.open.get_mut(&place.run) else { return };
        let Some(acted) = open.run.actions.get_mut(place.action) else { return };
        let is_ok = result.is_ok();
        let mut message = result.unwrap_or_else(|error| error);
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        *acted = Acted { ended_ms: Some(now_ms), is_ok: Some(is_ok), message, ..acted.clone() };
        open.is_changed = true;
        self.is_changed = true;
    }

    pub fn last_ms(&self) -> Option<u64> {
        self.keys.back()?.split('/').nth(1)?.parse().ok()
    }

    /// Every key, the oldest first, and the runs that are not read from the disk.
    pub fn all(&self) -> (Vec<String>, HashMap<String, Run>) {
        let open = self.open.iter().map(|(key, open)| (key.clone(), open.run.clone()));
        (self.keys.iter().cloned().collect(), open.collect())
    }

    /// All of its keys, for they are to be deleted.
    pub fn forget(&mut self) -> Vec<String> {
        let log = std::mem::take(self);
        log.keys.into_iter().chain(log.gone).collect()
    }

    /// Adds what has changed, if it is time.
    pub fn write(&mut self, batch: &mut Batch, now: Instant) {
        if std::mem::take(&mut self.is_changed) && self.write_at.is_none() {
            self.write_at = Some(now + WRITTEN_BEHIND);
        }
        if self.write_at.is_some_and(|at| at <= now) {
            self.flush(batch);
        }
    }

    /// Adds what has changed.
    pub fn flush(&mut self, batch: &mut Batch) {
        (self.write_at, self.is_changed) = (None, false);
        for key in self.gone.drain(..) {
            batch.delete(Table::RuleRuns, key);
        }
        for (key, open) in self.open.iter_mut().filter(|(_, open)| open.is_changed) {
            if let Err(error) = batch.put_json(Table::RuleRuns, key.clone(), &open.run) {
                tracing::error!("the log of a rule: {error:#}");
            }
            open.is_changed = false;
        }
        self.open.retain(|_, open| !open.run.has_ended());
    }

    pub fn next_write(&self) -> Option<Instant> {
        self.write_at
    }
}
