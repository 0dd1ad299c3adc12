//! A function's call, bare and through Ledge.
//!
//! Bare is wasmtime with this gateway's engine, linker and Store data, and nothing of the policy: no lookup, no place at the
//! gate, no request id, no deadline and no ticker. Through Ledge one function calls another, many times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use wasmtime::Store;

use super::guests::Guests;
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::{Effort, Name};
use crate::audit::Audit;
use crate::bindings::function as bindings;
use crate::bindings::function::exports::ledge::edge::handler::Context;
use crate::bus::Bus;
use crate::capability::Guest;
use crate::capability::fc::FcParts;
use crate::capability::gateway_info::{GatewayInfoParts, Machine};
use crate::capability::iot_data::IotDataParts;
use crate::capability::listen::ListenParts;
use crate::capability::wasi::GuestLog;
use crate::clock::Clock;
use crate::function::{Call, Function, Functions, Invocation, Outcome};
use crate::gateway::{GuestRuntime, this_program};
use crate::grant::ClosedDirs;
use crate::grant::Grants;
use crate::grant::InvokeGrants;
use crate::limit::REUSE;
use crate::metric::Metrics;
use crate::queue::Queue;
use crate::runtime::{self, BoundCode, FunctionState, Runtime};
use crate::seal::Seal;
use crate::set;
use crate::state::State;
use crate::store;
use crate::thing::Things;

/// Calls that are timed as one: a single one is too short for the clock, and the caller's own start is spread over them.
const CALLS: u32 = 100;
/// What an invocation from another function may cost beyond the bare runtime's work, the crossing into the host included.
const FRESH_OVERHEAD_US_MAX: f64 = 6.0;
const WARM_OVERHEAD_US_MAX: f64 = 2.0;
const EVENT: &[u8] = b"x";
/// What an instance answers that was never called before.
pub const FIRST: &str = "1";

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch) -> anyhow::Result<Vec<Row>> {
    let functions = Arc::new(Functions::default());
    let things = Arc::new(Things::in_memory(Arc::new(Bus::default()), Clock::system()));
    let runtime = runtime(guests, scratch, functions.clone(), things)?;
    let kept = set::Function { name: "bench/kept".parse()?, reuse: *REUSE.end(), ..guests.count.clone() };
    let invoke = InvokeGrants { sync: vec!["bench/*".parse()?], ..InvokeGrants::default() };
    let repeat = set::Function { grants: Arc::new(Grants { invoke, ..Grants::default() }), ..guests.repeat.clone() };
    let (bound, function) = load(&runtime, &guests.count).await?;
    functions.replace([function.clone(), load(&runtime, &kept).await?.1, load(&runtime, &repeat).await?.1]);

    let workers = GuestRuntime::start()?;
    let rounds = effort.rounds;
    let measured = workers.handle().spawn(async move { Measured::take(rounds, &bound, &function, &functions).await });
    let measured = measured.await.context("measuring functions")??;
    Ok(measured.rows())
}

/// A runtime as the gateway has it, with nothing deployed.
pub fn runtime(guests: &Guests, scratch: &Scratch, functions: Arc<Functions>, things: Arc<Things>) -> anyhow::Result<Arc<Runtime>> {
    let store = Arc::new(store::Store::in_memory());
    let runtime = Runtime::new(runtime::Parts {
        cache_dir: scratch.path().join("cache"),
        program: this_program(),
        seal: Arc::new(Seal::ephemeral()),
        guests: tokio::runtime::Handle::current(),
        components: guests.components.clone(),
        iot_data: Arc::new(IotDataParts { things, bus: Arc::new(Bus::default()) }),
        gateway_info: Arc::new(GatewayInfoParts { machine: Machine::here(scratch.path(), Clock::system()), functions: functions.clone() }),
        fc: Arc::new(FcParts { functions, queue: Queue::open(store.clone(), Clock::system(), None)? }),
        state: State::open(store, None)?,
        listen: Arc::new(ListenParts { guests: tokio::runtime::Handle::current(), tls: None }),
    });
    Ok(Arc::new(runtime?))
}

/// A function as `deploy` makes it.
pub async fn load(runtime: &Arc<Runtime>, row: &set::Function) -> anyhow::Result<(Arc<BoundCode>, Arc<Function>)> {
    let who = Arc::new(Guest::new(
        format!("function {}", row.name),
        row.grants.clone(),
        Arc::new(ClosedDirs::new([])),
        &row.limits,
        Audit::in_memory(),
        Metrics::default(),
    ));
    let log = Arc::new(GuestLog::new(who.clone(), row.limits.log_bytes_per_s));
    let bound = Arc::new(BoundCode::new(runtime.clone(), who, log, row.reuse));
    let function = Function::new(row, bound.clone(), Arc::default());
    bound.load(&function).await?;
    Ok((bound, Arc::new(function)))
}

#[derive(Default)]
struct Measured {
    bare_fresh: Samples,
    bare_warm: Samples,
    invoke_fresh: Samples,
    invoke_warm: Samples,
}

impl Measured {
    async fn take(rounds: usize, bound: &BoundCode, function: &Arc<Function>, functions: &Functions) -> anyhow::Result<Self> {
        let context = context(function);
        let mut kept = Instance::start(bound, function).await?;
        // The first round is thrown away: it finds every cache cold.
        let mut measured = Self::default();
        for round in 0..=rounds {
            if round == 1 {
                measured = Self::default();
            }
            measured.bare_fresh.time(CALLS, many_fresh(bound, function, &context)).await?;
            measured.invoke_fresh.time(CALLS, repeat(functions, &format!("invoke {CALLS} bench count"))).await?;
            measured.bare_warm.time(CALLS, kept.warm(&context)).await?;
            measured.invoke_warm.time(CALLS, repeat(functions, &format!("invoke {CALLS} bench kept"))).await?;
            tokio::task::yield_now().await;
        }
        Ok(measured)
    }

    fn rows(&self) -> Vec<Row> {
        let row = |name, samples: &Samples| Row::of_samples(name, samples).note(format!("median of {} times {CALLS} calls", samples.len()));
        let bare_fresh = row(Name::BareFresh, &self.bare_fresh);
        let bare_warm = row(Name::BareWarm, &self.bare_warm);
        let invoke_fresh = row(Name::InvokeFresh, &self.invoke_fresh).beside(&bare_fresh).at_most_over_baseline(FRESH_OVERHEAD_US_MAX);
        let invoke_warm = row(Name::InvokeWarm, &self.invoke_warm).beside(&bare_warm).at_most_over_baseline(WARM_OVERHEAD_US_MAX);
        vec![invoke_fresh, invoke_warm, bare_fresh, bare_warm]
    }
}

/// Has the guest `repeat` do something.
pub async fn repeat(functions: &Functions, event: &str) -> anyhow::Result<()> {
    match functions.invoke(Invocation::new("bench/repeat".parse()?, event.to_owned())).await? {
        Outcome::Done(_) => Ok(()),
        other => bail!("`repeat` answered `{event}` with {other:?}"),
    }
}

async fn many_fresh(bound: &BoundCode, function: &Function, context: &Context) -> anyhow::Result<()> {
    for _ in 0..CALLS {
        fresh(bound, function, context).await?;
    }
    Ok(())
}

/// One call in an instance of its own, which is dropped at its end.
async fn fresh(bound: &BoundCode, function: &Function, context: &Context) -> anyhow::Result<()> {
    let answer = Instance::start(bound, function).await?.call(context).await?;
    ensure!(answer == FIRST.as_bytes(), "a fresh instance answered {answer:?}");
    Ok(())
}

fn context(function: &Function) -> Context {
    Context {
        request_id: String::new(),
        invoker_context: String::new(),
        service: function.name.service().to_owned(),
        function: function.name.function().to_owned(),
        deadline_ms: function.limits.deadline_ms,
    }
}

/// An instance without Ledge's policy.
struct Instance {
    store: Store<FunctionState>,
    exports: bindings::Function,
}

impl Instance {
    async fn start(bound: &BoundCode, function: &Function) -> anyhow::Result<Self> {
        let (code, _) = bound.load(function).await?;
        let call = Call::probe(Instant::now() + Duration::from_millis(function.limits.deadline_ms));
        let mut store = bound.store(&code, function, &call);
        let handler = code.handler.as_ref().context("the function has no handler")?;
        let exports = handler.instantiate_async(&mut store).await.map_err(plain)?;
        Ok(Self { store, exports })
    }

    async fn warm(&mut self, context: &Context) -> anyhow::Result<()> {
        for _ in 0..CALLS {
            self.call(context).await?;
        }
        Ok(())
    }

    async fn call(&mut self, context: &Context) -> anyhow::Result<Vec<u8>> {
        let handled = self.exports.ledge_edge_handler().call_handle(&mut self.store, EVENT, context).await;
        handled.map_err(plain)?.map_err(|message| anyhow::anyhow!("the function answered an error: {message}"))
    }
}

/// wasmtime's error type is not anyhow's.
pub fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}
