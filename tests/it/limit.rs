//! Limits: a guest that breaks one is ended in time, the limit is named, and a neighbour answers all the while.

use std::time::{Duration, Instant};

use ledge::function::{InvokeError, Outcome};
use ledge::grant::Grants;

use crate::harness::client::post;
use crate::harness::{TestGateway, eventually, gateway, invoke_grants, unhandled};

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
    ends("recurse", "stack_bytes").await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_computes_is_killed_at_its_cpu_time_and_one_that_waits_is_not() {
    let setup = gateway().function("misbehave").limits(|limits| limits.cpu_ms = 100);
    let gw = setup.function_of("test/waiting", "relay").limits(|limits| limits.cpu_ms = 100).grants(publishes).start().await;
    let began = Instant::now();
    let (limit, message) = unhandled(gw.invoke("misbehave", "spin").await);
    assert_eq!(limit, Some("cpu_ms"), "{message}");
    assert!(message.starts_with("killed: 1") && message.ends_with(" ms of 100 ms CPU"), "{message}");
    assert!(began.elapsed() < Duration::from_millis(100) + SLACK);
    // It sleeps for 150 ms.
    assert_eq!(gw.result("waiting", "slow").await, "relayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_another_does_not_pay_for_its_time() {
    let setup = gateway().function("chain").limits(|limits| limits.cpu_ms = 40).grants(|grants| grants.invoke = invoke_grants("test/*"));
    let gw = setup.function("misbehave").limits(|limits| limits.cpu_ms = 100).start().await;
    let event = r#"{"path": ["test/misbehave"], "raw": "spin"}"#;
    let (_, message) = match gw.invoke("chain", event).await.unwrap() {
        Outcome::Handled(message) => (None::<&str>, message),
        other => unhandled(Ok(other)),
    };
    assert!(message.contains("ms of 100 ms CPU"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_publishes_so_many_messages_a_second_and_no_more() {
    let setup = gateway().function("misbehave").limits(|limits| limits.publishes_per_s = 10).grants(publishes);
    let gw = setup.start().await;
    let answer = gw.result("misbehave", "publish 200").await;
    let (through, refused) = answer.split_once(' ').unwrap();
    // The second may have ended in between.
    assert!((10..=20).contains(&through.parse().unwrap()), "{answer}");
    assert!(refused.contains("limit publishes_per_s (10)"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_was_hit_is_in_the_metrics_by_its_name() {
    let gw = gateway().function("misbehave").limits(|limits| limits.cpu_ms = 20).start().await;
    unhandled(gw.invoke("misbehave", "spin").await);
    gw.result("misbehave", "well").await;
    let answer = gw.admin().send(hyper::Method::GET, "/ledge/v1/metrics", &[], "".into()).await.unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in [
        r#"ledge_limit_hits_total{guest="function test/misbehave",limit="cpu_ms"} 1"#,
        r#"ledge_invocations_total{function="test/misbehave",outcome="unhandled_error"} 1"#,
        r#"ledge_invocations_total{function="test/misbehave",outcome="done"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_fails_five_times_in_a_row_is_not_called_until_a_probe_goes_well() {
    let gw = gateway().function("count").start().await;
    for _ in 0..5 {
        unhandled(gw.invoke("count", "trap").await);
    }
    let Err(InvokeError::Broken { failures, reason, .. }) = gw.invoke("count", "").await else { panic!("it was called") };
    assert_eq!(failures, 5);
    assert!(reason.contains("trapped"), "{reason}");
    let (status, answer) = post(&gw.admin(), "/2020-04-30/functions/service:test:function:count/invocations", "").await;
    assert_eq!(status, 503);
    assert!(answer["message"].as_str().unwrap().contains("failed 5 times in a row"), "{answer}");
    eventually("a probe to close it", || async { gw.invoke("count", "").await.is_ok() }).await;
    assert_eq!(gw.result("count", "").await, "1");
}

fn publishes(grants: &mut Grants) {
    grants.publish = vec!["#".parse().unwrap()];
}
