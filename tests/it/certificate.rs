//! Which certificates are served in the place of the gateway's own: those that clients take from a server.

use hyper::Method;
use ledge::cli::client::Client;
use rcgen::ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
use rcgen::KeyUsagePurpose::{ContentCommitment, CrlSign, DigitalSignature, KeyAgreement, KeyCertSign};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::json;

use crate::harness::client::json as body_of;
use crate::harness::gateway;

/// Whether it is an authority's, its `keyUsage`, and its `extendedKeyUsage`.
type Said<'a> = (bool, &'a [KeyUsagePurpose], &'a [ExtendedKeyUsagePurpose]);

/// A certificate for `localhost` that says of itself what it is for, and its key.
fn certificate((is_ca, usages, purposes): Said<'_>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
    params.key_usages = usages.to_vec();
    params.extended_key_usages = purposes.to_vec();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_take_from_a_server_is_served() {
    let gw = gateway().start().await;
    let local = Client::local(gw.data.path());
    let taken: [Said<'_>; 6] = [
        (false, &[], &[]),
        // As `openssl req -x509` makes them.
        (true, &[], &[]),
        (false, &[DigitalSignature], &[ServerAuth]),
        (false, &[], &[ClientAuth, ServerAuth]),
        (false, &[KeyAgreement], &[]),
        (true, &[KeyCertSign, CrlSign, DigitalSignature], &[]),
    ];
    for said in taken {
        let (certificate, key) = certificate(said);
        let body = json!({"certificate": certificate, "key": key}).to_string();
        let answer = local.send(Method::PUT, "/ledge/v1/certificate", &[], body.into()).await.unwrap();
        assert_eq!(answer.status, 200, "{said:?}: {:?}", answer.body);
        let port = gw.gateway.address.port();
        let asked = gw.shell(&format!("curl -sS --cacert tls/cert.pem https://localhost:{port}/healthz")).await;
        assert_eq!(asked.stdout, "ok\n", "{said:?}: {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_take_from_no_server_is_refused_by_what_it_is_for() {
    let gw = gateway().start().await;
    let refused: [(Said<'_>, [&str; 2]); 6] = [
        ((true, &[KeyCertSign, CrlSign], &[]), ["an authority's certificate", "Key Cert Sign"]),
        ((false, &[KeyCertSign], &[]), ["not a server's certificate", "Key Cert Sign"]),
        ((false, &[ContentCommitment], &[ServerAuth]), ["not a server's certificate", "Non Repudiation"]),
        ((false, &[DigitalSignature], &[ClientAuth]), ["not a server's certificate", "`clientAuth`"]),
        ((true, &[], &[ClientAuth]), ["an authority's certificate", "`clientAuth`"]),
        // OpenSSL wants `serverAuth` by its name, and so does rustls.
        ((false, &[], &[Any]), ["not a server's certificate", "`anyExtendedKeyUsage`"]),
    ];
    for (said, wanted) in refused {
        let (certificate, key) = certificate(said);
        let body = json!({"certificate": certificate, "key": key}).to_string();
        let answer = gw.admin().send(Method::PUT, "/ledge/v1/certificate", &[], body.into()).await.unwrap();
        let message = body_of(&answer)["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400, "{message}");
        assert!(wanted.iter().all(|wanted| message.contains(wanted)) && message.contains("give"), "{message}");
    }
    let shown = gw.admin().get_json("/ledge/v1/certificate").await.unwrap();
    assert_eq!(shown["fingerprint"], gw.gateway.fingerprint.as_str());
}
