//! The runtime of guests, apart from the one that serves, so that those who compute do not delay those who listen.

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};

/// As many threads as cores. Dropped, it ends at once and waits for nothing.
pub struct GuestRuntime(Option<Runtime>);

impl GuestRuntime {
    pub fn start() -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores)
            .thread_name("ledge-guest")
            .event_interval(POLLS_BETWEEN_EVENTS)
            .enable_all()
            .build();
        Ok(Self(Some(runtime.context("starting the threads of guests")?)))
    }

    pub fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is taken only when it is dropped").handle().clone()
    }
}

/// A guest that computes is polled for a millisecond at a time, and with tokio's 61 polls a neighbour's timer or socket would be
/// looked at every 61 ms.
const POLLS_BETWEEN_EVENTS: u32 = 4;

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        // tokio would panic if this were an async task that waits for the threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
