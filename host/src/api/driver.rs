//! Drivers that are deployed, and how whoever is supervised is doing.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::caller::Caller;
use super::describe::form::Done;
use super::error::ApiError;
use super::given::InPath;
use crate::driver::Deployed;
use crate::supervisor::{Condition, ReleaseError};
use crate::thing::Presence;

/// A driver.
#[derive(Serialize, ToSchema)]
#[schema(as = Driver)]
pub struct Shown {
    #[schema(example = "light_sensor")]
    name: String,
    /// SHA-256 of its component, in hex.
    component: String,
    state: State,
    /// Why it does not run.
    reason: Option<String>,
    /// Since the gateway started.
    restarts: u64,
    /// Things that it owns.
    things: usize,
    things_online: usize,
}

/// How one that is supervised is doing.
#[derive(Serialize, ToSchema)]
#[schema(as = SupervisedState)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Running,
    #[serde(rename = "waiting to start again")]
    Waiting,
    /// It failed too often, and waits to be released.
    Quarantined,
    Stopped,
}

/// All drivers, and how they are doing.
#[utoipa::path(
    get,
    path = "/ledge/v1/drivers",
    tag = "drivers",
    operation_id = "ledge_drivers",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = Vec<Shown>)),
)]
pub async fn list(Shared(api): Shared<Arc<Api>>, _: Caller) -> JsonBody<Vec<Shown>> {
    let things = api.things.list();
    let row = |(driver, condition, restarts): &(Arc<Deployed>, Condition, u64)| {
        let own = || things.iter().filter(|thing| thing.row.driver == driver.row.name);
        let (state, reason) = said(condition);
        Shown {
            name: driver.row.name.clone(),
            component: driver.row.component.as_str().to_owned(),
            state,
            reason: reason.map(str::to_owned),
            restarts: *restarts,
            things: own().count(),
            things_online: own().filter(|thing| thing.presence() == Presence::Online).count(),
        }
    };
    JsonBody(api.drivers.list().iter().map(row).collect())
}

pub(super) fn said(condition: &Condition) -> (State, Option<&str>) {
    match condition {
        Condition::Running => (State::Running, None),
        Condition::Waiting { reason } => (State::Waiting, Some(reason)),
        Condition::Quarantined { reason } => (State::Quarantined, Some(reason)),
        Condition::Stopped => (State::Stopped, None),
    }
}

/// Starts a driver again that is quarantined.
#[utoipa::path(
    post,
    path = "/ledge/v1/drivers/{name}/release",
    tag = "drivers",
    operation_id = "ledge_release",
    security(("session" = ["functions.operate"])),
    params(("name" = String, Path, description = "a driver's name", example = "light_sensor")),
    responses((status = 200, body = Done), (status = 409, description = "it is not quarantined")),
)]
pub async fn release(Shared(api): Shared<Arc<Api>>, Caller(user): Caller, name: InPath<String>) -> Result<JsonBody<Done>, ApiError> {
    let InPath(name) = name;
    released(api.drivers.release(&name, &user.who()), &format!("driver `{name}`"))
}

pub(super) fn released(released: Result<(), ReleaseError>, who: &str) -> Result<JsonBody<Done>, ApiError> {
    let status = match released {
        Ok(()) => return Ok(JsonBody(Done {})),
        Err(ReleaseError::Unknown) => StatusCode::NOT_FOUND,
        Err(ReleaseError::NotQuarantined) => StatusCode::CONFLICT,
    };
    Err(ApiError::new(status, format!("{who}: {}", released.err().map_or_else(String::new, |refused| refused.to_string()))))
}
