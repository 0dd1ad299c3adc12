//! `gateway-info`: what a driver may know of the gateway and its machine. Nobody is shown the files below `/proc` for it.

mod machine;

use std::sync::Arc;

use wasmtime::component::{Accessor, HasData, Linker};

use super::Guest;
use crate::bindings::blocking::ledge::edge::gateway_info_blocking;
use crate::bindings::driver::ledge::edge::gateway_figures::{self, FunctionCounter, Info};
use crate::bindings::driver::ledge::edge::gateway_info::{self, HostWithStore};
use crate::bindings::types::Fault;
use crate::function::{Function, Functions};
use crate::name::FunctionName;
use crate::thing::fault;
pub use machine::{Figures, Machine, NoFigures};

/// What every driver's Store shares.
pub struct GatewayInfoParts {
    pub machine: Machine,
    pub functions: Arc<Functions>,
}

/// The interface's part of a Store.
pub struct GatewayInfo {
    pub guest: Arc<Guest>,
    pub parts: Arc<GatewayInfoParts>,
}

pub struct Linked;

impl HasData for Linked {
    type Data<'a> = &'a mut GatewayInfo;
}

pub fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&mut T) -> &mut GatewayInfo) -> wasmtime::Result<()> {
    gateway_figures::add_to_linker::<T, Linked>(linker, get)?;
    gateway_info_blocking::add_to_linker::<T, Linked>(linker, get)?;
    gateway_info::add_to_linker::<T, Linked>(linker, get)
}

impl gateway_figures::Host for GatewayInfo {}

impl gateway_info::Host for GatewayInfo {}

impl<T: Send> HostWithStore<T> for Linked {
    async fn get(store: &Accessor<T, Self>) -> Result<Info, Fault> {
        // Out of the Store, so that it is not held while the machine is asked.
        let parts = store.with(|mut access| access.get().granted())?;
        figures(&parts).await
    }

    async fn function_counters(store: &Accessor<T, Self>, name: Option<String>) -> Result<Vec<FunctionCounter>, Fault> {
        let parts = store.with(|mut access| access.get().granted())?;
        counters(&parts, name)
    }
}

impl gateway_info_blocking::Host for GatewayInfo {
    async fn get(&mut self) -> Result<Info, Fault> {
        figures(&*self.granted()?).await
    }

    async fn function_counters(&mut self, name: Option<String>) -> Result<Vec<FunctionCounter>, Fault> {
        counters(&*self.granted()?, name)
    }
}

impl GatewayInfo {
    fn granted(&self) -> Result<Arc<GatewayInfoParts>, Fault> {
        if self.guest.grants.gateway_info { Ok(self.parts.clone()) } else { Err(self.guest.denied("gateway_info", true)) }
    }
}

async fn figures(parts: &GatewayInfoParts) -> Result<Info, Fault> {
    Ok(parts.machine.figures().await?.into())
}

/// Of one function, or of all.
fn counters(parts: &GatewayInfoParts, name: Option<String>) -> Result<Vec<FunctionCounter>, Fault> {
    let Some(name) = name else {
        return Ok(parts.functions.list().iter().map(|function| counter(function)).collect());
    };
    let found = name.parse().map(|name: FunctionName| parts.functions.all_of(&name)).unwrap_or_default();
    if found.is_empty() {
        let message = format!("function `{name}` does not exist on this gateway");
        return Err(Fault { code: fault::FUNCTION_NOT_EXIST, message });
    }
    Ok(found.iter().map(|function| counter(function)).collect())
}

fn counter(function: &Function) -> FunctionCounter {
    let counted = &function.metrics;
    FunctionCounter {
        name: function.name.to_string(),
        done: counted.done.get(),
        handled_errors: counted.handled.get(),
        unhandled_errors: counted.unhandled.get(),
        refused: counted.refused.get(),
        running: function.gate.running(),
        seconds: counted.seconds(),
        is_loaded: function.code.is_loaded(),
    }
}

impl From<Figures> for Info {
    fn from(figures: Figures) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: figures.uptime_s,
            machine_uptime_s: figures.machine_uptime_s,
            cpu_cores: figures.cpu_cores,
            cpu_usage_percent: figures.cpu_usage_percent,
            memory_total_bytes: figures.memory_total_bytes,
            memory_used_bytes: figures.memory_used_bytes,
            disk_total_bytes: figures.disk_total_bytes,
            disk_used_bytes: figures.disk_used_bytes,
            temperature_celsius: figures.temperature_celsius,
        }
    }
}

impl From<NoFigures> for Fault {
    fn from(error: NoFigures) -> Self {
        let code = match error {
            NoFigures::Unreadable(_) => fault::SERVICE_UNREACHABLE,
            NoFigures::Late => fault::TIMEOUT,
        };
        Self { code, message: error.to_string() }
    }
}
