//! Async invocations after they were accepted: where each is, and those that were given up.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Api;
use super::caller::Caller;
use super::error::ApiError;
use super::given::{InPath, InQuery};
use crate::name::FunctionName;
use crate::queue::job::Status;
use crate::queue::{DeadHead, QueueError};

/// An async invocation.
#[derive(Serialize, ToSchema)]
#[schema(as = Invocation)]
pub struct Shown {
    id: Uuid,
    #[schema(value_type = String, example = "EdgeFC/helloworld")]
    function: FunctionName,
    state: State,
    /// Milliseconds since 1970, as are the others.
    accepted: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ended: Option<u64>,
    attempts: u32,
    /// Of one that waits: until it is tried again, if it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    next_in_ms: Option<Option<u64>>,
    /// Of one that has ended: why it is dead, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    error: Option<Option<String>>,
    /// Of one that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    has_result: Option<bool>,
}

impl Shown {
    fn new(id: Uuid, function: FunctionName, state: State, accepted: u64, attempts: u32) -> Self {
        Self { id, function, state, accepted, ended: None, attempts, next_in_ms: None, error: None, has_result: None }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = InvocationState)]
#[serde(rename_all = "lowercase")]
enum State {
    Waiting,
    Running,
    Done,
    Dead,
}

/// Where an invocation is: `waiting`, `running`, `done` or `dead`.
#[utoipa::path(
    get,
    path = "/ledge/v1/invocations/{id}",
    tag = "invocations",
    operation_id = "invocation_show",
    security(("session" = ["functions.read"])),
    params(("id" = String, Path)),
    responses((status = 200, body = Shown), (status = 500)),
)]
pub async fn show(Shared(api): Shared<Arc<Api>>, _: Caller, id: InPath<String>) -> Result<JsonBody<Shown>, ApiError> {
    let id = parse(id)?;
    let status = api.queue.status(id).map_err(|error| ApiError::internal("reading the state of an invocation", &error))?;
    let Some(status) = status else {
        let message = format!("no invocation `{id}` is known: it was never accepted here, or it ended more than a day ago");
        return Err(ApiError::new(StatusCode::NOT_FOUND, message));
    };
    let shown = match status {
        Status::Waiting { target, accepted_ms, attempts, next_ms } => {
            Shown { next_in_ms: Some(next_ms), ..Shown::new(id, target, State::Waiting, accepted_ms, attempts) }
        }
        Status::Running { target, accepted_ms, attempts } => Shown::new(id, target, State::Running, accepted_ms, attempts),
        Status::Ended(ended) => {
            let state = if ended.error.is_none() { State::Done } else { State::Dead };
            Shown {
                ended: Some(ended.ended_ms),
                error: Some(ended.error),
                has_result: Some(ended.result_bytes.is_some()),
                ..Shown::new(id, ended.target, state, ended.accepted_ms, ended.attempts)
            }
        }
    };
    Ok(JsonBody(shown))
}

/// Whose dead letters.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Of this function; of all without it.
    #[param(value_type = Option<String>, example = "EdgeFC/helloworld")]
    function: Option<FunctionName>,
}

impl Wanted {
    fn covers(&self, head: &DeadHead) -> bool {
        self.function.as_ref().is_none_or(|function| *function == head.target)
    }
}

type WantedQuery = InQuery<Wanted>;

/// An async invocation that was given up.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub struct Head {
    id: Uuid,
    #[schema(value_type = String, example = "EdgeFC/helloworld")]
    function: FunctionName,
    /// Milliseconds since 1970.
    died: u64,
    attempts: u32,
    /// Of the last attempt.
    error: String,
}

/// Invocations that were given up.
#[utoipa::path(
    get,
    path = "/ledge/v1/dead-letters",
    tag = "invocations",
    operation_id = "invocation_dead_letters",
    security(("session" = ["functions.read"])),
    params(Wanted),
    responses((status = 200, body = Vec<Head>)),
)]
pub async fn dead_letters(Shared(api): Shared<Arc<Api>>, _: Caller, query: WantedQuery) -> Result<JsonBody<Vec<Head>>, ApiError> {
    let InQuery(wanted) = query;
    let row = |head: &DeadHead| Head {
        id: head.id,
        function: head.target.clone(),
        died: head.died_ms,
        attempts: head.attempts,
        error: head.error.clone(),
    };
    Ok(JsonBody(api.queue.dead_letters().iter().filter(|head| wanted.covers(head)).map(row).collect()))
}

/// A dead letter, whole.
#[derive(Serialize, ToSchema)]
#[schema(as = WholeDeadLetter)]
pub struct Whole {
    id: Uuid,
    #[schema(value_type = String, example = "EdgeFC/helloworld")]
    function: FunctionName,
    /// Milliseconds since 1970, as are the others.
    accepted: u64,
    died: u64,
    attempts: Vec<Tried>,
    /// Its input as text, and whole.
    event: String,
    event_base64: String,
    invoker_context: String,
    idempotency_key: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Tried {
    began: u64,
    error: String,
}

/// A dead letter, with its input and the error of each attempt.
#[utoipa::path(
    get,
    path = "/ledge/v1/dead-letters/{id}",
    tag = "invocations",
    operation_id = "invocation_dead_letter",
    security(("session" = ["functions.read"])),
    params(("id" = String, Path)),
    responses((status = 200, body = Whole), (status = 500)),
)]
pub async fn dead_letter(Shared(api): Shared<Arc<Api>>, _: Caller, id: InPath<String>) -> Result<JsonBody<Whole>, ApiError> {
    let id = parse(id)?;
    let letter = api.queue.dead_letter(id).map_err(|error| ApiError::internal("reading a dead letter", &error))?;
    let letter = letter.ok_or_else(|| not_there(id))?;
    let job = letter.job;
    Ok(JsonBody(Whole {
        id,
        accepted: job.accepted_ms,
        died: letter.died_ms,
        attempts: job.attempts.iter().map(|attempt| Tried { began: attempt.began_ms, error: attempt.error.clone() }).collect(),
        event: String::from_utf8_lossy(&job.event).into_owned(),
        event_base64: STANDARD.encode(&job.event),
        function: job.target,
        invoker_context: job.invoker_context,
        idempotency_key: job.key,
    }))
}

/// How many dead letters it was.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLettersTaken)]
pub struct Taken {
    count: usize,
}

/// Tries a dead letter again.
#[utoipa::path(
    post,
    path = "/ledge/v1/dead-letters/{id}",
    tag = "invocations",
    operation_id = "invocation_requeue",
    security(("session" = ["functions.operate"])),
    params(("id" = String, Path)),
    responses((status = 200, body = Taken)),
)]
pub async fn requeue(Shared(api): Shared<Arc<Api>>, Caller(user): Caller, id: InPath<String>) -> Answer {
    one(&api, &user.who(), parse(id)?, Fate::Requeued).await
}

/// Throws a dead letter away.
#[utoipa::path(
    delete,
    path = "/ledge/v1/dead-letters/{id}",
    tag = "invocations",
    operation_id = "invocation_purge",
    security(("session" = ["functions.operate"])),
    params(("id" = String, Path)),
    responses((status = 200, body = Taken)),
)]
pub async fn purge(Shared(api): Shared<Arc<Api>>, Caller(user): Caller, id: InPath<String>) -> Answer {
    one(&api, &user.who(), parse(id)?, Fate::Purged).await
}

/// Tries all dead letters again, or those of one function.
#[utoipa::path(
    post,
    path = "/ledge/v1/dead-letters",
    tag = "invocations",
    operation_id = "invocation_requeue_all",
    security(("session" = ["functions.operate"])),
    params(Wanted),
    responses((status = 200, body = Taken)),
)]
pub async fn requeue_all(Shared(api): Shared<Arc<Api>>, Caller(user): Caller, query: WantedQuery) -> Answer {
    many(&api, &user.who(), query.0, Fate::Requeued).await
}

/// Throws all dead letters away, or those of one function.
#[utoipa::path(
    delete,
    path = "/ledge/v1/dead-letters",
    tag = "invocations",
    operation_id = "invocation_purge_all",
    security(("session" = ["functions.operate"])),
    params(Wanted),
    responses((status = 200, body = Taken)),
)]
pub async fn purge_all(Shared(api): Shared<Arc<Api>>, Caller(user): Caller, query: WantedQuery) -> Answer {
    many(&api, &user.who(), query.0, Fate::Purged).await
}

type Answer = Result<JsonBody<Taken>, ApiError>;

/// What becomes of dead letters.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Requeued,
    Purged,
}

async fn one(api: &Api, who: &str, id: Uuid, fate: Fate) -> Answer {
    match unbury(api, who, move |head| head.id == id, &id.to_string(), fate).await? {
        0 => Err(not_there(id)),
        count => Ok(JsonBody(Taken { count })),
    }
}

async fn many(api: &Api, who: &str, wanted: Wanted, fate: Fate) -> Answer {
    let which = wanted.function.as_ref().map_or_else(|| "all".to_owned(), |function| format!("all of {function}"));
    let count = unbury(api, who, move |head| wanted.covers(head), &which, fate).await?;
    Ok(JsonBody(Taken { count }))
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
