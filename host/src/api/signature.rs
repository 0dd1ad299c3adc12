//! Requests that are signed with an access key, as Function Compute's are: `Authorization: FC <id>:<signature>`.
//!
//! What is signed is in `auth::signature`: of the body only a `Content-MD5`, where the request has one. It is held against the body here.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, DATE};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use crate::auth::signature::{CONTENT_MD5, signed_text, text_of};
use crate::auth::{Auth, SIGNATURE_AGE_MAX, SignatureError, User};
use crate::schedule;

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
    if is_ambiguous(head.uri) {
        return Err(ApiError::bad_request("the path of a signed request has an escaped `/`, or it or the query what is no plain text"));
    }
    let signature = STANDARD.decode(signature).unwrap_or_default();
    let text = signed_text(head.method, head.uri, head.headers);
    // Where there is no query, its place may be left out.
    let without_query = text.strip_suffix('\n').filter(|_| head.uri.query().is_none_or(str::is_empty));
    let texts = [Some(text.as_str()), without_query];
    let tried = texts.into_iter().flatten().map(|text| auth.signed(key_id, signed_ms, text.as_bytes(), &signature));
    let checked = tried.reduce(|first, second| first.or(second)).unwrap_or(Err(SignatureError::Wrong));
    checked.map_err(|error| match error {
        SignatureError::Wrong => denied("no access key of this id made this signature for this request; are the id and the secret right?"),
        SignatureError::Time { now_ms } => denied(&format!(
            "the header `Date` is more than {} minutes from the time of this gateway, {}; set the clock that is wrong",
            SIGNATURE_AGE_MAX.as_secs() / 60,
            schedule::iso(now_ms)
        )),
    })
}

/// Whether what is signed of it, which is unescaped, could be that of another request.
fn is_ambiguous(uri: &Uri) -> bool {
    let [path, query] = [uri.path(), uri.query().unwrap_or_default()].map(|text| percent_decode_str(text).collect::<Vec<u8>>());
    let slashes = |text: &[u8]| text.iter().filter(|byte| **byte == b'/').count();
    let is_plain = |text: &[u8]| std::str::from_utf8(text).is_ok() && !text.iter().any(u8::is_ascii_control);
    slashes(&path) != slashes(uri.path().as_bytes()) || !is_plain(&path) || !is_plain(&query)
}

fn denied(why: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, why).with_code("SignatureNotMatch")
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
