//! Functions that nobody calls give up their code, until the next call.

use std::sync::Arc;
use std::time::Duration;

use super::Functions;
use crate::memory;

/// How long a function is not called before it rests.
pub const IDLE: Duration = Duration::from_secs(60);
/// That time is counted in so many turns, so it is up to a quarter longer.
pub const REST_TURNS: u8 = 4;

/// Goes through the functions again and again, for as long as it is polled.
pub async fn rest_idle(functions: Arc<Functions>, idle: Duration) {
    let mut turns = tokio::time::interval(idle / u32::from(REST_TURNS));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let mut rest = 0;
        for function in functions.list() {
            rest += u32::from(function.code.rest(&function));
            tokio::task::yield_now().await;
        }
        if rest > 0 {
            // Elsewhere: it holds up whoever allocates on the same thread.
            let _ = tokio::task::spawn_blocking(memory::give_back).await;
            tracing::debug!("{rest} functions were not called for {} s and are unloaded", idle.as_secs());
        }
    }
}
