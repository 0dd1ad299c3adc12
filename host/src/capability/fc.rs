//! `fc`: calls of other functions (manual 2.2.6, `FCClient.invokeFunction`).

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;
use wasmtime::component::{HasData, Linker};

use super::{Guest, Until};
use crate::bindings::fc::{self, Accepted, Fault, FunctionError, Request};
use crate::call_path::CallPath;
use crate::function::{Failure, Functions, Invocation, InvokeError, Outcome};
use crate::name::FunctionName;
use crate::queue::job::{Job, Status, check_key};
use crate::queue::{Queue, QueueError};
use crate::thing::fault;

/// What the interface needs of its gateway.
pub struct FcParts {
    pub functions: Arc<Functions>,
    pub queue: Arc<Queue>,
}

/// The interface's part of a Store.
pub struct Fc {
    pub guest: Arc<Guest>,
    pub parts: Arc<FcParts>,
    pub deadline: Until,
    pub path: CallPath,
}

/// Of a call.
enum Kind {
    Sync,
    Async,
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = &'a mut Fc;
}

pub fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&mut T) -> &mut Fc) -> wasmtime::Result<()> {
    fc::add_to_linker::<T, Linked>(linker, get)
}

impl Fc {
    fn target(&self, request: &Request, kind: Kind) -> Result<FunctionName, Fault> {
        let target = FunctionName::new(&request.service, &request.function)
            .map_err(|wrong| Fault { code: fault::INVALID_PARAM, message: wrong.to_string() })?;
        let grants = &self.guest.grants;
        let (may, grant) = match kind {
            Kind::Sync => (grants.may_invoke(&target), "invoke.sync"),
            Kind::Async => (grants.may_invoke_async(&target), "invoke.async"),
        };
        if may { Ok(target) } else { Err(self.guest.denied(grant, &target)) }
    }
}

impl fc::Host for Fc {
    async fn invoke(&mut self, request: Request) -> Result<fc::Outcome, Fault> {
        let name = self.target(&request, Kind::Sync)?;
        self.guest.may_invoke_now()?;
        let invocation = Invocation {
            invoker_context: request.invoker_context,
            deadline: Some(self.deadline.moment()),
            path: self.path.clone(),
            ..Invocation::new(name.clone(), request.payload)
        };
        let outcome = self.parts.functions.invoke(invocation).await.map_err(refused)?;
        let (function_error, payload) = match outcome {
            Outcome::Done(payload) => (None, payload.into()),
            Outcome::Handled(message) => (Some(FunctionError::Handled), error_body(&name, None, &message)),
            Outcome::Unhandled(Failure { limit, message }) => (Some(FunctionError::Unhandled), error_body(&name, limit, &message)),
        };
        Ok(fc::Outcome { status_code: 200, function_error, payload })
    }

    async fn invoke_async(&mut self, request: Request, key: Option<String>) -> Result<Accepted, Fault> {
        let target = self.target(&request, Kind::Async)?;
        self.guest.may_invoke_now()?;
        let function = self.parts.functions.look_at(&target).ok_or_else(|| refused(InvokeError::UnknownFunction(target.clone())))?;
        // Checked before it is acknowledged: an accepted call that can only fail would be no acknowledgement.
        let path = self.path.then(target.clone());
        if path.depth() > function.limits.call_depth {
            return Err(refused(function.too_deep(&path)));
        }
        if let Some(key) = &key {
            check_key(key).map_err(|wrong| Fault { code: fault::INVALID_PARAM, message: wrong })?;
        }
        let usual = Job::new(target.clone(), request.payload, function.limits.concurrency);
        let job = Job { invoker_context: request.invoker_context, path: self.path.clone(), key, ..usual };
        let queue = &self.parts.queue;
        let accepted = queue.submit(job).map_err(not_queued)?.await.map_err(not_queued)?;
        let outcome = if accepted.is_duplicate { first_outcome(queue, &target, accepted.id)? } else { None };
        Ok(Accepted { id: accepted.id.to_string(), is_duplicate: accepted.is_duplicate, outcome })
    }
}

/// What the first invocation with this key came to, if it has ended.
fn first_outcome(queue: &Queue, target: &FunctionName, id: Uuid) -> Result<Option<fc::Outcome>, Fault> {
    let unreadable = |error: anyhow::Error| Fault { code: fault::SERVICE_UNREACHABLE, message: format!("{error:#}") };
    let Some(Status::Ended(ended)) = queue.status(id).map_err(unreadable)? else { return Ok(None) };
    let (function_error, payload) = match ended.error {
        None => (None, queue.result(id).map_err(unreadable)?.unwrap_or_default()),
        Some(error) => (Some(FunctionError::Unhandled), error_body(target, None, &error)),
    };
    Ok(Some(fc::Outcome { status_code: 200, function_error, payload }))
}

fn not_queued(error: QueueError) -> Fault {
    let code = if error == QueueError::Disk { fault::SERVICE_UNREACHABLE } else { fault::TOO_MANY };
    Fault { code, message: error.to_string() }
}

fn refused(error: InvokeError) -> Fault {
    let code = match &error {
        InvokeError::UnknownFunction(_) => fault::FUNCTION_NOT_EXIST,
        InvokeError::Busy { .. }
        | InvokeError::Broken { .. }
        | InvokeError::Loading(_)
        | InvokeError::Away { .. }
        | InvokeError::NoSlot => fault::TOO_MANY,
        InvokeError::NotLoaded { .. } => fault::SERVICE_UNREACHABLE,
        InvokeError::CallDepth { .. } => fault::CALL_DEPTH,
        InvokeError::OnlyHttp(_) => fault::INVALID_PARAM,
    };
    Fault { code, message: error.to_string() }
}

fn error_body(name: &FunctionName, limit: Option<&'static str>, message: &str) -> Vec<u8> {
    json!({"Function": name.to_string(), "Limit": limit, "Message": message}).to_string().into_bytes()
}
