//! Versions of services.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::service::description;
use super::{changed, no_service, plain_service};
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::given::{InPath, InQuery};
use crate::api::{Api, body};
use crate::deploy::Version;
use crate::schedule;

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcVersion)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    version_id: String,
    description: String,
    created_time: String,
    /// As `createdTime`: a version never changes.
    last_modified_time: String,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcVersions)]
#[serde(rename_all = "camelCase")]
pub struct List {
    versions: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[schema(as = FcVersionGiven)]
#[serde(default, deny_unknown_fields)]
pub struct Given {
    description: Option<String>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Asked {
    /// 1 to 100; 20 if it is not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// The first version.
    start_key: Option<u32>,
    /// Of the page before.
    next_token: Option<u32>,
    /// From the newest on, or from the oldest.
    #[serde(default)]
    #[param(inline)]
    direction: Direction,
}

/// From the last version to the first, or from the first to the last.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Direction {
    #[default]
    Backward,
    Forward,
}

fn shown(version: &Version) -> Shown {
    let created_time = schedule::iso_ms(version.published_ms);
    Shown {
        version_id: version.number.to_string(),
        description: version.description.clone(),
        last_modified_time: created_time.clone(),
        created_time,
    }
}

/// Versions of a service, the newest first.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/versions",
    tag = "function compute",
    operation_id = "fc_version_list",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path), Asked),
    responses((status = 200, body = List)),
)]
pub async fn list(
    Shared(api): Shared<Arc<Api>>,
    _: Caller,
    path: InPath<String>,
    asked: InQuery<Asked>,
) -> Result<JsonBody<List>, ApiError> {
    let service = plain_service(&path.0)?;
    let InQuery(asked) = asked;
    let limit = asked.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(ApiError::bad_request(format!("`limit` is {limit}; expected 1 to 100")));
    }
    let (start, is_forward) = (asked.next_token.or(asked.start_key), asked.direction == Direction::Forward);
    let mut rows: Vec<(u32, Shown)> = api.deploy.look(|state| {
        let own: Vec<_> = state.versions.published.iter().filter(|version| version.service == service).collect();
        if own.is_empty() && !state.notes.has_service(&state.set, &service) {
            return Err(no_service(&service));
        }
        Ok(own.into_iter().map(|version| (version.number, shown(version))).collect())
    })?;
    rows.sort_by_key(|(number, _)| if is_forward { i64::from(*number) } else { -i64::from(*number) });
    rows.retain(|(number, _)| start.is_none_or(|start| if is_forward { *number >= start } else { *number <= start }));
    let rest = rows.split_off(rows.len().min(limit));
    let next_token = rest.first().map(|(number, _)| number.to_string());
    Ok(JsonBody(List { versions: rows.into_iter().map(|(_, row)| row).collect(), next_token }))
}

/// Publishes what is deployed of a service.
#[utoipa::path(
    post,
    path = "/2016-08-15/services/{service}/versions",
    tag = "function compute",
    operation_id = "fc_version_publish",
    security(("session" = ["deploy"])),
    params(("service" = String, Path)),
    request_body(content = Given, example = json!({"description": "before the new lamp"})),
    responses((status = 200, body = Shown)),
)]
pub async fn publish(Shared(api): Shared<Arc<Api>>, caller: Caller, path: InPath<String>, body: Body) -> Result<JsonBody<Shown>, ApiError> {
    let (service, body) = (plain_service(&path.0)?, body::read(body).await?);
    let given: Given = if body.is_empty() { Given::default() } else { body::parse(&body)? };
    let text = description(given.description.as_deref())?.unwrap_or_default();
    let row = changed(&api, caller, vec![], move |state, now_ms| {
        if super::rows(state, &service, None)?.is_empty() {
            let message = format!("service `{service}` has no functions, and a version is made of them; make one first");
            return Err(ApiError::bad_request(message));
        }
        let number = state.versions.publish(&state.set, &service, &text, now_ms)?;
        let made = state.versions.published.iter().find(|version| version.service == service && version.number == number);
        made.map(shown).ok_or_else(|| no_service(&service))
    });
    row.await.map(JsonBody)
}

/// Deletes a version that no alias leads to.
#[utoipa::path(
    delete,
    path = "/2016-08-15/services/{service}/versions/{version}",
    tag = "function compute",
    operation_id = "fc_version_delete",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("version" = String, Path)),
    responses((status = 204)),
)]
pub async fn delete(Shared(api): Shared<Arc<Api>>, caller: Caller, path: InPath<(String, String)>) -> Result<StatusCode, ApiError> {
    let (service, number) = path.0;
    let service = plain_service(&service)?;
    let number: u32 = number.parse().map_err(|_| ApiError::bad_request(format!("`{}` is no version", number.escape_debug())))?;
    changed(&api, caller, vec![], move |state, _| Ok(state.versions.delete(&service, number)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}
