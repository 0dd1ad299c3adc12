//! What the thread of the commits does with the queue: it takes what came since the last commit, and tells those who wait for it once that
//! is on disk.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::job::{Attempt, DeadLetter, Ended, Job, Pause, shortened};
use super::lanes::{Place, State};
use super::log::{self, Changes, Log};
use super::{ENDED_MAX, Lease, Outcome, Queue, count, hash, is_volatile};
use crate::store::Batch;
use crate::store::writer::Source;

pub(super) struct Ending {
    pub(super) lease: Lease,
    pub(super) outcome: Outcome,
    /// What follows from the end, in the same commit.
    pub(super) then: Vec<Job>,
    /// Who waits for it.
    pub(super) done: Option<oneshot::Sender<()>>,
}

impl Ending {
    pub(super) fn tell(self) {
        if let Some(done) = self.done {
            let _ = done.send(());
        }
    }
}

/// What the thread of the commits knows, and what is in the commit that is under way.
pub(super) struct Writing {
    pub(super) log: Log,
    pub(super) next_number: u64,
    pub(super) changes: Changes,
    pub(super) commit: u64,
    pub(super) forgotten: Vec<log::Kept>,
    pub(super) waiting: Vec<oneshot::Sender<()>>,
}

impl Source for Queue {
    fn gather(&self, batch: &mut Batch) {
        let (now, now_ms) = (self.clock.monotonic(), self.clock.unix_ms());
        let (arriving, duplicates, ending, unburied) = {
            let mut state = self.state.lock();
            state.forget_keys(now);
            let State { arriving, duplicates, ending, unburied, .. } = &mut *state;
            (std::mem::take(arriving), std::mem::take(duplicates), std::mem::take(ending), std::mem::take(unburied))
        };
        let writing = &mut *self.log.lock();
        writing.waiting = duplicates;
        for (job, rows, done) in arriving {
            batch.append(rows);
            writing.add(job);
            writing.waiting.push(done);
        }
        for ending in ending {
            if let Some(again) = writing.end(ending, now_ms) {
                self.state.lock().count(again);
            }
        }
        for (numbers, is_requeued, done) in unburied {
            for number in numbers {
                self.take_up(writing, number, is_requeued);
            }
            writing.waiting.push(done);
        }
        writing.commit = writing.log.write(&writing.changes, now, batch);
        writing.forgotten = writing.log.forget(now, ENDED_MAX, batch);
    }

    fn committed(&self) {
        let writing = &mut *self.log.lock();
        let (changes, now) = (std::mem::take(&mut writing.changes), self.clock.now());
        let mut state = self.state.lock();
        for number in changes.gone {
            state.leave(number);
        }
        for (number, job) in changes.added {
            state.enter(number, job, now);
        }
        for (number, letter) in &changes.dead {
            state.bury(*number, letter);
        }
        for number in changes.buried {
            state.unbury(number);
        }
        for kept in writing.forgotten.drain(..) {
            // It may be known again under another row, if it was requeued.
            if matches!(state.ids.get(&kept.id), Some(Place::Ended(commit)) if *commit == kept.commit) {
                state.ids.remove(&kept.id);
            }
            state.results_bytes -= kept.result_bytes.unwrap_or(0) as usize;
        }
        for (ended, _) in &changes.ended {
            state.ids.insert(ended.id, Place::Ended(writing.commit));
            state.results_bytes += ended.result_bytes.unwrap_or(0) as usize;
        }
        drop(state);
        for done in writing.waiting.drain(..) {
            let _ = done.send(());
        }
        self.changed.notify_one();
    }

    fn failed(&self) {
        self.log.lock().waiting.clear();
        let mut state = self.state.lock();
        state.is_broken = true;
        let State { arriving, duplicates, ending, unburied, .. } = &mut *state;
        arriving.clear();
        duplicates.clear();
        ending.clear();
        unburied.clear();
        drop(state);
        self.changed.notify_waiters();
        self.changed.notify_one();
    }
}

impl Queue {
    fn take_up(&self, writing: &mut Writing, number: u64, is_requeued: bool) {
        if writing.changes.buried.contains(&number) {
            return;
        }
        if is_requeued {
            let letter = match log::dead_letter(&self.store, number) {
                Ok(Some(letter)) => letter,
                // Somebody else was quicker.
                Ok(None) => return,
                Err(error) => return tracing::error!("a dead letter cannot be read, and stays where it is: {error:#}"),
            };
            let job = Job { attempts: Vec::new(), pause: None, ..letter.job };
            self.state.lock().count(&job);
            writing.add(job);
        }
        writing.changes.buried.push(number);
    }
}

impl Writing {
    fn add(&mut self, job: Job) {
        self.changes.added.push((self.next_number, job));
        self.next_number += 1;
    }

    /// The job that is to be tried again, if it is.
    fn end(&mut self, ending: Ending, now_ms: u64) -> Option<&Job> {
        let Ending { lease: Lease { number, job, .. }, outcome, then, done } = ending;
        self.waiting.extend(done);
        for job in then {
            self.add(Job { accepted_ms: now_ms, ..job });
        }
        if is_volatile(number) {
            return None;
        }
        self.changes.gone.push(number);
        let key = job.key.as_ref().map(|key| hash(&job.target, key));
        let ended = Ended {
            id: job.id,
            target: job.target.clone(),
            attempts: count(&job.attempts) + 1,
            accepted_ms: job.accepted_ms,
            ended_ms: now_ms,
            key,
            error: None,
            result_bytes: None,
        };
        match outcome {
            Outcome::Done(result) => {
                let result = key.is_some().then_some(result);
                let result_bytes = result.as_ref().map(|result| u32::try_from(result.len()).unwrap_or(u32::MAX));
                self.changes.ended.push((Ended { result_bytes, ..ended }, result.map(Vec::from)));
            }
            Outcome::Retry { began_ms, error, after } => {
                let mut job = Arc::unwrap_or_clone(job);
                job.attempts.push(Attempt { began_ms, error: shortened(&error) });
                job.pause = Some(Pause { from_ms: now_ms, for_ms: after.as_millis() as u64 });
                self.add(job);
                return self.changes.added.last().map(|(_, job)| job);
            }
            Outcome::Dead { began_ms, error } => {
                let mut job = Arc::unwrap_or_clone(job);
                let error = shortened(&error);
                job.attempts.push(Attempt { began_ms, error: error.clone() });
                self.changes.dead.push((self.next_number, DeadLetter { job, died_ms: now_ms }));
                self.next_number += 1;
                self.changes.ended.push((Ended { error: Some(error), ..ended }, None));
            }
        }
        None
    }
}
