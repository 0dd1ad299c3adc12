//! Automation rules: what sets them off, what they do, what they say of themselves.

use hyper::Method;
use ledge::name::ThingId;
use ledge::set::{self, Qos, RouteSource, RouteTopic};
use serde_json::{Value as Json, json};

use crate::harness::client::json as body_of;
use crate::harness::command::ledge;
use crate::harness::{ECHO, Setup, TestGateway, eventually, gateway};

fn rule(name: &str, trigger: Json, condition: Json, action: Json) -> set::Rule {
    let rule = json!({"type": "IFTTT", "trigger": trigger, "condition": condition, "action": action});
    set::Rule { name: name.into(), description: String::new(), rule, enabled: true, qos: Qos::AtMostOnce, runs_per_s: 100 }
}

fn with(mut setup: Setup, rule: set::Rule) -> Setup {
    setup.set.rules.push(rule);
    setup
}

/// Parameters that name the thing `a1Echo/e-1`, and more.
fn of_echo(more: Json) -> Json {
    let mut params = json!({"productKey": ECHO, "deviceName": "e-1"});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

fn when_number(how: &str, value: i32) -> Json {
    let params = of_echo(json!({"propertyName": "Number", "compareType": how, "compareValue": value}));
    json!({"uri": "trigger/device/property", "params": params})
}

fn publish(topic: &str) -> Json {
    json!({"uri": "action/mq/send", "params": {"topic": topic}})
}

async fn send(gw: &TestGateway, method: Method, path: &str, body: &Json) -> (u16, Json) {
    let body = if body.is_null() { "".into() } else { body.to_string().into() };
    let answer = gw.admin().send(method, path, &[], body).await.unwrap();
    (answer.status.as_u16(), body_of(&answer))
}

async fn get(gw: &TestGateway, path: &str) -> Json {
    send(gw, Method::GET, path, &Json::Null).await.1
}

/// Calls a service of the thing, most of which have it report something.
async fn call(gw: &TestGateway, service: &str, arguments: Json) {
    let (things, id, service) = (gw.gateway.things.clone(), ThingId::new(ECHO, "e-1"), service.to_owned());
    let arguments = things.get(&id).unwrap().product.tsl.arguments_from_json(&service, arguments.as_object().unwrap()).unwrap();
    gw.gateway.guests().spawn(async move { things.call_service(&id, &service, arguments).await }).await.unwrap().unwrap();
}

/// Has the thing report a number.
async fn report(gw: &TestGateway, number: i32) {
    call(gw, "report", json!({"Number": number})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_sets_a_property_calls_a_service_invokes_a_function_and_publishes() {
    let actions = json!([
        {"uri": "action/device/setProperty", "params": of_echo(json!({"propertyItems": {"Switch": 1}}))},
        {"uri": "action/device/invokeService", "params": of_echo(json!({"serviceName": "echo", "serviceArgs": {"text": "hi"}}))},
        {"uri": "action/function/invoke", "params": {"serviceName": "test", "functionName": "relay"}},
        {"uri": "action/mq/send", "params": {"topic": "/told", "payload": "hot", "delayedExecutionSeconds": 1}},
        {"uri": "action/device/invokeService", "params": of_echo(json!({"serviceName": "fault"}))},
    ]);
    let gw = with(gateway().echo_thing("e-1").function("relay"), rule("hot", when_number(">", 30), json!({}), actions))
        .grants(|grants| grants.publish = vec!["#".parse().unwrap()])
        .start()
        .await;
    let (mut told, mut relayed) = (gw.listen("/told"), gw.listen("/relay/relay"));
    report(&gw, 30).await;
    report(&gw, 31).await;
    let account: Json = serde_json::from_str(&relayed.text().await).unwrap();
    assert_eq!((&account["rule"], &account["cause"]["properties"]), (&json!("hot"), &json!({"Number": 31})));
    assert_eq!(told.text().await, "hot");
    let all_ended = || async {
        let runs = get(&gw, "/ledge/v1/rules/hot/runs").await;
        runs[0]["actions"].as_array().unwrap().iter().all(|action| action["state"] != "waiting")
    };
    eventually("every action to have ended", all_ended).await;
    let runs = get(&gw, "/ledge/v1/rules/hot/runs").await;
    assert_eq!(runs.as_array().unwrap().len(), 1, "{runs:#}");
    let states: Vec<_> = runs[0]["actions"].as_array().unwrap().iter().map(|action| action["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "done", "done", "done", "failed"], "one that fails stops no other: {runs:#}");
    assert!(runs[0]["actions"][1]["message"].as_str().unwrap().contains("hi"));
    assert_eq!(runs[0]["trace"], account["traceId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_statuses_set_rules_off_too() {
    let alarm = of_echo(json!({"eventCode": "alarm", "propertyName": "level", "compareType": ">=", "compareValue": 5}));
    let gone = of_echo(json!({"status": "offline"}));
    let setup = with(
        gateway().echo_thing("e-1"),
        rule("alarmed", json!({"uri": "trigger/device/event", "params": alarm}), json!({}), json!([publish("/alarmed")])),
    );
    let setup =
        with(setup, rule("gone", json!({"uri": "trigger/device/statusChange", "params": gone}), json!({}), json!([publish("/gone")])));
    let any = json!({"uri": "trigger/product/event", "params": {"productKey": ECHO}});
    let gw = with(setup, rule("any", any, json!({}), json!([publish("/any")]))).start().await;
    let (mut alarmed, mut gone, mut any) = (gw.listen("/alarmed"), gw.listen("/gone"), gw.listen("/any"));
    for level in [4, 5] {
        call(&gw, "event", json!({"event": "alarm", "level": level})).await;
    }
    let account: Json = serde_json::from_str(&alarmed.text().await).unwrap();
    assert_eq!(account["cause"]["event"], json!({"code": "alarm", "outputs": {"level": 5}}));
    any.next().await;
    any.next().await;
    call(&gw, "offline", json!({})).await;
    let account: Json = serde_json::from_str(&gone.text().await).unwrap();
    assert_eq!(account["cause"]["status"], "offline");
    assert!(alarmed.is_silent());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_publishes_takes_its_routes_and_a_loop_ends() {
    let source = || RouteSource::Rule("told".into());
    let gw =
        with(gateway().echo_thing("e-1").function("relay"), rule("told", when_number("==", 1), json!({}), json!([publish("/from-rule")])))
            .grants(|grants| grants.publish = vec!["#".parse().unwrap()])
            .route(source(), RouteTopic::All, "test/relay")
            .route(RouteSource::Function("test/relay".parse().unwrap()), RouteTopic::All, "test/relay")
            .start()
            .await;
    let mut relayed = gw.listen("/relay/relay");
    report(&gw, 1).await;
    for _ in 0..7 {
        relayed.next().await;
    }
    gw.counted(r#"ledge_limit_hits_total{guest="function test/relay",limit="call_depth"} 1"#).await;
    assert!(relayed.is_silent(), "the rule and seven calls are eight");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_added_explained_tested_disabled_and_deleted_on_the_command_line() {
    let gw = gateway().echo_thing("e-1").start().await;
    let dir = gw.data.path();
    let write = |name: &str, json: Json| std::fs::write(dir.join(name), json.to_string()).unwrap();
    let night = json!({"uri": "condition/timeRange", "params": {"beginDate": "22:00", "endDate": "6:00"}});
    write("rule.json", json!({"type": "IFTTT", "trigger": when_number(">", 30), "condition": night, "action": [publish("/told")]}));
    write("event.json", json!({"productKey": ECHO, "deviceName": "e-1", "properties": {"Number": 31}, "at": "2026-11-25T23:00:00Z"}));
    write("noon.json", json!({"productKey": ECHO, "deviceName": "e-1", "properties": {"Number": 31}, "at": "2026-11-25T12:00:00Z"}));
    let run = |args: &str| {
        let args: Vec<String> = args.split(' ').chain(["--data", "."]).map(str::to_owned).collect();
        async move { ledge(dir, &args.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let said = async |args: &str| -> String {
        let ran = run(args).await;
        assert!(ran.code == 0, "{args}: {ran:?}");
        ran.stdout
    };
    let dry = said("rule test rule.json --event event.json").await;
    assert!(dry.starts_with("it would run") && dry.contains("condition yes it is 22:00 to 6:00 (UTC): Wed 23:00"), "{dry}");
    for (wrong, why) in
        [(json!({"Nope": 1}), "no property `Nope`"), (json!({"Number": "abc"}), "`Number`"), (json!({"Number": 101}), "`Number`")]
    {
        write("wrong.json", json!({"productKey": ECHO, "deviceName": "e-1", "properties": wrong}));
        let refused = run("rule test rule.json --event wrong.json").await;
        assert!(refused.code == 1 && refused.stderr.contains(why), "{refused:?}");
    }
    assert!(said("rule add 夜间 rule.json").await.contains("夜间"));
    let dry = said("rule test 夜间 --event noon.json").await;
    assert!(dry.starts_with("it would not run") && dry.contains("condition no") && dry.contains("trigger   yes"), "{dry}");
    assert!(said("list rules").await.contains("夜间"));
    report(&gw, 5).await;
    let why = said("rule explain --device a1Echo/e-1").await;
    assert!(why.contains("rule 夜间 did not run") && why.contains("trigger   no  a1Echo/e-1 reports Number > 30: 5"), "{why}");
    assert!(said("rule disable 夜间").await.contains("disabled"));
    assert_eq!(get(&gw, "/ledge/v1/rules").await[0]["enabled"], false);
    assert!(said("rule enable 夜间").await.contains("enabled"));
    said("rule trigger 夜间").await;
    assert!(said("rule show 夜间").await.contains("timeRange"));
    said("rule log 夜间").await;
    assert!(said("rule delete 夜间").await.contains("deleted"));
    for wrong in ["rule show 夜间", "rule disable none", "rule test none --event event.json"] {
        assert!(run(wrong).await.stderr.contains("there is no rule"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_names_what_is_not_there_is_refused_with_the_place() {
    let gw = gateway().echo_thing("e-1").start().await;
    let refused = async |rule: Json| -> String {
        let (code, answer) = send(&gw, Method::PUT, "/ledge/v1/rules/r", &json!({"rule": rule})).await;
        assert_eq!(code, 400, "{answer}");
        answer["message"].as_str().unwrap().to_owned()
    };
    let action = |uri: &str, params: Json| json!({"type": "IFTTT", "action": [{"uri": uri, "params": params}]});
    let set = |items: Json| action("action/device/setProperty", of_echo(json!({"propertyItems": items})));
    let trigger =
        |params: Json| json!({"type": "IFTTT", "trigger": {"uri": "trigger/device/property", "params": params}, "action": [publish("/a")]});
    let table = [
        (set(json!({"Nope": 1})), "`action[0]`"),
        (set(json!({"Level": 1})), "can only be read"),
        (set(json!({"Number": 101})), "100"),
        (action("action/device/invokeService", of_echo(json!({"serviceName": "nope"}))), "nope"),
        (action("action/function/invoke", json!({"serviceName": "a", "functionName": "b"})), "function `a/b` is neither"),
        (action("action/scene/trigger", json!({"sceneId": "other"})), "rule `other` is neither"),
        (trigger(json!({"productKey": ECHO, "deviceName": "e-2"})), "thing `a1Echo/e-2` is neither"),
        (trigger(of_echo(json!({"propertyName": "Text", "compareType": ">", "compareValue": "a"}))), "no number"),
        (trigger(of_echo(json!({"propertyName": "Switch", "compareType": "==", "compareValue": "maybe"}))), "no value of `Switch`"),
        (json!({"type": "IFTTT"}), "`action` is missing"),
    ];
    for (rule, said) in table {
        let message = refused(rule.clone()).await;
        assert!(message.contains(said), "{rule}: {message}");
    }
    assert_eq!(send(&gw, Method::PUT, "/ledge/v1/rules/a%20b", &json!({"rule": {}})).await.0, 400);
    assert_eq!(send(&gw, Method::PUT, "/ledge/v1/rules/r", &json!({})).await.0, 400);
    assert_eq!(send(&gw, Method::POST, "/ledge/v1/rule-tests", &json!({"rule": "none", "event": {"timer": 0}})).await.0, 404);
    assert!(get(&gw, "/ledge/v1/rules").await.as_array().unwrap().is_empty(), "nothing of it stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_action_survives_a_restart_and_a_switch_too() {
    let later = json!([{"uri": "action/mq/send", "params": {"topic": "/late", "payload": "late", "delayedExecutionSeconds": 2}}]);
    let off = rule("off", when_number("==", 1), json!({}), json!([publish("/off")]));
    let gw = with(with(gateway().echo_thing("e-1"), rule("later", when_number("==", 1), json!({}), later)), off).start().await;
    assert_eq!(send(&gw, Method::POST, "/ledge/v1/rules/off/disable", &Json::Null).await.0, 200);
    report(&gw, 1).await;
    let gw = gw.restart().await;
    let (mut late, mut off) = (gw.listen("/late"), gw.listen("/off"));
    assert_eq!(late.text().await, "late");
    report(&gw, 1).await;
    late.next().await;
    assert!(off.is_silent());
    let events = get(&gw, "/ledge/v1/rule-events?rule=off").await;
    assert_eq!(events[0]["rules"][0]["outcome"], "disabled", "{events:#}");
}
