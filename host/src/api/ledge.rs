//! Ledge's own API, which the CLI speaks: what is deployed, and how it is doing. Deploying is in `function_compute`.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Map, Value as Json, json};

use super::caller::Caller;
use super::error::ApiError;
use super::given::{InPath, InQuery};
use super::{Api, body};
use crate::deploy::{DeployError, Past, Report};
use crate::function::Function;
use crate::grant::Grants;
use crate::metric::{FunctionReading, Readings};
use crate::schedule;
use crate::set::Route;
use crate::supervisor::{Condition, ReleaseError};
use crate::thing::Presence;
use crate::trigger::timer::TimerState;

#[utoipa::path(
    get,
    path = "/ledge/v1/gateway",
    tag = "gateway",
    operation_id = "ledge_gateway",
    security(("session" = [])),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn gateway(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Json> {
    let functions = api.functions.list();
    JsonBody(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "functions": functions.len(),
        "functions_loaded": functions.iter().filter(|function| function.code.is_loaded()).count(),
        "things": api.things.list().len(),
        "queue_rows": api.queue.rows(),
        "sandbox": api.sandbox,
    }))
}

/// For Prometheus, which can send HTTP Basic.
#[utoipa::path(
    get,
    path = "/ledge/v1/metrics",
    tag = "gateway",
    operation_id = "ledge_metrics",
    security(("session" = ["metrics.read"])),
    responses((status = 200, body = String, content_type = "application/openmetrics-text")),
)]
pub async fn metrics(State(api): State<Arc<Api>>, _: Caller) -> impl IntoResponse {
    let functions = api.functions.list();
    let drivers = api.drivers.list();
    let readings = Readings {
        functions: functions.iter().map(|function| function_reading(function)).collect(),
        drivers: drivers
            .iter()
            .map(|(row, condition, restarts)| (row.row.name.clone(), *restarts, *condition == Condition::Running))
            .collect(),
        persistents: api
            .persistents
            .list()
            .iter()
            .map(|(it, condition, restarts)| (it.row.name.to_string(), *restarts, *condition == Condition::Running))
            .collect(),
        queued: api.queue.rows(),
        password_hashes: api.auth.hashes(),
    };
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], api.metrics.text(readings))
}

fn function_reading(function: &Function) -> FunctionReading {
    FunctionReading {
        name: function.name.to_string(),
        running: function.gate.running(),
        is_open: function.breaker.is_open(),
        counted: function.metrics.clone(),
    }
}

/// Grants without the values of the environment, which may be secrets.
fn shown(grants: &Grants) -> Json {
    let names: Vec<&String> = grants.env.0.keys().collect();
    let mut shown = json!(grants);
    shown["env"] = json!(names);
    shown
}

#[utoipa::path(
    get,
    path = "/ledge/v1/functions",
    tag = "functions",
    operation_id = "ledge_functions",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = Vec<serde_json::Value>)),
)]
pub async fn functions(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<Json>> {
    let (residents, versions) = (api.persistents.list(), api.deploy.versions());
    let row = |function: &Arc<Function>| {
        let resident = residents.iter().find(|(resident, ..)| resident.row.name == function.name);
        let (state, reason) = resident.map(|(_, condition, _)| said(condition)).unzip();
        json!({
            "name": function.name.to_string(),
            "mode": function.mode,
            "state": state,
            "reason": reason.flatten().map(str::to_owned).or_else(|| api.deploy.went_back(&function.name)),
            "restarts": resident.map(|(.., restarts)| restarts),
            "component": function.digest.as_str(),
            "running": function.gate.running(),
            "loaded": function.code.is_loaded(),
            "limits": function.limits,
            "grants": shown(&function.grants),
            "reuse": function.reuse,
            "past": versions.past.get(&function.name).map(|past| past.iter().map(past_shown).collect::<Vec<_>>()),
            "breaker": if function.breaker.is_open() { "open" } else { "closed" },
            "http": function.http,
        })
    };
    JsonBody(api.functions.list().iter().map(row).collect())
}

fn past_shown(past: &Past) -> Json {
    json!({"component": past.row.component.as_str(), "until": schedule::iso(past.until_ms)})
}

/// How one that is supervised is doing, in words.
fn said(condition: &Condition) -> (&'static str, Option<&str>) {
    match condition {
        Condition::Running => ("running", None),
        Condition::Waiting { reason } => ("waiting to start again", Some(reason)),
        Condition::Quarantined { reason } => ("quarantined", Some(reason)),
        Condition::Stopped => ("stopped", None),
    }
}

#[utoipa::path(
    get,
    path = "/ledge/v1/drivers",
    tag = "drivers",
    operation_id = "ledge_drivers",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = Vec<serde_json::Value>)),
)]
pub async fn drivers(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<Json>> {
    let things = api.things.list();
    let row = |(driver, condition, restarts): &(Arc<crate::driver::Deployed>, Condition, u64)| {
        let own = || things.iter().filter(|thing| thing.row.driver == driver.row.name);
        let (state, reason) = said(condition);
        json!({
            "name": driver.row.name,
            "component": driver.row.component.as_str(),
            "state": state,
            "reason": reason,
            "restarts": restarts,
            "things": own().count(),
            "things_online": own().filter(|thing| thing.presence() == Presence::Online).count(),
        })
    };
    JsonBody(api.drivers.list().iter().map(row).collect())
}

#[utoipa::path(
    post,
    path = "/ledge/v1/drivers/{name}/release",
    tag = "drivers",
    operation_id = "ledge_release",
    security(("session" = ["functions.operate"])),
    params(("name" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn release(State(api): State<Arc<Api>>, Caller(user): Caller, name: InPath<String>) -> Result<JsonBody<Json>, ApiError> {
    let InPath(name) = name;
    released(api.drivers.release(&name, &user.who()), &format!("driver `{name}`"))
}

#[utoipa::path(
    post,
    path = "/ledge/v1/functions/{service}/{function}/release",
    tag = "functions",
    operation_id = "ledge_release_function",
    security(("session" = ["functions.operate"])),
    params(("service" = String, Path), ("function" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn release_function(
    State(api): State<Arc<Api>>,
    Caller(user): Caller,
    name: InPath<(String, String)>,
) -> Result<JsonBody<Json>, ApiError> {
    let InPath((service, function)) = name;
    let name = format!("{service}/{function}");
    released(api.persistents.release(&name, &user.who()), &format!("persistent function `{name}`"))
}

fn released(released: Result<(), ReleaseError>, who: &str) -> Result<JsonBody<Json>, ApiError> {
    let status = match released {
        Ok(()) => return Ok(JsonBody(json!({}))),
        Err(ReleaseError::Unknown) => StatusCode::NOT_FOUND,
        Err(ReleaseError::NotQuarantined) => StatusCode::CONFLICT,
    };
    Err(ApiError::new(status, format!("{who}: {}", released.err().map_or_else(String::new, |refused| refused.to_string()))))
}

#[utoipa::path(
    get,
    path = "/ledge/v1/things",
    tag = "things",
    operation_id = "ledge_things",
    security(("session" = ["things.read"])),
    responses((status = 200, body = Vec<serde_json::Value>)),
)]
pub async fn things(State(api): State<Arc<Api>>, Caller(user): Caller) -> JsonBody<Vec<Json>> {
    let row = |thing: &Arc<crate::thing::Thing>| {
        let values: Map<String, Json> =
            thing.values().into_iter().map(|(name, it)| (name, json!({"value": it.value.to_json(), "time": it.time_ms}))).collect();
        let state = match thing.presence() {
            Presence::Inactive => "inactive",
            Presence::Online => "online",
            Presence::Offline => "offline",
        };
        json!({
            "product": thing.id.product_key,
            "name": thing.id.device_name,
            "driver": thing.row.driver,
            "local_name": thing.row.local_name,
            "state": state,
            "tags": thing.row.tags,
            "values": values,
        })
    };
    let things = api.things.list();
    JsonBody(things.iter().filter(|thing| user.rights.covers(&thing.id.product_key)).map(row).collect())
}

#[utoipa::path(
    get,
    path = "/ledge/v1/timers",
    tag = "triggers",
    operation_id = "ledge_timers",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = Vec<serde_json::Value>)),
)]
pub async fn timers(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<Json>> {
    let row = |it: TimerState| {
        json!({
            "name": it.timer.name,
            "function": it.function,
            "schedule": it.timer.schedule.to_string(),
            "missed": it.timer.missed,
            "payload": it.timer.payload,
            "last": it.last_ms.map(schedule::iso),
            "next": it.next_ms.map(schedule::iso),
        })
    };
    JsonBody(api.timers.list().into_iter().map(row).collect())
}

#[utoipa::path(
    get,
    path = "/ledge/v1/routes",
    tag = "triggers",
    operation_id = "ledge_routes",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn routes(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Json> {
    JsonBody(json!(api.routes.list()))
}

#[utoipa::path(
    post,
    path = "/ledge/v1/routes",
    tag = "triggers",
    operation_id = "ledge_add_route",
    security(("session" = ["deploy"])),
    request_body = serde_json::Value,
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn add_route(State(api): State<Arc<Api>>, Caller(user): Caller, body: Body) -> Result<JsonBody<Report>, ApiError> {
    change_route(api, user.who(), body, true).await
}

#[utoipa::path(
    delete,
    path = "/ledge/v1/routes",
    tag = "triggers",
    operation_id = "ledge_delete_route",
    security(("session" = ["deploy"])),
    request_body = serde_json::Value,
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn delete_route(State(api): State<Arc<Api>>, Caller(user): Caller, body: Body) -> Result<JsonBody<Report>, ApiError> {
    change_route(api, user.who(), body, false).await
}

/// The body is the route, as `routes` lists them.
async fn change_route(api: Arc<Api>, who: String, body: Body, is_added: bool) -> Result<JsonBody<Report>, ApiError> {
    let body = body::read(body).await?;
    let route: Route = serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body is not a route: {error}")))?;
    let changed = deployed(async move { api.deploy.change_route(route, is_added, &who).await }).await?;
    let none = || ApiError::new(StatusCode::NOT_FOUND, "there is no such route; `ledge list routes` shows those that there are");
    changed.map(JsonBody).ok_or_else(none)
}

/// Waits for a change of what is deployed, which is not on the request's own task: a client that goes away must not stop it half way.
pub(super) async fn deployed<T: Send + 'static>(
    change: impl Future<Output = Result<T, DeployError>> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::spawn(change).await.map_err(|error| ApiError::internal("deploying", &error.into()))?;
    done.map_err(not_deployed)
}

pub(super) fn not_deployed(error: DeployError) -> ApiError {
    match error {
        DeployError::Refused(problems) => ApiError::bad_request(problems.join("\n")).with_data(json!({"problems": problems})),
        DeployError::Failed(error) => ApiError::internal("deploying", &error),
    }
}
