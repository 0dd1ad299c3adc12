//! Components: brought for a deployment by their digests, and the code of functions as it goes out again.
//!
//! The original's `url` is one that whoever has it may follow, as its users do, and so is this one. It leads to this gateway, holds for a few
//! minutes, for one component, and only while the user who asked for it may read functions (`auth::Link`): it opens nothing that its
//! signature does not name, and a right that is taken away takes it along (decision 0025).

use std::sync::Arc;

use axum::Extension;
use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::package::Package;
use super::{missing, name};
use crate::api::Api;
use crate::api::caller::{Caller, Peer};
use crate::api::describe::form::Binary;
use crate::api::error::ApiError;
use crate::api::given::{InPath, InQuery};
use crate::api::upload::{Upload, blocking};
use crate::auth::{Link, Permission};
use crate::limit::COMPONENT_BYTES_MAX;
use crate::name::FunctionName;
use crate::set::Digest;

fn digest(path: InPath<String>) -> Result<Digest, ApiError> {
    Digest::try_from(path.0).map_err(ApiError::bad_request)
}

/// Whether the gateway has a component, whole.
#[utoipa::path(
    get,
    path = "/2016-08-15/components/{digest}",
    tag = "function compute",
    operation_id = "fc_component_has",
    security(("session" = ["deploy"])),
    params(("digest" = String, Path, description = "SHA-256, as 64 hex digits")),
    responses((status = 200)),
)]
pub async fn has(Shared(api): Shared<Arc<Api>>, _: Caller, path: InPath<String>) -> Result<StatusCode, ApiError> {
    let digest = digest(path)?;
    let components = api.deploy.components().clone();
    if blocking("looking for a component", move || Ok(components.has(&digest))).await? {
        return Ok(StatusCode::OK);
    }
    Err(missing("ComponentNotFound", "this component is not on this gateway".to_owned()))
}

/// Brings a component, or a file of a driver's configuration, for a deployment to come.
#[utoipa::path(
    put,
    path = "/2016-08-15/components/{digest}",
    tag = "function compute",
    operation_id = "fc_component_put",
    security(("session" = ["deploy"])),
    params(("digest" = String, Path, description = "SHA-256, as 64 hex digits")),
    request_body(content = Binary, content_type = "application/octet-stream"),
    responses((status = 201)),
)]
pub async fn put(Shared(api): Shared<Arc<Api>>, _: Caller, path: InPath<String>, body: Body) -> Result<StatusCode, ApiError> {
    let digest = digest(path)?;
    let Upload { bytes, place } = api.component_uploads.read(body, COMPONENT_BYTES_MAX).await?;
    let deploy = api.deploy.clone();
    let keep = move || {
        let _place = place;
        Ok(deploy.put_component(&digest, &bytes)?)
    };
    blocking("keeping a component", keep).await?;
    Ok(StatusCode::CREATED)
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcFunctionCode)]
pub struct Code {
    /// Where a zip with the component is, for ten minutes, for whoever has this.
    url: String,
    /// CRC-64 of that zip.
    checksum: String,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Its digest, as the link has it; and so the others.
    component: String,
    /// Whose link it is.
    user: String,
    /// Milliseconds since 1970.
    until: u64,
    /// Over all of these.
    signature: String,
}

/// What a link to a function's code leads to.
fn target(name: &FunctionName, component: &Digest) -> String {
    format!("code of {name} {component}")
}

/// Where a function's code can be had.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/functions/{function}/code",
    tag = "function compute",
    operation_id = "fc_function_code",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path), ("function" = String, Path)),
    responses((status = 200, body = Code)),
)]
pub async fn code(
    Shared(api): Shared<Arc<Api>>,
    Caller(user): Caller,
    peer: Option<Extension<Peer>>,
    path: InPath<(String, String)>,
    headers: HeaderMap,
) -> Result<JsonBody<Code>, ApiError> {
    let (service, function) = path.0;
    let name = name(&service, &function)?;
    let component = api.deploy.look(|state| super::row(state, &name).map(|row| row.component.clone()))?;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| ApiError::bad_request("the header `Host` is missing: without it there is no `url`"))?;
    let is_tls = matches!(peer, Some(Extension(Peer::Remote { tls: true, .. })));
    let link = api.auth.link(&user.name, &target(&name, &component));
    let url = format!(
        "{}://{host}/2016-08-15/services/{}/functions/{}/code/package?component={component}&user={}&until={}&signature={}",
        if is_tls { "https" } else { "http" },
        name.service(),
        name.function(),
        utf8_percent_encode(&link.user, NON_ALPHANUMERIC),
        link.until_ms,
        link.signature
    );
    let checksum = blocking("reading a component", move || packed(&api, &name, &component)?.checksum().map_err(unreadable)).await?;
    Ok(JsonBody(Code { url, checksum }))
}

/// A function's code as a zip, by the `url` of `code`, which says who may have it.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/functions/{function}/code/package",
    tag = "function compute",
    operation_id = "fc_function_package",
    params(("service" = String, Path), ("function" = String, Path), Signed),
    responses((status = 200, body = Binary, content_type = "application/zip"), (status = 401)),
)]
pub async fn package(Shared(api): Shared<Arc<Api>>, path: InPath<(String, String)>, signed: InQuery<Signed>) -> Result<Response, ApiError> {
    let InQuery(signed) = signed;
    let (service, function) = path.0;
    let (name, component) = (name(&service, &function)?, Digest::try_from(signed.component).map_err(ApiError::bad_request)?);
    let link = Link { user: signed.user, until_ms: signed.until, signature: signed.signature };
    let user = api.auth.linked(&link, &target(&name, &component));
    if !user.is_some_and(|user| user.rights.may(Permission::FunctionsRead)) {
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "this link has ended, or was never made here; ask for the code again"));
    }
    let file = format!("attachment; filename=\"{}.zip\"", name.function());
    let packed = blocking("reading a component", move || packed(&api, &name, &component)).await?;
    let headers = [(CONTENT_TYPE, "application/zip".to_owned()), (CONTENT_LENGTH, packed.bytes().to_string()), (CONTENT_DISPOSITION, file)];
    Ok((headers, packed.body().await.map_err(unreadable)?).into_response())
}

fn packed(api: &Api, name: &FunctionName, component: &Digest) -> Result<Package, ApiError> {
    Package::of(api.deploy.components(), name.function(), component).map_err(unreadable)
}

fn unreadable(error: anyhow::Error) -> ApiError {
    ApiError::internal("reading a component", &error)
}
