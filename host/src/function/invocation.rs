//! One call of a function, and what becomes of it.

use std::time::Instant;

use bytes::Bytes;

use crate::call_path::CallPath;
use crate::name::FunctionName;

/// A call that somebody asks for.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub name: FunctionName,
    pub event: Bytes,
    /// A UUID; for an async call it is the invocation's id.
    pub request_id: String,
    pub invoker_context: String,
    /// When the caller itself must end.
    pub deadline: Option<Instant>,
    /// The calls that led here.
    pub path: CallPath,
    /// Who calls was promised that it runs, and asks again where it is busy: that is no refusal.
    pub is_patient: bool,
}

impl Invocation {
    /// A call from outside: no caller, no deadline but the function's own.
    pub fn new(name: FunctionName, event: impl Into<Bytes>) -> Self {
        Self {
            name,
            event: event.into(),
            request_id: uuid::Uuid::new_v4().to_string(),
            invoker_context: String::new(),
            deadline: None,
            path: CallPath::default(),
            is_patient: false,
        }
    }
}

/// What a function that was started came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done(Bytes),
    /// The handler answered with an error of its own.
    Handled(String),
    /// The handler was ended.
    Unhandled(Failure),
}

/// Why a handler was ended. `limit` is the limit's name where one was hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub limit: Option<&'static str>,
    pub message: String,
}

/// Why a function was not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    #[error("function `{}` does not exist on this gateway; {}", .0, where_to_look(.0))]
    UnknownFunction(FunctionName),
    #[error(
        "function `{name}` is busy: {running} of {running} calls are running and {waiting} wait; try again, or raise its `concurrency`"
    )]
    Busy { name: FunctionName, running: u32, waiting: usize },
    #[error("calls are nested deeper than {limit}: {path}")]
    CallDepth { limit: u32, path: String },
    #[error(
        "function `{name}` failed {failures} times in a row and is not called for {retry_s} s more; then one call tries it again. The last failure: {reason}"
    )]
    Broken { name: FunctionName, failures: u32, retry_s: u64, reason: String },
    #[error(
        "function `{0}` answers HTTP requests and has no `handler` to invoke; send it a request instead, at its prefix on the HTTP listener"
    )]
    OnlyHttp(FunctionName),
    #[error("function `{0}` is still being compiled; try again")]
    Loading(FunctionName),
    #[error("function `{name}` cannot be loaded: {reason}")]
    NotLoaded { name: FunctionName, reason: String },
    #[error("function `{name}` is persistent and does not run now: {reason}")]
    Away { name: FunctionName, reason: String },
    #[error("every instance of this gateway is in use; try again")]
    NoSlot,
}

fn where_to_look(name: &FunctionName) -> &'static str {
    match name.qualifier() {
        None => "`ledge list functions` shows those that do",
        Some(_) => "`ledge list versions` and `ledge list aliases` show those that do",
    }
}

impl InvokeError {
    /// Whether the same call may go well a little later.
    pub fn is_for_now(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Broken { .. } | Self::Loading(_) | Self::Away { .. } | Self::NoSlot)
    }
}
