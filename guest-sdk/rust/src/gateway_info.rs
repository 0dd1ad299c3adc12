//! What a driver may know of the gateway that it runs on: figures of the machine, and what is counted of functions.
//!
//! Grant: `gateway_info`.

use crate::Fault;
use crate::bindings::driver::ledge::edge::gateway_figures as wit;
use crate::bindings::driver::ledge::edge::gateway_info;

/// Figures of the gateway and of its machine, at most a second old.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// The gateway's version, as in `0.1.0`.
    pub version: String,
    /// Seconds since the gateway was started.
    pub uptime_s: u64,
    /// Seconds since its machine was started.
    pub machine_uptime_s: u64,
    /// Processors that the gateway may use.
    pub cpu_cores: u32,
    /// Of all processors together, 0 to 100, from the figures before these (the gateway's start, at first) until now.
    pub cpu_usage_percent: f32,
    /// The machine's memory.
    pub memory_total_bytes: u64,
    /// What the machine could not give to a program without swapping.
    pub memory_used_bytes: u64,
    /// The size of the file system that the gateway's data directory is on.
    pub disk_total_bytes: u64,
    /// What is taken of it.
    pub disk_used_bytes: u64,
    /// Of the machine's hottest sensor, where it has one.
    pub temperature_celsius: Option<f32>,
}

/// What is counted of a function since the gateway was started.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionCounter {
    /// `SERVICE/FUNCTION`; versions are counted by themselves, as `SERVICE.VERSION/FUNCTION`.
    pub name: String,
    /// Invocations with a result.
    pub done: u64,
    /// Those that the handler answered with an error of its own.
    pub handled_errors: u64,
    /// Those that were ended: by a trap, a limit or the deadline.
    pub unhandled_errors: u64,
    /// Those that were not started: too many at once, nested too deeply, refused after failures in a row.
    pub refused: u64,
    /// Those that run now.
    pub running: u32,
    /// Wall-clock time of all that were started.
    pub seconds: f64,
    /// Whether its code is in memory, so that the next call need not load it.
    pub is_loaded: bool,
}

/// The figures as of now. However often they are asked for, they are read once a second at most.
///
/// Faults: 110001, 100008 (the system does not show its figures), 100006 (the disk does not answer).
pub async fn get() -> Result<Info, Fault> {
    gateway_info::get().await.map(Info::from)
}

/// The counters of one function (of both that an alias leads to).
///
/// Faults: 110001, 110003 (no such function).
pub async fn function_counters_of(name: &str) -> Result<Vec<FunctionCounter>, Fault> {
    counters(Some(name.to_owned())).await
}

/// The counters of all functions, in the order of their names.
///
/// Fault: 110001.
pub async fn function_counters() -> Result<Vec<FunctionCounter>, Fault> {
    counters(None).await
}

async fn counters(name: Option<String>) -> Result<Vec<FunctionCounter>, Fault> {
    Ok(gateway_info::function_counters(name).await?.into_iter().map(FunctionCounter::from).collect())
}

impl From<wit::Info> for Info {
    fn from(info: wit::Info) -> Self {
        Self {
            version: info.version,
            uptime_s: info.uptime_s,
            machine_uptime_s: info.machine_uptime_s,
            cpu_cores: info.cpu_cores,
            cpu_usage_percent: info.cpu_usage_percent,
            memory_total_bytes: info.memory_total_bytes,
            memory_used_bytes: info.memory_used_bytes,
            disk_total_bytes: info.disk_total_bytes,
            disk_used_bytes: info.disk_used_bytes,
            temperature_celsius: info.temperature_celsius,
        }
    }
}

impl From<wit::FunctionCounter> for FunctionCounter {
    fn from(counter: wit::FunctionCounter) -> Self {
        Self {
            name: counter.name,
            done: counter.done,
            handled_errors: counter.handled_errors,
            unhandled_errors: counter.unhandled_errors,
            refused: counter.refused,
            running: counter.running,
            seconds: counter.seconds,
            is_loaded: counter.is_loaded,
        }
    }
}
