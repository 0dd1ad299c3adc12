//! The envelope of OpenAPI v1 (manual 3.3, 3.4): `{"request": ..., "params": {...}}` in, `{"code", "message", "data"}` out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::error::ApiError;
use super::{Api, body, spaced_json};
use crate::limit::BODY_BYTES_MAX;
use crate::name::ThingId;

/// The member `params` of a request. The body is JSON whatever its Content-Type says: the manual's curl lines send
/// form-urlencoded.
pub struct Params(Map<String, Json>);

impl FromRequest<Arc<Api>> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, _: &Arc<Api>) -> Result<Self, ApiError> {
        Self::read(request.into_body(), BODY_BYTES_MAX).await
    }
}

/// The parameters of a request that anybody may send: small, so that strangers cannot fill the memory.
pub struct StrangersParams(pub Params);

/// A user name and a password, with room to spare.
const STRANGERS_BODY_BYTES_MAX: usize = 4_096;

impl FromRequest<Arc<Api>> for StrangersParams {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, _: &Arc<Api>) -> Result<Self, ApiError> {
        Params::read(request.into_body(), STRANGERS_BODY_BYTES_MAX).await.map(Self)
    }
}

impl Params {
    async fn read(body: Body, bytes_max: usize) -> Result<Self, ApiError> {
        Self::parse(&body::read_at_most(body, bytes_max).await?)
    }

    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut envelope: Json =
            serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))?;
        match envelope.get_mut("params").map(Json::take) {
            Some(Json::Object(params)) => Ok(Self(params)),
            Some(_) => Err(ApiError::bad_request("`params` must be an object")),
            None => {
                Err(ApiError::bad_request("the body has no `params`; expected {\"request\": {\"apiVer\": \"0.6\"}, \"params\": {...}}"))
            }
        }
    }
}

impl Params {
    /// A member that may be missing; `null` counts as missing. The manual writes some names in two ways, so case counts for nothing where
    /// no member has the name as it is.
    pub fn get(&self, name: &str) -> Option<&Json> {
        in_any_case(&self.0, name)
    }

    /// One of these words, if the member is there.
    pub fn one_of<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let said = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let found = words.iter().find(|(word, _)| *word == said).map(|(_, meaning)| *meaning);
        let expected = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| ApiError::bad_request(format!("`params.{name}` is `{said}`; expected one of {}", expected())))
    }

    /// Tags that are all to fit: `{"key": "value"}`, `["key:value"]`, or one of these as text.
    pub fn tags(&self, name: &str) -> Result<Vec<(String, String)>, ApiError> {
        let wrong = || {
            let expected = "{\"key\": \"value\"} or [\"key:value\"]";
            ApiError::bad_request(format!("`params.{name}` is no list of tags; expected {expected}"))
        };
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let read = match value {
            Json::String(text) => serde_json::from_str(text).unwrap_or_else(|_| Json::Array(vec![value.clone()])),
            other => other.clone(),
        };
        let pair = |text: &str| text.split_once(':').map(|(key, value)| (key.to_owned(), value.to_owned()));
        match read {
            Json::Object(tags) => tags.into_iter().map(|(key, value)| Some((key, value.as_str()?.to_owned()))).collect::<Option<_>>(),
            Json::Array(tags) => tags.iter().map(|tag| pair(tag.as_str()?)).collect(),
            _ => None,
        }
        .ok_or_else(wrong)
    }

    pub fn text(&self, name: &str) -> Result<&str, ApiError> {
        match self.get(name) {
            Some(Json::String(text)) => Ok(text),
            Some(_) => Err(ApiError::bad_request(format!("`params.{name}` must be text"))),
            None => Err(ApiError::bad_request(format!("`params.{name}` is missing"))),
        }
    }

    /// A whole number, as a number or as text: the manual is not of one mind.
    pub fn whole(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let of_float =
            || value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=1e15).contains(number)).map(|number| number as u64);
        let number = value.as_u64().or_else(of_float).or_else(|| value.as_str()?.parse().ok());
        number.map(Some).ok_or_else(|| ApiError::bad_request(format!("`params.{name}` must be a whole number, 0 or more")))
    }

    pub fn object(&self, name: &str) -> Result<&Map<String, Json>, ApiError> {
        match self.get(name) {
            Some(Json::Object(object)) => Ok(object),
            Some(_) => Err(ApiError::bad_request(format!("`params.{name}` must be an object"))),
            None => Err(ApiError::bad_request(format!("`params.{name}` is missing"))),
        }
    }

    pub fn thing(&self) -> Result<ThingId, ApiError> {
        Ok(ThingId::new(self.text("productKey")?, self.text("deviceName")?))
    }
}

/// The member of this name, or else of one that differs in case.
pub fn in_any_case<'a>(members: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    let differs = || members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    members.get(name).or_else(differs).filter(|value| !value.is_null())
}

/// The answer when all went well.
pub fn success<D: Serialize>(data: D) -> spaced_json::Body<Success<D>> {
    spaced_json::Body(Success { code: 200, message: "success", data })
}

#[derive(Serialize)]
pub struct Success<D> {
    code: u16,
    message: &'static str,
    data: D,
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_body_is_an_envelope_or_is_refused(body in r#"\{"(params|request)": ?[\[{"]?("[a-z]{0,3}"[:,] ?(1|-1|"9{0,30}"|null|\[|\{|\}|"x"),?){0,3}[\]}"]?\}"#) {
            check(body.as_bytes());
        }

        #[test]
        fn any_bytes_are_an_envelope_or_are_refused(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            check(&body);
        }

        #[test]
        fn nesting_without_end_is_refused(depth in 1_000_usize..100_000) {
            let is_refused = Params::parse(format!("{{\"params\":{}", "[".repeat(depth)).as_bytes()).is_err();
            proptest::prop_assert!(is_refused);
        }
    }

    fn check(body: &[u8]) {
        let Ok(params) = Params::parse(body) else { return };
        for name in ["", "a", "productKey", "x"] {
            let _ = (params.text(name), params.whole(name), params.object(name), params.thing());
            assert!(params.get(name).is_none_or(|value| !value.is_null()));
        }
    }
}
