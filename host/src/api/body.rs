//! Bodies, read whole within a limit and a time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::error::ApiError;
use crate::limit::BODY_BYTES_MAX;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What is read and thrown away of a body that is too large.
const DRAIN_BYTES_MAX: usize = 128 << 20;

pub async fn read(body: Body) -> Result<Bytes, ApiError> {
    read_at_most(body, BODY_BYTES_MAX).await
}

pub async fn read_at_most(mut body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let read = async {
        let whole = Limited::new(&mut body, bytes_max).collect().await;
        if whole.as_ref().is_err_and(|error| error.is::<LengthLimitError>()) {
            drain(&mut body).await;
        }
        whole
    };
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(ApiError::bad_request(format!("the body is larger than {bytes_max} bytes, the most that is taken here")))
        }
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
        Err(_) => Err(ApiError::bad_request(format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()))),
    }
}

/// Lets a client finish what it is sending: one whose connection is closed while it sends never sees the answer.
async fn drain(body: &mut Body) {
    let mut left = DRAIN_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if bytes > left {
            return;
        }
        left -= bytes;
    }
}
