//! The limits of one guest, with the defaults that hold where a manifest is silent.
//!
//! Every limit that is hit shows by its name: in the answer, in the log and in the metrics.

mod by_address;
mod rate;

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use by_address::{ByAddress, Counted, client_of};
pub use rate::{Pace, Rate};

/// What one function or driver may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of one instance. Within [`MEMORY_BYTES`].
    pub memory_bytes: u64,
    /// Elements of one table of the instance. Within [`TABLE_ELEMENTS`].
    pub table_elements: u32,
    /// Stack of one instance, for its Wasm frames. One of [`STACK_BYTES`].
    pub stack_bytes: usize,
    /// Time that one invocation may compute, waiting for others not included. Within [`CPU_MS`]. Of a driver: without once waiting, reporting or answering.
    pub cpu_ms: u64,
    /// Wall clock of one invocation once it has its place, nested calls and waiting for others included. Within [`DEADLINE_MS`]. Of a driver: of one call to it.
    pub deadline_ms: u64,
    /// Bytes that one host call may carry from the guest to the host.
    pub host_call_bytes: usize,
    /// Open handles of one instance.
    pub handles: u32,
    /// Invocations at the same time. More wait, up to [`WAITING_MAX`]. Of a driver: calls to it that its instance has under way.
    pub concurrency: u32,
    /// Connections that its listeners have open, all together. One more is closed at once. For drivers only.
    pub connections: u32,
    /// Messages that it may publish in a second, of all its instances together. Of a driver: reports and events.
    pub publishes_per_s: u32,
    /// Other functions that it may invoke in a second, of all its instances together, sync and async. Not for drivers.
    pub invocations_per_s: u32,
    /// Bytes that reach the log in a second, of stdout and stderr together. The rest is counted and dropped.
    pub log_bytes_per_s: u32,
    /// Bytes of all keys and values that it keeps (`kv`), together. Not for drivers.
    pub kv_bytes: usize,
    /// How deep calls may nest, this one included. Not for drivers.
    pub call_depth: u32,
    /// Invocations that may fail one after another before callers are refused for a while; 0 means that they never are. Not for drivers.
    pub breaker_failures: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: 10_000,
            stack_bytes: 512 << 10,
            cpu_ms: 5_000,
            deadline_ms: 5_000,
            host_call_bytes: 1 << 20,
            handles: 1_024,
            concurrency: 8,
            connections: 256,
            publishes_per_s: 1_000,
            invocations_per_s: 1_000,
            log_bytes_per_s: 64 << 10,
            kv_bytes: 1 << 20,
            call_depth: 8,
            breaker_failures: 5,
        }
    }
}

impl Limits {
    /// The defaults of a driver: a call of it may take 10 s, the original's own limit (leda.c), and many may wait for slow devices.
    pub fn of_driver() -> Self {
        Self { deadline_ms: 10_000, cpu_ms: 10_000, concurrency: 64, ..Self::default() }
    }
}

/// What a manifest may give one instance; each range is of the field of [`Limits`] with its name.
pub const MEMORY_BYTES: RangeInclusive<u64> = 1 << 20..=256 << 20;
pub const TABLE_ELEMENTS: RangeInclusive<u32> = 100..=65_536;
/// The stacks that can be had: each is an engine of its own (`runtime/engine.rs`), so they are few.
pub const STACK_BYTES: [usize; 5] = [128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20];
/// Seconds between two ticks of a timer.
pub const INTERVAL_S: RangeInclusive<u32> = 1..=31_536_000;
/// Tries of an async invocation.
pub const ATTEMPTS: RangeInclusive<u32> = 1..=20;
/// Seconds between two tries.
pub const BACKOFF_S: RangeInclusive<u32> = 0..=3_600;
/// Seconds for which an async invocation is tried.
pub const AGE_S: RangeInclusive<u32> = 1..=604_800;
/// First calls of a function that decide whether it stays.
pub const FIRST_CALLS_MAX: u32 = 1_000;
/// Where a health check does not say.
pub const FIRST_CALLS_USUAL: u32 = 3;
/// Runs of an automation rule in a second.
pub const RUNS_PER_S: RangeInclusive<u32> = 1..=10_000;
/// Where its manifest does not say.
pub const RUNS_PER_S_USUAL: u32 = 100;
pub const CPU_MS: RangeInclusive<u64> = 1..=300_000;
pub const DEADLINE_MS: RangeInclusive<u64> = 1..=300_000;
pub const KV_BYTES: RangeInclusive<usize> = 0..=256 << 20;
pub const HOST_CALL_BYTES: RangeInclusive<usize> = 4 << 10..=64 << 20;
pub const HANDLES: RangeInclusive<u32> = 16..=65_536;
pub const CONCURRENCY: RangeInclusive<u32> = 1..=256;
pub const CONNECTIONS: RangeInclusive<u32> = 1..=10_000;
pub const PUBLISHES_PER_S: RangeInclusive<u32> = 0..=1_000_000;
pub const INVOCATIONS_PER_S: RangeInclusive<u32> = 0..=1_000_000;
pub const BREAKER_FAILURES: RangeInclusive<u32> = 0..=1_000;
/// Calls that one kept instance may take, one after another; 0 is a fresh instance for each call.
pub const REUSE: RangeInclusive<u32> = 0..=1_000_000;
pub const LOG_BYTES_PER_S: RangeInclusive<u32> = 0..=16 << 20;
pub const CALL_DEPTH: RangeInclusive<u32> = 1..=64;
/// What the history of one thing may take on disk.
pub const HISTORY_BYTES: RangeInclusive<u32> = 0..=64 << 20;
/// Where its product does not say: some thousand reports of a few numbers.
pub const HISTORY_BYTES_USUAL: u32 = 64 << 10;
/// The largest `json` of a driver's configuration and `custom` of a thing, as JSON text (FACTS 3.1).
pub const CONFIG_JSON_BYTES_MAX: usize = 1_024;
/// Files that a driver's configuration may name (`fileList`). Each has [`COMPONENT_BYTES_MAX`] at most.
pub const CONFIG_FILES_MAX: usize = 100;
/// Invocations of one function that may wait for a free place. One more is answered 503.
pub const WAITING_MAX: usize = 1_024;
/// The largest component that can be deployed.
pub const COMPONENT_BYTES_MAX: usize = 32 << 20;
/// What compiling one component may take, in its own process: memory (`RLIMIT_AS`), processor and wall clock. An interpreter of
/// 30 MB needs about half of each.
pub const COMPILE_MEMORY_BYTES_MAX: u64 = 2 << 30;
pub const COMPILE_CPU_S_MAX: u64 = 60;
pub const COMPILE_TIME_MAX: Duration = Duration::from_secs(120);
/// The largest compiled code. It is several times as large as its component.
pub const COMPILED_BYTES_MAX: u64 = 256 << 20;
/// Components that nothing uses, all together. A larger deployment is brought in parts.
pub const UNUSED_BYTES_MAX: u64 = 1 << 30;
/// How long components and compiled code of them stay on disk after they were written, where nothing uses them any more: the
/// way back from a deployment is quick on the same day.
pub const UNUSED_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// The largest event of an invocation over HTTP.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// The largest body of any other HTTP request.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Open connections of one address, or of one /64 of IPv6, where `--connections-per-address-max` is silent. One more is answered 421.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 32;
/// Open connections in all, where `--connections-max` is silent. One more is answered 421.
pub const CONNECTIONS_MAX: u32 = 1_024;
/// Handshakes of TLS with one driver that one address has under way. One more is closed.
pub const HANDSHAKES_PER_ADDRESS_MAX: u32 = 32;
/// The longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 256;
