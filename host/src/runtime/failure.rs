//! Why a guest was ended, in words: the limit by its name, or the trap.

use wasmtime::{PoolConcurrencyLimitError, ResourceLimiter, Trap};

use super::budget::Exhausted;
use crate::function::Failure;
use crate::limit::Limits;

/// Holds a guest to its memory and its tables, and remembers what was refused.
pub struct Limiter {
    memory_bytes: usize,
    memory_used: usize,
    /// What the growth that was allowed last adds.
    memory_growth: usize,
    table_elements: usize,
    refused: Option<Refused>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    Memory,
    Table,
    /// Memory that the limit allows and the machine does not have.
    BySystem,
}

impl Limiter {
    pub fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            memory_used: 0,
            memory_growth: 0,
            table_elements: limits.table_elements as usize,
            refused: None,
        }
    }

    /// What was refused, by its name and in words.
    pub fn refused(&self, limits: &Limits) -> Option<(Option<&'static str>, String)> {
        Some(match self.refused? {
            Refused::BySystem => {
                (None, "the machine had no memory for it, though its limit allows more; try again when less runs".to_owned())
            }
            Refused::Memory => {
                (Some("memory_bytes"), format!("it asked for more memory than its limit of {} MiB", limits.memory_bytes >> 20))
            }
            Refused::Table => {
                (Some("table_elements"), format!("it asked for a larger table than its limit of {} elements", limits.table_elements))
            }
        })
    }

    /// Forgets what was refused, for another call of the same instance.
    pub fn forget(&mut self) {
        self.refused = None;
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // The limit is for all memories of the instance together.
        if maximum.is_some_and(|maximum| desired > maximum) {
            // Its own limit, which it knows.
            return Ok(false);
        }
        let growth = desired.saturating_sub(current);
        let used = self.memory_used.saturating_add(growth);
        let allowed = used <= self.memory_bytes;
        if allowed {
            (self.memory_used, self.memory_growth) = (used, growth);
        } else {
            self.refused = Some(Refused::Memory)
        }
        Ok(allowed)
    }

    /// The system had no more, though the limit would have allowed it.
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_used -= std::mem::take(&mut self.memory_growth).min(self.memory_used);
        self.refused = Some(Refused::BySystem);
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= self.table_elements;
        if !allowed {
            self.refused = Some(Refused::Table)
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}

const INSTANCES_MAX: usize = 64;

/// A driver's `run` returned an error: it was not ended, it gave up.
#[derive(Debug, thiserror::Error)]
#[error("`run` failed: {0}")]
pub struct RunFailed(pub String);

/// A driver has too many calls that go on for ever: each keeps some of its handles and of its memory.
#[derive(Debug, thiserror::Error)]
#[error("{0} calls of it never ended")]
pub struct Unended(pub usize);

/// Whether every slot of the pool was taken, which is no fault of the guest.
pub fn is_pool_full(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<PoolConcurrencyLimitError>().is_some()
}

/// Says what ended a guest. `last_words` is the end of its stderr, where a panic explains itself.
pub fn explain(error: &wasmtime::Error, limiter: &Limiter, limits: &Limits, last_words: &str) -> Failure {
    let root = error.root_cause().to_string();
    let (limit, message) = if let Some(exhausted) = error.downcast_ref::<Exhausted>() {
        return self::exhausted(exhausted, limits);
    } else if let Some((limit, message)) = limiter.refused(limits).filter(|_| gave_up(error)) {
        (limit, format!("stopped: {message}"))
    } else if matches!(error.downcast_ref::<Trap>(), Some(Trap::StackOverflow)) {
        (Some("stack_bytes"), format!("stopped: it used more stack than the limit of {} KiB", limits.stack_bytes >> 10))
    } else if root.contains("allocated for hostcalls") || (root.starts_with("requested len") && root.contains("exceeds limit")) {
        (Some("host_call_bytes"), format!("stopped: a host call carried more than its limit of {} bytes", limits.host_call_bytes))
    } else if root.contains("handle limit") || root.contains("resource table") {
        (Some("handles"), format!("stopped: it held more handles than its limit of {}", limits.handles))
    } else {
        (None, if error.is::<RunFailed>() || error.is::<Unended>() { root } else { format!("trapped: {root}") })
    };
    let message = if last_words.is_empty() { message } else { format!("{message}; its last words: {last_words}") };
    Failure { limit, message }
}

/// Whether it ended as guests do that are refused memory: in its start, or by a trap of its own making. Any other trap has
/// another reason, whatever was refused before.
fn gave_up(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<Trap>().is_none_or(|trap| *trap == Trap::UnreachableCodeReached)
}

fn exhausted(exhausted: &Exhausted, limits: &Limits) -> Failure {
    match exhausted {
        Exhausted::Cpu { .. } => Failure { limit: Some("cpu_ms"), message: format!("killed: {exhausted}") },
        Exhausted::Deadline => deadline(limits.deadline_ms),
    }
}

/// The guest did not end in its own time.
pub fn deadline(deadline_ms: u64) -> Failure {
    Failure { limit: Some("deadline_ms"), message: format!("stopped at its deadline of {deadline_ms} ms") }
}

/// The guest did not end in the time that its caller had left.
pub fn callers_deadline(ran_ms: u64) -> Failure {
    Failure { limit: Some("deadline_ms"), message: format!("stopped after {ran_ms} ms, at its caller's deadline") }
}
