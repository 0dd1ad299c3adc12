//! `/auth/cookies`: a session for a password.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::IntoResponse;

use crate::api::Api;
use crate::api::caller::{Caller, Peer};
use crate::api::error::ApiError;
use crate::api::login::{cookie, gone_cookie};
use crate::auth::LoginError;

/// Begins a session for the user and the password of HTTP Basic. The cookie `token` is its name.
#[utoipa::path(
    post,
    path = "/2020-04-30/auth/cookies",
    tag = "2020-04-30",
    operation_id = "later_login",
    security(()),
    responses((status = 201, description = "`Set-Cookie: token=...`"), (status = 401), (status = 503)),
)]
pub async fn begin(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let header = headers.get(AUTHORIZATION).map(HeaderValue::to_str).and_then(Result::ok).ok_or_else(ApiError::unauthorized)?;
    match api.auth.login_basic(header, peer.source()).await {
        Ok(session) => {
            api.audit.record(&peer.who(&session.user), "logged in", "with HTTP Basic");
            Ok((StatusCode::CREATED, [(SET_COOKIE, cookie(&session.token, &peer))]))
        }
        Err(LoginError::Invalid) => {
            api.audit.record(&format!("client {}", peer.name()), "login failed", "HTTP Basic");
            Err(ApiError::unauthorized())
        }
        Err(later) => Err(ApiError::of_login(later, StatusCode::UNAUTHORIZED)),
    }
}

/// Ends a session of one's own.
#[utoipa::path(
    delete,
    path = "/2020-04-30/auth/cookies/{token}",
    tag = "2020-04-30",
    operation_id = "later_logout",
    security(("session" = [])),
    params(("token" = String, Path, description = "of a session of one's own")),
    responses((status = 200, description = "it has ended")),
)]
pub async fn end(
    State(api): State<Arc<Api>>,
    Caller(user): Caller,
    token: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Path(token) = token.map_err(|wrong| ApiError::bad_request(wrong.body_text()))?;
    let is_own = api.auth.session(&token).is_some_and(|of| of.name == user.name);
    if !is_own || !api.auth.logout(&token) {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "this is no session of yours"));
    }
    api.audit.record(&user.who(), "logged out", "");
    Ok([(SET_COOKIE, gone_cookie())])
}
