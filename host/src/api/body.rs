//! Bodies, read whole within a limit and a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::EXPECT;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use crate::limit::BODY_BYTES_MAX;

/// How long a client may take to send a body, or each MiB of a larger one.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
const PIECE_BYTES: usize = 1 << 20;

/// How long a client that is refused may take to send the rest.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);
/// What is read and thrown away of a body that is too large.
const DRAIN_BYTES_MAX: usize = 128 << 20;

pub async fn read(body: Body) -> Result<Bytes, ApiError> {
    read_at_most(body, BODY_BYTES_MAX).await
}

/// What a body says in JSON.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the body is wrong: {error}")))
}

pub async fn read_at_most(mut body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let too_large = || ApiError::bad_request(format!("the body is larger than {bytes_max} bytes, the most that is taken here"));
    if body.size_hint().lower() > bytes_max as u64 {
        // It comes back to whoever lent it.
        return Err(too_large());
    }
    let began = Instant::now();
    let mut whole = Vec::new();
    loop {
        let next = timeout_at(due(began, whole.len()), body.frame()).await;
        match next {
            Ok(None) => return Ok(whole.into()),
            Ok(Some(Ok(frame))) => {
                let Ok(bytes) = frame.into_data() else { continue };
                if whole.len() + bytes.len() > bytes_max {
                    return Err(too_large());
                }
                if whole.is_empty() && body.is_end_stream() {
                    return Ok(bytes);
                }
                whole.extend_from_slice(&bytes);
            }
            Ok(Some(Err(error))) => return Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
            Err(_) => return Err(ApiError::bad_request(format!("the body did not arrive within {} s", began.elapsed().as_secs()))),
        }
    }
}

/// When the next part must be here.
fn due(began: Instant, bytes: usize) -> Instant {
    let pieces = u32::try_from(bytes / PIECE_BYTES).unwrap_or(u32::MAX - 1) + 1;
    began + BODY_TIMEOUT * pieces
}

/// The body of a request while somebody else has it.
pub struct Lent(Arc<Mutex<Option<Body>>>);

/// Lends the body of a request, which comes back if it is let go of before its end. One whose client waits to be told to send it is not
/// sent if nobody wants it.
pub fn lend(request: &mut Request) -> Option<Lent> {
    let waits = request.headers().contains_key(EXPECT);
    let body = request.body_mut();
    if waits || body.is_end_stream() {
        return None;
    }
    let lent = Lent(Arc::default());
    let borrowed = Borrowed { body: Some(std::mem::take(body)), back: lent.0.clone() };
    *body = Body::new(borrowed);
    Some(lent)
}

impl Lent {
    /// Reads what is left of a body that nobody wants, so that its client sees the answer: one whose connection is closed while it sends does
    /// not. If that is soon over, the connection can be used again.
    pub async fn finish(self) {
        let back = self.0.lock().take();
        if let Some(mut body) = back {
            drain(&mut body, Instant::now() + FINISH_TIMEOUT, DRAIN_BYTES_MAX).await;
        }
    }
}

struct Borrowed {
    /// Gone once it failed: what comes after that is nobody's.
    body: Option<Body>,
    back: Arc<Mutex<Option<Body>>>,
}

impl HttpBody for Borrowed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        *self.back.lock() = self.body.take().filter(|body| !body.is_end_stream());
    }
}

/// Reads a large body, of which nothing was read and nothing is wanted, so that its client sees the answer.
pub async fn drain_at_most(body: &mut Body, bytes_max: usize) {
    drain(body, due(Instant::now(), bytes_max), DRAIN_BYTES_MAX).await;
}

/// Lets a client finish what it is sending: one whose connection is closed while it sends never sees the answer.
async fn drain(body: &mut Body, until: Instant, bytes_max: usize) {
    let mut left = bytes_max;
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if bytes > left {
            return;
        }
        left -= bytes;
    }
}
