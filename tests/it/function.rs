//! Functions: each call in an instance of its own, nested calls, and calls that run later.

use std::time::Duration;

use ledge::function::{InvokeError, Outcome};
use serde_json::{Value as Json, json};

use crate::harness::{TestGateway, eventually, gateway, invoke_grants};

#[tokio::test(flavor = "multi_thread")]
async fn a_function_answers_with_what_it_returns() {
    let gw = gateway().function("misbehave").start().await;
    assert_eq!(gw.result("misbehave", "hello").await, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_returns_an_error_is_handled_and_its_words_arrive() {
    let gw = gateway().function("misbehave").start().await;
    assert_eq!(gw.invoke("misbehave", "error").await.unwrap(), Outcome::Handled("as asked".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_function_is_named() {
    let gw = gateway().start().await;
    let error = gw.invoke("nobody", "").await.unwrap_err();
    assert_eq!(error, InvokeError::UnknownFunction("test/nobody".parse().unwrap()));
    assert!(error.to_string().contains("test/nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_nest_and_each_has_the_smaller_of_its_own_and_its_callers_deadline() {
    let invoke = |grants: &mut ledge::grant::Grants| grants.invoke = invoke_grants("test/*");
    let gw = gateway()
        .function_of("test/a", "chain")
        .grants(invoke)
        .limits(|limits| limits.deadline_ms = 3_000)
        .function_of("test/b", "chain")
        .grants(invoke)
        .limits(|limits| limits.deadline_ms = 60_000)
        .function_of("test/c", "chain")
        .start()
        .await;
    let event = json!({"path": ["test/b", "test/c"], "payload": "x"}).to_string();
    let end: Json = serde_json::from_str(&gw.result("a", &event).await).unwrap();
    assert_eq!(end["payload"], "x");
    assert_eq!(end["function"], "test/c");
    let left = end["deadline_ms"].as_u64().unwrap();
    assert!((1..=3_000).contains(&left), "c had {left} ms, though a's deadline of 3000 ms is the smallest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_calls_is_cut_at_the_call_depth_with_its_path() {
    let gw = gateway().function("chain").grants(|grants| grants.invoke = invoke_grants("test/chain")).start().await;
    let event = json!({"path": vec!["test/chain"; 20], "payload": ""}).to_string();
    let Outcome::Handled(message) = gw.invoke("chain", &event).await.unwrap() else { panic!("the loop was not cut") };
    assert!(message.contains("nested deeper than 8"), "{message}");
    assert!(message.contains("test/chain -> test/chain"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_callee_ends_with_its_callers_deadline() {
    let gw = gateway()
        .function("chain")
        .grants(|grants| grants.invoke = invoke_grants("test/*"))
        .limits(|limits| limits.deadline_ms = 300)
        .function("misbehave")
        .limits(|limits| limits.deadline_ms = 60_000)
        .start()
        .await;
    let event = json!({"path": ["test/misbehave"], "raw": "sleep"}).to_string();
    // Both end at the same moment. Where the callee is a little sooner, its caller may still say so.
    let ended = match gw.invoke("chain", &event).await.unwrap() {
        Outcome::Unhandled(failure) => failure.message,
        Outcome::Handled(message) => message,
        Outcome::Done(result) => panic!("it waited for its callee: {result:?}"),
    };
    assert!(ended.contains("deadline") && (ended.contains("300 ms") || ended.contains("its caller's deadline")), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_an_instance_of_its_own() {
    let gw = gateway().function("count").start().await;
    for _ in 0..3 {
        assert_eq!(gw.result("count", "").await, "1", "the second call saw what the first left in memory");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_call_is_acknowledged_with_an_id_and_runs_later_under_that_id() {
    let gw = gateway()
        .function("chain")
        .grants(|grants| grants.invoke = invoke_grants("test/relay"))
        .function("relay")
        .grants(|grants| grants.publish = vec!["/relay/relay".parse().unwrap()])
        .start()
        .await;
    let mut relayed = gw.listen("/relay/relay");
    let event = json!({"async": ["test/relay"], "raw": "later"}).to_string();
    let id = gw.result("chain", &event).await;
    assert_eq!(id.len(), 36, "`{id}` is no invocation id");
    assert_eq!(relayed.text().await, "later");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_async_call_runs_though_its_function_is_slow_and_takes_one_at_a_time() {
    let gw = gateway()
        .function("relay")
        .grants(|grants| grants.publish = vec!["/relay/relay".parse().unwrap()])
        .limits(|limits| {
            limits.concurrency = 1;
            limits.deadline_ms = 400;
        })
        .function("chain")
        .grants(|grants| grants.invoke = invoke_grants("test/relay"))
        .start()
        .await;
    let mut relayed = gw.listen("/relay/relay");
    for n in 0..10 {
        // `slow` makes each call take more than a third of its deadline, so that ten of them take several deadlines.
        gw.result("chain", &json!({"async": ["test/relay"], "raw": format!("slow {n}")}).to_string()).await;
    }
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(relayed.text().await);
    }
    seen.sort();
    assert_eq!(seen, (0..10).map(|n| format!("slow {n}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_concurrency_wait_for_their_turn() {
    let gw = gateway().function("misbehave").limits(|limits| limits.concurrency = 1).start().await;
    let calls = (0..32).map(|n| {
        let gw = &gw;
        async move { gw.result("misbehave", &n.to_string()).await == n.to_string() }
    });
    assert!(futures_util::future::join_all(calls).await.into_iter().all(|right| right));
}

fn is_loaded(gw: &TestGateway, name: &str) -> bool {
    gw.gateway.functions.get(&format!("test/{name}").parse().unwrap()).unwrap().code.is_loaded()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_nobody_calls_is_unloaded_and_its_next_call_loads_it() {
    let gw = gateway().function("count").with_function(|function| function.reuse = 100).idle(Duration::from_millis(40)).start().await;
    for _ in 0..3 {
        eventually("the function to be unloaded", || async { !is_loaded(&gw, "count") }).await;
        // What it kept between calls is gone with its code.
        assert_eq!(gw.result("count", "").await, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_start_a_function_is_loaded_by_its_first_call() {
    let gw = gateway().function("count").function("misbehave").start().await;
    assert!(is_loaded(&gw, "count") && is_loaded(&gw, "misbehave"));
    let gw = gw.restart().await;
    assert!(!is_loaded(&gw, "count") && !is_loaded(&gw, "misbehave"));
    assert_eq!(gw.result("count", "").await, "1");
    assert!(is_loaded(&gw, "count") && !is_loaded(&gw, "misbehave"));
}
