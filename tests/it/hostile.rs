//! Hostile guests: each is ended at its limit by name, its neighbour hardly feels it, and its memory comes back.
//!
//! Each test has the machine for itself, with a gateway in a process of its own. The long form, with its table:
//! `LEDGE_HOSTILE_S=30 cargo test --release --test it hostile -- --nocapture`.

mod attack;
mod gateway;

use attack::{Seen, against};

#[tokio::test(flavor = "multi_thread")]
async fn an_infinite_loop_ends_at_its_deadline() {
    let seen = against("infinite-loop", |_| {}).run().await;
    let times = gateway::Times::of(&seen.answers);
    assert!(times.len() >= 100, "{} calls are too few to tell", times.len());
    assert!(times.p99_ms() <= 50.0 + 20.0, "the deadline is 50 ms, and p99 is {} ms", times.p99_ms());
    seen.ended_at("deadline_ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_host_calls_ends_at_its_deadline() {
    against("host-call-storm", |_| {}).run().await.ended_at("deadline_ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copying_64_mib_for_ever_ends_at_the_deadline() {
    against("memory-copy", |limits| limits.memory_bytes = 256 << 20).run().await.ended_at("deadline_ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_bomb_ends_at_its_memory() {
    against("memory-bomb", |limits| limits.deadline_ms = 2_000).run().await.ended_at("memory_bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_a_gibibyte_that_is_not_there_is_a_trap() {
    let seen = against("huge-list", |limits| limits.deadline_ms = 2_000).run().await;
    assert!(seen.answers.iter().all(|answer| answer.text.contains("out of bounds")), "{}", seen.answers[0].text);
    seen.contained();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_a_gibibyte_made_of_one_text_ends_at_the_bytes_of_a_host_call() {
    against("huge-list-of-one", |limits| limits.deadline_ms = 2_000).run().await.ended_at("host_call_bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_for_ever_end_at_their_number() {
    against("handles", |limits| limits.deadline_ms = 2_000).run().await.ended_at("handles").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_recursion_ends_at_its_stack() {
    against("recursion", |limits| limits.deadline_ms = 2_000).run().await.ended_at("stack_bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_the_log_ends_at_its_deadline_and_most_of_it_is_dropped() {
    let seen: Seen = against("log-flood", |_| {}).run().await;
    seen.gateway.logged("log_bytes_per_s").await;
    let bytes = seen.gateway.log().len();
    assert!(bytes < 2 << 20, "the log has {bytes} bytes");
    seen.ended_at("deadline_ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_traps_is_answered_trap_by_trap() {
    let seen = against("trap-storm", |_| {}).run().await;
    assert!(seen.answers.iter().all(|answer| answer.text.contains("trapped")), "{}", seen.answers[0].text);
    seen.contained();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_of_an_hour_ends_at_the_deadline() {
    against("sleep", |_| {}).run().await.ended_at("deadline_ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_ends_at_its_deadline() {
    let mut attack = against("publish-flood", |_| {});
    attack.setup.set.functions[0].grants.publish = vec!["/hostile/#".parse().unwrap()];
    attack.run().await.ended_at("deadline_ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_100_mib_ends_at_the_bytes_of_a_host_call() {
    let big = |limits: &mut ledge::limit::Limits| (limits.deadline_ms, limits.memory_bytes) = (2_000, 256 << 20);
    against("huge-result", big).run().await.ended_at("host_call_bytes").await;
}
