//! Asking a thing something, on threads where that delays nobody.
//!
//! A driver runs where it is asked (`driver/shared.rs`) and most answer within microseconds, while to hand a question to the threads of guests
//! and its answer back takes several times as long. So a question is asked where its request is served, as long as the driver is quick. One
//! that computes for long is asked among guests for the next while (`thing/lost_time.rs`).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Api;
use super::error::ApiError;
use super::invoke::on_guests;
use crate::thing::Thing;

/// Awaits the answer of a thing.
pub async fn asked<F>(api: &Arc<Api>, thing: &Thing, question: F) -> Result<F::Output, ApiError>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (lost, now_ms) = (thing.lost_time(), api.clock.unix_ms());
    let Some(lost) = lost.filter(|lost| lost.is_bearable(now_ms) && api.lost_time.is_bearable(now_ms)) else {
        return on_guests(api, question).await;
    };
    let mut question = pin!(question);
    let answer = poll_fn(|context| {
        // Timers and sockets of the guest are those of the guests' threads, whoever polls it.
        let _guests = api.guests.enter();
        let before = computed();
        let answer = question.as_mut().poll(context);
        let took = computed().saturating_sub(before);
        lost.took(took, now_ms);
        api.lost_time.took(took, now_ms);
        answer
    });
    Ok(answer.await)
}

/// How long this thread has computed, the time left out in which others did.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
