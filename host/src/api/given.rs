//! What a request gives besides its body: parts of its path, and its query. What is wrong there is a 400 as every other is.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The parts of the path that the route names.
pub struct InPath<T>(pub T);

pub struct InQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let given = Path::from_request_parts(parts, state).await;
        given.map(|Path(given)| Self(given)).map_err(|wrong| ApiError::bad_request(wrong.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let given = Query::from_request_parts(parts, state).await;
        given.map(|Query(given)| Self(given)).map_err(|wrong| ApiError::bad_request(wrong.body_text()))
    }
}
