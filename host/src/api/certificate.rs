//! The gateway's certificate.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::caller::{Caller, forbidden};
use super::error::ApiError;
use super::{Api, body};
use crate::auth::{Rights, Role};
use crate::tls::{self, ReplaceError};

/// A certificate, as clients see it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Certificate {
    /// SHA-256, as `AB:CD:...`.
    fingerprint: String,
    /// In PEM: the gateway's own, then those that vouch for it.
    certificate: String,
}

/// What is to be served from now on.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(example = json!({"certificate": "-----BEGIN CERTIFICATE-----...", "key": "-----BEGIN PRIVATE KEY-----..."}))]
#[serde(deny_unknown_fields)]
pub struct NewCertificate {
    /// In PEM: the gateway's own, then those that vouch for it.
    certificate: String,
    /// Its private key, in PEM, without a passphrase.
    #[schema(value_type = String)]
    key: Zeroizing<String>,
}

/// The certificate that is served now.
#[utoipa::path(
    get,
    path = "/ledge/v1/certificate",
    tag = "certificate",
    operation_id = "certificate_show",
    security(("session" = [])),
    responses((status = 200, body = Certificate)),
)]
pub async fn show(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Certificate> {
    JsonBody(shown(&api))
}

/// Serves another certificate from the next connection on. Connections that are open stay as they are. Whoever may do this can be taken for the
/// gateway, so it is for administrators whom nothing narrows.
#[utoipa::path(
    put,
    path = "/ledge/v1/certificate",
    tag = "certificate",
    operation_id = "certificate_put",
    security(("session" = ["users"])),
    request_body = NewCertificate,
    responses((status = 200, body = Certificate), (status = 500)),
)]
pub async fn put(State(api): State<Arc<Api>>, Caller(user): Caller, body: Body) -> Result<JsonBody<Certificate>, ApiError> {
    if !user.rights.include(&Rights::of(Role::Admin)) {
        let message = format!("user `{}` may not do this: it is for administrators who may do everything", user.name);
        return Err(forbidden(&api.audit, &user, "replacing the certificate", message));
    }
    let body = body::read(body).await?;
    // The error of the parser may quote what it read, and that may be a key.
    let given: NewCertificate = serde_json::from_slice(&body)
        .map_err(|_| ApiError::bad_request("the body is wrong; expected {\"certificate\": PEM, \"key\": PEM}"))?;
    let (identity, now) = (api.guard.identity.clone(), Duration::from_millis(api.clock.unix_ms()));
    let replaced = tokio::task::spawn_blocking(move || {
        let given = tls::Given { certificates: &given.certificate, key: &given.key };
        identity.replace(&given, rustls::pki_types::UnixTime::since_unix_epoch(now))
    });
    let fingerprint = replaced.await.map_err(|error| ApiError::internal("replacing the certificate", &error.into()))??;
    api.audit.record(&user.who(), "certificate replaced", &fingerprint);
    Ok(JsonBody(shown(&api)))
}

fn shown(api: &Api) -> Certificate {
    let identity = &api.guard.identity;
    Certificate { fingerprint: identity.fingerprint(), certificate: identity.pem() }
}

impl From<ReplaceError> for ApiError {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Refused(why) => Self::bad_request(why),
            ReplaceError::Failed(error) => Self::internal("replacing the certificate", &error),
        }
    }
}
