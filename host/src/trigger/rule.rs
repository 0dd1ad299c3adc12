//! Automation rules at work: what happens is judged by every rule that is about it, at once and without waiting, and what a rule then does
//! goes on by itself, each action apart from the others.
//!
//! A rule of QoS 1 has its actions on disk before the report that set it off is acknowledged; one of QoS 0 has only those that wait for
//! their delay. What is on disk runs at least once. Every judgement is kept for those who ask why ([`Rules::events`]), and every run in a
//! log ([`Rules::runs`]).

mod act;
mod log;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Map, Value as Json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::audit::Audit;
use crate::bus::{Bus, Kind, Message, Published, Receipt, Sink, Source};
use crate::call_path::CallPath;
use crate::clock::Clock;
use crate::function::Functions;
use crate::name::ThingId;
use crate::queue::Queue;
use crate::rule::{self, Cause, Devices, Fact, Happened, Known, Rule, Verdict};
use crate::set::{self, Qos};
use crate::store::writer::{Handle, NotWritten};
use crate::store::{Batch, Store, Table};
use crate::telemetry::OncePerSecond;
use crate::thing::{Presence, Things};
use crate::trigger::timer::{ADJUSTED_MAX, Now, Row, Ticking};
pub use log::{Acted, Evaluation, Outcome, Run};
use waiting::{Place, State, Waiting};

/// Calls that may lead to a rule, itself included: as deep as those of a function may nest.
const DEPTH_MAX: u32 = 8;
/// How often the log of runs is written.
const WRITTEN_BEHIND: Duration = Duration::from_secs(1);

/// What rules work with.
pub struct Parts {
    pub store: Arc<Store>,
    pub writer: Handle,
    pub clock: Clock,
    pub things: Arc<Things>,
    pub functions: Arc<Functions>,
    pub queue: Arc<Queue>,
    pub bus: Arc<Bus>,
    pub audit: Audit,
}

/// Every rule that is deployed.
pub struct Rules {
    parts: Parts,
    table: ArcSwap<Index>,
    /// What somebody switched, over deployments and restarts.
    switched: Mutex<HashMap<String, bool>>,
    /// The last events of the kinds that some condition asks for.
    events: Mutex<HashMap<(ThingId, String), Told>>,
    next_event: AtomicU64,
    next_action: AtomicU64,
    changed: Notify,
    refusals: OncePerSecond,
    /// The gateway ends: nothing happens any more, and what is on disk stays there.
    is_stopping: AtomicBool,
    /// What a crash left is gone.
    is_swept: AtomicBool,
}

/// An event's outputs, and when it came, in milliseconds since 1970.
type Told = (Map<String, Json>, u64);

/// The rules, and by whom they are found.
#[derive(Default)]
struct Index {
    rules: BTreeMap<String, Arc<Live>>,
    by_thing: HashMap<ThingId, Vec<Arc<Live>>>,
    by_product: HashMap<String, Vec<Arc<Live>>>,
    wanted_events: HashSet<(ThingId, String)>,
}

/// A rule that is deployed. Its state is its name's, and goes on when the rule changes.
struct Live {
    row: set::Rule,
    rule: Rule,
    state: Arc<Mutex<State>>,
}

/// What is shown of a rule.
pub struct RuleState {
    pub row: set::Rule,
    pub is_on: bool,
    /// Runs since the gateway started.
    pub runs: u64,
    pub last_ms: Option<u64>,
    /// Of its timers.
    pub next_ms: Option<u64>,
    pub waiting: usize,
}

/// What a rule would do, had something happened.
pub struct Test {
    pub verdict: Option<Verdict>,
    pub actions: Vec<TestedAction>,
}

pub struct TestedAction {
    pub what: String,
    pub delay: Duration,
    /// Why it would fail, as things are now.
    pub problem: Option<String>,
}

/// What a test is to believe of things in place of what is known.
pub type Believed = HashMap<(ThingId, String), Json>;

/// Why a rule is not told to run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    #[error("{0}")]
    None(#[from] NoSuchRule),
    #[error("the gateway is stopping")]
    Stopping,
    #[error("{0}")]
    NotWritten(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no rule `{0}`; `ledge list rules` shows those that there are")]
pub struct NoSuchRule(pub String);

impl Rules {
    pub fn open(parts: Parts) -> anyhow::Result<Arc<Self>> {
        let switched = parts.store.list_json::<bool>(Table::RulesSwitched)?.into_iter().collect();
        let last = parts.store.keys(Table::RuleActions, "")?.iter().filter_map(|key| waiting::number(key)).max();
        Ok(Arc::new(Self {
            parts,
            table: ArcSwap::default(),
            switched: Mutex::new(switched),
            events: Mutex::default(),
            next_event: AtomicU64::new(1),
            next_action: AtomicU64::new(last.map_or(0, |last| last + 1)),
            changed: Notify::new(),
            refusals: OncePerSecond::default(),
            is_stopping: AtomicBool::new(false),
            is_swept: AtomicBool::new(false),
        }))
    }

    /// Replaces all rules. What waits of a rule that stays goes on; what waits of one that goes is dropped.
    pub fn replace(&self, rows: Vec<set::Rule>) {
        let old = self.table.load_full();
        let mut batch = Batch::new();
        let mut index = Index::default();
        for row in rows {
            // A deployment checks it. This one was made by another version.
            let rule = match rule::parse(&row.rule) {
                Ok(rule) => rule,
                Err(wrongs) => {
                    tracing::error!("rule `{}` does not run: {}", row.name, wrongs[0]);
                    continue;
                }
            };
            let live = Arc::new(self.live(row, rule, &old, &mut batch));
            index.add(&live);
        }
        for (name, gone) in old.rules.iter().filter(|(name, _)| !index.rules.contains_key(*name)) {
            self.forget(name, &mut gone.state.lock(), &mut batch);
        }
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            self.sweep(&index, &mut batch);
        }
        self.events.lock().retain(|kind, _| index.wanted_events.contains(kind));
        self.table.store(Arc::new(index));
        // It need not be waited for: what is left of a rule that is gone is swept away by the next start.
        drop(self.parts.writer.commit(batch));
        self.changed.notify_one();
    }

    /// What is to be in the commit of these rules: what was switched before does not count any more where a manifest says something new.
    pub fn prepare(&self, rows: &[set::Rule], batch: &mut Batch) {
        let table = self.table.load();
        let stays = |name: &String| {
            let before = table.rules.get(name).map(|live| live.row.enabled);
            rows.iter().any(|row| row.name == *name && before == Some(row.enabled))
        };
        for name in self.switched.lock().keys().filter(|name| !stays(name)) {
            batch.delete(Table::RulesSwitched, name.clone());
        }
    }

    /// Lets nothing happen any more, and writes what is to be known. Actions that are under way may end.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let mut batch = Batch::new();
        for live in self.table.load().rules.values() {
            live.state.lock().log.flush(&mut batch);
        }
        drop(self.parts.writer.commit(batch));
    }

    fn live(&self, row: set::Rule, rule: Rule, old: &Index, batch: &mut Batch) -> Live {
        let before = old.rules.get(&row.name);
        let is_switched_anew = before.is_some_and(|before| before.row.enabled != row.enabled);
        if is_switched_anew {
            // Its row went with the commit of this deployment.
            self.switched.lock().remove(&row.name);
        }
        let is_on = self.switched.lock().get(&row.name).copied().unwrap_or(row.enabled);
        let state = match before {
            Some(before) => before.state.clone(),
            None => Arc::new(Mutex::new(State::restored(&self.parts.store, &row.name, Now::of(&self.parts.clock)))),
        };
        {
            let mut state = state.lock();
            state.is_on = is_on;
            if !is_on {
                self.drop_waiting(&row.name, &mut state, "its rule was disabled", batch);
            }
            self.arm(&row.name, &rule, &mut state, batch);
        }
        Live { row, rule, state }
    }

    /// Its timers: those that were there with the same schedule go on.
    fn arm(&self, name: &str, rule: &Rule, state: &mut State, batch: &mut Batch) {
        let now = Now::of(&self.parts.clock);
        let mut old = std::mem::take(&mut state.ticking);
        for gone in old.iter().map(|(at, _)| *at) {
            batch.delete(Table::Timers, tick_key(name, gone));
        }
        for (at, schedule, missed) in rule.timers() {
            let key = tick_key(name, at);
            let ticking = match old.iter().position(|(_, ticking)| ticking.schedule == *schedule) {
                Some(place) => {
                    let mut ticking = old.swap_remove(place).1;
                    ticking.missed = missed;
                    Ok(ticking)
                }
                None => Ticking::new(schedule, missed, self.parts.store.get_json::<Row>(Table::Timers, &key).ok().flatten(), now),
            };
            match ticking {
                Ok(ticking) => {
                    // A row of ours has no float and no map: it always is JSON.
                    let _ = batch.put_json(Table::Timers, key, &ticking.row());
                    state.ticking.push((at, ticking));
                }
                Err(wrong) => tracing::error!("a timer of rule `{name}` does not tick: {wrong}"),
            }
        }
    }

    fn forget(&self, name: &str, state: &mut State, batch: &mut Batch) {
        self.drop_waiting(name, state, "its rule was deleted", batch);
        for (at, _) in state.ticking.drain(..) {
            batch.delete(Table::Timers, tick_key(name, at));
        }
        for key in state.log.forget() {
            batch.delete(Table::RuleRuns, key);
        }
        self.switched.lock().remove(name);
    }

    /// What a crash left of rules that were deleted just before.
    fn sweep(&self, index: &Index, batch: &mut Batch) {
        let tables = [(Table::RuleActions, ""), (Table::RuleRuns, ""), (Table::RulesSwitched, ""), (Table::Timers, TICKS)];
        for (table, prefix) in tables {
            for key in self.parts.store.keys(table, prefix).unwrap_or_default() {
                let name = key[prefix.len()..].split('/').next().unwrap_or_default();
                if !index.rules.contains_key(name) {
                    batch.delete(table, key);
                }
            }
        }
    }

    fn drop_waiting(&self, name: &str, state: &mut State, why: &str, batch: &mut Batch) {
        let now_ms = self.parts.clock.unix_ms();
        let dropped = std::mem::take(&mut state.waiting);
        if !dropped.is_empty() {
            tracing::warn!("{} actions of rule `{name}` that were to run later are dropped: {why}", dropped.len());
        }
        for waiting in dropped.into_values() {
            if waiting.is_on_disk {
                batch.delete(Table::RuleActions, waiting.key(name));
            }
            state.log.ended(&waiting.place, Err(format!("dropped: {why}")), now_ms);
        }
    }

    /// In the order of their names.
    pub fn list(&self) -> Vec<RuleState> {
        let now = Now::of(&self.parts.clock);
        let shown = |live: &Arc<Live>| {
            let state = live.state.lock();
            RuleState {
                row: live.row.clone(),
                is_on: state.is_on,
                runs: state.runs,
                last_ms: state.log.last_ms(),
                next_ms: state.ticking.iter().filter_map(|(_, ticking)| ticking.next_ms(now)).min(),
                waiting: state.waiting.len() + state.running,
            }
        };
        self.table.load().rules.values().map(shown).collect()
    }

    fn find(&self, name: &str) -> Result<Arc<Live>, NoSuchRule> {
        self.table.load().rules.get(name).cloned().ok_or_else(|| NoSuchRule(name.to_owned()))
    }

    /// Switches a rule on or off, over restarts and deployments. Ready once that is on disk.
    pub async fn switch(&self, name: &str, is_on: bool, who: &str) -> Result<Result<(), NotWritten>, NoSuchRule> {
        let live = self.find(name)?;
        let mut batch = Batch::new();
        {
            let mut state = live.state.lock();
            state.is_on = is_on;
            if !is_on {
                self.drop_waiting(name, &mut state, "its rule was disabled", &mut batch);
            }
            self.switched.lock().insert(name.to_owned(), is_on);
            // A bool always is JSON.
            let _ = batch.put_json(Table::RulesSwitched, name.to_owned(), &is_on);
        }
        let written = self.parts.writer.commit(batch).await;
        if written.is_ok() {
            self.parts.audit.record(who, if is_on { "rule enabled" } else { "rule disabled" }, name);
        }
        Ok(written)
    }

    /// Runs a rule whatever its triggers say, if its conditions hold. What of it is to be on the disk is there when this returns.
    pub async fn trigger(&self, name: &str, by: &str, path: &CallPath) -> Result<Evaluation, TriggerError> {
        let live = self.find(name)?;
        let happened = Happened::new(Cause::Told { by: by.to_owned() }, self.parts.clock.unix_ms());
        let number = self.next_event.fetch_add(1, Ordering::Relaxed);
        // Whoever tells a rule to run is always judged, unless the gateway is stopping.
        let (evaluation, written) = self.consider(&live, number, &happened, path).ok_or(TriggerError::Stopping)?;
        match written {
            Some(written) if evaluation.is_run() => written.await.map_err(TriggerError::NotWritten)?,
            _ => {}
        }
        Ok(evaluation)
    }

    /// What a rule would do. Nothing happens.
    pub fn test(&self, rule: &Rule, happened: &Happened, believed: &Believed) -> Test {
        let known = Believing { believed, rules: self, at_ms: happened.at_ms };
        let tested = |action: &rule::Action| TestedAction {
            what: action.deed.to_string(),
            delay: action.delay,
            problem: self.foreseen(&action.deed),
        };
        let actions = rule.actions.iter().map(|action| tested(&action.it)).collect();
        Test { verdict: rule.judge(happened, &known), actions }
    }

    /// The rule of a name, as it was understood.
    pub fn rule(&self, name: &str) -> Result<Rule, NoSuchRule> {
        Ok(self.find(name)?.rule.clone())
    }

    /// The last things that happened and that this rule was asked about, or every rule, the newest first.
    pub fn events(&self, name: Option<&str>) -> Result<Vec<(String, Evaluation)>, NoSuchRule> {
        let lives = match name {
            Some(name) => vec![self.find(name)?],
            None => self.table.load().rules.values().cloned().collect(),
        };
        let of = |live: &Arc<Live>| -> Vec<_> {
            live.state.lock().evaluations.iter().map(|evaluation| (live.row.name.clone(), evaluation.clone())).collect()
        };
        let mut all: Vec<_> = lives.iter().flat_map(of).collect();
        all.sort_by_key(|(_, evaluation)| std::cmp::Reverse(evaluation.number));
        Ok(all)
    }

    /// The log of a rule, the newest run first. It touches the disk.
    pub fn runs(&self, name: &str) -> Result<anyhow::Result<Vec<Run>>, NoSuchRule> {
        let live = self.find(name)?;
        let (keys, unwritten) = live.state.lock().log.all();
        let read = |key: String| match unwritten.get(&key) {
            Some(run) => Ok(Some(run.clone())),
            None => Ok(self.parts.store.get_json::<Run>(Table::RuleRuns, &key)?.map(Run::after_all)),
        };
        Ok(keys.into_iter().rev().filter_map(|key| read(key).transpose()).collect())
    }

    /// `None`: the rule is not about this. The receipt is for what it has put on the disk, or for what it was to put there and did not.
    fn consider(&self, live: &Live, number: u64, happened: &Happened, path: &CallPath) -> Option<(Evaluation, Option<Receipt>)> {
        if self.is_stopping.load(Ordering::Relaxed) {
            return None;
        }
        let verdict = live.rule.judge(happened, self)?;
        let mut receipt = None;
        let outcome = if !verdict.fires {
            Outcome::NotMet
        } else {
            match self.start(live, happened, &verdict, path) {
                Ok((trace, kept)) => {
                    receipt = kept;
                    Outcome::Ran(trace)
                }
                Err(Refused::Off) => Outcome::Off,
                Err(Refused::For(reason)) => {
                    if let Some(others) = self.refusals.turn() {
                        let name = &live.row.name;
                        tracing::warn!("rule `{name}` does not run: {reason} (and {others} more such runs since the last such line)");
                    }
                    if live.row.qos == Qos::AtLeastOnce {
                        let reason = format!("rule `{}` does not run: {reason}", live.row.name);
                        receipt = Some(Box::pin(std::future::ready(Err(reason))) as Receipt);
                    }
                    Outcome::Refused(reason)
                }
            }
        };
        let (thing, cause) = (happened.cause.thing().cloned(), happened.shown.clone());
        let evaluation = Evaluation { number, at_ms: happened.at_ms, thing, cause, verdict, outcome };
        live.state.lock().note(evaluation.clone());
        Some((evaluation, receipt))
    }

    /// Has the actions of a rule run. The receipt is for those of them that are on the disk.
    fn start(&self, live: &Live, happened: &Happened, verdict: &Verdict, path: &CallPath) -> Result<(Uuid, Option<Receipt>), Refused> {
        let name = &live.row.name;
        if path.depth() >= DEPTH_MAX {
            return Err(Refused::For(format!("a loop is cut, since {path} -> rule {name} is nested deeper than {DEPTH_MAX}")));
        }
        let now = Now::of(&self.parts.clock);
        let path = path.then(format!("rule {name}"));
        let mut batch = Batch::new();
        let mut state = live.state.lock();
        if !state.is_on {
            return Err(Refused::Off);
        }
        let telling = live.rule.actions.iter().filter(|action| action.it.deed.tells_the_cause()).count();
        // Written down whole only where somebody is told.
        let cause = if telling > 0 { Arc::new(happened.cause.to_json()) } else { Arc::default() };
        let cause_bytes = if telling > 0 { cause.to_string().len() } else { 0 };
        state.has_room(&live.row, live.rule.actions.len(), telling * cause_bytes, now.monotonic).map_err(Refused::For)?;
        let run = Run::new(now.wall_ms, happened, verdict.clone(), &live.rule);
        let key = run.key(name);
        for (at, action) in live.rule.actions.iter().enumerate() {
            let is_on_disk = live.row.qos == Qos::AtLeastOnce || !action.it.delay.is_zero();
            let is_told = action.it.deed.tells_the_cause();
            let waiting = Waiting {
                number: self.next_action.fetch_add(1, Ordering::Relaxed),
                place: Place { run: key.clone(), trace: run.trace, action: at },
                deed: action.it.deed.clone(),
                cause: if is_told { cause.clone() } else { Arc::default() },
                cause_bytes: if is_told { cause_bytes } else { 0 },
                at_ms: happened.at_ms,
                path: path.clone(),
                from_ms: now.wall_ms,
                delay_ms: u64::try_from(action.it.delay.as_millis()).unwrap_or(u64::MAX),
                is_on_disk,
                not_yet_since: None,
            };
            if is_on_disk {
                batch.put_json(Table::RuleActions, waiting.key(name), &waiting).map_err(|error| Refused::For(format!("{error:#}")))?;
            }
            state.waiting.insert((now.monotonic + action.it.delay, waiting.number), waiting);
        }
        let trace = run.trace;
        state.runs += 1;
        state.log.began(key, run);
        drop(state);
        self.changed.notify_one();
        let written = (!batch.is_empty()).then(|| self.parts.writer.commit(batch));
        let receipt = written.map(|written| -> Receipt { Box::pin(async { written.await.map_err(|lost| lost.to_string()) }) });
        Ok((trace, receipt))
    }

    /// Sets off what is due, until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut actions = JoinSet::new();
        loop {
            let changed = self.changed.notified();
            let mut due = Vec::new();
            let next = self.step(&mut due);
            for (live, waiting) in due {
                let rules = self.clone();
                actions.spawn(async move { rules.perform(&live, waiting).await });
            }
            while actions.try_join_next().is_some() {}
            tokio::select! {
                () = changed => {}
                () = self.parts.clock.until(next) => {}
            }
        }
    }

    /// What is due now goes into `due`. When there is something to look at again.
    fn step(&self, due: &mut Vec<(Arc<Live>, Waiting)>) -> Instant {
        let now = Now::of(&self.parts.clock);
        let mut next = now.monotonic + ADJUSTED_MAX;
        if self.is_stopping.load(Ordering::Relaxed) {
            return next;
        }
        let mut batch = Batch::new();
        for live in self.table.load().rules.values() {
            self.tick(live, now, &mut batch);
            let mut state = live.state.lock();
            while let Some(waiting) = state.take_due(now.monotonic) {
                due.push((live.clone(), waiting));
            }
            state.log.write(&mut batch, now.monotonic);
            let timers = state.ticking.iter().map(|(_, ticking)| ticking.look_again(now));
            next = timers.chain(state.next_due()).chain(state.log.next_write()).fold(next, Instant::min);
        }
        if !batch.is_empty() {
            drop(self.parts.writer.commit(batch));
        }
        next
    }

    fn tick(&self, live: &Live, now: Now, batch: &mut Batch) {
        let due: Vec<(usize, u64)> = {
            let mut state = live.state.lock();
            let due =
                |(at, ticking): &mut (usize, Ticking)| -> Vec<_> { ticking.due(now).into_iter().map(|tick_ms| (*at, tick_ms)).collect() };
            state.ticking.iter_mut().flat_map(due).collect()
        };
        for (trigger, tick_ms) in due {
            let happened = Happened::new(Cause::Tick { trigger }, tick_ms);
            let number = self.next_event.fetch_add(1, Ordering::Relaxed);
            let _ = self.consider(live, number, &happened, &CallPath::default());
            let mut state = live.state.lock();
            if let Some((_, ticking)) = state.ticking.iter_mut().find(|(at, _)| *at == trigger) {
                // A row of ours has no float and no map: it always is JSON.
                let _ = batch.put_json(Table::Timers, tick_key(&live.row.name, trigger), &ticking.row_after(tick_ms));
                ticking.last_ms = Some(tick_ms);
            }
        }
    }

    /// What a message of a thing is to rules, and in which words.
    fn happened(&self, message: &Message, thing: &ThingId) -> Option<Happened> {
        let payload = || serde_json::from_slice::<Json>(message.payload.bytes()).ok();
        let cause = match &message.kind {
            Kind::Properties => {
                let Json::Object(reported) = payload()? else { return None };
                let values = reported.into_iter().map(|(name, mut it)| (name, it["value"].take())).collect();
                Cause::Properties { thing: thing.clone(), values }
            }
            Kind::Event(event) => {
                let outputs = payload()?["params"]["value"].take();
                let outputs = outputs.as_object().cloned().unwrap_or_default();
                Cause::Event { thing: thing.clone(), event: event.clone(), outputs }
            }
            Kind::Status { is_online } => Cause::Status { thing: thing.clone(), is_online: *is_online },
            Kind::Message => return None,
        };
        Some(Happened::new(cause, self.parts.clock.unix_ms()))
    }

    fn remember(&self, index: &Index, happened: &Happened) {
        if let Cause::Event { thing, event, outputs } = &happened.cause {
            let kind = (thing.clone(), event.clone());
            if index.wanted_events.contains(&kind) {
                self.events.lock().insert(kind, (outputs.clone(), happened.at_ms));
            }
        }
    }
}

/// Why a rule whose conditions hold does not run.
enum Refused {
    Off,
    For(String),
}

impl Sink for Rules {
    fn deliver(&self, message: &Arc<Message>) -> Option<Receipt> {
        let Source::Thing(thing) = &message.source else { return None };
        let index = self.table.load();
        let (of_thing, of_product) = (index.by_thing.get(thing), index.by_product.get(&thing.product_key));
        let is_asked_for = matches!(message.kind, Kind::Event(_)) && !index.wanted_events.is_empty();
        if of_thing.is_none() && of_product.is_none() && !is_asked_for {
            return None;
        }
        let happened = self.happened(message, thing)?;
        self.remember(&index, &happened);
        let number = self.next_event.fetch_add(1, Ordering::Relaxed);
        let mut receipts = Vec::new();
        for live in of_thing.into_iter().flatten().chain(of_product.into_iter().flatten()) {
            let receipt = self.consider(live, number, &happened, &message.path).and_then(|(_, receipt)| receipt);
            // A reporter waits for what is promised, and not for what only waits for its delay.
            receipts.extend(receipt.filter(|_| live.row.qos == Qos::AtLeastOnce));
        }
        let all = |receipts: Vec<Receipt>| -> Receipt { Box::pin(Published::new(receipts).kept()) };
        (!receipts.is_empty()).then(|| all(receipts))
    }
}

impl Known for Rules {
    fn value(&self, thing: &ThingId, property: &str) -> Option<(Json, u64)> {
        let reported = self.parts.things.get(thing).ok()?.value(property)?;
        Some((reported.value.to_json(), reported.time_ms))
    }

    fn event(&self, thing: &ThingId, event: &str) -> Option<(Map<String, Json>, u64)> {
        self.events.lock().get(&(thing.clone(), event.to_owned())).cloned()
    }

    fn is_online(&self, thing: &ThingId) -> Option<bool> {
        Some(self.parts.things.get(thing).ok()?.presence() == Presence::Online)
    }
}

/// What is known, but for what a test says.
struct Believing<'b> {
    believed: &'b Believed,
    rules: &'b Rules,
    at_ms: u64,
}

impl Known for Believing<'_> {
    fn value(&self, thing: &ThingId, property: &str) -> Option<(Json, u64)> {
        let believed = self.believed.get(&(thing.clone(), property.to_owned())).map(|value| (value.clone(), self.at_ms));
        believed.or_else(|| self.rules.value(thing, property))
    }

    fn event(&self, thing: &ThingId, event: &str) -> Option<(Map<String, Json>, u64)> {
        self.rules.event(thing, event)
    }

    fn is_online(&self, thing: &ThingId) -> Option<bool> {
        self.rules.is_online(thing)
    }
}

impl Index {
    fn add(&mut self, live: &Arc<Live>) {
        let (mut things, mut products) = (HashSet::new(), HashSet::new());
        for devices in live.rule.devices() {
            match devices {
                Devices::One(thing) => things.insert(thing.clone()),
                Devices::Product(key) => products.insert(key.clone()),
            };
        }
        // A rule that listens to the whole product is found by that alone, and so judged once.
        for thing in things.into_iter().filter(|thing| !products.contains(&thing.product_key)) {
            self.by_thing.entry(thing).or_default().push(live.clone());
        }
        for product in products {
            self.by_product.entry(product).or_default().push(live.clone());
        }
        for fact in live.rule.condition.facts() {
            if let Fact::Event { thing, event, .. } = &fact.it {
                self.wanted_events.insert((thing.clone(), event.clone()));
            }
        }
        self.rules.insert(live.row.name.clone(), live.clone());
    }
}

/// Of a timer of a rule, in the table of timers. No function's name begins so.
fn tick_key(name: &str, trigger: usize) -> String {
    format!("{TICKS}{name}/{trigger}")
}

const TICKS: &str = ":rule/";
