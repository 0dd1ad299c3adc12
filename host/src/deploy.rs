//! Deployment: checks a set, makes its code ready, and switches to it in one commit. Every way of deploying goes
//! through here, and so does the start, which switches to what the store holds.

mod check;
mod check_rules;
mod components;
mod env;
mod report;

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::audit::Audit;
use crate::capability::Guest;
use crate::capability::thing_access::DriverConfig;
use crate::capability::wasi::GuestLog;
use crate::driver::{Deployed, Drivers};
use crate::function::{Function, Functions};
use crate::grant::{ClosedDirs, Grants};
use crate::limit::Limits;
use crate::memory;
use crate::metric::Metrics;
use crate::runtime::{BoundCode, DriverCode, Kind, Loaded, Runtime};
use crate::seal::Seal;
use crate::set::{self, Digest, Set};
use crate::store::{Batch, Store, Table};
use crate::thing::tsl::Tsl;
use crate::thing::{Product, Things};
use crate::trigger::http::HttpTriggers;
use crate::trigger::route::Routes;
use crate::trigger::rule::Rules;
use crate::trigger::timer::Timers;
pub use components::{Components, PutError};
pub use report::{Change, Report};

/// What a deployment changes.
#[derive(Clone)]
pub struct Parts {
    pub store: Arc<Store>,
    /// Seals the environment of components at rest.
    pub seal: Arc<Seal>,
    pub closed_dirs: Arc<ClosedDirs>,
    pub components: Components,
    pub runtime: Arc<Runtime>,
    pub functions: Arc<Functions>,
    pub drivers: Arc<Drivers>,
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
    current: Mutex<Set>,
    /// Whether something of it cannot run, and so does not.
    is_incomplete: AtomicBool,
}

/// A function that is ready, or why it cannot be.
type Made = Result<(Arc<Function>, Loaded), String>;

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

/// A set that is ready to run.
struct Ready {
    products: Vec<Arc<Product>>,
    functions: Vec<Arc<Function>>,
    drivers: Vec<Arc<Deployed>>,
    /// Components that had to be compiled.
    compiled: usize,
    /// What cannot run any more, and why.
    left_out: Vec<String>,
}

impl Deploy {
    pub fn new(parts: Parts) -> Self {
        let empty = Set { products: vec![], things: vec![], drivers: vec![], functions: vec![], routes: vec![], rules: vec![] };
        Self { parts, turn: tokio::sync::Mutex::default(), current: Mutex::new(empty), is_incomplete: AtomicBool::new(false) }
    }

    pub fn components(&self) -> &Components {
        &self.parts.components
    }

    /// What is deployed now.
    pub fn current(&self) -> Set {
        self.current.lock().clone()
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
        for (who, grants) in guests(&mut set) {
            grants.env = env::unsealed(&self.parts.seal, &who, &grants.env)?;
        }
        let ready = self.make_ready(&set, &set).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        self.switch(set, ready).await;
        Ok(())
    }

    /// Deploys `set` beside what is there; with `prune`, instead of what is there.
    pub async fn apply(&self, set: Set, prune: bool, who: &str) -> Result<Report, DeployError> {
        let named: Vec<String> = set.drivers.iter().map(|row| row.name.clone()).collect();
        let change = |before: &Set| if prune { set } else { merge(before.clone(), set) };
        self.change(change, &named, who).await
    }

    /// Adds a route to what is there, or takes one away. `None`: there is no such route.
    pub async fn change_route(&self, route: set::Route, is_added: bool, who: &str) -> Result<Option<Report>, DeployError> {
        if !is_added && !self.current.lock().routes.iter().any(|row| row.is_between_the_same(&route)) {
            return Ok(None);
        }
        let change = |before: &Set| {
            let mut after = before.clone();
            after.routes.retain(|row| !row.is_between_the_same(&route));
            if is_added {
                after.routes.push(route);
            }
            after
        };
        self.change(change, &[], who).await.map(Some)
    }

    /// Adds a rule to what is there or changes it, or with `None` takes it away. `None`: there is no such rule.
    pub async fn change_rule(&self, name: &str, rule: Option<set::Rule>, who: &str) -> Result<Option<Report>, DeployError> {
        if rule.is_none() && !self.current.lock().rules.iter().any(|row| row.name == name) {
            return Ok(None);
        }
        let change = |before: &Set| {
            let mut after = before.clone();
            after.rules.retain(|row| row.name != name);
            after.rules.extend(rule);
            after
        };
        self.change(change, &[], who).await.map(Some)
    }

    async fn change(&self, change: impl FnOnce(&Set) -> Set, named: &[String], who: &str) -> Result<Report, DeployError> {
        let _turn = self.turn.lock().await;
        let before = self.current();
        let after = change(&before);
        let report = self.compare(&before, &after)?;
        if report.is_unchanged() && !self.is_incomplete.load(Ordering::Relaxed) {
            self.release(named, who);
            return Ok(report);
        }
        let ready = self.make_ready(&after, &before).await?;
        let report = Report { compiled: ready.compiled, ..report };
        tokio::task::block_in_place(|| self.commit(&after))?;
        self.switch(after, ready).await;
        self.release(named, who);
        tokio::task::block_in_place(|| self.prune());
        self.parts.audit.record(who, "deployed", &report.summary());
        Ok(report)
    }

    /// Whoever deploys a driver again, changed or not, means it to run.
    fn release(&self, named: &[String], who: &str) {
        for name in named {
            // Most are not quarantined, and those that were changed have started anew already.
            let _ = self.parts.drivers.release(name, who);
        }
    }

    /// What [`Deploy::apply`] would change. Components are not looked at, and nothing is stored.
    pub fn plan(&self, set: Set, prune: bool) -> Result<Report, DeployError> {
        let before = self.current();
        let after = if prune { set } else { merge(before.clone(), set) };
        self.compare(&before, &after)
    }

    fn compare(&self, before: &Set, after: &Set) -> Result<Report, DeployError> {
        let problems = tokio::task::block_in_place(|| check::set(before, after, &self.parts.closed_dirs));
        if problems.is_empty() { Ok(Report::between(before, after)) } else { Err(DeployError::Refused(problems)) }
    }

    /// Loads every component and starts each new one once. Nothing that runs is touched. What is `old` and cannot run
    /// any more (its file is damaged, say) is left out, and stays deployed, so that it does not hold up the rest.
    async fn make_ready(&self, set: &Set, old: &Set) -> Result<Ready, DeployError> {
        let mut ready = Ready { products: vec![], functions: vec![], drivers: vec![], compiled: 0, left_out: vec![] };
        let mut problems = Vec::new();
        let mut broken = |is_old: bool, problem: String| if is_old { ready.left_out.push(problem) } else { problems.push(problem) };
        for row in &set.products {
            match Tsl::parse(&row.tsl) {
                Ok(tsl) => ready.products.push(Arc::new(Product { row: row.clone(), tsl })),
                Err(error) => broken(old.products.contains(row), format!("product `{}`: its TSL is wrong: {error}", row.key)),
            }
        }
        let places = Semaphore::new(SIDE_BY_SIDE);
        let mut made: FuturesOrdered<_> = set.functions.iter().map(|row| self.made(row, old, &places)).collect();
        while let Some((row, is_old, made)) = made.next().await {
            match made {
                Ok((function, how)) => {
                    ready.compiled += usize::from(how == Loaded::Compiled);
                    ready.functions.push(function);
                }
                Err(reason) => broken(is_old, format!("function `{}`: {reason}", row.name)),
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

    /// A function with its row, and whether that was there before.
    async fn made<'r>(&self, row: &'r set::Function, old: &Set, places: &Semaphore) -> (&'r set::Function, bool, Made) {
        if old.functions.contains(row) {
            return (row, true, self.restored(row));
        }
        let _place = places.acquire().await;
        (row, false, self.started(row).await)
    }

    /// A function that was deployed before: the one that runs, or one that is loaded when it is called.
    fn restored(&self, row: &set::Function) -> Made {
        if let Some(same) = self.parts.functions.get(&row.name) {
            return Ok((same, Loaded::AlreadyLoaded));
        }
        self.parts.components.find(&row.component).map_err(|error| format!("{error:#}"))?;
        Ok((Arc::new(self.function(row).0), Loaded::Not))
    }

    /// A new one, which was started once.
    async fn started(&self, row: &set::Function) -> Made {
        let (function, code) = self.function(row);
        let how = code.try_start(&function).await?;
        Ok((Arc::new(function), how))
    }

    fn function(&self, row: &set::Function) -> (Function, Arc<BoundCode>) {
        let guest = self.guest(format!("function {}", row.name), row.grants.clone(), &row.limits);
        let log = Arc::new(GuestLog::new(guest.clone(), row.limits.log_bytes_per_s));
        let code = Arc::new(BoundCode::new(self.parts.runtime.clone(), guest, log, row.reuse));
        // What was counted of an earlier version goes on.
        let metrics = self.parts.functions.get(&row.name).map(|earlier| earlier.metrics.clone()).unwrap_or_default();
        (Function::new(row, code.clone(), metrics), code)
    }

    async fn driver(&self, row: &set::Driver, set: &Set, is_old: bool, compiled: &mut usize) -> Result<Arc<Deployed>, String> {
        let (code, how) = self.load_driver(row).await?;
        *compiled += usize::from(how == Loaded::Compiled);
        let guest = self.guest(format!("driver {}", row.name), Arc::new(row.grants.clone()), &row.limits);
        let log = Arc::new(GuestLog::new(guest.clone(), row.limits.log_bytes_per_s));
        let config = Arc::new(DriverConfig::new(row.config.as_ref(), set.things.iter().filter(|thing| thing.driver == row.name)));
        let driver = Deployed { row: row.clone(), code, guest, log, config };
        if !is_old {
            driver.try_start(self.parts.things.clone()).await.map_err(|reason| format!("it does not start: {reason}"))?;
        }
        Ok(Arc::new(driver))
    }

    /// Away from the threads that serve others: it takes a while.
    async fn load_driver(&self, row: &set::Driver) -> Result<(Arc<DriverCode>, Loaded), String> {
        let (runtime, digest, stack_bytes) = (self.parts.runtime.clone(), row.component.clone(), row.limits.stack_bytes);
        let loaded = tokio::task::spawn_blocking(move || runtime.load_driver(&digest, stack_bytes)).await;
        loaded.map_err(|error| error.to_string())?.map_err(|error| format!("{error:#}"))
    }

    fn guest(&self, who: String, grants: Arc<Grants>, limits: &Limits) -> Arc<Guest> {
        Arc::new(Guest::new(who, grants, self.parts.closed_dirs.clone(), limits, self.parts.audit.clone(), self.parts.metrics.clone()))
    }

    fn commit(&self, set: &Set) -> anyhow::Result<()> {
        let mut set = set.clone();
        for (who, grants) in guests(&mut set) {
            grants.env = env::sealed(&self.parts.seal, &who, &grants.env);
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
        self.parts.store.commit(batch).context("committing the deployment")
    }

    fn prune(&self) {
        let set = self.current();
        let used = set.functions.iter().map(|row| &row.component).chain(set.drivers.iter().map(|row| &row.component));
        let used: HashSet<&str> = used.map(Digest::as_str).collect();
        self.parts.components.prune(|digest| used.contains(digest));
        self.parts.runtime.prune(|digest| used.contains(digest));
    }

    async fn switch(&self, set: Set, ready: Ready) {
        self.parts.things.replace(ready.products, set.things.clone());
        self.parts.http.replace(&ready.functions);
        self.parts.functions.replace(ready.functions);
        self.parts.routes.replace(set.routes.clone());
        self.parts.timers.replace(set.functions.iter());
        self.parts.rules.replace(set.rules.clone());
        self.parts.drivers.replace(ready.drivers).await;
        for broken in &ready.left_out {
            tracing::error!("{broken}; it is left out until it is deployed again");
        }
        self.is_incomplete.store(!ready.left_out.is_empty(), Ordering::Relaxed);
        *self.current.lock() = set;
    }
}

/// Compiles what is deployed and in no cache, as after an update of the gateway, so that no call has to wait for it. Calls that
/// come sooner compile it themselves.
pub async fn compile_missing(deploy: Arc<Deploy>) {
    let wanted = |row: &set::Function| (row.name.clone(), row.component.clone(), Kind::of_function(row.http.as_ref()));
    let all: Vec<_> = deploy.current.lock().functions.iter().map(wanted).collect();
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
