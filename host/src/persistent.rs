//! Persistent functions: one supervised instance each, which takes every call, one at a time.
//!
//! Calls wait for an instance that is starting, as they wait for the one before them. One that does not answer in the function's own time
//! ends the instance: nothing less would stop it, and whatever it holds is what the next call would find.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::capability::Guest;
use crate::capability::http::Outgoing;
use crate::capability::wasi::GuestLog;
use crate::function::http::Exchange;
use crate::function::{BoxFuture, Call, Code, Failure, Function, InvokeError, Outcome, Probation};
use crate::runtime::{PersistentCall, PersistentCode, PersistentSpec, Runtime, UnderWay};
use crate::set::{self, Health};
use crate::supervisor::{Change, Ended, Orders, Resident, Residents};

/// Every persistent function of this gateway.
pub type Persistents = Residents<Persistent>;

/// A persistent function as it was deployed.
pub struct Persistent {
    pub row: set::Function,
    pub code: Arc<PersistentCode>,
    pub guest: Arc<Guest>,
    pub log: Arc<GuestLog>,
    runtime: Arc<Runtime>,
    outgoing: Arc<Outgoing>,
    calls: Mutex<Calls>,
    /// Its first instances count as its first calls do.
    probation: Option<Arc<Probation>>,
}

/// Where calls go: the instance that runs, or that is about to.
struct Calls {
    sender: mpsc::Sender<PersistentCall>,
    /// For the next instance, which has not begun.
    receiver: Option<mpsc::Receiver<PersistentCall>>,
    /// Why there is none.
    away: Option<String>,
}

/// Calls that may lie before the instance. The gate lets one through; others are those whose callers gave up.
const CALLS_WAITING_MAX: usize = 8;
/// Beyond the function's own deadline: whoever calls sees it first.
const GRACE: Duration = Duration::from_millis(20);

impl Calls {
    fn new(away: Option<String>) -> Self {
        let (sender, receiver) = mpsc::channel(CALLS_WAITING_MAX);
        Self { sender, receiver: Some(receiver), away }
    }
}

impl Persistent {
    pub fn new(
        row: set::Function,
        code: Arc<PersistentCode>,
        guest: Arc<Guest>,
        log: Arc<GuestLog>,
        runtime: Arc<Runtime>,
        probation: Option<Arc<Probation>>,
    ) -> Self {
        let (outgoing, calls) = (Arc::default(), Mutex::new(Calls::new(None)));
        Self { row, code, guest, log, runtime, outgoing, calls, probation }
    }

    /// Instantiates once without running it, to see that the component starts.
    pub async fn try_start(&self) -> Result<(), String> {
        self.code.try_start(&self.runtime.function_parts, self.spec(Arc::default())).await.map_err(|failure| failure.message)
    }

    fn spec(&self, under_way: Arc<UnderWay>) -> PersistentSpec {
        PersistentSpec {
            // What it does, it does under the name that its versions share.
            name: self.row.name.base(),
            guest: self.guest.clone(),
            log: self.log.clone(),
            outgoing: self.outgoing.clone(),
            limits: self.row.limits,
            under_way,
        }
    }

    /// Runs it for one call, before anybody else can call it.
    pub async fn check(self: &Arc<Self>, function: Arc<Function>, health: &Health) -> Result<(), String> {
        if health.event.is_none() {
            // It was started once; how its instances do, it shows then.
            return Ok(());
        }
        let (_keep, mut orders) = Orders::of(self.clone());
        let checked = tokio::select! {
            checked = function.check(health) => checked,
            ended = self.one_life(&mut orders) => Err(ended.map_or_else(|failure| failure.message, |_| "it ended".to_owned())),
        };
        // The instance is gone: callers wait for the next one.
        *self.calls.lock() = Calls::new(None);
        checked
    }

    fn own_deadline(&self) -> Duration {
        Duration::from_millis(self.row.limits.deadline_ms)
    }

    /// The outcome will come there.
    fn send(&self, call: Call) -> Result<oneshot::Receiver<Outcome>, InvokeError> {
        let (answer, answered) = oneshot::channel();
        let calls = self.calls.lock();
        let away = |reason: &str| InvokeError::Away { name: self.row.name.clone(), reason: reason.to_owned() };
        if let Some(reason) = &calls.away {
            return Err(away(reason));
        }
        calls.sender.try_send(PersistentCall { call, answer }).map_err(|_| away("it is still busy with calls whose callers gave up"))?;
        Ok(answered)
    }

    async fn call(&self, call: Call) -> Result<Outcome, InvokeError> {
        let (deadline, is_callers, began) = (call.deadline, call.is_callers_deadline, Instant::now());
        let answered = self.send(call)?;
        let failure = match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(outcome)) => return Ok(outcome),
            Ok(Err(_)) => Failure { limit: None, message: "its instance ended before it answered".to_owned() },
            // If it has begun it goes on, for as long as the function's own time.
            Err(_) if is_callers => {
                let message = format!("stopped after {} ms, at its caller's deadline", began.elapsed().as_millis());
                Failure { limit: Some("deadline_ms"), message }
            }
            Err(_) => {
                let message = format!("stopped at its deadline of {} ms", self.row.limits.deadline_ms);
                Failure { limit: Some("deadline_ms"), message }
            }
        };
        self.guest.tell(failure.limit, &failure.message);
        Ok(Outcome::Unhandled(failure))
    }
}

impl Resident for Persistent {
    fn name(&self) -> String {
        self.row.name.to_string()
    }

    fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }

    /// Whatever a deployment changes of it makes a new one.
    fn change(&self, new: &Self) -> Change {
        if std::ptr::eq(self, new) { Change::Nothing } else { Change::Replaced }
    }

    async fn one_life(&self, orders: &mut Orders<Self>) -> Result<Ended, Failure> {
        let calls = {
            let mut calls = self.calls.lock();
            if calls.receiver.is_none() {
                *calls = Calls::new(calls.away.take());
            }
            calls.receiver.take().expect("new ones have one")
        };
        let began = Instant::now();
        let (code, under_way) = (self.code.clone(), Arc::<UnderWay>::default());
        let mut life = std::pin::pin!(code.run(&self.runtime.function_parts, self.spec(under_way.clone()), calls));
        let late = under_way.is_late(self.own_deadline() + GRACE);
        let ended = tokio::select! {
            ended = &mut life => ended.map(|()| Ended::Returned),
            () = late => Err(Failure { limit: None, message: format!("a call was not over within {} ms", self.row.limits.deadline_ms) }),
            _ = orders.next() => {
                // No more calls: those who come look for what is in its place. The one that is under way may end.
                *self.calls.lock() = Calls::new(Some("it is being replaced, or taken away".to_owned()));
                life.await.map(|()| Ended::Stopped)
            }
        };
        if let (Err(failure), Some(probation)) = (&ended, &self.probation) {
            probation.life_failed(&self.row.name, began.elapsed(), &failure.message);
        }
        let mut calls = self.calls.lock();
        if calls.receiver.is_none() {
            *calls = Calls::new(calls.away.take());
        }
        ended
    }

    fn stop_timeout(&self) -> Duration {
        self.own_deadline() + GRACE * 10
    }

    fn is_back(&self) {
        self.calls.lock().away = None;
    }

    fn is_away(&self, why: &str) {
        self.calls.lock().away = Some(why.to_owned());
    }

    fn is_out(&self, why: &str) {
        self.is_away(&format!("it is {why}"));
    }
}

/// What a [`Function`] of this mode runs.
pub struct PersistentHandle(pub Arc<Persistent>);

impl Code for PersistentHandle {
    fn run<'a>(&'a self, _: &'a Arc<Function>, call: Call) -> BoxFuture<'a, Result<Outcome, InvokeError>> {
        Box::pin(self.0.call(call))
    }

    fn serve<'a>(&'a self, _: &'a Arc<Function>, _: Call, _: Exchange) -> BoxFuture<'a, Result<Result<(), Failure>, InvokeError>> {
        // A deployment refuses it.
        let failure = Failure { limit: None, message: "is persistent, and has no handler of HTTP requests".to_owned() };
        Box::pin(std::future::ready(Ok(Err(failure))))
    }

    fn rest(&self, _: &Function) -> bool {
        false
    }

    fn is_loaded(&self) -> bool {
        self.0.calls.lock().away.is_none()
    }

    fn tell(&self, limit: Option<&'static str>, message: &str) {
        self.0.guest.tell(limit, message);
    }

    fn denied_topic(&self, topic: &str) {
        // A message has nobody to tell the fault.
        let _ = self.0.guest.denied("subscribe", topic);
    }
}
