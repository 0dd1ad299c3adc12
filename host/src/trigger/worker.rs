//! The queue's workers: they run what was accepted.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::function::{Functions, Invocation, InvokeError, Outcome};
use crate::queue::{Job, Queue};

/// Jobs that run at the same time, over all functions.
const WORKERS: usize = 64;
/// Before a busy function is asked again. It has a place as soon as one of its calls ends.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Runs the workers until the queue stops and every leased job has ended.
pub async fn run(queue: Arc<Queue>, functions: Arc<Functions>) {
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (queue, functions) = (queue.clone(), functions.clone());
        workers.spawn(async move {
            while let Some(job) = queue.lease().await {
                let _done = Done { queue: &queue, job: &job };
                work(&functions, &job).await;
            }
        });
    }
    while workers.join_next().await.is_some() {}
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

/// A job was accepted: that its function is busy is a reason to wait, not to give it up.
async fn invoke_when_free(functions: &Functions, job: &Job) -> Result<Outcome, InvokeError> {
    loop {
        let invocation = Invocation {
            request_id: job.id.clone(),
            invoker_context: job.invoker_context.clone(),
            path: job.path.clone(),
            ..Invocation::new(job.target.clone(), job.event.clone())
        };
        match functions.invoke(invocation).await {
            Err(InvokeError::Busy { .. } | InvokeError::NoSlot) => tokio::time::sleep(BUSY_PAUSE).await,
            ended => return ended,
        }
    }
}

async fn work(functions: &Functions, job: &Job) {
    let (name, id) = (&job.target, &job.id);
    match invoke_when_free(functions, job).await {
        Ok(Outcome::Done(_)) => tracing::debug!("async invocation {id} of function `{name}` is done"),
        Ok(Outcome::Handled(message)) => tracing::warn!("async invocation {id} of function `{name}` failed: {message}"),
        Ok(Outcome::Unhandled(failure)) => tracing::warn!("async invocation {id} of function `{name}` {}", failure.message),
        Err(error) => tracing::warn!("async invocation {id} was not run: {error}"),
    }
}
