//! `/things/bulk`: one request for many things. Each has a result of its own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::data;
use super::thing::{self, Service, known};
use super::watch::{self, Watched};
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::{Api, body};
use crate::auth::Permission;
use crate::name::ThingId;
use crate::thing::Thing;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    #[serde(rename = "BulkAction")]
    action: Action,
    #[serde(rename = "Things")]
    things: Vec<Entry>,
}

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
enum Action {
    GetProperties,
    // The original's table spells it so.
    #[serde(alias = "SetProperites")]
    SetProperties,
    CallServices,
    Watch,
}

/// A thing, and what is wanted of it, by the action.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "ProductKey")]
    product_key: String,
    #[serde(rename = "DeviceName")]
    device_name: String,
    /// Of `GetProperties`; every readable property if there are none.
    #[serde(rename = "Identifiers", default)]
    identifiers: Vec<String>,
    /// Of `SetProperties`.
    #[serde(rename = "Properties", default)]
    #[schema(value_type = Option<Object>)]
    properties: Map<String, Json>,
    /// Of `CallServices`.
    #[serde(rename = "Services", default)]
    services: Vec<Service>,
    /// Of `Watch`: `all`, `properties` or `events`.
    #[serde(rename = "Watches", default)]
    watches: Option<Watched>,
}

/// Things that one request may name.
const THINGS_MAX: usize = 1_000;
/// Of those, how many are asked at the same time.
const AT_ONCE: usize = 16;

/// Reads, sets or calls many things, or watches them: then the answer goes on, one line a message.
#[utoipa::path(
    post,
    path = "/2020-04-30/things/bulk",
    tag = "2020-04-30",
    operation_id = "later_bulk",
    security(("session" = [])),
    request_body = Bulk,
    responses((status = 200, content((super::Answer = "application/json"), (String = "text/plain")))),
)]
pub async fn bulk(State(api): State<Arc<Api>>, caller: Caller, body: Body) -> Result<Response, ApiError> {
    let Bulk { action, things } = body::parse(&body::read(body).await?)?;
    caller.require(&api.audit, permission(action))?;
    if things.len() > THINGS_MAX {
        return Err(ApiError::bad_request(format!("{} things; at most {THINGS_MAX} are taken at once", things.len())));
    }
    if let Action::Watch = action {
        let wishes = things.into_iter().map(|entry| {
            let thing = known(&api, &caller, ThingId::new(&entry.product_key, &entry.device_name))?;
            Ok((thing.id.clone(), entry.watches.unwrap_or(Watched::All)))
        });
        return watch::watch(&api, &caller, wishes.collect::<Result<_, ApiError>>()?);
    }
    if things.is_empty() {
        return Err(ApiError::bad_request("`Things` is empty"));
    }
    let (api, caller) = (&api, &caller);
    let results = futures_util::stream::iter(things).map(|entry| one(api, caller, action, entry)).buffered(AT_ONCE);
    let results: Vec<Json> = results.collect().await;
    Ok(data(json!({"Results": results, "Timestamp": api.clock.unix_ms()})).into_response())
}

fn permission(action: Action) -> Permission {
    match action {
        Action::GetProperties => Permission::ThingsRead,
        Action::SetProperties => Permission::ThingsWrite,
        Action::CallServices => Permission::ThingsCall,
        Action::Watch => Permission::EventsRead,
    }
}

async fn one(api: &Arc<Api>, caller: &Caller, action: Action, entry: Entry) -> Json {
    let mut result = json!({"ProductKey": entry.product_key, "DeviceName": entry.device_name});
    let done = match known(api, caller, ThingId::new(&entry.product_key, &entry.device_name)) {
        Ok(thing) => act(api, action, &thing, entry).await,
        Err(error) => Err(error),
    };
    match (done, action) {
        (Ok(called), Action::CallServices) => result["Services"] = called,
        (Ok(done), _) => result["Returns"] = json!({"Code": 200, "Message": "success", "Data": done}),
        (Err(error), _) => result["Returns"] = json!({"Code": error.status().as_u16(), "Message": error.message(), "Data": []}),
    }
    result
}

async fn act(api: &Arc<Api>, action: Action, thing: &Thing, entry: Entry) -> Result<Json, ApiError> {
    match action {
        Action::GetProperties => thing::get(api, thing, entry.identifiers).await,
        Action::SetProperties => thing::set(api, thing, &entry.properties).await.map(|()| json!([])),
        Action::CallServices => thing::call(api, thing, entry.services).await.map(Json::Array),
        Action::Watch => Ok(json!([])),
    }
}
