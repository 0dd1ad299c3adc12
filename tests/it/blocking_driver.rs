//! A driver written as a plain loop: its sleep answers what it is asked, and what blocks elsewhere is seen from outside.

use ledge::name::ThingId;
use ledge::thing::fault::{self, Fault};
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};

use crate::harness::{ECHO, Setup, TestGateway, eventually, gateway};

fn thing() -> ThingId {
    ThingId::new(ECHO, "loop-1")
}

/// The driver `plain_loop`, which sleeps for so long between two reports.
fn plain_loop(period_ms: u64) -> Setup {
    let setup = gateway().product(ECHO, include_str!("harness/echo.json")).driver("plain_loop", "plain-loop");
    setup.with_driver(|driver| driver.config = Some(json!({"json": {"period_ms": period_ms}}))).thing(ECHO, "loop-1", "plain_loop")
}

const AN_HOUR_MS: u64 = 3_600_000;

async fn call(gw: &TestGateway, service: &'static str) -> Result<Vec<Property>, Fault> {
    let things = gw.gateway.things.clone();
    let arguments = if service == "echo" { vec![Property::new("text", Value::Text("hi".into()))] } else { vec![] };
    gw.gateway.guests().spawn(async move { things.call_service(&thing(), service, arguments).await }).await.unwrap()
}

fn number(value: i32) -> Vec<Property> {
    vec![Property::new("Number", Value::Int(value))]
}

#[tokio::test(flavor = "multi_thread")]
async fn its_sleep_answers_whatever_it_is_asked() {
    let gw = plain_loop(AN_HOUR_MS).start().await;
    let things = &gw.gateway.things;
    let mut reports = gw.listen("/sys/a1Echo/loop-1/thing/event/property/post");
    things.set_properties(&thing(), number(42)).await.unwrap();
    let report: Json = serde_json::from_str(&reports.text().await).unwrap();
    assert_eq!(report["Number"]["value"], 42);
    assert_eq!(things.get_properties(&thing(), vec!["Number".into()]).await.unwrap(), number(42));
    assert_eq!(call(&gw, "echo").await.unwrap()[0].value.to_text(), "hi");
    let refused = call(&gw, "fault").await.unwrap_err();
    assert_eq!((refused.code, refused.message.contains("refused as asked")), (fault::SERVICE_INPUT_PARAM, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reports_in_its_loop_while_it_is_asked_by_many() {
    let gw = plain_loop(1).start().await;
    let mut reports = gw.listen("/sys/a1Echo/loop-1/thing/event/property/post");
    let asked = (0..64).map(|_| call(&gw, "echo"));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.unwrap()[0].value.to_text(), "hi");
    }
    for _ in 0..20 {
        let report: Json = serde_json::from_str(&reports.text().await).unwrap();
        assert!(report["Level"]["value"].is_number());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_while_it_computes_or_answers_is_answered_afterwards() {
    let gw = plain_loop(1).start().await;
    call(&gw, "spin").await.unwrap();
    call(&gw, "echo").await.unwrap();
    // It sleeps within its answer, and takes nothing else meanwhile.
    let (nap, echo) = tokio::join!(call(&gw, "hang"), call(&gw, "echo"));
    assert_eq!((nap.unwrap().len(), echo.unwrap().len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_blocks_elsewhere_is_late_and_a_driver_that_stays_there_is_started_again() {
    let gw = plain_loop(1).with_driver(|driver| driver.limits.deadline_ms = 300).start().await;
    let before = gw.gateway.drivers.list()[0].2;
    let late = call(&gw, "block").await.unwrap_err();
    assert_eq!(late.code, fault::TIMEOUT);
    for _ in 0..7 {
        assert!(call(&gw, "echo").await.is_err());
    }
    eventually("the driver to be started again", || async { gw.gateway.drivers.list()[0].2 > before }).await;
    eventually("it to answer again", || async { call(&gw, "echo").await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_of_its_new_configuration_in_its_sleep() {
    let gw = plain_loop(AN_HOUR_MS).start().await;
    gw.gateway.things.set_properties(&thing(), number(7)).await.unwrap();
    gw.deploy(plain_loop(AN_HOUR_MS).thing(ECHO, "loop-2", "plain_loop")).await.unwrap();
    assert_eq!(gw.gateway.things.get_properties(&thing(), vec!["Number".into()]).await.unwrap(), number(7));
    assert_eq!(gw.gateway.drivers.list()[0].2, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_it_traps_its_things_go_offline_and_come_back() {
    let gw = plain_loop(1).start().await;
    let mut status = gw.listen("/as/mqtt/status/a1Echo/loop-1");
    assert_eq!(call(&gw, "trap").await.unwrap_err().code, fault::DEVICE_OFFLINE);
    for wanted in ["offline", "online"] {
        let body: Json = serde_json::from_str(&status.text().await).unwrap();
        assert_eq!(body["status"], wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_twice_reaches_nobody() {
    let gw = plain_loop(AN_HOUR_MS).start().await;
    call(&gw, "echo").await.unwrap();
    assert_eq!(call(&gw, "config").await.unwrap()[0].value.to_text(), "false");
    call(&gw, "echo").await.unwrap();
}
