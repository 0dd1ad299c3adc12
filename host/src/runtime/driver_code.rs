//! A driver's code: one instance whose `run` goes on while requests are answered by the same instance, in calls of their own, or by `run`
//! itself where it blocks.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, oneshot};
use wasmtime::component::{Accessor, Component, Linker, ResourceTable};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use super::budget::Exhausted;
use super::failure::{self, Limiter};
use super::function_code::limit;
use super::inspect::BLOCKING_DRIVER;
use super::meter::Meter;
use super::state::DriverState;
use super::ticker::Ticker;
use crate::bindings::blocking::DriverBlockingPre;
use crate::bindings::driver::{Driver, DriverPre};
use crate::bindings::types;
use crate::capability::Guest;
use crate::capability::gateway_info::{GatewayInfo, GatewayInfoParts};
use crate::capability::listen::{Listen, ListenParts};
use crate::capability::requests::{Request, Requests};
use crate::capability::thing_access::{DriverConfig, ThingAccess};
use crate::capability::values::convert;
use crate::capability::wasi::{self, GuestLog, Output};
use crate::function::Failure;
use crate::limit::Limits;
use crate::thing::fault::Fault;
use crate::thing::{Device, STUCK_MAX, Things, Turn};

pub struct DriverCode {
    pre: Pre,
    ticker: Arc<Ticker>,
    parts: DriverParts,
}

#[derive(Clone)]
enum Pre {
    Awaiting(DriverPre<DriverState>),
    Blocking(DriverBlockingPre<DriverState>),
}

/// What of the gateway the capabilities of drivers need.
pub struct DriverParts {
    pub gateway_info: Arc<GatewayInfoParts>,
    pub listen: Arc<ListenParts>,
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

/// How long a guest has been computing without waiting, reporting or answering, in ticks: others who compute do not count.
pub struct Busy {
    ticker: Arc<Ticker>,
    meter: Arc<Meter>,
    cpu_ms: u64,
    /// Where the meter stood when it waited, reported or answered last.
    since: u64,
    pauses: Arc<Pauses>,
}

/// Tells a guest that waits from one that was interrupted: both give their thread back.
#[derive(Default)]
pub struct Pauses {
    /// In the poll that is under way, or was the last.
    was_interrupted: AtomicBool,
    /// At the end of some poll since somebody last asked.
    has_waited: AtomicBool,
}

/// A guest's future that notes how each poll ends.
pub struct Noted<F> {
    pub guest: F,
    pub pauses: Arc<Pauses>,
}

impl<F: Future + Unpin> Future for Noted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.pauses.was_interrupted.store(false, Relaxed);
        let polled = Pin::new(&mut self.guest).poll(context);
        if !self.pauses.was_interrupted.load(Relaxed) {
            self.pauses.has_waited.store(true, Relaxed);
        }
        polled
    }
}

impl Busy {
    pub fn new(ticker: Arc<Ticker>, cpu_ms: u64) -> Self {
        Self { ticker, meter: Arc::default(), cpu_ms, since: 0, pauses: Arc::default() }
    }

    pub fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }

    pub fn pauses(&self) -> Arc<Pauses> {
        self.pauses.clone()
    }

    /// The guest computes, and a tick has passed. Whether it gave another sign of life than to wait.
    pub fn tick(&mut self, is_alive: bool) -> wasmtime::Result<UpdateDeadline> {
        self.pauses.was_interrupted.store(true, Relaxed);
        if is_alive || self.pauses.has_waited.swap(false, Relaxed) {
            self.begin_again();
        }
        let spent_ms = self.spent_ms();
        if spent_ms >= self.cpu_ms {
            return Err(Exhausted::Cpu { spent_ms, cpu_ms: self.cpu_ms }.into());
        }
        Ok(UpdateDeadline::Yield(1))
    }

    fn spent_ms(&self) -> u64 {
        self.meter.spent(self.ticker.ticks()).saturating_sub(self.since)
    }

    /// A sign of life.
    pub fn begin_again(&mut self) {
        self.since = self.meter.spent(self.ticker.ticks());
    }
}

impl DriverCode {
    pub(super) fn new(
        linker: &Linker<DriverState>,
        component: &Component,
        ticker: Arc<Ticker>,
        parts: DriverParts,
    ) -> wasmtime::Result<Self> {
        let linked = linker.instantiate_pre(component)?;
        let pre = match component.get_export_index(None, BLOCKING_DRIVER) {
            Some(_) => Pre::Blocking(DriverBlockingPre::new(linked)?),
            None => Pre::Awaiting(DriverPre::new(linked)?),
        };
        Ok(Self { pre, ticker, parts })
    }

    /// Runs one instance until it ends, traps, or `requests` is closed (which is how it is stopped, with `Ok`).
    pub async fn run(&self, spec: DriverSpec, requests: mpsc::Receiver<Request>) -> Result<(), Failure> {
        let (limits, guest) = (spec.limits, spec.guest.clone());
        let mut store = self.store(spec);
        let (meter, pauses) = (store.data().busy.meter(), store.data().busy.pauses());
        let life = Noted { guest: Box::pin(self.live(&mut store, &limits, requests)), pauses };
        let ended = self.ticker.watch(life, meter).await;
        let state = store.data();
        ended.map_err(|error| {
            let failure = failure::explain(&error, &state.limiter, &limits, &state.stderr.last_words());
            if let Some(limit) = failure.limit {
                // Whoever starts it again says why it ended.
                guest.count(limit);
            }
            failure
        })
    }

    /// Instantiates once and drops it, to see that the component starts.
    pub async fn try_start(&self, spec: DriverSpec) -> Result<(), Failure> {
        let limits = spec.limits;
        let mut store = self.store(spec);
        let meter = store.data().busy.meter();
        let started = Box::pin(self.started(&mut store));
        match tokio::time::timeout(Duration::from_millis(limits.deadline_ms), self.ticker.watch(started, meter)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failure::explain(&error, &store.data().limiter, &limits, &store.data().stderr.last_words())),
            Err(_) => Err(failure::deadline(limits.deadline_ms)),
        }
    }

    /// A Store for one instance. `bench` takes one too.
    pub(crate) fn store(&self, spec: DriverSpec) -> Store<DriverState> {
        let stderr = Output::new(spec.log.clone());
        let devices = spec.config.devices;
        let state = DriverState {
            wasi: wasi::context(&spec.guest, &spec.log, &stderr, spec.limits.host_call_bytes),
            table: ResourceTable::with_capacity(0),
            limiter: Limiter::new(&spec.limits),
            stderr,
            gateway_info: GatewayInfo { guest: spec.guest.clone(), parts: self.parts.gateway_info.clone() },
            listen: Listen::new(spec.guest.clone(), self.parts.listen.clone(), &spec.limits),
            thing_access: ThingAccess::new(spec.guest, spec.name, spec.things, spec.device, spec.config),
            requests: Requests::default(),
            busy: Busy::new(self.ticker.clone(), spec.limits.cpu_ms),
        };
        let engine = match &self.pre {
            Pre::Awaiting(pre) => pre.engine(),
            Pre::Blocking(pre) => pre.engine(),
        };
        let mut store = Store::new(engine, state);
        limit(&mut store, &spec.limits);
        // Things that it is there for do not count. Whatever else it opens has a fault where it is too much; only what nobody could be
        // told so of (calls that are under way, say) ends it, at twice as many.
        let handles = spec.limits.handles as usize + devices;
        store.data_mut().table.set_max_capacity(handles);
        store.set_max_component_handles(handles + spec.limits.handles as usize);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(on_tick);
        store
    }

    async fn started(&self, store: &mut Store<DriverState>) -> wasmtime::Result<()> {
        match &self.pre {
            Pre::Awaiting(pre) => pre.instantiate_async(store).await.map(drop),
            Pre::Blocking(pre) => pre.instantiate_async(store).await.map(drop),
        }
    }

    /// The bare code, of a driver that does not block: for measurements.
    pub(crate) fn awaiting(&self) -> Option<&DriverPre<DriverState>> {
        if let Pre::Awaiting(pre) = &self.pre { Some(pre) } else { None }
    }

    async fn live(&self, store: &mut Store<DriverState>, limits: &Limits, requests: mpsc::Receiver<Request>) -> wasmtime::Result<()> {
        match &self.pre {
            Pre::Awaiting(pre) => live(pre, store, limits, requests).await,
            Pre::Blocking(pre) => live_blocking(pre, store, limits, requests).await,
        }
    }
}

async fn live(
    pre: &DriverPre<DriverState>,
    store: &mut Store<DriverState>,
    limits: &Limits,
    mut requests: mpsc::Receiver<Request>,
) -> wasmtime::Result<()> {
    let deadline = Duration::from_millis(limits.deadline_ms);
    let Ok(driver) = tokio::time::timeout(deadline, pre.instantiate_async(&mut *store)).await else {
        return Err(Exhausted::Deadline.into());
    };
    let driver = driver?;
    let places = Places::new(limits, store.data().thing_access.config.devices);
    store
        .run_concurrent(async |accessor| {
            let mut run = Box::pin(driver.ledge_edge_device().call_run(accessor));
            let (mut calls, mut waiting) = (FuturesUnordered::new(), VecDeque::new());
            loop {
                while let Some(request) = places.next_of(&mut waiting) {
                    calls.push(answer(&driver, accessor, deadline, request, &places));
                }
                tokio::select! {
                    ended = &mut run => return ended?.map_err(|message| failure::RunFailed(message).into()),
                    request = requests.recv(), if places.are_free() && waiting.len() < WAITING_MAX => match request {
                        Some(request) => waiting.push_back(request),
                        None => return Ok(()),
                    },
                    Some(answered) = calls.next() => {
                        if answered? == Answered::InTime {
                            accessor.with(|mut access| access.data_mut().busy.begin_again());
                        }
                    }
                    () = places.freed.notified() => places.check_stuck()?,
                }
            }
        })
        .await?
}

/// Requests that wait here because their thing has as many calls as it may.
const WAITING_MAX: usize = 256;

/// How many calls an instance is at, and how many of those never ended. One thing leaves a quarter of the places to the others.
struct Places {
    max: usize,
    of_one_max: AtomicU32,
    taken: AtomicUsize,
    stuck: AtomicUsize,
    stuck_max: usize,
    freed: Notify,
}

impl Places {
    fn new(limits: &Limits, devices: usize) -> Self {
        let places = Self {
            max: limits.concurrency as usize,
            of_one_max: AtomicU32::new(0),
            taken: AtomicUsize::new(0),
            stuck: AtomicUsize::new(0),
            stuck_max: (limits.handles as usize / HANDLES_A_CALL / 4).max(STUCK_MAX as usize),
            freed: Notify::new(),
        };
        places.share_among(devices);
        places
    }

    fn share_among(&self, devices: usize) {
        let max = self.max as u32;
        self.of_one_max.store(if devices > 1 { max - max / 4 } else { max }, Relaxed);
    }

    fn are_free(&self) -> bool {
        self.taken.load(Relaxed) < self.max
    }

    /// The oldest request that may begin now, with a place.
    fn next_of(&self, waiting: &mut VecDeque<Request>) -> Option<Request> {
        if !self.are_free() {
            return None;
        }
        let of_one_max = self.of_one_max.load(Relaxed);
        let may = |request: &mut Request| request.turn().is_none_or(|turn| turn.running() < of_one_max);
        let mut request = waiting.iter_mut().position(may).and_then(|at| waiting.remove(at))?;
        self.taken.fetch_add(1, Relaxed);
        if let Some(turn) = request.turn() {
            turn.start();
        }
        Some(request)
    }

    fn leave(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }

    /// A call's time is over, and it goes on in the instance, which cannot be told to stop.
    fn get_stuck(&self) {
        self.leave();
        self.stuck.fetch_add(1, Relaxed);
        self.freed.notify_one();
    }

    fn end_stuck(&self) {
        self.stuck.fetch_sub(1, Relaxed);
    }

    fn check_stuck(&self) -> wasmtime::Result<()> {
        let stuck = self.stuck.load(Relaxed);
        if stuck > self.stuck_max { Err(failure::Unended(stuck).into()) } else { Ok(()) }
    }
}

/// What a call takes of the limit `handles` while it goes on.
const HANDLES_A_CALL: usize = 4;

/// The guest takes its requests itself, while it waits.
async fn live_blocking(
    pre: &DriverBlockingPre<DriverState>,
    store: &mut Store<DriverState>,
    limits: &Limits,
    requests: mpsc::Receiver<Request>,
) -> wasmtime::Result<()> {
    let deadline = Duration::from_millis(limits.deadline_ms);
    let Ok(driver) = tokio::time::timeout(deadline, pre.instantiate_async(&mut *store)).await else {
        return Err(Exhausted::Deadline.into());
    };
    let (driver, waiting) = (driver?, store.data().requests.waiting.clone());
    tokio::select! {
        ended = driver.ledge_edge_blocking_driver().call_run(&mut *store) => ended?.map_err(|message| failure::RunFailed(message).into()),
        () = waiting.bring(requests) => Ok(()),
    }
}

#[derive(PartialEq, Eq)]
enum Answered {
    InTime,
    TooLate,
}

/// Carries one request into the guest. An error is a trap, which ends the instance.
async fn answer(
    driver: &Driver,
    accessor: &Accessor<DriverState>,
    deadline: Duration,
    request: Request,
    places: &Places,
) -> wasmtime::Result<Answered> {
    let device = driver.ledge_edge_device();
    match request {
        Request::Get { turn, thing, identifiers, answer } => {
            let called = device.call_get_properties(accessor, thing.into(), identifiers);
            in_time(deadline, called, answer, convert, Some(turn), places).await
        }
        Request::Set { turn, thing, properties, answer } => {
            let called = device.call_set_properties(accessor, thing.into(), convert(properties));
            in_time(deadline, called, answer, |()| (), Some(turn), places).await
        }
        Request::Call { turn, thing, service, arguments, answer } => {
            let called = device.call_call_service(accessor, thing.into(), service, convert(arguments));
            in_time(deadline, called, answer, convert, Some(turn), places).await
        }
        Request::Configure { config, answer } => {
            let whole = config.whole.clone();
            places.share_among(config.devices);
            accessor.with(|mut access| access.data_mut().thing_access.config = config);
            in_time(deadline, device.call_config_changed(accessor, whole), answer, |()| (), None, places).await
        }
    }
}

/// A call goes on in the instance when its asker is gone, who may have had less time: it keeps its place, and is late only when the
/// driver's own time is over.
async fn in_time<G, H>(
    deadline: Duration,
    called: impl Future<Output = wasmtime::Result<Result<G, types::Fault>>>,
    mut answer: oneshot::Sender<Result<H, Fault>>,
    convert: impl FnOnce(G) -> H,
    mut turn: Option<Turn>,
    places: &Places,
) -> wasmtime::Result<Answered> {
    let mut called = pin!(called);
    match tokio::time::timeout(deadline, called.as_mut()).await {
        Ok(result) => {
            places.leave();
            // That the asker is gone is no fault of the driver.
            let _ = answer.send(result?.map(convert).map_err(Fault::from));
            Ok(Answered::InTime)
        }
        Err(_) => {
            // Whoever still waits has the same time, and says in better words that it is over.
            answer.closed().await;
            if let Some(turn) = &mut turn {
                turn.stop_running();
            }
            places.get_stuck();
            drop(called.await?);
            places.end_stuck();
            Ok(Answered::TooLate)
        }
    }
}

fn on_tick(mut store: StoreContextMut<'_, DriverState>) -> wasmtime::Result<UpdateDeadline> {
    let state = store.data_mut();
    let reported = state.thing_access.take_reported();
    state.busy.tick(reported)
}
