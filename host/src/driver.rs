//! Drivers: one supervised instance each, which answers for its things.
//!
//! One that ends starts again after a while; one that keeps ending is quarantined, until it is deployed again or released by hand.

mod handle;
mod restart;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::capability::Guest;
use crate::capability::thing_access::DriverConfig;
use crate::capability::wasi::GuestLog;
use crate::function::Failure;
use crate::runtime::{DriverCode, DriverSpec, Request};
use crate::set;
use crate::telemetry::printable;
use crate::thing::{Device, Things};
use handle::{DriverLife, Handle};
pub use restart::RestartPolicy;
use restart::{Failures, Verdict};

/// A driver as it was deployed, with the code that it runs.
pub struct Deployed {
    pub row: set::Driver,
    pub code: Arc<DriverCode>,
    pub guest: Arc<Guest>,
    pub log: Arc<GuestLog>,
    pub config: Arc<DriverConfig>,
}

/// How a driver is doing.
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

/// Why a driver is not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    #[error("it is not on this gateway; `ledge list drivers` shows those that are")]
    Unknown,
    #[error("it is not quarantined, so there is nothing to release it from")]
    NotQuarantined,
}

/// Every driver of this gateway.
pub struct Drivers {
    things: Arc<Things>,
    /// Where guests run.
    guests: tokio::runtime::Handle,
    restarts: RestartPolicy,
    running: Mutex<HashMap<String, Supervised>>,
}

struct Supervised {
    deployed: Arc<Deployed>,
    life: Arc<Life>,
    task: JoinHandle<()>,
}

/// What the supervisor and the others share about one driver.
struct Life {
    condition: Mutex<Condition>,
    restarts: std::sync::atomic::AtomicU64,
    stop: tokio::sync::watch::Sender<bool>,
}

/// Requests that may wait for one driver. One more is answered at once.
const REQUESTS_MAX: usize = 256;
/// How long a driver that is being stopped may take to let go.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

impl Drivers {
    pub fn new(things: Arc<Things>, guests: tokio::runtime::Handle, restarts: RestartPolicy) -> Self {
        Self { things, guests, restarts, running: Mutex::default() }
    }

    /// Makes the running drivers those of `wanted`: new ones start, gone ones stop, changed ones start anew,
    /// and unchanged ones are left alone.
    pub async fn replace(&self, wanted: Vec<Arc<Deployed>>) {
        let mut stopping = Vec::new();
        {
            let mut running = self.running.lock();
            let stays = |name: &String, now: &Supervised| wanted.iter().any(|new| new.row.name == *name && is_same(&now.deployed, new));
            let gone: Vec<String> = running.iter().filter(|(name, now)| !stays(name, now)).map(|(name, _)| name.clone()).collect();
            gone.iter().for_each(|name| self.things.driver_is_back(name));
            stopping.extend(gone.iter().filter_map(|name| running.remove(name)));
        }
        stop_all(stopping).await;
        let mut running = self.running.lock();
        for deployed in wanted {
            running.entry(deployed.row.name.clone()).or_insert_with(|| self.supervise(deployed));
        }
    }

    /// Starts a quarantined driver anew, with a clean record.
    pub fn release(&self, name: &str, who: &str) -> Result<(), ReleaseError> {
        let mut running = self.running.lock();
        let driver = running.get_mut(name).ok_or(ReleaseError::Unknown)?;
        if !matches!(*driver.life.condition.lock(), Condition::Quarantined { .. }) {
            return Err(ReleaseError::NotQuarantined);
        }
        let deployed = driver.deployed.clone();
        tracing::warn!(driver.name = %name, "driver `{name}` is released from quarantine by {who}");
        deployed.guest.audited(who, "released", &deployed.guest.who);
        *driver = self.supervise(deployed);
        Ok(())
    }

    pub async fn stop(&self) {
        let all = self.running.lock().drain().map(|(_, driver)| driver).collect();
        stop_all(all).await;
    }

    /// Every driver with its condition and the number of its restarts, in the order of their names.
    pub fn list(&self) -> Vec<(Arc<Deployed>, Condition, u64)> {
        let running = self.running.lock();
        let mut all: Vec<_> = running
            .values()
            .map(|driver| {
                let restarts = driver.life.restarts.load(std::sync::atomic::Ordering::Relaxed);
                (driver.deployed.clone(), driver.life.condition.lock().clone(), restarts)
            })
            .collect();
        all.sort_by(|a, b| a.0.row.name.cmp(&b.0.row.name));
        all
    }

    fn supervise(&self, deployed: Arc<Deployed>) -> Supervised {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let life = Arc::new(Life { condition: Mutex::new(Condition::Running), restarts: 0.into(), stop });
        self.things.driver_is_back(&deployed.row.name);
        let supervisor = Supervisor {
            deployed: deployed.clone(),
            things: self.things.clone(),
            life: life.clone(),
            failures: Failures::new(self.restarts),
        };
        Supervised { deployed, life, task: self.guests.spawn(supervisor.run(stopped)) }
    }
}

impl Deployed {
    /// Instantiates once without running it, to see that the component starts.
    pub async fn try_start(&self, things: Arc<Things>) -> Result<(), String> {
        // Nobody sends on it: what does not run registers nothing, and is asked nothing.
        let (sender, _requests) = mpsc::channel(1);
        let spec = self.spec(things, self.device(sender, DriverLife::new()));
        self.code.try_start(spec).await.map_err(|failure| failure.message)
    }

    fn device(&self, requests: mpsc::Sender<Request>, life: Arc<DriverLife>) -> Arc<Handle> {
        let (name, deadline) = (self.row.name.clone(), Duration::from_millis(self.row.limits.deadline_ms));
        Arc::new(Handle::new(name, self.guest.clone(), deadline, requests, life))
    }

    fn spec(&self, things: Arc<Things>, device: Arc<dyn Device>) -> DriverSpec {
        DriverSpec {
            name: self.row.name.clone(),
            guest: self.guest.clone(),
            log: self.log.clone(),
            limits: self.row.limits,
            things,
            device,
            config: self.config.clone(),
        }
    }
}

fn is_same(now: &Deployed, new: &Deployed) -> bool {
    now.row == new.row && now.config.whole == new.config.whole
}

async fn stop_all(drivers: Vec<Supervised>) {
    for driver in &drivers {
        driver.life.stop.send_replace(true);
    }
    for mut driver in drivers {
        if tokio::time::timeout(STOP_TIMEOUT, &mut driver.task).await.is_err() {
            driver.task.abort();
        }
    }
}

struct Supervisor {
    deployed: Arc<Deployed>,
    things: Arc<Things>,
    life: Arc<Life>,
    failures: Failures,
}

impl Supervisor {
    async fn run(mut self, mut stopped: tokio::sync::watch::Receiver<bool>) {
        while !*stopped.borrow() {
            *self.life.condition.lock() = Condition::Running;
            let began = Instant::now();
            let ended = self.one_life(&mut stopped).await;
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

    async fn wait(&self, wait: Duration, reason: String, stopped: &mut tokio::sync::watch::Receiver<bool>) {
        let name = &self.deployed.row.name;
        tracing::warn!(driver.name = %name, "driver `{name}` ended: {reason}; it starts again in {} ms", wait.as_millis());
        *self.life.condition.lock() = Condition::Waiting { reason };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.changed() => {}
        }
        self.life.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn quarantine(self, reason: String) {
        let name = &self.deployed.row.name;
        tracing::error!(
            driver.name = %name,
            "driver `{name}` is quarantined, and its things stay offline: it failed {} times within {} s, the last time so: {reason}. \
             Deploy a better one, or type `ledge release {name}`",
            self.failures.policy().failures_max,
            self.failures.policy().failures_within.as_secs()
        );
        let guest = &self.deployed.guest;
        guest.audited(&guest.who, "quarantined", &reason);
        self.things
            .driver_is_out(name, format!("quarantined, since it failed too often: {reason}; `ledge release {name}` starts it again"));
        *self.life.condition.lock() = Condition::Quarantined { reason };
    }

    /// One instance, from its start to its end. Its things go offline with it.
    async fn one_life(&self, stopped: &mut tokio::sync::watch::Receiver<bool>) -> Result<(), Failure> {
        let deployed = &self.deployed;
        let (sender, requests) = mpsc::channel::<Request>(REQUESTS_MAX);
        let life = DriverLife::new();
        let device = deployed.device(sender, life.clone());
        let owner: Arc<dyn Device> = device.clone();
        let (spec, code) = (deployed.spec(self.things.clone(), owner.clone()), deployed.code.clone());
        let ended = tokio::select! {
            ended = life.live(Box::pin(async move { code.run(spec, requests).await })) => ended,
            how = device.hangs() => Err(Failure { limit: None, message: how }),
            _ = stopped.changed() => Ok(()),
        };
        self.things.device_gone(&owner);
        ended
    }
}
