//! A function's call, bare and through Ledge.
//!
//! Bare is wasmtime with this gateway's engine, linker and Store data, and nothing of the policy: no lookup, no place at the
//! gate, no request id, no deadline and no ticker.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
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
use crate::capability::iot_data::IotDataParts;
use crate::capability::wasi::GuestLog;
use crate::clock::Clock;
use crate::function::{Call, Function, Functions, Invocation, Outcome};
use crate::gateway::{GuestRuntime, this_program};
use crate::metric::Metrics;
use crate::queue::Queue;
use crate::runtime::{BoundCode, FunctionState, Runtime};
use crate::seal::Seal;
use crate::thing::Things;

/// Calls of a kept instance that are timed as one: a single one is too short for the clock.
const WARM_CALLS: u32 = 100;
/// What an invocation may cost beyond the bare runtime's work.
const OVERHEAD_US_MAX: f64 = 10.0;
const EVENT: &[u8] = b"x";
/// What an instance answers that was never called before.
pub const FIRST: &str = "1";

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch) -> anyhow::Result<Vec<Row>> {
    let functions = Arc::new(Functions::default());
    let runtime = runtime(scratch, functions.clone())?;
    let component = guests.component(&guests.count.component)?;
    let (code, _) = runtime.load_function(&guests.count.component, component, guests.count.limits.stack_bytes)?;
    let (grants, limits) = (guests.count.grants.clone(), &guests.count.limits);
    let who = Arc::new(Guest::new("function bench/count".to_owned(), grants, limits, Audit::in_memory(), Metrics::default()));
    let log = Arc::new(GuestLog::new(who.clone(), limits.log_bytes_per_s));
    let bound = Arc::new(BoundCode::new(code, who, log));
    let function = Arc::new(Function::new(&guests.count, bound.clone(), Metrics::default().function("bench/count")));
    functions.replace([function.clone()]);

    let workers = GuestRuntime::start()?;
    let (rounds, calls) = (effort.rounds, effort.calls);
    let measured = workers.handle().spawn(async move { Measured::take(rounds, calls, &bound, &function, &functions).await });
    let measured = measured.await.context("measuring functions")??;
    Ok(measured.rows())
}

/// A runtime as the gateway has it, with nothing deployed.
pub fn runtime(scratch: &Scratch, functions: Arc<Functions>) -> anyhow::Result<Runtime> {
    let bus = Arc::new(Bus::default());
    let things = Arc::new(Things::new(bus.clone(), Clock::system()));
    let fc = FcParts { functions, queue: Arc::new(Queue::default()) };
    let seal = Arc::new(Seal::ephemeral());
    Runtime::new(&scratch.path().join("cache"), this_program(), seal, Arc::new(IotDataParts { things, bus }), Arc::new(fc))
}

#[derive(Default)]
struct Measured {
    bare_fresh: Samples,
    bare_warm: Samples,
    invoke_fresh: Samples,
}

impl Measured {
    async fn take(rounds: usize, calls: usize, bound: &BoundCode, function: &Arc<Function>, functions: &Functions) -> anyhow::Result<Self> {
        let context = context(function);
        let mut kept = Instance::start(bound, function).await?;
        // The first round is thrown away: it finds every cache cold.
        let mut measured = Self::default();
        for round in 0..=rounds {
            if round == 1 {
                measured = Self::default();
            }
            for _ in 0..calls {
                measured.bare_fresh.time(1, fresh(bound, function, &context)).await?;
            }
            for _ in 0..calls {
                let invocation = async { functions.invoke(Invocation::new(function.name.clone(), Bytes::from_static(EVENT))).await };
                match measured.invoke_fresh.time(1, invocation).await? {
                    Outcome::Done(answer) if answer == FIRST => {}
                    other => bail!("a fresh instance answered {other:?}"),
                }
            }
            measured.bare_warm.time(WARM_CALLS, kept.warm(&context)).await?;
            tokio::task::yield_now().await;
        }
        Ok(measured)
    }

    fn rows(&self) -> Vec<Row> {
        let bare_fresh = Row::of_samples(Name::BareFresh, &self.bare_fresh);
        let groups = format!("median of {} times {WARM_CALLS} calls", self.bare_warm.len());
        let bare_warm = Row::of_samples(Name::BareWarm, &self.bare_warm).note(groups);
        let invoke_fresh = Row::of_samples(Name::InvokeFresh, &self.invoke_fresh);
        let invoke_warm = Row::missing(Name::InvokeWarm, "us").note("no instance is kept between calls yet: every call is fresh");
        vec![invoke_fresh.beside(&bare_fresh).at_most_over_baseline(OVERHEAD_US_MAX), invoke_warm.beside(&bare_warm), bare_fresh, bare_warm]
    }
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
        service: function.name.service.clone(),
        function: function.name.function.clone(),
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
        let mut store = bound.code.store(bound, function, &Call::probe(Instant::now()));
        let exports = bound.code.pre.instantiate_async(&mut store).await.map_err(plain)?;
        Ok(Self { store, exports })
    }

    async fn warm(&mut self, context: &Context) -> anyhow::Result<()> {
        for _ in 0..WARM_CALLS {
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
