//! Grants: no grant, no access, and a line in the audit.

use ledge::function::Outcome;
use ledge::grant::InvokeGrants;
use ledge::name::ThingId;
use ledge::set::{RouteSource, RouteTopic};
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};

use crate::harness::{ECHO, eventually, gateway, invoke_grants};

const NOT_GRANTED: u64 = 110_001;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_without_grants_is_refused_every_call_and_each_leaves_an_audit_line() {
    let gw = gateway().function("misbehave").start().await;
    let codes: Json = serde_json::from_str(&gw.result("misbehave", "deny").await).unwrap();
    for (call, code) in codes.as_object().unwrap() {
        assert_eq!(code.as_u64(), Some(NOT_GRANTED), "`{call}` answered {code}");
    }
    assert_eq!(codes.as_object().unwrap().len(), 8);
    for refused in [
        "publish /nobody/nothing",
        "things.write a1Nobody/nothing-1/Nothing",
        "invoke.sync Nobody/nothing",
        "invoke.async Nobody/nothing",
        "credentials",
    ] {
        gw.audited(refused).await;
    }
    assert!(gw.audit().contains(r#""who":"function test/misbehave""#), "the audit does not say who");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_and_files_are_closed_to_a_function() {
    let gw = gateway().function("misbehave").start().await;
    let answer = gw.result("misbehave", "socket").await;
    assert!(answer.contains("denied"), "{answer}");
    gw.audited("tcp a socket").await;
    let files = gw.result("misbehave", "file").await;
    assert!(!files.contains("root:") && files.contains("os error"), "{files}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_covers_what_it_names_and_no_more() {
    let operate = |things: &str| json!({"product": ECHO, "device": "echo-1", "what": things}).to_string();
    let gw = gateway()
        .echo_thing("echo-1")
        .function("operate")
        .grants(|grants| grants.things.read = vec!["a1Echo/echo-1/Number".parse().unwrap()])
        .start()
        .await;
    let read: Json = serde_json::from_str(&gw.result("operate", &operate("get Number")).await).unwrap();
    assert_eq!(read, json!({"Number": 0}));
    for other in ["get Switch", "get", "set Number 1", "call echo"] {
        let answer: Json = serde_json::from_str(&gw.result("operate", &operate(other)).await).unwrap();
        assert_eq!(answer["code"].as_u64(), Some(NOT_GRANTED), "`{other}` answered {answer}");
    }
    for refused in [
        "things.read a1Echo/echo-1/Switch",
        "things.read a1Echo/echo-1/*",
        "things.write a1Echo/echo-1/Number",
        "things.call a1Echo/echo-1/echo",
    ] {
        gw.audited(refused).await;
    }
    assert!(!gw.audit().contains("things.read a1Echo/echo-1/Number"), "what is granted was denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_things_that_a_grant_covers_are_listed_by_tag() {
    let tagged = |thing: &mut ledge::set::Thing| drop(thing.tags.insert("room".into(), "hall".into()));
    let gw = gateway()
        .echo_thing("seen")
        .with_thing(tagged)
        .echo_thing("unseen")
        .with_thing(tagged)
        .function("operate")
        .grants(|grants| grants.things.read = vec!["a1Echo/seen".parse().unwrap()])
        .start()
        .await;
    let event = json!({"what": "tags room hall"}).to_string();
    assert_eq!(gw.result("operate", &event).await, r#"[["a1Echo","seen"]]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_denial_is_in_the_metrics_by_its_grant() {
    let gw = gateway().function("misbehave").start().await;
    gw.result("misbehave", "publish 3").await;
    gw.result("misbehave", "deny").await;
    let metrics = gw.metrics().await;
    let counts = [("publish", 4), ("things.read", 2), ("things.write", 1), ("things.call", 1), ("invoke.sync", 1), ("invoke.async", 1)];
    for (grant, count) in counts {
        let line = format!(r#"ledge_denials_total{{guest="function test/misbehave",grant="{grant}"}} {count}"#);
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_others_call_has_its_own_grants_and_none_of_its_callers() {
    let everything = |grants: &mut ledge::grant::Grants| {
        grants.invoke = invoke_grants("*/*");
        grants.publish = vec!["#".parse().unwrap()];
        grants.things.read = vec!["*/*/*".parse().unwrap()];
        (grants.things.write, grants.things.call) = (grants.things.read.clone(), grants.things.read.clone());
        grants.credentials = true;
    };
    let gw = gateway().function("chain").grants(everything).function("misbehave").start().await;
    let event = json!({"path": ["test/misbehave"], "raw": "deny"}).to_string();
    let codes: Json = serde_json::from_str(&gw.result("chain", &event).await).unwrap();
    for (call, code) in codes.as_object().unwrap() {
        assert_eq!(code.as_u64(), Some(NOT_GRANTED), "`{call}` answered {code}");
    }
    gw.audited(r#""who":"function test/misbehave""#).await;
    assert!(!gw.audit().contains(r#""who":"function test/chain""#), "the caller was blamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_calls_that_are_waited_for_is_none_of_calls_that_run_later_and_the_other_way_round() {
    let relay = || vec!["test/relay".parse().unwrap()];
    let gw = gateway()
        .function_of("test/now", "chain")
        .grants(|grants| grants.invoke = InvokeGrants { sync: relay(), asynchronous: vec![] })
        .function_of("test/later", "chain")
        .grants(|grants| grants.invoke = InvokeGrants { sync: vec![], asynchronous: relay() })
        .function("relay")
        .grants(|grants| grants.publish = vec!["/relay/relay".parse().unwrap()])
        .start()
        .await;
    let mut relayed = gw.listen("/relay/relay");
    let (now, later) = (json!({"path": ["test/relay"], "raw": "x"}).to_string(), json!({"async": ["test/relay"], "raw": "x"}).to_string());
    assert_eq!(gw.result("now", &now).await, "relayed");
    assert_eq!(gw.result("later", &later).await.len(), 36);
    for _ in 0..2 {
        assert_eq!(relayed.text().await, "x");
    }
    for (caller, event, grant) in [("now", later, "invoke.async"), ("later", now, "invoke.sync")] {
        let Outcome::Handled(message) = gw.invoke(caller, &event).await.unwrap() else { panic!("`{caller}` was let through") };
        assert!(message.contains(&format!("not granted: {grant} `test/relay`")), "{message}");
        gw.audited(&format!("{grant} test/relay")).await;
    }
    eventually("the queue to be empty", || async { gw.gateway.queue_rows() == 0 }).await;
    assert!(relayed.is_silent());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_hands_a_function_only_what_it_may_subscribe_to() {
    // The routes stand before their targets, so that the harness grants nothing.
    let mut setup = gateway().echo_thing("echo-1");
    for name in ["granted", "other"] {
        let source = RouteSource::Device("/a1Echo/echo-1".parse().unwrap());
        setup = setup.route(source, RouteTopic::All, &format!("test/{name}"));
    }
    for (name, topic) in [("granted", "/sys/a1Echo/+/thing/event/property/post"), ("other", "/sys/a1Echo/echo-2/#")] {
        setup = setup.function_of(&format!("test/{name}"), "relay").grants(|grants| {
            grants.publish = vec!["/relay/+".parse().unwrap()];
            grants.subscribe = vec![topic.parse().unwrap()];
        });
    }
    let gw = setup.start().await;
    let (mut granted, mut other) = (gw.listen("/relay/granted"), gw.listen("/relay/other"));
    let number = vec![Property::new("Number", Value::Int(7))];
    gw.gateway.things.set_properties(&ThingId::new(ECHO, "echo-1"), number).await.unwrap();
    assert!(granted.text().await.contains("echo-1"));
    gw.audited("subscribe /sys/a1Echo/echo-1/thing/event/property/post").await;
    let is_denied = |name: &str| gw.audit().contains(&format!(r#""who":"function test/{name}""#));
    assert!(is_denied("other") && !is_denied("granted"), "{}", gw.audit());
    eventually("the queue to be empty", || async { gw.gateway.queue_rows() == 0 }).await;
    assert!(other.is_silent(), "it was called all the same");
    gw.counted(r#"ledge_denials_total{guest="function test/other",grant="subscribe"} 1"#).await;
}
