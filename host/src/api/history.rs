//! What a thing reported, by time range.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::caller::Caller;
use super::describe::form::Values;
use super::error::ApiError;
use super::given::{InPath, InQuery};
use crate::name::ThingId;
use crate::thing::history::Report;
use crate::thing::value::properties_to_json;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Unix milliseconds, included.
    #[serde(default)]
    from: u64,
    /// Unix milliseconds, included.
    #[serde(default = "no_end")]
    to: u64,
    /// Where the page before ended: its `next`.
    #[serde(default)]
    cursor: u64,
    /// Reports at most.
    #[serde(default = "usual_count")]
    #[param(minimum = 1, maximum = 1_000)]
    count: usize,
}

fn no_end() -> u64 {
    u64::MAX
}

fn usual_count() -> usize {
    100
}

/// Reports that one answer may have.
const COUNT_MAX: usize = 1_000;

/// Reports, in the order in which they came.
#[derive(Serialize, ToSchema)]
#[schema(as = History)]
pub struct Page {
    reports: Vec<Shown>,
    /// The cursor of the next page, if there is one.
    next: Option<u64>,
}

/// A report of properties, or an event.
#[derive(Serialize, ToSchema)]
#[schema(as = ThingReport)]
#[serde(untagged)]
enum Shown {
    Properties {
        /// Milliseconds since 1970.
        time: u64,
        #[schema(value_type = Values)]
        properties: Map<String, Json>,
    },
    Event {
        /// Milliseconds since 1970.
        time: u64,
        event: String,
        #[schema(value_type = Values)]
        outputs: Map<String, Json>,
    },
}

/// What a thing reported, in the order in which it came. `next` is the cursor of the next page, if there is one.
#[utoipa::path(
    get,
    path = "/ledge/v1/things/{product}/{name}/history",
    tag = "things",
    operation_id = "history_show",
    security(("session" = ["things.read"])),
    params(("product" = String, Path), ("name" = String, Path, description = "a thing's name", example = "sensor-1"), Wanted),
    responses((status = 200, body = Page), (status = 500)),
)]
pub async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    thing: InPath<(String, String)>,
    wanted: InQuery<Wanted>,
) -> Result<JsonBody<Page>, ApiError> {
    let InPath((product_key, device_name)) = thing;
    let InQuery(wanted) = wanted;
    if !(1..=COUNT_MAX).contains(&wanted.count) {
        return Err(ApiError::bad_request(format!("`count` is {}; it may be 1 to {COUNT_MAX}", wanted.count)));
    }
    let id = ThingId { product_key, device_name };
    caller.covers(&api.audit, &id.product_key)?;
    api.things.get(&id).map_err(|unknown| ApiError::new(StatusCode::NOT_FOUND, unknown.message))?;
    let (reports, next) = api.things.history(&id, wanted.from..=wanted.to, wanted.cursor, wanted.count).await?;
    Ok(JsonBody(Page { reports: reports.iter().map(shown).collect(), next }))
}

fn shown(report: &Report) -> Shown {
    let (time, values) = (report.time_ms, properties_to_json(&report.values));
    match &report.event {
        None => Shown::Properties { time, properties: values },
        Some(event) => Shown::Event { time, event: event.clone(), outputs: values },
    }
}
