//! Another certificate in the place of the one that is served. Connections that are open go on; new ones meet the new one.

use std::fs;

use anyhow::{Context, anyhow};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};
use zeroize::Zeroizing;

use super::purpose::is_of_a_server;
use super::{Identity, PURPOSE, fingerprint, key_path, pem, provider, sessions};
use crate::store::file;

/// What is to be served from now on, in PEM.
pub struct Given<'a> {
    /// The gateway's own comes first, then those that vouch for it.
    pub certificates: &'a str,
    pub key: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Nothing has changed.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Certificates of one chain.
const CHAIN_MAX: usize = 10;

impl Identity {
    /// Checks a certificate and its key, keeps them, and serves them. Gives the new fingerprint. Blocks.
    pub fn replace(&self, given: &Given<'_>, now: UnixTime) -> Result<String, ReplaceError> {
        let (key, certified) = check(given, now).map_err(ReplaceError::Refused)?;
        let _one_at_a_time = self.changing.lock();
        let before = key_path(&self.dir, &self.certificate());
        let after = key_path(&self.dir, &certified.cert[0]);
        let keeping = || format!("keeping the new certificate in `{}`", self.dir.display());
        file::replace(&after, 0o600, &self.seal.seal(PURPOSE, &key)).with_context(keeping)?;
        let text: String = certified.cert.iter().map(pem).collect();
        // From here on the next start serves the new one, and before the old one.
        file::replace(&self.path, 0o644, text.as_bytes()).with_context(keeping)?;
        let fingerprint = fingerprint(&certified.cert[0]);
        self.served.key.store(certified.into());
        self.served.sessions.store(sessions());
        if before != after {
            // One that stays is sealed, and nobody's any more.
            let _ = fs::remove_file(before);
        }
        Ok(fingerprint)
    }
}

fn check(given: &Given<'_>, now: UnixTime) -> Result<(Zeroizing<Vec<u8>>, CertifiedKey), String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(given.certificates.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is not PEM: {error}"))?;
    if chain.is_empty() || chain.len() > CHAIN_MAX {
        return Err(format!("{} certificates were given; expected 1 to {CHAIN_MAX}, in PEM, the gateway's own first", chain.len()));
    }
    let key = PrivateKeyDer::from_pem_slice(given.key.as_bytes())
        .map_err(|error| format!("the key is not a private key in PEM, without a passphrase: {error}"))?;
    let bytes = Zeroizing::new(key.secret_der().to_vec());
    is_fit(&chain, now)?;
    let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
        other => format!("the key cannot be used: {other}"),
    })?;
    Ok((bytes, certified))
}

/// Who vouches for it is the clients' business; that it is one for a server, today, is known here.
fn is_fit(chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("the certificate cannot be read: {error}");
    for certificate in chain {
        ParsedCertificate::try_from(certificate).map_err(|error| unreadable(&error))?;
    }
    is_of_a_server(&chain[0])?;
    let verifier = verifier().map_err(|error| format!("the certificate cannot be checked: {error:#}"))?;
    let name = ServerName::try_from("localhost").map_err(|error| unreadable(&error))?;
    // Dates and purposes are looked at before anybody is looked for who vouches for it.
    match verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now) {
        Err(Error::InvalidCertificate(wrong)) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Err("the certificate has expired".to_owned()),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Err("the certificate is not valid yet, by the clock of this machine".to_owned())
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Err("one of the certificates that vouch for the first is not for servers".to_owned())
            }
            CertificateError::BadEncoding => Err(unreadable(&wrong)),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn verifier() -> anyhow::Result<impl ServerCertVerifier> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider()).build()?;
    std::sync::Arc::into_inner(verifier).ok_or_else(|| anyhow!("it is shared already"))
}
