//! Versions of services, aliases that lead to them, and going back to what was deployed before.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::describe::form::Done;
use super::error::ApiError;
use super::given::InPath;
use super::ledge::{deployed, not_deployed};
use super::{Api, body};
use crate::deploy::{Alias, ChangeError, Deploy, Version, VersionError};
use crate::name::FunctionName;
use crate::schedule;

type Pair = InPath<(String, String)>;

/// What was published of a service.
#[derive(Serialize, ToSchema)]
#[schema(as = Version)]
pub struct Shown {
    #[schema(example = "EdgeFC")]
    service: String,
    #[schema(example = 1)]
    version: u32,
    description: String,
    /// ISO 8601.
    published: String,
    /// Their names, without the service's.
    functions: Vec<String>,
}

/// All versions of all services.
#[utoipa::path(
    get,
    path = "/ledge/v1/versions",
    tag = "versions",
    operation_id = "version_list",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = Vec<Shown>)),
)]
pub async fn list(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<Shown>> {
    let row = |version: &Version| Shown {
        service: version.service.clone(),
        version: version.number,
        description: version.description.clone(),
        published: schedule::iso(version.published_ms),
        functions: version.functions.iter().map(|row| row.name.function().to_owned()).collect(),
    };
    JsonBody(api.deploy.versions().published.iter().map(row).collect())
}

/// A name that leads to a version, and for some of the calls to another.
#[derive(Serialize, ToSchema)]
#[schema(as = Alias)]
pub struct AliasShown {
    #[schema(example = "EdgeFC")]
    service: String,
    #[schema(example = "live")]
    alias: String,
    version: u32,
    also: Option<Also>,
}

/// Another version, and how many of a hundred calls it takes.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = AliasAlso)]
#[serde(deny_unknown_fields)]
struct Also {
    version: u32,
    #[schema(minimum = 1, maximum = 99)]
    percent: u8,
}

/// All aliases of all services.
#[utoipa::path(
    get,
    path = "/ledge/v1/aliases",
    tag = "versions",
    operation_id = "version_aliases",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = Vec<AliasShown>)),
)]
pub async fn aliases(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<AliasShown>> {
    let row = |alias: &Alias| AliasShown {
        service: alias.service.clone(),
        alias: alias.name.clone(),
        version: alias.version,
        also: alias.also.map(|(version, percent)| Also { version, percent }),
    };
    JsonBody(api.deploy.versions().aliases.iter().map(row).collect())
}

/// What `publish` takes.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    #[serde(default)]
    #[schema(max_length = 256, example = "before the new lamp")]
    description: String,
}

/// The longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 256;

#[derive(Serialize, ToSchema)]
pub struct Published {
    service: String,
    version: u32,
}

/// Publishes what is deployed of a service. The body may have a `description`.
#[utoipa::path(
    post,
    path = "/ledge/v1/versions/{service}",
    tag = "versions",
    operation_id = "version_publish",
    security(("session" = ["deploy"])),
    params(("service" = String, Path)),
    request_body(content = Option<Publish>, example = json!({"description": "before the new lamp"})),
    responses((status = 200, body = Published), (status = 409, description = "it has too many versions"), (status = 500)),
)]
pub async fn publish(
    State(api): State<Arc<Api>>,
    Caller(user): Caller,
    service: InPath<String>,
    body: Body,
) -> Result<JsonBody<Published>, ApiError> {
    let InPath(service) = service;
    let body = body::read(body).await?;
    let publish: Publish = if body.is_empty() { Publish::default() } else { body::parse(&body)? };
    if publish.description.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(ApiError::bad_request(format!("`description` has more than {DESCRIPTION_CHARS_MAX} characters")));
    }
    let given = service.clone();
    let version = changed(&api, user.who(), async move |deploy, who| deploy.publish(&given, &publish.description, &who).await).await?;
    Ok(JsonBody(Published { service, version }))
}

/// Deletes a version that no alias leads to.
#[utoipa::path(
    delete,
    path = "/ledge/v1/versions/{service}/{number}",
    tag = "versions",
    operation_id = "version_delete",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("number" = u32, Path, description = "of a version", example = 1)),
    responses((status = 200, body = Done), (status = 409), (status = 500)),
)]
pub async fn delete(State(api): State<Arc<Api>>, Caller(user): Caller, path: Pair) -> Result<JsonBody<Done>, ApiError> {
    let InPath((service, number)) = path;
    let number: u32 = number.parse().map_err(|_| ApiError::bad_request(format!("`{number}` is no number of a version")))?;
    changed(&api, user.who(), async move |deploy, who| deploy.delete_version(&service, number, &who).await).await?;
    Ok(JsonBody(Done {}))
}

/// What `set_alias` takes: an alias without its names.
#[derive(Deserialize, ToSchema)]
#[schema(as = AliasGiven)]
#[serde(deny_unknown_fields)]
pub struct Given {
    #[schema(example = 1)]
    version: u32,
    #[serde(default)]
    also: Option<Also>,
}

/// Makes an alias, or has it lead to another version.
#[utoipa::path(
    put,
    path = "/ledge/v1/aliases/{service}/{name}",
    tag = "versions",
    operation_id = "version_set_alias",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("name" = String, Path, description = "an alias", example = "live")),
    request_body(content = Given, example = json!({"version": 1})),
    responses((status = 200, body = Done), (status = 409), (status = 500)),
)]
pub async fn set_alias(State(api): State<Arc<Api>>, Caller(user): Caller, path: Pair, body: Body) -> Result<JsonBody<Done>, ApiError> {
    let (InPath((service, name)), body) = (path, body::read(body).await?);
    let Given { version, also } = body::parse(&body)?;
    let alias = Alias { service, name, version, also: also.map(|also| (also.version, also.percent)) };
    changed(&api, user.who(), async move |deploy, who| deploy.set_alias(alias, &who).await).await?;
    Ok(JsonBody(Done {}))
}

/// Deletes an alias.
#[utoipa::path(
    delete,
    path = "/ledge/v1/aliases/{service}/{name}",
    tag = "versions",
    operation_id = "version_delete_alias",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("name" = String, Path, description = "an alias", example = "live")),
    responses((status = 200, body = Done), (status = 409), (status = 500)),
)]
pub async fn delete_alias(State(api): State<Arc<Api>>, Caller(user): Caller, path: Pair) -> Result<JsonBody<Done>, ApiError> {
    let InPath((service, name)) = path;
    changed(&api, user.who(), async move |deploy, who| deploy.delete_alias(&service, &name, &who).await).await?;
    Ok(JsonBody(Done {}))
}

/// What is there now.
#[derive(Serialize, ToSchema)]
pub struct RolledBack {
    #[schema(value_type = String, example = "EdgeFC/helloworld")]
    function: FunctionName,
    /// SHA-256 of its component, in hex.
    component: Option<String>,
}

/// Puts what was deployed before in a function's place again.
#[utoipa::path(
    post,
    path = "/ledge/v1/functions/{service}/{function}/rollback",
    tag = "versions",
    operation_id = "version_roll_back",
    security(("session" = ["functions.operate"])),
    params(("service" = String, Path), ("function" = String, Path)),
    responses((status = 200, body = RolledBack), (status = 409, description = "there is nothing before"), (status = 500)),
)]
pub async fn roll_back(State(api): State<Arc<Api>>, Caller(user): Caller, path: Pair) -> Result<JsonBody<RolledBack>, ApiError> {
    let InPath((service, function)) = path;
    let name = FunctionName::new(&service, &function).map_err(|wrong| ApiError::bad_request(wrong.to_string()))?;
    let given = name.clone();
    changed(&api, user.who(), async move |deploy, who| deploy.roll_back(&given, &who).await).await?;
    let component = api.functions.get(&name).map(|function| function.digest.to_string());
    Ok(JsonBody(RolledBack { function: name, component }))
}

async fn changed<T, F, W>(api: &Arc<Api>, who: String, work: W) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ChangeError>> + Send + 'static,
    W: FnOnce(Arc<Deploy>, String) -> F,
{
    let work = work(api.deploy.clone(), who);
    deployed(async move { work.await.map_err(refused) }).await
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
