//! Short-lived credentials of the cloud (manual 2.2.7, `CredentialProviderChain`).

use std::fmt;

use crate::Fault;
use crate::bindings::function::ledge::edge::credentials as wit;

/// What signs a request to the cloud. `Debug` shows neither the secret nor the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Names the key; no secret.
    pub access_key_id: String,
    /// Signs; never log it.
    pub access_key_secret: String,
    /// Goes with each request that the key signs.
    pub security_token: String,
    /// Milliseconds since 1970-01-01T00:00:00Z; ask again before.
    pub expiration_ms: u64,
}

/// The credentials as of now.
///
/// Grant: `credentials`. Faults: 110001, 100008 (this gateway has no source of credentials).
pub fn get() -> Result<Credential, Fault> {
    let wit::Credential { access_key_id, access_key_secret, security_token, expiration } = wit::get()?;
    Ok(Credential { access_key_id, access_key_secret, security_token, expiration_ms: expiration })
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("access_key_id", &self.access_key_id)
            .field("expiration_ms", &self.expiration_ms)
            .finish_non_exhaustive()
    }
}
