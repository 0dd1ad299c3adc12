//! Grants: no grant, no access, and a line in the audit.

use serde_json::{Value as Json, json};

use crate::harness::{ECHO, gateway};

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
    assert!(gw.audit().contains("function test/misbehave"), "the audit does not say who");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_and_files_are_closed_to_a_function() {
    let gw = gateway().function("misbehave").start().await;
    let answer = gw.result("misbehave", "socket").await;
    assert!(answer.contains("denied"), "{answer}");
    gw.audited("sockets tcp").await;
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
