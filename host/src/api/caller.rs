//! Who calls: the local administrator over the gateway's own socket, or a user by cookie or HTTP Basic.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;

use super::Api;
use super::error::ApiError;
use crate::audit::Audit;
use crate::auth::{Auth, LoginError, User};

/// Where a request comes from. `gateway` puts it into each request's extensions.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// Somebody who may open the socket in the data directory, and so may do everything.
    Local,
    Remote {
        address: SocketAddr,
        tls: bool,
    },
}

impl Peer {
    /// For the audit.
    pub fn name(&self) -> String {
        match self {
            Self::Local => "the local socket".to_owned(),
            Self::Remote { address, .. } => address.ip().to_string(),
        }
    }
}

/// A caller who has proved who they are. A handler that takes one is closed to everybody else.
pub struct Caller(pub User);

pub const COOKIE_NAME: &str = "token";

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<Peer>();
        identify(&api.auth, &api.audit, peer, &parts.headers).await.map(Self)
    }
}

/// Who sent a request with these headers.
pub async fn identify(auth: &Auth, audit: &Audit, peer: Option<&Peer>, headers: &HeaderMap) -> Result<User, ApiError> {
    if matches!(peer, Some(Peer::Local)) {
        return Ok(User { name: "admin".to_owned() });
    }
    if let Some(user) = tokens(headers).find_map(|token| auth.session(token)) {
        return Ok(user);
    }
    let basic = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(header) = basic.filter(|header| header.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "))) else {
        return Err(ApiError::unauthorized());
    };
    match auth.basic(header).await {
        Ok(user) => Ok(user),
        Err(LoginError::Invalid) => {
            let peer = peer.map(Peer::name).unwrap_or_default();
            audit.record(&format!("client {peer}"), "login failed", "HTTP Basic");
            Err(ApiError::unauthorized())
        }
        Err(busy @ LoginError::Busy) => Err(ApiError::unavailable(busy.to_string())),
    }
}

/// The session's token, from the cookie. A browser may send several of one name.
pub fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}
