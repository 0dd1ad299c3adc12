//! What one invocation may still spend of time, looked at on every tick while it computes.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::UpdateDeadline;

use super::meter::Meter;
use super::ticker::Ticker;
use crate::function::Call;
use crate::limit::Limits;

pub struct Budget {
    ticker: Arc<Ticker>,
    meter: Arc<Meter>,
    cpu_ms: u64,
    deadline: Instant,
}

/// What ran out while a guest computed. Waiting guests are ended by the timer of their call.
#[derive(Debug, thiserror::Error)]
pub enum Exhausted {
    #[error("{spent_ms} ms of {cpu_ms} ms CPU")]
    Cpu { spent_ms: u64, cpu_ms: u64 },
    #[error("its deadline")]
    Deadline,
}

impl Budget {
    pub fn new(ticker: &Arc<Ticker>, limits: &Limits, call: &Call) -> Self {
        Self { ticker: ticker.clone(), meter: Arc::default(), cpu_ms: limits.cpu_ms, deadline: call.deadline }
    }

    /// For another call of the same instance.
    pub fn begin(&mut self, call: &Call, meter: Arc<Meter>) {
        self.deadline = call.deadline;
        self.meter = meter;
    }

    /// The guest computes, and a tick has passed.
    pub fn tick(&self) -> Result<UpdateDeadline, Exhausted> {
        let spent_ms = self.meter.spent(self.ticker.ticks());
        if spent_ms >= self.cpu_ms {
            return Err(Exhausted::Cpu { spent_ms, cpu_ms: self.cpu_ms });
        }
        // The timer of the call would see it too, but later: its runtime looks at its clock only now and then.
        if Instant::now() >= self.deadline {
            return Err(Exhausted::Deadline);
        }
        Ok(UpdateDeadline::Yield(1))
    }
}
