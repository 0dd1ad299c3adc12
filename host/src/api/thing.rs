//! `/thing/device/*` but the event stream (manual 3.4).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};

use super::Api;
use super::asked::asked;
use super::caller::Caller;
use super::describe;
use super::error::ApiError;
use super::v1::{Params, success};
use crate::name::ThingId;
use crate::thing::value::properties_to_json;
use crate::thing::{Presence, Thing};

/// queryThingCount (manual 3.4.1).
#[utoipa::path(
    post,
    path = "/thing/device/count",
    tag = "things (v1)",
    operation_id = "thing_count",
    security(("session" = ["things.read"])),
    request_body = describe::Request,
    responses((status = 200, body = describe::Envelope)),
)]
pub async fn count(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<impl IntoResponse, ApiError> {
    Ok(success(json!({"deviceCount": wanted(&api, &caller, &params)?.len()})))
}

/// getAuthedDeviceList (manual 3.4.2).
#[utoipa::path(
    post,
    path = "/thing/device/list-authed",
    tag = "things (v1)",
    operation_id = "thing_list",
    security(("session" = ["things.read"])),
    request_body = describe::Request,
    responses((status = 200, body = describe::Envelope)),
)]
pub async fn list(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<impl IntoResponse, ApiError> {
    let missing = || ApiError::bad_request("`params.PageSize` is missing; 0 lists everything");
    let page_size = params.whole("PageSize")?.ok_or_else(missing)?;
    let current_page = params.whole("CurrentPage")?.unwrap_or(1);
    if current_page == 0 {
        return Err(ApiError::bad_request("`params.CurrentPage` counts from 1"));
    }
    let is_newest_first = params.one_of("SortMethod", &[("TimeDesc", true), ("TimeAsc", false)])?.unwrap_or(true);
    let mut things = wanted(&api, &caller, &params)?;
    // Those that were deployed together stay in the order of their names.
    let made_at = |thing: &Arc<Thing>| thing.made_at_ms();
    if is_newest_first {
        things.sort_by_key(|thing| std::cmp::Reverse(made_at(thing)))
    } else {
        things.sort_by_key(made_at)
    }
    let total = things.len();
    let size = if page_size == 0 { total } else { usize::try_from(page_size).unwrap_or(usize::MAX) };
    let skip = usize::try_from(current_page - 1).unwrap_or(usize::MAX).saturating_mul(size);
    let page: Vec<Json> = things.iter().skip(skip).take(size).map(|thing| row(thing)).collect();
    Ok(success(json!({"List": page, "CurrentPage": current_page, "TotalNum": total, "PageSize": page_size})))
}

/// The things that fit every filter which is there (manual 3.4.1, 3.4.2), and that are the caller's business.
fn wanted(api: &Api, caller: &Caller, params: &Params) -> Result<Vec<Arc<Thing>>, ApiError> {
    let text = |name: &str| params.get(name).is_some().then(|| params.text(name)).transpose();
    let (product, driver, tags) = (text("productKey")?, text("driverName")?, params.tags("DeviceTags")?);
    let is_active = params.one_of("activeStatus", &[("0", false), ("1", true)])?;
    let is_online = params.one_of("onlineStatus", &[("0", false), ("1", true)])?;
    let local = params.one_of("LocalState", &STATES)?;
    let cloud = params.one_of("CloudState", &STATES)?;
    let mut things = api.things.with_tags(&tags);
    things.retain(|thing| {
        let presence = thing.presence();
        caller.0.rights.covers(&thing.id.product_key)
            && product.is_none_or(|product| thing.id.product_key == product)
            && driver.is_none_or(|driver| thing.row.driver == driver)
            && is_active.is_none_or(|is_active| (presence != Presence::Inactive) == is_active)
            && is_online.is_none_or(|is_online| (presence == Presence::Online) == is_online)
            && local.is_none_or(|local| local == Some(presence))
            && cloud.is_none_or(|cloud| cloud == Some(CLOUD))
    });
    Ok(things)
}

/// There is no uplink yet, so no thing was ever activated in a cloud.
const CLOUD: Presence = Presence::Inactive;
/// What filters name. Nothing here ever fails to be activated.
const STATES: [(&str, Option<Presence>); 4] = [
    ("Inactive", Some(Presence::Inactive)),
    ("ActivationFailed", None),
    ("Online", Some(Presence::Online)),
    ("Offline", Some(Presence::Offline)),
];

fn row(thing: &Thing) -> Json {
    let tags: Vec<String> = thing.row.tags.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    let online_at = thing.online_at_ms().map(|ms| ms.to_string()).unwrap_or_default();
    json!({
        "LocalState": state(thing.presence()),
        "DriverName": thing.row.driver,
        "LastCloudOnlineTime": "",
        "DeviceName": thing.id.device_name,
        "CloudState": state(CLOUD),
        "DeviceTags": tags,
        "LastLinkTime": online_at,
        "ProductKey": thing.id.product_key,
        "LastLocalOnlineTime": online_at,
        "DeviceLocalId": thing.row.local_name.as_ref().unwrap_or(&thing.id.device_name),
    })
}

fn state(presence: Presence) -> &'static str {
    match presence {
        Presence::Inactive => "Inactive",
        Presence::Online => "Online",
        Presence::Offline => "Offline",
    }
}

/// setThingProperties (manual 3.4.3). An unknown thing is 403, as the manual prints it.
#[utoipa::path(
    post,
    path = "/thing/device/properties/set",
    tag = "things (v1)",
    operation_id = "thing_set_properties",
    security(("session" = ["things.write"])),
    request_body = describe::Request,
    responses((status = 200, body = describe::Envelope)),
)]
pub async fn set_properties(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<impl IntoResponse, ApiError> {
    let id = params.thing()?;
    caller.covers(&api.audit, &id.product_key)?;
    let thing = known(&api, &id, StatusCode::FORBIDDEN)?;
    let properties = thing.product.tsl.properties_from_json(params.object("properties")?)?;
    let things = api.things.clone();
    asked(&api, &thing, async move { things.set_properties(&id, properties).await }).await??;
    Ok(success(Json::Null))
}

/// getThingProperties (manual 3.4.4): the values of now, asked of the device. An unknown thing is 401.
#[utoipa::path(
    post,
    path = "/thing/device/property/query",
    tag = "things (v1)",
    operation_id = "thing_query_properties",
    security(("session" = ["things.read"])),
    request_body = describe::Request,
    responses((status = 200, body = describe::Envelope)),
)]
pub async fn query_properties(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<impl IntoResponse, ApiError> {
    let id = params.thing()?;
    caller.covers(&api.audit, &id.product_key)?;
    let thing = known(&api, &id, StatusCode::UNAUTHORIZED)?;
    let wrong = || ApiError::bad_request("`params.propertyIdentifier` must be a list of property identifiers");
    let identifiers = params.get("propertyIdentifier").and_then(Json::as_array).ok_or_else(wrong)?;
    let identifiers: Option<Vec<String>> = identifiers.iter().map(|it| it.as_str().map(str::to_owned)).collect();
    let identifiers = identifiers.ok_or_else(wrong)?;
    let things = api.things.clone();
    let properties = asked(&api, &thing, async move { things.get_properties(&id, identifiers).await }).await??;
    let now_s = (api.clock.unix_ms() / 1_000).to_string();
    let rows: Vec<Json> = properties
        .iter()
        .map(|property| {
            json!({
                "iotId": "",
                "value": property.value.to_text(),
                "gmtModified": now_s,
                "attribute": property.identifier,
                // The manual spells it both ways (FACTS 5.1).
                "group": "",
                "groud": "",
                "batchId": "",
            })
        })
        .collect();
    Ok(success(json!(rows)))
}

/// invokeThingServices (manual 3.4.5). An unknown thing is 400.
#[utoipa::path(
    post,
    path = "/thing/device/service/invoke",
    tag = "things (v1)",
    operation_id = "thing_invoke_service",
    security(("session" = ["things.call"])),
    request_body = describe::Request,
    responses((status = 200, body = describe::Envelope)),
)]
pub async fn invoke_service(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<impl IntoResponse, ApiError> {
    let id = params.thing()?;
    caller.covers(&api.audit, &id.product_key)?;
    let thing = known(&api, &id, StatusCode::BAD_REQUEST)?;
    let service = params.text("method")?.to_owned();
    let arguments = thing.product.tsl.arguments_from_json(&service, params.object("inputParams")?)?;
    let things = api.things.clone();
    let outputs = asked(&api, &thing, async move { things.call_service(&id, &service, arguments).await }).await??;
    Ok(success(json!({"code": 0, "data": properties_to_json(&outputs), "message": "ok"})))
}

/// The thing, or the status that the manual prints for a device that it does not know.
pub fn known(api: &Api, id: &ThingId, status: StatusCode) -> Result<Arc<Thing>, ApiError> {
    api.things.get(id).map_err(|_| ApiError::as_printed(status, format!("device not found: {id}")))
}
