//! A function's code: each call gets a Store and an instance of its own, and both are dropped at its end.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::Store;
use wasmtime::component::{Component, Linker, ResourceTable};

use super::failure::{self, Limiter};
use super::state::FunctionState;
use super::ticker::Ticker;
use crate::bindings::function::FunctionPre;
use crate::bindings::function::exports::ledge::edge::handler::Context;
use crate::capability::Guest;
use crate::capability::credentials::Credentials;
use crate::capability::fc::{Fc, FcParts};
use crate::capability::iot_data::{IotData, IotDataParts};
use crate::capability::wasi::{self, GuestLog, Output};
use crate::function::{BoxFuture, Call, Code, Function, InvokeError, Outcome};
use crate::limit::Limits;

pub struct FunctionCode {
    pub(crate) pre: FunctionPre<FunctionState>,
    ticker: Arc<Ticker>,
    parts: Arc<FunctionParts>,
}

/// What every function's Store needs of the gateway.
pub struct FunctionParts {
    pub iot_data: Arc<IotDataParts>,
    pub fc: Arc<FcParts>,
}

/// A function's code with the identity under which it runs: two functions may share one component.
pub struct BoundCode {
    pub code: Arc<FunctionCode>,
    pub guest: Arc<Guest>,
    pub log: Arc<GuestLog>,
}

impl FunctionCode {
    pub(super) fn new(
        linker: &Linker<FunctionState>,
        component: &Component,
        ticker: Arc<Ticker>,
        parts: Arc<FunctionParts>,
    ) -> wasmtime::Result<Self> {
        Ok(Self { pre: FunctionPre::new(linker.instantiate_pre(component)?)?, ticker, parts })
    }

    /// A Store for one call, as the engine and the grants want it. `bench` takes one too.
    pub(crate) fn store(&self, bound: &BoundCode, function: &Function, call: &Call) -> Store<FunctionState> {
        let (guest, limits) = (&bound.guest, &function.limits);
        let stderr = Output::new(bound.log.clone());
        let state = FunctionState {
            wasi: wasi::context(&bound.log, &stderr),
            table: ResourceTable::with_capacity(0),
            limiter: Limiter::new(limits),
            stderr,
            iot_data: IotData {
                guest: guest.clone(),
                parts: self.parts.iot_data.clone(),
                function: function.name.clone(),
                path: call.path.clone(),
            },
            fc: Fc { guest: guest.clone(), parts: self.parts.fc.clone(), deadline: call.deadline, path: call.path.clone() },
            credentials: Credentials { guest: guest.clone() },
        };
        let mut store = Store::new(self.pre.engine(), state);
        limit(&mut store, limits);
        store.data_mut().table.set_max_capacity(limits.handles as usize);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    async fn handle(&self, bound: &BoundCode, function: &Function, call: Call) -> Result<Outcome, InvokeError> {
        let mut store = self.store(bound, function, &call);
        let context = Context {
            request_id: call.request_id,
            invoker_context: call.invoker_context,
            service: function.name.service.clone(),
            function: function.name.function.clone(),
            deadline_ms: millis(call.deadline.saturating_duration_since(Instant::now())),
        };
        let handled = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            instance.ledge_edge_handler().call_handle(&mut store, &call.event, &context).await
        };
        match handled.await {
            Ok(Ok(result)) => Ok(Outcome::Done(result.into())),
            Ok(Err(message)) => Ok(Outcome::Handled(message)),
            Err(error) if failure::is_pool_full(&error) => Err(InvokeError::NoSlot),
            Err(error) => Ok(Outcome::Unhandled(self.explain(&error, store.data(), &function.limits))),
        }
    }

    fn explain(&self, error: &wasmtime::Error, state: &FunctionState, limits: &Limits) -> crate::function::Failure {
        failure::explain(error, &state.limiter, limits, &state.stderr.last_words())
    }
}

/// The limits that wasmtime itself keeps.
pub(super) fn limit<T>(store: &mut Store<T>, limits: &Limits) {
    store.set_epoch_deadline(1);
    store.set_hostcall_fuel(limits.host_call_bytes);
    store.set_max_component_handles(limits.handles as usize);
}

impl BoundCode {
    /// Instantiates once and drops it, to see that the component starts.
    pub async fn try_start(&self, function: &Function) -> Result<(), String> {
        let code = &self.code;
        let deadline = Instant::now() + std::time::Duration::from_millis(function.limits.deadline_ms);
        let mut store = code.store(self, function, &Call::probe(deadline));
        let started = Box::pin(code.pre.instantiate_async(&mut store));
        match tokio::time::timeout_at(deadline.into(), code.ticker.watch(started)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(code.explain(&error, store.data(), &function.limits).message),
            Err(_) => Err(format!("it did not start within {} ms", function.limits.deadline_ms)),
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Code for BoundCode {
    fn run<'a>(&'a self, function: &'a Arc<Function>, call: Call) -> BoxFuture<'a, Result<Outcome, InvokeError>> {
        Box::pin(async move {
            let (deadline, is_callers, began) = (call.deadline, call.is_callers_deadline, Instant::now());
            let handled = Box::pin(self.code.handle(self, function, call));
            // The epoch makes a busy guest yield, and a waiting one waits here: either way the time that ran out drops it.
            match tokio::time::timeout_at(deadline.into(), self.code.ticker.watch(handled)).await {
                Ok(outcome) => outcome,
                Err(_) if is_callers => Ok(Outcome::Unhandled(failure::callers_deadline(millis(began.elapsed())))),
                Err(_) => Ok(Outcome::Unhandled(failure::deadline(function.limits.deadline_ms))),
            }
        })
    }
}
