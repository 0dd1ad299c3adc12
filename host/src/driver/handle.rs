//! How the gateway reaches a driver's instance: a bounded queue of requests, each with a place for its answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::shared::Shared;
use crate::capability::Guest;
use crate::function::Failure;
use crate::name::ThingId;
use crate::runtime::Request;
use crate::thing::fault::{self, Fault};
use crate::thing::value::Property;
use crate::thing::{BoxFuture, Device};

pub struct Handle {
    driver: String,
    guest: Arc<Guest>,
    deadline: Duration,
    requests: mpsc::Sender<Request>,
    life: Arc<DriverLife>,
}

/// One instance, from its start to its end.
pub type DriverLife = Shared<Result<(), Failure>>;

impl Handle {
    pub fn new(driver: String, guest: Arc<Guest>, deadline: Duration, requests: mpsc::Sender<Request>, life: Arc<DriverLife>) -> Self {
        Self { driver, guest, deadline, requests, life }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, Fault>>) -> Request) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        self.life.help(|| self.requests.try_send(request(answer))).map_err(|error| self.refused(&error))?;
        answered.await.unwrap_or_else(|_| Err(self.gone()))
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

    fn was_late(&self, what: &str) {
        self.guest.tell(Some("deadline_ms"), &format!("is late: {what}"));
    }

    fn get_properties(&self, thing: ThingId, identifiers: Vec<String>) -> BoxFuture<'_, Result<Vec<Property>, Fault>> {
        Box::pin(self.ask(|answer| Request::Get { thing, identifiers, answer }))
    }

    fn set_properties(&self, thing: ThingId, properties: Vec<Property>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.ask(|answer| Request::Set { thing, properties, answer }))
    }

    fn call_service(&self, thing: ThingId, service: String, arguments: Vec<Property>) -> BoxFuture<'_, Result<Vec<Property>, Fault>> {
        Box::pin(self.ask(|answer| Request::Call { thing, service, arguments, answer }))
    }
}
