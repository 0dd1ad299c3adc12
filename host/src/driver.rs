//! Drivers: one supervised instance each, which answers for its things.

mod handle;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::capability::Guest;
use crate::capability::requests::Request;
use crate::capability::thing_access::DriverConfig;
use crate::capability::wasi::GuestLog;
use crate::function::Failure;
use crate::runtime::{DriverCode, DriverSpec};
use crate::set::{self, Digest};
use crate::supervisor::{Change, Ended, Order, Orders, Resident, Residents};
use crate::thing::{BoxFuture, Device, Things};
use handle::{DriverLife, Handle};

/// Every driver of this gateway.
pub type Drivers = Residents<Deployed>;

/// A driver as it was deployed, with the code that it runs.
pub struct Deployed {
    pub row: set::Driver,
    pub code: Arc<DriverCode>,
    pub guest: Arc<Guest>,
    pub log: Arc<GuestLog>,
    pub config: Arc<DriverConfig>,
    /// The models of its things, with their ext info, by their digests.
    pub models: Vec<Digest>,
    pub things: Arc<Things>,
}

/// Requests that may wait for one driver. One more is answered at once.
const REQUESTS_MAX: usize = 256;
/// How long a driver that is being stopped may take to let go.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

impl Deployed {
    /// Instantiates once without running it, to see that the component starts.
    pub async fn try_start(&self) -> Result<(), String> {
        // Nobody sends on it: what does not run registers nothing, and is asked nothing.
        let (sender, _requests) = mpsc::channel(1);
        let spec = self.spec(self.device(sender, DriverLife::new()));
        self.code.try_start(spec).await.map_err(|failure| failure.message)
    }

    fn device(&self, requests: mpsc::Sender<Request>, life: Arc<DriverLife>) -> Arc<Handle> {
        let (name, deadline) = (self.row.name.clone(), Duration::from_millis(self.row.limits.deadline_ms));
        Arc::new(Handle::new(name, self.guest.clone(), deadline, requests, life))
    }

    fn spec(&self, device: Arc<dyn Device>) -> DriverSpec {
        DriverSpec {
            name: self.row.name.clone(),
            guest: self.guest.clone(),
            log: self.log.clone(),
            limits: self.row.limits,
            things: self.things.clone(),
            device,
            config: self.config.clone(),
        }
    }
}

impl Resident for Deployed {
    fn name(&self) -> String {
        self.row.name.clone()
    }

    fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }

    /// Of its configuration, and of its things, it is told while it runs.
    fn change(&self, new: &Self) -> Change {
        let is_same_code = {
            let set::Driver { name, component, config: _, files: _, limits, grants } = &self.row;
            // What has no directory of files cannot be given one, and what a driver has read of a model it reads once.
            let has_files = self.row.files.is_empty() == new.row.files.is_empty();
            has_files
                && self.models == new.models
                && (name, component, limits, grants) == (&new.row.name, &new.row.component, &new.row.limits, &new.row.grants)
        };
        let is_same_config = self.config.whole == new.config.whole && self.row.files == new.row.files;
        match (is_same_code, is_same_config) {
            (true, true) => Change::Nothing,
            (true, false) => Change::Told,
            (false, _) => Change::Replaced,
        }
    }

    /// Its things go offline with it.
    async fn one_life(&self, orders: &mut Orders<Self>) -> Result<Ended, Failure> {
        let (sender, requests) = mpsc::channel::<Request>(REQUESTS_MAX);
        let life = DriverLife::new();
        let device = self.device(sender, life.clone());
        let owner: Arc<dyn Device> = device.clone();
        let (spec, code) = (self.spec(owner.clone()), self.code.clone());
        let mut life = std::pin::pin!(life.live(Box::pin(async move { code.run(spec, requests).await })));
        let mut telling: BoxFuture<'_, bool> = Box::pin(std::future::pending());
        let ended = loop {
            tokio::select! {
                ended = &mut life => break ended.map(|()| Ended::Returned),
                how = device.hangs() => break Err(Failure { limit: None, message: how }),
                order = orders.next() => match order {
                    Order::Stop => break Ok(Ended::Stopped),
                    Order::Run(new) => telling = Box::pin(device.config_changed(new.config.clone())),
                },
                goes_on = &mut telling => match goes_on {
                    true => telling = Box::pin(std::future::pending()),
                    false => break Ok(Ended::Outdated),
                },
            }
        };
        self.things.device_gone(&owner);
        ended
    }

    fn stop_timeout(&self) -> Duration {
        STOP_TIMEOUT
    }

    fn is_back(&self) {
        self.things.driver_is_back(&self.row.name);
    }

    fn is_away(&self, why: &str) {
        self.things.driver_is_out(&self.row.name, format!("not running: {why}"));
    }

    fn is_out(&self, why: &str) {
        self.things.driver_is_out(&self.row.name, why.to_owned());
    }
}
