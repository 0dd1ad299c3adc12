//! Ledge's own API, which the CLI speaks: what is deployed, and how it is doing. Deploying is in `function_compute`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Value as Json, json};
use utoipa::ToSchema;

use super::Api;
use super::caller::Caller;
use super::describe::form::TslValue;
use super::error::ApiError;
use crate::deploy::DeployError;
use crate::function::Function;
use crate::metric::{FunctionReading, Readings};
use crate::supervisor::Condition;
use crate::thing::{Presence, Thing};

/// The gateway, in short.
#[derive(Serialize, ToSchema)]
#[schema(as = Gateway)]
pub struct Shown {
    #[schema(example = "0.1.0")]
    version: &'static str,
    functions: usize,
    /// Those whose code is in memory.
    functions_loaded: usize,
    things: usize,
    /// Async invocations that wait, run, or are dead letters.
    queue_rows: usize,
    /// What the runtime chose for this machine, in words.
    sandbox: String,
}

/// What this gateway is, and how much there is on it.
#[utoipa::path(
    get,
    path = "/ledge/v1/gateway",
    tag = "gateway",
    operation_id = "ledge_gateway",
    security(("session" = [])),
    responses((status = 200, body = Shown)),
)]
pub async fn gateway(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Shown> {
    let functions = api.functions.list();
    JsonBody(Shown {
        version: env!("CARGO_PKG_VERSION"),
        functions: functions.len(),
        functions_loaded: functions.iter().filter(|function| function.code.is_loaded()).count(),
        things: api.things.list().len(),
        queue_rows: api.queue.rows(),
        sandbox: api.sandbox.clone(),
    })
}

/// Every metric, for Prometheus, which can send HTTP Basic. `/metrics` has the same.
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
    let (drivers, refusals) = (api.drivers.list(), api.audit.refusals());
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
        denied_requests: refusals.denied_requests.get(),
        failed_logins: refusals.failed_logins.get(),
        throttled_logins: refusals.throttled_logins.get(),
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

/// A thing.
#[derive(Serialize, ToSchema)]
#[schema(as = Thing)]
pub struct ThingShown {
    /// Its product's key.
    #[schema(example = "a1Light")]
    product: String,
    #[schema(example = "lamp-1")]
    name: String,
    driver: String,
    local_name: Option<String>,
    state: Here,
    tags: BTreeMap<String, String>,
    /// The last value of each property.
    values: BTreeMap<String, Last>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LastValue)]
struct Last {
    #[schema(value_type = TslValue)]
    value: Json,
    /// Milliseconds since 1970.
    time: u64,
}

/// `inactive` was never online.
#[derive(Serialize, ToSchema)]
#[schema(as = ThingState)]
#[serde(rename_all = "lowercase")]
enum Here {
    Inactive,
    Online,
    Offline,
}

/// All things, with the last values of their properties.
#[utoipa::path(
    get,
    path = "/ledge/v1/things",
    tag = "things",
    operation_id = "ledge_things",
    security(("session" = ["things.read"])),
    responses((status = 200, body = Vec<ThingShown>)),
)]
pub async fn things(State(api): State<Arc<Api>>, Caller(user): Caller) -> JsonBody<Vec<ThingShown>> {
    let row = |thing: &Arc<Thing>| ThingShown {
        product: thing.id.product_key.clone(),
        name: thing.id.device_name.clone(),
        driver: thing.row.driver.clone(),
        local_name: thing.row.local_name.clone(),
        state: match thing.presence() {
            Presence::Inactive => Here::Inactive,
            Presence::Online => Here::Online,
            Presence::Offline => Here::Offline,
        },
        tags: thing.row.tags.clone(),
        values: thing.values().into_iter().map(|(name, it)| (name, Last { value: it.value.to_json(), time: it.time_ms })).collect(),
    };
    let things = api.things.list();
    JsonBody(things.iter().filter(|thing| user.rights.covers(&thing.id.product_key)).map(row).collect())
}

/// Waits for a change of what is deployed, which is not on the request's own task: a client that goes away must not stop it half way.
pub(super) async fn deployed<T: Send + 'static, E: Into<ApiError> + Send + 'static>(
    change: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::spawn(change).await.map_err(|error| ApiError::internal("deploying", &error.into()))?;
    done.map_err(Into::into)
}

pub(super) fn not_deployed(error: DeployError) -> ApiError {
    match error {
        DeployError::Refused(problems) => ApiError::bad_request(problems.join("\n")).with_data(json!({"problems": problems})),
        DeployError::Failed(error) => ApiError::internal("deploying", &error),
    }
}
