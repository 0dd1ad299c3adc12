//! HTTP requests for functions: the policy of a call, and the answer, which may begin before the guest has ended.
//!
//! Nothing is spawned for a usual request: the connection polls the guest, and a guest that has ended by the time its answer begins is
//! gone then. One that goes on writing is polled by whoever reads the answer, so a slow reader holds up nobody but this guest.

mod answer;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use tokio::sync::oneshot;

use super::{Call, Failure, Function, InvokeError};
pub use answer::AnswerBody;

/// What a guest writes, as it writes it.
pub type GuestBody = UnsyncBoxBody<Bytes, BodyError>;
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request on its way to a guest, and where the guest's answer goes.
pub struct Exchange {
    pub request: Request<Incoming>,
    pub is_tls: bool,
    pub answer: Answering,
}

/// Takes the answer, or the error that the guest gave instead of one.
pub type Answering = oneshot::Sender<Result<Response<GuestBody>, String>>;

/// Why a request has no answer of its guest.
#[derive(Debug)]
pub enum Unanswered {
    NotStarted(InvokeError),
    Ended(Failure),
}

/// A guest under way.
type Guest = Pin<Box<dyn Future<Output = Result<(), Unanswered>> + Send>>;

/// Hands a request to a function, and waits until its answer begins.
pub async fn serve(function: Arc<Function>, request: Request<Incoming>, is_tls: bool) -> Result<Response<AnswerBody>, Unanswered> {
    let is_head = request.method() == Method::HEAD;
    let (answer, begun) = oneshot::channel();
    let guest: Guest = Box::pin(run(function.clone(), Exchange { request, is_tls, answer }));
    let mut race = Race { function: &function, guest: Some(guest), begun, response: None, is_silent: false };
    let (response, guest) = poll_fn(|context| race.poll(context)).await?;
    let (head, body) = response.into_parts();
    let body = if is_head { AnswerBody::default() } else { AnswerBody::new(&head, body, guest, function).await? };
    Ok(Response::from_parts(head, body))
}

/// As long as the guest runs, which may be beyond its answer.
async fn run(function: Arc<Function>, exchange: Exchange) -> Result<(), Unanswered> {
    let ended = admit_and_run(&function, exchange).await;
    match &ended {
        Ok(()) => function.metrics.done.inc(),
        Err(Unanswered::Ended(_)) => function.metrics.unhandled.inc(),
        Err(Unanswered::NotStarted(_)) => function.metrics.refused.inc(),
    };
    ended
}

async fn admit_and_run(function: &Arc<Function>, exchange: Exchange) -> Result<(), Unanswered> {
    let attempt = function.breaker.enter(&function.name)?;
    // As for an invocation: waiting for a place does not use up the call's own time.
    let allowed = Duration::from_millis(function.limits.deadline_ms);
    let place = function.gate.enter(&function.name, Instant::now() + allowed).await;
    let _place = place.map_err(|busy| function.refused("concurrency", busy))?;
    let began = Instant::now();
    let call = Call { path: function.path.clone(), ..Call::probe(began + allowed) };
    let ended = function.code.serve(function, call, exchange).await?;
    function.metrics.took(began.elapsed());
    match ended {
        Ok(()) => {
            attempt.succeeded(&function.name);
            function.note(None);
            Ok(())
        }
        Err(failure) => {
            attempt.failed(&function.name, &failure.message);
            function.note(Some(&failure.message));
            Err(Unanswered::Ended(failure))
        }
    }
}

/// The beginning of an answer, and the guest if it goes on.
type Begun = (Response<GuestBody>, Option<Guest>);

/// A guest and the beginning of its answer, whichever comes first.
struct Race<'f> {
    function: &'f Function,
    guest: Option<Guest>,
    begun: oneshot::Receiver<Result<Response<GuestBody>, String>>,
    /// What has begun while the guest goes on. It waits one turn: a guest that was only interrupted ends in that, and its answer is whole.
    response: Option<Response<GuestBody>>,
    /// The guest has dropped its chance to answer.
    is_silent: bool,
}

impl Race<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Begun, Unanswered>> {
        if let Some(guest) = &mut self.guest
            && let Poll::Ready(ended) = guest.as_mut().poll(context)
        {
            self.guest = None;
            // A guest that fails before anything of its answer is sent gets no other chance.
            ended?;
        }
        if let Some(response) = self.response.take() {
            return Poll::Ready(Ok((response, self.guest.take())));
        }
        if !self.is_silent {
            match Pin::new(&mut self.begun).poll(context) {
                Poll::Ready(Ok(Ok(response))) if self.guest.is_none() => return Poll::Ready(Ok((response, None))),
                Poll::Ready(Ok(Ok(response))) => {
                    self.response = Some(response);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(Err(error))) => return Poll::Ready(Err(failed(self.function, format!("answered with an error: {error}")))),
                Poll::Ready(Err(_)) => self.is_silent = true,
                Poll::Pending => {}
            }
        }
        // One that is silent may still go on to say why it failed.
        if self.guest.is_none() { Poll::Ready(Err(failed(self.function, "ended without an answer".to_owned()))) } else { Poll::Pending }
    }
}

/// For what only the answer shows: how a guest itself ended, its code tells.
fn failed(function: &Function, message: String) -> Unanswered {
    function.code.tell(None, &message);
    Unanswered::Ended(Failure { limit: None, message })
}

impl From<InvokeError> for Unanswered {
    fn from(error: InvokeError) -> Self {
        Self::NotStarted(error)
    }
}
