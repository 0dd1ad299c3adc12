//! Bodies, read whole within a limit and a time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::error::ApiError;
use crate::limit::BODY_BYTES_MAX;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub async fn read(body: Body) -> Result<Bytes, ApiError> {
    read_at_most(body, BODY_BYTES_MAX).await
}

pub async fn read_at_most(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await;
    match whole {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(ApiError::bad_request(format!("the body is larger than {bytes_max} bytes, the most that is taken here")))
        }
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
        Err(_) => Err(ApiError::bad_request(format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()))),
    }
}
