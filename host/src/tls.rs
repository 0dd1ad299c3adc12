//! The gateway's TLS identity, and the client side that trusts exactly one such identity.
//!
//! The certificate is self-signed and made once, until somebody brings another (`replace`); people and programs know it by its
//! fingerprint. Its key is on disk only sealed. Deliberately absent: asking an authority for certificates.

mod purpose;
mod replace;

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use arc_swap::ArcSwap;
use base64::Engine;
use parking_lot::Mutex;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, ServerConfig, SignatureScheme};
use tracing::warn;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::seal::Seal;
use crate::store::file;
pub use replace::{Given, ReplaceError};

/// The certificate and its key, ready to serve. Both can be replaced while they are served.
pub struct Identity {
    dir: PathBuf,
    path: PathBuf,
    seal: Arc<Seal>,
    served: Arc<Served>,
    config: Arc<ServerConfig>,
    changing: Mutex<()>,
}

/// What handshakes that begin now use.
struct Served {
    key: ArcSwap<CertifiedKey>,
    /// Sessions of TLS that clients may take up again, without seeing the certificate.
    sessions: ArcSwap<ServerSessionMemoryCache>,
}

/// The server is not the gateway that the client was told to trust. Comes inside of `rustls::Error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server's certificate has the fingerprint {found}, but {expected} is the one to trust: if the gateway was set up anew, take its \
     new fingerprint; if not, this is another server"
)]
pub struct WrongFingerprint {
    pub found: String,
    pub expected: String,
}

impl Identity {
    /// Loads the identity from `dir` (`<data>/tls`), or makes it on the first start. `names` are names and addresses that people call
    /// the gateway by, besides `localhost` and the loopback addresses; one that an older certificate lacks is only warned about.
    pub fn open(dir: &Path, seal: &Arc<Seal>, names: &[String]) -> Result<Self> {
        let path = dir.join("cert.pem");
        let pem = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => create(dir, &path, seal, names)?,
            read => read.with_context(|| format!("reading the certificate `{}`", path.display()))?,
        };
        let wrong = || damaged("certificate", &path, dir);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().with_context(wrong)?;
        let certificate = chain.first().cloned().with_context(wrong)?;
        let key = read_key(dir, &certificate, seal)?;
        let key = PrivateKeyDer::try_from(key.to_vec()).map_err(|wrong| anyhow!(wrong)).with_context(wrong)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).with_context(|| damaged("certificate or its key", &path, dir))?;
        let served = Arc::new(Served { key: ArcSwap::from_pointee(key), sessions: ArcSwap::new(sessions()) });
        warn_of_missing_names(&certificate, &path, names);
        let config = Arc::new(server_config(served.clone())?);
        Ok(Self { dir: dir.to_owned(), path, seal: seal.clone(), served, config, changing: Mutex::new(()) })
    }

    /// SHA-256 of the certificate, as `AB:CD:...`: what a person compares.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.certificate())
    }

    /// The certificate in PEM, for clients that want a file to trust.
    pub fn cert_path(&self) -> &Path {
        &self.path
    }

    /// The certificate, and those that vouch for it, in PEM.
    pub fn pem(&self) -> String {
        self.served.key.load().cert.iter().map(pem).collect()
    }

    /// Whether the certificate is for this name.
    pub fn names(&self, name: &str) -> bool {
        let certificate = self.certificate();
        let parsed = ParsedCertificate::try_from(&certificate);
        parsed.is_ok_and(|parsed| ServerName::try_from(name).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok()))
    }

    /// TLS 1.2 and 1.3, for HTTP/1.1.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// The same for whatever is spoken inside: clients of drivers, which may ask for a protocol that only their driver knows.
    pub fn any_protocol_config(&self) -> Arc<ServerConfig> {
        let mut config = (*self.config).clone();
        config.alpn_protocols.clear();
        Arc::new(config)
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.served.key.load().cert[0].clone()
    }
}

/// SHA-256 of a certificate, as upper-case hex pairs joined by `:`.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hash = digest(&SHA256, certificate);
    hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// The fingerprint of the certificate in a PEM file, for a client on the gateway's own machine.
pub fn fingerprint_of_file(path: &Path) -> Result<String> {
    let certificate = CertificateDer::from_pem_file(path).with_context(|| format!("reading the certificate `{}`", path.display()))?;
    Ok(fingerprint(&certificate))
}

/// A client that accepts exactly the certificate with this fingerprint, under whatever name or address it reached the server.
pub fn client_config(fingerprint: &str) -> Result<Arc<ClientConfig>> {
    let hex: Vec<u8> = fingerprint.bytes().filter(|byte| *byte != b':').map(|byte| byte.to_ascii_uppercase()).collect();
    ensure!(
        hex.len() == 64 && hex.iter().all(u8::is_ascii_hexdigit),
        "`{fingerprint}` is not the fingerprint of a certificate: expected 64 hex digits, as the gateway prints them when it starts"
    );
    let expected = hex.chunks(2).map(String::from_utf8_lossy).collect::<Vec<_>>().join(":");
    let provider = provider();
    let verifier = Pinned { expected, algorithms: provider.signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("setting up TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn server_config(served: Arc<Served>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(served.clone());
    config.session_storage = served;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// Never the process's default provider: what another library installs there must not change this.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

fn create(dir: &Path, path: &Path, seal: &Seal, names: &[String]) -> Result<Vec<u8>> {
    let making = || format!("making the gateway's certificate in `{}`", dir.display());
    let key = KeyPair::generate().with_context(making)?;
    let certificate = params(names)?.self_signed(&key).with_context(making)?;
    let sealed = seal.seal(PURPOSE, &Zeroizing::new(key.serialize_der()));
    file::create_dir(dir).with_context(making)?;
    // The certificate comes last: without it, the next start begins again.
    file::replace(&key_path(dir, certificate.der()), 0o600, &sealed).with_context(making)?;
    file::replace(path, 0o644, certificate.pem().as_bytes()).with_context(making)?;
    Ok(certificate.pem().into_bytes())
}

fn params(names: &[String]) -> Result<CertificateParams> {
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    for name in names {
        ensure!(
            ServerName::try_from(name.as_str()).is_ok(),
            "`{name}` cannot stand in a certificate: expected a host name or an IP address"
        );
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    let mut params = CertificateParams::new(all).context("naming the gateway's certificate")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Ledge gateway");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // A box whose clock is not set yet lives in 1970: its certificate must still hold when the clock is right.
    let now = Duration::from_millis(Clock::system().unix_ms()).max(BUILT);
    params.not_before = date_time_ymd(1970, 1, 1) + (now - DAY);
    params.not_after = date_time_ymd(1970, 1, 1) + (now + VALID);
    Ok(params)
}

fn read_key(dir: &Path, certificate: &CertificateDer<'_>, seal: &Seal) -> Result<Zeroizing<Vec<u8>>> {
    let path = key_path(dir, certificate);
    let sealed = fs::read(&path).with_context(|| match dir.join(OLDER_KEY) {
        older if older.exists() => format!(
            "the certificate's key is `{}`, as Ledge had it before it could replace certificates, and is looked for as `{}`: give it that \
             name to keep the certificate, or delete `{}` for a new one (clients must then be given its new fingerprint)",
            older.display(),
            path.display(),
            dir.display()
        ),
        _ => damaged("certificate's key", &path, dir),
    })?;
    seal.unseal(PURPOSE, &sealed).with_context(|| damaged("certificate's key", &path, dir))
}

/// Each certificate has a key file of its own, so that the two change together: with `cert.pem`.
fn key_path(dir: &Path, certificate: &CertificateDer<'_>) -> PathBuf {
    let hash = fingerprint(certificate).replace(':', "").to_ascii_lowercase();
    dir.join(format!("key-{}.sealed", &hash[..16]))
}

fn damaged(what: &str, path: &Path, dir: &Path) -> String {
    format!(
        "the {what} `{}` cannot be used: restore it and the key file from a backup, or delete `{}` for a new certificate (clients must \
         then be given its new fingerprint)",
        path.display(),
        dir.display()
    )
}

fn warn_of_missing_names(certificate: &CertificateDer<'_>, path: &Path, names: &[String]) {
    // Read only here: a certificate that the server can use but this cannot parse is no reason not to start.
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return };
    for name in names {
        if !ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok()) {
            warn!(
                tls.name = %name,
                "the certificate `{}` does not name `{name}`: browsers will warn there. `ledge certificate set` takes another; one that the \
                 gateway has made itself may be deleted, and the next start makes a new one, with a new fingerprint",
                path.display()
            );
        }
    }
}

fn sessions() -> Arc<ServerSessionMemoryCache> {
    ServerSessionMemoryCache::new(SESSIONS_MAX)
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

impl fmt::Debug for Served {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Served")
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

impl StoresServerSessions for Served {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions.load().put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.load().get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.load().take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Trusts one certificate, and looks at nothing in it: neither names nor dates.
#[derive(Debug)]
struct Pinned {
    expected: String,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = fingerprint(certificate);
        if found == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = WrongFingerprint { found, expected: self.expected.clone() };
        Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }

    // Anybody can send a copy of the certificate: these prove that the server has its key.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

const PURPOSE: &str = "tls";
/// Where the key was before each certificate had a file of its own.
const OLDER_KEY: &str = "key.sealed";
const SESSIONS_MAX: usize = 256;
const ALPN: &[u8] = b"http/1.1";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const VALID: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// 2026-01-01: no clock that shows less is right.
const BUILT: Duration = Duration::from_secs(1_767_225_600);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::sign::SingleCertAndKey;
    use rustls::{ClientConnection, ServerConnection};

    use super::*;

    /// A handshake in memory.
    fn handshake(server: Arc<ServerConfig>, client: Arc<ClientConfig>, name: &str) -> Result<ClientConnection, rustls::Error> {
        let mut client = ClientConnection::new(client, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(client)
    }

    #[test]
    fn the_identity_is_made_once_and_known_by_its_fingerprint() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("tls");
        let seal = Arc::new(Seal::ephemeral());
        let first = Identity::open(&dir, &seal, &["gateway.plant".into()]).unwrap();
        let second = Identity::open(&dir, &seal, &["other.plant".into()]).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(fingerprint_of_file(second.cert_path()).unwrap(), first.fingerprint());
        assert_eq!(fs::metadata(second.cert_path()).unwrap().permissions().mode() & 0o777, 0o644);
        let config = client_config(&first.fingerprint().to_lowercase().replace(':', "")).unwrap();
        let client = handshake(second.server_config(), config, "192.0.2.1").unwrap();
        assert_eq!(client.alpn_protocol(), Some(ALPN));
        let parsed = first.certificate();
        let parsed = ParsedCertificate::try_from(&parsed).unwrap();
        for name in ["localhost", "127.0.0.1", "::1", "gateway.plant"] {
            verify_server_name(&parsed, &ServerName::try_from(name).unwrap()).unwrap();
        }
    }

    #[test]
    fn a_client_refuses_every_other_certificate_and_says_why() {
        let seal = Arc::new(Seal::ephemeral());
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let expected = Identity::open(here.path(), &seal, &[]).unwrap().fingerprint();
        let server = Identity::open(there.path(), &seal, &[]).unwrap();
        let error = handshake(server.server_config(), client_config(&expected).unwrap(), "localhost").map(|_| ()).unwrap_err();
        let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = error else { panic!("{error}") };
        assert_eq!(inner.downcast_ref(), Some(&WrongFingerprint { found: server.fingerprint(), expected }));
    }

    #[test]
    fn a_copied_certificate_without_its_key_does_not_pass() {
        let seal = Arc::new(Seal::ephemeral());
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let real = Identity::open(here.path(), &seal, &[]).unwrap();
        Identity::open(there.path(), &seal, &[]).unwrap();
        fs::copy(real.cert_path(), there.path().join("cert.pem")).unwrap();
        let error = Identity::open(there.path(), &seal, &[]).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("delete"), "{error}");
        let key = PrivatePkcs8KeyDer::from(KeyPair::generate().unwrap().serialize_der());
        let signer = provider().key_provider.load_private_key(key.into()).unwrap();
        let thief = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![real.certificate()], signer)));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
            let config = config.with_no_client_auth().with_cert_resolver(thief.clone());
            let error = handshake(Arc::new(config), client_config(&real.fingerprint()).unwrap(), "localhost").map(|_| ()).unwrap_err();
            assert_eq!(error, CertificateError::BadSignature.into());
        }
    }

    #[test]
    fn a_key_of_before_is_taken_under_the_name_that_the_error_says() {
        let (dir, seal) = (tempfile::tempdir().unwrap(), Arc::new(Seal::ephemeral()));
        let identity = Identity::open(dir.path(), &seal, &[]).unwrap();
        let (older, now) = (dir.path().join(OLDER_KEY), key_path(dir.path(), &identity.certificate()));
        fs::rename(&now, &older).unwrap();
        let said = Identity::open(dir.path(), &seal, &[]).map(|_| ()).unwrap_err().to_string();
        assert!([&older, &now].iter().all(|path| said.contains(path.to_str().unwrap())), "{said}");
        fs::rename(&older, &now).unwrap();
        assert_eq!(Identity::open(dir.path(), &seal, &[]).unwrap().fingerprint(), identity.fingerprint());
    }

    #[test]
    fn another_key_file_is_named_as_the_cause() {
        let dir = tempfile::tempdir().unwrap();
        Identity::open(dir.path(), &Arc::new(Seal::ephemeral()), &[]).unwrap();
        let error = Identity::open(dir.path(), &Arc::new(Seal::ephemeral()), &[]).map(|_| ()).unwrap_err();
        assert!(format!("{error:#}").contains("sealed with another key file"), "{error:#}");
    }

    #[test]
    fn wrong_names_and_fingerprints_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Identity::open(dir.path(), &Arc::new(Seal::ephemeral()), &["two words".into()]).is_err());
        for wrong in ["", "AB:CD", &"G".repeat(64), &"é".repeat(32)] {
            assert!(client_config(wrong).is_err(), "{wrong}");
        }
    }
}
