//! Deployment: checks a set, makes its code ready, and switches to it in one commit. Every way of deploying goes
//! through here, and so does the start, which switches to what the store holds.

mod check;
mod components;
mod report;

use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;

use crate::audit::Audit;
use crate::capability::Guest;
use crate::capability::thing_access::DriverConfig;
use crate::capability::wasi::GuestLog;
use crate::driver::{Deployed, Drivers};
use crate::function::{Function, Functions, Gate};
use crate::runtime::{BoundCode, Kind, Loaded, Runtime};
use crate::set::{self, Digest, Set};
use crate::store::{Batch, Store, Table};
use crate::thing::{Product, Things};
use crate::trigger::route::Routes;
pub use components::{Components, PutError};
pub use report::{Change, Report};

/// What a deployment changes.
pub struct Parts {
    pub store: Arc<Store>,
    pub components: Components,
    pub runtime: Arc<Runtime>,
    pub functions: Arc<Functions>,
    pub drivers: Arc<Drivers>,
    pub things: Arc<Things>,
    pub routes: Arc<Routes>,
    pub audit: Audit,
}

pub struct Deploy {
    parts: Parts,
    /// One deployment at a time, from the first look at the store to the switch.
    turn: tokio::sync::Mutex<()>,
    /// What runs now.
    current: Mutex<Set>,
}

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
}

impl Deploy {
    pub fn new(parts: Parts) -> Self {
        let empty = Set { products: vec![], things: vec![], drivers: vec![], functions: vec![], routes: vec![] };
        Self { parts, turn: tokio::sync::Mutex::default(), current: Mutex::new(empty) }
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
        };
        for broken in check::leave_out_broken(&mut set, |digest, kind| self.check_component(digest, kind)) {
            tracing::error!("{broken}; it is left out until it is deployed again");
        }
        let ready = self.make_ready(&set).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        self.switch(set, ready).await;
        Ok(())
    }

    /// Deploys `set` beside what is there; with `prune`, instead of what is there.
    pub async fn apply(&self, set: Set, prune: bool, who: &str) -> Result<Report, DeployError> {
        let _turn = self.turn.lock().await;
        let before = self.current();
        let after = if prune { set } else { merge(before.clone(), set) };
        let mut problems = check::set(&after);
        problems.extend(check::components(&after, |digest, kind| self.check_component(digest, kind)));
        if !problems.is_empty() {
            return Err(DeployError::Refused(problems));
        }
        let report = Report::between(&before, &after);
        if report.is_unchanged() {
            return Ok(report);
        }
        let ready = self.make_ready(&after).await?;
        let report = Report { compiled: ready.compiled, ..report };
        self.commit(&after)?;
        self.switch(after, ready).await;
        self.parts.audit.record(who, "deployed", &report.summary());
        Ok(report)
    }

    fn check_component(&self, digest: &Digest, kind: Kind) -> Result<(), String> {
        let component = self.parts.components.read(digest).map_err(|error| format!("{error:#}"))?;
        crate::runtime::inspect(&component, kind).map_err(|refused| refused.to_string())
    }

    /// Loads every component and starts each new function once. Nothing that runs is touched.
    async fn make_ready(&self, set: &Set) -> Result<Ready, DeployError> {
        let mut ready = Ready { products: products(set)?, functions: vec![], drivers: vec![], compiled: 0 };
        let mut problems = Vec::new();
        for row in &set.functions {
            match self.function(row, &mut ready.compiled).await {
                Ok(function) => ready.functions.push(function),
                Err(reason) => problems.push(format!("function `{}`: {reason}", row.name)),
            }
        }
        for row in &set.drivers {
            match self.driver(row, set, &mut ready.compiled).await {
                Ok(driver) => ready.drivers.push(driver),
                Err(reason) => problems.push(format!("driver `{}`: {reason}", row.name)),
            }
        }
        if problems.is_empty() { Ok(ready) } else { Err(DeployError::Refused(problems)) }
    }

    async fn function(&self, row: &set::Function, compiled: &mut usize) -> Result<Arc<Function>, String> {
        if let Some(same) = self.parts.functions.get(&row.name).filter(|now| is_same(now, row)) {
            return Ok(same);
        }
        let digest = row.component.clone();
        let (code, how) = self.load(digest, Runtime::load_function).await?;
        *compiled += usize::from(how == Loaded::Compiled);
        let guest = self.guest(format!("function {}", row.name), &row.grants);
        let log = Arc::new(GuestLog::new(guest.who.clone(), row.limits.log_bytes_per_s));
        let bound = Arc::new(BoundCode { code, guest, log });
        let function = Function {
            name: row.name.clone(),
            digest: row.component.clone(),
            limits: row.limits,
            grants: row.grants.clone(),
            gate: Gate::new(row.limits.concurrency),
            code: bound.clone(),
        };
        if how == Loaded::Compiled {
            bound.try_start(&function).await.map_err(|reason| format!("it does not start: {reason}"))?;
        }
        Ok(Arc::new(function))
    }

    async fn driver(&self, row: &set::Driver, set: &Set, compiled: &mut usize) -> Result<Arc<Deployed>, String> {
        let (code, how) = self.load(row.component.clone(), Runtime::load_driver).await?;
        *compiled += usize::from(how == Loaded::Compiled);
        let guest = self.guest(format!("driver {}", row.name), &row.grants);
        let log = Arc::new(GuestLog::new(guest.who.clone(), row.limits.log_bytes_per_s));
        let config = Arc::new(DriverConfig::new(row.config.as_ref(), set.things.iter().filter(|thing| thing.driver == row.name)));
        Ok(Arc::new(Deployed { row: row.clone(), code, guest, log, config }))
    }

    /// Loads code away from the threads that serve others: compiling takes a while.
    async fn load<C: Send + Sync + 'static>(
        &self,
        digest: Digest,
        load: fn(&Runtime, &Digest, &[u8]) -> anyhow::Result<(Arc<C>, Loaded)>,
    ) -> Result<(Arc<C>, Loaded), String> {
        let component = self.parts.components.read(&digest).map_err(|error| format!("{error:#}"))?;
        let runtime = self.parts.runtime.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&runtime, &digest, &component)).await;
        loaded.map_err(|error| error.to_string())?.map_err(|error| format!("{error:#}"))
    }

    fn guest(&self, who: String, grants: &crate::grant::Grants) -> Arc<Guest> {
        Arc::new(Guest { who, grants: grants.clone(), audit: self.parts.audit.clone() })
    }

    fn commit(&self, set: &Set) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        for table in [Table::Products, Table::Things, Table::Drivers, Table::Functions, Table::Routes] {
            batch.clear(table);
        }
        for row in &set.products {
            batch.put_json(Table::Products, &row.key, row)?;
        }
        for row in &set.things {
            batch.put_json(Table::Things, &format!("{}/{}", row.product_key, row.device_name), row)?;
        }
        for row in &set.drivers {
            batch.put_json(Table::Drivers, &row.name, row)?;
        }
        for row in &set.functions {
            batch.put_json(Table::Functions, &row.name.to_string(), row)?;
        }
        for (at, row) in set.routes.iter().enumerate() {
            batch.put_json(Table::Routes, &format!("{at:06}"), row)?;
        }
        self.parts.store.commit(batch).context("committing the deployment")
    }

    async fn switch(&self, set: Set, ready: Ready) {
        self.parts.things.replace(ready.products, set.things.clone());
        self.parts.functions.replace(ready.functions);
        self.parts.routes.replace(set.routes.clone());
        self.parts.drivers.replace(ready.drivers).await;
        *self.current.lock() = set;
    }
}

fn is_same(now: &Function, row: &set::Function) -> bool {
    now.digest == row.component && now.limits == row.limits && now.grants == row.grants
}

fn products(set: &Set) -> Result<Vec<Arc<Product>>, DeployError> {
    let parsed = set.products.iter().map(|row| {
        let tsl = crate::thing::tsl::Tsl::parse(&row.tsl).map_err(|error| DeployError::Refused(vec![error.to_string()]))?;
        Ok(Arc::new(Product { row: row.clone(), tsl }))
    });
    parsed.collect()
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
        routes: overlay(old.routes, new.routes, |row| format!("{row:?}")),
    }
}

fn overlay<T, K: PartialEq>(mut old: Vec<T>, new: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    old.retain(|row| !new.iter().any(|newer| key(newer) == key(row)));
    old.extend(new);
    old
}
