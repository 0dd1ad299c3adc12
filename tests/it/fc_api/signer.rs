//! A client of Function Compute's API that signs, and what it sends.

use std::io::{Cursor, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName};
use ledge::cli::client::{Answer, Client};
use ring::hmac;
use serde_json::Value as Json;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::harness::TestGateway;
use crate::harness::client::json as body_of;

/// A client that signs, written from the description of the signature.
pub struct Signer {
    pub client: Client,
    pub id: String,
    pub secret: String,
}

/// What of a request is not as its signer means it.
#[derive(Default)]
pub struct Wrong<'a> {
    pub date: Option<String>,
    pub body: Option<&'a [u8]>,
    pub path: Option<&'a str>,
    pub headers: &'a [(&'a str, &'a str)],
}

impl Signer {
    pub async fn of(gw: &TestGateway, user: &str) -> Self {
        let answer = gw.admin().send(Method::POST, &format!("/ledge/v1/users/{user}/access-keys"), &[], "".into()).await.unwrap();
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        let key = body_of(&answer);
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        Self { client: gw.stranger(), id: text("id"), secret: text("secret") }
    }

    fn sign(&self, method: &Method, path: &str, md5: &str, date: &str, own: &[(&str, &str)]) -> String {
        let own: String = own.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let text = format!("{method}\n{md5}\napplication/json\n{date}\n{own}{path}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        format!("FC {}:{}", self.id, STANDARD.encode(hmac::sign(&key, text.as_bytes())))
    }

    /// The headers of a request with this body, but for its own.
    pub fn headers(&self, method: &Method, path: &str, body: &[u8], date: String, own: &[(&str, &str)]) -> [(HeaderName, String); 4] {
        use md5::Digest;
        let md5: String = md5::Md5::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let signed_path = path.split('?').next().unwrap();
        let signed_path = percent_encoding::percent_decode_str(signed_path).decode_utf8().unwrap();
        [
            (AUTHORIZATION, self.sign(method, &signed_path, &md5, &date, own)),
            (CONTENT_TYPE, "application/json".into()),
            (DATE, date),
            (HeaderName::from_static("content-md5"), md5),
        ]
    }

    pub async fn send_but(&self, method: Method, path: &str, body: impl Into<Bytes>, own: &[(&str, &str)], wrong: Wrong<'_>) -> Answer {
        let body: Bytes = body.into();
        let signed = self.headers(&method, path, &body, wrong.date.unwrap_or_else(|| date(0)), own);
        let mut headers: Vec<(HeaderName, &str)> = signed.iter().map(|(name, value)| (name.clone(), value.as_str())).collect();
        headers.extend(own.iter().chain(wrong.headers).map(|(name, value)| (name.parse().unwrap(), *value)));
        let body = wrong.body.map_or(body, Bytes::copy_from_slice);
        self.client.send(method, wrong.path.unwrap_or(path), &headers, body).await.unwrap()
    }

    pub async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send_but(method, path, body, &[], Wrong::default()).await
    }

    /// With a path below the version of the API, and JSON both ways.
    pub async fn ask(&self, method: Method, path: &str, body: Json) -> (u16, Json) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send(method, &format!("/2016-08-15{path}"), body).await;
        assert_eq!(answer.headers["x-fc-request-id"].len(), 36);
        let said = if answer.body.is_empty() { Json::Null } else { body_of(&answer) };
        (answer.status.as_u16(), said)
    }

    /// The same of what goes well.
    pub async fn done(&self, method: Method, path: &str, body: Json) -> Json {
        let (status, said) = self.ask(method.clone(), path, body).await;
        assert!(status == 200 || status == 204, "{method} {path}: {status} {said}");
        said
    }

    /// The status and the code of what is refused.
    pub async fn refused(&self, method: Method, path: &str, body: Json) -> (u16, String) {
        let (status, said) = self.ask(method, path, body).await;
        assert!(!said["ErrorMessage"].as_str().unwrap().is_empty());
        (status, said["ErrorCode"].as_str().unwrap().to_owned())
    }
}

/// The time so many minutes from now, as HTTP has it.
pub fn date(minutes: i64) -> String {
    let moment = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
    moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

pub fn zipped(members: &[(&str, &[u8])]) -> String {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    STANDARD.encode(zip.finish().unwrap().into_inner())
}
