//! Requests that are signed with an access key, as Function Compute's are: `Authorization: FC <id>:<signature>`.
//!
//! The signature is of the method, some headers and the path; of the body only where the request has a `Content-MD5`, which is then held
//! against it. Below `/2016-08-15/` queries are not signed, but for its `proxy`: the vendor's client does not sign them. Elsewhere they are.

use std::borrow::Cow;
use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use crate::auth::{Auth, SIGNATURE_AGE_MAX, SignatureError, User};
use crate::schedule;

const CONTENT_MD5: &str = "content-md5";

/// What of a request can say who sent it.
pub struct Head<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
}

impl<'a, B> From<&'a Request<B>> for Head<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self { method: request.method(), uri: request.uri(), headers: request.headers() }
    }
}

/// The id of the key and the signature, if the request is signed.
fn credentials(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = header.split_at_checked(3)?;
    scheme.eq_ignore_ascii_case("FC ").then(|| rest.trim())
}

pub fn is_signed(headers: &HeaderMap) -> bool {
    credentials(headers).is_some()
}

/// Who signed a request.
pub fn check(auth: &Auth, head: &Head) -> Result<User, ApiError> {
    let given = credentials(head.headers).and_then(|given| given.split_once(':'));
    let (key_id, signature) = given.ok_or_else(|| ApiError::bad_request("Authorization: expected `FC <id>:<signature>`"))?;
    let date = text_of(head.headers, DATE.as_str());
    let wrong_date = || {
        ApiError::bad_request(format!(
            "the header `Date` is `{}`, and a signed request needs the time, as in `Sun, 06 Nov 1994 08:49:37 GMT`",
            date.escape_debug()
        ))
        .with_code("MissingRequiredHeader")
    };
    let signed_ms = schedule::http_date(date).ok_or_else(wrong_date)?;
    let signature = STANDARD.decode(signature).unwrap_or_default();
    auth.signed(key_id, signed_ms, text(head).as_bytes(), &signature).map_err(|error| match error {
        SignatureError::Wrong => denied("no access key of this id made this signature for this request"),
        SignatureError::Time { now_ms } => denied(&format!(
            "the header `Date` is more than {} minutes from the time of this gateway, {}; set the clock that is wrong",
            SIGNATURE_AGE_MAX.as_secs() / 60,
            schedule::iso(now_ms)
        )),
    })
}

fn denied(why: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, why).with_code("SignatureNotMatch")
}

/// What is signed.
fn text(head: &Head) -> String {
    let Head { method, uri, headers } = head;
    let [md5, kind, date] = [CONTENT_MD5, CONTENT_TYPE.as_str(), DATE.as_str()].map(|name| text_of(headers, name));
    let mut text = format!("{method}\n{md5}\n{kind}\n{date}\n");
    let mut own: Vec<&str> = headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-fc-")).collect();
    own.sort_unstable();
    for name in own {
        let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let _ = writeln!(text, "{name}:{}", values.join(","));
    }
    text.push_str(&unescaped(uri.path()));
    let are_queries_signed = !uri.path().starts_with("/2016-08-15/") || uri.path().starts_with("/2016-08-15/proxy/");
    if are_queries_signed {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let mut lines: Vec<String> = pairs.map(|pair| unescaped(&pair.replace('+', " ")).into_owned()).collect();
        lines.sort_unstable();
        text.push('\n');
        text.push_str(&lines.join("\n"));
    }
    text
}

fn unescaped(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A body that fails at its end if it is not the one of the `Content-MD5` that was signed.
pub struct Checked {
    body: Body,
    seen: Md5,
    /// Until it was compared.
    wanted: Option<[u8; 16]>,
}

/// Makes whoever reads the body find out whether it is the one that was signed.
pub fn checked(headers: &HeaderMap, body: Body) -> Result<Body, ApiError> {
    let Some(given) = headers.get(CONTENT_MD5) else { return Ok(body) };
    let wanted = given.to_str().ok().and_then(parse_md5);
    let wrong = || ApiError::bad_request("Content-MD5: expected an MD5 sum, as 32 hex digits or in base64");
    Ok(Body::new(Checked { body, seen: Md5::new(), wanted: Some(wanted.ok_or_else(wrong)?) }))
}

/// The original's clients send hex digits; HTTP has base64.
fn parse_md5(text: &str) -> Option<[u8; 16]> {
    match text.len() {
        32 => u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes),
        _ => STANDARD.decode(text).ok()?.try_into().ok(),
    }
}

impl hyper::body::Body for Checked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data| self.seen.update(data)),
            Some(Err(_)) => {}
            None => {
                let seen: [u8; 16] = self.seen.finalize_reset().into();
                if self.wanted.take().is_some_and(|wanted| wanted != seen) {
                    return Poll::Ready(Some(Err(axum::Error::new("its MD5 sum is not that of the header `Content-MD5`"))));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
