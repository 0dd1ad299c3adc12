//! Ten thousand things of a hundred drivers on one gateway, and a flood from one of them.

use std::collections::BTreeMap;
use std::time::Instant;

use ledge::name::ThingId;
use ledge::set;
use ledge::thing::Presence;
use ledge::thing::value::{Property, Value};

use crate::harness::{PATIENCE, Setup, TestGateway, eventually, gateway};

const PRODUCT: &str = "a1Bench";
const DRIVERS: usize = 100;
const THINGS_EACH: usize = 100;

/// Drivers `reporter_0` and so on, each with so many things.
fn reporters(drivers: usize, things_each: usize) -> Setup {
    let mut setup = gateway().product(PRODUCT, include_str!("../../host/src/bench/reporter.json"));
    for at in 0..drivers {
        let name = format!("reporter_{at}");
        setup = setup.driver(&name, "reporter");
        setup.set.things.extend((0..things_each).map(|thing| set::Thing {
            product_key: PRODUCT.into(),
            device_name: format!("thing-{at}-{thing}"),
            driver: name.clone(),
            local_name: None,
            tags: BTreeMap::new(),
            custom: None,
        }));
    }
    setup
}

async fn burst(gw: &TestGateway, thing: &str, reports: i32) -> i32 {
    let (things, id) = (gw.gateway.things.clone(), ThingId::new(PRODUCT, thing));
    let reports = vec![Property::new("reports", Value::Int(reports))];
    let answered = gw.gateway.guests().spawn(async move { things.call_service(&id, "burst", reports).await }).await.unwrap().unwrap();
    if let Value::Int(refused) = answered[0].value { refused } else { panic!("{answered:?}") }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_things_of_a_hundred_drivers_come_online_and_answer() {
    let began = Instant::now();
    let gw = reporters(DRIVERS, THINGS_EACH).start_without_waiting().await;
    let online = || gw.gateway.things.list().iter().filter(|thing| thing.presence() == Presence::Online).count();
    eventually("all things to be online", || async { online() == DRIVERS * THINGS_EACH }).await;
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    for at in [0, 57, 99] {
        let id = ThingId::new(PRODUCT, format!("thing-{at}-{at}"));
        assert_eq!(gw.gateway.things.get_properties(&id, vec!["label".into()]).await.unwrap()[0].value.to_text(), "pump-1");
    }
    let listed = gw.v1("/thing/device/list-authed", serde_json::json!({"PageSize": 10, "CurrentPage": 1_000})).await.1;
    assert_eq!((&listed["data"]["TotalNum"], listed["data"]["List"].as_array().unwrap().len()), (&serde_json::json!(10_000), 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_driver_is_throttled_and_named_and_another_ones_reports_are_taken() {
    let setup = reporters(2, 1);
    let gw = setup.start().await;
    let began = Instant::now();
    let timed = async |thing: &str, reports| (burst(&gw, thing, reports).await, began.elapsed());
    let ((refused, took), (of_another, another_took)) = tokio::join!(timed("thing-0-0", 5_000), timed("thing-1-0", 100));
    // A thousand a second are taken, and the others wait for their second.
    assert!(refused == 0 && took.as_secs() >= 3, "{refused} in {took:?}");
    assert!(of_another == 0 && another_took < took / 2, "{of_another} in {another_took:?}");
    gw.counted(r#"ledge_limit_hits_total{guest="driver reporter_0",limit="publishes_per_s"}"#).await;
    let metrics = gw.metrics().await;
    assert!(!metrics.contains(r#"ledge_limit_hits_total{guest="driver reporter_1""#), "{metrics}");
    assert_eq!(burst(&gw, "thing-1-0", 10).await, 0);
}
