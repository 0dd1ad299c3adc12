//! Function management in the shapes of the Function Compute API 2016-08-15, for programs that were written for it.
//!
//! What is created here is deployed as everything else is (`deploy`), one entry at a time, or all of a project as one (`deployment`); what
//! the original has and Ledge has not is in docs/compatibility.md. Errors are `{"ErrorCode", "ErrorMessage"}`: `error::Form` sees to that.

pub mod alias;
pub mod async_config;
mod code;
pub mod component;
pub mod deployment;
pub mod function;
pub mod invocation;
mod package;
mod page;
pub mod service;
pub mod trigger;
pub mod version;

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::caller::Caller;
use super::error::ApiError;
use super::ledge::{deployed, not_deployed};
use super::{Api, body};
use crate::deploy::{DeployError, PutError, State, VersionError};
use crate::name::{FunctionName, LATEST};
use crate::set;

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    body::parse(&body::read(body).await?)
}

/// A service, which must not be that of a version.
fn plain_service(text: &str) -> Result<String, ApiError> {
    match service(text)? {
        (name, None) => Ok(name),
        (_, Some(qualifier)) => Err(ApiError::bad_request(format!(
            "`{text}`: what was published never changes; leave the qualifier `{qualifier}` out, or let it be `{LATEST}`"
        ))),
    }
}

/// A service and its qualifier, as in `EdgeFC.2` and `EdgeFC.live`.
fn service(text: &str) -> Result<(String, Option<String>), ApiError> {
    let name = name(text, "f").map_err(|_| ApiError::bad_request(format!("`{}` is no name of a service", text.escape_debug())))?;
    Ok((name.service_name().to_owned(), name.qualifier().map(str::to_owned)))
}

fn name(service: &str, function: &str) -> Result<FunctionName, ApiError> {
    FunctionName::new(service, function).map_err(|wrong| ApiError::bad_request(wrong.to_string()))
}

/// The functions of a service, as they are deployed or as they were published.
fn rows<'a>(state: &'a State, service: &str, qualifier: Option<&str>) -> Result<Vec<&'a set::Function>, ApiError> {
    let Some(qualifier) = qualifier else {
        if !state.notes.has_service(&state.set, service) {
            return Err(no_service(service));
        }
        return Ok(state.set.functions.iter().filter(|row| row.name.service() == service).collect());
    };
    let number = match qualifier.parse() {
        Ok(number) => number,
        Err(_) => {
            let alias = state.versions.aliases.iter().find(|alias| alias.service == service && alias.name == qualifier);
            alias.ok_or_else(|| VersionError::NoAlias(service.to_owned(), qualifier.to_owned()))?.version
        }
    };
    let version = state.versions.published.iter().find(|version| version.service == service && version.number == number);
    Ok(version.ok_or_else(|| VersionError::NoVersion(service.to_owned(), number))?.functions.iter().collect())
}

/// A function, as it is deployed or as it was published.
fn row<'a>(state: &'a State, name: &FunctionName) -> Result<&'a set::Function, ApiError> {
    let rows = rows(state, name.service_name(), name.qualifier())?;
    let base = name.base();
    rows.into_iter().find(|row| row.name == base).ok_or_else(|| no_function(name))
}

/// A function that is to be changed.
fn row_mut<'a>(state: &'a mut State, name: &FunctionName) -> Result<&'a mut set::Function, ApiError> {
    if !state.notes.has_service(&state.set, name.service()) {
        return Err(no_service(name.service()));
    }
    state.set.functions.iter_mut().find(|row| row.name == *name).ok_or_else(|| no_function(name))
}

fn no_service(name: &str) -> ApiError {
    missing("ServiceNotFound", format!("there is no service `{name}` here"))
}

fn no_function(name: &FunctionName) -> ApiError {
    missing("FunctionNotFound", format!("there is no function `{name}` here; `ledge list functions` shows those that there are"))
}

fn missing(code: &'static str, message: String) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, message).with_code(code)
}

fn conflict(code: &'static str, message: String) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, message).with_code(code)
}

/// Changes what is deployed.
async fn changed<T: Send + 'static>(
    api: &Arc<Api>,
    Caller(user): Caller,
    named: Vec<String>,
    change: impl FnOnce(&mut State, u64) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let api = api.clone();
    let change = move |state: &mut State, now_ms| change(state, now_ms).map_err(Refusal);
    let work = async move { api.deploy.change_entries(change, &named, &user.who()).await };
    deployed(async move { work.await.map_err(|Refusal(error)| error) }).await
}

/// Why a change is not made, in words for those who have no manifest.
struct Refusal(ApiError);

impl From<DeployError> for Refusal {
    fn from(error: DeployError) -> Self {
        Self(not_deployed(error.without_manifest()))
    }
}

impl From<DeployError> for ApiError {
    fn from(error: DeployError) -> Self {
        not_deployed(error)
    }
}

impl From<PutError> for ApiError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Failed(error) => Self::internal("keeping a component", &error),
            refused => Self::bad_request(refused.to_string()),
        }
    }
}

/// A row, with the header by which a later change can say that it means this one.
fn answer<T: Serialize>(row: &T) -> Response {
    ([(ETAG, etag(row))], JsonBody(row)).into_response()
}

fn etag<T: Serialize>(row: &T) -> String {
    let json = serde_json::to_vec(row).unwrap_or_default();
    set::Digest::of(&json).as_str()[..32].to_owned()
}

/// What a change says of the row that it means.
struct Expected(Option<String>);

impl Expected {
    fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(IF_MATCH).map(|value| value.to_str().unwrap_or_default());
        Self(text.filter(|text| *text != "*").map(|text| text.trim_matches('"').to_owned()))
    }

    fn check<T: Serialize>(&self, row: &T) -> Result<(), ApiError> {
        if self.0.as_ref().is_none_or(|expected| *expected == etag(row)) {
            return Ok(());
        }
        Err(ApiError::new(StatusCode::PRECONDITION_FAILED, "it was changed since its `ETag` was read; read it again"))
    }
}
