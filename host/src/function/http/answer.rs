//! The body of an answer: whole at once where the guest has ended already, else as the guest writes it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::CONTENT_LENGTH;
use hyper::http::response::Parts;

use super::super::{Failure, Function};
use super::{Guest, GuestBody, Unanswered, failed};
use crate::telemetry::printable;

#[derive(Default)]
pub struct AnswerBody {
    /// What can be sent already. The first is apart, since most answers have no second.
    first: Option<Bytes>,
    queued: VecDeque<Frame<Bytes>>,
    live: Option<Box<Live>>,
}

/// A body that the guest has not ended yet.
struct Live {
    body: GuestBody,
    guest: Option<Guest>,
    function: Arc<Function>,
    /// Bytes that the head promised and that were not sent yet.
    promised: Option<u64>,
    is_complete: bool,
    is_cut: bool,
    /// The connection had a turn to send what came before the cut.
    has_paused: bool,
}

/// Ends a connection in the middle of an answer, so that nobody takes a part of it for all of it.
#[derive(Debug, thiserror::Error)]
#[error("the function's answer broke off")]
pub struct Cut;

impl AnswerBody {
    pub(super) async fn new(head: &Parts, mut body: GuestBody, guest: Option<Guest>, function: Arc<Function>) -> Result<Self, Unanswered> {
        let mut answer = Self::default();
        if guest.is_none() {
            // All that it wrote is here: no frame is waited for.
            let ended = std::future::poll_fn(|context| Poll::Ready(answer.take_ready(&mut body, context))).await;
            if ended.map_err(|error| failed(&function, format!("broke its answer off: {error}")))? {
                return Ok(answer);
            }
        }
        let promised = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        answer.live = Some(Box::new(Live { body, guest, function, promised, is_complete: false, is_cut: false, has_paused: false }));
        Ok(answer)
    }

    /// Whether that was all.
    fn take_ready(&mut self, body: &mut GuestBody, context: &mut Context<'_>) -> Result<bool, super::BodyError> {
        loop {
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Ready(None) => return Ok(true),
                Poll::Ready(Some(frame)) => match frame?.into_data() {
                    Ok(data) if self.first.is_none() && self.queued.is_empty() => self.first = Some(data),
                    Ok(data) => self.queued.push_back(Frame::data(data)),
                    Err(trailers) => self.queued.push_back(trailers),
                },
                Poll::Pending => return Ok(false),
            }
        }
    }
}

impl From<String> for AnswerBody {
    fn from(text: String) -> Self {
        Self { first: Some(text.into()), ..Self::default() }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if let Some(frame) = self.queued.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.live {
            Some(live) => live.poll(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.queued.is_empty() && self.live.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, Bytes::len);
        let queued: usize = self.queued.iter().filter_map(|frame| Some(frame.data_ref()?.len())).sum();
        let here = (first + queued) as u64;
        if self.live.is_none() && self.queued.iter().all(Frame::is_data) {
            return SizeHint::with_exact(here);
        }
        let mut more = SizeHint::new();
        more.set_lower(here);
        more
    }
}

impl Live {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.has_paused {
            return Poll::Ready(Some(Err(Cut)));
        }
        if let Some(guest) = &mut self.guest
            && let Poll::Ready(ended) = guest.as_mut().poll(context)
        {
            self.guest = None;
            if let Err(error) = ended {
                self.tell(&error);
                self.is_cut = true;
            }
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.promised = self.promised.map(|promised| promised.saturating_sub(bytes));
                Poll::Ready(Some(Ok(frame)))
            }
            // A guest that was ended in the middle leaves a body that looks complete.
            Poll::Ready(None) if !self.is_cut => {
                self.is_complete = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.tell(&Unanswered::Ended(Failure { limit: None, message: format!("broke its answer off: {error}") }));
                self.pause(context)
            }
            Poll::Pending if !self.is_cut => Poll::Pending,
            _ => self.pause(context),
        }
    }

    /// Before the cut. hyper throws away what it has not sent when a body fails, the head of the answer too; it sends it when the
    /// body has nothing for it.
    fn pause(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.has_paused = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn tell(&self, error: &Unanswered) {
        let name = &self.function.name;
        if let Unanswered::Ended(Failure { message, .. }) = error {
            let message = printable(message);
            tracing::warn!(function.name = %name, "function `{name}` {message}; its answer had begun, so the connection is cut");
        }
    }
}

impl Drop for Live {
    /// A guest whose answer is out may finish its work, within its deadline. One whose reader went away is dropped.
    fn drop(&mut self) {
        let is_out = self.is_complete || self.promised == Some(0);
        if let Some(guest) = self.guest.take().filter(|_| is_out)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let name = self.function.name.clone();
            runtime.spawn(async move {
                if let Err(Unanswered::Ended(Failure { message, .. })) = guest.await {
                    tracing::warn!(function.name = %name, "function `{name}` {}, after its answer", printable(&message));
                }
            });
        }
    }
}
