//! Access keys of users, with which programs sign their requests (`signature`).

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::Api;
use super::caller::{Caller, forbidden};
use super::describe::form::Done;
use super::error::ApiError;
use super::given::InPath;
use crate::auth::UserError;
use crate::schedule;

/// An access key, without its secret.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AccessKey)]
pub struct Shown {
    id: String,
    /// ISO 8601.
    created: String,
}

/// An access key that was made just now.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = NewAccessKey)]
pub struct Made {
    id: String,
    /// Here and never again.
    secret: String,
}

/// A user's access keys, the oldest first.
#[utoipa::path(
    get,
    path = "/ledge/v1/users/{name}/access-keys",
    tag = "users",
    operation_id = "access_key_list",
    security(("session" = ["users"])),
    params(("name" = String, Path, description = "a user's name", example = "operator-1")),
    responses((status = 200, body = Vec<Shown>)),
)]
pub async fn list(State(api): State<Arc<Api>>, _: Caller, name: InPath<String>) -> Result<JsonBody<Vec<Shown>>, ApiError> {
    let InPath(name) = name;
    let keys = api.auth.access_keys(&name)?;
    Ok(JsonBody(keys.into_iter().map(|key| Shown { id: key.id, created: schedule::iso(key.created_ms) }).collect()))
}

/// Makes an access key, which may what its user may. A user has ten at most.
#[utoipa::path(
    post,
    path = "/ledge/v1/users/{name}/access-keys",
    tag = "users",
    operation_id = "access_key_add",
    security(("session" = ["users"])),
    params(("name" = String, Path, description = "a user's name", example = "operator-1")),
    responses((status = 201, body = Made), (status = 409, description = "the user has ten"), (status = 500)),
)]
pub async fn add(State(api): State<Arc<Api>>, caller: Caller, name: InPath<String>) -> Result<(StatusCode, JsonBody<Made>), ApiError> {
    let InPath(name) = name;
    may_change(&api, &caller, &name)?;
    let key = api.auth.add_access_key(&name).await?;
    api.audit.record(&caller.0.who(), "access key added", &format!("{} of {name}", key.id));
    Ok((StatusCode::CREATED, JsonBody(Made { id: key.id, secret: key.secret.to_string() })))
}

/// Deletes an access key, which opens nothing from then on.
#[utoipa::path(
    delete,
    path = "/ledge/v1/users/{name}/access-keys/{id}",
    tag = "users",
    operation_id = "access_key_delete",
    security(("session" = ["users"])),
    params(("name" = String, Path, description = "a user's name", example = "operator-1"), ("id" = String, Path, description = "of an access key")),
    responses((status = 200, body = Done), (status = 500)),
)]
pub async fn delete(State(api): State<Arc<Api>>, caller: Caller, path: InPath<(String, String)>) -> Result<JsonBody<Done>, ApiError> {
    let InPath((name, id)) = path;
    may_change(&api, &caller, &name)?;
    api.auth.delete_access_key(&name, &id).await?;
    api.audit.record(&caller.0.who(), "access key deleted", &format!("{id} of {name}"));
    Ok(JsonBody(Done {}))
}

/// Nobody gets more than they have by way of somebody else's key.
fn may_change(api: &Api, Caller(user): &Caller, name: &str) -> Result<(), ApiError> {
    let rights = api.auth.rights(name).ok_or_else(|| UserError::Unknown(name.to_owned()))?;
    if user.rights.include(&rights) {
        return Ok(());
    }
    let message = format!("user `{name}` may do more than `{}`, who may not change their access keys", user.name);
    Err(forbidden(&api.audit, user, &format!("changing the access keys of user {name}"), message))
}
