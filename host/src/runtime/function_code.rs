//! A function's code: each call gets a Store and an instance of its own, and both are dropped at its end, unless the manifest
//! asks for reuse and the call returned.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};

use super::budget::{Budget, Exhausted};
use super::engine::Image;
use super::exports::Exports;
use super::failure::{self, Limiter};
use super::kept::{Hoard, Hoards, Kept, Live};
use super::meter::Meter;
use super::resident::Resident;
use super::state::FunctionState;
use super::{Loaded, Runtime};
use crate::bindings::function::exports::ledge::edge::handler::Context;
use crate::bindings::function::{Function as Handler, FunctionPre};
use crate::capability::credentials::Credentials;
use crate::capability::fc::{Fc, FcParts};
use crate::capability::http::{self, Http};
use crate::capability::iot_data::{IotData, IotDataParts};
use crate::capability::kv::Kv;
use crate::capability::wasi::{self, GuestLog, Output};
use crate::capability::{Guest, Until};
use crate::function::http::Exchange;
use crate::function::{BoxFuture, Call, Code, Failure, Function, InvokeError, Outcome};
use crate::limit::Limits;
use crate::state::State;

pub struct FunctionCode {
    pre: InstancePre<FunctionState>,
    /// Where it can be invoked.
    pub(crate) handler: Option<FunctionPre<FunctionState>>,
    /// Where it answers HTTP requests.
    pub(super) http: Option<ProxyPre<FunctionState>>,
    image: Image,
}

/// What every function's Store needs of the gateway.
pub struct FunctionParts {
    pub iot_data: Arc<IotDataParts>,
    pub fc: Arc<FcParts>,
    pub state: Arc<State>,
    pub hoards: Hoards,
}

/// A function's code with the identity under which it runs: two functions may share one component.
pub struct BoundCode {
    runtime: Arc<Runtime>,
    code: Resident,
    pub guest: Arc<Guest>,
    pub log: Arc<GuestLog>,
    pub(super) outgoing: Arc<http::Outgoing>,
    kept: Arc<Kept<Handler>>,
    pub(super) kept_http: Arc<Kept<Proxy>>,
}

impl FunctionCode {
    pub(super) fn new(linker: &Linker<FunctionState>, component: &Component) -> wasmtime::Result<Self> {
        // A component that imports memories cannot say; then it brings none of its own.
        let initial_bytes = component.resources_required().and_then(|resources| resources.max_initial_memory_size).unwrap_or(0);
        let pre = linker.instantiate_pre(component)?;
        // Which of the two it must have, `inspect` has seen to.
        let (handler, http) = (FunctionPre::new(pre.clone()).ok(), ProxyPre::new(pre.clone()).ok());
        Ok(Self { pre, handler, http, image: Image::of(initial_bytes) })
    }

    pub(super) fn image(&self) -> Image {
        self.image
    }
}

fn on_tick(mut store: StoreContextMut<'_, FunctionState>) -> wasmtime::Result<UpdateDeadline> {
    Ok(store.data_mut().budget.tick()?)
}

/// The limits that wasmtime itself keeps.
pub(super) fn limit<T>(store: &mut Store<T>, limits: &Limits) {
    store.set_epoch_deadline(1);
    store.set_hostcall_fuel(limits.host_call_bytes);
    store.set_max_component_handles(limits.handles as usize);
}

impl BoundCode {
    /// `reuse` is that of the function. Nothing is loaded before it is needed.
    pub fn new(runtime: Arc<Runtime>, guest: Arc<Guest>, log: Arc<GuestLog>, reuse: u32) -> Self {
        let (kept, kept_http) = (Arc::new(Kept::default()), Arc::new(Kept::default()));
        if reuse > 0 {
            let hoards: [Arc<dyn Hoard>; 2] = [kept.clone(), kept_http.clone()];
            for hoard in &hoards {
                runtime.function_parts.hoards.add(hoard);
            }
        }
        Self { runtime, code: Resident::default(), guest, log, outgoing: Arc::default(), kept, kept_http }
    }

    /// Loads the code, if it is not there.
    pub async fn load(&self, function: &Function) -> anyhow::Result<(Arc<FunctionCode>, Loaded)> {
        self.code.load(&self.runtime, function).await
    }

    /// Loads the code, instantiates it once and drops that, to see that the component starts.
    pub async fn try_start(&self, function: &Function) -> Result<Loaded, String> {
        let (code, how) = self.load(function).await.map_err(|error| format!("{error:#}"))?;
        self.instantiate(&code, function).await.map_err(|reason| format!("it does not start: {reason}"))?;
        Ok(how)
    }

    async fn instantiate(&self, code: &FunctionCode, function: &Function) -> Result<(), String> {
        match self.instantiate_once(code, function).await {
            // As for a call: what waits for other functions gives way.
            Err(Ended::NoSlot) if self.runtime.function_parts.hoards.clear() => self.instantiate_once(code, function).await,
            started => started,
        }
        .map_err(|ended| match ended {
            Ended::NoSlot => "every instance of this gateway is in use; try again".to_owned(),
            Ended::Deadline => format!("it did not start within {} ms", function.limits.deadline_ms),
            Ended::Failed(failure) => {
                self.guest.tell(failure.limit, &failure.message);
                failure.message
            }
        })
    }

    async fn instantiate_once(&self, code: &FunctionCode, function: &Function) -> Result<(), Ended> {
        let deadline = Instant::now() + Duration::from_millis(function.limits.deadline_ms);
        let (call, meter) = (Call::probe(deadline), Arc::<Meter>::default());
        let mut store = self.store(code, function, &call);
        store.data_mut().begin(&call, meter.clone());
        let started = Box::pin(code.pre.instantiate_async(&mut store));
        match tokio::time::timeout_at(deadline.into(), self.runtime.ticker.watch(started, meter)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Ended::by(&error, store.data(), &function.limits)),
            Err(_) => Err(Ended::Deadline),
        }
    }

    /// The code, which a call of a function that rested waits for.
    async fn loaded(&self, function: &Function, deadline: Instant) -> Result<Arc<FunctionCode>, InvokeError> {
        if let Some(code) = self.code.get() {
            return Ok(code);
        }
        let name = function.name.clone();
        match tokio::time::timeout_at(deadline.into(), self.load(function)).await {
            Ok(Ok((code, _))) => Ok(code),
            Ok(Err(error)) => Err(InvokeError::NotLoaded { name, reason: format!("{error:#}") }),
            // What was compiled by then is in the cache.
            Err(_) => Err(InvokeError::Loading(name)),
        }
    }

    /// A Store for one instance, as the engine and the grants want it. `bench` takes one too.
    pub(crate) fn store(&self, code: &FunctionCode, function: &Function, call: &Call) -> Store<FunctionState> {
        let (guest, limits, parts) = (&self.guest, &function.limits, &self.runtime.function_parts);
        let stderr = Output::new(self.log.clone());
        let state = FunctionState {
            wasi: wasi::context(guest, &self.log, &stderr, limits.host_call_bytes),
            table: ResourceTable::with_capacity(0),
            limiter: Limiter::new(limits),
            budget: Budget::new(&self.runtime.ticker, limits, call),
            stderr,
            iot_data: IotData {
                guest: guest.clone(),
                parts: parts.iot_data.clone(),
                function: function.base.clone(),
                path: call.path.clone(),
            },
            fc: Fc { guest: guest.clone(), parts: parts.fc.clone(), deadline: Until::Moment(call.deadline), path: call.path.clone() },
            credentials: Credentials { guest: guest.clone() },
            kv: Kv { guest: guest.clone(), state: parts.state.clone(), function: function.base.clone(), bytes_max: limits.kv_bytes },
            http: Http { guest: guest.clone(), outgoing: self.outgoing.clone(), deadline: Until::Moment(call.deadline) },
            http_fields: http::fields(),
        };
        let mut store = Store::new(code.pre.engine(), state);
        limit(&mut store, limits);
        store.data_mut().table.set_max_capacity(limits.handles as usize);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(on_tick);
        store
    }

    /// An instance that is ready for `call`: one of the `kept`, or a fresh one.
    pub(super) async fn live<E: Exports>(
        &self,
        (code, exports, kept): (&FunctionCode, &E, &Kept<E::Instance>),
        function: &Function,
        call: &Call,
        meter: Arc<Meter>,
    ) -> Result<Live<E::Instance>, Ended> {
        if let Some(mut live) = kept.take() {
            live.store.set_epoch_deadline(1);
            live.store.data_mut().begin(call, meter);
            return Ok(live);
        }
        match self.fresh((code, exports), function, call, meter.clone()).await {
            // What waits for other functions gives way to what is needed now.
            Err(Ended::NoSlot) if self.runtime.function_parts.hoards.clear() => self.fresh((code, exports), function, call, meter).await,
            live => live,
        }
    }

    async fn fresh<E: Exports>(
        &self,
        (code, exports): (&FunctionCode, &E),
        function: &Function,
        call: &Call,
        meter: Arc<Meter>,
    ) -> Result<Live<E::Instance>, Ended> {
        let mut store = self.store(code, function, call);
        store.data_mut().begin(call, meter);
        match exports.instantiate(&mut store).await {
            Ok(instance) => Ok(Live { store, instance, calls_left: function.reuse.max(1) }),
            Err(error) => Err(Ended::by(&error, store.data(), &function.limits)),
        }
    }

    async fn handle(
        &self,
        (code, handler): (&FunctionCode, &FunctionPre<FunctionState>),
        function: &Function,
        call: Call,
        meter: Arc<Meter>,
    ) -> Result<Outcome, Ended> {
        let mut live = self.live((code, handler, &self.kept), function, &call, meter).await?;
        let context = Context {
            request_id: call.request_id,
            invoker_context: call.invoker_context,
            service: function.base.service().to_owned(),
            function: function.base.function().to_owned(),
            deadline_ms: millis(call.deadline.saturating_duration_since(Instant::now())),
        };
        let handled = live.instance.ledge_edge_handler().call_handle(&mut live.store, &call.event, &context).await;
        let outcome = match handled {
            Ok(Ok(result)) => Outcome::Done(result.into()),
            Ok(Err(message)) => Outcome::Handled(message),
            Err(error) => return Err(Ended::by(&error, live.store.data(), &function.limits)),
        };
        self.tell_refused(live.store.data(), &function.limits);
        if function.reuse > 0 {
            self.kept.put(live);
        }
        Ok(outcome)
    }
}

/// Why a call did not return.
pub(super) enum Ended {
    NoSlot,
    /// While it computed.
    Deadline,
    Failed(Failure),
}

impl Ended {
    pub(super) fn by(error: &wasmtime::Error, state: &FunctionState, limits: &Limits) -> Self {
        if failure::is_pool_full(error) {
            Self::NoSlot
        } else if matches!(error.downcast_ref::<Exhausted>(), Some(Exhausted::Deadline)) {
            Self::Deadline
        } else {
            Self::Failed(explain(error, state, limits))
        }
    }
}

fn explain(error: &wasmtime::Error, state: &FunctionState, limits: &Limits) -> Failure {
    failure::explain(error, &state.limiter, limits, &state.stderr.last_words())
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl BoundCode {
    /// A guest may go on where it is refused more memory; that it was is told all the same.
    pub(super) fn tell_refused(&self, state: &FunctionState, limits: &Limits) {
        if let Some((limit, message)) = state.limiter.refused(limits) {
            self.guest.tell(limit, &format!("went on without more: {message}"));
        }
    }

    fn drop_kept(&self) {
        let hoards: [&dyn Hoard; 2] = [&*self.kept, &*self.kept_http];
        for hoard in hoards {
            hoard.clear();
        }
    }

    /// Holds a call to its time, and says what became of it.
    async fn in_time<T>(
        &self,
        function: &Function,
        (deadline, is_callers): (Instant, bool),
        meter: Arc<Meter>,
        call: impl Future<Output = Result<T, Ended>>,
    ) -> Result<Result<T, Failure>, InvokeError> {
        let began = Instant::now();
        let call = pin!(call);
        // A busy guest sees its deadline at a tick, and a waiting one waits here: either way the time that ran out drops it.
        let ended = match tokio::time::timeout_at(deadline.into(), self.runtime.ticker.watch(call, meter)).await {
            Ok(Ok(done)) => return Ok(Ok(done)),
            Ok(Err(ended)) => ended,
            Err(_) => Ended::Deadline,
        };
        let failure = match ended {
            Ended::NoSlot => return Err(InvokeError::NoSlot),
            Ended::Deadline if is_callers => failure::callers_deadline(millis(began.elapsed())),
            Ended::Deadline => failure::deadline(function.limits.deadline_ms),
            Ended::Failed(failure) => failure,
        };
        self.guest.tell(failure.limit, &failure.message);
        if failure.limit == Some("stack_bytes") && self.code.overflowed() {
            self.drop_kept();
        }
        Ok(Err(failure))
    }
}

impl Code for BoundCode {
    fn tell(&self, limit: Option<&'static str>, message: &str) {
        self.guest.tell(limit, message);
    }

    fn denied_topic(&self, topic: &str) {
        // A message has nobody to tell the fault.
        let _ = self.guest.denied("subscribe", topic);
    }

    fn is_loaded(&self) -> bool {
        self.code.is_loaded()
    }

    fn rest(&self, function: &Function) -> bool {
        let rests = self.code.rest();
        if rests {
            self.drop_kept();
            self.runtime.forget(&function.digest);
        }
        rests
    }

    fn run<'a>(&'a self, function: &'a Arc<Function>, call: Call) -> BoxFuture<'a, Result<Outcome, InvokeError>> {
        Box::pin(async move {
            let code = self.loaded(function, call.deadline).await?;
            let Some(handler) = &code.handler else { return Err(InvokeError::OnlyHttp(function.name.clone())) };
            let (time, meter) = ((call.deadline, call.is_callers_deadline), Arc::<Meter>::default());
            let handled = self.handle((&code, handler), function, call, meter.clone());
            Ok(self.in_time(function, time, meter, handled).await?.unwrap_or_else(Outcome::Unhandled))
        })
    }

    fn serve<'a>(
        &'a self,
        function: &'a Arc<Function>,
        call: Call,
        exchange: Exchange,
    ) -> BoxFuture<'a, Result<Result<(), Failure>, InvokeError>> {
        Box::pin(async move {
            let code = self.loaded(function, call.deadline).await?;
            let (time, meter) = ((call.deadline, call.is_callers_deadline), Arc::<Meter>::default());
            let answered = self.answer(&code, function, &call, exchange, meter.clone());
            self.in_time(function, time, meter, answered).await
        })
    }
}
