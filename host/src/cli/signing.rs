//! Signing requests with an access key, as the vendor's client of Function Compute does.

use anyhow::bail;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue};
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use crate::auth::signature::{CONTENT_MD5, sign};
use crate::clock::Clock;
use crate::schedule::to_http_date;

const ID: &str = "LEDGE_ACCESS_KEY_ID";
const SECRET: &str = "LEDGE_ACCESS_KEY_SECRET";

/// An access key as the environment has it: half of one, perhaps. It has no `Debug`.
#[derive(Clone, Default)]
pub struct AccessKey {
    id: Option<String>,
    secret: Option<Zeroizing<String>>,
}

/// It has no `Debug`.
#[derive(Clone)]
pub struct KeyPair {
    pub id: String,
    pub secret: Zeroizing<String>,
}

impl AccessKey {
    pub fn of_environment() -> Self {
        let of = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { id: of(ID), secret: of(SECRET).map(Zeroizing::new) }
    }

    /// Both halves, or neither.
    pub fn pair(&self) -> anyhow::Result<Option<KeyPair>> {
        match (&self.id, &self.secret) {
            (Some(id), Some(secret)) => Ok(Some(KeyPair { id: id.clone(), secret: secret.clone() })),
            (None, None) => Ok(None),
            (Some(_), None) => bail!("{ID} is set and {SECRET} is not: an access key has both"),
            (None, Some(_)) => bail!("{SECRET} is set and {ID} is not: an access key has both"),
        }
    }
}

impl KeyPair {
    /// Its body is signed too, by its MD5 sum.
    pub fn sign(&self, request: &mut Request<Full<Bytes>>, body: &[u8]) -> anyhow::Result<()> {
        let md5: String = Md5::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = request.headers_mut();
        headers.insert(HeaderName::from_static(CONTENT_MD5), HeaderValue::from_str(&md5)?);
        headers.insert(DATE, HeaderValue::from_str(&to_http_date(Clock::system().unix_ms()))?);
        let authorization = sign(&self.id, &self.secret, request.method(), request.uri(), request.headers());
        let mut value = HeaderValue::from_str(&authorization)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }
}
