//! Waiting and time for drivers and persistent functions, on WASI 0.3. Other functions use `std::time`.

use std::time::Duration;

use crate::bindings::driver::wasi::clocks::monotonic_clock as wit;

/// Waits, while the driver's other calls go on. At most 584 years.
pub async fn sleep(duration: Duration) {
    wit::wait_for(duration.as_nanos().try_into().unwrap_or(u64::MAX)).await;
}

/// The time since an arbitrary moment before the driver's start; it never goes back.
pub fn now() -> Duration {
    Duration::from_nanos(wit::now())
}
