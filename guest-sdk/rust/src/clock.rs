//! Waiting and time for drivers and persistent functions, on WASI 0.3. Other functions use `std::time`.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::bindings::driver::wasi::clocks::monotonic_clock as wit;

/// Waits, while the driver's other calls go on. At most 584 years.
pub async fn sleep(duration: Duration) {
    wit::wait_for(duration.as_nanos().try_into().unwrap_or(u64::MAX)).await;
}

/// Gives a future so much time. If that is over, the future is dropped where it waits.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, TimedOut> {
    let (mut future, mut time) = (pin!(future), pin!(sleep(duration)));
    poll_fn(|context| {
        // The future first: what is there already is never too late.
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        time.as_mut().poll(context).map(|()| Err(TimedOut { after: duration }))
    })
    .await
}

/// The time since an arbitrary moment before the driver's start; it never goes back.
pub fn now() -> Duration {
    Duration::from_nanos(wit::now())
}

/// What [`timeout`] was asked for did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// The time that it had.
    pub after: Duration,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it did not end within {} ms", self.after.as_millis())
    }
}

impl std::error::Error for TimedOut {}
