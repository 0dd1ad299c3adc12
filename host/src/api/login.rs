//! `/auth/login` and `/auth/logout` (manual 3.3).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Api;
use super::caller::{COOKIE_NAME, Peer, not_logged_in, tokens};
use super::describe::form::{Done, Envelope};
use super::describe::v1;
use super::error::ApiError;
use super::v1::{StrangersParams, success};
use crate::auth::LoginError;

#[derive(Serialize, ToSchema)]
pub struct LoggedIn {
    #[serde(rename = "UserName")]
    user_name: String,
}

/// Begins a session, which the cookie `token` names (manual 3.3.1). It ends after 30 minutes without use, or after 8 hours.
#[utoipa::path(
    post,
    path = "/auth/login",
    tag = "session",
    operation_id = "login_login",
    security(()),
    request_body(content = v1::Request<v1::Login>, example = json!({"request": {"apiVer": "0.6"}, "params": {"UserName": "admin", "Password": "correct horse battery"}})),
    responses((status = 200, body = Envelope<LoggedIn>), (status = 503, description = "too many failed logins, or too many that wait: `Retry-After` says when")),
)]
pub async fn login(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    StrangersParams(params): StrangersParams,
) -> Result<impl IntoResponse, ApiError> {
    let user = params.text("UserName")?;
    let password = params.text("Password")?;
    let session = api.auth.login(user, password, peer.source()).await.map_err(|error| {
        not_logged_in(&api.audit, &peer.client(), api.auth.known(user), error);
        match error {
            LoginError::Invalid => {
                ApiError::as_printed(StatusCode::BAD_REQUEST, "Invalid username or password").with_data(json!({"UserName": user}))
            }
            later => ApiError::of_login(later, StatusCode::SERVICE_UNAVAILABLE),
        }
    })?;
    api.audit.record(&peer.who(&session.user), "logged in", "with a password");
    Ok(([(SET_COOKIE, cookie(&session.token, &peer))], success(json!({"UserName": session.user.name}))))
}

/// Ends the session of the cookie (manual 3.3.2).
#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "session",
    operation_id = "login_logout",
    security(()),
    request_body(content = v1::Request<v1::Logout>, example = json!({"request": {"apiVer": "0.6"}, "params": {"UserName": "admin"}})),
    responses((status = 200, body = Envelope<Done>)),
)]
pub async fn logout(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    _: StrangersParams,
) -> Result<impl IntoResponse, ApiError> {
    let ended = tokens(&headers).find_map(|token| api.auth.session(token).filter(|_| api.auth.logout(token)));
    if let Some(user) = ended {
        api.audit.record(&peer.who(&user), "logged out", "");
        Ok(([(SET_COOKIE, gone_cookie())], success(Done {})))
    } else {
        Err(ApiError::as_printed(StatusCode::BAD_REQUEST, "cookie is invalid").with_data(json!({})))
    }
}

pub fn cookie(token: &str, peer: &Peer) -> String {
    let secure = if matches!(peer, Peer::Remote { tls: true, .. }) { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict{secure}")
}

pub fn gone_cookie() -> String {
    format!("{COOKIE_NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
}
