//! Time as a seam: product code asks a [`Clock`], so that a test can let years pass in a moment.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Wall time and monotonic time. Clones show the same time.
#[derive(Clone)]
pub struct Clock(Option<watch::Receiver<Set>>);

#[derive(Clone, Copy)]
struct Set {
    unix_ms: u64,
    monotonic: Instant,
}

/// Both times, read once for many.
#[derive(Clone, Copy)]
pub struct Now {
    pub unix_ms: u64,
    pub monotonic: Instant,
}

impl Clock {
    pub fn now(&self) -> Now {
        Now { unix_ms: self.unix_ms(), monotonic: self.monotonic() }
    }

    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Hands`] move it.
    pub fn fixed(unix_ms: u64) -> (Self, Hands) {
        let (hands, shown) = watch::channel(Set { unix_ms, monotonic: Instant::now() });
        (Self(Some(shown)), Hands(Arc::new(hands)))
    }

    /// Milliseconds since 1970. Jumps when somebody corrects the machine's clock: for people and for the wire, not for waiting.
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Some(shown) => shown.borrow().unix_ms,
            // A box without a battery may start before 1970 by a time zone's worth: that is still no reason to fail.
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
        }
    }

    /// Never jumps and never goes back: for everything that expires.
    pub fn monotonic(&self) -> Instant {
        self.0.as_ref().map_or_else(Instant::now, |shown| shown.borrow().monotonic)
    }

    /// Returns once monotonic time has come to `instant`.
    pub async fn until(&self, instant: Instant) {
        match &self.0 {
            None => tokio::time::sleep_until(instant.into()).await,
            Some(shown) => {
                // A clock whose hands are gone stands still for ever.
                if shown.clone().wait_for(|set| set.monotonic >= instant).await.is_err() {
                    std::future::pending().await
                }
            }
        }
    }
}

/// Moves the clock that [`Clock::fixed`] made.
#[derive(Clone)]
pub struct Hands(Arc<watch::Sender<Set>>);

impl Hands {
    /// Time passes.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|set| {
            set.unix_ms += by.as_millis() as u64;
            set.monotonic += by;
        });
    }

    /// Somebody sets the wall clock; monotonic time does not notice.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        self.0.send_modify(|set| set.unix_ms = unix_ms);
    }
}
