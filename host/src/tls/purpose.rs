//! Whether a certificate may be a server's, by what it says itself that its key is for.
//!
//! Only what clients refuse is refused, whatever vouches for it: that it is an authority's is none of that, since a self-signed one of `openssl
//! req -x509` says so too.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, KeyUsage};
use x509_parser::prelude::FromDer;

pub fn is_of_a_server(certificate: &CertificateDer<'_>) -> Result<(), String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("the certificate cannot be read: {error}");
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| unreadable(&error))?;
    let usage = certificate.key_usage().map_err(|error| unreadable(&error))?.map(|usage| usage.value);
    let purposes = certificate.extended_key_usage().map_err(|error| unreadable(&error))?.map(|purposes| purposes.value);
    let wrong = match (usage, purposes) {
        (Some(usage), _) if !is_for_handshakes(usage) => format!("its key is for `{usage}` alone (`keyUsage`)"),
        (_, Some(purposes)) if !purposes.server_auth => format!("it is for {} alone (`extendedKeyUsage`)", names(purposes)),
        _ => return Ok(()),
    };
    let (what, instead) = if certificate.is_ca() {
        ("an authority's certificate", "give the one that this authority issued for the gateway, and this one, if at all, behind it")
    } else {
        ("not a server's certificate", "give one that is for `serverAuth`, or one without `keyUsage` and `extendedKeyUsage`")
    };
    Err(format!("this is {what}, which clients do not take from a server: {wrong}; {instead}"))
}

/// TLS needs one of these, which one depends on the key and the version.
fn is_for_handshakes(usage: &KeyUsage) -> bool {
    usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
}

/// As `openssl` calls them.
fn names(purposes: &ExtendedKeyUsage<'_>) -> String {
    let known = [
        ("`anyExtendedKeyUsage`", purposes.any),
        ("`clientAuth`", purposes.client_auth),
        ("`codeSigning`", purposes.code_signing),
        ("`emailProtection`", purposes.email_protection),
        ("`timeStamping`", purposes.time_stamping),
        ("`OCSPSigning`", purposes.ocsp_signing),
        ("other purposes", !purposes.other.is_empty()),
    ];
    let names: Vec<_> = known.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
