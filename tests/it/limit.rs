//! Limits: a guest that breaks one is ended in time, the limit is named, and a neighbour answers all the while.

use std::time::{Duration, Instant};

use crate::harness::{TestGateway, gateway, unhandled};

const DEADLINE_MS: u64 = 300;
/// What ending a guest may take beyond its deadline on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// A function that will break a limit, and a neighbour.
async fn hostile_and_neighbour() -> TestGateway {
    let setup = gateway().function("misbehave").limits(|limits| limits.deadline_ms = DEADLINE_MS);
    setup.function_of("test/neighbour", "misbehave").start().await
}

/// Runs `what`, and asks the neighbour again and again until it has ended.
async fn ends(what: &str, limit: &'static str) -> String {
    let gw = hostile_and_neighbour().await;
    let began = Instant::now();
    let hostile = gw.invoke("misbehave", what);
    let neighbour = async {
        loop {
            assert_eq!(gw.result("neighbour", "still here").await, "still here");
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::select! {
        outcome = hostile => outcome,
        () = neighbour => unreachable!("it asks for ever"),
    };
    assert!(began.elapsed() < Duration::from_millis(DEADLINE_MS) + SLACK, "it ended only after {:?}", began.elapsed());
    let (hit, message) = unhandled(outcome);
    assert_eq!(hit, Some(limit), "{message}");
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_never_returns_is_stopped_and_its_neighbour_is_not() {
    let message = ends("spin", "deadline_ms").await;
    assert!(message.contains("300 ms"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_storms_the_host_with_calls_is_stopped() {
    ends("spin-host", "deadline_ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_sleeps_in_a_host_call_is_stopped() {
    ends("sleep", "deadline_ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_eats_memory_is_stopped_at_its_limit() {
    let message = ends("memory", "memory_bytes").await;
    assert!(message.contains("64 MiB"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_recurses_for_ever_is_stopped_at_its_stack() {
    ends("recurse", "stack").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_100_mib_is_stopped() {
    let setup = gateway().function("misbehave").limits(|limits| limits.memory_bytes = 256 << 20);
    let (limit, message) = unhandled(setup.start().await.invoke("misbehave", "big 104857600").await);
    assert_eq!(limit, Some("host_call_bytes"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_reported_with_its_words() {
    let gw = hostile_and_neighbour().await;
    let (limit, message) = unhandled(gw.invoke("misbehave", "panic").await);
    assert_eq!(limit, None);
    assert!(message.contains("trapped") && message.contains("panicked as asked"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_ends_one_call_and_the_next_is_well() {
    let gw = hostile_and_neighbour().await;
    unhandled(gw.invoke("misbehave", "trap").await);
    assert_eq!(gw.result("misbehave", "well").await, "well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_costs_nothing_but_its_log_lines() {
    let gw = hostile_and_neighbour().await;
    assert_eq!(gw.result("misbehave", "log 900000").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_waits_too_long_for_a_place_is_told_so() {
    let setup = gateway().function("misbehave").limits(|limits| {
        limits.concurrency = 1;
        limits.deadline_ms = DEADLINE_MS;
    });
    let gw = setup.start().await;
    let (first, second) = tokio::join!(gw.invoke("misbehave", "spin"), gw.invoke("misbehave", "spin"));
    // Both meet their deadline: one while it runs, the other while it waits, unless the first ended just before.
    let message = first.and(second).map_or_else(|busy| busy.to_string(), |outcome| format!("{outcome:?}"));
    assert!(message.contains("is busy: 1 of 1 calls are running") || message.contains("deadline"), "{message}");
}
