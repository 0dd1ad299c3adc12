//! What starts functions besides calls: routes and timers.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::error::ApiError;
use super::ledge::deployed;
use super::{Api, body};
use crate::deploy::Report;
use crate::schedule;
use crate::set::{Missed, Route};
use crate::trigger::timer::TimerState;

/// A timer of a function.
#[derive(Serialize, ToSchema)]
#[schema(as = Timer)]
pub struct TimerShown {
    name: String,
    #[schema(example = "EdgeFC/helloworld")]
    function: String,
    /// `every N s`, or a cron expression and its time zone.
    schedule: String,
    missed: Missed,
    payload: String,
    /// Its last tick, ISO 8601.
    last: Option<String>,
    next: Option<String>,
}

/// All timers.
#[utoipa::path(
    get,
    path = "/ledge/v1/timers",
    tag = "triggers",
    operation_id = "ledge_timers",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = Vec<TimerShown>)),
)]
pub async fn timers(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<TimerShown>> {
    let row = |it: TimerState| TimerShown {
        name: it.timer.name,
        function: it.function.to_string(),
        schedule: it.timer.schedule.to_string(),
        missed: it.timer.missed,
        payload: it.timer.payload,
        last: it.last_ms.map(schedule::iso),
        next: it.next_ms.map(schedule::iso),
    };
    JsonBody(api.timers.list().into_iter().map(row).collect())
}

/// All message routes.
#[utoipa::path(
    get,
    path = "/ledge/v1/routes",
    tag = "triggers",
    operation_id = "ledge_routes",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = Vec<Route>)),
)]
pub async fn routes(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<Route>> {
    JsonBody(api.routes.list())
}

/// Adds a route, or changes its QoS. Its target must be granted the topic.
#[utoipa::path(
    post,
    path = "/ledge/v1/routes",
    tag = "triggers",
    operation_id = "ledge_add_route",
    security(("session" = ["deploy"])),
    request_body = Route,
    responses((status = 200, body = Report), (status = 404), (status = 500)),
)]
pub async fn add_route(State(api): State<Arc<Api>>, Caller(user): Caller, body: Body) -> Result<JsonBody<Report>, ApiError> {
    change_route(api, user.who(), body, true).await
}

/// Deletes a route. The body is the route, as the list has it.
#[utoipa::path(
    delete,
    path = "/ledge/v1/routes",
    tag = "triggers",
    operation_id = "ledge_delete_route",
    security(("session" = ["deploy"])),
    request_body = Route,
    responses((status = 200, body = Report), (status = 404), (status = 500)),
)]
pub async fn delete_route(State(api): State<Arc<Api>>, Caller(user): Caller, body: Body) -> Result<JsonBody<Report>, ApiError> {
    change_route(api, user.who(), body, false).await
}

async fn change_route(api: Arc<Api>, who: String, body: Body, is_added: bool) -> Result<JsonBody<Report>, ApiError> {
    let body = body::read(body).await?;
    let route: Route = serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body is not a route: {error}")))?;
    let changed = deployed(async move { api.deploy.change_route(route, is_added, &who).await }).await?;
    let none = || ApiError::new(StatusCode::NOT_FOUND, "there is no such route; `ledge list routes` shows those that there are");
    changed.map(JsonBody).ok_or_else(none)
}
