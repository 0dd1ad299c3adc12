//! Invocation by service and function; what is sent and answered is as in the later API (`invoke`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::name;
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::given::InPath;
use crate::api::invoke;

/// Invokes a function: the body is its event, the answer's its result.
#[utoipa::path(
    post,
    path = "/2016-08-15/services/{service}/functions/{function}/invocations",
    tag = "function compute",
    operation_id = "fc_invoke",
    security(("session" = ["functions.invoke"])),
    params(
        ("service" = String, Path),
        ("function" = String, Path),
        ("X-Fc-Invocation-Type" = inline(Option<invoke::Kind>), Header, description = "`Sync` waits for the result"),
        ("X-Fc-Idempotency-Key" = Option<String>, Header, description = "of an asynchronous invocation, which is made once", max_length = 128),
    ),
    request_body(content = Option<String>, content_type = "application/octet-stream", example = "hello"),
    responses((status = 200, content((String = "application/octet-stream"), (invoke::Failed = "application/json"))), (status = 202)),
)]
pub async fn invoke(
    Shared(api): Shared<Arc<Api>>,
    _: Caller,
    path: InPath<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (service, function) = path.0;
    let name = name(&service, &function)?;
    let answered = invoke::answer(&api, name.clone(), &headers, body).await;
    if answered.as_ref().is_err_and(|error| error.status() == StatusCode::NOT_FOUND) {
        // Which of the service, its version or alias, and the function it is that is not there has a code each.
        api.deploy.look(|state| super::row(state, &name).map(drop))?;
    }
    answered
}
