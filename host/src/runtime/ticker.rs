//! The clock that interrupts guests: a tick each millisecond while a guest runs, none while none does.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use wasmtime::Engine;

use super::meter::{Meter, Running};

pub struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    engines: Mutex<Vec<Engine>>,
    /// Milliseconds that guests could have computed, ever: the clock of the meters.
    ticks: AtomicU64,
    /// Guests that are being polled now.
    active: AtomicU64,
    /// Polls that have begun, ever.
    entries: AtomicU64,
    parked: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    pub fn start() -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            engines: Mutex::default(),
            ticks: AtomicU64::new(0),
            active: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let ticking = shared.clone();
        let handle = thread::Builder::new()
            .name("ledge-ticker".to_owned())
            .spawn(move || ticking.tick())
            .context("starting the thread that interrupts guests")?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// Interrupts the guests of this engine too.
    pub fn add(&self, engine: &Engine) {
        self.shared.engines.lock().push(engine.clone());
    }

    /// Milliseconds that guests could have computed so far.
    pub fn ticks(&self) -> u64 {
        self.shared.ticks.load(Ordering::Relaxed)
    }

    /// Makes sure that `guest` is interrupted while it is polled, and counts that time.
    pub fn watch<F>(&self, guest: F, meter: Arc<Meter>) -> Watched<'_, F> {
        Watched { ticker: self, guest, meter }
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
    fn tick(&self) {
        let mut seen = 0;
        let mut idle_ticks = 0;
        let mut last = Instant::now();
        while !self.stopped.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            // On a busy machine a tick comes late, and counts for as many as it took.
            let passed = u64::try_from(last.elapsed().as_millis()).unwrap_or(1).max(1);
            last += Duration::from_millis(passed).min(last.elapsed());
            self.ticks.fetch_add(passed, Ordering::Relaxed);
            for engine in &*self.engines.lock() {
                engine.increment_epoch();
            }
            let entries = self.entries.load(Ordering::Relaxed);
            let idle = self.active.load(Ordering::Relaxed) == 0 && entries == seen;
            seen = entries;
            idle_ticks = if idle { idle_ticks + 1 } else { 0 };
            if idle_ticks >= IDLE_TICKS {
                self.park();
                idle_ticks = 0;
                last = Instant::now();
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
    meter: Arc<Meter>,
}

impl<F: Future + Unpin> Future for Watched<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _active = self.ticker.enter();
        let _running = Running::start(&self.meter, &self.ticker.shared.ticks);
        Pin::new(&mut self.guest).poll(context)
    }
}
