//! What operations of OpenAPI v1 take (manual 3.3, 3.4). It is read by hand (`v1::Params`), since the manual is not of one mind; this says how.
#![allow(dead_code, clippy::large_enum_variant, reason = "it describes")]

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::form::Values;

/// The body is JSON whatever its Content-Type says.
#[derive(ToSchema)]
pub struct Request<P: ToSchema> {
    /// Taken, and not looked at.
    #[schema(value_type = Option<Object>, example = json!({"apiVer": "0.6"}))]
    request: Option<Map<String, Json>>,
    params: P,
}

#[derive(ToSchema)]
pub struct Login {
    #[schema(rename = "UserName", example = "admin")]
    user_name: String,
    #[schema(rename = "Password", format = Password)]
    password: String,
}

#[derive(ToSchema)]
pub struct Logout {
    #[schema(rename = "UserName", example = "admin")]
    user_name: Option<String>,
}

/// Which things. Each filter that is there must fit. The names of members may be in any case.
#[derive(ToSchema)]
pub struct Filters {
    #[schema(rename = "productKey", example = "a1Light")]
    product_key: Option<String>,
    #[schema(rename = "driverName", example = "light")]
    driver_name: Option<String>,
    #[schema(rename = "DeviceTags", example = json!({"location": "master bedroom"}))]
    device_tags: Option<Tags>,
    /// Whether it was ever online.
    #[schema(rename = "activeStatus")]
    active_status: Option<Flag>,
    #[schema(rename = "onlineStatus")]
    online_status: Option<Flag>,
    #[schema(rename = "LocalState")]
    local_state: Option<State>,
    #[schema(rename = "CloudState")]
    cloud_state: Option<State>,
}

#[derive(ToSchema)]
pub struct Listed {
    #[serde(flatten)]
    filters: Filters,
    /// 0 lists everything.
    #[schema(rename = "PageSize", example = 15)]
    page_size: Whole,
    /// From 1.
    #[schema(rename = "CurrentPage", example = 1)]
    current_page: Option<Whole>,
    #[schema(rename = "SortMethod")]
    sort_method: Option<Sort>,
}

/// By when things were added.
#[derive(ToSchema)]
pub enum Sort {
    TimeDesc,
    TimeAsc,
}

/// A whole number, as a number or as text.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Whole {
    Number(u64),
    Text(String),
}

#[derive(ToSchema)]
pub enum Flag {
    #[serde(rename = "0")]
    No,
    #[serde(rename = "1")]
    Yes,
}

#[derive(ToSchema)]
#[schema(as = V1State)]
pub enum State {
    Inactive,
    ActivationFailed,
    Online,
    Offline,
}

/// Tags that are all to fit: `{"key": "value"}`, `["key:value"]`, or one of these as text.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Tags {
    Map(BTreeMap<String, String>),
    List(Vec<String>),
    Text(String),
}

#[derive(ToSchema)]
#[schema(example = json!({"productKey": "a1Light", "deviceName": "lamp-1", "properties": {"LightSwitch": 1}}))]
pub struct Settings {
    #[schema(rename = "productKey", example = "a1Light")]
    product_key: String,
    #[schema(rename = "deviceName", example = "lamp-1")]
    device_name: String,
    #[schema(value_type = Values, example = json!({"LightSwitch": 1}))]
    properties: Values,
}

#[derive(ToSchema)]
pub struct Query {
    #[schema(rename = "productKey", example = "a1Light")]
    product_key: String,
    #[schema(rename = "deviceName", example = "lamp-1")]
    device_name: String,
    /// With none every readable property.
    #[schema(rename = "propertyIdentifier", example = json!(["LightSwitch"]))]
    property_identifier: Vec<String>,
}

#[derive(ToSchema)]
#[schema(example = json!({"productKey": "a1Light", "deviceName": "lamp-1", "method": "turn", "inputParams": {"LightSwitch": 1}}))]
pub struct Call {
    #[schema(rename = "productKey", example = "a1Light")]
    product_key: String,
    #[schema(rename = "deviceName", example = "lamp-1")]
    device_name: String,
    /// The service.
    #[schema(example = "turn")]
    method: String,
    #[schema(rename = "inputParams", value_type = Values, example = json!({"LightSwitch": 1}))]
    input_params: Values,
}

#[derive(ToSchema)]
pub struct Subscription {
    /// None: every event of every thing.
    #[schema(rename = "eventInfo")]
    event_info: Vec<Wish>,
    /// Reports of properties too.
    #[schema(rename = "propertyReports")]
    property_reports: Option<bool>,
}

#[derive(ToSchema)]
pub struct Wish {
    #[schema(rename = "productKey", example = "a1LightSensor")]
    product_key: String,
    #[schema(rename = "deviceName", example = "sensor-1")]
    device_name: String,
    /// None: all of them.
    #[schema(rename = "eventIdentifier", example = json!([]))]
    event_identifier: Option<Vec<String>>,
}

/// One message of the event stream: an event (200), a heartbeat (204), or the last one, for a reader who is too slow (503).
#[derive(ToSchema)]
#[schema(as = V1Message)]
pub struct Message {
    code: u16,
    message: String,
    data: Option<Told>,
}

#[derive(ToSchema)]
#[schema(as = V1Told)]
#[serde(untagged)]
pub enum Told {
    Event {
        /// Empty.
        timestamp: String,
        items: Event,
    },
    Missed {
        missed: u64,
    },
}

/// An event, or a report, which then has the name `propertiesChanged`.
#[derive(ToSchema)]
#[schema(as = V1Event)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    product_key: String,
    device_name: String,
    event_type: String,
    event_name: String,
    /// As the thing's topic carries it: `params.value` has the outputs, `params.time` when it was.
    #[schema(value_type = Object)]
    event_body: Map<String, Json>,
    /// Empty, as are those that follow.
    iot_id: String,
    batch_id: String,
    event_code: String,
    timestamp: String,
}
