//! A certificate of the project's, ready to serve.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::grant::Certificate;

/// TLS 1.2 and 1.3, for any protocol. Says what is wrong with a certificate or a key that cannot be used.
pub fn server_config(certificate: &Certificate) -> Result<ServerConfig> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<_, _>>().context("`cert`")?;
    ensure!(!chain.is_empty(), "`cert` has no certificate (`-----BEGIN CERTIFICATE-----`)");
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).context("`key`: expected a private key without a password")?;
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("`cert` and `key`")
}
