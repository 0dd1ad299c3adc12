//! Routes: a report or a publish starts the functions whose route matches.

use ledge::name::ThingId;
use ledge::set::{Qos, RouteSource, RouteTopic};
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};

use crate::harness::command::ledge;
use crate::harness::{Setup, TestGateway, gateway};

fn device(filter: &str) -> RouteSource {
    RouteSource::Device(filter.parse().unwrap())
}

fn topic(filter: &str) -> RouteTopic {
    RouteTopic::Filter(filter.parse().unwrap())
}

/// A function that publishes its event to `/relay/NAME`.
fn relay(setup: Setup, name: &str) -> Setup {
    let granted = format!("/relay/{name}").parse().unwrap();
    setup.function_of(&format!("test/{name}"), "relay").grants(|grants| grants.publish = vec![granted])
}

async fn set(gw: &TestGateway, thing: &str, number: i32) {
    let id = ThingId::new("a1Echo", thing);
    gw.gateway.things.set_properties(&id, vec![Property::new("Number", Value::Int(number))]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_starts_a_function_with_its_payload_as_text_inside_the_event() {
    let setup = relay(gateway().echo_thing("echo-1"), "seen").route(device("/a1Echo/echo-1"), RouteTopic::Property, "test/seen");
    let gw = setup.start().await;
    let mut seen = gw.listen("/relay/seen");
    set(&gw, "echo-1", 7).await;
    let event: Json = serde_json::from_str(&seen.text().await).unwrap();
    assert_eq!(event["topic"], "/sys/a1Echo/echo-1/thing/event/property/post");
    let payload: Json = serde_json::from_str(event["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["Number"]["value"], 7);
    assert_eq!(event.as_object().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_takes_what_its_source_and_its_topic_match_and_nothing_else() {
    let mut setup = gateway().echo_thing("echo-1").echo_thing("echo-2");
    for name in ["first", "all", "other"] {
        setup = relay(setup, name);
    }
    let gw = setup
        .route(device("/a1Echo/echo-1"), topic("/sys/+/+/thing/event/property/post"), "test/first")
        .route(device("/a1Echo/+"), RouteTopic::All, "test/all")
        .route(device("/a1Other/+"), RouteTopic::All, "test/other")
        .start()
        .await;
    let (mut first, mut all, mut other) = (gw.listen("/relay/first"), gw.listen("/relay/all"), gw.listen("/relay/other"));
    set(&gw, "echo-2", 2).await;
    assert!(all.text().await.contains("echo-2"));
    set(&gw, "echo-1", 1).await;
    assert!(all.text().await.contains("echo-1"));
    assert!(first.text().await.contains("echo-1"), "the route of echo-1 took a report of echo-2");
    assert!(other.is_silent());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_starts_the_functions_whose_filter_matches_its_topic() {
    let setup = gateway().function("chain").grants(|grants| grants.publish = vec!["/hello/#".parse().unwrap()]);
    let gw = relay(setup, "seen").route(RouteSource::Function("test/chain".parse().unwrap()), topic("/hello/+"), "test/seen").start().await;
    let mut seen = gw.listen("/relay/seen");
    for to in ["/hello/a/b", "/hello/world"] {
        gw.result("chain", &json!({"publish": {"topic": to, "payload": "Hello World."}}).to_string()).await;
    }
    let event: Json = serde_json::from_str(&seen.text().await).unwrap();
    assert_eq!(event, json!({"topic": "/hello/world", "payload": "Hello World."}));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routes_of_one_source_and_one_target_deliver_once() {
    let gw = relay(gateway().echo_thing("echo-1"), "seen")
        .route(device("/a1Echo/echo-1"), RouteTopic::Property, "test/seen")
        .route(device("/a1Echo/echo-1"), RouteTopic::All, "test/seen")
        .start()
        .await;
    let mut seen = gw.listen("/relay/seen");
    for number in 1..=3 {
        set(&gw, "echo-1", number).await;
        let event: Json = serde_json::from_str(&seen.text().await).unwrap();
        assert!(event["payload"].as_str().unwrap().contains(&format!("\"value\":{number}")), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_publishers_is_cut_at_the_call_depth() {
    let own = || RouteSource::Function("test/loop".parse().unwrap());
    let gw = relay(gateway(), "loop").limits(|limits| limits.call_depth = 4).route(own(), RouteTopic::All, "test/loop").start().await;
    let mut relayed = gw.listen("/relay/loop");
    gw.result("loop", "round").await;
    for _ in 0..4 {
        relayed.next().await;
    }
    // Every later message would be a further round; the queue is empty once the loop is cut.
    crate::harness::eventually("the loop to end", || async { gw.gateway.queue_rows() == 0 }).await;
    assert!(relayed.is_silent(), "the loop went on after four rounds");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_added_changed_and_deleted_while_the_gateway_runs() {
    let seen = || relay(gateway(), "seen").grants(|grants| grants.subscribe = vec!["#".parse().unwrap()]);
    let setup = relay(seen(), "source");
    let gw = setup.start().await;
    let route = |verb, qos| {
        ["route", verb, "--function", "test/source", "--topic", "/relay/+", "--to", "test/seen", "--qos", qos, "--data", "."]
            .map(str::to_owned)
    };
    let run = async |args: [String; 12]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        ledge(gw.data.path(), &args).await
    };
    let listed = async || ledge(gw.data.path(), &["list", "routes", "--json", "--data", "."]).await.stdout;
    let mut relayed = gw.listen("/relay/seen");
    for qos in ["0", "1"] {
        let added = run(route("add", qos)).await;
        assert_eq!(added.code, 0, "{added:?}");
        let routes: Json = serde_json::from_str(&listed().await).unwrap();
        assert_eq!((routes.as_array().unwrap().len(), &routes[0]["qos"]), (1, &json!(qos.parse::<u8>().unwrap())), "it was changed");
        gw.result("source", qos).await;
        let event: Json = serde_json::from_str(&relayed.text().await).unwrap();
        assert_eq!((&event["topic"], &event["payload"]), (&json!("/relay/source"), &json!(qos)));
    }
    assert_eq!(run(route("delete", "0")).await.code, 0);
    gw.result("source", "unheard").await;
    assert!(relayed.is_silent());
    let again = run(route("delete", "0")).await;
    assert!(again.code == 1 && again.stderr.contains("no such route"), "{again:?}");
    let nobody = ledge(gw.data.path(), &["route", "add", "--device", "#", "--to", "test/nobody", "--data", "."]).await;
    assert!(nobody.code == 1 && nobody.stderr.contains("test/nobody"), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_qos_1_is_on_the_disk_when_its_publisher_is_told_that_it_was_taken() {
    let setup = relay(gateway(), "source").function("counter").grants(|grants| grants.subscribe = vec!["#".parse().unwrap()]);
    let mut setup = setup.route(RouteSource::Function("test/source".parse().unwrap()), RouteTopic::All, "test/counter");
    setup.set.routes[0].qos = Qos::AtLeastOnce;
    let gw = setup.start().await;
    gw.result("source", "n").await;
    // The publisher has returned: the job is accepted, or has run already.
    let gw = gw.restart().await;
    let key = r#"{"topic":"/relay/source","payload":"n"}"#;
    crate::harness::eventually("the queue to be empty", || async { gw.gateway.queue_rows() == 0 }).await;
    assert_ne!(gw.result("counter", key).await, "1", "the message was not counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_routes_that_differ_in_their_topic_one_can_be_deleted() {
    let source = || RouteSource::Function("test/relay".parse().unwrap());
    let topic = |text: &str| RouteTopic::Filter(text.parse().unwrap());
    let gw =
        gateway().function("relay").route(source(), topic("/a"), "test/relay").route(source(), topic("/b"), "test/relay").start().await;
    let args = ["route", "delete", "--function", "test/relay", "--topic", "/a", "--to", "test/relay", "--data", "."];
    let deleted = ledge(gw.data.path(), &args).await;
    assert!(deleted.code == 0 && deleted.stdout.contains("/a"), "{deleted:?}");
    let left = gw.admin().get_json("/ledge/v1/routes").await.unwrap();
    assert!(left.as_array().unwrap().len() == 1 && left.to_string().contains("/b"), "{left}");
}
