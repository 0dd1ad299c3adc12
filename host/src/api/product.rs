//! Products: their models, one by one, and changing them on a running gateway.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::caller::Caller;
use super::error::ApiError;
use super::given::InPath;
use super::ledge::deployed;
use super::{Api, body};
use crate::deploy::{MakeProduct, Report};
use crate::limit::HISTORY_BYTES_USUAL;
use crate::set;
use crate::thing::tsl::{TSL_BYTES_MAX, too_deep};

type Key = InPath<String>;

/// A product, in short.
#[derive(Serialize, ToSchema)]
#[schema(as = Product)]
pub struct Shown {
    #[schema(example = "a1Light")]
    key: String,
    name: String,
    /// Identifiers, as are those that follow.
    properties: Vec<String>,
    events: Vec<String>,
    services: Vec<String>,
    /// How many things of it there are.
    things: usize,
    /// What the history of each of its things may take on disk.
    history_bytes: u32,
}

/// All products that are the caller's business.
#[utoipa::path(
    get,
    path = "/ledge/v1/products",
    tag = "things",
    operation_id = "product_list",
    security(("session" = ["things.read"])),
    responses((status = 200, body = Vec<Shown>)),
)]
pub async fn list(State(api): State<Arc<Api>>, Caller(user): Caller) -> JsonBody<Vec<Shown>> {
    let things = api.things.list();
    let row = |product: &Arc<crate::thing::Product>| {
        let tsl = &product.tsl;
        Shown {
            key: product.row.key.clone(),
            name: product.row.name.clone(),
            properties: tsl.properties().map(|it| it.identifier.clone()).collect(),
            events: tsl.events().map(|it| it.identifier.clone()).collect(),
            services: tsl.services().map(|it| it.identifier.clone()).collect(),
            things: things.iter().filter(|thing| thing.id.product_key == product.row.key).count(),
            history_bytes: product.row.history_bytes,
        }
    };
    let products = api.things.products();
    JsonBody(products.iter().filter(|product| user.rights.covers(&product.row.key)).map(row).collect())
}

/// A product with its model.
#[derive(Serialize, ToSchema)]
#[schema(as = WholeProduct)]
pub struct Whole {
    #[schema(example = "a1Light")]
    key: String,
    name: String,
    /// What the history of each of its things may take on disk.
    history_bytes: u32,
    /// The TSL.
    #[schema(value_type = Object)]
    tsl: Json,
    /// The TSL extension.
    #[schema(value_type = Option<Object>)]
    tsl_ext: Option<Json>,
}

/// A product as it was given, its TSL and ext info with every member.
#[utoipa::path(
    get,
    path = "/ledge/v1/products/{key}",
    tag = "things",
    operation_id = "product_show",
    security(("session" = ["things.read"])),
    params(("key" = String, Path)),
    responses((status = 200, body = Whole)),
)]
pub async fn show(State(api): State<Arc<Api>>, caller: Caller, key: Key) -> Result<JsonBody<Whole>, ApiError> {
    let InPath(key) = key;
    caller.covers(&api.audit, &key)?;
    let product = api.things.product(&key).ok_or_else(|| none(&key))?;
    let row = &product.row;
    let json_of = |text: &str| serde_json::from_str::<Json>(text).unwrap_or_default();
    let (tsl, tsl_ext) = (json_of(&row.tsl), row.tsl_ext.as_deref().map(json_of));
    Ok(JsonBody(Whole { key, name: row.name.clone(), history_bytes: row.history_bytes, tsl, tsl_ext }))
}

/// What `put` takes. What is left out stays as it is on the gateway.
#[derive(Deserialize, ToSchema)]
#[schema(as = ProductGiven)]
#[serde(deny_unknown_fields)]
pub struct Given {
    #[schema(example = "Light")]
    name: Option<String>,
    /// The TSL, which a new product must have.
    #[schema(value_type = Option<Object>, example = json!({
        "profile": {"productKey": "a1Light"},
        "properties": [{"identifier": "LightSwitch", "name": "Light switch", "accessMode": "rw", "dataType": {"type": "bool", "specs": {"0": "off", "1": "on"}}}],
        "events": [],
        "services": [],
    }))]
    tsl: Option<Json>,
    /// The TSL extension.
    #[schema(value_type = Option<Object>)]
    tsl_ext: Option<Json>,
    /// What the history of each of its things may take on disk; 0 keeps none.
    #[schema(maximum = 67_108_864, example = 65_536)]
    history_bytes: Option<u32>,
}

/// Adds a product, or changes the one of this key.
#[utoipa::path(
    put,
    path = "/ledge/v1/products/{key}",
    tag = "things",
    operation_id = "product_put",
    security(("session" = ["deploy"])),
    params(("key" = String, Path)),
    request_body(content = Given, example = json!({"name": "Light", "history_bytes": 65536})),
    responses((status = 200, body = Report), (status = 500)),
)]
pub async fn put(State(api): State<Arc<Api>>, Caller(user): Caller, key: Key, body: Body) -> Result<JsonBody<Report>, ApiError> {
    let (InPath(key), body) = (key, body::read_at_most(body, BODY_BYTES_MAX).await?);
    if let Some(problem) = too_deep(&body) {
        return Err(ApiError::bad_request(format!("the body is wrong at {problem}")));
    }
    let given: Given =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body is not a product: {error}")))?;
    let of = key.clone();
    let make = move |before: Option<&set::Product>| {
        let missing = || format!("product `{of}` is not on this gateway yet, so its `tsl` must be given");
        Ok(Some(set::Product {
            name: given.name.or_else(|| before.map(|row| row.name.clone())).unwrap_or_else(|| of.clone()),
            tsl: given.tsl.map(|tsl| tsl.to_string()).or_else(|| before.map(|row| row.tsl.clone())).ok_or_else(missing)?,
            tsl_ext: given.tsl_ext.map(|ext| ext.to_string()).or_else(|| before.and_then(|row| row.tsl_ext.clone())),
            history_bytes: given.history_bytes.or_else(|| before.map(|row| row.history_bytes)).unwrap_or(HISTORY_BYTES_USUAL),
            key: of,
        }))
    };
    change(api, user.who(), key, Box::new(make)).await
}

/// Deletes a product that no thing is of.
#[utoipa::path(
    delete,
    path = "/ledge/v1/products/{key}",
    tag = "things",
    operation_id = "product_delete",
    security(("session" = ["deploy"])),
    params(("key" = String, Path)),
    responses((status = 200, body = Report), (status = 500)),
)]
pub async fn delete(State(api): State<Arc<Api>>, Caller(user): Caller, key: Key) -> Result<JsonBody<Report>, ApiError> {
    change(api, user.who(), key.0, Box::new(|_| Ok(None))).await
}

async fn change(api: Arc<Api>, who: String, key: String, make: MakeProduct<'static>) -> Result<JsonBody<Report>, ApiError> {
    let none = none(&key);
    let changed = deployed(async move { api.deploy.change_product(&key, make, &who).await }).await?;
    changed.map(JsonBody).ok_or(none)
}

fn none(key: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("product `{key}` is not on this gateway; `ledge list products` shows those that are"))
}

/// Room for a TSL, its ext info and what is around them.
const BODY_BYTES_MAX: usize = 2 * TSL_BYTES_MAX + (64 << 10);
