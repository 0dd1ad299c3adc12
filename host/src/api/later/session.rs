//! `/auth/cookies`: a session for a password.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::IntoResponse;

use crate::api::Api;
use crate::api::caller::{Caller, Peer, not_logged_in};
use crate::api::error::ApiError;
use crate::api::given::InPath;
use crate::api::login::{cookie, gone_cookie};
use crate::auth::LoginError;

/// Begins a session for the user and the password of HTTP Basic. The cookie `token` is its name.
#[utoipa::path(
    post,
    path = "/2020-04-30/auth/cookies",
    tag = "2020-04-30",
    operation_id = "later_login",
    security(("basic" = [])),
    responses((status = 201, description = "`Set-Cookie: token=...`"), (status = 401), (status = 503)),
)]
pub async fn begin(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let header = headers.get(AUTHORIZATION).map(HeaderValue::to_str).and_then(Result::ok).ok_or_else(ApiError::unauthorized)?;
    let session = api.auth.login_basic(header, peer.source()).await.map_err(|error| {
        not_logged_in(&api.audit, &peer.client(), &format!("{}, with HTTP Basic", api.auth.known_of_basic(header)), error);
        match error {
            LoginError::Invalid => ApiError::unauthorized(),
            later => ApiError::of_login(later, StatusCode::UNAUTHORIZED),
        }
    })?;
    api.audit.record(&peer.who(&session.user), "logged in", "with HTTP Basic");
    Ok((StatusCode::CREATED, [(SET_COOKIE, cookie(&session.token, &peer))]))
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
pub async fn end(State(api): State<Arc<Api>>, Caller(user): Caller, token: InPath<String>) -> Result<impl IntoResponse, ApiError> {
    let InPath(token) = token;
    let is_own = api.auth.session(&token).is_some_and(|of| of.name == user.name);
    if !is_own || !api.auth.logout(&token) {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "this is no session of yours"));
    }
    api.audit.record(&user.who(), "logged out", "");
    Ok([(SET_COOKIE, gone_cookie())])
}
