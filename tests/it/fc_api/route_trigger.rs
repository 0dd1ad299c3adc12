//! Routes as triggers of functions.

use hyper::Method;
use ledge::name::ThingId;
use ledge::set::{RouteSource, RouteTopic};
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};

use super::signer::Signer;
use super::{code, refusal};
use crate::harness::{TestGateway, gateway};

const TRIGGERS: &str = "/services/app/functions/relay/triggers";

async fn report(gw: &TestGateway, number: i32) {
    let id = ThingId::new("a1Echo", "echo-1");
    gw.gateway.things.set_properties(&id, vec![Property::new("Number", Value::Int(number))]).await.unwrap();
}

/// A function `app/relay`, which publishes to `/relay/relay` what it is called with.
async fn relay(signer: &Signer, grants: Json) {
    signer.done(Method::POST, "/services", json!({"serviceName": "app"})).await;
    let given = json!({"functionName": "relay", "code": code("relay"), "grants": grants});
    signer.done(Method::POST, "/services/app/functions", given).await;
}

fn trigger(name: &str, config: Json) -> Json {
    json!({"triggerName": name, "triggerType": "route", "triggerConfig": config})
}

async fn routes(gw: &TestGateway) -> Json {
    gw.admin().get_json("/ledge/v1/routes").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_made_changed_and_deleted_and_starts_its_function_meanwhile() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let signer = Signer::of(&gw, "admin").await;
    relay(&signer, json!({"publish": ["/relay/relay"]})).await;
    let config = json!({"source": {"device": "/a1Echo/echo-1"}, "topic": "property"});
    let (status, said) = signer.ask(Method::POST, TRIGGERS, trigger("reports", config.clone())).await;
    assert!(status == 400 && said["ErrorMessage"].as_str().unwrap().contains("`subscribe"), "no grant, no access: {said}");
    assert_eq!(routes(&gw).await, json!([]));

    let grants = json!({"grants": {"publish": ["/relay/relay"], "subscribe": ["/sys/a1Echo/#"]}});
    signer.done(Method::PUT, "/services/app/functions/relay", grants).await;
    let mut relayed = gw.listen("/relay/relay");
    let made = signer.done(Method::POST, TRIGGERS, trigger("reports", config.clone())).await;
    assert_eq!((&made["triggerType"], &made["qualifier"]), (&json!("route"), &json!("LATEST")));
    assert_eq!(made["triggerConfig"], json!({"source": {"device": "/a1Echo/echo-1"}, "topic": "property", "qos": 0}));
    report(&gw, 7).await;
    let event: Json = serde_json::from_str(&relayed.text().await).unwrap();
    assert_eq!(event["topic"], "/sys/a1Echo/echo-1/thing/event/property/post");
    assert_eq!(signer.refused(Method::POST, TRIGGERS, trigger("again", config)).await, refusal(409, "TriggerAlreadyExists"));
    assert_eq!(signer.refused(Method::DELETE, "/services/app/functions/relay", Json::Null).await, refusal(409, "FunctionNotEmpty"));

    let changed = json!({"triggerConfig": {"source": {"device": "/a1Echo/+"}, "qos": 1}, "description": "every one of them"});
    signer.done(Method::PUT, &format!("{TRIGGERS}/reports"), changed).await;
    assert_eq!(routes(&gw).await.as_array().unwrap().len(), 1);
    // All of it is there after a restart, its name and its description included.
    let gw = gw.restart().await;
    let signer = Signer { client: gw.stranger(), ..signer };
    let listed = signer.done(Method::GET, TRIGGERS, Json::Null).await;
    let row = &listed["triggers"][0];
    assert_eq!((&row["triggerName"], &row["description"]), (&json!("reports"), &json!("every one of them")));
    assert_eq!(row["triggerConfig"], json!({"source": {"device": "/a1Echo/+"}, "topic": "all", "qos": 1}));
    gw.online(&ThingId::new("a1Echo", "echo-1")).await;
    let mut relayed = gw.listen("/relay/relay");
    report(&gw, 8).await;
    assert!(relayed.text().await.contains("/sys/a1Echo/echo-1/"));

    signer.done(Method::DELETE, &format!("{TRIGGERS}/reports"), Json::Null).await;
    assert_eq!(signer.refused(Method::GET, &format!("{TRIGGERS}/reports"), Json::Null).await, refusal(404, "TriggerNotFound"));
    assert_eq!(routes(&gw).await, json!([]));
    signer.done(Method::DELETE, "/services/app/functions/relay", Json::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_of_a_deployment_is_a_trigger_too_and_leads_to_a_version_where_it_says_so() {
    let from = RouteSource::Function("test/chain".parse().unwrap());
    let gw = gateway().function("misbehave").route(from, RouteTopic::Filter("/a/+".parse().unwrap()), "test/misbehave").start().await;
    let signer = Signer::of(&gw, "admin").await;
    let path = "/services/test/functions/misbehave/triggers";
    let listed = signer.done(Method::GET, path, Json::Null).await;
    let row = &listed["triggers"][0];
    assert_eq!(row["triggerConfig"], json!({"source": {"function": "test/chain"}, "topic": "/a/+", "qos": 0}));
    let own = format!("{path}/{}", row["triggerName"].as_str().unwrap());
    assert_eq!(signer.done(Method::GET, &own, Json::Null).await, *row);

    signer.done(Method::POST, "/services/test/versions", Json::Null).await;
    signer.done(Method::POST, "/services/test/aliases", json!({"aliasName": "live", "versionId": "1"})).await;
    for (qualifier, target) in [("live", "test.live/misbehave"), ("1", "test.1/misbehave"), ("LATEST", "test/misbehave")] {
        // It has the name that it had, whatever becomes of it.
        let changed = signer.done(Method::PUT, &own, json!({"qualifier": qualifier})).await;
        assert_eq!((&changed["qualifier"], &changed["triggerName"]), (&json!(qualifier), &row["triggerName"]));
        assert_eq!(routes(&gw).await[0]["target"], target);
    }
    for wrong in ["nobody", "7", "a b"] {
        assert_eq!(signer.refused(Method::PUT, &own, json!({"qualifier": wrong})).await, refusal(400, "InvalidArgument"), "{wrong}");
    }
    // Its source is looked at also where it leads to a version.
    let lamp = json!({"qualifier": "live", "triggerConfig": {"source": {"device": "lamp"}}});
    assert_eq!(signer.refused(Method::PUT, &own, lamp).await, refusal(400, "InvalidArgument"));
    signer.done(Method::DELETE, &own, Json::Null).await;
    assert_eq!(routes(&gw).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_wrong_is_refused_and_nothing_is_changed() {
    let gw = gateway().start().await;
    let signer = Signer::of(&gw, "admin").await;
    relay(&signer, json!({"subscribe": ["#"]})).await;
    signer.done(Method::POST, TRIGGERS, trigger("all", json!({"source": {"device": "#"}}))).await;
    let before = routes(&gw).await;
    for wrong in [
        json!({}),
        json!({"source": {}}),
        json!({"source": {"device": "lamp"}}),
        json!({"source": {"device": "#", "rule": "r"}}),
        json!({"source": {"cloud": "#"}}),
        json!({"source": {"function": "nobody"}}),
        json!({"source": {"function": "app.1/relay"}}),
        json!({"source": {"rule": "a/b"}}),
        json!({"source": {"device": "#"}, "topic": "/a/#/b"}),
        json!({"source": {"device": "#"}, "topic": {"filter": "/a"}}),
        json!({"source": {"device": "#"}, "qos": 2}),
        json!({"source": {"device": "#"}, "target": "app/other"}),
        json!({"source": {"device": "#"}, "cronExpression": "@every 1s"}),
        json!("#"),
    ] {
        assert_eq!(signer.refused(Method::POST, TRIGGERS, trigger("new", wrong.clone())).await, refusal(400, "InvalidArgument"), "{wrong}");
        let changed = json!({"triggerConfig": wrong});
        assert_eq!(signer.refused(Method::PUT, &format!("{TRIGGERS}/all"), changed).await, refusal(400, "InvalidArgument"), "{wrong}");
    }
    let other = trigger("new", json!({"source": {"device": "#"}, "topic": "property"}));
    let nobody = "/services/app/functions/nobody/triggers";
    assert_eq!(signer.refused(Method::POST, nobody, other).await, refusal(404, "FunctionNotFound"));
    assert_eq!(routes(&gw).await, before);
}
