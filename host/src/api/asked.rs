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

/// One answer of so many is timed, at random, so that no driver knows which: the thread's time is a question to the system each time.
const TIMED_OF: u32 = 8;

/// Awaits the answer of a thing.
pub async fn asked<F>(api: &Arc<Api>, thing: &Thing, question: F) -> Result<F::Output, ApiError>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (lost, now_ms) = (thing.lost_time(), api.clock.unix_ms());
    let Some(lost) = lost.filter(|lost| lost.is_bearable(now_ms) && api.lost_time.is_bearable(now_ms)) else {
        return on_guests(api, question).await;
    };
    if fastrand::u32(..TIMED_OF) != 0 {
        return Ok(question.await);
    }
    let mut question = pin!(question);
    let answer = poll_fn(|context| {
        let before = computed();
        let answer = question.as_mut().poll(context);
        let took = computed().saturating_sub(before);
        lost.took(took, TIMED_OF, now_ms);
        api.lost_time.took(took, TIMED_OF, now_ms);
        answer
    });
    Ok(answer.await)
}

/// How long this thread has computed, the time left out in which others did.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
