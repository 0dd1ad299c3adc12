//! The clock that interrupts guests: a tick each millisecond while a guest runs, none while none does.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, Thread};
use std::time::Duration;

use anyhow::Context as _;
use wasmtime::Engine;

pub struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    /// Guests that are being polled now.
    active: AtomicU64,
    /// Polls that have begun, ever.
    entries: AtomicU64,
    parked: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    pub fn start(engines: Vec<Engine>) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            active: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let ticking = shared.clone();
        let handle = thread::Builder::new()
            .name("ledge-ticker".to_owned())
            .spawn(move || ticking.tick(&engines))
            .context("starting the thread that interrupts guests")?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// Makes sure that `guest` is interrupted while it is polled.
    pub fn watch<F>(&self, guest: F) -> Watched<'_, F> {
        Watched { ticker: self, guest }
    }

    fn enter(&self) -> Active<'_> {
        self.shared.entries.fetch_add(1, Ordering::Relaxed);
        self.shared.active.fetch_add(1, Ordering::SeqCst);
        // Pairs with `tick`: one of the two sees what the other wrote.
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Active(&self.shared)
    }
}

/// A guest is being polled.
struct Active<'t>(&'t Shared);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn tick(&self, engines: &[Engine]) {
        let mut seen = 0;
        let mut idle_ticks = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            for engine in engines {
                engine.increment_epoch();
            }
            let entries = self.entries.load(Ordering::Relaxed);
            let idle = self.active.load(Ordering::Relaxed) == 0 && entries == seen;
            seen = entries;
            idle_ticks = if idle { idle_ticks + 1 } else { 0 };
            if idle_ticks >= IDLE_TICKS {
                self.park();
                idle_ticks = 0;
            }
        }
    }

    fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        while self.active.load(Ordering::SeqCst) == 0 && !self.stopped.load(Ordering::SeqCst) {
            thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

const TICK: Duration = Duration::from_millis(1);
/// Calls that follow one another closely do not each wake the thread: it stays up for a while.
const IDLE_TICKS: u32 = 20;

/// A guest's future, under the ticker whenever it is polled.
pub struct Watched<'t, F> {
    ticker: &'t Ticker,
    guest: F,
}

impl<F: Future + Unpin> Future for Watched<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _active = self.ticker.enter();
        Pin::new(&mut self.guest).poll(context)
    }
}
