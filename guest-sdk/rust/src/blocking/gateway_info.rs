//! What a driver that blocks may know of the gateway: [`gateway_info`](crate::gateway_info) without waiting.
//!
//! Grant: `gateway_info`.

use crate::Fault;
use crate::bindings::blocking::ledge::edge::gateway_info_blocking as wit;
pub use crate::gateway_info::{FunctionCounter, Info};

/// The figures as of now. Faults as for [`gateway_info::get`](crate::gateway_info::get).
pub fn get() -> Result<Info, Fault> {
    wit::get().map(Info::from)
}

/// The counters of one function (of both that an alias leads to). Faults: 110001, 110003 (no such function).
pub fn function_counters_of(name: &str) -> Result<Vec<FunctionCounter>, Fault> {
    counters(Some(name))
}

/// The counters of all functions, in the order of their names. Fault: 110001.
pub fn function_counters() -> Result<Vec<FunctionCounter>, Fault> {
    counters(None)
}

fn counters(name: Option<&str>) -> Result<Vec<FunctionCounter>, Fault> {
    Ok(wit::function_counters(name)?.into_iter().map(FunctionCounter::from).collect())
}
