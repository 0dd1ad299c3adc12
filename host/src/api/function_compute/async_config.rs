//! What becomes of async invocations of a function, as Function Compute configures it.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::page::{Asked, Pages, asked};
use super::{changed, missing, name, plain_service, read, row_mut};
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::given::InPath;
use crate::deploy::State;
use crate::limit::{AGE_S, ATTEMPTS};
use crate::name::{FunctionName, LATEST};
use crate::set::{self, Asynchronous, Destination};

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcAsyncConfig)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    service: String,
    function: String,
    qualifier: String,
    destination_config: Destinations,
    max_async_event_age_in_seconds: u32,
    /// Tries after the first.
    max_async_retry_attempts: u32,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcAsyncConfigs)]
#[serde(rename_all = "camelCase")]
pub struct List {
    configs: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// What is left out is what it is where a manifest is silent.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = FcAsyncConfigGiven)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Given {
    #[serde(default)]
    destination_config: Option<Destinations>,
    /// 1 to 604,800.
    #[serde(default)]
    max_async_event_age_in_seconds: Option<u32>,
    /// Tries after the first, 0 to 19.
    #[serde(default)]
    max_async_retry_attempts: Option<u32>,
}

#[derive(Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = FcDestinations)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Destinations {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_success: Option<To>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_failure: Option<To>,
}

#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = FcDestination)]
#[serde(deny_unknown_fields)]
pub struct To {
    /// `acs:fc:REGION:ACCOUNT:services/SERVICE.QUALIFIER/functions/FUNCTION`, or a topic of this gateway, as in `/a/b`.
    destination: String,
}

impl To {
    fn parse(&self) -> Result<Destination, ApiError> {
        let text = &self.destination;
        if text.starts_with('/') {
            return Ok(Destination::Topic(text.clone()));
        }
        let parsed = || {
            let rest = text.strip_prefix("acs:fc:")?.splitn(3, ':').nth(2)?;
            let (service, function) = rest.strip_prefix("services/")?.split_once("/functions/")?;
            FunctionName::new(service, function).ok()
        };
        let expected = "expected `acs:fc:REGION:ACCOUNT:services/SERVICE/functions/FUNCTION`, or a topic that begins with `/`";
        let wrong = || ApiError::bad_request(format!("`destination` is `{}`; {expected}", text.escape_debug()));
        parsed().map(Destination::Function).ok_or_else(wrong)
    }

    fn of(destination: &Destination) -> Self {
        let destination = match destination {
            Destination::Topic(topic) => topic.clone(),
            Destination::Function(name) => format!("acs:fc:::services/{}/functions/{}", name.service(), name.function()),
        };
        Self { destination }
    }
}

impl Given {
    fn policy(self) -> Result<Asynchronous, ApiError> {
        let usual = Asynchronous::default();
        let attempts = self.max_async_retry_attempts.map_or(usual.attempts, |retries| retries.saturating_add(1));
        if !ATTEMPTS.contains(&attempts) {
            return Err(ApiError::bad_request(format!(
                "`maxAsyncRetryAttempts` is {}; expected 0 to {}",
                attempts - 1,
                ATTEMPTS.end() - 1
            )));
        }
        let age_max_s = self.max_async_event_age_in_seconds.unwrap_or(usual.age_max_s);
        if !AGE_S.contains(&age_max_s) {
            let (low, high) = (AGE_S.start(), AGE_S.end());
            return Err(ApiError::bad_request(format!("`maxAsyncEventAgeInSeconds` is {age_max_s}; expected {low} to {high}")));
        }
        let Destinations { on_success, on_failure } = self.destination_config.unwrap_or_default();
        let [on_success, on_failure] = [on_success, on_failure].map(|to| to.as_ref().map(To::parse).transpose());
        Ok(Asynchronous { attempts, age_max_s, on_success: on_success?, on_failure: on_failure?, ..usual })
    }
}

/// Whether each function that is to be told is there.
fn check_told(policy: &Asynchronous, state: &State) -> Result<(), ApiError> {
    for (member, to) in [("onSuccess", &policy.on_success), ("onFailure", &policy.on_failure)] {
        let Some(Destination::Function(name)) = to else { continue };
        let is_there = state.set.functions.iter().any(|row| row.name == *name) || state.versions.has(name);
        if !is_there {
            let arn = To::of(&Destination::Function(name.clone())).destination;
            return Err(ApiError::bad_request(format!(
                "`destinationConfig.{member}.destination` is `{arn}`, and there is no function `{name}` here; make it first, or name another"
            )));
        }
    }
    Ok(())
}

fn shown(row: &set::Function, qualifier: &str) -> Option<Shown> {
    let policy = row.asynchronous.as_ref()?;
    let [on_success, on_failure] = [&policy.on_success, &policy.on_failure].map(|to| to.as_ref().map(To::of));
    Some(Shown {
        service: row.name.service_name().to_owned(),
        function: row.name.function().to_owned(),
        qualifier: qualifier.to_owned(),
        destination_config: Destinations { on_success, on_failure },
        max_async_event_age_in_seconds: policy.age_max_s,
        max_async_retry_attempts: policy.attempts.saturating_sub(1),
    })
}

fn none(name: &FunctionName) -> ApiError {
    missing("AsyncConfigNotExists", format!("function `{name}` has no asynchronous configuration of its own"))
}

/// What becomes of a function's async invocations.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/functions/{function}/async-invoke-config",
    tag = "function compute",
    operation_id = "fc_async_config_get",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path), ("function" = String, Path)),
    responses((status = 200, body = Shown)),
)]
pub async fn get(Shared(api): Shared<Arc<Api>>, _: Caller, path: InPath<(String, String)>) -> Result<JsonBody<Shown>, ApiError> {
    let (service, function) = path.0;
    let name = name(&service, &function)?;
    let found = api.deploy.look(|state| super::row(state, &name).map(|row| shown(row, name.qualifier().unwrap_or(LATEST))))?;
    found.map(JsonBody).ok_or_else(|| none(&name))
}

/// The same as a list, which has one entry at most.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/functions/{function}/async-invoke-configs",
    tag = "function compute",
    operation_id = "fc_async_config_list",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path), ("function" = String, Path), Asked),
    responses((status = 200, body = List)),
)]
pub async fn list(
    Shared(api): Shared<Arc<Api>>,
    _: Caller,
    path: InPath<(String, String)>,
    pages: Pages,
) -> Result<JsonBody<List>, ApiError> {
    let ((service, function), asked) = (path.0, asked(pages)?);
    let name = name(&plain_service(&service)?, &function)?;
    let rows = api.deploy.look(|state| {
        let latest = super::row(state, &name)?;
        let published = state.versions.published.iter().filter(|version| version.service == name.service());
        let published = published.filter_map(|version| {
            let row = version.functions.iter().find(|row| row.name == name)?;
            Some((version.number.to_string(), shown(row, &version.number.to_string())?))
        });
        Ok::<_, ApiError>(published.chain(shown(latest, LATEST).map(|row| (LATEST.to_owned(), row))).collect())
    })?;
    let (configs, next_token) = asked.page(rows);
    Ok(JsonBody(List { configs, next_token }))
}

/// Says what becomes of a function's async invocations.
#[utoipa::path(
    put,
    path = "/2016-08-15/services/{service}/functions/{function}/async-invoke-config",
    tag = "function compute",
    operation_id = "fc_async_config_put",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("function" = String, Path)),
    request_body(content = Given, example = json!({
        "maxAsyncRetryAttempts": 2,
        "maxAsyncEventAgeInSeconds": 3600,
        "destinationConfig": {"onFailure": {"destination": "/EdgeFC/failed"}},
    })),
    responses((status = 200, body = Shown)),
)]
pub async fn put(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: InPath<(String, String)>,
    body: Body,
) -> Result<JsonBody<Shown>, ApiError> {
    let (service, function) = path.0;
    let name = name(&plain_service(&service)?, &function)?;
    let policy = Arc::new(read::<Given>(body).await?.policy()?);
    let row = changed(&api, caller, vec![], move |state, _| {
        super::row(state, &name)?;
        check_told(&policy, state)?;
        let row = row_mut(state, &name)?;
        row.asynchronous = Some(policy);
        shown(row, LATEST).ok_or_else(|| none(&name))
    });
    row.await.map(JsonBody)
}

/// Goes back to what is usual.
#[utoipa::path(
    delete,
    path = "/2016-08-15/services/{service}/functions/{function}/async-invoke-config",
    tag = "function compute",
    operation_id = "fc_async_config_delete",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("function" = String, Path)),
    responses((status = 204)),
)]
pub async fn delete(Shared(api): Shared<Arc<Api>>, caller: Caller, path: InPath<(String, String)>) -> Result<StatusCode, ApiError> {
    let (service, function) = path.0;
    let name = name(&plain_service(&service)?, &function)?;
    changed(&api, caller, vec![], move |state, _| {
        let row = row_mut(state, &name)?;
        row.asynchronous.take().map(drop).ok_or_else(|| none(&name))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
