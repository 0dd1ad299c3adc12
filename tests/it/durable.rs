//! Async invocations: accepted means on disk; tried again, given up, known by their key; and what functions keep.

use std::sync::Arc;

use hyper::Method;
use hyper::header::HeaderName;
use ledge::cli::client::{Answer, Client};
use ledge::set::{Asynchronous, Destination};
use serde_json::{Value as Json, json};

use crate::harness::client::json as body_of;
use crate::harness::{Setup, TestGateway, eventually, gateway};

const KIND: HeaderName = HeaderName::from_static("x-fc-invocation-type");
const KEY: HeaderName = HeaderName::from_static("x-fc-idempotency-key");

async fn submit(client: &Client, function: &str, key: Option<&str>, event: &str) -> Answer {
    let mut headers = vec![(KIND, "Async")];
    headers.extend(key.map(|key| (KEY, key)));
    let path = format!("/2020-04-30/functions/service:test:function:{function}/invocations");
    client.send(Method::POST, &path, &headers, event.to_owned().into()).await.unwrap()
}

fn id(answer: &Answer) -> String {
    answer.headers.get("x-fc-request-id").unwrap().to_str().unwrap().to_owned()
}

/// The id of an invocation that was accepted.
async fn accepted(gw: &TestGateway, function: &str, event: &str) -> String {
    let answer = submit(&gw.admin(), function, None, event).await;
    assert_eq!(answer.status.as_u16(), 202, "{:?}", answer.body);
    id(&answer)
}

async fn send(gw: &TestGateway, method: Method, path: &str) -> (u16, Json) {
    let answer = gw.admin().send(method, path, &[], "".into()).await.unwrap();
    (answer.status.as_u16(), body_of(&answer))
}

async fn status(gw: &TestGateway, id: &str) -> Json {
    send(gw, Method::GET, &format!("/ledge/v1/invocations/{id}")).await.1
}

async fn until(gw: &TestGateway, id: &str, state: &str) {
    eventually(&format!("{id} to be {state}"), || async { status(gw, id).await["state"] == state }).await;
}

async fn dead_letters(gw: &TestGateway) -> Vec<Json> {
    send(gw, Method::GET, "/ledge/v1/dead-letters").await.1.as_array().unwrap().clone()
}

/// Tries so often, without a pause.
fn tries(setup: Setup, attempts: u32, change: impl FnOnce(&mut Asynchronous)) -> Setup {
    let mut policy = Asynchronous { attempts, backoff_s: vec![0], ..Asynchronous::default() };
    change(&mut policy);
    setup.with_function(|function| function.asynchronous = Some(Arc::new(policy)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_fails_is_tried_again_and_then_a_dead_letter_with_every_error() {
    let gw = tries(gateway().function("misbehave"), 3, |_| {}).start().await;
    let id = accepted(&gw, "misbehave", "error").await;
    until(&gw, &id, "dead").await;
    let known = status(&gw, &id).await;
    assert_eq!((&known["attempts"], &known["function"]), (&json!(3), &json!("test/misbehave")));
    assert!(known["error"].as_str().unwrap().contains("as asked"), "{known}");
    let (code, letter) = send(&gw, Method::GET, &format!("/ledge/v1/dead-letters/{id}")).await;
    assert_eq!((code, &letter["event"]), (200, &json!("error")));
    let errors: Vec<&str> = letter["attempts"].as_array().unwrap().iter().map(|attempt| attempt["error"].as_str().unwrap()).collect();
    assert_eq!(errors, ["failed: as asked"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_survive_a_restart_and_are_requeued_and_purged() {
    let gw = tries(gateway().function("misbehave"), 1, |_| {}).start().await;
    let ids = [accepted(&gw, "misbehave", "error").await, accepted(&gw, "misbehave", "panic").await];
    for id in &ids {
        until(&gw, id, "dead").await;
    }
    let gw = gw.restart().await;
    assert_eq!(dead_letters(&gw).await.len(), 2);
    let (code, done) = send(&gw, Method::POST, &format!("/ledge/v1/dead-letters/{}", ids[0])).await;
    assert_eq!((code, &done["count"]), (200, &json!(1)));
    // It fails again, and is back.
    until(&gw, &ids[0], "dead").await;
    eventually("it to be a dead letter again", || async { dead_letters(&gw).await.len() == 2 }).await;
    let (code, done) = send(&gw, Method::DELETE, "/ledge/v1/dead-letters?function=test/misbehave").await;
    assert_eq!((code, &done["count"]), (200, &json!(2)));
    assert!(dead_letters(&gw).await.is_empty());
    gw.audited("dead letters").await;
    let (code, refused) = send(&gw, Method::POST, &format!("/ledge/v1/dead-letters/{}", ids[0])).await;
    assert_eq!(code, 404, "{refused}");
    assert_eq!(send(&gw, Method::GET, "/ledge/v1/dead-letters/nonsense").await.0, 400);
    assert_eq!(send(&gw, Method::GET, &format!("/ledge/v1/invocations/{}", uuid::Uuid::nil())).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_one_invocation_whose_result_the_later_callers_get() {
    let gw = gateway().function("counter").start().await;
    let client = gw.admin();
    let first = submit(&client, "counter", Some("order 7"), "orders").await;
    assert_eq!(first.status.as_u16(), 202);
    until(&gw, &id(&first), "done").await;
    for gw in [&gw] {
        let again = submit(&gw.admin(), "counter", Some("order 7"), "orders").await;
        assert_eq!((again.status.as_u16(), id(&again), &again.body[..]), (200, id(&first), &b"1"[..]));
        assert_eq!(again.headers.get("x-ledge-duplicate").unwrap(), "true");
    }
    let gw = gw.restart().await;
    let again = submit(&gw.admin(), "counter", Some("order 7"), "orders").await;
    assert_eq!((again.status.as_u16(), id(&again), &again.body[..]), (200, id(&first), &b"1"[..]));
    let another = submit(&gw.admin(), "counter", Some("order 8"), "orders").await;
    until(&gw, &id(&another), "done").await;
    assert_eq!(gw.result("counter", "orders").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_async_calls_and_has_an_end() {
    let gw = gateway().function("counter").start().await;
    let long = "k".repeat(129);
    for (key, kind, said) in [(long.as_str(), "Async", "1 to 128 bytes"), ("", "Async", "1 to 128 bytes"), ("k", "Sync", "asynchronous")] {
        let path = "/2020-04-30/functions/service:test:function:counter/invocations";
        let answer = gw.admin().send(Method::POST, path, &[(KIND, kind), (KEY, key)], "k".into()).await.unwrap();
        assert_eq!(answer.status.as_u16(), 400);
        assert!(body_of(&answer)["Message"].as_str().unwrap().contains(said), "{:?}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_are_told_how_it_ended() {
    let told = "/told".to_owned();
    let misbehave = |setup: Setup, name: &str| setup.function_of(&format!("test/{name}"), "misbehave");
    let to_topic = tries(misbehave(gateway(), "fails"), 2, |policy| policy.on_failure = Some(Destination::Topic(told.clone())));
    let to_function = Destination::Function("test/relay".parse().unwrap());
    let gw = tries(misbehave(to_topic, "works"), 1, |policy| policy.on_success = Some(to_function))
        .function("relay")
        .grants(|grants| grants.publish = vec!["#".parse().unwrap()])
        .start()
        .await;
    let (mut failed, mut worked) = (gw.listen("/told"), gw.listen("/relay/relay"));
    let id = accepted(&gw, "fails", "error").await;
    let account: Json = serde_json::from_str(&failed.text().await).unwrap();
    assert_eq!(account["requestContext"]["requestId"], json!(id));
    assert_eq!(account["requestContext"]["approximateInvokeCount"], 2);
    assert_eq!(account["requestPayload"], "error");
    assert!(account["responsePayload"].as_str().unwrap().contains("as asked"));
    let id = accepted(&gw, "works", "hello").await;
    let account: Json = serde_json::from_str(&worked.text().await).unwrap();
    assert_eq!((&account["requestContext"]["requestId"], &account["responsePayload"]), (&json!(id), &json!("hello")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_and_has_not_run_runs_after_a_restart() {
    let gw = gateway().function("counter").limits(|limits| limits.concurrency = 1).start().await;
    // The breaker of a broken function holds its jobs back: here a function that is not deployed yet does.
    let gw = {
        gw.deploy(tries(gateway().function_of("test/later", "misbehave"), 20, |policy| policy.backoff_s = vec![1])).await.unwrap();
        gw
    };
    let ids = futures_util::future::join_all((0..20).map(|_| accepted(&gw, "counter", "n"))).await;
    let waits = accepted(&gw, "later", "error").await;
    eventually("it to have failed once", || async { status(&gw, &waits).await["attempts"].as_u64() >= Some(1) }).await;
    let gw = gw.restart().await;
    assert_eq!(status(&gw, &waits).await["state"].as_str(), Some("waiting").or(Some("running")), "it is there still");
    for id in &ids {
        until(&gw, id, "done").await;
    }
    let counted: u32 = gw.result("counter", "n").await.parse().unwrap();
    assert!(counted > 20, "at least once each, and this one: {counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_keeps_is_its_own_and_survives_restarts_and_has_its_limit() {
    let gw = gateway()
        .function("counter")
        .function_of("test/other", "counter")
        .function_of("test/small", "counter")
        .limits(|limits| limits.kv_bytes = 8)
        .start()
        .await;
    for wanted in ["1", "2", "3"] {
        assert_eq!(gw.result("counter", "key").await, wanted);
    }
    assert_eq!(gw.result("other", "key").await, "1");
    assert_eq!(gw.result("small", "key").await, "1");
    let refused = format!("{:?}", gw.invoke("small", "another").await.unwrap());
    assert!(refused.contains("kv_bytes (8)"), "{refused}");
    gw.counted(r#"ledge_limit_hits_total{guest="function test/small",limit="kv_bytes"} 1"#).await;
    let gw = gw.restart().await;
    assert_eq!(gw.result("counter", "key").await, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_of_one_key_each_get_a_number_of_their_own() {
    let gw = gateway().function("counter").limits(|limits| limits.concurrency = 8).start().await;
    let calls = (0..50).map(|_| gw.result("counter", "shared"));
    let mut numbers: Vec<u32> = futures_util::future::join_all(calls).await.iter().map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
}
