//! `/auth/login` and `/auth/logout` (manual 3.3).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde_json::json;

use super::Api;
use super::caller::{COOKIE_NAME, Peer, tokens};
use super::describe;
use super::error::ApiError;
use super::v1::{StrangersParams, success};
use crate::auth::LoginError;

#[utoipa::path(
    post,
    path = "/auth/login",
    tag = "session",
    operation_id = "login_login",
    security(()),
    request_body = describe::LoginRequest,
    responses((status = 200, body = describe::Envelope)),
)]
pub async fn login(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    StrangersParams(params): StrangersParams,
) -> Result<impl IntoResponse, ApiError> {
    let user = params.text("UserName")?;
    let password = params.text("Password")?;
    match api.auth.login(user, password, peer.source()).await {
        Ok(session) => {
            api.audit.record(&format!("client {}", peer.name()), "logged in", &session.user.name);
            Ok(([(SET_COOKIE, cookie(&session.token, &peer))], success(json!({"UserName": session.user.name}))))
        }
        Err(LoginError::Invalid) => {
            // People type passwords into the wrong field: only names that are users' are written down.
            let tried = if api.auth.has_user(user) { user } else { "an unknown user" };
            api.audit.record(&format!("client {}", peer.name()), "login failed", tried);
            Err(ApiError::as_printed(StatusCode::BAD_REQUEST, "Invalid username or password").with_data(json!({"UserName": user})))
        }
        Err(later) => Err(ApiError::of_login(later, StatusCode::SERVICE_UNAVAILABLE)),
    }
}

#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "session",
    operation_id = "login_logout",
    security(()),
    request_body = describe::Request,
    responses((status = 200, body = describe::Envelope)),
)]
pub async fn logout(State(api): State<Arc<Api>>, headers: HeaderMap, _: StrangersParams) -> Result<impl IntoResponse, ApiError> {
    if tokens(&headers).any(|token| api.auth.logout(token)) {
        Ok(([(SET_COOKIE, gone_cookie())], success(json!({}))))
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
