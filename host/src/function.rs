//! Functions: their names, their limits, and the policy of a call.
//!
//! How a guest runs is not here: `runtime` implements [`Code`].

mod alias;
mod breaker;
mod gate;
pub mod http;
mod invocation;
mod probation;
mod rest;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;

pub use alias::Aliases;
pub use breaker::Breaker;
pub use gate::Gate;
pub use invocation::{Failure, Invocation, InvokeError, Outcome};
pub use probation::{Failing, Probation};
pub use rest::{IDLE, REST_TURNS, rest_idle};

use crate::call_path::CallPath;
use crate::grant::Grants;
use crate::limit::Limits;
use crate::metric::FunctionMetrics;
use crate::name::FunctionName;
use crate::set;
use crate::set::{Asynchronous, Digest, HttpTrigger, Mode};
use http::Exchange;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A deployed function. It never changes: a new deployment makes a new one, and running calls finish on theirs.
pub struct Function {
    /// As it is called, with the number of its version if it is one.
    pub name: FunctionName,
    /// The name under which it acts, which all of its versions share.
    pub base: FunctionName,
    pub digest: Digest,
    pub limits: Limits,
    /// The same that its code runs under.
    pub grants: Arc<Grants>,
    /// Calls that one instance may take, one after another. 0: each call has a fresh one.
    pub reuse: u32,
    /// The defaults hold where there is none.
    pub asynchronous: Option<Arc<Asynchronous>>,
    pub http: Option<HttpTrigger>,
    pub mode: Mode,
    /// The path of a call that comes from outside.
    pub path: CallPath,
    pub gate: Gate,
    pub breaker: Breaker,
    /// While it is not known yet whether it works.
    pub probation: Option<Arc<Probation>>,
    pub code: Arc<dyn Code>,
    pub metrics: Arc<FunctionMetrics>,
}

impl Function {
    /// What a deployment's row says, with the code that it names.
    pub fn new(row: &set::Function, code: Arc<dyn Code>, metrics: Arc<FunctionMetrics>) -> Self {
        let mut limits = row.limits;
        if row.mode == Mode::Persistent {
            // It has one instance, which takes one call at a time.
            limits.concurrency = 1;
        }
        Self {
            metrics,
            mode: row.mode,
            name: row.name.clone(),
            base: row.name.base(),
            probation: None,
            digest: row.component.clone(),
            limits,
            grants: row.grants.clone(),
            reuse: row.reuse,
            asynchronous: row.asynchronous.clone(),
            http: row.http.clone(),
            path: CallPath::default().then(row.name.clone()),
            breaker: Breaker::new(row.limits.breaker_failures),
            gate: Gate::new(limits.concurrency),
            code,
        }
    }
}

/// Of a result, in the error that says that another one was expected.
const SHOWN_CHARS_MAX: usize = 200;

/// The code of a function, ready to run.
pub trait Code: Send + Sync {
    /// Runs one call in an instance that no other call has at the time, and ends by `deadline` whatever the guest does.
    fn run<'a>(&'a self, function: &'a Arc<Function>, call: Call) -> BoxFuture<'a, Result<Outcome, InvokeError>>;

    /// The same for an HTTP request. It may go on after its answer has begun.
    fn serve<'a>(
        &'a self,
        function: &'a Arc<Function>,
        call: Call,
        exchange: Exchange,
    ) -> BoxFuture<'a, Result<Result<(), Failure>, InvokeError>>;

    /// One of the turns in which idle functions give up what only calls need. Whether it did.
    fn rest(&self, function: &Function) -> bool;

    /// Whether the next call finds it ready.
    fn is_loaded(&self) -> bool;

    /// Tells what a call came to that its caller is told too: in the log, and in the metrics where it was a limit.
    fn tell(&self, limit: Option<&'static str>, message: &str);

    /// Tells that a message was not delivered, since no grant `subscribe` covers its topic.
    fn denied_topic(&self, topic: &str);
}

/// What a [`Code`] is given.
pub struct Call {
    pub event: Bytes,
    pub request_id: String,
    pub invoker_context: String,
    pub deadline: Instant,
    /// Whether `deadline` is the caller's, which comes before the function's own.
    pub is_callers_deadline: bool,
    /// The functions that are under way, this one last.
    pub path: CallPath,
}

impl Call {
    /// A call that carries nothing, to see whether a function starts.
    pub fn probe(deadline: Instant) -> Self {
        Self {
            event: Bytes::new(),
            request_id: String::new(),
            invoker_context: String::new(),
            deadline,
            is_callers_deadline: false,
            path: CallPath::default(),
        }
    }
}

/// Every deployed function, by name.
#[derive(Default)]
pub struct Functions {
    table: ArcSwap<HashMap<FunctionName, Arc<Function>>>,
    aliases: ArcSwap<Aliases>,
}

impl Functions {
    pub fn get(&self, name: &FunctionName) -> Option<Arc<Function>> {
        let table = self.table.load();
        let found = table.get(name).cloned();
        // Only a name with a qualifier can be an alias.
        found.or_else(|| table.get(&self.aliases.load().next(name)?).cloned())
    }

    /// One that a name leads to, where it does not matter which: no call of an alias is counted.
    pub fn look_at(&self, name: &FunctionName) -> Option<Arc<Function>> {
        self.all_of(name).into_iter().next()
    }

    /// Every function that a name may lead to: an alias has two at most.
    pub fn all_of(&self, name: &FunctionName) -> Vec<Arc<Function>> {
        let table = self.table.load();
        if let Some(found) = table.get(name) {
            return vec![found.clone()];
        }
        self.aliases.load().all(name).iter().filter_map(|version| table.get(version).cloned()).collect()
    }

    /// Replaces all aliases.
    pub fn replace_aliases(&self, aliases: Aliases) {
        self.aliases.store(Arc::new(aliases));
    }

    /// All functions, in the order of their names.
    pub fn list(&self) -> Vec<Arc<Function>> {
        let mut all: Vec<_> = self.table.load().values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Replaces the whole table in one step.
    pub fn replace(&self, functions: impl IntoIterator<Item = Arc<Function>>) {
        self.table.store(Arc::new(functions.into_iter().map(|function| (function.name.clone(), function)).collect()));
    }

    /// Runs one invocation: finds the function, waits for a place, and holds it to the smaller of its own and the
    /// caller's deadline.
    pub async fn invoke(&self, invocation: Invocation) -> Result<Outcome, InvokeError> {
        let mut function = self.get(&invocation.name).ok_or_else(|| InvokeError::UnknownFunction(invocation.name.clone()))?;
        let is_patient = invocation.is_patient;
        let again = (function.mode == Mode::Persistent).then(|| invocation.clone());
        let mut ended = function.clone().admit_and_run(invocation).await;
        // One that waited for an instance that is replaced goes to what is in its place.
        if let (Some(invocation), Err(InvokeError::Away { .. })) = (again, &ended)
            && let Some(newer) = self.get(&invocation.name).filter(|newer| !Arc::ptr_eq(newer, &function))
        {
            function = newer;
            ended = function.clone().admit_and_run(invocation).await;
        }
        match &ended {
            Ok(Outcome::Done(_)) => function.metrics.done.inc(),
            Ok(Outcome::Handled(_)) => function.metrics.handled.inc(),
            Ok(Outcome::Unhandled(_)) => function.metrics.unhandled.inc(),
            Err(error) if is_patient && error.is_for_now() => return ended,
            Err(_) => function.metrics.refused.inc(),
        };
        ended
    }
}

impl Function {
    /// Runs one call, whether or not this is what is deployed.
    pub async fn admit_and_run(self: Arc<Self>, invocation: Invocation) -> Result<Outcome, InvokeError> {
        let limits = &self.limits;
        let path = invocation.path.then(self.name.clone());
        if path.depth() > limits.call_depth {
            return Err(self.too_deep(&path));
        }
        let attempt = self.breaker.enter(&self.name)?;
        // Waiting for a place is held to the same time, but does not use up the call's own.
        let allowed = Duration::from_millis(limits.deadline_ms);
        let smaller = |own: Instant| invocation.deadline.map_or(own, |callers| callers.min(own));
        let place = self.gate.enter(&self.name, smaller(Instant::now() + allowed)).await;
        let _place = place.map_err(|busy| if invocation.is_patient { busy } else { self.refused("concurrency", busy) })?;
        let began = Instant::now();
        let (own, deadline) = (began + allowed, smaller(began + allowed));
        let call = Call {
            event: invocation.event,
            request_id: invocation.request_id,
            invoker_context: invocation.invoker_context,
            deadline,
            is_callers_deadline: deadline < own,
            path,
        };
        let outcome = self.code.run(&self, call).await?;
        self.metrics.took(began.elapsed());
        match &outcome {
            // It had less time than it asks for, which says nothing of it.
            Outcome::Unhandled(Failure { limit: Some("deadline_ms"), .. }) if deadline < own => {}
            Outcome::Unhandled(failure) => {
                attempt.failed(&self.name, &failure.message);
                self.note(Some(&failure.message));
            }
            Outcome::Done(_) | Outcome::Handled(_) => {
                attempt.succeeded(&self.name);
                self.note(None);
            }
        }
        Ok(outcome)
    }

    /// How a call went, for as long as it is not known whether the function works.
    fn note(&self, failure: Option<&str>) {
        match (&self.probation, failure) {
            (None, _) => {}
            (Some(probation), None) => probation.succeeded(),
            (Some(probation), Some(reason)) => probation.failed(&self.name, reason),
        }
    }

    /// One call before anybody else can make one: how it went, in words where it did not.
    pub async fn check(self: Arc<Self>, health: &set::Health) -> Result<(), String> {
        let Some(event) = &health.event else { return Ok(()) };
        let name = self.name.clone();
        let ended = self.admit_and_run(Invocation::new(name, event.clone())).await;
        let result = match ended {
            Ok(Outcome::Done(result)) => result,
            Ok(Outcome::Handled(message)) => return Err(format!("its handler answers with an error: {message}")),
            Ok(Outcome::Unhandled(failure)) => return Err(failure.message),
            Err(error) => return Err(error.to_string()),
        };
        match &health.expect {
            Some(expected) if result != expected.as_bytes() => {
                let shown: String = String::from_utf8_lossy(&result).chars().take(SHOWN_CHARS_MAX).collect();
                Err(format!("its result is `{}`, and `{expected}` was expected", shown.escape_debug()))
            }
            _ => Ok(()),
        }
    }

    /// A call that is not made because too many others led to it.
    pub fn too_deep(&self, path: &CallPath) -> InvokeError {
        self.refused("call_depth", InvokeError::CallDepth { limit: self.limits.call_depth, path: path.to_string() })
    }

    /// Why an async call that others led to is not made, if they are too many; that is told.
    pub fn cut(&self, path: &CallPath) -> Option<String> {
        let limit = self.limits.call_depth;
        let is_too_deep = path.depth() >= limit;
        is_too_deep.then(|| {
            let cut = format!("is not called: a loop is cut, since {path} -> {} is nested deeper than {limit}", self.name);
            self.code.tell(Some("call_depth"), &cut);
            format!("function `{}` {cut}", self.name)
        })
    }

    /// A limit that was met before anything ran.
    fn refused(&self, limit: &'static str, error: InvokeError) -> InvokeError {
        self.code.tell(Some(limit), &format!("is not called: {error}"));
        error
    }
}
