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
    /// What has to happen to the instance of this one where the other one is deployed in its place.
    fn change(&self, new: &Self) -> Change;
    /// One instance, from its start to its end, or until it is told to stop.
    fn one_life(&self, orders: &mut Orders<Self>) -> impl Future<Output = Result<Ended, Failure>> + Send
    where
        Self: Sized;
    /// How long it may take to let go when it is stopped.
    fn stop_timeout(&self) -> Duration;
    /// It runs, or is about to.
    fn is_back(&self);
    /// It does not run. Whoever asks for it is told why.
    fn is_away(&self, why: &str);
    /// It does not run, and will not by itself.
    fn is_out(&self, why: &str);
}

/// What a deployment makes of one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It goes on.
    Nothing,
    /// It is told, and may go on.
    Told,
    /// Another instance takes its place.
    Replaced,
}

/// How a life came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, and it starts again after a while.
    Returned,
    Stopped,
    /// It would not go on as what it is now, and starts again at once.
    Outdated,
}

/// What is wanted of one.
pub enum Order<R> {
    Run(Arc<R>),
    Stop,
}

/// What one hears from outside while it lives.
pub struct Orders<R>(watch::Receiver<Order<R>>);

impl<R> Orders<R> {
    /// Those of one that is to run until the sender says otherwise.
    pub fn of(resident: Arc<R>) -> (watch::Sender<Order<R>>, Self) {
        let (sender, orders) = watch::channel(Order::Run(resident));
        (sender, Self(orders))
    }

    /// Returns once something else is wanted.
    pub async fn next(&mut self) -> Order<R> {
        match self.0.changed().await {
            Ok(()) => self.seen().map_or(Order::Stop, Order::Run),
            Err(_) => Order::Stop,
        }
    }

    /// Whether something else is wanted than what was seen last.
    fn has_news(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Who is to run, if anybody.
    fn seen(&mut self) -> Option<Arc<R>> {
        match &*self.0.borrow_and_update() {
            Order::Run(resident) => Some(resident.clone()),
            Order::Stop => None,
        }
    }
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
    life: Arc<Life<R>>,
    task: JoinHandle<()>,
}

/// What the supervisor and the others share about one.
struct Life<R> {
    condition: Mutex<Condition>,
    restarts: AtomicU64,
    orders: watch::Sender<Order<R>>,
}

impl<R: Resident> Residents<R> {
    pub fn new(guests: tokio::runtime::Handle, restarts: RestartPolicy) -> Self {
        Self { guests, restarts, running: Mutex::default() }
    }

    /// Makes those that run those of `wanted`: new ones start, gone ones stop, changed ones are told, or start once the old one has let go,
    /// and unchanged ones are left alone. It waits for none of that.
    pub fn replace(&self, wanted: Vec<Arc<R>>) {
        let mut running = self.running.lock();
        let mut old = std::mem::take(&mut *running);
        for deployed in wanted {
            let supervised = match old.remove(&deployed.name()) {
                Some(same) if same.deployed.change(&deployed) == Change::Nothing => same,
                Some(told) if told.is_alive() && told.deployed.change(&deployed) == Change::Told => {
                    told.life.orders.send_replace(Order::Run(deployed.clone()));
                    Supervised { deployed, ..told }
                }
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
        let (sender, orders) = Orders::of(deployed.clone());
        let life = Arc::new(Life { condition: Mutex::new(Condition::Running), restarts: AtomicU64::new(0), orders: sender });
        let supervisor = Supervisor { life: life.clone(), failures: Failures::new(self.restarts) };
        deployed.is_back();
        let task = self.guests.spawn(async move {
            if let Some(before) = before {
                before.stopped(Duration::MAX).await;
            }
            supervisor.run(orders).await;
        });
        Supervised { deployed, life, task }
    }
}

impl<R> Supervised<R> {
    /// Whether it runs, or will by itself.
    fn is_alive(&self) -> bool {
        matches!(*self.life.condition.lock(), Condition::Running | Condition::Waiting { .. })
    }
}

/// One that is to let go. Dropped, it is ended.
struct Stopping<R>(Supervised<R>);

impl<R: Resident> Stopping<R> {
    fn of(supervised: Supervised<R>) -> Self {
        supervised.life.orders.send_replace(Order::Stop);
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
    life: Arc<Life<R>>,
    failures: Failures,
}

impl<R: Resident> Supervisor<R> {
    async fn run(mut self, mut orders: Orders<R>) {
        while let Some(deployed) = orders.seen() {
            *self.life.condition.lock() = Condition::Running;
            deployed.is_back();
            let began = Instant::now();
            let reason = match deployed.one_life(&mut orders).await {
                Ok(Ended::Stopped) => break,
                Ok(Ended::Outdated) => continue,
                Ok(Ended::Returned) => "`run` returned".to_owned(),
                Err(failure) => printable(&failure.message),
            };
            if orders.has_news() {
                // What ended is not what is wanted now, which begins with a clean record.
                self.failures = Failures::new(*self.failures.policy());
                continue;
            }
            match self.failures.ended(began, Instant::now()) {
                Verdict::Quarantine => return self.quarantine(&*deployed, reason),
                Verdict::StartAgainAfter(wait) => self.wait(&*deployed, wait, reason, &mut orders).await,
            }
        }
        *self.life.condition.lock() = Condition::Stopped;
    }

    async fn wait(&self, deployed: &R, wait: Duration, reason: String, orders: &mut Orders<R>) {
        let who = &deployed.guest().who;
        tracing::warn!("{who} ended: {reason}; it starts again in {} ms", wait.as_millis());
        deployed.is_away(&format!("it ended: {reason}; it starts again in {} ms", wait.as_millis()));
        *self.life.condition.lock() = Condition::Waiting { reason };
        tokio::select! {
            () = tokio::time::sleep(wait) => drop(self.life.restarts.fetch_add(1, Relaxed)),
            _ = orders.next() => {}
        }
    }

    fn quarantine(&self, deployed: &R, reason: String) {
        let (name, guest, policy) = (deployed.name(), deployed.guest(), self.failures.policy());
        tracing::error!(
            "{} is quarantined and does not run: it failed {} times within {} s, the last time so: {reason}. \
             Deploy a better one, or type `ledge release {name}`",
            guest.who,
            policy.failures_max,
            policy.failures_within.as_secs()
        );
        guest.audited(&guest.who, "quarantined", &reason);
        deployed.is_out(&format!("quarantined, since it failed too often: {reason}; `ledge release {name}` starts it again"));
        *self.life.condition.lock() = Condition::Quarantined { reason };
    }
}
