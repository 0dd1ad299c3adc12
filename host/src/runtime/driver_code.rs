//! A driver's code: one instance whose `run` goes on while requests are answered by the same instance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{Accessor, Component, Linker, ResourceTable};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use super::budget::Exhausted;
use super::failure::{self, Limiter};
use super::function_code::limit;
use super::state::DriverState;
use super::ticker::Ticker;
use crate::bindings::driver::{Driver, DriverPre};
use crate::bindings::types;
use crate::capability::Guest;
use crate::capability::thing_access::{DriverConfig, ThingAccess};
use crate::capability::values::convert;
use crate::capability::wasi::{self, GuestLog, Output};
use crate::function::Failure;
use crate::limit::Limits;
use crate::name::ThingId;
use crate::thing::fault::Fault;
use crate::thing::value::Property;
use crate::thing::{Device, Things};

pub struct DriverCode {
    pub(crate) pre: DriverPre<DriverState>,
    ticker: Arc<Ticker>,
}

/// What one instance of a driver is started with.
pub struct DriverSpec {
    pub name: String,
    pub guest: Arc<Guest>,
    pub log: Arc<GuestLog>,
    pub limits: Limits,
    pub things: Arc<Things>,
    /// Who answers for the things that this instance registers.
    pub device: Arc<dyn Device>,
    pub config: Arc<DriverConfig>,
}

/// A call into the instance, and where its answer goes. An answer that nobody waits for any more is given up.
pub enum Request {
    Get { thing: ThingId, identifiers: Vec<String>, answer: oneshot::Sender<Result<Vec<Property>, Fault>> },
    Set { thing: ThingId, properties: Vec<Property>, answer: oneshot::Sender<Result<(), Fault>> },
    Call { thing: ThingId, service: String, arguments: Vec<Property>, answer: oneshot::Sender<Result<Vec<Property>, Fault>> },
}

/// How long a guest has been computing without waiting, reporting or answering.
pub struct Busy {
    since: Instant,
    last_tick: Instant,
    cpu_ms: u64,
}

/// Ticks come each millisecond while a guest computes; a longer gap means that it waited.
const BUSY_GAP: Duration = Duration::from_millis(50);
/// Calls that a driver never answered. So many mean that it hangs, and each holds memory of the instance.
const ABANDONED_MAX: u32 = 64;

impl DriverCode {
    pub(super) fn new(linker: &Linker<DriverState>, component: &Component, ticker: Arc<Ticker>) -> wasmtime::Result<Self> {
        Ok(Self { pre: DriverPre::new(linker.instantiate_pre(component)?)?, ticker })
    }

    /// Runs one instance until it ends, traps, or `requests` is closed (which is how it is stopped, with `Ok`).
    pub async fn run(&self, spec: DriverSpec, requests: mpsc::Receiver<Request>) -> Result<(), Failure> {
        let (limits, guest) = (spec.limits, spec.guest.clone());
        let mut store = self.store(spec);
        let life = Box::pin(self.live(&mut store, requests));
        let ended = self.ticker.watch(life, Arc::default()).await;
        let state = store.data();
        ended.map_err(|error| {
            let failure = failure::explain(&error, &state.limiter, &limits, &state.stderr.last_words());
            if let Some(limit) = failure.limit {
                guest.met_limit(limit);
            }
            failure
        })
    }

    /// Instantiates once and drops it, to see that the component starts.
    pub async fn try_start(&self, spec: DriverSpec) -> Result<(), Failure> {
        let limits = spec.limits;
        let mut store = self.store(spec);
        let started = Box::pin(self.pre.instantiate_async(&mut store));
        match tokio::time::timeout(Duration::from_millis(limits.deadline_ms), self.ticker.watch(started, Arc::default())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failure::explain(&error, &store.data().limiter, &limits, &store.data().stderr.last_words())),
            Err(_) => Err(failure::deadline(limits.deadline_ms)),
        }
    }

    /// A Store for one instance. `bench` takes one too.
    pub(crate) fn store(&self, spec: DriverSpec) -> Store<DriverState> {
        let now = Instant::now();
        let stderr = Output::new(spec.log.clone());
        let state = DriverState {
            wasi: wasi::context(&spec.guest, &spec.log, &stderr),
            table: ResourceTable::with_capacity(0),
            limiter: Limiter::new(&spec.limits),
            stderr,
            thing_access: ThingAccess::new(spec.guest, spec.name, spec.things, spec.device, spec.config),
            busy: Busy { since: now, last_tick: now, cpu_ms: spec.limits.cpu_ms },
        };
        let mut store = Store::new(self.pre.engine(), state);
        limit(&mut store, &spec.limits);
        store.data_mut().table.set_max_capacity(spec.limits.handles as usize);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(on_tick);
        store
    }

    async fn live(&self, store: &mut Store<DriverState>, mut requests: mpsc::Receiver<Request>) -> wasmtime::Result<()> {
        let driver = self.pre.instantiate_async(&mut *store).await?;
        store
            .run_concurrent(async |accessor| {
                let mut run = Box::pin(driver.ledge_edge_device().call_run(accessor));
                let mut calls = FuturesUnordered::new();
                let mut abandoned = 0;
                loop {
                    tokio::select! {
                        ended = &mut run => return ended?.map_err(|message| failure::RunFailed(message).into()),
                        request = requests.recv() => match request {
                            Some(request) => calls.push(answer(&driver, accessor, request)),
                            None => return Ok(()),
                        },
                        Some(answered) = calls.next() => {
                            accessor.with(|mut access| access.data_mut().busy.since = Instant::now());
                            if answered? == Answered::TooLate {
                                abandoned += 1;
                            }
                            if abandoned > ABANDONED_MAX {
                                wasmtime::bail!("it hangs: {ABANDONED_MAX} calls were never answered");
                            }
                        }
                    }
                }
            })
            .await?
    }
}

#[derive(PartialEq, Eq)]
enum Answered {
    InTime,
    TooLate,
}

/// Carries one request into the guest. An error is a trap, which ends the instance.
async fn answer(driver: &Driver, accessor: &Accessor<DriverState>, request: Request) -> wasmtime::Result<Answered> {
    let device = driver.ledge_edge_device();
    match request {
        Request::Get { thing, identifiers, answer } => {
            let called = device.call_get_properties(accessor, thing.into(), identifiers);
            in_time(called, answer, convert).await
        }
        Request::Set { thing, properties, answer } => {
            let called = device.call_set_properties(accessor, thing.into(), convert(properties));
            in_time(called, answer, |()| ()).await
        }
        Request::Call { thing, service, arguments, answer } => {
            let called = device.call_call_service(accessor, thing.into(), service, convert(arguments));
            in_time(called, answer, convert).await
        }
    }
}

async fn in_time<G, H>(
    called: impl Future<Output = wasmtime::Result<Result<G, types::Fault>>>,
    mut answer: oneshot::Sender<Result<H, Fault>>,
    convert: impl FnOnce(G) -> H,
) -> wasmtime::Result<Answered> {
    tokio::select! {
        result = called => {
            // The asker may have gone in this very moment; that is no fault of the driver.
            let _ = answer.send(result?.map(convert).map_err(Fault::from));
            Ok(Answered::InTime)
        }
        () = answer.closed() => Ok(Answered::TooLate),
    }
}

fn on_tick(mut store: StoreContextMut<'_, DriverState>) -> wasmtime::Result<UpdateDeadline> {
    let state = store.data_mut();
    let (now, reported) = (Instant::now(), state.thing_access.take_reported());
    let busy = &mut state.busy;
    if reported || now.duration_since(busy.last_tick) > BUSY_GAP {
        busy.since = now;
    }
    busy.last_tick = now;
    let spent_ms = u64::try_from(now.duration_since(busy.since).as_millis()).unwrap_or(u64::MAX);
    if spent_ms >= busy.cpu_ms {
        return Err(Exhausted::Cpu { spent_ms, cpu_ms: busy.cpu_ms }.into());
    }
    Ok(UpdateDeadline::Yield(1))
}
