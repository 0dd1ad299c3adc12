//! The limits of one guest, with the defaults that hold where a manifest is silent.
//!
//! Every limit that is hit shows by its name: in the answer, in the log and in the audit.

use serde::{Deserialize, Serialize};

/// What one function or driver may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of one instance. 1 MiB to [`MEMORY_BYTES_MAX`].
    pub memory_bytes: u64,
    /// Wall clock of one invocation, nested calls and waiting included. 1 to [`DEADLINE_MS_MAX`]. Drivers: of one call.
    pub deadline_ms: u64,
    /// Bytes that one host call may carry from the guest to the host.
    pub host_call_bytes: usize,
    /// Open handles of one instance.
    pub handles: u32,
    /// Invocations at the same time. More wait, up to [`WAITING_MAX`].
    pub concurrency: u32,
    /// Bytes that reach the log in a second, of stdout and stderr together. The rest is counted and dropped.
    pub log_bytes_per_s: u32,
    /// How deep calls may nest, this one included.
    pub call_depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            deadline_ms: 5_000,
            host_call_bytes: 1 << 20,
            handles: 1_024,
            concurrency: 8,
            log_bytes_per_s: 64 << 10,
            call_depth: 8,
        }
    }
}

/// The most memory that a manifest can give one instance.
pub const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// The longest deadline that a manifest can give.
pub const DEADLINE_MS_MAX: u64 = 300_000;
/// The highest concurrency that a manifest can give.
pub const CONCURRENCY_MAX: u32 = 256;
/// Invocations of one function that may wait for a free place. One more is answered 503.
pub const WAITING_MAX: usize = 1_024;
/// Stack of one instance, for its Wasm frames.
pub const STACK_BYTES: usize = 512 << 10;
/// The largest component that can be deployed.
pub const COMPONENT_BYTES_MAX: usize = 32 << 20;
/// The largest body of any other HTTP request, and so the largest event.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// The longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 256;
