//! Whoever lives as long as it is deployed: drivers and persistent functions, each with one instance that is started again when it ends.
//!
//! One that ends starts again after a while; one that keeps ending is quarantined, until it is deployed again or released by hand.

mod restart;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::capability::Guest;
use crate::function::Failure;
use crate::telemetry::printable;
pub use restart::RestartPolicy;
use restart::{Failures, Verdict};

/// Somebody to be kept alive.
pub trait Resident: Send + Sync + 'static {
    /// Unique among those of its kind.
    fn name(&self) -> String;
    fn guest(&self) -> &Arc<Guest>;
    /// Whether the other one is deployed as this one is, so that this one may go on in its place.
    fn is_same(&self, new: &Self) -> bool;
    /// One instance, from its start to its end, or until it is `stopped`.
    fn one_life(&self, stopped: &mut watch::Receiver<bool>) -> impl Future<Output = Result<(), Failure>> + Send;
    /// How long it may take to let go when it is stopped.
    fn stop_timeout(&self) -> Duration;
    /// It runs, or is about to.
    fn is_back(&self);
    /// It does not run. Whoever asks for it is told why.
    fn is_away(&self, why: &str);
    /// It does not run, and will not by itself.
    fn is_out(&self, why: &str);
}

/// How one is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Running,
    /// It ended, and starts again after a while.
    Waiting {
        reason: String,
    },
    /// It ended too often, and does not start again by itself.
    Quarantined {
        reason: String,
    },
    Stopped,
}

/// Why one is not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    #[error("it is not on this gateway; `ledge list drivers` and `ledge list functions` show those that are")]
    Unknown,
    #[error("it is not quarantined, so there is nothing to release it from")]
    NotQuarantined,
}

/// All of one kind.
pub struct Residents<R> {
    /// Where guests run.
    guests: tokio::runtime::Handle,
    restarts: RestartPolicy,
    running: Mutex<HashMap<String, Supervised<R>>>,
}

struct Supervised<R> {
    deployed: Arc<R>,
    life: Arc<Life>,
    task: JoinHandle<()>,
}

/// What the supervisor and the others share about one.
struct Life {
    condition: Mutex<Condition>,
    restarts: AtomicU64,
    stop: watch::Sender<bool>,
}

impl<R: Resident> Residents<R> {
    pub fn new(guests: tokio::runtime::Handle, restarts: RestartPolicy) -> Self {
        Self { guests, restarts, running: Mutex::default() }
    }

    /// Makes those that run those of `wanted`: new ones start, gone ones stop, changed ones start once the old one has let go, and unchanged
    /// ones are left alone. It waits for none of that.
    pub fn replace(&self, wanted: Vec<Arc<R>>) {
        let mut running = self.running.lock();
        let mut old = std::mem::take(&mut *running);
        for deployed in wanted {
            let supervised = match old.remove(&deployed.name()) {
                Some(same) if same.deployed.is_same(&deployed) => same,
                before => self.supervise(deployed, before.map(Stopping::of)),
            };
            running.insert(supervised.deployed.name(), supervised);
        }
        for gone in old.into_values() {
            gone.deployed.is_back();
            let gone = Stopping::of(gone);
            self.guests.spawn(async move { gone.stopped(Duration::MAX).await });
        }
    }

    /// Starts one that is quarantined anew, with a clean record.
    pub fn release(&self, name: &str, who: &str) -> Result<(), ReleaseError> {
        let mut running = self.running.lock();
        let supervised = running.get_mut(name).ok_or(ReleaseError::Unknown)?;
        if !matches!(*supervised.life.condition.lock(), Condition::Quarantined { .. }) {
            return Err(ReleaseError::NotQuarantined);
        }
        let deployed = supervised.deployed.clone();
        let guest = deployed.guest();
        tracing::warn!("{} is released from quarantine by {who}", guest.who);
        guest.audited(who, "released", &guest.who);
        *supervised = self.supervise(deployed, None);
        Ok(())
    }

    /// Stops all of them, and waits so long at most.
    pub async fn stop(&self, timeout: Duration) {
        let all: Vec<_> = self.running.lock().drain().map(|(_, supervised)| Stopping::of(supervised)).collect();
        let began = Instant::now();
        for stopping in all {
            stopping.stopped(timeout.saturating_sub(began.elapsed())).await;
        }
    }

    /// Each with its condition and the number of its restarts, in the order of their names.
    pub fn list(&self) -> Vec<(Arc<R>, Condition, u64)> {
        let shown = |it: &Supervised<R>| (it.deployed.clone(), it.life.condition.lock().clone(), it.life.restarts.load(Relaxed));
        let mut all: Vec<_> = self.running.lock().values().map(shown).collect();
        all.sort_by_key(|(deployed, ..)| deployed.name());
        all
    }

    /// The one of that name, as it is deployed.
    pub fn find(&self, name: &str) -> Option<Arc<R>> {
        self.running.lock().get(name).map(|supervised| supervised.deployed.clone())
    }

    /// Starts it once the one `before` has let go.
    fn supervise(&self, deployed: Arc<R>, before: Option<Stopping<R>>) -> Supervised<R> {
        let (stop, stopped) = watch::channel(false);
        let life = Arc::new(Life { condition: Mutex::new(Condition::Running), restarts: AtomicU64::new(0), stop });
        let supervisor = Supervisor { deployed: deployed.clone(), life: life.clone(), failures: Failures::new(self.restarts) };
        deployed.is_back();
        let task = self.guests.spawn(async move {
            if let Some(before) = before {
                before.stopped(Duration::MAX).await;
            }
            supervisor.run(stopped).await;
        });
        Supervised { deployed, life, task }
    }
}

/// One that is to let go. Dropped, it is ended.
struct Stopping<R>(Supervised<R>);

impl<R: Resident> Stopping<R> {
    fn of(supervised: Supervised<R>) -> Self {
        supervised.life.stop.send_replace(true);
        Self(supervised)
    }

    /// It has its own time to let go, and `timeout` at most.
    async fn stopped(mut self, timeout: Duration) {
        let timeout = self.0.deployed.stop_timeout().min(timeout);
        let _ = tokio::time::timeout(timeout, &mut self.0.task).await;
    }
}

impl<R> Drop for Stopping<R> {
    fn drop(&mut self) {
        self.0.task.abort();
    }
}

struct Supervisor<R> {
    deployed: Arc<R>,
    life: Arc<Life>,
    failures: Failures,
}

impl<R: Resident> Supervisor<R> {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            *self.life.condition.lock() = Condition::Running;
            self.deployed.is_back();
            let began = Instant::now();
            let ended = self.deployed.one_life(&mut stopped).await;
            if *stopped.borrow() {
                break;
            }
            let reason = printable(&ended.map_or_else(|failure| failure.message, |()| "`run` returned".to_owned()));
            match self.failures.ended(began, Instant::now()) {
                Verdict::Quarantine => return self.quarantine(reason),
                Verdict::StartAgainAfter(wait) => self.wait(wait, reason, &mut stopped).await,
            }
        }
        *self.life.condition.lock() = Condition::Stopped;
    }

    async fn wait(&self, wait: Duration, reason: String, stopped: &mut watch::Receiver<bool>) {
        let who = &self.deployed.guest().who;
        tracing::warn!("{who} ended: {reason}; it starts again in {} ms", wait.as_millis());
        self.deployed.is_away(&format!("it ended: {reason}; it starts again in {} ms", wait.as_millis()));
        *self.life.condition.lock() = Condition::Waiting { reason };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.changed() => {}
        }
        self.life.restarts.fetch_add(1, Relaxed);
    }

    fn quarantine(self, reason: String) {
        let (name, guest, policy) = (self.deployed.name(), self.deployed.guest(), self.failures.policy());
        tracing::error!(
            "{} is quarantined and does not run: it failed {} times within {} s, the last time so: {reason}. \
             Deploy a better one, or type `ledge release {name}`",
            guest.who,
            policy.failures_max,
            policy.failures_within.as_secs()
        );
        guest.audited(&guest.who, "quarantined", &reason);
        self.deployed.is_out(&format!("quarantined, since it failed too often: {reason}; `ledge release {name}` starts it again"));
        *self.life.condition.lock() = Condition::Quarantined { reason };
    }
}
