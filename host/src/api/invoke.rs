//! Invocation of functions (FACTS 2.4, 5.2): the body is the event, the answer's body is the result.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::caller::Caller;
use super::error::ApiError;
use super::{Api, body, spaced_json};
use crate::call_path::CallPath;
use crate::function::{Invocation, InvokeError, Outcome};
use crate::name::FunctionName;
use crate::queue::Job;

const INVOCATION_TYPE: &str = "x-fc-invocation-type";
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-fc-request-id");
pub const ERROR_TYPE: HeaderName = HeaderName::from_static("x-fc-error-type");

pub async fn invoke(
    State(api): State<Arc<Api>>,
    _: Caller,
    arn: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let Path(arn) = arn.map_err(|wrong| ApiError::bad_request(wrong.body_text()))?;
    let name = FunctionName::from_arn(&arn).map_err(|wrong| ApiError::bad_request(wrong.to_string()))?;
    let kind = headers.get(INVOCATION_TYPE).map_or(Ok("Sync"), HeaderValue::to_str).unwrap_or("?");
    let is_async = match kind {
        "Sync" => false,
        "Async" => true,
        other => return Err(ApiError::bad_request(format!("X-Fc-Invocation-Type is `{other}`; expected `Sync` or `Async`"))),
    };
    let invocation = Invocation::new(name, body::read(body).await?);
    if is_async { accept(&api, invocation) } else { run(&api, invocation).await }
}

fn accept(api: &Api, invocation: Invocation) -> Result<Response, ApiError> {
    let Invocation { name, event, request_id, invoker_context, .. } = invocation;
    let Some(function) = api.functions.get(&name) else { return Err(InvokeError::UnknownFunction(name).into()) };
    let concurrency = function.limits.concurrency;
    let job = Job { id: request_id.clone(), target: name, event, invoker_context, path: CallPath::default(), concurrency };
    api.queue.submit(job).map_err(|full| ApiError::unavailable(full.to_string()))?;
    Ok((StatusCode::ACCEPTED, [(REQUEST_ID, request_id)]).into_response())
}

async fn run(api: &Arc<Api>, invocation: Invocation) -> Result<Response, ApiError> {
    let (name, request_id) = (invocation.name.clone(), invocation.request_id.clone());
    let functions = api.functions.clone();
    let outcome = on_guests(api, async move { functions.invoke(invocation).await }).await??;
    let failed = |kind: &'static str, limit: Option<&'static str>, message: String| {
        let body = json!({"Function": name.to_string(), "Limit": limit, "Message": message, "RequestId": request_id, "StackTrace": []});
        ([(ERROR_TYPE, kind)], spaced_json::Body(body)).into_response()
    };
    let mut response = match outcome {
        Outcome::Done(result) => ([(CONTENT_TYPE, "application/octet-stream")], result).into_response(),
        Outcome::Handled(message) => failed("Handled", None, message),
        Outcome::Unhandled(failure) => failed("Unhandled", failure.limit, failure.message),
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
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
