//! The queue's workers: they run what was accepted.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::function::{Functions, Invocation, InvokeError, Outcome};
use crate::queue::{Job, Queue};
use crate::telemetry::{OncePerSecond, printable};

/// Before a busy function is asked again. It has a place as soon as one of its calls ends.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Before a function that failed too often is asked again: the job is the probe, if it is time for one.
const BROKEN_PAUSE: Duration = Duration::from_secs(1);

/// Runs what the queue leases, each job in a task of its own, until the queue stops and every leased job has ended.
/// How many run at once is the queue's to say: so many for each function, and no more.
pub async fn run(queue: Arc<Queue>, functions: Arc<Functions>) {
    let worker = Arc::new(Worker { queue, functions, failures: OncePerSecond::default() });
    let mut jobs = JoinSet::new();
    while let Some(job) = worker.queue.lease().await {
        while jobs.try_join_next().is_some() {}
        let worker = worker.clone();
        jobs.spawn(async move {
            let _done = Done { queue: &worker.queue, job: &job };
            worker.work(&job).await;
        });
    }
    while jobs.join_next().await.is_some() {}
}

struct Worker {
    queue: Arc<Queue>,
    functions: Arc<Functions>,
    failures: OncePerSecond,
}

/// Gives the lease back also when the worker is dropped in the middle of a job.
struct Done<'a> {
    queue: &'a Queue,
    job: &'a Job,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.queue.done(self.job);
    }
}

impl Worker {
    async fn work(&self, job: &Job) {
        let (name, id) = (&job.target, &job.id);
        let reason = match self.invoke_when_free(job).await {
            Ok(Outcome::Done(_)) => return tracing::debug!("async invocation {id} of function `{name}` is done"),
            Ok(Outcome::Handled(message)) => format!("failed: {message}"),
            // The guest's own line says why, and names the limit.
            Ok(Outcome::Unhandled(_)) => return tracing::debug!("async invocation {id} of function `{name}` was ended"),
            Err(error) => format!("was not run: {error}"),
        };
        if let Some(others) = self.failures.turn() {
            let reason = printable(&reason);
            tracing::warn!("async invocation {id} of function `{name}` {reason} (and {others} more failed since the last such line)");
        }
    }

    /// A job was accepted: that its function is busy is a reason to wait, not to give it up.
    async fn invoke_when_free(&self, job: &Job) -> Result<Outcome, InvokeError> {
        loop {
            let invocation = Invocation {
                request_id: job.id.clone(),
                invoker_context: job.invoker_context.clone(),
                path: job.path.clone(),
                is_patient: true,
                ..Invocation::new(job.target.clone(), job.event.clone())
            };
            match self.functions.invoke(invocation).await {
                Err(InvokeError::Busy { .. } | InvokeError::Loading(_) | InvokeError::NoSlot) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(InvokeError::Broken { .. }) => tokio::time::sleep(BROKEN_PAUSE).await,
                ended => return ended,
            }
        }
    }
}
