//! The queue of async invocations: accepted means that it is on disk, and what is accepted runs at least once. It knows nothing of functions
//! but their names.
//!
//! Two things work on it: [`Queue`] itself, in memory, where callers and workers meet; and the thread of the commits
//! ([`writer`](crate::store::writer)), which asks it for what is new ([`Source::gather`]) and tells it when that is on disk. Only then a
//! caller is acknowledged, and only then a job can be leased. A lease is not written: whoever held one when the power went is no more, and the job
//! runs again.

mod commit;
pub mod job;
mod lanes;
mod log;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::clock::Clock;
use crate::name::FunctionName;
use crate::store::writer::{Handle, Source};
use crate::store::{Batch, Store};
use commit::{Ending, Writing};
use job::{Attempt, DeadLetter, Job, Status};
use lanes::{Place, State};
use log::{Changes, Log};

/// Why the queue cannot take a job, and so does not acknowledge it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("the queue of async invocations is full ({ROWS_MAX} rows); try again later")]
    Rows,
    #[error("the queue of async invocations is full ({BYTES_MAX} bytes); try again later")]
    Bytes,
    #[error("{0} results are kept for callers that gave an idempotency key; try again later, or without a key")]
    Results(usize),
    #[error("function `{0}` has {DEAD_LETTERS_MAX} dead letters; look at them with `ledge dead-letters list`, then requeue or purge them")]
    DeadLetters(FunctionName),
    #[error("the gateway is stopping and takes no more async invocations")]
    Stopping,
    #[error("the invocation could not be written to the disk, and is not accepted; the gateway's log says why")]
    Disk,
}

pub const ROWS_MAX: usize = 100_000;
pub const BYTES_MAX: usize = 64 << 20;
/// Of one function: beyond them nothing more is accepted for it, since nothing of it is ever thrown away unasked.
pub const DEAD_LETTERS_MAX: usize = 1_000;
/// How long a job with a key is known, and how long it is known how a job ended.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Jobs that ended and are known still, besides those with a key.
pub const ENDED_MAX: usize = 20_000;
/// Jobs with a key, and the bytes of their results.
const KEYED_MAX: usize = 50_000;
const RESULTS_BYTES_MAX: usize = 256 << 20;

pub struct Queue {
    store: Arc<Store>,
    clock: Clock,
    writer: Option<Handle>,
    state: Mutex<State>,
    changed: Notify,
    /// Of the thread that commits, and of nobody else.
    log: Mutex<Writing>,
}

/// A job that was accepted, or the one that is already there under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub id: Uuid,
    pub is_duplicate: bool,
}

/// A job that a worker has. It must be given to [`Queue::end`], and is lost to everybody until the next start if it is not.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    number: u64,
    pub job: Arc<Job>,
    /// Since it was accepted.
    pub age: Duration,
    /// Whether many of its function wait behind it. Then it may run when nothing else wants to, so that a burst is accepted as fast as it
    /// comes, and delays nobody while it is worked off; but no longer once the queue is half full.
    pub is_backlog: bool,
}

impl Lease {
    /// Whether the job is in memory alone ([`Queue::offer`]).
    pub fn is_volatile(&self) -> bool {
        is_volatile(self.number)
    }
}

/// What a try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done(Bytes),
    Retry { began_ms: u64, error: String, after: Duration },
    Dead { began_ms: u64, error: String },
}

/// One line of the list of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadHead {
    pub id: Uuid,
    pub target: FunctionName,
    pub died_ms: u64,
    pub attempts: u32,
    pub error: String,
}
impl Queue {
    /// The queue that `store` holds. `writer` is told when there is something to write; a test commits by itself.
    pub fn open(store: Arc<Store>, clock: Clock, writer: Option<Handle>) -> anyhow::Result<Arc<Self>> {
        let (log, loaded) = Log::load(&store, &clock)?;
        let writing = Writing {
            log,
            next_number: loaded.next_number,
            changes: Changes::default(),
            commit: 0,
            forgotten: Vec::new(),
            waiting: Vec::new(),
        };
        let state = State::loaded(loaded, &clock);
        let queue = Arc::new(Self { store, clock, writer, state: Mutex::new(state), changed: Notify::new(), log: Mutex::new(writing) });
        if let Some(writer) = &queue.writer {
            let source: Arc<dyn Source> = queue.clone();
            writer.attach(&source);
        }
        Ok(queue)
    }

    /// Takes a job, if there is room. The future is ready once it is on disk: only then may anybody be told that it was accepted. It need
    /// not be polled for that.
    pub fn submit(&self, job: Job) -> Result<impl Future<Output = Result<Accepted, QueueError>> + Send + use<>, QueueError> {
        self.submit_with(job, Batch::new())
    }

    /// The same, with rows of whoever submits it, which are written together with the job.
    pub fn submit_with(
        &self,
        job: Job,
        rows: Batch,
    ) -> Result<impl Future<Output = Result<Accepted, QueueError>> + Send + use<>, QueueError> {
        let (done, written) = oneshot::channel();
        let accepted = self.take(job, rows, done)?;
        self.wake();
        Ok(async move { written.await.map(|()| accepted).map_err(|_| QueueError::Disk) })
    }

    fn take(&self, mut job: Job, rows: Batch, done: oneshot::Sender<()>) -> Result<Accepted, QueueError> {
        let mut state = self.state.lock();
        if state.is_broken {
            return Err(QueueError::Disk);
        }
        if state.is_stopping {
            return Err(QueueError::Stopping);
        }
        let key = job.key.as_ref().map(|key| hash(&job.target, key));
        if let Some(id) = key.and_then(|key| state.keys.get(&key).copied()) {
            // The first one may be on its way to the disk: whoever waits for the next commit knows that it is there.
            state.duplicates.push(done);
            return Ok(Accepted { id, is_duplicate: true });
        }
        state.has_room(&job)?;
        job.accepted_ms = self.clock.unix_ms();
        let id = job.id;
        state.count(&job);
        if let Some(key) = key {
            state.keys.insert(key, id);
            state.key_ends.push_back((self.clock.monotonic() + KEPT, key));
        }
        state.arriving.push((job, rows, done));
        Ok(Accepted { id, is_duplicate: false })
    }

    /// Takes a job that is kept in memory alone, for messages of QoS 0: it runs once, or never if the gateway ends before.
    pub fn offer(&self, mut job: Job) -> Result<(), QueueError> {
        let mut state = self.state.lock();
        if state.is_broken || state.is_stopping {
            return Err(QueueError::Stopping);
        }
        state.has_room(&job)?;
        job.accepted_ms = self.clock.unix_ms();
        state.count(&job);
        let number = VOLATILE | state.next_volatile;
        state.next_volatile += 1;
        state.enter(number, job, self.clock.now());
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// The next job, for a worker. `None` once the queue is stopping.
    pub async fn lease(&self) -> Option<Lease> {
        loop {
            let changed = self.changed.notified();
            let next = match self.try_lease() {
                Next::Lease(lease) => return Some(lease),
                Next::Stopping => {
                    self.changed.notify_one();
                    return None;
                }
                Next::Nothing(next) => next,
            };
            match next {
                None => changed.await,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = self.clock.until(at) => {}
                },
            }
        }
    }

    fn try_lease(&self) -> Next {
        self.lease_of(&mut self.state.lock(), false)
    }

    /// The next job; with `is_behind` only if it is one of a backlog, since others shall not wait for whoever runs behind.
    fn lease_of(&self, state: &mut State, is_behind: bool) -> Next {
        if state.is_stopping || state.is_broken {
            return Next::Stopping;
        }
        let now = self.clock.monotonic();
        state.resume(now);
        while let Some(target) = state.ready.pop_front() {
            let has_room = state.rows < ROWS_MAX / 2 && state.bytes < BYTES_MAX / 2;
            let Some(lane) = state.lanes.get_mut(&target) else { continue };
            let is_backlog = lane.jobs.len() > BACKLOG && has_room;
            if is_behind && !is_backlog {
                state.ready.push_front(target);
                self.changed.notify_one();
                return Next::Nothing(None);
            }
            lane.is_ready = false;
            let Some(number) = lane.jobs.pop_front() else { continue };
            lane.leased += 1;
            let entry = state.jobs.get_mut(&number).expect("a job in a lane has not ended");
            entry.is_leased = true;
            let (job, age) = (entry.job.clone(), now.saturating_duration_since(entry.accepted));
            state.refresh(&target);
            if !state.ready.is_empty() {
                self.changed.notify_one();
            }
            return Next::Lease(Lease { number, job, age, is_backlog });
        }
        Next::Nothing(state.paused.peek().map(|Reverse((at, _))| *at))
    }

    /// The job could not be tried, and is leased again after that time. It is no attempt.
    pub fn put_back(&self, lease: Lease, after: Duration) {
        let next = self.clock.monotonic() + after;
        let mut state = self.state.lock();
        if let Some(entry) = state.jobs.get_mut(&lease.number) {
            (entry.is_leased, entry.next) = (false, Some(next));
        }
        state.paused.push(Reverse((next, lease.number)));
        state.release(&lease.job.target);
        drop(state);
        self.changed.notify_one();
    }

    /// The try is over. `then` are jobs that follow from it: they are accepted in the same commit. The future is ready once all that is on
    /// disk; it need not be polled for that.
    pub fn end(&self, lease: Lease, outcome: Outcome, then: Vec<Job>) -> impl Future<Output = Result<(), QueueError>> + Send + use<> {
        let (done, written) = oneshot::channel();
        if self.state.lock().end(Ending { lease, outcome, then, done: Some(done) }) {
            self.wake();
        }
        self.changed.notify_one();
        async move { written.await.map_err(|_| QueueError::Disk) }
    }

    /// The same, and the next job, if there is one for this worker: one of a backlog is followed by one of a backlog. Nobody waits for the end: it is written as soon as it can be, and
    /// a crash before that repeats the job.
    pub fn end_and_lease(&self, lease: Lease, outcome: Outcome, then: Vec<Job>) -> Option<Lease> {
        let is_behind = lease.is_backlog;
        let mut state = self.state.lock();
        let has_rows = state.end(Ending { lease, outcome, then, done: None });
        let next = self.lease_of(&mut state, is_behind);
        drop(state);
        if has_rows {
            self.wake();
        }
        match next {
            Next::Lease(lease) => Some(lease),
            Next::Nothing(_) | Next::Stopping => None,
        }
    }

    /// Where the job is. `None`: it was never accepted, or it ended so long ago that nothing is known of it. Reads the disk.
    pub fn status(&self, id: Uuid) -> anyhow::Result<Option<Status>> {
        let state = self.state.lock();
        let commit = match state.ids.get(&id) {
            None => return Ok(None),
            Some(Place::Ended(commit)) => *commit,
            Some(Place::Here(number)) => {
                let Some(entry) = state.jobs.get(number) else { return Ok(None) };
                let (target, accepted_ms) = (entry.job.target.clone(), entry.job.accepted_ms);
                let attempts = count(&entry.job.attempts);
                if entry.is_leased {
                    return Ok(Some(Status::Running { target, accepted_ms, attempts }));
                }
                let next = entry.next.map(|next| next.saturating_duration_since(self.clock.monotonic()));
                return Ok(Some(Status::Waiting { target, accepted_ms, attempts, next_ms: next.map(|next| next.as_millis() as u64) }));
            }
        };
        drop(state);
        Ok(log::ended(&self.store, commit, id)?.map(Status::Ended))
    }

    /// The result of a job with a key that went well. Reads the disk.
    pub fn result(&self, id: Uuid) -> anyhow::Result<Option<Vec<u8>>> {
        log::result(&self.store, id)
    }

    /// The dead letters, the oldest first.
    pub fn dead_letters(&self) -> Vec<DeadHead> {
        self.state.lock().dead.values().cloned().collect()
    }

    /// Reads the disk.
    pub fn dead_letter(&self, id: Uuid) -> anyhow::Result<Option<DeadLetter>> {
        let number = self.state.lock().dead.iter().find(|(_, head)| head.id == id).map(|(number, _)| *number);
        number.map_or(Ok(None), |number| log::dead_letter(&self.store, number))
    }

    /// Takes dead letters off the list: to try them anew (`is_requeued`), or for good. How many there are of those; it is done once the
    /// future is ready.
    pub fn unbury<F>(&self, wanted: F, is_requeued: bool) -> impl Future<Output = Result<usize, QueueError>> + Send + use<F>
    where
        F: Fn(&DeadHead) -> bool,
    {
        let (done, written) = oneshot::channel();
        let mut state = self.state.lock();
        let numbers: Vec<u64> = state.dead.iter().filter(|(_, head)| wanted(head)).map(|(number, _)| *number).collect();
        let found = numbers.len();
        state.unburied.push((numbers, is_requeued, done));
        drop(state);
        self.wake();
        async move { written.await.map(|()| found).map_err(|_| QueueError::Disk) }
    }

    /// Takes and leases nothing from now on. Jobs that are leased go on, and what waits is there at the next start.
    pub fn stop(&self) {
        self.state.lock().is_stopping = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Whether a job is accepted and has not ended.
    pub fn is_under_way(&self, id: Uuid) -> bool {
        let state = self.state.lock();
        matches!(state.ids.get(&id), Some(Place::Here(_))) || state.arriving.iter().any(|(job, ..)| job.id == id)
    }

    /// Jobs that are accepted and have not ended, running ones included.
    pub fn rows(&self) -> usize {
        self.state.lock().rows
    }

    fn wake(&self) {
        if let Some(writer) = &self.writer {
            writer.wake();
        }
    }
}

enum Next {
    Lease(Lease),
    /// With when there is something again, where that is known.
    Nothing(Option<Instant>),
    Stopping,
}

/// So many jobs of one function wait, that it is behind.
const BACKLOG: usize = 16;

/// Jobs in memory alone have numbers of their own.
const VOLATILE: u64 = 1 << 63;

fn is_volatile(number: u64) -> bool {
    number & VOLATILE != 0
}

/// What a key is known by.
fn hash(target: &FunctionName, key: &str) -> u128 {
    let text = format!("{target}\0{key}");
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let (head, _) = digest.as_ref().split_at(16);
    u128::from_be_bytes(head.try_into().expect("a digest has 32 bytes"))
}

fn count(attempts: &[Attempt]) -> u32 {
    u32::try_from(attempts.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
