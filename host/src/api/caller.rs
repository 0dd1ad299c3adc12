//! Who calls: the local administrator over the gateway's own socket, or a user by cookie, HTTP Basic or signature. And whether they may.
//!
//! Every operation stands in the description of the API with the permission that it needs. [`admit`] looks it up there, before anything of
//! the request is read; what is not described is the administrators' alone.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use super::describe::{Operations, Who};
use super::error::ApiError;
use super::signature::{self, Head};
use crate::audit::Audit;
use crate::auth::{Auth, CameFrom, LoginError, Permission, Source, User};

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
    /// Whose guesses are counted together; nobody's, where they are the administrator's own.
    pub fn source(&self) -> Option<Source> {
        match self {
            Self::Local => None,
            Self::Remote { address, .. } => Some(address.ip().into()),
        }
    }

    /// How the audit calls a user who is here.
    pub fn who(&self, user: &User) -> String {
        User { from: Some(self.came_from()), ..user.clone() }.who()
    }

    /// How the audit calls whoever is here and has not proved who they are.
    pub fn client(&self) -> String {
        format!("client {}", self.came_from())
    }

    fn came_from(&self) -> CameFrom {
        match self {
            Self::Local => CameFrom::LocalSocket,
            Self::Remote { address, .. } => CameFrom::Address(address.ip()),
        }
    }
}

/// A caller who has proved who they are, and may do what they ask for.
pub struct Caller(pub User);

pub const COOKIE_NAME: &str = "token";

/// Lets a request pass if its caller may do this.
pub async fn admit(
    State((api, operations)): State<(Arc<Api>, Arc<Operations>)>,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let peer = request.extensions().get::<Peer>();
    let permission = match operations.who(request.method(), path.as_str()) {
        Who::Everybody => return Ok(next.run(request).await),
        Who::Users => None,
        Who::With(permission) => Some(permission),
    };
    let user = identify(&api.auth, &api.audit, peer, Head::from(&request)).await?;
    if let Some(permission) = permission {
        if !user.rights.may(permission) {
            let what = format!("{}, for {} {}", permission.name(), request.method(), path.as_str());
            return Err(denied(&api.audit, &user, permission.name(), &what));
        }
        if matches!(permission, Permission::RulesOperate | Permission::FunctionsOperate) {
            in_pace(&api.audit, &user)?;
        }
    }
    if signature::is_signed(request.headers()) {
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = signature::checked(request.headers(), body)?;
    }
    request.extensions_mut().insert(user);
    Ok(next.run(request).await)
}

/// A denial is written down.
pub fn require(audit: &Audit, user: &User, permission: Permission) -> Result<(), ApiError> {
    if user.rights.may(permission) {
        return Ok(());
    }
    Err(denied(audit, user, permission.name(), permission.name()))
}

/// Who switches and releases things in a loop, or changes their own password, would push everything else out of the audit.
pub fn in_pace(audit: &Audit, user: &User) -> Result<(), ApiError> {
    if user.is_local() {
        return Ok(());
    }
    let Some(wait) = audit.wait_to_change(&user.name) else { return Ok(()) };
    let message =
        format!("user `{}` has changed too much in too short a time: each change has a line in the audit; go on more slowly", user.name);
    Err(ApiError::later(message, wait.as_secs() + 1))
}

/// `what` is for the audit.
fn denied(audit: &Audit, user: &User, needed: &str, what: &str) -> ApiError {
    let message = format!("user `{}` may not do this: it needs `{needed}`, which an administrator can give (`ledge user`)", user.name);
    forbidden(audit, user, what, message)
}

/// The answer to what a user may not do, counted, and after a line in the audit.
pub fn forbidden(audit: &Audit, user: &User, what: &str, message: String) -> ApiError {
    audit.refusals().denied_requests.inc();
    audit.record(&user.who(), "denied", what);
    ApiError::new(StatusCode::FORBIDDEN, message)
}

impl Caller {
    /// For operations whose permission depends on what they are asked.
    pub fn require(&self, audit: &Audit, permission: Permission) -> Result<(), ApiError> {
        require(audit, &self.0, permission)
    }

    /// Whether things of this product are any of the caller's business; a denial is written down.
    pub fn covers(&self, audit: &Audit, product_key: &str) -> Result<(), ApiError> {
        if self.0.rights.covers(product_key) {
            return Ok(());
        }
        let needed = format!("product {product_key}");
        Err(denied(audit, &self.0, &needed, &needed))
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, ApiError> {
        // `admit` has put it there, unless the operation is everybody's.
        parts.extensions.get::<User>().cloned().map(Self).ok_or_else(ApiError::unauthorized)
    }
}

/// Who sent a request with this head, and from where.
pub async fn identify(auth: &Auth, audit: &Audit, peer: Option<&Peer>, head: Head<'_>) -> Result<User, ApiError> {
    let user = known(auth, audit, peer, head).await?;
    Ok(User { from: peer.map(Peer::came_from), ..user })
}

async fn known(auth: &Auth, audit: &Audit, peer: Option<&Peer>, head: Head<'_>) -> Result<User, ApiError> {
    if matches!(peer, Some(Peer::Local)) {
        return Ok(User::local());
    }
    if let Some(user) = tokens(head.headers).find_map(|token| auth.session(token)) {
        return Ok(user);
    }
    let client = || peer.map_or_else(|| "client".to_owned(), Peer::client);
    if signature::is_signed(head.headers) {
        return signature::check(auth, &head).inspect_err(|_| not_logged_in(audit, &client(), "with a signature", LoginError::Invalid));
    }
    let basic = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(header) = basic.filter(|header| header.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "))) else {
        return Err(ApiError::unauthorized());
    };
    let logged_in = |user: &User| audit.record(&peer.map_or_else(|| user.who(), |peer| peer.who(user)), "logged in", "with HTTP Basic");
    let checked = auth.basic(header, peer.and_then(Peer::source), logged_in).await;
    checked.map_err(|error| {
        not_logged_in(audit, &client(), &format!("{}, with HTTP Basic", auth.known_of_basic(header)), error);
        match error {
            LoginError::Invalid => ApiError::unauthorized(),
            later => ApiError::of_login(later, StatusCode::UNAUTHORIZED),
        }
    })
}

/// Writes down, and counts, that a password or a signature was wrong, or a password was not looked at.
pub fn not_logged_in(audit: &Audit, who: &str, tried: &str, error: LoginError) {
    match error {
        LoginError::Invalid => {
            audit.refusals().failed_logins.inc();
            audit.record(who, "login failed", tried);
        }
        LoginError::TooOften { wait_s } => {
            audit.refusals().throttled_logins.inc();
            audit.record(who, "login throttled", &format!("{tried}; the next is looked at in {wait_s} s"));
        }
        LoginError::Busy => {}
    }
}

/// The session's token, from the cookie. A browser may send several of one name.
pub fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}
