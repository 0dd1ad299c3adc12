//! Aliases of versions, with weights.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::page::{Asked, Pages, asked};
use super::service::description;
use super::{Expected, answer, changed, conflict, no_service, plain_service, read};
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::given::InPath;
use crate::deploy::{Alias, Note, State, VersionError};
use crate::schedule;

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcAlias)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    alias_name: String,
    version_id: String,
    description: String,
    /// How much of the calls, 0 to 1, another version has.
    #[schema(value_type = std::collections::HashMap<String, f64>)]
    additional_version_weight: BTreeMap<String, f64>,
    /// ISO 8601. Left out for an alias that was made in another way.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_time: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcAliases)]
#[serde(rename_all = "camelCase")]
pub struct List {
    aliases: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = FcAliasGiven)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Given {
    /// Not where the path has it.
    alias_name: Option<String>,
    version_id: Option<String>,
    description: Option<String>,
    /// Of one other version: a weight from 0 to 1, in hundredths. Empty, or 0: none.
    #[schema(value_type = Option<std::collections::HashMap<String, f64>>)]
    additional_version_weight: Option<BTreeMap<String, f64>>,
}

impl Given {
    fn version(&self) -> Result<Option<u32>, ApiError> {
        self.version_id.as_deref().map(number).transpose()
    }

    /// The other version and its share; `None` if nothing is said of one.
    fn also(&self) -> Result<Option<Option<(u32, u8)>>, ApiError> {
        let Some(weights) = &self.additional_version_weight else { return Ok(None) };
        let mut others = weights.iter().filter(|(_, weight)| **weight != 0.0);
        let (Some((version, weight)), None) = (others.next(), others.next()) else {
            return if weights.values().all(|weight| *weight == 0.0) {
                Ok(Some(None))
            } else {
                Err(ApiError::bad_request("`additionalVersionWeight` has several versions; one beside `versionId` can have a share"))
            };
        };
        let percent = weight * 100.0;
        let is_whole = (percent - percent.round()).abs() < 1e-6;
        if !is_whole || !(1.0..=99.0).contains(&percent.round()) {
            let message = format!("`additionalVersionWeight` of `{version}` is {weight}; expected 0.01 to 0.99, in hundredths");
            return Err(ApiError::bad_request(message));
        }
        Ok(Some(Some((number(version)?, percent.round() as u8))))
    }
}

fn number(text: &str) -> Result<u32, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request(format!("`{}` is no version", text.escape_debug())))
}

fn key(alias: &Alias) -> String {
    format!("{}.{}", alias.service, alias.name)
}

fn shown(state: &State, alias: &Alias) -> Shown {
    let note = state.notes.aliases.get(&key(alias));
    Shown {
        alias_name: alias.name.clone(),
        version_id: alias.version.to_string(),
        description: note.map(|note| note.description.clone()).unwrap_or_default(),
        additional_version_weight: alias.also.iter().map(|(version, percent)| (version.to_string(), f64::from(*percent) / 100.0)).collect(),
        created_time: note.map(|note| schedule::iso_ms(note.created_ms)),
        last_modified_time: note.map(|note| schedule::iso_ms(note.modified_ms)),
    }
}

fn find<'a>(state: &'a State, service: &str, name: &str) -> Result<&'a Alias, ApiError> {
    let found = state.versions.aliases.iter().find(|alias| (alias.service.as_str(), alias.name.as_str()) == (service, name));
    found.ok_or_else(|| VersionError::NoAlias(service.to_owned(), name.to_owned()).into())
}

/// Aliases of a service, in the order of their names.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/aliases",
    tag = "function compute",
    operation_id = "fc_alias_list",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path), Asked),
    responses((status = 200, body = List)),
)]
pub async fn list(Shared(api): Shared<Arc<Api>>, _: Caller, path: InPath<String>, pages: Pages) -> Result<JsonBody<List>, ApiError> {
    let (service, asked) = (plain_service(&path.0)?, asked(pages)?);
    let rows: Vec<_> = api.deploy.look(|state| {
        let own = state.versions.aliases.iter().filter(|alias| alias.service == service);
        let rows: Vec<_> = own.map(|alias| (alias.name.clone(), shown(state, alias))).collect();
        if rows.is_empty() && !state.notes.has_service(&state.set, &service) { Err(no_service(&service)) } else { Ok(rows) }
    })?;
    let (aliases, next_token) = asked.page(rows);
    Ok(JsonBody(List { aliases, next_token }))
}

/// Makes an alias.
#[utoipa::path(
    post,
    path = "/2016-08-15/services/{service}/aliases",
    tag = "function compute",
    operation_id = "fc_alias_create",
    security(("session" = ["deploy"])),
    params(("service" = String, Path)),
    request_body(content = Given, example = json!({"aliasName": "next", "versionId": "1", "description": "tried by a few"})),
    responses((status = 200, body = Shown)),
)]
pub async fn create(Shared(api): Shared<Arc<Api>>, caller: Caller, path: InPath<String>, body: Body) -> Result<Response, ApiError> {
    let (service, given) = (plain_service(&path.0)?, read::<Given>(body).await?);
    let missing = |name: &str| ApiError::bad_request(format!("`{name}` is missing"));
    let (version, also) = (given.version()?.ok_or_else(|| missing("versionId"))?, given.also()?.flatten());
    let name = given.alias_name.ok_or_else(|| missing("aliasName"))?;
    let description = description(given.description.as_deref())?.unwrap_or_default();
    let row = changed(&api, caller, vec![], move |state, now_ms| {
        if find(state, &service, &name).is_ok() {
            return Err(conflict("AliasAlreadyExists", format!("service `{service}` has an alias `{name}` already")));
        }
        let alias = Alias { service, name, version, also };
        state.versions.set_alias(alias.clone())?;
        state.notes.aliases.insert(key(&alias), Note::new(description, now_ms));
        Ok(shown(state, &alias))
    });
    row.await.map(|row| answer(&row))
}

/// An alias.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/aliases/{alias}",
    tag = "function compute",
    operation_id = "fc_alias_get",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path), ("alias" = String, Path)),
    responses((status = 200, body = Shown)),
)]
pub async fn get(Shared(api): Shared<Arc<Api>>, _: Caller, path: InPath<(String, String)>) -> Result<Response, ApiError> {
    let (service, alias) = path.0;
    let service = plain_service(&service)?;
    let row = api.deploy.look(|state| find(state, &service, &alias).map(|alias| shown(state, alias)))?;
    Ok(answer(&row))
}

/// Has an alias lead to another version, or describes it anew.
#[utoipa::path(
    put,
    path = "/2016-08-15/services/{service}/aliases/{alias}",
    tag = "function compute",
    operation_id = "fc_alias_update",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("alias" = String, Path)),
    request_body(content = Given, example = json!({"versionId": "1", "description": "called by all"})),
    responses((status = 200, body = Shown)),
)]
pub async fn update(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: InPath<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let ((service, name), expected) = (path.0, Expected::of(&headers));
    let (service, given) = (plain_service(&service)?, read::<Given>(body).await?);
    let (version, also, text) = (given.version()?, given.also()?, description(given.description.as_deref())?);
    let row = changed(&api, caller, vec![], move |state, now_ms| {
        let mut alias = find(state, &service, &name)?.clone();
        expected.check(&shown(state, &alias))?;
        alias.version = version.unwrap_or(alias.version);
        alias.also = also.unwrap_or(alias.also);
        state.versions.set_alias(alias.clone())?;
        let note = state.notes.aliases.entry(key(&alias)).or_insert_with(|| Note::new(String::new(), now_ms));
        note.modified_ms = now_ms;
        if let Some(text) = text {
            note.description = text;
        }
        Ok(shown(state, &alias))
    });
    row.await.map(|row| answer(&row))
}

/// Deletes an alias.
#[utoipa::path(
    delete,
    path = "/2016-08-15/services/{service}/aliases/{alias}",
    tag = "function compute",
    operation_id = "fc_alias_delete",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("alias" = String, Path)),
    responses((status = 204)),
)]
pub async fn delete(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: InPath<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let ((service, name), expected) = (path.0, Expected::of(&headers));
    let service = plain_service(&service)?;
    changed(&api, caller, vec![], move |state, _| {
        expected.check(&shown(state, find(state, &service, &name)?))?;
        Ok(state.versions.delete_alias(&service, &name)?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
