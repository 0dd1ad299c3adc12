//! The samples and the simulated drivers, as the demo deploys them.

use std::collections::BTreeMap;

use ledge::name::ThingId;
use ledge::set::{RouteSource, RouteTopic};
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};

use crate::harness::{Setup, gateway, invoke_grants};

fn lamp() -> ThingId {
    ThingId::new("a1Light", "lamp-1")
}

/// The lamp of the demo.
fn with_lamp() -> Setup {
    gateway()
        .product("a1Light", include_str!("../../sample-functions/tsl/a1Light.json"))
        .driver("light", "light")
        .thing("a1Light", "lamp-1", "light")
        .with_thing(|thing| thing.tags = BTreeMap::from([("location".into(), "master bedroom".into())]))
}

/// The demo's sensor, which here moves every few milliseconds.
fn with_sensor(setup: Setup) -> Setup {
    let mut setup = setup
        .product("a1LightSensor", include_str!("../../sample-functions/tsl/a1LightSensor.json"))
        .driver("light_sensor", "light_sensor")
        .thing("a1LightSensor", "sensor-1", "light_sensor");
    setup.set.drivers.last_mut().unwrap().config = Some(json!({"json": {"period_ms": 10}}));
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn helloworld_answers_invoker_across_a_call() {
    let gw = gateway()
        .function_of("EdgeFC/helloworld", "helloworld")
        .function_of("test/invoker", "invoker")
        .grants(|grants| grants.invoke = invoke_grants("EdgeFC/helloworld"))
        .start()
        .await;
    assert_eq!(gw.result("invoker", "").await, "Message from helloworld");
}

#[tokio::test(flavor = "multi_thread")]
async fn thing_operations_does_all_that_the_manual_does_to_its_lamp() {
    let gw = with_lamp()
        .function_of("test/operations", "thing-operations")
        .grants(|grants| {
            let lamp = || vec!["a1Light/lamp-1".parse().unwrap()];
            grants.things = ledge::grant::ThingGrants { read: lamp(), write: lamp(), call: lamp() };
        })
        .start()
        .await;
    let said = gw.result("operations", "").await;
    let said: Json = serde_json::from_str(&said).unwrap_or_else(|_| panic!("not JSON: {said}"));
    assert!(said.to_string().contains("lamp-1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sensor_moves_by_100_between_100_and_600() {
    let gw = with_sensor(gateway()).start().await;
    let mut reports = gw.listen("/sys/a1LightSensor/sensor-1/thing/event/property/post");
    let mut values = Vec::new();
    for _ in 0..14 {
        let report: Json = serde_json::from_str(&reports.text().await).unwrap();
        values.push(report["MeasuredIlluminance"]["value"].as_f64().unwrap());
    }
    assert!(values.windows(2).all(|pair| (pair[0] - pair[1]).abs() == 100.0), "{values:?}");
    assert!(values.iter().all(|value| (100.0..=600.0).contains(value)), "{values:?}");
    assert!(values.contains(&100.0) && values.contains(&600.0), "{values:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_light_goes_off_above_500_and_on_at_100() {
    let gw = with_sensor(with_lamp())
        .function_of("test/monitor", "light-monitor")
        .grants(|grants| grants.things.write = vec!["a1Light/lamp-1/LightSwitch".parse().unwrap()])
        .route(RouteSource::Device("/a1LightSensor/sensor-1".parse().unwrap()), RouteTopic::Property, "test/monitor")
        .start()
        .await;
    let mut lamp_reports = gw.listen("/sys/a1Light/lamp-1/thing/event/property/post");
    gw.gateway.things.set_properties(&lamp(), vec![Property::new("LightSwitch", Value::Bool(true))]).await.unwrap();
    // The lamp reports only what changes, so it must alternate for as long as the sensor moves.
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let report: Json = serde_json::from_str(&lamp_reports.text().await).unwrap();
        seen.push(report["LightSwitch"]["value"].as_i64().unwrap());
    }
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
}
