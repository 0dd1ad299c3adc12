//! Large bodies: so many are in memory at once, wherever they come in. A body is not read before there is a place for it, and the place is
//! held for as long as what was in it is.
//!
//! A component takes up to four times its size while it is unpacked, and a set a few times its own.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::body;
use super::error::ApiError;
use crate::limit::BODY_BYTES_MAX;

/// Large bodies of one kind at once.
const PLACES: usize = 2;
/// How long one may wait for a place.
const WAIT: Duration = Duration::from_secs(10);
const RETRY_S: u64 = 5;

/// The places of one kind of large bodies.
pub struct Uploads(Arc<Semaphore>);

/// Leave to have one of them in memory.
pub struct Place(#[allow(dead_code, reason = "it is held")] OwnedSemaphorePermit);

/// A body, and its place if it is so large that it needs one.
pub struct Upload {
    pub bytes: Bytes,
    pub place: Option<Place>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

impl Uploads {
    pub async fn place(&self) -> Result<Place, ApiError> {
        match timeout(WAIT, self.0.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place(permit)),
            _ => Err(ApiError::later(format!("{PLACES} others are being uploaded, as many as may be at once: try again"), RETRY_S)),
        }
    }

    pub async fn read(&self, mut body: Body, bytes_max: usize) -> Result<Upload, ApiError> {
        let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= BODY_BYTES_MAX as u64);
        let place = match if is_small { None } else { Some(self.place().await) } {
            None => None,
            Some(Ok(place)) => Some(place),
            Some(Err(error)) => {
                body::drain_at_most(&mut body, bytes_max).await;
                return Err(error);
            }
        };
        Ok(Upload { bytes: body::read_at_most(body, bytes_max).await?, place })
    }
}

/// Work that takes a while, away from the threads that serve others. Not ended by the end of its request.
pub async fn blocking<T: Send + 'static>(what: &str, work: impl FnOnce() -> Result<T, ApiError> + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(what, &error.into()))?
}
