//! Users and what they may do.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json as JsonBody};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::caller::{Caller, Peer, forbidden, in_pace, not_logged_in};
use super::describe::form::Done;
use super::error::ApiError;
use super::given::InPath;
use super::{Api, body};
use crate::auth::{LoginError, Permission, Rights, Role, UserError, generate_password};
use crate::name;
use crate::telemetry::printable;

type Name = InPath<String>;

/// A user, without what is secret.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = User)]
pub struct Shown {
    name: String,
    role: Role,
    /// Of the role's permissions, only these; all of them if it is not there.
    permissions: Option<Vec<Permission>>,
    /// Things of these products only; of all if it is not there.
    products: Option<Vec<String>>,
    /// The password that was made for a new user: here and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    password: Option<String>,
}

/// What `put` takes. Without `password` a new user gets one that is made, and another keeps theirs.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = UserGiven)]
#[serde(deny_unknown_fields)]
pub struct Given {
    role: Role,
    /// Of the role's permissions, only these; all of them without it.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Permission>>)]
    permissions: Option<std::collections::BTreeSet<Permission>>,
    /// Things of these products only; of all without it.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["a1Light"]))]
    products: Option<std::collections::BTreeSet<String>>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 12, max_length = 128, format = Password)]
    password: Option<Zeroizing<String>>,
}

/// What a change of password takes.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(example = json!({"old": "correct horse battery"}))]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The one that holds now, unless an administrator changes that of somebody else.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    old: Option<Zeroizing<String>>,
    /// Without it one is made, and told once.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 12, max_length = 128, format = Password)]
    new: Option<Zeroizing<String>>,
}

/// The password that was made, if one was.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PasswordChanged)]
pub struct Changed {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    password: Option<String>,
}

fn shown(name: String, rights: &Rights) -> Shown {
    let permissions = rights.permissions.as_ref().map(|given| given.iter().copied().collect());
    let products = rights.products.as_ref().map(|products| products.iter().cloned().collect());
    Shown { name, role: rights.role, permissions, products, password: None }
}

/// All users, in the order of their names.
#[utoipa::path(
    get,
    path = "/ledge/v1/users",
    tag = "users",
    operation_id = "user_list",
    security(("session" = ["users"])),
    responses((status = 200, body = Vec<Shown>)),
)]
pub async fn list(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<Shown>> {
    JsonBody(api.auth.users().into_iter().map(|(name, rights)| shown(name, &rights)).collect())
}

/// One user.
#[utoipa::path(
    get,
    path = "/ledge/v1/users/{name}",
    tag = "users",
    operation_id = "user_show",
    security(("session" = ["users"])),
    params(("name" = String, Path, description = "a user's name", example = "operator-1")),
    responses((status = 200, body = Shown)),
)]
pub async fn show(State(api): State<Arc<Api>>, _: Caller, name: Name) -> Result<JsonBody<Shown>, ApiError> {
    let InPath(name) = name;
    let rights = api.auth.rights(&name).ok_or_else(|| UserError::Unknown(name.clone()))?;
    Ok(JsonBody(shown(name, &rights)))
}

/// Adds a user, or changes what one may do.
#[utoipa::path(
    put,
    path = "/ledge/v1/users/{name}",
    tag = "users",
    operation_id = "user_put",
    security(("session" = ["users"])),
    params(("name" = String, Path, description = "a user's name", example = "operator-1")),
    request_body(content = Given, example = json!({"role": "viewer", "products": ["a1Light"]})),
    responses((status = 200, body = Shown, description = "it was changed"), (status = 201, body = Shown, description = "it was added"), (status = 409), (status = 500)),
)]
pub async fn put(
    State(api): State<Arc<Api>>,
    Caller(user): Caller,
    name: Name,
    body: Body,
) -> Result<(StatusCode, JsonBody<Shown>), ApiError> {
    let (InPath(name), body) = (name, body::read(body).await?);
    let given: Given = serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body is not a user: {error}")))?;
    let is_no_key = |key: &&String| name::check_thing(key).is_err();
    if let Some(wrong) = given.products.iter().flatten().find(is_no_key) {
        return Err(ApiError::bad_request(format!("`products`: `{}` is no key of a product", printable(wrong))));
    }
    let rights = Rights { role: given.role, permissions: given.permissions, products: given.products };
    if !user.rights.include(&rights) {
        let message = format!("user `{}` may not give more than they have themselves", user.name);
        return Err(forbidden(&api.audit, &user, &format!("giving user {name} rights"), message));
    }
    let before = api.auth.rights(&name);
    if before.as_ref().is_some_and(|before| !user.rights.include(before)) {
        let message = format!("user `{name}` may do more than `{}`, who may not change them", user.name);
        return Err(forbidden(&api.audit, &user, &format!("changing user {name}"), message));
    }
    if given.password.is_some() && name == user.name && !user.is_local() {
        let message = "change your own password with `POST /ledge/v1/users/{name}/password`, which asks for the one that holds now";
        return Err(ApiError::bad_request(message));
    }
    let is_new = before.is_none();
    let made = (is_new && given.password.is_none()).then(generate_password);
    match (given.password.as_ref().or(made.as_ref()), is_new) {
        (Some(password), true) => api.auth.add_user(&name, password, rights.clone()).await?,
        (password, _) => {
            api.auth.set_rights(&name, rights.clone()).await?;
            if let Some(password) = password {
                api.auth.set_password(&name, password).await?;
            }
        }
    }
    let what = if is_new { "user added" } else { "user changed" };
    let row = shown(name, &rights);
    api.audit.record(&user.who(), what, &json!(row).to_string());
    if !is_new && given.password.is_some() {
        api.audit.record(&user.who(), "password changed", &row.name);
    }
    let row = Shown { password: made.map(|made| made.to_string()), ..row };
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, JsonBody(row)))
}

/// Deletes a user, and ends all their sessions.
#[utoipa::path(
    delete,
    path = "/ledge/v1/users/{name}",
    tag = "users",
    operation_id = "user_delete",
    security(("session" = ["users"])),
    params(("name" = String, Path, description = "a user's name", example = "operator-1")),
    responses((status = 200, body = Done), (status = 409), (status = 500)),
)]
pub async fn delete(State(api): State<Arc<Api>>, Caller(user): Caller, name: Name) -> Result<JsonBody<Done>, ApiError> {
    let InPath(name) = name;
    if api.auth.rights(&name).is_some_and(|rights| !user.rights.include(&rights)) {
        let message = format!("user `{name}` may do more than `{}`, who may not delete them", user.name);
        return Err(forbidden(&api.audit, &user, &format!("deleting user {name}"), message));
    }
    api.auth.delete_user(&name).await?;
    api.audit.record(&user.who(), "user deleted", &name);
    Ok(JsonBody(Done {}))
}

/// Changes a password: one's own, with the one that holds now in `old`, or, for administrators, somebody else's. All sessions that the old one
/// opened end.
#[utoipa::path(
    post,
    path = "/ledge/v1/users/{name}/password",
    tag = "users",
    operation_id = "user_set_password",
    security(("session" = [])),
    params(("name" = String, Path, description = "a user's name", example = "operator-1")),
    request_body = NewPassword,
    responses((status = 200, body = Changed), (status = 500)),
)]
pub async fn set_password(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    Caller(user): Caller,
    name: Name,
    body: Body,
) -> Result<JsonBody<Changed>, ApiError> {
    let (InPath(name), body) = (name, body::read(body).await?);
    let given: NewPassword = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("the body is wrong: {error}; expected {{\"old\": ..., \"new\": ...}}")))?;
    let may_change = user.rights.may(Permission::Users) && api.auth.rights(&name).is_none_or(|rights| user.rights.include(&rights));
    if user.name != name && !may_change {
        let message = format!("user `{}` may change no password but their own", user.name);
        return Err(forbidden(&api.audit, &user, &format!("changing the password of user {name}"), message));
    }
    // Whoever finds a browser open, or a key, may not take the account over.
    let is_own = user.name == name && !user.is_local();
    if is_own {
        in_pace(&api.audit, &user)?;
        let old = given.old.as_ref().ok_or_else(|| ApiError::bad_request("`old`, the password that holds now, is missing"))?;
        let refused = |error| {
            not_logged_in(&api.audit, &user.who(), "the old password, to change it", error);
            match error {
                LoginError::Invalid => ApiError::bad_request("`old` is not the password that holds now"),
                later => ApiError::of_login(later, StatusCode::SERVICE_UNAVAILABLE),
            }
        };
        api.auth.verify(&name, old, peer.source()).await.map_err(refused)?;
    }
    let made = given.new.is_none().then(generate_password);
    if let Some(password) = given.new.as_ref().or(made.as_ref()) {
        api.auth.set_password(&name, password).await?;
    }
    api.audit.record(&user.who(), "password changed", &name);
    Ok(JsonBody(Changed { password: made.map(|made| made.to_string()) }))
}

impl From<UserError> for ApiError {
    fn from(error: UserError) -> Self {
        let status = match &error {
            UserError::Unknown(_) | UserError::UnknownKey { .. } => StatusCode::NOT_FOUND,
            UserError::Exists(_) | UserError::TooMany | UserError::TooManyKeys(_) | UserError::Admin => StatusCode::CONFLICT,
            UserError::Name(_) | UserError::Password(_) | UserError::NotOfRole { .. } => StatusCode::BAD_REQUEST,
            UserError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            UserError::Failed(error) => return Self::internal("changing a user", error),
        };
        Self::new(status, error.to_string())
    }
}
