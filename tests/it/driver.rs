//! Drivers: one instance that lives, registers its things, reports, and answers for them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ledge::grant::{Dir, Env};
use ledge::limit::Limits;
use ledge::name::ThingId;
use ledge::set;
use ledge::thing::Presence;
use ledge::thing::fault;
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};

use crate::harness::client::json as body;
use crate::harness::command::ledge;
use crate::harness::{ECHO, Listener, Setup, TestGateway, eventually, gateway};

/// A change of the limits of the driver `echo_thing`.
fn limits(change: impl FnOnce(&mut Limits)) -> Setup {
    gateway().echo_thing("echo-1").echo_thing("echo-2").with_driver(|driver| change(&mut driver.limits))
}

/// The metric of a limit that the driver `echo_thing` met.
fn hits(limit: &str) -> String {
    format!(r#"ledge_limit_hits_total{{guest="driver echo_thing",limit="{limit}"}}"#)
}

fn number(name: &str, value: i32) -> Vec<Property> {
    vec![Property::new(name, Value::Int(value))]
}

fn text(value: &str) -> Vec<Property> {
    vec![Property::new("text", Value::Text(value.into()))]
}

fn echo_1() -> ThingId {
    ThingId::new(ECHO, "echo-1")
}

async fn call(gw: &TestGateway, thing: &str, service: &str, arguments: Vec<Property>) -> Result<Vec<Property>, fault::Fault> {
    let things = gw.gateway.things.clone();
    let (id, service) = (ThingId::new(ECHO, thing), service.to_owned());
    gw.gateway.guests().spawn(async move { things.call_service(&id, &service, arguments).await }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_what_is_read_and_it_is_reported() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let mut reports = gw.listen("/sys/a1Echo/echo-1/thing/event/property/post");
    // The manual itself sets a number as text.
    gw.gateway.things.set_properties(&echo_1(), vec![Property::new("Number", Value::Text("42".into()))]).await.unwrap();
    let read = gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await.unwrap();
    assert_eq!(read, [Property::new("Number", Value::Int(42))]);
    let report: Json = serde_json::from_str(&reports.text().await).unwrap();
    assert_eq!(report["Number"]["value"], 42);
    assert!(report["Number"]["time"].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_does_not_allow_never_reaches_the_driver() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let set = |name: &str, value: Value| {
        let things = gw.gateway.things.clone();
        let property = Property::new(name, value);
        async move { things.set_properties(&echo_1(), vec![property]).await.unwrap_err() }
    };
    assert_eq!(set("Nothing", Value::Int(1)).await.code, fault::PROPERTY_NOT_EXIST);
    assert_eq!(set("Level", Value::Int(1)).await.code, fault::PROPERTY_READ_ONLY);
    assert_eq!(set("Number", Value::Int(101)).await.code, fault::PARAM_RANGE_OVERFLOW);
    assert_eq!(set("Number", Value::Text("many".into())).await.code, fault::INVALID_TYPE);
    let read = gw.gateway.things.get_properties(&echo_1(), vec!["Secret".into()]).await.unwrap_err();
    assert_eq!(read.code, fault::PROPERTY_WRITE_ONLY);
    assert!(read.message.contains("a1Echo/echo-1") && read.message.contains("Secret"), "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thing_is_registered_by_its_local_name() {
    let gw = gateway().echo_thing("by-local-name").with_thing(|thing| thing.local_name = Some("0x1F".into())).start().await;
    let id = ThingId::new(ECHO, "by-local-name");
    assert_eq!(gw.gateway.things.get(&id).unwrap().presence(), Presence::Online);
    let answer = call(&gw, "by-local-name", "echo", vec![Property::new("text", Value::Text("hi".into()))]).await.unwrap();
    assert_eq!(answer, [Property::new("text", Value::Text("hi".into()))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thing_goes_offline_and_comes_online_again_as_its_driver_says() {
    let gw = gateway().echo_thing("echo-1").echo_thing("echo-2").start().await;
    call(&gw, "echo-1", "offline", vec![]).await.unwrap();
    let refused = gw.gateway.things.get_properties(&echo_1(), vec![]).await.unwrap_err();
    assert_eq!(refused.code, fault::DEVICE_OFFLINE);
    let device = vec![Property::new("device", Value::Text("echo-1".into()))];
    call(&gw, "echo-2", "online", device).await.unwrap();
    gw.gateway.things.get_properties(&echo_1(), vec![]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_the_model_reaches_the_bus_and_another_is_refused() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let mut events = gw.listen("/sys/a1Echo/echo-1/thing/event/alarm/post");
    let event = |name: &str, level: i32| vec![Property::new("event", Value::Text(name.into())), Property::new("level", Value::Int(level))];
    call(&gw, "echo-1", "event", event("alarm", 7)).await.unwrap();
    let body: Json = serde_json::from_str(&events.text().await).unwrap();
    assert_eq!(body["params"]["value"], json!({"level": 7}));
    assert_eq!(call(&gw, "echo-1", "event", event("quake", 7)).await.unwrap_err().code, fault::INVALID_PARAM);
    assert_eq!(call(&gw, "echo-1", "event", event("alarm", 10)).await.unwrap_err().code, fault::INVALID_PARAM);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_with_one_bad_value_keeps_the_good_ones_and_says_what_was_dropped() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let report = vec![Property::new("Number", Value::Int(500)), Property::new("Level", Value::Float(1.5))];
    let refused = call(&gw, "echo-1", "report", report).await.unwrap_err();
    assert!(refused.message.contains("Number"), "{refused}");
    let values = gw.gateway.things.get(&echo_1()).unwrap().values();
    assert_eq!(values["Level"].value, Value::Float(1.5));
    assert!(!values.contains_key("Number"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_reads_its_configuration_and_the_models_as_the_manual_prints_them() {
    let setup = gateway().echo_thing("echo-1").with_thing(|thing| thing.custom = Some(json!({"port": 12345})));
    let gw = setup.start().await;
    let config = call(&gw, "echo-1", "config", vec![]).await.unwrap();
    let config: Json = serde_json::from_str(&config[0].value.to_text()).unwrap();
    let device = json!([{"custom": "{\"port\":12345}", "deviceName": "echo-1", "productKey": ECHO}]);
    assert_eq!(config, json!({"config": {}, "deviceList": device}));
    let tsl = call(&gw, "echo-1", "tsl", vec![]).await.unwrap();
    assert_eq!(tsl[0].value.to_text(), include_str!("harness/echo.json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_driver_reaches_the_caller_with_its_number() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let refused = call(&gw, "echo-1", "fault", vec![]).await.unwrap_err();
    assert_eq!(refused.code, fault::SERVICE_INPUT_PARAM);
    assert!(refused.message.contains("refused as asked"), "{refused}");
    assert_eq!(call(&gw, "echo-1", "nothing", vec![]).await.unwrap_err().code, fault::SERVICE_NOT_EXIST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_never_answered_holds_up_no_other() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let answered = async {
        for _ in 0..100 {
            gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await.unwrap();
        }
    };
    tokio::select! {
        hung = call(&gw, "echo-1", "hang", vec![]) => panic!("it was answered: {hung:?}"),
        () = answered => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_traps_takes_its_things_offline_and_comes_back() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let ended = call(&gw, "echo-1", "trap", vec![]).await.unwrap_err();
    assert_eq!(ended.code, fault::DEVICE_OFFLINE);
    eventually("the driver to run again", || async { gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await.is_ok() })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_computes_for_ever_does_not_hold_up_another() {
    let tsl = include_str!("harness/echo.json").replace("a1Echo", "a1Other");
    let gw =
        gateway().echo_thing("echo-1").product("a1Other", &tsl).driver("other", "echo-thing").thing("a1Other", "t", "other").start().await;
    let things = gw.gateway.things.clone();
    let spinning = gw.gateway.guests().spawn(async move { things.call_service(&echo_1(), "spin", vec![]).await });
    for _ in 0..100 {
        gw.gateway.things.get_properties(&ThingId::new("a1Other", "t"), vec!["Number".into()]).await.unwrap();
    }
    spinning.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_never_answered_ends_at_the_deadline_and_the_device_beside_it_answers_meanwhile() {
    let gw = limits(|limits| limits.deadline_ms = 300).start().await;
    let hung = call(&gw, "echo-1", "hang", vec![]);
    let beside = async {
        loop {
            assert_eq!(call(&gw, "echo-2", "echo", text("still here")).await.unwrap(), text("still here"));
        }
    };
    let ended = tokio::select! {
        ended = hung => ended.unwrap_err(),
        () = beside => unreachable!("it asks for ever"),
    };
    assert_eq!(ended.code, fault::TIMEOUT);
    assert!(ended.message.contains("a1Echo/echo-1") && ended.message.contains("300 ms"), "{ended}");
    // The driver itself goes on.
    assert_eq!(call(&gw, "echo-1", "echo", text("x")).await.unwrap(), text("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_hands_the_host_too_much_at_once_is_ended_by_name() {
    let gw = limits(|limits| limits.host_call_bytes = 64 << 10).start().await;
    // The host knows no product of that name, and says so.
    assert_eq!(call(&gw, "echo-1", "big", number("bytes", 1_000)).await.unwrap_err().code, fault::FILE_NOT_EXIST);
    assert_eq!(call(&gw, "echo-1", "big", number("bytes", 100_000)).await.unwrap_err().code, fault::DEVICE_OFFLINE);
    gw.counted(&format!("{} 1", hits("host_call_bytes"))).await;
    eventually("the driver to run again", || async { call(&gw, "echo-1", "echo", text("x")).await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_floods_the_log_goes_on_and_the_rest_of_it_is_dropped_and_counted() {
    let gw = limits(|limits| limits.log_bytes_per_s = 10_000).start().await;
    call(&gw, "echo-1", "log", number("bytes", 500)).await.unwrap();
    assert!(!gw.metrics().await.contains(&hits("log_bytes_per_s")), "five lines were too many for 10,000 bytes");
    call(&gw, "echo-1", "log", number("bytes", 100_000)).await.unwrap();
    gw.counted(&hits("log_bytes_per_s")).await;
    assert_eq!(driver(&gw).await["restarts"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_reports_more_than_it_may_in_a_second_waits_and_of_very_many_some_are_refused() {
    let gw = limits(|limits| (limits.publishes_per_s, limits.concurrency) = (10, 256)).start().await;
    let began = std::time::Instant::now();
    for _ in 0..25 {
        call(&gw, "echo-1", "report", number("Number", 1)).await.unwrap();
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    gw.counted(&hits("publishes_per_s")).await;
    let many = futures_util::future::join_all((0..100).map(|_| call(&gw, "echo-1", "report", number("Number", 1)))).await;
    let refused: Vec<_> = many.into_iter().filter_map(Result::err).collect();
    assert!((50..100).contains(&refused.len()), "{} of 100 were refused", refused.len());
    assert!(refused.iter().all(|fault| fault.code == fault::TOO_MANY && fault.message.contains("limit publishes_per_s (10)")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_reads_the_directory_and_sees_the_variable_that_it_was_granted_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("recipes")).unwrap();
    std::fs::write(root.path().join("recipes/bread"), "flour and water").unwrap();
    std::fs::write(root.path().join("secret"), "a secret").unwrap();
    let setup = gateway().echo_thing("echo-1").with_driver(|driver| {
        driver.grants.dirs = vec![Dir { host: root.path().join("recipes"), guest: "/recipes".into() }];
        driver.grants.env = Env(BTreeMap::from([("PLC_HOST".into(), "10.0.0.7".into())]));
    });
    let gw = setup.start().await;
    let seen = async |service: &str, name: &str| call(&gw, "echo-1", service, text(name)).await.unwrap()[0].value.to_text();
    assert_eq!(seen("read", "/recipes/bread").await, "flour and water");
    assert_eq!(seen("env", "PLC_HOST").await, "10.0.0.7");
    for other in ["/recipes/../secret", "/secret", "/etc/passwd"] {
        let answer = seen("read", other).await;
        assert!(answer.contains("os error") || answer.contains("pre-opened"), "`{other}` answered {answer}");
    }
    assert_eq!(seen("env", "PATH").await, "environment variable not found");
}

/// What the API says of the one driver.
async fn driver(gw: &TestGateway) -> Json {
    gw.admin().get_json("/ledge/v1/drivers").await.unwrap()[0].clone()
}

/// A gateway whose one driver has failed until it was quarantined.
async fn quarantined(setup: Setup) -> TestGateway {
    let gw = setup.start().await;
    eventually("the driver to be quarantined", || async {
        // It is down between two lives, and then there is nothing to trap.
        let _ = call(&gw, "echo-1", "trap", vec![]).await;
        driver(&gw).await["state"] == "quarantined"
    })
    .await;
    gw
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_failed_ten_times_is_quarantined_and_everybody_is_told_why() {
    let gw = quarantined(gateway().echo_thing("echo-1")).await;
    let driver = driver(&gw).await;
    assert_eq!((&driver["things_online"], &driver["restarts"]), (&json!(0), &json!(9)));
    assert!(driver["reason"].as_str().unwrap().contains("unreachable"), "{driver}");
    let refused = gw.gateway.things.get_properties(&echo_1(), vec![]).await.unwrap_err();
    assert_eq!(refused.code, fault::DEVICE_OFFLINE);
    assert!(refused.message.contains("quarantined") && refused.message.contains("ledge release echo_thing"), "{refused}");
    gw.audited("quarantined").await;
    let data = gw.data.path();
    let output = ledge(data, &["list", "drivers", "--data", "."]).await;
    assert!(output.stdout.contains("quarantined") && output.stdout.contains("unreachable"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_driver_is_released_by_hand_and_no_other_is() {
    let gw = quarantined(gateway().echo_thing("echo-1")).await;
    let output = ledge(gw.data.path(), &["release", "echo_thing", "--data", "."]).await;
    assert_eq!(output.code, 0, "{output:?}");
    gw.online(&echo_1()).await;
    gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await.unwrap();
    gw.audited("released").await;
    for (name, status, said) in [("echo_thing", 409, "not quarantined"), ("nobody", 404, "ledge list drivers")] {
        let answer = gw.admin().send(hyper::Method::POST, &format!("/ledge/v1/drivers/{name}/release"), &[], "".into()).await.unwrap();
        assert_eq!(answer.status.as_u16(), status);
        assert!(body(&answer)["message"].as_str().unwrap().contains(said), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_driver_starts_again_when_it_is_deployed_again_unchanged() {
    let gw = quarantined(gateway().echo_thing("echo-1")).await;
    // A deployment of something else leaves it where it is.
    gw.deploy(gateway().function("misbehave")).await.unwrap();
    assert_eq!(driver(&gw).await["state"], "quarantined");
    gw.deploy(gateway().echo_thing("echo-1")).await.unwrap();
    assert_eq!(driver(&gw).await["state"], "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_a_driver_met_is_in_the_metrics() {
    let gw = limits(|limits| limits.deadline_ms = 100).start().await;
    assert_eq!(call(&gw, "echo-1", "hang", vec![]).await.unwrap_err().code, fault::TIMEOUT);
    gw.counted(&format!("{} 1", hits("deadline_ms"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_answers_nothing_in_time_is_started_again_and_one_answer_in_between_is_enough() {
    let gw = limits(|limits| limits.deadline_ms = 30).start().await;
    let restarts = || gw.gateway.drivers.list()[0].2;
    for _ in 0..3 {
        let late = futures_util::future::join_all((0..7).map(|_| call(&gw, "echo-1", "hang", vec![]))).await;
        assert!(late.iter().all(|answer| answer.as_ref().is_err_and(|fault| fault.code == fault::TIMEOUT)), "{late:?}");
        assert_eq!(gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await.unwrap().len(), 1);
    }
    assert_eq!(restarts(), 0);
    for _ in 0..8 {
        assert_eq!(call(&gw, "echo-1", "hang", vec![]).await.unwrap_err().code, fault::TIMEOUT);
    }
    eventually("the driver to be started again", || async { restarts() == 1 }).await;
    gw.online(&echo_1()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thing_that_never_answers_takes_nothing_from_the_others_of_its_driver() {
    let gw = limits(|limits| (limits.concurrency, limits.deadline_ms) = (4, 500)).start().await;
    let dead = futures_util::future::join_all((0..100).map(|_| call(&gw, "echo-1", "hang", vec![])));
    let others = async {
        for _ in 0..50 {
            let began = std::time::Instant::now();
            assert_eq!(call(&gw, "echo-2", "echo", text("hi")).await.unwrap()[0].value.to_text(), "hi");
            assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
        }
    };
    let (dead, ()) = tokio::join!(dead, others);
    assert!(dead.iter().all(|answer| answer.as_ref().is_err_and(|fault| fault.code == fault::TIMEOUT)), "{dead:?}");
    assert_eq!(gw.gateway.drivers.list()[0].2, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thing_that_left_eight_calls_unanswered_is_asked_once_a_minute() {
    let gw = limits(|limits| limits.deadline_ms = 50).start().await;
    for round in 0..2 {
        let late = futures_util::future::join_all((0..8).map(|_| call(&gw, "echo-1", "hang", vec![]))).await;
        assert!(late.iter().all(|answer| answer.as_ref().is_err_and(|fault| fault.code == fault::TIMEOUT)), "{late:?}");
        // In the second round one is let through, and the others are told when the next may try.
        let refused = late.iter().filter(|answer| answer.as_ref().is_err_and(|fault| fault.message.contains("asked again in"))).count();
        assert_eq!(refused, if round == 0 { 0 } else { 7 }, "{late:?}");
    }
    let refused = gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await.unwrap_err();
    assert!(refused.message.contains("asked again in"), "{refused}");
    assert_eq!(call(&gw, "echo-2", "echo", text("hi")).await.unwrap()[0].value.to_text(), "hi");
    assert_eq!(gw.gateway.drivers.list()[0].2, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_never_end_fill_no_table_of_handles() {
    let gw = limits(|limits| (limits.handles, limits.deadline_ms) = (256, 20)).start().await;
    let restarts = || gw.gateway.drivers.list()[0].2;
    for _ in 0..40 {
        let hung = call(&gw, "echo-1", "hang", vec![]).await.unwrap_err();
        // Each is followed by a sign of life of the same thing, until there are too many.
        let read = gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await;
        if [hung.code, read.err().map_or(0, |fault| fault.code)].contains(&fault::DEVICE_OFFLINE) {
            break;
        }
        assert_eq!(hung.code, fault::TIMEOUT);
    }
    eventually("the driver to be started again", || async { restarts() > 0 }).await;
    gw.online(&echo_1()).await;
    assert_eq!(call(&gw, "echo-1", "echo", text("hi")).await.unwrap()[0].value.to_text(), "hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_things_and_their_calls_fit_the_usual_limits() {
    let names: Vec<String> = (0..1_100).map(|at| format!("echo-{at}")).collect();
    let gw = names.iter().fold(gateway(), |setup, name| setup.echo_thing(name)).start().await;
    let asked = futures_util::future::join_all(names.iter().take(200).map(|name| call(&gw, name, "echo", text("hi")))).await;
    assert!(asked.iter().all(Result::is_ok), "{:?}", asked.iter().find(|answer| answer.is_err()));
    assert_eq!(gw.gateway.drivers.list()[0].2, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thing_that_another_driver_is_to_serve_is_out_of_the_reach_of_the_one_before() {
    let gw = gateway().echo_thing("echo-1").echo_thing("echo-2").start().await;
    let other = gateway().echo_thing("echo-2").driver("other", "plain-loop");
    let moved = other.with_driver(|driver| driver.config = Some(json!({"json": {"period_ms": 3_600_000}}))).thing(ECHO, "echo-1", "other");
    let mut status = gw.listen("/as/mqtt/status/a1Echo/echo-1");
    gw.deploy(moved).await.unwrap();
    went(&mut status, "offline").await;
    // The driver before is still there, and may not speak for it any more.
    let refused = call(&gw, "echo-2", "steal", text("echo-1")).await;
    assert!(refused.as_ref().is_ok_and(|answer| answer[0].value.to_text().contains("109000")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_waits_in_a_blocking_call_is_seen_to_hang_and_is_started_again() {
    let gw = limits(|limits| limits.deadline_ms = 30).start().await;
    let restarts = || gw.gateway.drivers.list()[0].2;
    for at in 0..8 {
        assert_eq!(call(&gw, "echo-1", "block", vec![]).await.unwrap_err().code, fault::TIMEOUT, "call {at}");
    }
    eventually("the driver to be started again", || async { restarts() == 1 }).await;
    gw.online(&echo_1()).await;
    assert_eq!(gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn askers_who_leave_early_do_not_end_a_driver() {
    let gw = limits(|limits| limits.concurrency = 256).start().await;
    for _ in 0..100 {
        let asked = call(&gw, "echo-1", "hang", vec![]);
        assert!(tokio::time::timeout(Duration::from_millis(1), asked).await.is_err());
    }
    assert_eq!(gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await.unwrap().len(), 1);
    assert_eq!(gw.gateway.drivers.list()[0].2, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_has_so_many_calls_under_way_and_no_more() {
    let gw = limits(|limits| (limits.concurrency, limits.deadline_ms) = (2, 300)).start().await;
    let (id, number) = (echo_1(), vec!["Number".to_owned()]);
    let waiting = futures_util::future::join_all((0..2).map(|_| gw.gateway.things.call_service(&id, "hang", vec![])));
    // It waits for a place, as long as it may.
    let began = Instant::now();
    let third = async {
        let third = gw.gateway.things.get_properties(&id, number).await;
        (third.is_ok_and(|properties| properties.len() == 1), began.elapsed())
    };
    let (hung, (is_answered, took)) = tokio::join!(waiting, third);
    assert!(hung.iter().all(|answer| answer.as_ref().is_err_and(|fault| fault.code == fault::TIMEOUT)), "{hung:?}");
    // Where the two let go a moment too late, its own time is over too.
    assert!(took >= Duration::from_millis(250), "it was answered after {took:?} ({is_answered})");
}

/// The instance number of a driver: how often it was started again.
fn restarts(gw: &TestGateway) -> u64 {
    gw.gateway.drivers.list()[0].2
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_is_told_of_its_new_configuration_while_it_runs() {
    let setup = gateway().echo_thing("echo-1").with_driver(|driver| driver.config = Some(json!({"json": {"period_ms": 1}})));
    let gw = setup.start().await;
    gw.gateway.things.set_properties(&echo_1(), number("Number", 7)).await.unwrap();
    let setup = gateway().echo_thing("echo-1").with_driver(|driver| driver.config = Some(json!({"json": {"period_ms": 2}})));
    gw.deploy(setup.echo_thing("echo-2")).await.unwrap();
    // It is the same instance still: what it remembers is there, its thing was never away, and the new one is.
    let read = gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await.unwrap();
    assert_eq!(read, number("Number", 7));
    call(&gw, "echo-2", "echo", text("here")).await.unwrap();
    let config = call(&gw, "echo-1", "config", vec![]).await.unwrap()[0].value.to_text();
    let config: Json = serde_json::from_str(&config).unwrap();
    assert_eq!(config["config"], json!({"json": {"period_ms": 2}}));
    assert_eq!(config["deviceList"].as_array().unwrap().len(), 2);
    assert_eq!(restarts(&gw), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_whose_products_have_another_model_starts_again() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let mut status = gw.listen("/as/mqtt/status/a1Echo/echo-1");
    let mut setup = gateway().echo_thing("echo-1");
    setup.set.products[0].tsl_ext = Some(json!({"properties": [{"identifier": "Number", "customize": {"address": 1}}]}).to_string());
    gw.deploy(setup).await.unwrap();
    went(&mut status, "offline").await;
    went(&mut status, "online").await;
}

/// Waits until the thing is told to have gone there. That it came online at first may be told a moment after it is seen to be.
async fn went(status: &mut Listener, wanted: &str) {
    while serde_json::from_str::<Json>(&status.text().await).unwrap()["status"] != wanted {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_does_not_take_its_new_configuration_starts_again_with_it() {
    let gw = gateway().echo_thing("echo-1").start().await;
    gw.gateway.things.set_properties(&echo_1(), number("Number", 7)).await.unwrap();
    let mut status = gw.listen("/as/mqtt/status/a1Echo/echo-1");
    let setup = gateway().echo_thing("echo-1").with_driver(|driver| driver.config = Some(json!({"json": {"stubborn": true}})));
    gw.deploy(setup).await.unwrap();
    for wanted in ["offline", "online"] {
        let body: Json = serde_json::from_str(&status.text().await).unwrap();
        assert_eq!(body["status"], wanted);
    }
    let config = call(&gw, "echo-1", "config", vec![]).await.unwrap()[0].value.to_text();
    assert!(config.contains("stubborn"), "{config}");
    assert_ne!(gw.gateway.things.get_properties(&echo_1(), vec!["Number".into()]).await.unwrap(), number("Number", 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_configuration_are_read_by_their_paths_and_change_under_a_running_driver() {
    let with_file = |content: &str| {
        let mut setup = gateway().echo_thing("echo-1");
        let content = setup.component(content.as_bytes().to_vec());
        setup.with_driver(|driver| {
            driver.config = Some(json!({"fileList": [{"path": "maps/device_config.json"}]}));
            driver.files = vec![set::ConfigFile { path: "maps/device_config.json".into(), content }];
        })
    };
    let gw = with_file("one").start().await;
    let read = async |gw: &TestGateway, path: &str| call(gw, "echo-1", "read", text(path)).await.unwrap()[0].value.to_text();
    assert_eq!(read(&gw, "maps/device_config.json").await, "one");
    assert_eq!(read(&gw, "/maps/device_config.json").await, "one");
    for outside in ["../ledge.redb", "/etc/passwd", "maps/../../audit.log"] {
        let refused = read(&gw, outside).await;
        assert!(refused.contains("os error") || refused.contains("not"), "{outside}: {refused}");
    }
    gw.deploy(with_file("two")).await.unwrap();
    eventually("the new file to be there", || async { read(&gw, "maps/device_config.json").await == "two" }).await;
    assert_eq!(restarts(&gw), 0);
    let gw = gw.restart().await;
    gw.online(&echo_1()).await;
    assert_eq!(read(&gw, "maps/device_config.json").await, "two");
    // A file may become a directory, and the other way round.
    let mut setup = gateway().echo_thing("echo-1");
    let content = setup.component(b"three".to_vec());
    let setup = setup.with_driver(|driver| {
        driver.config = Some(json!({"fileList": [{"path": "maps"}]}));
        driver.files = vec![set::ConfigFile { path: "maps".into(), content }];
    });
    gw.deploy(setup).await.unwrap();
    eventually("the file in the directory's place", || async { read(&gw, "maps").await == "three" }).await;
    gw.deploy(with_file("four")).await.unwrap();
    eventually("the directory in the file's place", || async { read(&gw, "maps/device_config.json").await == "four" }).await;
    // None of it is left when the driver has no files any more.
    gw.deploy(gateway().echo_thing("echo-1")).await.unwrap();
    assert_ne!(read(&gw, "maps/device_config.json").await, "two");
    assert!(!gw.path("driver-files/echo_thing/maps").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn things_of_a_product_are_registered_by_one_kind_of_name() {
    let setup = gateway().echo_thing("echo-1").echo_thing("echo-2").with_thing(|thing| thing.local_name = Some("0x1F".into()));
    let gw = setup.start_without_waiting().await;
    // The guest registers one by its local name, which its driver may not do for this product any more, and so it ends.
    eventually("the driver to say why", || async {
        let driver = driver(&gw).await;
        driver["reason"].as_str().is_some_and(|reason| reason.contains("use the same kind of name for all of them"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_wrong_type_is_a_fault_of_the_driver_by_name_and_it_goes_on() {
    let gw = gateway().echo_thing("echo-1").echo_thing("echo-2").start().await;
    call(&gw, "echo-1", "lie", vec![]).await.unwrap();
    let wrong = gw.gateway.things.get_properties(&echo_1(), vec!["Number".into(), "Switch".into()]).await.unwrap_err();
    assert_eq!(wrong.code, fault::INVALID_TYPE);
    assert!(wrong.message.contains("the driver's answer is wrong: property `Number`: `many` is not a number"), "{wrong}");
    let wrong = call(&gw, "echo-1", "lies", vec![]).await.unwrap_err();
    assert!(wrong.message.contains("the driver's answer is wrong: output `number` of service `lies`"), "{wrong}");
    gw.gateway.things.get_properties(&ThingId::new(ECHO, "echo-2"), vec![]).await.unwrap();
    assert_eq!(restarts(&gw), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_gets_no_hold_of_another_ones_thing() {
    let setup = gateway().echo_thing("echo-1").driver("other", "echo-thing").thing(ECHO, "theirs", "other");
    let gw = setup.start().await;
    let tried = call(&gw, "echo-1", "steal", text("theirs")).await.unwrap();
    assert_eq!(tried[0].value.to_text(), "109000 109000");
    call(&gw, "theirs", "echo", text("still theirs")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_lamp_of_a_driver_that_takes_no_changes_comes_online_all_the_same() {
    let lamps = |names: &[&str]| {
        let setup = gateway().product("a1Light", include_str!("../../sample-functions/tsl/a1Light.json")).driver("light", "light");
        names.iter().fold(setup, |setup, name| setup.thing("a1Light", name, "light"))
    };
    let gw = lamps(&["lamp-1"]).start().await;
    gw.deploy(lamps(&["lamp-1", "lamp-2"])).await.unwrap();
    gw.online(&ThingId::new("a1Light", "lamp-1")).await;
}
