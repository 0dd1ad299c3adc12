//! What the queue knows while it runs: every job that has not ended, by its target; those that wait for their next try; keys, and dead
//! letters. All of it is in memory, and is read from the disk at the start.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::commit::Ending;
use super::job::{DeadLetter, Job};
use super::log::{self, Loaded};
use super::{BYTES_MAX, DEAD_LETTERS_MAX, DeadHead, KEPT, KEYED_MAX, QueueError, RESULTS_BYTES_MAX, ROWS_MAX, count, hash};
use crate::clock::{Clock, Now};
use crate::name::FunctionName;
use crate::store::Batch;

#[derive(Default)]
pub(super) struct State {
    pub(super) lanes: HashMap<FunctionName, Lane>,
    /// Targets that have jobs and a free place, in the order in which they are served.
    pub(super) ready: VecDeque<FunctionName>,
    /// Everything that is on disk and has not ended.
    pub(super) jobs: HashMap<u64, Entry>,
    pub(super) ids: HashMap<Uuid, Place>,
    /// Jobs that wait for their next try.
    pub(super) paused: BinaryHeap<Reverse<(Instant, u64)>>,
    /// By [`hash`], with when they end.
    pub(super) keys: HashMap<u128, Uuid>,
    pub(super) key_ends: VecDeque<(Instant, u128)>,
    pub(super) dead: BTreeMap<u64, DeadHead>,
    pub(super) dead_of: HashMap<FunctionName, usize>,
    pub(super) results_bytes: usize,
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// What the next commit takes.
    pub(super) arriving: Vec<(Job, Batch, oneshot::Sender<()>)>,
    /// Callers whose job is in the commit that is under way, or in the next.
    pub(super) duplicates: Vec<oneshot::Sender<()>>,
    pub(super) ending: Vec<Ending>,
    pub(super) unburied: Vec<(Vec<u64>, bool, oneshot::Sender<()>)>,
    pub(super) next_volatile: u64,
    pub(super) is_stopping: bool,
    pub(super) is_broken: bool,
}

pub(super) struct Entry {
    pub(super) job: Arc<Job>,
    pub(super) accepted: Instant,
    pub(super) is_leased: bool,
    pub(super) next: Option<Instant>,
}

/// Where a job is, by its id.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// By its number.
    Here(u64),
    /// In the row of that commit.
    Ended(u64),
}

/// The jobs of one target that may be leased. A slow target fills its own lane and delays no other.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) jobs: VecDeque<u64>,
    pub(super) leased: u32,
    pub(super) leased_max: u32,
    pub(super) is_ready: bool,
}

impl State {
    pub(super) fn loaded(loaded: Loaded, clock: &Clock) -> Self {
        let mut state = Self::default();
        let (now, mut key_ends) = (clock.now(), Vec::new());
        let mut keyed = |state: &mut Self, key: u128, id, accepted_ms| {
            let left = log::left(now, accepted_ms, KEPT);
            if !left.is_zero() {
                state.keys.insert(key, id);
                key_ends.push((now.monotonic + left, key));
            }
        };
        for (commit, ended) in loaded.ended {
            state.ids.insert(ended.id, Place::Ended(commit));
            state.results_bytes += ended.result_bytes.unwrap_or(0) as usize;
            if let Some(key) = ended.key {
                keyed(&mut state, key, ended.id, ended.accepted_ms);
            }
        }
        for (number, letter) in loaded.dead {
            state.bury(number, &letter);
        }
        for (number, job) in loaded.jobs {
            if let Some(key) = &job.key {
                keyed(&mut state, hash(&job.target, key), job.id, job.accepted_ms);
            }
            state.count(&job);
            state.enter(number, job, now);
        }
        key_ends.sort_unstable();
        state.key_ends = key_ends.into();
        state
    }

    pub(super) fn has_room(&self, job: &Job) -> Result<(), QueueError> {
        if self.rows >= ROWS_MAX {
            return Err(QueueError::Rows);
        }
        if self.bytes + job.bytes() > BYTES_MAX {
            return Err(QueueError::Bytes);
        }
        if job.key.is_some() && (self.keys.len() >= KEYED_MAX || self.results_bytes >= RESULTS_BYTES_MAX) {
            return Err(QueueError::Results(self.keys.len()));
        }
        if self.dead_of.get(&job.target).is_some_and(|dead| *dead >= DEAD_LETTERS_MAX) {
            return Err(QueueError::DeadLetters(job.target.clone()));
        }
        Ok(())
    }

    pub(super) fn count(&mut self, job: &Job) {
        self.rows += 1;
        self.bytes += job.bytes();
    }

    /// A job that is on disk.
    pub(super) fn enter(&mut self, number: u64, job: Job, now: Now) {
        self.ids.insert(job.id, Place::Here(number));
        let left = job.pause.map(|pause| log::left(now, pause.from_ms, Duration::from_millis(pause.for_ms)));
        let next = left.filter(|left| !left.is_zero()).map(|left| now.monotonic + left);
        let target = job.target.clone();
        let lane = self.lanes.entry(target.clone()).or_default();
        lane.leased_max = leased_max(&job);
        let age = Duration::from_millis(now.unix_ms.saturating_sub(job.accepted_ms));
        let accepted = now.monotonic.checked_sub(age).unwrap_or(now.monotonic);
        self.jobs.insert(number, Entry { job: Arc::new(job), accepted, is_leased: false, next });
        match next {
            Some(next) => self.paused.push(Reverse((next, number))),
            None => {
                lane.jobs.push_back(number);
                self.refresh(&target);
            }
        }
    }

    /// A job whose row is gone.
    pub(super) fn leave(&mut self, number: u64) {
        if let Some(entry) = self.jobs.remove(&number) {
            self.rows -= 1;
            self.bytes -= entry.job.bytes();
        }
    }

    /// A try is over. Whether there is something to write, which the next commit takes.
    pub(super) fn end(&mut self, ending: Ending) -> bool {
        self.release(&ending.lease.job.target);
        for job in &ending.then {
            self.count(job);
        }
        if ending.lease.is_volatile() {
            self.leave(ending.lease.number);
            self.ids.remove(&ending.lease.job.id);
        }
        if ending.lease.is_volatile() && ending.then.is_empty() {
            ending.tell();
            return false;
        }
        self.ending.push(ending);
        true
    }

    pub(super) fn bury(&mut self, number: u64, letter: &DeadLetter) {
        let job = &letter.job;
        *self.dead_of.entry(job.target.clone()).or_default() += 1;
        let head = DeadHead {
            id: job.id,
            target: job.target.clone(),
            died_ms: letter.died_ms,
            attempts: count(&job.attempts),
            error: job.attempts.last().map(|attempt| attempt.error.clone()).unwrap_or_default(),
        };
        self.dead.insert(number, head);
    }

    pub(super) fn unbury(&mut self, number: u64) {
        let Some(head) = self.dead.remove(&number) else { return };
        if let Some(dead) = self.dead_of.get_mut(&head.target) {
            *dead -= 1;
            if *dead == 0 {
                self.dead_of.remove(&head.target);
            }
        }
    }

    /// Jobs whose time has come go back to their lanes.
    pub(super) fn resume(&mut self, now: Instant) {
        while let Some(Reverse((at, number))) = self.paused.peek().copied()
            && at <= now
        {
            self.paused.pop();
            let Some(entry) = self.jobs.get_mut(&number) else { continue };
            entry.next = None;
            let (target, leased_max) = (entry.job.target.clone(), leased_max(&entry.job));
            let lane = self.lanes.entry(target.clone()).or_default();
            lane.leased_max = leased_max;
            lane.jobs.push_back(number);
            self.refresh(&target);
        }
    }

    pub(super) fn forget_keys(&mut self, now: Instant) {
        while let Some((ends, key)) = self.key_ends.front()
            && *ends <= now
        {
            self.keys.remove(key);
            self.key_ends.pop_front();
        }
    }

    /// A lease of this target is over.
    pub(super) fn release(&mut self, target: &FunctionName) {
        if let Some(lane) = self.lanes.get_mut(target) {
            lane.leased -= 1;
        }
        self.refresh(target);
    }

    pub(super) fn refresh(&mut self, target: &FunctionName) {
        let Some(lane) = self.lanes.get_mut(target) else { return };
        if lane.leased == 0 && lane.jobs.is_empty() && !lane.is_ready {
            // A paused job finds it made again.
            self.lanes.remove(target);
        } else if !lane.is_ready && !lane.jobs.is_empty() && lane.leased < lane.leased_max {
            lane.is_ready = true;
            self.ready.push_back(target.clone());
        }
    }
}

fn leased_max(job: &Job) -> u32 {
    job.concurrency.clamp(1, LANE_LEASED_MAX)
}

/// Jobs of one target that may be leased at once, so that the workers never all wait for one function.
const LANE_LEASED_MAX: u32 = 16;
