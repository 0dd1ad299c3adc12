//! Invocation of functions (FACTS 2.4, 5.2): the body is the event, the answer's body is the result.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::caller::Caller;
use super::error::ApiError;
use super::given::InPath;
use super::{Api, body, spaced_json};
use crate::function::{Invocation, InvokeError, Outcome};
use crate::limit::EVENT_BYTES_MAX;
use crate::name::FunctionName;
use crate::queue::QueueError;
use crate::queue::job::{Ended, Job, Status, check_key};

const INVOCATION_TYPE: &str = "x-fc-invocation-type";
const IDEMPOTENCY_KEY: &str = "x-fc-idempotency-key";
/// Marks the answer about an invocation that was accepted before.
const DUPLICATE: HeaderName = HeaderName::from_static("x-ledge-duplicate");
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-fc-request-id");
pub const ERROR_TYPE: HeaderName = HeaderName::from_static("x-fc-error-type");

/// Invokes a function: the body is its event, the answer's its result. Of one that failed, the answer has the header `X-Fc-Error-Type`, and
/// says in JSON how.
#[utoipa::path(
    post,
    path = "/2020-04-30/functions/{arn}/invocations",
    tag = "functions",
    operation_id = "invoke_invoke",
    security(("session" = ["functions.invoke"])),
    params(
        ("arn" = String, Path),
        ("X-Fc-Invocation-Type" = inline(Option<Kind>), Header, description = "`Sync` waits for the result"),
        ("X-Fc-Idempotency-Key" = Option<String>, Header, description = "of an asynchronous invocation, which is made once", max_length = 128),
    ),
    request_body(content = Option<String>, content_type = "application/octet-stream", example = "hello"),
    responses(
        (status = 200, content((String = "application/octet-stream"), (Failed = "application/json"))),
        (status = 202, description = "the invocation is on disk"),
        (status = 500),
    ),
)]
pub async fn invoke(
    State(api): State<Arc<Api>>,
    _: Caller,
    arn: InPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let InPath(arn) = arn;
    let name = FunctionName::from_arn(&arn).map_err(|wrong| ApiError::bad_request(wrong.to_string()))?;
    answer(&api, name, &headers, body).await
}

/// Invokes a function as the headers say.
pub async fn answer(api: &Arc<Api>, name: FunctionName, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
    let kind = headers.get(INVOCATION_TYPE).map_or(Ok("Sync"), HeaderValue::to_str).unwrap_or("?");
    let is_async = match kind {
        "Sync" => false,
        "Async" => true,
        other => return Err(ApiError::bad_request(format!("X-Fc-Invocation-Type is `{other}`; expected `Sync` or `Async`"))),
    };
    let key = headers.get(IDEMPOTENCY_KEY).map(key).transpose()?;
    if key.is_some() && !is_async {
        return Err(ApiError::bad_request(
            "X-Fc-Idempotency-Key is for asynchronous invocations; send `X-Fc-Invocation-Type: Async` with it",
        ));
    }
    let event = body::read_at_most(body, EVENT_BYTES_MAX).await?;
    if is_async { accept(api, name, event, key).await } else { run(api, Invocation::new(name, event)).await }
}

fn key(value: &HeaderValue) -> Result<String, ApiError> {
    let wrong = |wrong: String| ApiError::bad_request(format!("X-Fc-Idempotency-Key: {wrong}"));
    let key = value.to_str().map_err(|_| wrong("expected visible ASCII characters".to_owned()))?;
    check_key(key).map_err(wrong)?;
    Ok(key.to_owned())
}

/// Answers 202 once the invocation is on disk. Where the key was given before and that invocation has ended, its result.
async fn accept(api: &Api, name: FunctionName, event: Bytes, key: Option<String>) -> Result<Response, ApiError> {
    let Some(function) = api.functions.look_at(&name) else { return Err(InvokeError::UnknownFunction(name).into()) };
    let job = Job { key, ..Job::new(name.clone(), event, function.limits.concurrency) };
    let refused = |error: QueueError| ApiError::unavailable(error.to_string());
    let accepted = api.queue.submit(job).map_err(refused)?.await.map_err(refused)?;
    let id = accepted.id.to_string();
    if !accepted.is_duplicate {
        return Ok((StatusCode::ACCEPTED, [(REQUEST_ID, id)]).into_response());
    }
    let unreadable = |error: anyhow::Error| ApiError::internal("looking for the first invocation with this key", &error);
    let mut response = match api.queue.status(accepted.id).map_err(unreadable)? {
        Some(Status::Ended(Ended { error: None, .. })) => {
            let result = api.queue.result(accepted.id).map_err(unreadable)?.unwrap_or_default();
            ([(CONTENT_TYPE, "application/octet-stream")], result).into_response()
        }
        Some(Status::Ended(Ended { error: Some(error), .. })) => failed(&name, &id, "Unhandled", None, &error),
        _ => StatusCode::ACCEPTED.into_response(),
    };
    response.headers_mut().insert(DUPLICATE, HeaderValue::from_static("true"));
    Ok(with_id(response, &id))
}

/// How a function failed.
#[derive(Serialize, ToSchema)]
#[schema(as = FunctionFailed)]
#[serde(rename_all = "PascalCase")]
pub struct Failed<'a> {
    #[schema(example = "EdgeFC/helloworld")]
    function: String,
    /// The limit that ended it, if one did.
    limit: Option<&'static str>,
    message: &'a str,
    request_id: &'a str,
    /// `[]`.
    stack_trace: [&'static str; 0],
}

/// How a function is called.
#[derive(ToSchema)]
#[schema(as = InvocationType)]
#[allow(dead_code, reason = "it describes a header")]
pub enum Kind {
    Sync,
    Async,
}

fn failed(name: &FunctionName, request_id: &str, kind: &'static str, limit: Option<&'static str>, message: &str) -> Response {
    let body = Failed { function: name.to_string(), limit, message, request_id, stack_trace: [] };
    ([(ERROR_TYPE, kind)], spaced_json::Body(json!(body))).into_response()
}

fn with_id(mut response: Response, request_id: &str) -> Response {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn run(api: &Arc<Api>, invocation: Invocation) -> Result<Response, ApiError> {
    let (name, request_id) = (invocation.name.clone(), invocation.request_id.clone());
    let functions = api.functions.clone();
    let outcome = on_guests(api, async move { functions.invoke(invocation).await }).await??;
    let response = match outcome {
        Outcome::Done(result) => ([(CONTENT_TYPE, "application/octet-stream")], result).into_response(),
        Outcome::Handled(message) => failed(&name, &request_id, "Handled", None, &message),
        Outcome::Unhandled(failure) => failed(&name, &request_id, "Unhandled", failure.limit, &failure.message),
    };
    Ok(with_id(response, &request_id))
}

/// Runs work where guests run. It is given up when the request that asked for it is.
pub async fn on_guests<T: Send + 'static>(api: &Arc<Api>, work: impl Future<Output = T> + Send + 'static) -> Result<T, ApiError> {
    struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

    impl<T> Drop for AbortOnDrop<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }

    let mut task = AbortOnDrop(api.guests.spawn(work));
    (&mut task.0).await.map_err(|error| ApiError::internal("the call ended unexpectedly", &error.into()))
}
