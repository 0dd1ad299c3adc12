//! Deployment: checks a set, makes its code ready, and switches to it in one commit. Every way of deploying goes
//! through here, and so does the start, which switches to what the store holds.

mod check;
mod check_rules;
mod check_uses;
mod components;
mod config_files;
mod entries;
mod notes;
mod report;
mod secret;
mod versions;

use std::collections::HashSet;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use crate::audit::Audit;
use crate::capability::Guest;
use crate::capability::thing_access::DriverConfig;
use crate::capability::wasi::GuestLog;
use crate::clock::Clock;
use crate::driver::{Deployed, Drivers};
use crate::function::{Aliases, Failing, Function, Functions, Probation};
use crate::grant::{ClosedDirs, Grants};
use crate::limit::{Limits, UNUSED_BYTES_MAX};
use crate::memory;
use crate::metric::{FunctionMetrics, Metrics};
use crate::name::FunctionName;
use crate::persistent::{Persistent, PersistentHandle, Persistents};
use crate::runtime::{BoundCode, DriverCode, Kind, Loaded, Runtime};
use crate::schedule;
use crate::seal::Seal;
use crate::set::{self, Digest, Health, Mode, Set};
use crate::store::{Batch, Store, Table};
use crate::telemetry::printable;
use crate::thing::tsl::Tsl;
use crate::thing::{Product, Things};
use crate::trigger::http::HttpTriggers;
use crate::trigger::route::Routes;
use crate::trigger::rule::Rules;
use crate::trigger::timer::Timers;
pub use components::{Components, PutError};
pub use config_files::ConfigFiles;
pub use notes::{CodeNote, FunctionNote, Note, Notes};
pub use report::{Change, Report};
pub use versions::{Alias, Past, Version, VersionError, Versions};

/// What a deployment changes.
#[derive(Clone)]
pub struct Parts {
    pub clock: Clock,
    /// Where guests run.
    pub guests: tokio::runtime::Handle,
    pub store: Arc<Store>,
    /// Seals the environment of components at rest.
    pub seal: Arc<Seal>,
    pub closed_dirs: Arc<ClosedDirs>,
    pub components: Components,
    pub config_files: ConfigFiles,
    pub runtime: Arc<Runtime>,
    pub functions: Arc<Functions>,
    pub drivers: Arc<Drivers>,
    pub persistents: Arc<Persistents>,
    pub things: Arc<Things>,
    pub routes: Arc<Routes>,
    pub http: Arc<HttpTriggers>,
    pub timers: Arc<Timers>,
    pub rules: Arc<Rules>,
    pub audit: Audit,
    pub metrics: Metrics,
}

pub struct Deploy {
    parts: Parts,
    /// One deployment at a time, from the first look at the store to the switch.
    turn: tokio::sync::Mutex<()>,
    /// What is deployed now.
    current: Mutex<State>,
    /// Who is told by functions whose first calls all fail.
    failing: mpsc::UnboundedSender<Failing>,
    /// Whether something of it cannot run, and so does not.
    is_incomplete: AtomicBool,
}

/// What is to become of a product, by what it is now; or why nothing can.
pub type MakeProduct<'a> = Box<dyn FnOnce(Option<&set::Product>) -> Result<Option<set::Product>, String> + Send + 'a>;

/// A function that is ready, or why it cannot be.
type Made = Result<MadeFunction, String>;

struct MadeFunction {
    function: Arc<Function>,
    /// Where it is a persistent one: what is to be supervised.
    persistent: Option<Arc<Persistent>>,
    how: Loaded,
}

/// Functions that are made ready at once. There are as many compilers as processors; the others wait for one.
const SIDE_BY_SIDE: usize = 16;

/// Why nothing was deployed. What ran before runs on.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The set is wrong; each line says what, and what to do.
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

/// All that a gateway knows of what runs on it.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub set: Set,
    pub versions: Versions,
    pub notes: Notes,
}

/// Whether a function has to show that it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// By its health check, and its first calls.
    Checked,
    /// None of it is new.
    Trusted,
    /// It was deployed before: whoever goes back to it has his reasons, also where something else was made for what comes after it.
    Back,
}

/// Why versions, aliases or a function are left as they are.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("{0}")]
    Version(#[from] VersionError),
    #[error("{0}")]
    Deploy(#[from] DeployError),
}

/// A set that is ready to run.
struct Ready {
    products: Vec<Arc<Product>>,
    functions: Vec<Arc<Function>>,
    persistents: Vec<Arc<Persistent>>,
    drivers: Vec<Arc<Deployed>>,
    /// Components that had to be compiled.
    compiled: usize,
    /// What cannot run any more, and why.
    left_out: Vec<String>,
}

/// What is deployed, and what there is to go back to, by its digest.
fn used(state: &State) -> HashSet<String> {
    let State { set, versions, .. } = state;
    let files = set.drivers.iter().flat_map(|row| row.files.iter().map(|file| &file.content));
    let used = set.functions.iter().chain(versions.kept()).map(|row| &row.component);
    used.chain(set.drivers.iter().map(|row| &row.component)).chain(files).map(|digest| digest.as_str().to_owned()).collect()
}

impl Deploy {
    /// With what [`watch`] waits for.
    pub fn new(parts: Parts) -> (Self, mpsc::UnboundedReceiver<Failing>) {
        let current = Mutex::new(State { set: Set::default(), versions: Versions::default(), notes: Notes::default() });
        let (failing, failed) = mpsc::unbounded_channel();
        (Self { parts, turn: tokio::sync::Mutex::default(), current, failing, is_incomplete: AtomicBool::new(false) }, failed)
    }

    pub fn components(&self) -> &Components {
        &self.parts.components
    }

    /// What is deployed now.
    pub fn current(&self) -> Set {
        self.current.lock().set.clone()
    }

    /// Why a function is not what was deployed last, if it went back by itself.
    pub fn went_back(&self, name: &FunctionName) -> Option<String> {
        self.current.lock().versions.went_back.get(name).cloned()
    }

    /// What is kept besides.
    pub fn versions(&self) -> Versions {
        self.current.lock().versions.clone()
    }

    /// Switches to what the store holds. What cannot run any more is left out, loudly.
    pub async fn restore(&self) -> anyhow::Result<()> {
        let _turn = self.turn.lock().await;
        let store = &self.parts.store;
        let mut set = Set {
            products: rows(store, Table::Products)?,
            things: rows(store, Table::Things)?,
            drivers: rows(store, Table::Drivers)?,
            functions: rows(store, Table::Functions)?,
            routes: rows(store, Table::Routes)?,
            rules: rows(store, Table::Rules)?,
        };
        let mut versions = Versions::read(store).context("reading versions")?;
        for (who, grants) in guests(&mut set).chain(versions.grants()) {
            secret::unseal(&self.parts.seal, &who, grants)?;
        }
        let notes = Notes::read(store).context("reading notes")?;
        let state = State { set, versions, notes };
        let ready = self.make_ready(&state, &state, Care::Checked).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        self.switch(state, ready).await;
        Ok(())
    }

    /// Deploys `set` beside what is there; with `prune`, instead of what is there.
    pub async fn apply(&self, set: Set, prune: bool, who: &str) -> Result<Report, DeployError> {
        let drivers = set.drivers.iter().map(|row| row.name.clone());
        let named: Vec<String> = drivers.chain(set.functions.iter().map(|row| row.name.to_string())).collect();
        let now_ms = self.parts.clock.unix_ms();
        let change = |state: &mut State| {
            state.versions.went_back.retain(|name, _| !set.functions.iter().any(|row| row.name == *name));
            let after = if prune { set } else { merge(state.set.clone(), set) };
            state.versions.remember(&state.set, &after, now_ms);
            state.set = after;
            Ok(())
        };
        self.change(change, Care::Checked, &named, who).await.map(|((), report)| report)
    }

    /// Deploys a project, unless it is the same that was deployed under this name last: what was changed on the gateway since then stays.
    pub async fn apply_project(&self, name: &str, set: Set, who: &str) -> Result<Option<Report>, DeployError> {
        let written = serde_json::to_vec(&set).context("writing down the project")?;
        // Keyed: it has secrets in it.
        let (key, mac) = (format!("project {name}"), self.parts.seal.mac("project", &[&written]).to_vec());
        let is_same = self.parts.store.get(Table::Meta, &key)?.is_some_and(|last| last == mac);
        if is_same && !self.is_incomplete.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let report = self.apply(set, false, who).await?;
        let mut batch = Batch::new();
        batch.put(Table::Meta, key, mac);
        tokio::task::block_in_place(|| self.parts.store.commit(batch)).context("noting what was deployed")?;
        Ok(Some(report))
    }

    /// Deploys beside what is there what `set` makes of that, in its turn: nothing comes in between.
    pub async fn apply_beside(&self, set: impl FnOnce(&Set) -> Set, who: &str) -> Result<Report, DeployError> {
        let beside = |state: &mut State| {
            let set = set(&state.set);
            state.set = merge(std::mem::take(&mut state.set), set);
            Ok::<_, DeployError>(())
        };
        self.change(beside, Care::Checked, &[], who).await.map(|((), report)| report)
    }

    /// Compiles a driver's component for its deployment to come, which then holds up no other. It is ready for as long as this is held.
    pub async fn load_driver(&self, digest: &Digest, stack_bytes: usize) -> Result<Arc<DriverCode>, String> {
        let digest = digest.clone();
        self.load(move |runtime| runtime.load_driver(&digest, stack_bytes)).await.map(|(code, _)| code)
    }

    /// Publishes the functions of a service as they are deployed. The number of the version.
    pub async fn publish(&self, service: &str, description: &str, who: &str) -> Result<u32, ChangeError> {
        let now_ms = self.parts.clock.unix_ms();
        let publish = |state: &mut State| Ok::<_, ChangeError>(state.versions.publish(&state.set, service, description, now_ms)?);
        self.change(publish, Care::Trusted, &[], who).await.map(|(number, _)| number)
    }

    pub async fn delete_version(&self, service: &str, number: u32, who: &str) -> Result<(), ChangeError> {
        self.change(|state| Ok(state.versions.delete(service, number)?), Care::Trusted, &[], who).await.map(drop)
    }

    /// Adds an alias, or changes the one of that name.
    pub async fn set_alias(&self, alias: Alias, who: &str) -> Result<(), ChangeError> {
        self.change(|state| Ok(state.versions.set_alias(alias)?), Care::Trusted, &[], who).await.map(drop)
    }

    pub async fn delete_alias(&self, service: &str, name: &str, who: &str) -> Result<(), ChangeError> {
        self.change(|state| Ok(state.versions.delete_alias(service, name)?), Care::Trusted, &[], who).await.map(drop)
    }

    /// Puts what was deployed before in a function's place again.
    pub async fn roll_back(&self, name: &FunctionName, who: &str) -> Result<(), ChangeError> {
        self.roll_back_because(name, None, who).await
    }

    /// With a reason it goes back by itself: only if that one, by the id of its probation, is what is deployed still.
    async fn roll_back_because(&self, name: &FunctionName, reason: Option<(u64, String)>, who: &str) -> Result<(), ChangeError> {
        let roll_back = |state: &mut State| {
            let nothing = || VersionError::NothingBefore(name.clone());
            let missing = || VersionError::NoFunction(name.clone());
            let row = state.set.functions.iter_mut().find(|row| row.name == *name).ok_or_else(missing)?;
            let now = self.parts.functions.get(name).and_then(|function| Some(function.probation.as_ref()?.id));
            if reason.as_ref().is_some_and(|(id, _)| Some(*id) != now) {
                return Err(nothing().into());
            }
            *row = state.versions.take_past(name)?;
            match reason {
                Some((_, why)) => state.versions.went_back.insert(name.clone(), why),
                None => state.versions.went_back.remove(name),
            };
            Ok::<_, ChangeError>(())
        };
        self.change(roll_back, Care::Back, &[], who).await.map(drop)
    }

    /// Adds a route to what is there, or takes one away. `None`: there is no such route.
    pub async fn change_route(&self, route: set::Route, is_added: bool, who: &str) -> Result<Option<Report>, DeployError> {
        let is_it = |row: &set::Route| row.is_between_the_same(&route);
        self.change_row(|set| &mut set.routes, is_it, |_| Ok(is_added.then(|| route.clone())), who).await
    }

    /// Adds a rule to what is there or changes it, or with `None` takes it away. `None`: there is no such rule.
    pub async fn change_rule(&self, name: &str, rule: Option<set::Rule>, who: &str) -> Result<Option<Report>, DeployError> {
        self.change_row(|set| &mut set.rules, |row| row.name == name, |_| Ok(rule), who).await
    }

    /// Makes a product of what is there of that key, or takes it away. `None`: there is no such product.
    pub async fn change_product(&self, key: &str, make: MakeProduct<'_>, who: &str) -> Result<Option<Report>, DeployError> {
        self.change_row(|set| &mut set.products, |row| row.key == key, make, who).await
    }

    /// Makes a row of the one that is there, if it is, or takes it away. `None`: there is none, and there was none.
    async fn change_row<T>(
        &self,
        rows: impl FnOnce(&mut Set) -> &mut Vec<T>,
        is_it: impl Fn(&T) -> bool,
        make: impl FnOnce(Option<&T>) -> Result<Option<T>, String>,
        who: &str,
    ) -> Result<Option<Report>, DeployError> {
        let change = |state: &mut State| {
            let rows = rows(&mut state.set);
            let before = rows.iter().position(is_it).map(|at| rows.remove(at));
            let row = make(before.as_ref()).map_err(|wrong| DeployError::Refused(vec![wrong]))?;
            let is_there = row.is_some() || before.is_some();
            rows.extend(row);
            Ok::<_, DeployError>(is_there)
        };
        let (is_there, report) = self.change(change, Care::Checked, &[], who).await?;
        Ok(is_there.then_some(report))
    }

    /// The one way from what is deployed to something else: what `change` makes of it is checked, made ready, committed and switched to.
    async fn change<T, E: From<DeployError>>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, E>,
        care: Care,
        named: &[String],
        who: &str,
    ) -> Result<(T, Report), E> {
        let _turn = self.turn.lock().await;
        let before = self.current.lock().clone();
        let mut after = before.clone();
        let changed = change(&mut after)?;
        after.notes.forget_gone(&after.set, &after.versions);
        Ok((changed, self.change_to(before, after, care, named, who).await?))
    }

    async fn change_to(&self, before: State, after: State, care: Care, named: &[String], who: &str) -> Result<Report, DeployError> {
        let report = match self.compare(&before, &after) {
            Err(DeployError::Refused(problems)) if care == Care::Back => {
                problems.iter().for_each(|problem| tracing::warn!("going back all the same: {problem}"));
                Report::between(&before, &after)
            }
            compared => compared?,
        };
        if report.is_unchanged()
            && before.versions == after.versions
            && before.notes == after.notes
            && !self.is_incomplete.load(Ordering::Relaxed)
        {
            self.release(named, who);
            return Ok(report);
        }
        let ready = self.make_ready(&after, &before, care).await?;
        // Of a component it is only known once it was compiled, or found so.
        let misfits = self.misfits(&before, &after, &ready.products).await?;
        match care {
            Care::Back => misfits.iter().for_each(|misfit| tracing::warn!("going back all the same: {misfit}")),
            _ if !misfits.is_empty() => return Err(DeployError::Refused(misfits)),
            _ => {}
        }
        let report = Report { compiled: ready.compiled, ..report };
        tokio::task::block_in_place(|| self.commit(&after))?;
        self.switch(after, ready).await;
        self.release(named, who);
        tokio::task::block_in_place(|| self.prune());
        self.parts.audit.record(who, "deployed", &report.changes());
        Ok(report)
    }

    /// Whoever deploys a driver again, changed or not, means it to run.
    fn release(&self, named: &[String], who: &str) {
        for name in named {
            // Most are not quarantined, and those that were changed have started anew already.
            let _ = self.parts.drivers.release(name, who);
            let _ = self.parts.persistents.release(name, who);
        }
    }

    /// What [`Deploy::apply`] would change. Components are not looked at, and nothing is stored.
    pub fn plan(&self, set: Set, prune: bool) -> Result<Report, DeployError> {
        let before = self.current.lock().clone();
        let set = if prune { set } else { merge(before.set.clone(), set) };
        self.compare(&before, &State { set, ..before.clone() })
    }

    fn compare(&self, before: &State, after: &State) -> Result<Report, DeployError> {
        let mut problems = self.problems(before, after);
        if !problems.is_empty() {
            // What was wrong before, as after going back, is nothing that this change has to mend.
            for known in self.problems(before, before) {
                if let Some(at) = problems.iter().position(|problem| *problem == known) {
                    problems.remove(at);
                }
            }
        }
        if problems.is_empty() { Ok(Report::between(before, after)) } else { Err(DeployError::Refused(problems)) }
    }

    fn problems(&self, before: &State, after: &State) -> Vec<String> {
        let has = |name: &FunctionName| after.versions.has(name);
        tokio::task::block_in_place(|| check::set(&before.set, &after.set, &has, &self.parts.closed_dirs))
    }

    /// Loads every component and starts each new one once. Nothing that runs is touched. What is `old` and cannot run
    /// any more (its file is damaged, say) is left out, and stays deployed, so that it does not hold up the rest.
    async fn make_ready(&self, state: &State, old: &State, care: Care) -> Result<Ready, DeployError> {
        let (set, old) = (&state.set, &old.set);
        let mut ready = Ready { products: vec![], functions: vec![], persistents: vec![], drivers: vec![], compiled: 0, left_out: vec![] };
        let mut problems = Vec::new();
        let mut broken = |is_old: bool, problem: String| if is_old { ready.left_out.push(problem) } else { problems.push(problem) };
        for row in &set.products {
            match Tsl::parse(&row.tsl) {
                Ok(tsl) => ready.products.push(Arc::new(Product { row: row.clone(), tsl })),
                Err(error) => broken(old.products.contains(row), format!("product `{}`: its TSL is wrong: {error}", row.key)),
            }
        }
        let places = Semaphore::new(SIDE_BY_SIDE);
        let mut made: FuturesOrdered<_> = set.functions.iter().map(|row| self.made(row, old, care, &places)).collect();
        while let Some((row, is_old, made)) = made.next().await {
            match made {
                Ok(MadeFunction { function, persistent, how }) => {
                    ready.compiled += usize::from(how == Loaded::Compiled);
                    ready.functions.push(function);
                    ready.persistents.extend(persistent);
                }
                Err(reason) => broken(is_old, format!("function `{}`: {reason}", row.name)),
            }
        }
        drop(made);
        // Each of them was started once, under another name; and a number is never given again, so what runs under one is it.
        for row in state.versions.rows() {
            match self.restored(&row).await {
                Ok(MadeFunction { function, persistent, .. }) => {
                    ready.functions.push(function);
                    ready.persistents.extend(persistent);
                }
                Err(reason) => broken(true, format!("function `{}`: {reason}", row.name)),
            }
        }
        for row in &set.drivers {
            match self.driver(row, set, old.drivers.contains(row), &mut ready.compiled).await {
                Ok(driver) => ready.drivers.push(driver),
                Err(reason) => broken(old.drivers.contains(row), format!("driver `{}`: {reason}", row.name)),
            }
        }
        if problems.is_empty() { Ok(ready) } else { Err(DeployError::Refused(problems)) }
    }

    /// What components use of products and do not find. Only what was deployed before and does not change goes unlooked at.
    async fn misfits(&self, before: &State, after: &State, products: &[Arc<Product>]) -> anyhow::Result<Vec<String>> {
        let changed = check_uses::Changed::between(before, after);
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let (runtime, products, before) = (self.parts.runtime.clone(), products.to_vec(), before.set.products.clone());
        // Away from the threads that serve others: it reads a file for each component.
        let looked = tokio::task::spawn_blocking(move || changed.misfits(&before, &products, |digest, kind| runtime.uses(digest, kind)));
        looked.await.context("holding components against products")
    }

    /// A function with its row, and whether that was there before.
    async fn made<'r>(&self, row: &'r set::Function, old: &Set, care: Care, places: &Semaphore) -> (&'r set::Function, bool, Made) {
        if old.functions.contains(row) {
            return (row, true, self.restored(row).await);
        }
        let _place = places.acquire().await;
        (row, false, self.started(row, care).await)
    }

    /// A function that was deployed before: the one that runs, or one that is loaded when it is called.
    async fn restored(&self, row: &set::Function) -> Made {
        if let Some(same) = self.parts.functions.get(&row.name) {
            let persistent = self.parts.persistents.find(&row.name.to_string());
            return Ok(MadeFunction { function: same, persistent, how: Loaded::AlreadyLoaded });
        }
        if row.mode == Mode::Persistent {
            return self.persistent(row, None).await;
        }
        self.parts.components.find(&row.component).map_err(|error| format!("{error:#}"))?;
        Ok(MadeFunction { function: Arc::new(self.function(row).0), persistent: None, how: Loaded::Not })
    }

    /// A new one, which was started once, and has shown that it works where it is asked to.
    async fn started(&self, row: &set::Function, care: Care) -> Made {
        let health = row.health.as_ref().filter(|_| care == Care::Checked);
        let made = if row.mode == Mode::Persistent {
            let made = self.persistent(row, health).await?;
            if let Some(persistent) = &made.persistent {
                persistent.try_start().await.map_err(|reason| format!("it does not start: {reason}"))?;
            }
            made
        } else {
            let (function, code) = self.function(row);
            let how = code.try_start(&function).await?;
            MadeFunction { function: Arc::new(Function { probation: self.probation(health), ..function }), persistent: None, how }
        };
        if let Some(health) = health {
            let (function, persistent, health) = (made.function.clone(), made.persistent.clone(), health.clone());
            // Where guests run: a busy one does not hold up the API.
            let checked = self.parts.guests.spawn(async move {
                match persistent {
                    Some(persistent) => persistent.check(function, &health).await,
                    None => function.check(&health).await,
                }
            });
            let failed = |reason| format!("it fails its health check, and is not deployed: {reason}");
            checked.await.map_err(|error| error.to_string())?.map_err(failed)?;
        }
        // From now on calls count: what came before was the check.
        made.function.probation.iter().for_each(|probation| probation.begin());
        Ok(made)
    }

    async fn persistent(&self, row: &set::Function, health: Option<&Health>) -> Made {
        let (digest, stack_bytes) = (row.component.clone(), row.limits.stack_bytes);
        let (code, how) = self.load(move |runtime| runtime.load_persistent(&digest, stack_bytes)).await?;
        let guest = Arc::new(self.guest(format!("function {}", row.name), row.grants.clone(), &row.limits));
        let log = Arc::new(GuestLog::new(guest.clone(), row.limits.log_bytes_per_s));
        let probation = self.probation(health);
        let persistent = Arc::new(Persistent::new(row.clone(), code, guest, log, self.parts.runtime.clone(), probation.clone()));
        let function = Function::new(row, Arc::new(PersistentHandle(persistent.clone())), self.counted(row));
        Ok(MadeFunction { function: Arc::new(Function { probation, ..function }), persistent: Some(persistent), how })
    }

    fn function(&self, row: &set::Function) -> (Function, Arc<BoundCode>) {
        let guest = Arc::new(self.guest(format!("function {}", row.name), row.grants.clone(), &row.limits));
        let log = Arc::new(GuestLog::new(guest.clone(), row.limits.log_bytes_per_s));
        let code = Arc::new(BoundCode::new(self.parts.runtime.clone(), guest, log, row.reuse));
        (Function::new(row, code.clone(), self.counted(row)), code)
    }

    /// A function that was not there before is watched for its first calls, where its manifest says so.
    fn probation(&self, health: Option<&Health>) -> Option<Arc<Probation>> {
        let calls = health.map_or(0, |health| health.first_calls);
        (calls > 0).then(|| Arc::new(Probation::new(calls, self.failing.clone())))
    }

    /// What was counted of an earlier version goes on.
    fn counted(&self, row: &set::Function) -> Arc<FunctionMetrics> {
        self.parts.functions.get(&row.name).map(|earlier| earlier.metrics.clone()).unwrap_or_default()
    }

    async fn driver(&self, row: &set::Driver, set: &Set, is_old: bool, compiled: &mut usize) -> Result<Arc<Deployed>, String> {
        let (digest, stack_bytes) = (row.component.clone(), row.limits.stack_bytes);
        let (code, how) = self.load(move |runtime| runtime.load_driver(&digest, stack_bytes)).await?;
        *compiled += usize::from(how == Loaded::Compiled);
        let guest = self.guest(format!("driver {}", row.name), Arc::new(row.grants.clone()), &row.limits);
        let guest = if row.files.is_empty() { guest } else { guest.with_files(self.files_of(row).map_err(|error| format!("{error:#}"))?) };
        let guest = Arc::new(guest);
        let log = Arc::new(GuestLog::new(guest.clone(), row.limits.log_bytes_per_s));
        let config = Arc::new(DriverConfig::new(row.config.as_ref(), set.things.iter().filter(|thing| thing.driver == row.name)));
        let driver = Deployed { row: row.clone(), code, guest, log, config, models: models(row, set), things: self.parts.things.clone() };
        if !is_old {
            driver.try_start().await.map_err(|reason| format!("it does not start: {reason}"))?;
        }
        Ok(Arc::new(driver))
    }

    /// Where the driver will find its files, once all of them are known to be here.
    fn files_of(&self, row: &set::Driver) -> anyhow::Result<PathBuf> {
        for file in &row.files {
            let missing = || format!("its file `{}` is not on this gateway; deploy it again", file.path);
            self.parts.components.find(&file.content).with_context(missing)?;
        }
        self.parts.config_files.dir_of(&row.name)
    }

    /// Away from the threads that serve others: it takes a while.
    async fn load<C: Send + Sync + 'static>(
        &self,
        load: impl FnOnce(&Runtime) -> anyhow::Result<(Arc<C>, Loaded)> + Send + 'static,
    ) -> Result<(Arc<C>, Loaded), String> {
        let runtime = self.parts.runtime.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&runtime)).await;
        loaded.map_err(|error| error.to_string())?.map_err(|error| format!("{error:#}"))
    }

    fn guest(&self, who: String, grants: Arc<Grants>, limits: &Limits) -> Guest {
        Guest::new(who, grants, self.parts.closed_dirs.clone(), limits, self.parts.audit.clone(), self.parts.metrics.clone())
    }

    fn commit(&self, state: &State) -> anyhow::Result<()> {
        let State { mut set, mut versions, notes } = state.clone();
        for (who, grants) in guests(&mut set).chain(versions.grants()) {
            secret::seal(&self.parts.seal, &who, grants);
        }
        let mut batch = Batch::default();
        for table in [Table::Products, Table::Things, Table::Drivers, Table::Functions, Table::Routes, Table::Rules] {
            batch.clear(table);
        }
        for row in &set.products {
            batch.put_json(Table::Products, &row.key, row)?;
        }
        for row in &set.things {
            batch.put_json(Table::Things, format!("{}/{}", row.product_key, row.device_name), row)?;
        }
        for row in &set.drivers {
            batch.put_json(Table::Drivers, &row.name, row)?;
        }
        for row in &set.functions {
            batch.put_json(Table::Functions, row.name.to_string(), row)?;
        }
        for (at, row) in set.routes.iter().enumerate() {
            batch.put_json(Table::Routes, format!("{at:06}"), row)?;
        }
        for row in &set.rules {
            batch.put_json(Table::Rules, &row.name, row)?;
        }
        versions.write(&mut batch)?;
        notes.write(&mut batch)?;
        self.parts.rules.prepare(&set.rules, &mut batch);
        self.parts.store.commit(batch).context("committing the deployment")
    }

    /// Keeps a component for a deployment to come, and of those that no deployment came for the newest. Blocks for as long as the disk takes.
    pub fn put_component(&self, digest: &Digest, component: &[u8]) -> Result<(), PutError> {
        self.parts.components.put(digest, component)?;
        let used = self.look(used);
        self.parts.components.prune_to(UNUSED_BYTES_MAX, |digest| used.contains(digest));
        Ok(())
    }

    fn prune(&self) {
        let used = self.look(used);
        let drivers: HashSet<String> = self.look(|state| state.set.drivers.iter().map(|row| row.name.clone()).collect());
        self.parts.components.prune(|digest| used.contains(digest));
        self.parts.runtime.prune(|digest| used.contains(digest));
        self.parts.config_files.prune(|name| drivers.contains(name));
    }

    async fn switch(&self, state: State, ready: Ready) {
        let State { set, versions, .. } = &state;
        self.parts.things.replace(ready.products, set.things.clone());
        self.parts.http.replace(&ready.functions);
        self.parts.functions.replace(ready.functions);
        let mut aliases = Aliases::default();
        for Alias { service, name, version, also } in &versions.aliases {
            aliases.add(service, name, *version, *also);
        }
        self.parts.functions.replace_aliases(aliases);
        self.parts.routes.replace(set.routes.clone());
        self.parts.timers.replace(set.functions.iter());
        self.parts.rules.replace(set.rules.clone());
        for row in &set.drivers {
            if let Err(error) = tokio::task::block_in_place(|| self.parts.config_files.lay_out(row, &self.parts.components)) {
                tracing::error!("driver `{}` does not find all of its files: {error:#}; deploy it again", row.name);
            }
        }
        self.parts.drivers.replace(ready.drivers);
        self.parts.persistents.replace(ready.persistents);
        for broken in &ready.left_out {
            tracing::error!("{broken}; it is left out until it is deployed again");
        }
        self.is_incomplete.store(!ready.left_out.is_empty(), Ordering::Relaxed);
        *self.current.lock() = state;
    }
}

/// Puts what was there before in the place of each function whose first calls all fail.
pub async fn watch(deploy: Arc<Deploy>, mut failed: mpsc::UnboundedReceiver<Failing>) {
    while let Some(Failing { name, id, what, reason }) = failed.recv().await {
        let reason = printable(&reason);
        let why = format!("went back at {}: {what}: {reason}", schedule::iso(deploy.parts.clock.unix_ms()));
        match deploy.roll_back_because(&name, Some((id, why)), "health check").await {
            Ok(()) => {
                tracing::error!("function `{name}` went back to what was deployed before: {what}, the last one so: {reason}");
                deploy.parts.audit.record("health check", "rolled back", &format!("function {name}: {what}: {reason}"));
            }
            Err(error) => {
                tracing::error!("function `{name}`: {what}, the last one so: {reason}; it stays as it is: {error}");
            }
        }
    }
}

/// Compiles what is deployed and in no cache, as after an update of the gateway, so that no call has to wait for it. Calls that
/// come sooner compile it themselves.
pub async fn compile_missing(deploy: Arc<Deploy>) {
    let wanted = |row: &set::Function| (row.name.clone(), row.component.clone(), Kind::of_function(row));
    let all: Vec<_> = deploy.current.lock().set.functions.iter().map(wanted).collect();
    for (name, component, kind) in all {
        let runtime = deploy.parts.runtime.clone();
        let compiled = tokio::task::spawn_blocking(move || runtime.compile_missing(&component, kind)).await;
        if let Ok(Err(error)) = compiled {
            tracing::error!(function.name = %name, "function `{name}` cannot run: {error:#}");
        }
    }
    // What the start took is given up by now.
    let _ = tokio::task::spawn_blocking(memory::give_back).await;
}

/// The grants of every function and driver, with the name that people know it by.
fn guests(set: &mut Set) -> impl Iterator<Item = (String, &mut Grants)> {
    let functions = set.functions.iter_mut().map(|row| (format!("function {}", row.name), Arc::make_mut(&mut row.grants)));
    functions.chain(set.drivers.iter_mut().map(|row| (format!("driver {}", row.name), &mut row.grants)))
}

/// What a driver may have read of the products of its things.
fn models(row: &set::Driver, set: &Set) -> Vec<Digest> {
    let own: HashSet<&str> = set.things.iter().filter(|thing| thing.driver == row.name).map(|thing| thing.product_key.as_str()).collect();
    let mut own: Vec<_> = set.products.iter().filter(|product| own.contains(product.key.as_str())).collect();
    own.sort_by_key(|product| &product.key);
    own.iter().map(|product| Digest::of(format!("{}\0{}\0{:?}", product.key, product.tsl, product.tsl_ext).as_bytes())).collect()
}

fn rows<T: serde::de::DeserializeOwned>(store: &Store, table: Table) -> anyhow::Result<Vec<T>> {
    Ok(store.list_json(table)?.into_iter().map(|(_, row)| row).collect())
}

/// Lays `new` over `old`: an entry of the same name is replaced, the others stay.
fn merge(old: Set, new: Set) -> Set {
    Set {
        products: overlay(old.products, new.products, |row| row.key.clone()),
        things: overlay(old.things, new.things, |row| (row.product_key.clone(), row.device_name.clone())),
        drivers: overlay(old.drivers, new.drivers, |row| row.name.clone()),
        functions: overlay(old.functions, new.functions, |row| row.name.clone()),
        routes: overlay(old.routes, new.routes, |row| format!("{:?} {:?} {}", row.source, row.topic, row.target)),
        rules: overlay(old.rules, new.rules, |row| row.name.clone()),
    }
}

fn overlay<T, K: Hash + Eq>(mut old: Vec<T>, new: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let newer: HashSet<K> = new.iter().map(&key).collect();
    old.retain(|row| !newer.contains(&key(row)));
    old.extend(new);
    old
}
