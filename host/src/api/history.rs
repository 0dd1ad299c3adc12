//! What a thing reported, by time range.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::Api;
use super::caller::Caller;
use super::error::ApiError;
use super::given::{InPath, InQuery};
use crate::name::ThingId;
use crate::thing::history::Report;
use crate::thing::value::properties_to_json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Unix milliseconds, both included.
    #[serde(default)]
    from: u64,
    #[serde(default = "no_end")]
    to: u64,
    /// Where the page before ended: its `next`.
    #[serde(default)]
    cursor: u64,
    /// Reports at most, up to [`COUNT_MAX`].
    #[serde(default = "usual_count")]
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

/// In the order in which they came. `next` is the cursor of the next page, if there is one.
#[utoipa::path(
    get,
    path = "/ledge/v1/things/{product}/{name}/history",
    tag = "things",
    operation_id = "history_show",
    security(("session" = ["things.read"])),
    params(("product" = String, Path), ("name" = String, Path), ("from" = Option<u64>, Query), ("to" = Option<u64>, Query), ("cursor" = Option<u64>, Query), ("count" = Option<u64>, Query)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    thing: InPath<(String, String)>,
    wanted: InQuery<Wanted>,
) -> Result<JsonBody<Json>, ApiError> {
    let InPath((product_key, device_name)) = thing;
    let InQuery(wanted) = wanted;
    if !(1..=COUNT_MAX).contains(&wanted.count) {
        return Err(ApiError::bad_request(format!("`count` is {}; it may be 1 to {COUNT_MAX}", wanted.count)));
    }
    let id = ThingId { product_key, device_name };
    caller.covers(&api.audit, &id.product_key)?;
    api.things.get(&id).map_err(|unknown| ApiError::new(StatusCode::NOT_FOUND, unknown.message))?;
    let (reports, next) = api.things.history(&id, wanted.from..=wanted.to, wanted.cursor, wanted.count).await?;
    Ok(JsonBody(json!({"reports": reports.iter().map(shown).collect::<Vec<_>>(), "next": next})))
}

fn shown(report: &Report) -> Json {
    let values = properties_to_json(&report.values);
    match &report.event {
        None => json!({"time": report.time_ms, "properties": values}),
        Some(event) => json!({"time": report.time_ms, "event": event, "outputs": values}),
    }
}
