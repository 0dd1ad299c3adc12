//! `wasi:http/outgoing-handler`: requests that a function sends, to granted hosts only.
//!
//! Names are resolved here and not by the guest, and the address that was checked is the one that is connected to: a name that turns
//! into the gateway itself, or into the metadata service of a cloud, is refused.

mod address;
mod connection;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderName};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Uri};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks};

use super::{Guest, Until};
use connection::{Sent, Timeouts};

/// The interface's part of a Store.
pub struct Http {
    pub guest: Arc<Guest>,
    pub outgoing: Arc<Outgoing>,
    pub deadline: Until,
}

/// The connections of one function, all its instances together.
pub struct Outgoing {
    places: Arc<Semaphore>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

/// Open connections of one function. One more is refused.
const CONNECTIONS_MAX: usize = 64;
/// Headers of one message, with what a map of them takes: our listener's 32 KiB on the wire fit.
const FIELDS_BYTES_MAX: usize = 128 << 10;
/// What a guest may write at once: two such parts of a body may wait.
const BODY_PART_BYTES_MAX: usize = 64 << 10;

/// A request that was looked at and is granted.
struct Target {
    is_tls: bool,
    host: String,
    port: u16,
    /// Whether a grant names this very host, and not a domain above it.
    is_named: bool,
}

/// The limits of header fields.
pub fn fields() -> WasiHttpCtx {
    let mut fields = WasiHttpCtx::new();
    fields.set_field_size_limit(FIELDS_BYTES_MAX);
    fields
}

impl Http {
    fn target(&self, uri: &Uri) -> Result<Target, Error> {
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(Error::HttpRequestUriInvalid)?;
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let port = port(authority, is_tls).ok_or(Error::HttpRequestUriInvalid)?;
        let granted = || self.guest.grants.http.iter().filter(|host| host.matches(is_tls, authority.host(), port));
        if granted().next().is_none() {
            let scheme = if is_tls { "https" } else { "http" };
            let _ = self.guest.denied("http", format_args!("{scheme}://{}:{port}", authority.host()));
            return Err(Error::HttpRequestDenied);
        }
        let is_named = granted().any(|host| !host.is_wildcard());
        Ok(Target { is_tls, host: authority.host().to_owned(), port, is_named })
    }
}

/// `None` for a port that is no number.
fn port(authority: &Authority, is_tls: bool) -> Option<u16> {
    let given = authority.as_str().rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    match given {
        None | Some("") => Some(if is_tls { 443 } else { 80 }),
        Some(_) => authority.port_u16(),
    }
}

impl WasiHttpHooks for Http {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        static FILTER: LazyLock<ForbiddenHeaderFilter> = LazyLock::new(|| Arc::new(is_forbidden));
        FILTER.clone()
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let target = match self.target(request.uri()) {
            Ok(target) => target,
            Err(error) => return Box::new(std::future::ready(Err(error))),
        };
        let Ok(place) = self.outgoing.places.clone().try_acquire_owned() else {
            return Box::new(std::future::ready(Err(Error::ConnectionLimitReached)));
        };
        let timeouts = Timeouts::new(options, self.deadline.moment().saturating_duration_since(Instant::now()));
        let guest = self.guest.clone();
        Box::new(async move {
            let addresses = target.addresses(&guest, timeouts.connect).await?;
            connection::send(request, &target, &addresses, timeouts, place).await
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_PART_BYTES_MAX
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        if error.is_timeout() {
            ErrorCode::HttpResponseTimeout
        } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            ErrorCode::ConnectionTerminated
        } else {
            ErrorCode::HttpProtocolError
        }
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> ErrorCode {
        match error.kind() {
            std::io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
            std::io::ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
            _ => ErrorCode::DestinationUnavailable,
        }
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> ErrorCode {
        let is_certificate = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match is_certificate {
            Some(rustls::Error::InvalidCertificate(_)) => ErrorCode::TlsCertificateError,
            _ => ErrorCode::TlsProtocolError,
        }
    }
}

/// What belongs to a connection and not to a message: neither side of a guest sees or sets it. `Host` is told apart from the headers.
fn is_forbidden(name: &HeaderName) -> bool {
    const HOP_BY_HOP: [HeaderName; 6] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::HOST,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
    ];
    HOP_BY_HOP.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// Trusts the authorities that browsers trust, compiled in: a gateway's own disk says nothing of them.
fn tls() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.expect("ring speaks TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth())
    });
    CONFIG.clone()
}

/// At most `limit`, where the guest asked for something; else all of it.
fn at_most(asked: Option<Duration>, limit: Duration) -> Duration {
    asked.map_or(limit, |asked| asked.min(limit))
}
