//! Services: a name for functions that belong together, and are published together.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::page::{Asked, Pages, asked};
use super::{Expected, answer, changed, conflict, no_service, plain_service, read};
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::given::InPath;
use crate::deploy::{Note, State};
use crate::schedule;

/// Services that were made here.
const SERVICES_MAX: usize = 1_000;
const DESCRIPTION_CHARS_MAX: usize = 256;

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcService)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    service_name: String,
    service_id: String,
    description: String,
    /// ISO 8601. Left out for a service that came with a deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_time: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcServices)]
#[serde(rename_all = "camelCase")]
pub struct List {
    services: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// What a service is made of. What is not described is taken and has no effect.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = FcServiceGiven)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "what has no counterpart is taken and not looked at")]
pub struct Given {
    /// Not where the path has it.
    service_name: Option<String>,
    description: Option<String>,
    #[schema(ignore)]
    role: Option<IgnoredAny>,
    #[schema(ignore)]
    log_config: Option<IgnoredAny>,
    #[schema(ignore)]
    internet_access: Option<IgnoredAny>,
    #[schema(ignore)]
    vpc_config: Option<IgnoredAny>,
    #[schema(ignore)]
    tracing_config: Option<IgnoredAny>,
}

impl Given {
    fn description(&self) -> Result<Option<String>, ApiError> {
        description(self.description.as_deref())
    }
}

pub fn description(text: Option<&str>) -> Result<Option<String>, ApiError> {
    if text.is_some_and(|text| text.chars().count() > DESCRIPTION_CHARS_MAX) {
        return Err(ApiError::bad_request(format!("`description` has more than {DESCRIPTION_CHARS_MAX} characters")));
    }
    Ok(text.map(str::to_owned))
}

fn shown(state: &State, name: &str) -> Shown {
    let note = state.notes.services.get(name);
    Shown {
        service_name: name.to_owned(),
        service_id: name.to_owned(),
        description: note.map(|note| note.description.clone()).unwrap_or_default(),
        created_time: note.map(|note| schedule::iso_ms(note.created_ms)),
        last_modified_time: note.map(|note| schedule::iso_ms(note.modified_ms)),
    }
}

/// Services, in the order of their names.
#[utoipa::path(
    get,
    path = "/2016-08-15/services",
    tag = "function compute",
    operation_id = "fc_service_list",
    security(("session" = ["functions.read"])),
    params(Asked),
    responses((status = 200, body = List)),
)]
pub async fn list(Shared(api): Shared<Arc<Api>>, _: Caller, pages: Pages) -> Result<JsonBody<List>, ApiError> {
    let asked = asked(pages)?;
    let rows = api.deploy.look(|state| {
        let deployed = state.set.functions.iter().map(|row| row.name.service());
        let names: BTreeSet<&str> = state.notes.services.keys().map(String::as_str).chain(deployed).collect();
        names.into_iter().map(|name| (name.to_owned(), shown(state, name))).collect()
    });
    let (services, next_token) = asked.page(rows);
    Ok(JsonBody(List { services, next_token }))
}

/// Makes a service.
#[utoipa::path(
    post,
    path = "/2016-08-15/services",
    tag = "function compute",
    operation_id = "fc_service_create",
    security(("session" = ["deploy"])),
    request_body(content = Given, example = json!({"serviceName": "Plant", "description": "hall seven"})),
    responses((status = 200, body = Shown)),
)]
pub async fn create(Shared(api): Shared<Arc<Api>>, caller: Caller, body: Body) -> Result<Response, ApiError> {
    let given: Given = read(body).await?;
    let name = given.service_name.as_deref().ok_or_else(|| ApiError::bad_request("`serviceName` is missing"))?;
    let (name, description) = (plain_service(name)?, given.description()?.unwrap_or_default());
    let row = changed(&api, caller, vec![], move |state, now_ms| {
        if state.notes.has_service(&state.set, &name) {
            return Err(conflict("ServiceAlreadyExists", format!("there is a service `{name}` already")));
        }
        if state.notes.services.len() >= SERVICES_MAX {
            return Err(conflict("ResourceExhausted", format!("there are {SERVICES_MAX} services; delete some first")));
        }
        state.notes.services.insert(name.clone(), Note::new(description, now_ms));
        Ok(shown(state, &name))
    });
    row.await.map(|row| answer(&row))
}

/// A service. With a qualifier: whether that version is there.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}",
    tag = "function compute",
    operation_id = "fc_service_get",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path)),
    responses((status = 200, body = Shown)),
)]
pub async fn get(Shared(api): Shared<Arc<Api>>, _: Caller, path: InPath<String>) -> Result<Response, ApiError> {
    let (name, qualifier) = super::service(&path.0)?;
    let row = api.deploy.look(|state| super::rows(state, &name, qualifier.as_deref()).map(|_| shown(state, &name)))?;
    Ok(answer(&row))
}

/// Describes a service anew.
#[utoipa::path(
    put,
    path = "/2016-08-15/services/{service}",
    tag = "function compute",
    operation_id = "fc_service_update",
    security(("session" = ["deploy"])),
    params(("service" = String, Path)),
    request_body(content = Given, example = json!({"description": "the manual's samples"})),
    responses((status = 200, body = Shown)),
)]
pub async fn update(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: InPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (name, expected) = (plain_service(&path.0)?, Expected::of(&headers));
    let description = read::<Given>(body).await?.description()?;
    let row = changed(&api, caller, vec![], move |state, now_ms| {
        if !state.notes.has_service(&state.set, &name) {
            return Err(no_service(&name));
        }
        expected.check(&shown(state, &name))?;
        let note = state.notes.services.entry(name.clone()).or_insert_with(|| Note::new(String::new(), now_ms));
        note.modified_ms = now_ms;
        if let Some(description) = description {
            note.description = description;
        }
        Ok(shown(state, &name))
    });
    row.await.map(|row| answer(&row))
}

/// Deletes a service that has no functions any more.
#[utoipa::path(
    delete,
    path = "/2016-08-15/services/{service}",
    tag = "function compute",
    operation_id = "fc_service_delete",
    security(("session" = ["deploy"])),
    params(("service" = String, Path)),
    responses((status = 204)),
)]
pub async fn delete(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: InPath<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let (name, expected) = (plain_service(&path.0)?, Expected::of(&headers));
    changed(&api, caller, vec![], move |state, _| {
        let functions = super::rows(state, &name, None)?.len();
        expected.check(&shown(state, &name))?;
        let versions = state.versions.published.iter().filter(|version| version.service == name).count();
        if functions + versions > 0 {
            let message = format!("service `{name}` has {functions} functions and {versions} versions; delete them first");
            return Err(conflict("ServiceNotEmpty", message));
        }
        state.notes.services.remove(&name);
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
