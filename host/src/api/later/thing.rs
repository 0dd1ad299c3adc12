//! Things, their properties and services, and models.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::{IDENTIFIERS_MAX, Returns, data, map};
use crate::api::asked::asked;
use crate::api::caller::Caller;
use crate::api::describe::form::{Values, ValuesOrEmpty};
use crate::api::error::ApiError;
use crate::api::given::{InPath, InQuery};
use crate::api::{Api, body};
use crate::name::ThingId;
use crate::thing::value::properties_to_json;
use crate::thing::{Presence, Thing};

type Pair = InPath<(String, String)>;

/// Which things are wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    productkey: Option<String>,
    devicename: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LaterThings)]
#[serde(rename_all = "PascalCase")]
pub struct Things {
    things: Vec<Row>,
}

/// A thing.
#[derive(Serialize, ToSchema)]
#[schema(as = LaterThing)]
#[serde(rename_all = "PascalCase")]
struct Row {
    product_name: String,
    product_key: String,
    device_name: String,
    /// The driver's name, which is its identity here.
    driver_id: String,
    driver_name: String,
    nick_name: String,
    tags: Tags,
    status: Status,
    connected: bool,
    /// In milliseconds since 1970; empty if it never was.
    connect_time: String,
}

/// `key:value` each in a list; by their keys in what a search finds, or `[]` if there are none.
#[derive(Serialize, ToSchema)]
#[schema(as = LaterTags)]
#[serde(untagged)]
enum Tags {
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

#[derive(Serialize, ToSchema)]
#[schema(as = LaterStatus)]
enum Status {
    Inactivated,
    Online,
    Offline,
}

/// The things of this product, or of this name, or all.
#[utoipa::path(
    get,
    path = "/2020-04-30/things",
    tag = "2020-04-30",
    operation_id = "later_things",
    security(("session" = ["things.read"])),
    params(("productkey" = Option<String>, Query, description = "the key of a product", example = "a1Light"), ("devicename" = Option<String>, Query, description = "the name of a thing", example = "lamp-1")),
    responses((status = 200, body = super::Answer<Things>)),
)]
pub async fn list(State(api): State<Arc<Api>>, caller: Caller, wanted: InQuery<Wanted>) -> Result<impl IntoResponse, ApiError> {
    let InQuery(wanted) = wanted;
    let fits = |thing: &&Arc<Thing>| {
        caller.0.rights.covers(&thing.id.product_key)
            && wanted.productkey.as_ref().is_none_or(|product| thing.id.product_key == *product)
            && wanted.devicename.as_ref().is_none_or(|device| thing.id.device_name == *device)
    };
    let tags = |thing: &Thing| Tags::List(thing.row.tags.iter().map(|(key, value)| format!("{key}:{value}")).collect());
    let things = api.things.list().iter().filter(fits).map(|thing| row(thing, tags(thing))).collect();
    Ok(data(Things { things }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// All of them must fit.
    #[serde(rename = "Tags")]
    #[schema(example = json!({"location": "master bedroom"}))]
    tags: BTreeMap<String, String>,
}

/// The things that carry every one of these tags.
#[utoipa::path(
    post,
    path = "/2020-04-30/things/search",
    tag = "2020-04-30",
    operation_id = "later_search",
    security(("session" = ["things.read"])),
    request_body = Search,
    responses((status = 200, body = super::Answer<Things>)),
)]
pub async fn search(State(api): State<Arc<Api>>, caller: Caller, body: Body) -> Result<impl IntoResponse, ApiError> {
    let Search { tags } = body::parse(&body::read(body).await?)?;
    let found = api.things.with_tags(&tags.into_iter().collect::<Vec<_>>());
    let tags = |thing: &Thing| if thing.row.tags.is_empty() { Tags::List(vec![]) } else { Tags::Map(thing.row.tags.clone()) };
    let covered = found.iter().filter(|thing| caller.0.rights.covers(&thing.id.product_key));
    let things = covered.map(|thing| row(thing, tags(thing))).collect();
    Ok(data(Things { things }))
}

fn row(thing: &Thing, tags: Tags) -> Row {
    let presence = thing.presence();
    Row {
        product_name: thing.product.row.name.clone(),
        product_key: thing.id.product_key.clone(),
        device_name: thing.id.device_name.clone(),
        driver_id: thing.row.driver.clone(),
        driver_name: thing.row.driver.clone(),
        nick_name: thing.row.local_name.as_ref().unwrap_or(&thing.id.device_name).clone(),
        tags,
        status: match presence {
            Presence::Inactive => Status::Inactivated,
            Presence::Online => Status::Online,
            Presence::Offline => Status::Offline,
        },
        connected: presence == Presence::Online,
        connect_time: thing.online_at_ms().map(|ms| ms.to_string()).unwrap_or_default(),
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = LaterRead)]
#[serde(rename_all = "PascalCase")]
pub struct Read {
    #[schema(value_type = ValuesOrEmpty)]
    properties: Json,
    /// Milliseconds since 1970.
    timestamp: u64,
}

/// The values of now, asked of the device; without `identifiers` every readable one.
#[utoipa::path(
    get,
    path = "/2020-04-30/things/{product}/{device}/properties",
    tag = "2020-04-30",
    operation_id = "later_get_properties",
    security(("session" = ["things.read"])),
    params(("product" = String, Path), ("device" = String, Path), ("identifiers" = Option<Vec<String>>, Query, description = "of properties, at most 100", max_items = 100)),
    responses((status = 200, body = super::Answer<Read>), (status = 500)),
)]
pub async fn get_properties(
    State(api): State<Arc<Api>>,
    caller: Caller,
    thing: Pair,
    query: InQuery<Vec<(String, String)>>,
) -> Result<impl IntoResponse, ApiError> {
    let thing = known(&api, &caller, id(thing)?)?;
    let InQuery(pairs) = query;
    if let Some((unknown, _)) = pairs.iter().find(|(name, _)| name != "identifiers") {
        return Err(ApiError::bad_request(format!("`{unknown}` is no parameter; expected `identifiers`, as often as needed")));
    }
    let properties = get(&api, &thing, pairs.into_iter().map(|(_, identifier)| identifier).collect()).await?;
    Ok(data(Read { properties, timestamp: api.clock.unix_ms() }))
}

pub(super) async fn get(api: &Arc<Api>, thing: &Thing, identifiers: Vec<String>) -> Result<Json, ApiError> {
    if identifiers.len() > IDENTIFIERS_MAX {
        return Err(ApiError::bad_request(format!("{} identifiers; at most {IDENTIFIERS_MAX} are taken at once", identifiers.len())));
    }
    let (things, id) = (api.things.clone(), thing.id.clone());
    let values = asked(api, thing, async move { things.get_properties(&id, identifiers).await }).await??;
    Ok(map(properties_to_json(&values)))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = LaterProperties, example = json!({"Properties": {"LightSwitch": 1}}))]
#[serde(deny_unknown_fields)]
pub struct Properties {
    #[serde(rename = "Properties")]
    #[schema(value_type = Values)]
    properties: Map<String, Json>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LaterSet)]
#[serde(rename_all = "PascalCase")]
pub struct Set {
    /// `[]`.
    data: [&'static str; 0],
    /// Milliseconds since 1970.
    timestamp: u64,
}

/// Sets all of these properties, or none if the TSL refuses one.
#[utoipa::path(
    post,
    path = "/2020-04-30/things/{product}/{device}/properties",
    tag = "2020-04-30",
    operation_id = "later_set_properties",
    security(("session" = ["things.write"])),
    params(("product" = String, Path), ("device" = String, Path)),
    request_body = Properties,
    responses((status = 200, body = super::Answer<Set>), (status = 500)),
)]
pub async fn set_properties(State(api): State<Arc<Api>>, caller: Caller, thing: Pair, body: Body) -> Result<impl IntoResponse, ApiError> {
    let thing = known(&api, &caller, id(thing)?)?;
    let given: Properties = body::parse(&body::read(body).await?)?;
    set(&api, &thing, &given.properties).await?;
    Ok(data(Set { data: [], timestamp: api.clock.unix_ms() }))
}

pub(super) async fn set(api: &Arc<Api>, thing: &Thing, properties: &Map<String, Json>) -> Result<(), ApiError> {
    let properties = thing.product.tsl.properties_from_json(properties)?;
    let (things, id) = (api.things.clone(), thing.id.clone());
    Ok(asked(api, thing, async move { things.set_properties(&id, properties).await }).await??)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Services {
    #[serde(rename = "Services")]
    services: Vec<Service>,
}

/// One call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    #[serde(rename = "Name")]
    #[schema(example = "turn")]
    name: String,
    #[serde(rename = "Args", default)]
    #[schema(value_type = Values, example = json!({"LightSwitch": 1}))]
    args: Map<String, Json>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LaterCalls)]
#[serde(rename_all = "PascalCase")]
pub struct Calls {
    services: Vec<Called>,
    /// Milliseconds since 1970.
    timestamp: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LaterCalled)]
#[serde(rename_all = "PascalCase")]
pub struct Called {
    name: String,
    returns: Returns,
}

/// Calls services, one after another. Each has a result of its own.
#[utoipa::path(
    post,
    path = "/2020-04-30/things/{product}/{device}/services",
    tag = "2020-04-30",
    operation_id = "later_call_services",
    security(("session" = ["things.call"])),
    params(("product" = String, Path), ("device" = String, Path)),
    request_body(content = Services, example = json!({"Services": [{"Name": "turn", "Args": {"LightSwitch": 1}}]})),
    responses((status = 200, body = super::Answer<Calls>)),
)]
pub async fn call_services(State(api): State<Arc<Api>>, caller: Caller, thing: Pair, body: Body) -> Result<impl IntoResponse, ApiError> {
    let thing = known(&api, &caller, id(thing)?)?;
    let given: Services = body::parse(&body::read(body).await?)?;
    let services = call(&api, &thing, given.services).await?;
    Ok(data(Calls { services, timestamp: api.clock.unix_ms() }))
}

/// Calls that one request may make of one thing.
const SERVICES_MAX: usize = 100;

pub(super) async fn call(api: &Arc<Api>, thing: &Thing, services: Vec<Service>) -> Result<Vec<Called>, ApiError> {
    if services.is_empty() || services.len() > SERVICES_MAX {
        return Err(ApiError::bad_request(format!("{} services; 1 to {SERVICES_MAX} are called at once", services.len())));
    }
    let mut called = Vec::with_capacity(services.len());
    for Service { name, args } in services {
        let returns = call_one(api, thing, &name, &args).await.into();
        called.push(Called { name, returns });
    }
    Ok(called)
}

async fn call_one(api: &Arc<Api>, thing: &Thing, name: &str, args: &Map<String, Json>) -> Result<Json, ApiError> {
    let arguments = thing.product.tsl.arguments_from_json(name, args)?;
    let (things, id, name) = (api.things.clone(), thing.id.clone(), name.to_owned());
    let outputs = asked(api, thing, async move { things.call_service(&id, &name, arguments).await }).await??;
    Ok(map(properties_to_json(&outputs)))
}

/// The model of a product, as it was given.
#[utoipa::path(
    get,
    path = "/2020-04-30/tsls/{product}",
    tag = "2020-04-30",
    operation_id = "later_tsl",
    security(("session" = ["things.read"])),
    params(("product" = String, Path)),
    responses((status = 200, body = Object)),
)]
pub async fn tsl(State(api): State<Arc<Api>>, caller: Caller, product: InPath<String>) -> Result<impl IntoResponse, ApiError> {
    let InPath(key) = product;
    caller.covers(&api.audit, &key)?;
    let none = || ApiError::new(StatusCode::NOT_FOUND, format!("there is no product `{key}` here"));
    let product = api.things.product(&key).ok_or_else(none)?;
    Ok(([(CONTENT_TYPE, "application/json; charset=utf-8")], product.row.tsl.clone()))
}

fn id(thing: Pair) -> Result<ThingId, ApiError> {
    let InPath((product_key, device_name)) = thing;
    Ok(ThingId { product_key, device_name })
}

/// A thing that is there and the caller's business.
pub(super) fn known(api: &Api, caller: &Caller, id: ThingId) -> Result<Arc<Thing>, ApiError> {
    caller.covers(&api.audit, &id.product_key)?;
    api.things.get(&id).map_err(|_| ApiError::new(StatusCode::NOT_FOUND, format!("device not found: {id}")))
}
