//! What an access key signs of a request, as Function Compute's do: its method, some headers and its path, and of the body only the
//! `Content-MD5` of the request.
//!
//! Below `/2016-08-15/services` queries are not signed: the vendor's client does not sign them. Elsewhere they are.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONTENT_TYPE, DATE};
use hyper::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use ring::hmac::{self, HMAC_SHA256};

pub const CONTENT_MD5: &str = "content-md5";

/// The value of `Authorization` for a request that has all its other headers.
pub fn sign(key_id: &str, secret: &str, method: &Method, uri: &Uri, headers: &HeaderMap) -> String {
    let key = hmac::Key::new(HMAC_SHA256, secret.as_bytes());
    format!("FC {key_id}:{}", STANDARD.encode(hmac::sign(&key, signed_text(method, uri, headers).as_bytes())))
}

pub fn signed_text(method: &Method, uri: &Uri, headers: &HeaderMap) -> String {
    let [md5, kind, date] = [CONTENT_MD5, CONTENT_TYPE.as_str(), DATE.as_str()].map(|name| text_of(headers, name));
    let mut text = format!("{method}\n{md5}\n{kind}\n{date}\n");
    let mut own: Vec<&str> = headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-fc-")).collect();
    own.sort_unstable();
    for name in own {
        let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let _ = writeln!(text, "{name}:{}", values.join(","));
    }
    text.push_str(&unescaped(uri.path()));
    if !are_queries_free(uri.path()) {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let mut lines: Vec<String> = pairs.map(|pair| unescaped(&pair.replace('+', " ")).into_owned()).collect();
        lines.sort_unstable();
        text.push('\n');
        text.push_str(&lines.join("\n"));
    }
    text
}

fn are_queries_free(path: &str) -> bool {
    path.strip_prefix("/2016-08-15/services").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn unescaped(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

pub fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
