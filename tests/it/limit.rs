//! Limits: a guest that breaks one is ended in time, the limit is named, and a neighbour answers all the while.

use std::time::{Duration, Instant};

use ledge::deploy::DeployError;
use ledge::function::{Invocation, InvokeError, Outcome};
use ledge::grant::Grants;
use ledge::limit::WAITING_MAX;
use tokio::task::JoinSet;
use wasm_encoder::{
    BlockType, CodeSection, FunctionSection, HeapType, Module, RefType, StartSection, TableSection, TableType, TypeSection,
};

use crate::harness::client::post;
use crate::harness::module::with_instance;
use crate::harness::{PATIENCE, TestGateway, eventually, gateway, invoke_grants, unhandled};

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
    let text = gw.metrics().await;
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
    assert!(answer["Message"].as_str().unwrap().contains("failed 5 times in a row"), "{answer}");
    eventually("a probe to close it", || async { gw.invoke("count", "").await.is_ok() }).await;
    assert_eq!(gw.result("count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_calls_others_so_many_times_a_second_and_no_more() {
    let setup = gateway().function("misbehave").limits(|limits| limits.invocations_per_s = 10);
    let setup = setup.grants(|grants| grants.invoke = invoke_grants("test/neighbour"));
    let gw = setup.function_of("test/neighbour", "count").start().await;
    let answer = gw.result("misbehave", "invoke 100").await;
    let (through, refused) = answer.split_once(' ').unwrap();
    // Each second has room for ten, and a hundred calls take a part of one.
    assert!((10..100).contains(&through.parse().unwrap()), "{answer}");
    assert_eq!(refused, "[110002]");
    let hits = 100 - through.parse::<u32>().unwrap();
    gw.counted(&format!(r#"ledge_limit_hits_total{{guest="function test/misbehave",limit="invocations_per_s"}} {hits}"#)).await;
}

/// A module whose start grows a table to so many elements, and traps where it does not get them.
fn grows_table(elements: i32) -> Module {
    let (mut types, mut functions, mut tables) = (TypeSection::new(), FunctionSection::new(), TableSection::new());
    types.ty().function([], []);
    functions.function(0);
    tables.table(TableType { element_type: RefType::FUNCREF, table64: false, minimum: 0, maximum: None, shared: false });
    let (mut code, mut start) = (CodeSection::new(), wasm_encoder::Function::new([]));
    let mut body = start.instructions();
    body.ref_null(HeapType::FUNC).i32_const(elements).table_grow(0);
    body.i32_const(0).i32_lt_s().if_(BlockType::Empty).unreachable().end().end();
    code.function(&start);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&StartSection { function_index: 0 }).section(&code);
    module
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_grows_to_its_limit_and_no_further() {
    let growing = |elements| {
        let mut setup = gateway().function("count").limits(|limits| limits.table_elements = 2_000);
        setup.set.functions[0].component = setup.component(with_instance("count", &grows_table(elements)));
        setup
    };
    let gw = growing(2_000).start().await;
    assert_eq!(gw.result("count", "").await, "1");
    match gw.deploy(growing(2_001)).await {
        Err(DeployError::Refused(problems)) => {
            assert!(problems[0].contains("larger table than its limit of 2000 elements"), "{problems:?}");
        }
        other => panic!("it was not refused: {other:?}"),
    }
    let gw = growing(2_001).limits(|limits| limits.table_elements = 4_000).start().await;
    assert_eq!(gw.result("count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_into_a_stack_of_2_mib_does_not_fit_into_one_of_128_kib() {
    let setup = gateway().function_of("test/small", "misbehave").limits(|limits| limits.stack_bytes = 128 << 10);
    let gw = setup.function_of("test/large", "misbehave").limits(|limits| limits.stack_bytes = 2 << 20).start().await;
    for deep in ["recurse 20000", "recurse"] {
        let (limit, message) = unhandled(gw.invoke("small", deep).await);
        assert_eq!((limit, message.contains("128 KiB")), (Some("stack_bytes"), true), "{message}");
        gw.result("large", "recurse 20000").await;
    }
    let (limit, message) = unhandled(gw.invoke("large", "recurse").await);
    assert_eq!((limit, message.contains("2048 KiB")), (Some("stack_bytes"), true), "{message}");
    gw.result("small", "recurse 100").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_are_a_host_calls_and_its_limit_is_named() {
    let gw = gateway().function("misbehave").limits(|limits| limits.host_call_bytes = 64 << 10).start().await;
    let Outcome::Done(bytes) = gw.invoke("misbehave", "random 65536").await.unwrap() else { panic!("it was refused") };
    assert_eq!(bytes.len(), 64 << 10);
    assert!(bytes.iter().any(|byte| *byte != bytes[0]), "they are all the same");
    let (limit, message) = unhandled(gw.invoke("misbehave", "random 1048576").await);
    assert_eq!(limit, Some("host_call_bytes"), "{message}");
    assert!(message.contains("65536 bytes"), "{message}");
    gw.counted(r#"ledge_limit_hits_total{guest="function test/misbehave",limit="host_call_bytes"} 1"#).await;
    assert_eq!(gw.result("misbehave", "well").await, "well");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_callers_wait_for_a_place_and_the_next_is_refused_at_once() {
    let setup = gateway().function("misbehave").limits(|limits| (limits.concurrency, limits.deadline_ms) = (1, 60_000));
    let gw = setup.start().await;
    let mut calls = JoinSet::new();
    for _ in 0..1 + WAITING_MAX + 1 {
        let functions = gw.gateway.functions.clone();
        let call = Invocation::new("test/misbehave".parse().unwrap(), "sleep");
        calls.spawn_on(async move { functions.invoke(call).await }, &gw.gateway.guests());
    }
    // Whoever came last: all the others are still there.
    let refused = tokio::time::timeout(PATIENCE, calls.join_next()).await.expect("nobody was refused").unwrap().unwrap().unwrap_err();
    assert!(matches!(refused, InvokeError::Busy { running: 1, waiting: WAITING_MAX, .. }), "{refused}");
    let (status, answer) = post(&gw.admin(), "/2020-04-30/functions/service:test:function:misbehave/invocations", "").await;
    assert_eq!(status, 503);
    assert!(answer["Message"].as_str().unwrap().contains("1024 wait"), "{answer}");
    assert!(calls.try_join_next().is_none(), "another one is not waiting any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_refused_before_they_run_count_by_the_limit_too() {
    let setup = gateway().function("chain").limits(|limits| limits.call_depth = 2);
    let setup = setup.grants(|grants| grants.invoke = invoke_grants("test/chain"));
    let gw = setup.function("misbehave").limits(|limits| limits.concurrency = 1).start().await;
    let circle = serde_json::json!({"path": vec!["test/chain"; 4]}).to_string();
    assert!(matches!(gw.invoke("chain", &circle).await, Ok(Outcome::Handled(_))));
    let functions = &gw.gateway.functions;
    let name: ledge::name::FunctionName = "test/misbehave".parse().unwrap();
    let call = |event: &str| Invocation::new(name.clone(), event.to_owned());
    let soon = Some(Instant::now() + Duration::from_millis(100));
    let impatient = async {
        eventually("the first call to run", || async { functions.get(&name).unwrap().gate.running() == 1 }).await;
        functions.invoke(Invocation { deadline: soon, ..call("") }).await
    };
    tokio::select! {
        ended = gw.invoke("misbehave", "sleep") => panic!("it ended: {ended:?}"),
        refused = impatient => assert!(matches!(refused, Err(InvokeError::Busy { .. })), "{refused:?}"),
    }
    let metrics = gw.metrics().await;
    for line in [
        r#"ledge_limit_hits_total{guest="function test/chain",limit="call_depth"} 1"#,
        r#"ledge_limit_hits_total{guest="function test/misbehave",limit="concurrency"} 1"#,
        r#"ledge_invocations_total{function="test/chain",outcome="refused"} 1"#,
        r#"ledge_invocations_total{function="test/misbehave",outcome="refused"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

fn publishes(grants: &mut Grants) {
    grants.publish = vec!["#".parse().unwrap()];
}
