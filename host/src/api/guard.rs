//! Requests that a browser makes for somebody else's page are refused before anything else is done, and every answer says that it is
//! neither to be guessed at nor to be kept.
//!
//! A page may have a browser send whatever it likes to whatever address it likes, with the cookie of whoever sits there. What gives it
//! away are headers that a page cannot set: `Sec-Fetch-Site`, `Origin`, and `Host`, where the page's own name was made to lead here.
//! Programs send none of the first two, and the name or address that they were given. Deliberately absent: CORS.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, HOST, ORIGIN, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use axum::response::Response;

use super::caller::Peer;
use super::error::ApiError;
use crate::telemetry::{OncePerSecond, printable};
use crate::tls::Identity;

/// By which names this gateway is called, besides addresses and `localhost`.
pub struct Guard {
    pub identity: Arc<Identity>,
    /// The machine's own, and those that were given.
    pub host_names: Vec<String>,
    pub refusals: OncePerSecond,
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a page of others may lead a browser to what a request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// To what people look at.
    Pages,
    /// What functions answer may do something, and only they know what.
    Nothing,
}

/// Lets requests pass that no other page can have made.
pub fn passed(guard: &Guard, request: Request) -> Result<Request, ApiError> {
    let peer = request.extensions().get::<Peer>();
    if matches!(peer, Some(Peer::Local)) {
        return Ok(request);
    }
    let is_tls = matches!(peer, Some(Peer::Remote { tls: true, .. }));
    let (head, body) = request.into_parts();
    guard.admit(&head, is_tls, Linked::Pages)?;
    Ok(Request::from_parts(head, body))
}

/// Every answer is marked so.
pub fn marked<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Guard {
    /// Refuses what a page of others can have made, and says so in the log.
    pub fn admit(&self, head: &Parts, is_tls: bool, linked: Linked) -> Result<(), ApiError> {
        self.check(head, is_tls, linked).inspect_err(|error| {
            if let Some(left_out) = self.refusals.turn() {
                tracing::warn!("a request was refused: {} ({left_out} more since the last line)", printable(error.message()));
            }
        })
    }

    fn check(&self, head: &Parts, is_tls: bool, linked: Linked) -> Result<(), ApiError> {
        framing(&head.headers)?;
        let host = host(&head.headers, head.version)?;
        for said in host.into_iter().chain(head.uri.authority().map(|authority| authority.as_str())) {
            let Some(parsed) = Host::parse(said) else {
                return Err(ApiError::bad_request(format!("`{}` is no host and port", printable(said))));
            };
            if !self.knows(&parsed) {
                return Err(forbidden(format!(
                    "`{}` is no name of this gateway: call it by its address, or start it with --host-name",
                    parsed.name
                )));
            }
        }
        if linked == Linked::Nothing || !is_page(&head.method, &head.uri) {
            site(&head.headers)?;
        }
        origin(&head.headers, host, is_tls)
    }

    fn knows(&self, host: &Host<'_>) -> bool {
        let name = host.name.strip_suffix('.').unwrap_or(host.name);
        host.is_address
            || name.eq_ignore_ascii_case("localhost")
            || self.host_names.iter().any(|own| own.eq_ignore_ascii_case(name))
            || self.identity.names(name)
    }
}

/// Where another reader could see the end of the body elsewhere.
fn framing(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).into_iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(ApiError::bad_request("the header `Transfer-Encoding` is not `chunked`, the only one that is understood")),
    }
}

/// The header `Host`, which HTTP/1.1 demands.
fn host(headers: &HeaderMap, version: Version) -> Result<Option<&str>, ApiError> {
    let mut hosts = headers.get_all(HOST).into_iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map(Some).map_err(|_| ApiError::bad_request("the header `Host` is not text")),
        (None, _) if version == Version::HTTP_10 => Ok(None),
        (None, _) => Err(ApiError::bad_request("the request names no host; add the header `Host`")),
        (Some(_), Some(_)) => Err(ApiError::bad_request("the request has more than one header `Host`")),
    }
}

fn site(headers: &HeaderMap) -> Result<(), ApiError> {
    let is_own = |site: &HeaderValue| site == "same-origin" || site == "none";
    if headers.get_all(SEC_FETCH_SITE).into_iter().all(is_own) {
        return Ok(());
    }
    Err(forbidden("the request was made by a page that is not this gateway's".to_owned()))
}

fn origin(headers: &HeaderMap, host: Option<&str>, is_tls: bool) -> Result<(), ApiError> {
    let scheme = if is_tls { "https" } else { "http" };
    let own = host.map(|host| format!("{scheme}://{host}"));
    let is_own = |origin: &HeaderValue| own.as_ref().is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(origin.as_bytes()));
    if headers.get_all(ORIGIN).into_iter().all(is_own) {
        return Ok(());
    }
    Err(forbidden("the request was made by a page of another origin than this gateway's".to_owned()))
}

/// What people look at, and programs do not.
fn is_page(method: &Method, uri: &Uri) -> bool {
    let path = uri.path();
    (path == "/" || path == "/docs" || path.starts_with("/docs/")) && (method == Method::GET || method == Method::HEAD)
}

fn forbidden(message: String) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, message)
}

/// A host name or address, and a port if there is one.
pub struct Host<'a> {
    /// An address of IPv6 is in its brackets.
    pub name: &'a str,
    pub port: Option<u16>,
    is_address: bool,
}

impl<'a> Host<'a> {
    /// Only what is a plain `host[:port]`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (name, port) = match text.rfind(':') {
            Some(at) if !text.ends_with(']') => (&text[..at], Some(port(&text[at + 1..])?)),
            _ => (text, None),
        };
        let is_address = match name.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().map(|_| true).ok()?,
            None => name.parse::<Ipv4Addr>().is_ok(),
        };
        (is_address || is_host_name(name)).then_some(Self { name, port, is_address })
    }
}

fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_plain && *port > 0)
}

fn is_host_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=253).contains(&name.len()) && name.bytes().all(is_plain)
}

/// A name that an option gives the gateway.
pub fn parse_host_name(name: &str) -> Result<String, String> {
    let is_name = is_host_name(name) && !name.starts_with('.');
    if is_name { Ok(name.to_owned()) } else { Err("expected a host name without a port, as in gateway.plant".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Seal;

    fn verdict(method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let data = tempfile::tempdir().unwrap();
        let identity = Identity::open(data.path(), &Arc::new(Seal::ephemeral()), &["named.plant".into()]).unwrap();
        let guard = Guard { identity: Arc::new(identity), host_names: vec!["Box-7".into()], refusals: OncePerSecond::default() };
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        guard.check(&head, true, Linked::Pages).map_or_else(|error| error.status().as_u16(), |()| 200)
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_else() {
        let parse = |text| Host::parse(text).map(|host| (host.name.to_owned(), host.port, host.is_address));
        assert_eq!(parse("gateway.plant:9999"), Some(("gateway.plant".into(), Some(9999), false)));
        assert_eq!(parse("127.0.0.1"), Some(("127.0.0.1".into(), None, true)));
        assert_eq!(parse("[::1]:80"), Some(("[::1]".into(), Some(80), true)));
        assert_eq!(parse("[::1]"), Some(("[::1]".into(), None, true)));
        for wrong in ["", ":80", "a:", "a:0", "a:+1", "a:65536", "a b", "a/b", "a@b", "a:1:2", "[::1", "[gw]", "::1", "a\\b", "a?b", "ä"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_own_names_lead_here() {
        for own in ["127.0.0.1:9999", "[::1]", "192.168.1.7", "localhost:9999", "LOCALHOST.", "box-7", "named.plant:9999"] {
            assert_eq!(verdict("POST", "/auth/login", &[("host", own)]), 200, "{own}");
        }
        for foreign in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:9999", "xnamed.plant"] {
            assert_eq!(verdict("GET", "/docs", &[("host", foreign)]), 403, "{foreign}");
        }
        assert_eq!(verdict("GET", "https://evil.example/", &[("host", "localhost")]), 403);
        assert_eq!(verdict("GET", "/", &[]), 400);
        assert_eq!(verdict("GET", "/", &[("host", "localhost"), ("host", "localhost")]), 400);
    }

    #[test]
    fn pages_of_others_get_nowhere() {
        let here = ("host", "10.0.0.7:9999");
        for (site, linked, called) in
            [("none", 200, 200), ("same-origin", 200, 200), ("same-site", 200, 403), ("cross-site", 200, 403), ("other", 200, 403)]
        {
            let headers = [here, ("sec-fetch-site", site)];
            assert_eq!(verdict("GET", "/docs/", &headers), linked, "{site}");
            for (method, path) in [("GET", "/openapi.json"), ("GET", "/ledge/v1/things"), ("POST", "/docs/"), ("OPTIONS", "/auth/login")] {
                assert_eq!(verdict(method, path, &headers), called, "{method} {path} from {site}");
            }
        }
        assert_eq!(verdict("POST", "/", &[here, ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]), 403);
        for (origin, expected) in [
            ("https://10.0.0.7:9999", 200),
            ("HTTPS://10.0.0.7:9999", 200),
            ("http://10.0.0.7:9999", 403),
            ("https://10.0.0.7", 403),
            ("https://10.0.0.7:9998", 403),
            ("https://evil.example", 403),
            ("null", 403),
            ("", 403),
        ] {
            assert_eq!(verdict("POST", "/auth/login", &[here, ("origin", origin)]), expected, "{origin}");
        }
    }

    #[test]
    fn names_that_are_given_have_no_port() {
        assert_eq!(parse_host_name("gateway.plant").unwrap(), "gateway.plant");
        for wrong in ["", ".plant", "gateway:9999", "https://gateway", "two words", "*"] {
            assert!(parse_host_name(wrong).is_err(), "{wrong}");
        }
    }
}
