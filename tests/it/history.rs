//! What the gateway remembers of things: their last values and the history of their reports, over restarts and within its limit.

use ledge::name::ThingId;
use ledge::thing::Presence;
use ledge::thing::history::Report;
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};

use crate::harness::client::json as body;
use crate::harness::command::ledge;
use crate::harness::{ECHO, TestGateway, gateway};

fn echo() -> ThingId {
    ThingId::new(ECHO, "echo-1")
}

async fn report(gw: &TestGateway, number: i32) {
    call(gw, "report", vec![Property::new("Number", Value::Int(number))]).await;
}

async fn call(gw: &TestGateway, service: &'static str, arguments: Vec<Property>) {
    let things = gw.gateway.things.clone();
    gw.gateway.guests().spawn(async move { things.call_service(&echo(), service, arguments).await }).await.unwrap().unwrap();
}

async fn history(gw: &TestGateway) -> Vec<Report> {
    gw.gateway.things.history(&echo(), 0..=u64::MAX, 0, usize::MAX).await.unwrap().0
}

fn numbers(reports: &[Report]) -> Vec<i32> {
    let number = |report: &Report| if let Value::Int(number) = report.values[0].value { number } else { -1 };
    reports.iter().map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn last_values_and_history_are_there_after_a_restart_and_go_on() {
    let gw = gateway().echo_thing("echo-1").start().await;
    report(&gw, 1).await;
    report(&gw, 2).await;
    let event = vec![Property::new("event", Value::Text("alarm".into())), Property::new("level", Value::Int(7))];
    call(&gw, "event", event).await;
    let (values, before) = (gw.gateway.things.get(&echo()).unwrap().values(), history(&gw).await);
    let online_at = gw.gateway.things.get(&echo()).unwrap().online_at_ms();
    assert_eq!(numbers(&before), [1, 2, 7]);
    assert_eq!(before[2].event.as_deref(), Some("alarm"));

    let gw = gw.restart().await;
    let thing = gw.gateway.things.get(&echo()).unwrap();
    assert_eq!(thing.values(), values);
    assert!(thing.online_at_ms() >= online_at);
    assert_eq!(history(&gw).await, before);
    gw.online(&echo()).await;
    report(&gw, 3).await;
    assert_eq!(numbers(&history(&gw).await), [1, 2, 7, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thing_that_was_online_before_a_restart_is_offline_until_its_driver_registers_it() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let gw = gw.restart().await;
    // Whether its driver has come yet or not: it is none that was never there.
    assert_ne!(gw.gateway.things.get(&echo()).unwrap().presence(), Presence::Inactive);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_asked_by_time_range_and_page_by_page() {
    let gw = gateway().echo_thing("echo-1").start().await;
    for number in 0..30 {
        report(&gw, number).await;
    }
    let all = history(&gw).await;
    let (mut cursor, mut paged, mut pages) = (0, Vec::new(), 0);
    loop {
        let path = format!("/ledge/v1/things/a1Echo/echo-1/history?cursor={cursor}&count=7");
        let page = body(&gw.admin().send(hyper::Method::GET, &path, &[], "".into()).await.unwrap());
        paged.extend(page["reports"].as_array().unwrap().iter().map(|it| it["properties"]["Number"].as_i64().unwrap() as i32));
        pages += 1;
        match page["next"].as_u64() {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!(paged, numbers(&all));
    assert_eq!(pages, 5);
    let (some, next) = gw.gateway.things.history(&echo(), all[10].time_ms..=all[20].time_ms, 0, 1_000).await.unwrap();
    assert_eq!(next, None);
    let expected: Vec<Report> = all.iter().filter(|it| (all[10].time_ms..=all[20].time_ms).contains(&it.time_ms)).cloned().collect();
    assert_eq!(some, expected);
    let wrong = gw.admin().send(hyper::Method::GET, "/ledge/v1/things/a1Echo/echo-1/history?count=0", &[], "".into()).await.unwrap();
    assert_eq!(wrong.status.as_u16(), 400);
    let unknown = gw.admin().send(hyper::Method::GET, "/ledge/v1/things/a1Echo/none/history", &[], "".into()).await.unwrap();
    assert_eq!(unknown.status.as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_keeps_its_limit_and_drops_the_oldest() {
    let mut setup = gateway().echo_thing("echo-1");
    setup.set.products[0].history_bytes = 12_000;
    let mut gw = setup.start().await;
    let text = |number: usize| vec![Property::new("Text", Value::Text(format!("{number:064}")))];
    for round in 0..3 {
        for number in 0..200 {
            gw.gateway.things.set_properties(&echo(), text(round * 200 + number)).await.unwrap();
        }
        gw = gw.restart().await;
        gw.online(&echo()).await;
    }
    let kept = history(&gw).await;
    let texts: Vec<usize> = kept.iter().map(|it| it.values[0].value.to_text().parse().unwrap()).collect();
    let newest: Vec<usize> = (600 - texts.len()..600).collect();
    assert_eq!(texts, newest);
    // Each takes about 72 bytes.
    assert!((80..=170).contains(&texts.len()), "{}", texts.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_thing_that_goes_goes_with_it() {
    let gw = gateway().echo_thing("echo-1").echo_thing("echo-2").start().await;
    report(&gw, 1).await;
    let mut set = gw.gateway.deploy.current();
    let thing = set.things.iter().find(|row| row.device_name == "echo-1").cloned().unwrap();
    set.things.retain(|row| row.device_name != "echo-1");
    gw.gateway.deploy.apply(set.clone(), true, "test").await.unwrap();
    let gw = gw.restart().await;
    set.things.push(thing);
    gw.gateway.deploy.apply(set, false, "test").await.unwrap();
    assert_eq!(history(&gw).await, []);
    assert!(gw.gateway.things.get(&echo()).unwrap().values().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_what_a_thing_reported() {
    let gw = gateway().echo_thing("echo-1").start().await;
    report(&gw, 42).await;
    let data = gw.data.path();
    let shown = ledge(data, &["history", "a1Echo/echo-1", "--from", "10m", "--data", "."]).await;
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    assert!(shown.stdout.contains("properties") && shown.stdout.contains("Number=42"), "{}", shown.stdout);
    let listed = ledge(data, &["history", "a1Echo/echo-1", "--json", "--data", "."]).await;
    let listed: Json = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["reports"][0]["properties"], json!({"Number": 42}));
    let wrong = ledge(data, &["history", "a1Echo/echo-1", "--from", "soon", "--data", "."]).await;
    assert!(wrong.stderr.contains("`soon` is no time"), "{}", wrong.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reported_just_before_a_stop_is_there_after_it() {
    let mut gw = gateway().echo_thing("echo-1").start().await;
    for round in 0..4 {
        // The writer is at work by itself meanwhile.
        for number in 0..20 {
            report(&gw, round * 20 + number).await;
        }
        gw = gw.restart().await;
        gw.online(&echo()).await;
        assert_eq!(numbers(&history(&gw).await), (0..(round + 1) * 20).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_larger_than_the_limit_is_kept_and_nothing_else() {
    let mut setup = gateway().echo_thing("echo-1");
    let tsl = include_str!("harness/echo.json").replace(r#""length": "64""#, r#""length": "9000""#);
    setup.set.products[0].tsl = tsl;
    setup.set.products[0].history_bytes = 4_000;
    let gw = setup.start().await;
    report(&gw, 1).await;
    let gw = gw.restart().await;
    gw.online(&echo()).await;
    let text = vec![Property::new("Text", Value::Text("x".repeat(9_000)))];
    gw.gateway.things.set_properties(&echo(), text.clone()).await.unwrap();
    let gw = gw.restart().await;
    let kept = history(&gw).await;
    assert_eq!(kept.iter().map(|it| &it.values).collect::<Vec<_>>(), [&text]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_without_a_history_keeps_none_and_a_new_model_keeps_what_it_has_a_place_for() {
    let gw = gateway().echo_thing("echo-1").start().await;
    report(&gw, 7).await;
    let mut setup = gateway().echo_thing("echo-1");
    let tsl = include_str!("harness/echo.json").replacen(
        r#""dataType": {"type": "int", "specs": {"min": "0", "max": "100"}}"#,
        r#""dataType": {"type": "text"}"#,
        1,
    );
    setup.set.products[0].tsl = tsl;
    setup.set.products[0].history_bytes = 0;
    gw.deploy(setup).await.unwrap();
    assert_eq!(gw.gateway.things.get(&echo()).unwrap().values()["Number"].value, Value::Text("7".into()));
    let gw = gw.restart().await;
    assert_eq!(history(&gw).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_reads_of_it_what_it_is_granted_page_by_page() {
    let reads = ["a1Echo/echo-1/Number", "a1Echo/echo-1/alarm"];
    let setup = gateway().echo_thing("echo-1").echo_thing("echo-2").function("operate");
    let gw = setup.grants(|grants| grants.things.read = reads.map(|read| read.parse().unwrap()).into()).start().await;
    let ask = async |device: &str, what: &str| -> Json {
        let event = json!({"product": ECHO, "device": device, "what": what}).to_string();
        serde_json::from_str(&gw.result("operate", &event).await).unwrap()
    };
    report(&gw, 1).await;
    call(&gw, "report", vec![Property::new("Number", Value::Int(2)), Property::new("Level", Value::Float(3.0))]).await;
    call(&gw, "report", vec![Property::new("Level", Value::Float(4.0))]).await;
    call(&gw, "event", vec![Property::new("event", Value::Text("alarm".into())), Property::new("level", Value::Int(7))]).await;

    let page = ask("echo-1", "history 0 2").await;
    assert_eq!(page, json!({"reports": [[null, {"Number": 1}], [null, {"Number": 2}]], "next": 2}));
    let page = ask("echo-1", "history 2 1000").await;
    assert_eq!(page, json!({"reports": [["alarm", {"level": 7}]], "next": null}));
    for (device, what, code) in
        [("echo-2", "history 0 1", 110_001), ("echo-1", "history 0 0", 100_001), ("echo-1", "history 0 1001", 100_001)]
    {
        assert_eq!(ask(device, what).await["code"], code, "{what} of {device}");
    }
}
