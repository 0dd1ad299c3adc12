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
use super::error::ApiError;
use super::v1::{StrangersParams, success};
use crate::auth::LoginError;

pub async fn login(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    StrangersParams(params): StrangersParams,
) -> Result<impl IntoResponse, ApiError> {
    let user = params.text("UserName")?;
    let password = params.text("Password")?;
    match api.auth.login(user, password).await {
        Ok(session) => {
            let secure = if matches!(peer, Peer::Remote { tls: true, .. }) { "; Secure" } else { "" };
            api.audit.record(&format!("client {}", peer.name()), "logged in", &session.user.name);
            let cookie = format!("{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Strict{secure}", session.token);
            Ok(([(SET_COOKIE, cookie)], success(json!({"UserName": session.user.name}))))
        }
        Err(LoginError::Invalid) => {
            // People type passwords into the wrong field: only names that are users' are written down.
            let tried = if api.auth.has_user(user) { user } else { "an unknown user" };
            api.audit.record(&format!("client {}", peer.name()), "login failed", tried);
            Err(ApiError::bad_request("Invalid username or password").with_data(json!({"UserName": user})))
        }
        Err(busy @ LoginError::Busy) => Err(ApiError::unavailable(busy.to_string())),
    }
}

pub async fn logout(State(api): State<Arc<Api>>, headers: HeaderMap, _: StrangersParams) -> Result<impl IntoResponse, ApiError> {
    if tokens(&headers).any(|token| api.auth.logout(token)) {
        let gone = format!("{COOKIE_NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
        Ok(([(SET_COOKIE, gone)], success(json!({}))))
    } else {
        Err(ApiError::new(StatusCode::BAD_REQUEST, "cookie is invalid").with_data(json!({})))
    }
}
