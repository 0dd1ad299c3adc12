//! `/thing/device/*` but the event stream (manual 3.4).

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::Api;
use super::asked::asked;
use super::caller::Caller;
use super::describe::form::{Envelope, Nothing, Values};
use super::describe::v1;
use super::error::ApiError;
use super::v1::{Params, success};
use crate::name::ThingId;
use crate::thing::value::{Property, properties_to_json};
use crate::thing::{Presence, Thing};

#[derive(Serialize, ToSchema)]
#[schema(as = V1Count)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    device_count: usize,
}

/// How many things there are (queryThingCount, manual 3.4.1).
#[utoipa::path(
    post,
    path = "/thing/device/count",
    tag = "things (v1)",
    operation_id = "thing_count",
    security(("session" = ["things.read"])),
    request_body(content = v1::Request<v1::Filters>, example = json!({"request": {"apiVer": "0.6"}, "params": {"productKey": "a1Light"}})),
    responses((status = 200, body = Envelope<Count>)),
)]
pub async fn count(Shared(api): Shared<Arc<Api>>, caller: Caller, params: Params) -> Result<impl IntoResponse, ApiError> {
    Ok(success(Count { device_count: wanted(&api, &caller, &params)?.len() }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = V1Page)]
#[serde(rename_all = "PascalCase")]
pub struct Page {
    list: Vec<Row>,
    current_page: u64,
    /// Things on all pages.
    total_num: usize,
    page_size: u64,
}

/// Things, page by page (getAuthedDeviceList, manual 3.4.2).
#[utoipa::path(
    post,
    path = "/thing/device/list-authed",
    tag = "things (v1)",
    operation_id = "thing_list",
    security(("session" = ["things.read"])),
    request_body(content = v1::Request<v1::Listed>, example = json!({"request": {"apiVer": "0.6"}, "params": {"PageSize": 15, "CurrentPage": 1}})),
    responses((status = 200, body = Envelope<Page>)),
)]
pub async fn list(Shared(api): Shared<Arc<Api>>, caller: Caller, params: Params) -> Result<impl IntoResponse, ApiError> {
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
    let total_num = things.len();
    let size = if page_size == 0 { total_num } else { usize::try_from(page_size).unwrap_or(usize::MAX) };
    let before = if page_size == 0 { 0 } else { current_page - 1 };
    let skip = usize::try_from(before).unwrap_or(usize::MAX).saturating_mul(size);
    let list = things.iter().skip(skip).take(size).map(|thing| row(thing)).collect();
    Ok(success(Page { list, current_page, total_num, page_size }))
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

/// A thing.
#[derive(Serialize, ToSchema)]
#[schema(as = V1Thing)]
#[serde(rename_all = "PascalCase")]
pub struct Row {
    local_state: State,
    driver_name: String,
    /// Empty.
    last_cloud_online_time: &'static str,
    device_name: String,
    /// `Inactive`: there is no cloud yet.
    cloud_state: State,
    /// `key:value`.
    device_tags: Vec<String>,
    /// In milliseconds since 1970; empty if it never was.
    last_link_time: String,
    product_key: String,
    /// In milliseconds since 1970; empty if it never was.
    last_local_online_time: String,
    device_local_id: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V1StateShown)]
enum State {
    Inactive,
    Online,
    Offline,
}

fn row(thing: &Thing) -> Row {
    let online_at = thing.online_at_ms().map(|ms| ms.to_string()).unwrap_or_default();
    Row {
        local_state: state(thing.presence()),
        driver_name: thing.row.driver.clone(),
        last_cloud_online_time: "",
        device_name: thing.id.device_name.clone(),
        cloud_state: state(CLOUD),
        device_tags: thing.row.tags.iter().map(|(key, value)| format!("{key}:{value}")).collect(),
        last_link_time: online_at.clone(),
        product_key: thing.id.product_key.clone(),
        last_local_online_time: online_at,
        device_local_id: thing.row.local_name.as_ref().unwrap_or(&thing.id.device_name).clone(),
    }
}

fn state(presence: Presence) -> State {
    match presence {
        Presence::Inactive => State::Inactive,
        Presence::Online => State::Online,
        Presence::Offline => State::Offline,
    }
}

/// Sets properties of a thing, all or none (setThingProperties, manual 3.4.3). An unknown thing is 403, as the manual prints it.
#[utoipa::path(
    post,
    path = "/thing/device/properties/set",
    tag = "things (v1)",
    operation_id = "thing_set_properties",
    security(("session" = ["things.write"])),
    request_body(content = v1::Request<v1::Settings>, example = json!({"request": {"apiVer": "0.6"}, "params": {"productKey": "a1Light", "deviceName": "lamp-1", "properties": {"LightSwitch": 1}}})),
    responses((status = 200, body = Envelope<Nothing>), (status = 500)),
)]
pub async fn set_properties(Shared(api): Shared<Arc<Api>>, caller: Caller, params: Params) -> Result<impl IntoResponse, ApiError> {
    let id = params.thing()?;
    caller.covers(&api.audit, &id.product_key)?;
    let thing = known(&api, &id, StatusCode::FORBIDDEN)?;
    let properties = thing.product.tsl.properties_from_json(params.object("properties")?)?;
    let things = api.things.clone();
    asked(&api, &thing, async move { things.set_properties(&id, properties).await }).await??;
    Ok(success(()))
}

/// A property's value.
#[derive(Serialize, ToSchema)]
#[schema(as = V1Property)]
#[serde(rename_all = "camelCase")]
pub struct Read {
    /// Empty, as are those that follow and are not said otherwise.
    iot_id: &'static str,
    value: String,
    /// Now, in seconds since 1970.
    gmt_modified: String,
    /// The property's identifier.
    attribute: String,
    group: &'static str,
    /// The manual spells it both ways (FACTS 5.1).
    #[schema(deprecated)]
    groud: &'static str,
    batch_id: &'static str,
}

/// The values of now, asked of the device (getThingProperties, manual 3.4.4). An unknown thing is 401.
#[utoipa::path(
    post,
    path = "/thing/device/property/query",
    tag = "things (v1)",
    operation_id = "thing_query_properties",
    security(("session" = ["things.read"])),
    request_body(content = v1::Request<v1::Query>, example = json!({"request": {"apiVer": "0.6"}, "params": {"productKey": "a1Light", "deviceName": "lamp-1", "propertyIdentifier": ["LightSwitch"]}})),
    responses((status = 200, body = Envelope<Vec<Read>>), (status = 500)),
)]
pub async fn query_properties(Shared(api): Shared<Arc<Api>>, caller: Caller, params: Params) -> Result<impl IntoResponse, ApiError> {
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
    let row = |property: &Property| Read {
        iot_id: "",
        value: property.value.to_text(),
        gmt_modified: now_s.clone(),
        attribute: property.identifier.clone(),
        group: "",
        groud: "",
        batch_id: "",
    };
    Ok(success(properties.iter().map(row).collect::<Vec<_>>()))
}

/// What a service answered.
#[derive(Serialize, ToSchema)]
#[schema(as = V1Called)]
pub struct Called {
    /// 0.
    code: u32,
    /// Its outputs.
    #[schema(value_type = Values)]
    data: Map<String, Json>,
    message: &'static str,
}

/// Calls a service of a thing (invokeThingServices, manual 3.4.5). An unknown thing is 400.
#[utoipa::path(
    post,
    path = "/thing/device/service/invoke",
    tag = "things (v1)",
    operation_id = "thing_invoke_service",
    security(("session" = ["things.call"])),
    request_body(content = v1::Request<v1::Call>, example = json!({"request": {"apiVer": "0.6"}, "params": {"productKey": "a1Light", "deviceName": "lamp-1", "method": "turn", "inputParams": {"LightSwitch": 1}}})),
    responses((status = 200, body = Envelope<Called>), (status = 404, description = "its model has no such service"), (status = 500)),
)]
pub async fn invoke_service(Shared(api): Shared<Arc<Api>>, caller: Caller, params: Params) -> Result<impl IntoResponse, ApiError> {
    let id = params.thing()?;
    caller.covers(&api.audit, &id.product_key)?;
    let thing = known(&api, &id, StatusCode::BAD_REQUEST)?;
    let service = params.text("method")?.to_owned();
    let arguments = thing.product.tsl.arguments_from_json(&service, params.object("inputParams")?)?;
    let things = api.things.clone();
    let outputs = asked(&api, &thing, async move { things.call_service(&id, &service, arguments).await }).await??;
    Ok(success(Called { code: 0, data: properties_to_json(&outputs), message: "ok" }))
}

/// The thing, or the status that the manual prints for a device that it does not know.
pub fn known(api: &Api, id: &ThingId, status: StatusCode) -> Result<Arc<Thing>, ApiError> {
    api.things.get(id).map_err(|_| ApiError::as_printed(status, format!("device not found: {id}")))
}
