//! Hostile guests: each is ended at its limit by name, its neighbour hardly feels it, and its memory comes back.
//!
//! Each test has the machine for itself, with a gateway in a process of its own. The long form, with its table:
//! `LEDGE_HOSTILE_S=30 cargo test --release --test it hostile -- --nocapture`.

mod attack;
pub mod gateway;

use std::sync::Arc;
use std::time::{Duration, Instant};

use attack::{RSS_MIB_MAX, Seen, against, slack_ms};
use gateway::Gateway;
use ledge::limit::Limits;

use crate::harness::{self, ECHO, Setup, eventually, invoke_grants};

#[tokio::test(flavor = "multi_thread")]
async fn an_infinite_loop_ends_at_its_deadline() {
    let seen = against("infinite-loop", |_| {}).run().await;
    let times = gateway::Times::of(&seen.answers);
    assert!(times.len() >= 100, "{} calls are too few to tell", times.len());
    assert!(times.p99_ms() <= 50.0 + slack_ms(20.0), "the deadline is 50 ms, and p99 is {} ms", times.p99_ms());
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
    let seen = against("trap-storm", |limits| limits.deadline_ms = 2_000).run().await;
    for answer in &seen.answers {
        assert!(answer.text.contains("trapped"), "{}", answer.text);
    }
    seen.contained();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_of_an_hour_ends_at_the_deadline() {
    against("sleep", |_| {}).run().await.ended_at("deadline_ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_ends_at_its_deadline() {
    let mut attack = against("publish-flood", |_| {});
    Arc::make_mut(&mut attack.setup.set.functions[0].grants).publish = vec!["/hostile/#".parse().unwrap()];
    let seen = attack.run().await;
    seen.gateway.logged("publishes_per_s").await;
    seen.ended_at("deadline_ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_100_mib_ends_at_the_bytes_of_a_host_call() {
    let big = |limits: &mut Limits| (limits.deadline_ms, limits.memory_bytes) = (2_000, 256 << 20);
    against("huge-result", big).run().await.ended_at("host_call_bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_functions_that_call_each_other_are_cut_at_the_call_depth_with_the_path() {
    let mut attack = against("ping-pong", |_| {});
    attack.setup = ping_pong(attack.setup);
    // More of them hold one another's places and wait, until the deadline cuts that.
    (attack.function, attack.callers) = ("test/ping", 1);
    let seen = attack.run().await;
    let path = ["test/ping -> test/pong"; 4].join(" -> ");
    for answer in &seen.answers {
        let said = &answer.text;
        assert!(said.contains("nested deeper than 8") && said.contains(&path) && said.contains("110004"), "{said}");
    }
    seen.contained();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_functions_that_call_each_other_whatever_they_are_answered_end_at_the_deadline() {
    let mut attack = against("ping-pong stubborn", |_| {});
    attack.setup = ping_pong(attack.setup);
    attack.function = "test/ping";
    let seen = attack.run().await;
    for answer in &seen.answers {
        let is_ended = answer.limit.as_deref() == Some("deadline_ms");
        // Who waits for a place that another circle holds is told so.
        assert!(is_ended || (answer.status == 503 && answer.text.contains("is busy")), "{}", answer.text);
    }
    seen.contained();
}

/// `test/ping` and `test/pong`, which may call each other.
fn ping_pong(setup: Setup) -> Setup {
    ["test/ping", "test/pong"].into_iter().fold(setup, |setup, name| {
        let limited = setup.function_of(name, "hostile").limits(|own| {
            (own.deadline_ms, own.breaker_failures, own.invocations_per_s) = (50, 0, 1_000_000);
        });
        limited.grants(|grants| grants.invoke = invoke_grants("test/*"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_cancelled_at_any_point_leave_nothing_behind() {
    let mut setup = against("", |limits| limits.deadline_ms = 2_000).setup;
    let grants = Arc::make_mut(&mut setup.set.functions[0].grants);
    grants.publish = vec!["/hostile/#".parse().unwrap()];
    grants.invoke = invoke_grants("test/neighbour");
    let gateway = Gateway::start().await;
    gateway.deploy(&setup).await.unwrap();
    gateway.attack("test/hostile", "use 16", attack::CALLERS, Duration::from_millis(200)).await;
    gateway.cancel("test/hostile", "call-cancelled", attack::CALLERS, 500).await;
    let quiet = gateway.neighbour(Duration::from_millis(500)).await.p99_ms();
    let before = gateway.rss_mib();
    let cancelling = gateway.cancel("test/hostile", "call-cancelled", attack::CALLERS, 10_000);
    let (took, during) = tokio::join!(cancelling, gateway.neighbour(Duration::from_millis(1_500)));
    let during = during.p99_ms();
    println!("| call-cancelled | 10000 calls in {} ms | neighbour p99 {quiet:.1} -> {during:.1} ms |", took.as_millis());
    assert!(during <= 2.0 * quiet + slack_ms(15.0), "the neighbour's p99 went from {quiet} ms to {during} ms");
    let after = gateway.rss_mib_at_most(before + RSS_MIB_MAX).await;
    assert!(after <= before + RSS_MIB_MAX, "{before:.1} MiB were resident before, and {after:.1} after");
    eventually("no call to run any more", || async {
        let functions = gateway.client.get_json("/ledge/v1/functions").await.unwrap();
        functions.as_array().unwrap().iter().all(|function| function["running"] == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_never_finishes_its_start_is_refused_within_its_deadline() {
    let gateway = Gateway::start().await;
    let setup = harness::gateway().function("never-starts").limits(|limits| limits.deadline_ms = 300);
    let setup = setup.function_of("test/neighbour", "count");
    let alone = harness::gateway().function_of("test/neighbour", "count");
    gateway.deploy(&alone).await.unwrap();
    let began = Instant::now();
    let (refused, _) = tokio::join!(gateway.deploy(&setup), gateway.neighbour(Duration::from_millis(300)));
    let refused = format!("{:#}", refused.unwrap_err());
    println!("| never-starts | refused after {} ms: {refused} |", began.elapsed().as_millis());
    assert!(refused.contains("test/never-starts") && refused.contains("300 ms"), "{refused}");
    // Compiling it is part of it, the first time.
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// Deploys a driver that attacks, and gives what the gateway says about it once it was ended.
async fn driver_ends(attack: &str, limits: impl FnOnce(&mut Limits)) -> String {
    let gateway = Gateway::start().await;
    let neighbour = || harness::gateway().function_of("test/neighbour", "count");
    let mut setup = neighbour().product(ECHO, include_str!("harness/echo.json")).thing(ECHO, "t", "hostile");
    setup = setup.driver("hostile", "hostile-driver");
    let driver = setup.set.drivers.last_mut().unwrap();
    driver.config = Some(serde_json::json!({"json": {"attack": attack}}));
    limits(&mut driver.limits);
    // Once for the baseline: its code is loaded, and its threads are awake.
    for setup in [&setup, &neighbour()] {
        gateway.deploy(setup).await.unwrap();
    }
    let quiet = gateway.neighbour(Duration::from_millis(500)).await.p99_ms();
    let before = gateway.rss_mib();
    gateway.deploy(&setup).await.unwrap();
    let during = gateway.neighbour(Duration::from_millis(1_500)).await.p99_ms();
    let drivers = gateway.client.get_json("/ledge/v1/drivers").await.unwrap();
    gateway.deploy(&neighbour()).await.unwrap();
    let after = gateway.rss_mib_at_most(before + RSS_MIB_MAX).await;
    println!(
        "| driver {attack} | neighbour p99 {quiet:.1} -> {during:.1} ms | RSS {before:.1} -> {after:.1} MiB | {} {} |",
        drivers[0]["state"], drivers[0]["reason"]
    );
    assert!(during <= 2.0 * quiet + slack_ms(15.0), "the neighbour's p99 went from {quiet} ms to {during} ms");
    assert!(after <= before + RSS_MIB_MAX, "{before:.1} MiB were resident before, and {after:.1} after");
    format!("{}\n{}", drivers[0]["reason"], gateway.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_computes_for_ever_is_ended_by_name() {
    let said = driver_ends("spin", |limits| limits.cpu_ms = 200).await;
    assert!(said.contains("CPU"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_floods_reports_is_held_to_its_rate() {
    let said = driver_ends("report-flood", |_| {}).await;
    assert!(said.contains("publishes_per_s"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_keeps_every_handle_is_ended_by_name() {
    let said = driver_ends("handles", |_| {}).await;
    assert!(said.contains("handles"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_eats_memory_is_ended_by_name() {
    let said = driver_ends("memory-bomb", |_| {}).await;
    assert!(said.contains("64 MiB"), "{said}");
}
