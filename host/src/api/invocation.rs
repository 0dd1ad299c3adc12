//! Async invocations after they were accepted: where each is, and those that were given up.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::Api;
use super::caller::Caller;
use super::error::ApiError;
use super::given::{InPath, InQuery};
use crate::name::FunctionName;
use crate::queue::job::Status;
use crate::queue::{DeadHead, QueueError};

/// Where an invocation is: `waiting`, `running`, `done` or `dead`.
#[utoipa::path(
    get,
    path = "/ledge/v1/invocations/{id}",
    tag = "invocations",
    operation_id = "invocation_show",
    security(("session" = ["functions.read"])),
    params(("id" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn show(State(api): State<Arc<Api>>, _: Caller, id: InPath<String>) -> Result<JsonBody<Json>, ApiError> {
    let id = parse(id)?;
    let status = api.queue.status(id).map_err(|error| ApiError::internal("reading the state of an invocation", &error))?;
    let Some(status) = status else {
        let message = format!("no invocation `{id}` is known: it was never accepted here, or it ended more than a day ago");
        return Err(ApiError::new(StatusCode::NOT_FOUND, message));
    };
    let shown = match status {
        Status::Waiting { target, accepted_ms, attempts, next_ms } => {
            json!({"id": id, "function": target, "state": "waiting", "accepted": accepted_ms, "attempts": attempts, "next_in_ms": next_ms})
        }
        Status::Running { target, accepted_ms, attempts } => {
            json!({"id": id, "function": target, "state": "running", "accepted": accepted_ms, "attempts": attempts})
        }
        Status::Ended(ended) => json!({
            "id": id,
            "function": ended.target,
            "state": if ended.error.is_none() { "done" } else { "dead" },
            "accepted": ended.accepted_ms,
            "ended": ended.ended_ms,
            "attempts": ended.attempts,
            "error": ended.error,
            "has_result": ended.result_bytes.is_some(),
        }),
    };
    Ok(JsonBody(shown))
}

/// Whose dead letters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    function: Option<FunctionName>,
}

impl Wanted {
    fn covers(&self, head: &DeadHead) -> bool {
        self.function.as_ref().is_none_or(|function| *function == head.target)
    }
}

type WantedQuery = InQuery<Wanted>;

#[utoipa::path(
    get,
    path = "/ledge/v1/dead-letters",
    tag = "invocations",
    operation_id = "invocation_dead_letters",
    security(("session" = ["functions.read"])),
    params(("function" = Option<String>, Query)),
    responses((status = 200, body = Vec<serde_json::Value>)),
)]
pub async fn dead_letters(State(api): State<Arc<Api>>, _: Caller, query: WantedQuery) -> Result<JsonBody<Vec<Json>>, ApiError> {
    let InQuery(wanted) = query;
    let row = |head: &DeadHead| json!({"id": head.id, "function": head.target, "died": head.died_ms, "attempts": head.attempts, "error": head.error});
    Ok(JsonBody(api.queue.dead_letters().iter().filter(|head| wanted.covers(head)).map(row).collect()))
}

/// One of them, with its input and the error of each attempt.
#[utoipa::path(
    get,
    path = "/ledge/v1/dead-letters/{id}",
    tag = "invocations",
    operation_id = "invocation_dead_letter",
    security(("session" = ["functions.read"])),
    params(("id" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn dead_letter(State(api): State<Arc<Api>>, _: Caller, id: InPath<String>) -> Result<JsonBody<Json>, ApiError> {
    let id = parse(id)?;
    let letter = api.queue.dead_letter(id).map_err(|error| ApiError::internal("reading a dead letter", &error))?;
    let letter = letter.ok_or_else(|| not_there(id))?;
    let job = letter.job;
    let attempts: Vec<_> = job.attempts.iter().map(|attempt| json!({"began": attempt.began_ms, "error": attempt.error})).collect();
    Ok(JsonBody(json!({
        "id": id,
        "function": job.target,
        "accepted": job.accepted_ms,
        "died": letter.died_ms,
        "attempts": attempts,
        "event": String::from_utf8_lossy(&job.event),
        "event_base64": STANDARD.encode(&job.event),
        "invoker_context": job.invoker_context,
        "idempotency_key": job.key,
    })))
}

#[utoipa::path(
    post,
    path = "/ledge/v1/dead-letters/{id}",
    tag = "invocations",
    operation_id = "invocation_requeue",
    security(("session" = ["functions.operate"])),
    params(("id" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn requeue(State(api): State<Arc<Api>>, Caller(user): Caller, id: InPath<String>) -> Answer {
    one(&api, &user.who(), parse(id)?, Fate::Requeued).await
}

#[utoipa::path(
    delete,
    path = "/ledge/v1/dead-letters/{id}",
    tag = "invocations",
    operation_id = "invocation_purge",
    security(("session" = ["functions.operate"])),
    params(("id" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn purge(State(api): State<Arc<Api>>, Caller(user): Caller, id: InPath<String>) -> Answer {
    one(&api, &user.who(), parse(id)?, Fate::Purged).await
}

#[utoipa::path(
    post,
    path = "/ledge/v1/dead-letters",
    tag = "invocations",
    operation_id = "invocation_requeue_all",
    security(("session" = ["functions.operate"])),
    params(("function" = Option<String>, Query)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn requeue_all(State(api): State<Arc<Api>>, Caller(user): Caller, query: WantedQuery) -> Answer {
    many(&api, &user.who(), query.0, Fate::Requeued).await
}

#[utoipa::path(
    delete,
    path = "/ledge/v1/dead-letters",
    tag = "invocations",
    operation_id = "invocation_purge_all",
    security(("session" = ["functions.operate"])),
    params(("function" = Option<String>, Query)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn purge_all(State(api): State<Arc<Api>>, Caller(user): Caller, query: WantedQuery) -> Answer {
    many(&api, &user.who(), query.0, Fate::Purged).await
}

type Answer = Result<JsonBody<Json>, ApiError>;

/// What becomes of dead letters.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Requeued,
    Purged,
}

async fn one(api: &Api, who: &str, id: Uuid, fate: Fate) -> Answer {
    match unbury(api, who, move |head| head.id == id, &id.to_string(), fate).await? {
        0 => Err(not_there(id)),
        found => Ok(JsonBody(json!({"count": found}))),
    }
}

async fn many(api: &Api, who: &str, wanted: Wanted, fate: Fate) -> Answer {
    let which = wanted.function.as_ref().map_or_else(|| "all".to_owned(), |function| format!("all of {function}"));
    let found = unbury(api, who, move |head| wanted.covers(head), &which, fate).await?;
    Ok(JsonBody(json!({"count": found})))
}

async fn unbury(api: &Api, who: &str, wanted: impl Fn(&DeadHead) -> bool, which: &str, fate: Fate) -> Result<usize, ApiError> {
    let taken = api.queue.unbury(wanted, fate == Fate::Requeued).await;
    let found = taken.map_err(|lost: QueueError| ApiError::unavailable(lost.to_string()))?;
    if found > 0 {
        let done = if fate == Fate::Requeued { "requeued" } else { "purged" };
        api.audit.record(who, done, &format!("dead letters: {which} ({found})"));
    }
    Ok(found)
}

fn not_there(id: Uuid) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("there is no dead letter `{id}`; `ledge dead-letters list` shows those that there are"))
}

fn parse(id: InPath<String>) -> Result<Uuid, ApiError> {
    let InPath(id) = id;
    id.parse().map_err(|_| ApiError::bad_request(format!("`{id}` is no id of an invocation, which is a UUID")))
}
