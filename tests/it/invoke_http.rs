//! Invocation over HTTP: the body is the event, the answer's body is the result.

use hyper::Method;
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderName, SET_COOKIE};
use ledge::cli::client::{Answer, Client};
use serde_json::json;

use crate::harness::client::json as body_of;
use crate::harness::{PASSWORD, TestGateway, gateway};

const KIND: HeaderName = HeaderName::from_static("x-fc-invocation-type");

async fn invoke(client: &Client, arn: &str, headers: &[(HeaderName, &str)], event: Vec<u8>) -> Answer {
    client.send(Method::POST, &format!("/2020-04-30/functions/{arn}/invocations"), headers, event.into()).await.unwrap()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(|value| value.to_str().unwrap())
}

async fn misbehave() -> TestGateway {
    gateway().function("misbehave").limits(|limits| limits.deadline_ms = 300).start().await
}

const ARN: &str = "service:test:function:misbehave";

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_in_and_bytes_come_out() {
    let gw = misbehave().await;
    let event = vec![0, 255, 128, 10, 13];
    for arn in [ARN, "acs:fc:::service:test:function:misbehave", "acs:fc:cn-shanghai:1234567890123456:service:test:function:misbehave"] {
        let answer = invoke(&gw.admin(), arn, &[], event.clone()).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &event[..]), "{arn}");
        assert_eq!(header(&answer, "x-fc-error-type"), None);
        assert_eq!(header(&answer, "x-fc-request-id").unwrap().len(), 36);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_which_function_and_why() {
    let gw = misbehave().await;
    let answer = invoke(&gw.admin(), ARN, &[], b"error".to_vec()).await;
    assert_eq!((answer.status.as_u16(), header(&answer, "x-fc-error-type")), (200, Some("Handled")));
    let body = body_of(&answer);
    assert_eq!((&body["Function"], &body["Message"]), (&json!("test/misbehave"), &json!("as asked")));
    let answer = invoke(&gw.admin(), ARN, &[], b"spin".to_vec()).await;
    assert_eq!((answer.status.as_u16(), header(&answer, "x-fc-error-type")), (200, Some("Unhandled")));
    let body = body_of(&answer);
    assert_eq!((&body["Function"], &body["Limit"]), (&json!("test/misbehave"), &json!("deadline_ms")));
    assert_eq!(body["Message"], "stopped at its deadline of 300 ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_call_is_202_with_its_id_and_runs() {
    let gw = gateway().function("relay").grants(|grants| grants.publish = vec!["/relay/relay".parse().unwrap()]).start().await;
    let mut relayed = gw.listen("/relay/relay");
    let answer = invoke(&gw.admin(), "service:test:function:relay", &[(KIND, "Async")], b"later".to_vec()).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    assert_eq!(header(&answer, "x-fc-request-id").unwrap().len(), 36);
    assert_eq!(relayed.text().await, "later");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_called_is_named() {
    let gw = misbehave().await;
    let cases: [(&str, &str, u16, &str); 5] = [
        ("service:test:function:nobody", "Sync", 404, "test/nobody"),
        ("service:test:function:nobody", "Async", 404, "test/nobody"),
        ("misbehave", "Sync", 400, "misbehave"),
        ("acs:fc:::service:test:function:1", "Sync", 400, "function"),
        (ARN, "Later", 400, "Later"),
    ];
    for (arn, kind, status, named) in cases {
        let answer = invoke(&gw.admin(), arn, &[(KIND, kind)], vec![]).await;
        assert_eq!(answer.status.as_u16(), status, "{arn} {kind}");
        assert!(body_of(&answer)["Message"].as_str().unwrap().contains(named), "{arn} {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_may_have_a_mebibyte_and_no_more() {
    let gw = gateway().function("misbehave").limits(|limits| limits.host_call_bytes = 4 << 20).start().await;
    let answer = invoke(&gw.admin(), ARN, &[], vec![b'x'; 1 << 20]).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 1 << 20));
    let answer = invoke(&gw.admin(), ARN, &[], vec![b'x'; (1 << 20) + 1]).await;
    assert_eq!(answer.status.as_u16(), 400);
    assert!(body_of(&answer)["Message"].as_str().unwrap().contains("1048576"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_cookie_opens_it_as_well_as_basic_does() {
    let gw = misbehave().await;
    let body = json!({"params": {"UserName": "admin", "Password": PASSWORD}}).to_string();
    let answer = gw.stranger().send(Method::POST, "/auth/login", &[], body.into()).await.unwrap();
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let answer = invoke(&gw.stranger(), ARN, &[(COOKIE, &cookie)], b"hi".to_vec()).await;
    assert_eq!(&answer.body[..], b"hi");
    let wrong = gw.stranger().with_password("admin", "wrong wrong wrong");
    assert_eq!(invoke(&wrong, ARN, &[], b"hi".to_vec()).await.status.as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_type_of_an_event_is_of_no_matter() {
    let gw = misbehave().await;
    let answer = invoke(&gw.admin(), ARN, &[(CONTENT_TYPE, "application/x-www-form-urlencoded")], b"a=b".to_vec()).await;
    assert_eq!(&answer.body[..], b"a=b");
}
