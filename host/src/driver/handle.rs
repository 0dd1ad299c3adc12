//! How the gateway reaches a driver's instance: a bounded queue of requests, each with a place for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use super::shared::Shared;
use crate::capability::Guest;
use crate::capability::requests::Request;
use crate::capability::thing_access::DriverConfig;
use crate::function::Failure;
use crate::name::ThingId;
use crate::telemetry::printable;
use crate::thing::fault::{self, Fault};
use crate::thing::value::Property;
use crate::thing::{BoxFuture, Device, LostTime, Turn};

pub struct Handle {
    driver: String,
    guest: Arc<Guest>,
    deadline: Duration,
    requests: mpsc::Sender<Request>,
    life: Arc<DriverLife>,
    /// Calls that had no answer, one after another, since the driver gave its last sign of life.
    late: AtomicU32,
    /// When the last of them was given up.
    late_at: Mutex<Option<Instant>>,
    hangs: Notify,
    lost_time: Arc<LostTime>,
}

/// Calls that took all of their time, each begun when the one before was given up, with no answer and no report in between: then the
/// driver hangs. It is seen from outside, since a driver that waits for a blocking call of WASI 0.2 sees nothing.
const LATE_MAX: u32 = 8;

/// One instance, from its start to its end.
pub type DriverLife = Shared<Result<(), Failure>>;

impl Handle {
    pub fn new(driver: String, guest: Arc<Guest>, deadline: Duration, requests: mpsc::Sender<Request>, life: Arc<DriverLife>) -> Self {
        let (late, late_at, lost_time) = Default::default();
        Self { driver, guest, deadline, requests, life, late, late_at, hangs: Notify::new(), lost_time }
    }

    /// Returns once the driver hangs, with how that shows.
    pub async fn hangs(&self) -> String {
        self.hangs.notified().await;
        format!(
            "it hangs: {LATE_MAX} calls one after another had no answer within {} ms, and it reported nothing",
            self.deadline.as_millis()
        )
    }

    /// Gives the instance its new configuration. Whether it goes on with it: if not, another instance must.
    pub async fn config_changed(&self, config: Arc<DriverConfig>) -> bool {
        let taken = tokio::time::timeout(self.deadline, self.ask(|answer| Request::Configure { config, answer })).await;
        match taken {
            Ok(Ok(())) => {
                tracing::info!("{} goes on with its new configuration", self.guest.who);
                return true;
            }
            Ok(Err(refused)) => {
                tracing::info!("{} starts again, with its new configuration: {}", self.guest.who, printable(&refused.message))
            }
            Err(_) => self.guest.tell(Some("deadline_ms"), "did not take its new configuration in time; it starts again with it"),
        }
        false
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, Fault>>) -> Request) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        self.life.help(|| self.requests.try_send(request(answer)).map_err(|error| self.refused(&error)))?;
        let answer = answered.await.unwrap_or_else(|_| Err(self.gone()));
        self.is_alive();
        answer
    }

    fn refused(&self, error: &mpsc::error::TrySendError<Request>) -> Fault {
        match error {
            mpsc::error::TrySendError::Full(_) => {
                Fault::new(fault::TOO_MANY, format!("driver `{}` has too many requests waiting; try again", self.driver))
            }
            mpsc::error::TrySendError::Closed(_) => self.gone(),
        }
    }

    fn gone(&self) -> Fault {
        Fault::new(fault::DEVICE_OFFLINE, format!("driver `{}` ended before it answered", self.driver))
    }
}

impl Device for Handle {
    fn deadline(&self) -> Duration {
        self.deadline
    }

    fn was_late(&self, began: Instant, what: &str) {
        self.guest.tell(Some("deadline_ms"), &format!("is late: {what}"));
        let mut late_at = self.late_at.lock();
        // Of those that waited side by side, one counts.
        if self.late.load(Relaxed) > 0 && late_at.is_some_and(|late_at| began < late_at) {
            return;
        }
        *late_at = Some(Instant::now());
        if self.late.fetch_add(1, Relaxed) + 1 >= LATE_MAX {
            self.hangs.notify_one();
        }
    }

    fn is_alive(&self) {
        self.late.store(0, Relaxed);
    }

    fn lost_time(&self) -> &Arc<LostTime> {
        &self.lost_time
    }

    fn get_properties(&self, turn: Turn, thing: ThingId, identifiers: Vec<String>) -> BoxFuture<'_, Result<Vec<Property>, Fault>> {
        Box::pin(self.ask(|answer| Request::Get { turn, thing, identifiers, answer }))
    }

    fn set_properties(&self, turn: Turn, thing: ThingId, properties: Vec<Property>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.ask(|answer| Request::Set { turn, thing, properties, answer }))
    }

    fn call_service(
        &self,
        turn: Turn,
        thing: ThingId,
        service: String,
        arguments: Vec<Property>,
    ) -> BoxFuture<'_, Result<Vec<Property>, Fault>> {
        Box::pin(self.ask(|answer| Request::Call { turn, thing, service, arguments, answer }))
    }
}
