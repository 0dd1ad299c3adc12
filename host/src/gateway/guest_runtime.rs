//! The runtimes of guests, apart from the one that serves, so that those who compute do not delay those who listen.

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};

/// Dropped, it ends at once and waits for nothing.
pub struct GuestRuntime(Option<Runtime>);

impl GuestRuntime {
    /// As many threads as cores.
    pub fn start() -> anyhow::Result<Self> {
        Self::with(Builder::new_multi_thread().thread_name("ledge-guest").worker_threads(cores()))
    }

    /// Half as many, which step back where others want to run.
    pub fn start_behind() -> anyhow::Result<Self> {
        let step_back = || {
            // Not granted, the backlog is as quick as everything else.
            let _ = rustix::process::nice(NICE);
        };
        Self::with(Builder::new_multi_thread().thread_name("ledge-backlog").worker_threads(cores().div_ceil(2)).on_thread_start(step_back))
    }

    fn with(builder: &mut Builder) -> anyhow::Result<Self> {
        let runtime = builder.event_interval(POLLS_BETWEEN_EVENTS).enable_all().build();
        Ok(Self(Some(runtime.context("starting the threads of guests")?)))
    }

    pub fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is taken only when it is dropped").handle().clone()
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// A guest that computes is polled for a millisecond at a time, and with tokio's 61 polls a neighbour's timer or socket would be
/// looked at every 61 ms.
const POLLS_BETWEEN_EVENTS: u32 = 4;

/// Linux gives such a thread a ninth of the weight of a usual one. It is the thread's, not the process's.
const NICE: i32 = 10;

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        // tokio would panic if this were an async task that waits for the threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
