//! A persistent function's code: one instance whose `run` goes on while its handler is called in the same instance, one call at a time.
//!
//! A call that a host function waits in holds the instance, and with it what would see here that time is over: who calls sees to that
//! (`persistent.rs`), and drops the whole life.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use wasmtime::component::{Accessor, Component, Linker, ResourceTable};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use super::budget::Exhausted;
use super::driver_code::{Busy, Noted};
use super::failure::{self, Limiter};
use super::function_code::{FunctionParts, limit, millis};
use super::state::PersistentState;
use super::ticker::Ticker;
use crate::bindings::persistent::{PersistentFunction, PersistentFunctionPre};
use crate::bindings::types::Context;
use crate::call_path::CallPath;
use crate::capability::credentials::Credentials;
use crate::capability::fc::Fc;
use crate::capability::http::{self, Http, Outgoing};
use crate::capability::iot_data::IotData;
use crate::capability::kv::Kv;
use crate::capability::wasi::{self, GuestLog, Output};
use crate::capability::{Guest, Until};
use crate::function::{Call, Failure, Outcome};
use crate::limit::Limits;
use crate::name::FunctionName;

pub struct PersistentCode {
    pre: PersistentFunctionPre<PersistentState>,
    ticker: Arc<Ticker>,
}

/// What one instance is started with.
pub struct PersistentSpec {
    pub name: FunctionName,
    pub guest: Arc<Guest>,
    pub log: Arc<GuestLog>,
    pub outgoing: Arc<Outgoing>,
    pub limits: Limits,
    /// What this instance is at, for whoever watches it.
    pub under_way: Arc<UnderWay>,
}

/// The call that is under way.
#[derive(Default)]
pub struct UnderWay {
    now: Mutex<Option<Begun>>,
    changed: Notify,
}

struct Begun {
    at: Instant,
    /// A trap ends the whole instance, and whoever called is told from outside of it.
    answer: oneshot::Sender<Outcome>,
}

impl UnderWay {
    fn begin(&self, answer: oneshot::Sender<Outcome>) {
        *self.now.lock() = Some(Begun { at: Instant::now(), answer });
        self.changed.notify_one();
    }

    fn end(&self, outcome: Outcome) {
        if let Some(begun) = self.now.lock().take() {
            // That the caller is gone is no fault of the function.
            let _ = begun.answer.send(outcome);
        }
        self.changed.notify_one();
    }

    /// Returns once one call has taken longer than that, wherever the instance is held.
    pub async fn is_late(&self, limit: Duration) {
        loop {
            let changed = self.changed.notified();
            let began = self.now.lock().as_ref().map(|begun| begun.at);
            let Some(began) = began else {
                changed.await;
                continue;
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until((began + limit).into()) => return,
            }
        }
    }
}

/// A call of the handler, and where its outcome goes.
pub struct PersistentCall {
    pub call: Call,
    pub answer: oneshot::Sender<Outcome>,
}

impl PersistentCode {
    pub(super) fn new(linker: &Linker<PersistentState>, component: &Component, ticker: Arc<Ticker>) -> wasmtime::Result<Self> {
        Ok(Self { pre: PersistentFunctionPre::new(linker.instantiate_pre(component)?)?, ticker })
    }

    /// Runs one instance until it ends, traps, or `calls` is closed and the last of them has ended (which is how it is stopped, with `Ok`).
    pub async fn run(&self, parts: &FunctionParts, spec: PersistentSpec, calls: mpsc::Receiver<PersistentCall>) -> Result<(), Failure> {
        let (limits, guest, under_way) = (spec.limits, spec.guest.clone(), spec.under_way.clone());
        let mut store = self.store(parts, spec);
        let (meter, pauses) = (store.data().busy.meter(), store.data().busy.pauses());
        let life = Noted { guest: Box::pin(self.live(&mut store, &limits, calls, &under_way)), pauses };
        let ended = self.ticker.watch(life, meter).await;
        ended.map_err(|error| {
            let failure = explain(&error, store.data(), &limits);
            under_way.end(Outcome::Unhandled(failure.clone()));
            if let Some(limit) = failure.limit {
                guest.count(limit);
            }
            failure
        })
    }

    /// Instantiates once and drops it, to see that the component starts.
    pub async fn try_start(&self, parts: &FunctionParts, spec: PersistentSpec) -> Result<(), Failure> {
        let limits = spec.limits;
        let mut store = self.store(parts, spec);
        let meter = store.data().busy.meter();
        let started = Box::pin(self.pre.instantiate_async(&mut store));
        match tokio::time::timeout(Duration::from_millis(limits.deadline_ms), self.ticker.watch(started, meter)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(explain(&error, store.data(), &limits)),
            Err(_) => Err(failure::deadline(limits.deadline_ms)),
        }
    }

    fn store(&self, parts: &FunctionParts, spec: PersistentSpec) -> Store<PersistentState> {
        let PersistentSpec { name, guest, log, outgoing, limits, .. } = spec;
        let stderr = Output::new(log.clone());
        let (path, deadline) = (CallPath::default().then(name.clone()), Until::After(Duration::from_millis(limits.deadline_ms)));
        let state = PersistentState {
            wasi: wasi::context(&guest, &log, &stderr, limits.host_call_bytes),
            table: ResourceTable::with_capacity(0),
            limiter: Limiter::new(&limits),
            stderr,
            iot_data: IotData { guest: guest.clone(), parts: parts.iot_data.clone(), function: name.clone(), path: path.clone() },
            fc: Fc { guest: guest.clone(), parts: parts.fc.clone(), deadline, path },
            credentials: Credentials { guest: guest.clone() },
            kv: Kv { guest: guest.clone(), state: parts.state.clone(), function: name, bytes_max: limits.kv_bytes },
            http: Http { guest, outgoing, deadline },
            http_fields: http::fields(),
            busy: Busy::new(self.ticker.clone(), limits.cpu_ms),
        };
        let mut store = Store::new(self.pre.engine(), state);
        limit(&mut store, &limits);
        store.data_mut().table.set_max_capacity(limits.handles as usize);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(on_tick);
        store
    }

    async fn live(
        &self,
        store: &mut Store<PersistentState>,
        limits: &Limits,
        mut calls: mpsc::Receiver<PersistentCall>,
        under_way: &UnderWay,
    ) -> wasmtime::Result<()> {
        let deadline = Duration::from_millis(limits.deadline_ms);
        let Ok(function) = tokio::time::timeout(deadline, self.pre.instantiate_async(&mut *store)).await else {
            return Err(Exhausted::Deadline.into());
        };
        let function = function?;
        store
            .run_concurrent(async |accessor| {
                let mut run = Box::pin(function.ledge_edge_persistent().call_run(accessor));
                let mut has_returned = false;
                loop {
                    tokio::select! {
                        ended = &mut run, if !has_returned => match ended? {
                            Ok(()) => has_returned = true,
                            Err(message) => return Err(failure::RunFailed(message).into()),
                        },
                        call = calls.recv() => match call {
                            Some(call) => {
                                let handled = handle(&function, accessor, limits, call, under_way);
                                tokio::pin!(handled);
                                loop {
                                    tokio::select! {
                                        ended = &mut handled => break ended?,
                                        ended = &mut run, if !has_returned => match ended? {
                                            Ok(()) => has_returned = true,
                                            Err(message) => return Err(failure::RunFailed(message).into()),
                                        },
                                    }
                                }
                            }
                            None => return Ok(()),
                        },
                    }
                }
            })
            .await?
    }
}

/// Carries one call into the guest. An error ends the instance.
async fn handle(
    function: &PersistentFunction,
    accessor: &Accessor<PersistentState>,
    limits: &Limits,
    call: PersistentCall,
    under_way: &UnderWay,
) -> wasmtime::Result<()> {
    let PersistentCall { call, answer } = call;
    if answer.is_closed() {
        // Whoever called has waited for long enough.
        return Ok(());
    }
    under_way.begin(answer);
    accessor.with(|mut access| access.data_mut().begin(&call));
    let name = accessor.with(|mut access| access.data_mut().iot_data.function.clone());
    let context = Context {
        request_id: call.request_id,
        invoker_context: call.invoker_context,
        service: name.service().to_owned(),
        function: name.function().to_owned(),
        deadline_ms: millis(call.deadline.saturating_duration_since(Instant::now())),
    };
    let handled = function.ledge_edge_persistent().call_handle(accessor, call.event.into(), context).await?;
    accessor.with(|mut access| access.data_mut().end(limits));
    let outcome = handled.map_or_else(Outcome::Handled, |result| Outcome::Done(result.into()));
    under_way.end(outcome);
    Ok(())
}

fn explain(error: &wasmtime::Error, state: &PersistentState, limits: &Limits) -> Failure {
    failure::explain(error, &state.limiter, limits, &state.stderr.last_words())
}

fn on_tick(mut store: StoreContextMut<'_, PersistentState>) -> wasmtime::Result<UpdateDeadline> {
    store.data_mut().busy.tick(false)
}
