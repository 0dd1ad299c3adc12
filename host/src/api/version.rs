//! Versions of services, aliases that lead to them, and going back to what was deployed before.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::caller::Caller;
use super::error::ApiError;
use super::given::InPath;
use super::ledge::not_deployed;
use super::{Api, body};
use crate::deploy::{Alias, ChangeError, Deploy, Version, VersionError};
use crate::name::FunctionName;
use crate::schedule;

type Pair = InPath<(String, String)>;

#[utoipa::path(
    get,
    path = "/ledge/v1/versions",
    tag = "versions",
    operation_id = "version_list",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = Vec<serde_json::Value>)),
)]
pub async fn list(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<Json>> {
    let row = |version: &Version| {
        json!({
            "service": version.service,
            "version": version.number,
            "description": version.description,
            "published": schedule::iso(version.published_ms),
            "functions": version.functions.iter().map(|row| row.name.function()).collect::<Vec<_>>(),
        })
    };
    JsonBody(api.deploy.versions().published.iter().map(row).collect())
}

#[utoipa::path(
    get,
    path = "/ledge/v1/aliases",
    tag = "versions",
    operation_id = "version_aliases",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn aliases(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Json> {
    let row = |alias: &Alias| {
        let also = alias.also.map(|(version, percent)| json!({"version": version, "percent": percent}));
        json!({"service": alias.service, "alias": alias.name, "version": alias.version, "also": also})
    };
    JsonBody(api.deploy.versions().aliases.iter().map(row).collect())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    #[serde(default)]
    description: String,
}

/// The longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 256;

/// Publishes what is deployed of a service. The body may have a `description`.
#[utoipa::path(
    post,
    path = "/ledge/v1/versions/{service}",
    tag = "versions",
    operation_id = "version_publish",
    security(("session" = ["deploy"])),
    params(("service" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn publish(
    State(api): State<Arc<Api>>,
    Caller(user): Caller,
    service: InPath<String>,
    body: Body,
) -> Result<JsonBody<Json>, ApiError> {
    let InPath(service) = service;
    let body = body::read(body).await?;
    let publish: Publish = if body.is_empty() { Publish::default() } else { body::parse(&body)? };
    if publish.description.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(ApiError::bad_request(format!("`description` has more than {DESCRIPTION_CHARS_MAX} characters")));
    }
    let given = service.clone();
    let number = changed(&api, user.who(), async move |deploy, who| deploy.publish(&given, &publish.description, &who).await).await?;
    Ok(JsonBody(json!({"service": service, "version": number})))
}

#[utoipa::path(
    delete,
    path = "/ledge/v1/versions/{service}/{number}",
    tag = "versions",
    operation_id = "version_delete",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("number" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn delete(State(api): State<Arc<Api>>, Caller(user): Caller, path: Pair) -> Result<JsonBody<Json>, ApiError> {
    let InPath((service, number)) = path;
    let number: u32 = number.parse().map_err(|_| ApiError::bad_request(format!("`{number}` is no number of a version")))?;
    changed(&api, user.who(), async move |deploy, who| deploy.delete_version(&service, number, &who).await).await?;
    Ok(JsonBody(json!({})))
}

/// What `set_alias` takes: an alias without its names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    version: u32,
    #[serde(default)]
    also: Option<Also>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Also {
    version: u32,
    percent: u8,
}

#[utoipa::path(
    put,
    path = "/ledge/v1/aliases/{service}/{name}",
    tag = "versions",
    operation_id = "version_set_alias",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("name" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn set_alias(State(api): State<Arc<Api>>, Caller(user): Caller, path: Pair, body: Body) -> Result<JsonBody<Json>, ApiError> {
    let (InPath((service, name)), body) = (path, body::read(body).await?);
    let Given { version, also } = body::parse(&body)?;
    let alias = Alias { service, name, version, also: also.map(|also| (also.version, also.percent)) };
    changed(&api, user.who(), async move |deploy, who| deploy.set_alias(alias, &who).await).await?;
    Ok(JsonBody(json!({})))
}

#[utoipa::path(
    delete,
    path = "/ledge/v1/aliases/{service}/{name}",
    tag = "versions",
    operation_id = "version_delete_alias",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn delete_alias(State(api): State<Arc<Api>>, Caller(user): Caller, path: Pair) -> Result<JsonBody<Json>, ApiError> {
    let InPath((service, name)) = path;
    changed(&api, user.who(), async move |deploy, who| deploy.delete_alias(&service, &name, &who).await).await?;
    Ok(JsonBody(json!({})))
}

/// Puts what was deployed before in a function's place again.
#[utoipa::path(
    post,
    path = "/ledge/v1/functions/{service}/{function}/rollback",
    tag = "versions",
    operation_id = "version_roll_back",
    security(("session" = ["functions.operate"])),
    params(("service" = String, Path), ("function" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn roll_back(State(api): State<Arc<Api>>, Caller(user): Caller, path: Pair) -> Result<JsonBody<Json>, ApiError> {
    let InPath((service, function)) = path;
    let name = FunctionName::new(&service, &function).map_err(|wrong| ApiError::bad_request(wrong.to_string()))?;
    let given = name.clone();
    changed(&api, user.who(), async move |deploy, who| deploy.roll_back(&given, &who).await).await?;
    let now = api.functions.get(&name).map(|function| function.digest.to_string());
    Ok(JsonBody(json!({"function": name, "component": now})))
}

/// Not on the request's own task, as for a whole deployment.
async fn changed<T, F, W>(api: &Arc<Api>, who: String, work: W) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ChangeError>> + Send + 'static,
    W: FnOnce(Arc<Deploy>, String) -> F,
{
    let done = tokio::spawn(work(api.deploy.clone(), who)).await;
    done.map_err(|error| ApiError::internal("changing versions", &error.into()))?.map_err(refused)
}

fn refused(error: ChangeError) -> ApiError {
    match error {
        ChangeError::Deploy(error) => not_deployed(error),
        ChangeError::Version(refused) => refused.into(),
    }
}

impl From<VersionError> for ApiError {
    fn from(refused: VersionError) -> Self {
        let (status, code) = match refused {
            VersionError::NoService(_) => (StatusCode::NOT_FOUND, "ServiceNotFound"),
            VersionError::NoFunction(_) => (StatusCode::NOT_FOUND, "FunctionNotFound"),
            VersionError::NoVersion(..) => (StatusCode::NOT_FOUND, "VersionNotFound"),
            VersionError::NoAlias(..) => (StatusCode::NOT_FOUND, "AliasNotFound"),
            VersionError::Alias(_) => (StatusCode::BAD_REQUEST, "InvalidArgument"),
            VersionError::InUse { .. } => (StatusCode::CONFLICT, "VersionInUse"),
            VersionError::TooManyVersions(_) | VersionError::TooManyAliases => (StatusCode::CONFLICT, "ResourceExhausted"),
            VersionError::NothingBefore(_) => (StatusCode::CONFLICT, "Conflict"),
        };
        Self::new(status, refused.to_string()).with_code(code)
    }
}
