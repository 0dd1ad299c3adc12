//! The queue of async invocations. It knows nothing of functions but their names.
//!
//! In memory for now: what was accepted is lost with the process. Durability comes behind this same seam.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::call_path::CallPath;
use crate::name::FunctionName;

/// An accepted invocation that has not run yet.
#[derive(Clone, Debug)]
pub struct Job {
    /// The invocation's id.
    pub id: String,
    pub target: FunctionName,
    pub event: Bytes,
    pub invoker_context: String,
    pub path: CallPath,
    /// How many jobs of this target may run at once: the function's own concurrency.
    pub concurrency: u32,
}

/// The queue cannot take the job, and so does not acknowledge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("the queue of async invocations is full ({ROWS_MAX} rows); try again later")]
    Rows,
    #[error("the queue of async invocations is full ({BYTES_MAX} bytes); try again later")]
    Bytes,
    #[error("the gateway is stopping and takes no more async invocations")]
    Stopping,
}

pub const ROWS_MAX: usize = 10_000;
pub const BYTES_MAX: usize = 64 << 20;

#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    lanes: HashMap<FunctionName, Lane>,
    /// Targets that have jobs and a free place, in the order in which they are served.
    ready: VecDeque<FunctionName>,
    rows: usize,
    bytes: usize,
    leased: usize,
    stopping: bool,
}

/// The jobs of one target. A slow target fills its own lane and delays no other.
#[derive(Default)]
struct Lane {
    jobs: VecDeque<Job>,
    leased: u32,
    leased_max: u32,
    is_ready: bool,
}

impl Queue {
    /// Accepts a job. Once this returns `Ok` the caller may be told so.
    pub fn submit(&self, job: Job) -> Result<(), QueueError> {
        let mut state = self.state.lock();
        let bytes = job_bytes(&job);
        if state.stopping {
            return Err(QueueError::Stopping);
        }
        if state.rows >= ROWS_MAX {
            return Err(QueueError::Rows);
        }
        if state.bytes + bytes > BYTES_MAX {
            return Err(QueueError::Bytes);
        }
        state.rows += 1;
        state.bytes += bytes;
        let target = job.target.clone();
        let lane = state.lanes.entry(target.clone()).or_default();
        lane.leased_max = job.concurrency.clamp(1, LANE_LEASED_MAX);
        lane.jobs.push_back(job);
        state.refresh(&target);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// The next job, for a worker. It counts as leased until [`Queue::done`]. `None` once the queue is stopping.
    pub async fn lease(&self) -> Option<Job> {
        loop {
            let changed = self.changed.notified();
            match self.try_lease() {
                Lease::Job(job) => return Some(job),
                Lease::Stopping => {
                    self.changed.notify_one();
                    return None;
                }
                Lease::Nothing => changed.await,
            }
        }
    }

    fn try_lease(&self) -> Lease {
        let mut state = self.state.lock();
        if state.stopping {
            return Lease::Stopping;
        }
        let Some(target) = state.ready.pop_front() else { return Lease::Nothing };
        let Some(lane) = state.lanes.get_mut(&target) else { return Lease::Nothing };
        lane.is_ready = false;
        let Some(job) = lane.jobs.pop_front() else { return Lease::Nothing };
        lane.leased += 1;
        state.leased += 1;
        state.refresh(&target);
        if !state.ready.is_empty() {
            self.changed.notify_one();
        }
        Lease::Job(job)
    }

    /// The job has run, well or not.
    pub fn done(&self, job: &Job) {
        let mut state = self.state.lock();
        state.rows -= 1;
        state.bytes -= job_bytes(job);
        state.leased -= 1;
        if let Some(lane) = state.lanes.get_mut(&job.target) {
            lane.leased -= 1;
            if lane.leased == 0 && lane.jobs.is_empty() {
                state.lanes.remove(&job.target);
            }
        }
        state.refresh(&job.target);
        drop(state);
        self.changed.notify_one();
    }

    /// Takes and leases nothing from now on. Jobs that are leased go on.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Jobs that are accepted and have not ended, running ones included.
    pub fn rows(&self) -> usize {
        self.state.lock().rows
    }
}

enum Lease {
    Job(Job),
    Nothing,
    Stopping,
}

impl State {
    fn refresh(&mut self, target: &FunctionName) {
        let Some(lane) = self.lanes.get_mut(target) else { return };
        if !lane.is_ready && !lane.jobs.is_empty() && lane.leased < lane.leased_max {
            lane.is_ready = true;
            self.ready.push_back(target.clone());
        }
    }
}

fn job_bytes(job: &Job) -> usize {
    job.event.len() + job.invoker_context.len()
}

/// Jobs of one target that may be leased at once, so that the workers never all wait for one function.
const LANE_LEASED_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn job(target: &str, event: usize) -> Job {
        Job {
            id: String::new(),
            target: target.parse().unwrap(),
            event: vec![0; event].into(),
            invoker_context: String::new(),
            path: CallPath::default(),
            concurrency: 8,
        }
    }

    #[tokio::test]
    async fn a_target_with_many_jobs_does_not_hide_another() {
        let queue = Queue::default();
        for _ in 0..100 {
            queue.submit(job("a/slow", 1)).unwrap();
        }
        queue.submit(job("a/quick", 1)).unwrap();
        let first = queue.lease().await.unwrap();
        let second = queue.lease().await.unwrap();
        assert_eq!(first.target.function, "slow");
        assert_eq!(second.target.function, "quick");
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_has_room_again_when_a_job_is_done() {
        let queue = Queue::default();
        queue.submit(job("a/b", BYTES_MAX)).unwrap();
        assert_eq!(queue.submit(job("a/c", 1)), Err(QueueError::Bytes));
        let leased = queue.lease().await.unwrap();
        queue.done(&leased);
        queue.submit(job("a/c", 1)).unwrap();
        assert_eq!(queue.rows(), 1);
    }

    #[tokio::test]
    async fn a_stopped_queue_wakes_its_workers() {
        let queue = Queue::default();
        let (leased, ()) = tokio::join!(queue.lease(), async { queue.stop() });
        assert!(leased.is_none());
        assert_eq!(queue.submit(job("a/b", 1)), Err(QueueError::Stopping));
    }
}
