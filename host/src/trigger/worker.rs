//! The queue's workers: they run what was accepted, try again what failed, and say what becomes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::bus::{Bus, Kind, Message, Source};
use crate::clock::Clock;
use crate::function::{Function, Functions, Invocation, InvokeError, Outcome};
use crate::queue::job::Job;
use crate::queue::{self, Lease, Queue};
use crate::set::{Asynchronous, Destination};
use crate::telemetry::{OncePerSecond, printable};

/// Before a busy function is asked again. It has a place as soon as one of its calls ends.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Before a function that failed too often is asked again: the job is the probe, if it is time for one.
const BROKEN_PAUSE: Duration = Duration::from_secs(1);

/// What a lease lasts beyond the function's deadline. A call ends at its deadline by itself: this is for one that does not.
const LEASE_GRACE: Duration = Duration::from_secs(5);

/// For how long a job of a backlog runs behind. One that computes for longer would meet its deadline where it should not.
const BEHIND: Duration = Duration::from_millis(10);

/// What a function may take of the CPU at least, to run behind.
const CPU_MS_BEHIND: u64 = 500;

/// Where jobs run.
#[derive(Clone)]
pub struct Threads {
    /// With everything else.
    pub usual: Handle,
    /// When nothing else wants to.
    pub behind: Handle,
}

/// Runs what the queue leases until the queue stops and every leased job has ended. How many run at once is the queue's to say: so many for
/// each function, and no more. Each of them is a task, which goes on with the next job.
pub async fn run(queue: Arc<Queue>, functions: Arc<Functions>, bus: Arc<Bus>, clock: Clock, threads: Threads) {
    let worker = Arc::new(Worker { queue, functions, bus, clock, failures: OncePerSecond::default() });
    let (mut tasks, mut is_stopping) = (JoinSet::new(), false);
    loop {
        let next = tokio::select! {
            lease = worker.queue.lease(), if !is_stopping => {
                is_stopping = lease.is_none();
                lease
            }
            Some(ended) = tasks.join_next() => ended.unwrap_or_else(|error| {
                tracing::error!("an async invocation ended unexpectedly, and is tried again after the next start: {error}");
                None
            }),
            else => return,
        };
        let Some(lease) = next else { continue };
        if worker.may_run_behind(&lease) {
            tasks.spawn_on(worker.clone().work_behind(lease, threads.usual.clone()), &threads.behind);
        } else {
            tasks.spawn_on(worker.clone().work_on(lease), &threads.usual);
        }
    }
}

struct Worker {
    queue: Arc<Queue>,
    functions: Arc<Functions>,
    bus: Arc<Bus>,
    clock: Clock,
    failures: OncePerSecond,
}

/// Jobs may end without ever waiting: whoever does many of them lets others run in between.
struct Turn(Instant);

impl Turn {
    fn begin() -> Self {
        Self(Instant::now())
    }

    async fn yield_if_over(&mut self) {
        if self.0.elapsed() >= TURN {
            tokio::task::yield_now().await;
            *self = Self::begin();
        }
    }
}

const TURN: Duration = Duration::from_millis(1);

/// What one try came to.
enum Tried {
    Done(Bytes),
    /// It may go better another time.
    Failed(String),
    /// It never will.
    Hopeless(String),
    /// It was not tried: ask again after that.
    NotNow(Duration),
}

impl Worker {
    /// A call's CPU time goes on while its thread has to wait, so one that may take little of it stays where threads wait little.
    fn may_run_behind(&self, lease: &Lease) -> bool {
        let has_time = |function: Arc<Function>| function.limits.cpu_ms >= CPU_MS_BEHIND;
        lease.is_backlog && self.functions.look_at(&lease.job.target).is_some_and(has_time)
    }

    /// Works until there is nothing to do, or only what should run elsewhere: that job.
    async fn work_on(self: Arc<Self>, mut lease: Lease) -> Option<Lease> {
        let mut turn = Turn::begin();
        loop {
            lease = self.work(lease).await?;
            if self.may_run_behind(&lease) {
                return Some(lease);
            }
            turn.yield_if_over().await;
        }
    }

    /// The same for a backlog. A job that takes long goes on among the others.
    async fn work_behind(self: Arc<Self>, mut lease: Lease, usual: Handle) -> Option<Lease> {
        let mut turn = Turn::begin();
        loop {
            let worker = self.clone();
            let mut work = Box::pin(async move { worker.work(lease).await });
            lease = match tokio::time::timeout(BEHIND, &mut work).await {
                Ok(next) => next?,
                Err(_) => match usual.spawn(work).await {
                    Ok(next) => next?,
                    Err(error) => std::panic::resume_unwind(error.try_into_panic().ok()?),
                },
            };
            if !self.may_run_behind(&lease) {
                return Some(lease);
            }
            // Linux lets a thread go on for a while before one that waits for its core takes it, however nice it is.
            std::thread::yield_now();
            turn.yield_if_over().await;
        }
    }

    /// One job. The next one, if there is one.
    async fn work(&self, lease: Lease) -> Option<Lease> {
        let job = lease.job.clone();
        let function = self.functions.get(&job.target);
        let policy = function.as_ref().and_then(|function| function.asynchronous.clone()).unwrap_or_default();
        let began_ms = self.clock.unix_ms();
        let tried = if lease.age > Duration::from_secs(policy.age_max_s.into()) {
            Tried::Hopeless(format!("it is older than age_max_s ({}) and was not tried again", policy.age_max_s))
        } else {
            self.attempt(&job, function.as_deref()).await
        };
        let attempt = job.attempts.len() as u32 + 1;
        let (outcome, then) = match tried {
            Tried::NotNow(pause) => {
                self.queue.put_back(lease, pause);
                return None;
            }
            Tried::Done(result) => {
                tracing::debug!("async invocation {} of function `{}` is done", job.id, job.target);
                let then = self.follow(&policy.on_success, &job, attempt, Ok(&result));
                (queue::Outcome::Done(result), then)
            }
            Tried::Failed(error) if attempt < policy.attempts && !lease.is_volatile() => {
                let after = policy.backoff(attempt);
                self.tell(&job, &format!("{error}; it is tried again in {} s", after.as_secs()));
                (queue::Outcome::Retry { began_ms, error, after }, None)
            }
            Tried::Failed(error) | Tried::Hopeless(error) => {
                let fate = if lease.is_volatile() { "its route has QoS 0, so it is dropped" } else { "it is a dead letter now" };
                self.tell(&job, &format!("{error}; {fate}, after {attempt} of {} attempts", policy.attempts));
                let then = self.follow(&policy.on_failure, &job, attempt, Err(&error));
                (queue::Outcome::Dead { began_ms, error }, then)
            }
        };
        self.queue.end_and_lease(lease, outcome, then.into_iter().collect())
    }

    async fn attempt(&self, job: &Job, function: Option<&Function>) -> Tried {
        let invocation = Invocation {
            request_id: job.id.to_string(),
            invoker_context: job.invoker_context.clone(),
            path: job.path.clone(),
            is_patient: true,
            // One alias leads to one version in one attempt.
            ..Invocation::new(function.map_or_else(|| job.target.clone(), |function| function.name.clone()), job.event.clone())
        };
        let deadline_ms = function.map_or(0, |function| function.limits.deadline_ms);
        // Waiting for a place and the call itself may each take the deadline.
        let lease = Duration::from_millis(deadline_ms) * 2 + LEASE_GRACE;
        let Ok(ended) = tokio::time::timeout(lease, self.functions.invoke(invocation)).await else {
            return Tried::Failed(format!("did not end within its lease of {} s", lease.as_secs()));
        };
        match ended {
            Ok(Outcome::Done(result)) => Tried::Done(result),
            Ok(Outcome::Handled(message)) => Tried::Failed(format!("failed: {message}")),
            Ok(Outcome::Unhandled(failure)) => Tried::Failed(failure.message),
            Err(InvokeError::Busy { .. } | InvokeError::Loading(_) | InvokeError::NoSlot) => Tried::NotNow(BUSY_PAUSE),
            Err(InvokeError::Broken { .. } | InvokeError::Away { .. }) => Tried::NotNow(BROKEN_PAUSE),
            Err(error @ (InvokeError::CallDepth { .. } | InvokeError::OnlyHttp(_))) => Tried::Hopeless(format!("is not called: {error}")),
            // It may be deployed again, or mended, before the last attempt.
            Err(error @ (InvokeError::UnknownFunction(_) | InvokeError::NotLoaded { .. })) => {
                Tried::Failed(format!("is not called: {error}"))
            }
        }
    }

    /// Tells the destination, where there is one: a topic at once, a function by a job that is accepted together with the end.
    fn follow(&self, to: &Option<Destination>, job: &Job, attempt: u32, result: Result<&Bytes, &String>) -> Option<Job> {
        let to = to.as_ref()?;
        let message = account(job, attempt, self.clock.unix_ms(), result);
        let path = job.path.then(job.target.clone());
        match to {
            Destination::Topic(topic) => {
                let source = Source::Function(job.target.base());
                // What its routes accept is written with the commit that ends this job, or before.
                drop(self.bus.publish(Message { topic: topic.clone(), payload: message.into(), source, kind: Kind::Message, path }));
                None
            }
            Destination::Function(name) => {
                let target = self.functions.look_at(name);
                if let Some(cut) = target.as_ref().and_then(|function| function.cut(&path)) {
                    self.tell(job, &format!("has a destination that is not told: {cut}"));
                    return None;
                }
                let concurrency = target.map_or(1, |function| function.limits.concurrency);
                Some(Job { path, ..Job::new(name.clone(), message, concurrency) })
            }
        }
    }

    fn tell(&self, job: &Job, what: &str) {
        if let Some(others) = self.failures.turn() {
            let (id, name, what) = (job.id, &job.target, printable(what));
            tracing::warn!("async invocation {id} of function `{name}` {what} (and {others} more since the last such line)");
        }
    }
}

/// What a destination is told, in the form of Function Compute.
fn account(job: &Job, attempts: u32, now_ms: u64, result: Result<&Bytes, &String>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (error, payload) = match result {
        Ok(result) => ("", text(result)),
        Err(error) => ("UnhandledInvocationError", json!({"errorMessage": error}).to_string()),
    };
    json!({
        "timestamp": now_ms,
        "requestContext": {
            "requestId": job.id,
            "functionArn": format!("service:{}:function:{}", job.target.service(), job.target.function()),
            "condition": if error.is_empty() { "" } else { "RetriesExhausted" },
            "approximateInvokeCount": attempts,
        },
        "requestPayload": text(&job.event),
        "responseContext": {"statusCode": 200, "functionError": error},
        "responsePayload": payload,
    })
    .to_string()
}

impl Asynchronous {
    /// Before the attempt after this one. The last of the pauses repeats.
    fn backoff(&self, attempt: u32) -> Duration {
        let at = (attempt as usize - 1).min(self.backoff_s.len().saturating_sub(1));
        Duration::from_secs(self.backoff_s.get(at).copied().unwrap_or_default().into())
    }
}
