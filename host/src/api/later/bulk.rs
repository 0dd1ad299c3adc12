//! `/things/bulk`: one request for many things. Each has a result of its own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use utoipa::ToSchema;

use super::thing::{self, Called, Service, known};
use super::watch::{self, Watched};
use super::{Returns, data};
use crate::api::caller::Caller;
use crate::api::describe::form::Values;
use crate::api::error::ApiError;
use crate::api::{Api, body};
use crate::auth::Permission;
use crate::name::ThingId;
use crate::thing::Thing;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    #[serde(rename = "BulkAction")]
    action: Action,
    #[serde(rename = "Things")]
    things: Vec<Entry>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
enum Action {
    GetProperties,
    // The original's table spells it so.
    #[serde(alias = "SetProperites")]
    SetProperties,
    CallServices,
    Watch,
}

/// A thing, and what is wanted of it, by the action.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "ProductKey")]
    #[schema(example = "a1Light")]
    product_key: String,
    #[serde(rename = "DeviceName")]
    #[schema(example = "lamp-1")]
    device_name: String,
    /// Of `GetProperties`; every readable property if there are none.
    #[serde(rename = "Identifiers", default)]
    identifiers: Vec<String>,
    /// Of `SetProperties`.
    #[serde(rename = "Properties", default)]
    #[schema(value_type = Values)]
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

#[derive(Serialize, ToSchema)]
#[schema(as = LaterBulkAnswer)]
#[serde(rename_all = "PascalCase")]
pub struct Results {
    results: Vec<OfThing>,
    /// Milliseconds since 1970.
    timestamp: u64,
}

/// What became of one thing.
#[derive(Serialize, ToSchema)]
#[schema(as = LaterOfThing)]
#[serde(rename_all = "PascalCase")]
struct OfThing {
    product_key: String,
    device_name: String,
    /// Of `CallServices`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    services: Option<Vec<Called>>,
    /// Of the other actions, and of a thing that could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    returns: Option<Returns>,
}

/// Reads, sets or calls many things, or watches them: then the answer goes on, one line a message, and has no end. A page that waits for the
/// end shows nothing of it: watch with `curl -N`.
#[utoipa::path(
    post,
    path = "/2020-04-30/things/bulk",
    tag = "2020-04-30",
    operation_id = "later_bulk",
    security(("session" = [])),
    request_body(content = Bulk, example = json!({"BulkAction": "GetProperties", "Things": [{"ProductKey": "a1Light", "DeviceName": "lamp-1"}]})),
    responses((status = 200, content((super::Answer<Results> = "application/json"), (String = "text/plain")))),
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
    Ok(data(Results { results: results.collect().await, timestamp: api.clock.unix_ms() }).into_response())
}

fn permission(action: Action) -> Permission {
    match action {
        Action::GetProperties => Permission::ThingsRead,
        Action::SetProperties => Permission::ThingsWrite,
        Action::CallServices => Permission::ThingsCall,
        Action::Watch => Permission::EventsRead,
    }
}

async fn one(api: &Arc<Api>, caller: &Caller, action: Action, entry: Entry) -> OfThing {
    let (product_key, device_name) = (entry.product_key.clone(), entry.device_name.clone());
    let (services, returns) = match known(api, caller, ThingId::new(&product_key, &device_name)) {
        Ok(thing) => act(api, action, &thing, entry).await,
        Err(error) => (None, Some(Err(error).into())),
    };
    OfThing { product_key, device_name, services, returns }
}

async fn act(api: &Arc<Api>, action: Action, thing: &Thing, entry: Entry) -> (Option<Vec<Called>>, Option<Returns>) {
    let done = match action {
        Action::GetProperties => thing::get(api, thing, entry.identifiers).await,
        Action::SetProperties => thing::set(api, thing, &entry.properties).await.map(|()| json!([])),
        Action::CallServices => match thing::call(api, thing, entry.services).await {
            Ok(called) => return (Some(called), None),
            Err(error) => Err(error),
        },
        Action::Watch => Ok(json!([])),
    };
    (None, Some(done.into()))
}
