//! The later edge API, 2020-04-30: the same things in its shapes.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::{COOKIE, SET_COOKIE};
use serde_json::{Value as Json, json};

use crate::harness::client::json as body_of;
use crate::harness::{ECHO, TestGateway, gateway};

async fn ask(gw: &TestGateway, method: Method, path: &str, body: Json) -> (u16, Json) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = gw.admin().send(method, &format!("/2020-04-30{path}"), &[], body.into()).await.unwrap();
    let status = answer.status.as_u16();
    (status, if answer.body.is_empty() { Json::Null } else { body_of(&answer) })
}

async fn get(gw: &TestGateway, path: &str) -> Json {
    let (status, body) = ask(gw, Method::GET, path, Json::Null).await;
    assert_eq!(status, 200, "{path}: {body}");
    body["Data"].clone()
}

async fn post(gw: &TestGateway, path: &str, body: Json) -> Json {
    let (status, answer) = ask(gw, Method::POST, path, body.clone()).await;
    assert_eq!(status, 200, "{path} {body}: {answer}");
    answer["Data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_begun_with_a_password_and_ended_by_its_owner() {
    let gw = gateway().start().await;
    let begun = gw.admin().send(Method::POST, "/2020-04-30/auth/cookies", &[], Bytes::new()).await.unwrap();
    assert_eq!(begun.status, 201);
    let cookie = begun.headers[SET_COOKIE].to_str().unwrap().to_owned();
    for attribute in ["token=", "Path=/", "HttpOnly", "SameSite=Strict", "Secure"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let pair = cookie.split(';').next().unwrap();
    let with_cookie =
        async |method: Method, path: &str| gw.stranger().send(method, path, &[(COOKIE, pair)], Bytes::new()).await.unwrap().status.as_u16();
    assert_eq!(with_cookie(Method::GET, "/2020-04-30/things").await, 200);
    let own = format!("/2020-04-30/auth/cookies/{}", pair.trim_start_matches("token="));
    assert_eq!(with_cookie(Method::DELETE, "/2020-04-30/auth/cookies/another").await, 404);
    assert_eq!(with_cookie(Method::DELETE, &own).await, 200);
    assert_eq!(with_cookie(Method::GET, "/2020-04-30/things").await, 401);
    let strangers = gw.stranger().send(Method::POST, "/2020-04-30/auth/cookies", &[], Bytes::new()).await.unwrap();
    assert_eq!((strangers.status.as_u16(), &body_of(&strangers)["Code"]), (401, &json!("Unauthorized")));
}

#[tokio::test(flavor = "multi_thread")]
async fn things_are_found_read_set_and_called() {
    let tagged = |thing: &mut ledge::set::Thing| drop(thing.tags.insert("room".into(), "hall".into()));
    let gw = gateway().echo_thing("echo-1").with_thing(tagged).echo_thing("echo-2").start().await;
    let things = get(&gw, "/things?productkey=a1Echo&devicename=echo-1").await["Things"].clone();
    assert_eq!(things.as_array().unwrap().len(), 1);
    let row = &things[0];
    assert_eq!((&row["ProductKey"], &row["DeviceName"], &row["DriverName"]), (&json!(ECHO), &json!("echo-1"), &json!("echo_thing")));
    assert_eq!((&row["Status"], &row["Connected"], &row["Tags"]), (&json!("Online"), &json!(true), &json!(["room:hall"])));
    assert!(row["ConnectTime"].as_str().unwrap().parse::<u64>().unwrap() > 1_500_000_000_000);
    assert_eq!(get(&gw, "/things").await["Things"].as_array().unwrap().len(), 2);
    let found = post(&gw, "/things/search", json!({"Tags": {"room": "hall"}})).await["Things"].clone();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["Tags"]), (1, &json!({"room": "hall"})));
    assert_eq!(post(&gw, "/things/search", json!({"Tags": {"room": "attic"}})).await["Things"], json!([]));

    let set = post(&gw, "/things/a1Echo/echo-1/properties", json!({"Properties": {"Number": 42, "Switch": true}})).await;
    assert_eq!(set["Data"], json!([]));
    assert!(set["Timestamp"].is_u64());
    let read = get(&gw, "/things/a1Echo/echo-1/properties?identifiers=Number&identifiers=Switch").await;
    assert_eq!(read["Properties"], json!({"Number": 42, "Switch": 1}));
    let called = json!({"Services": [{"Name": "echo", "Args": {"text": "hi"}}, {"Name": "nothing"}, {"Name": "offline"}]});
    let called = post(&gw, "/things/a1Echo/echo-2/services", called).await["Services"].clone();
    assert_eq!((&called[0]["Name"], &called[0]["Returns"]["Code"]), (&json!("echo"), &json!(200)));
    assert_eq!(called[0]["Returns"]["Data"], json!({"text": "hi"}));
    assert_eq!(called[1]["Returns"]["Code"], 400);
    assert_eq!((&called[2]["Returns"]["Code"], &called[2]["Returns"]["Data"]), (&json!(200), &json!([])));
    let tsl = ask(&gw, Method::GET, "/tsls/a1Echo", Json::Null).await.1;
    assert_eq!(tsl["profile"]["productKey"], ECHO);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_reads_sets_and_calls_many_things_and_each_has_its_own_result() {
    let gw = gateway().echo_thing("echo-1").echo_thing("echo-2").start().await;
    let bulk = async |action: &str, more: Json| {
        let thing = |name: &str| {
            let mut thing = json!({"ProductKey": ECHO, "DeviceName": name});
            thing.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            thing
        };
        let things: Vec<Json> = ["echo-1", "nobody", "echo-2"].map(thing).into();
        let results = post(&gw, "/things/bulk", json!({"BulkAction": action, "Things": things})).await["Results"].clone();
        let results = results.as_array().unwrap().clone();
        assert_eq!(results.iter().map(|it| &it["DeviceName"]).collect::<Vec<_>>(), ["echo-1", "nobody", "echo-2"]);
        assert_eq!(results[1]["Returns"]["Code"], 404, "{results:?}");
        results
    };
    for action in ["SetProperties", "SetProperites"] {
        let set = bulk(action, json!({"Properties": {"Number": 7}})).await;
        assert_eq!((&set[0]["Returns"]["Code"], &set[2]["Returns"]["Code"]), (&json!(200), &json!(200)));
    }
    let read = bulk("GetProperties", json!({"Identifiers": ["Number"]})).await;
    assert_eq!((&read[0]["Returns"]["Data"], &read[2]["Returns"]["Data"]), (&json!({"Number": 7}), &json!({"Number": 7})));
    let called = bulk("CallServices", json!({"Services": [{"Name": "echo", "Args": {"text": "hi"}}]})).await;
    assert_eq!(called[2]["Services"][0]["Returns"]["Data"], json!({"text": "hi"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn things_are_watched_one_line_a_message() {
    let gw = gateway().echo_thing("echo-1").echo_thing("echo-2").start().await;
    let mut connection = gw.admin().connect().await.unwrap();
    let wanted = json!([{"ProductKey": ECHO, "DeviceName": "echo-1", "Watches": "properties"}]);
    let body = json!({"BulkAction": "Watch", "Things": wanted}).to_string();
    let response = connection.start(Method::POST, "/2020-04-30/things/bulk", &[], body.into()).await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let mut stream = response.into_body();
    let mut line = async || -> Json {
        let bytes = stream.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(bytes.ends_with(b"\n"));
        serde_json::from_slice(&bytes).unwrap()
    };
    assert_eq!(line().await["Message"], "heartbeat");
    for thing in ["echo-2", "echo-1"] {
        let services =
            json!({"Services": [{"Name": "event", "Args": {"event": "alarm", "level": 3}}, {"Name": "report", "Args": {"Number": 9}}]});
        post(&gw, &format!("/things/a1Echo/{thing}/services"), services).await;
    }
    let said = loop {
        let said = line().await;
        if said["Message"] == "success" {
            break said["Data"].clone();
        }
    };
    assert_eq!((&said["DeviceName"], &said["Event"]), (&json!("echo-1"), &json!("propertiesChanged")));
    assert_eq!(said["Args"]["Number"]["value"], 9);
    assert!(said["Timestamp"].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_its_form() {
    let gw = gateway().echo_thing("echo-1").start().await;
    for (method, path, body, status, code) in [
        (Method::GET, "/things?product=a1Echo", Json::Null, 400, "InvalidParameter"),
        (Method::GET, "/things/a1Echo/nobody/properties", Json::Null, 404, "NotFound"),
        (Method::GET, "/things/a1Echo/echo-1/properties?identifiers=Nothing", Json::Null, 400, "InvalidParameter"),
        (Method::GET, "/things/a1Echo/echo-1/properties?names=Number", Json::Null, 400, "InvalidParameter"),
        (Method::POST, "/things/a1Echo/echo-1/properties", json!({"Properties": {"Number": 101}}), 400, "InvalidParameter"),
        (Method::POST, "/things/a1Echo/echo-1/properties", json!([]), 400, "InvalidParameter"),
        (Method::POST, "/things/a1Echo/echo-1/services", json!({"Services": []}), 400, "InvalidParameter"),
        (Method::POST, "/things/bulk", json!({"BulkAction": "Explode", "Things": []}), 400, "InvalidParameter"),
        (Method::POST, "/things/bulk", json!({"BulkAction": "GetProperties", "Things": []}), 400, "InvalidParameter"),
        (Method::GET, "/tsls/nothing", Json::Null, 404, "NotFound"),
        (Method::POST, "/scenes/nothing/enable", Json::Null, 404, "NotFound"),
        (Method::DELETE, "/things", Json::Null, 405, "MethodNotAllowed"),
        (Method::GET, "/nothing", Json::Null, 404, "NotFound"),
    ] {
        let (answered, said) = ask(&gw, method, path, body).await;
        assert_eq!((answered, said["Code"].as_str()), (status, Some(code)), "{path}: {said}");
        assert!(!said["Message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scenes_are_rules() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let rule = json!({"rule": {
        "type": "IFTTT",
        "trigger": {"uri": "trigger/device/property", "params": {"productKey": ECHO, "deviceName": "echo-1", "propertyName": "Number", "compareType": ">", "compareValue": 5}},
        "action": [{"uri": "action/device/setProperty", "params": {"productKey": ECHO, "deviceName": "echo-1", "propertyItems": {"Switch": 1}}}],
    }});
    let put = gw.admin().send(Method::PUT, "/ledge/v1/rules/night", &[], rule.to_string().into()).await.unwrap();
    assert_eq!(put.status, 200, "{:?}", put.body);
    let scene = async || get(&gw, "/scenes").await["Scenes"][0].clone();
    assert_eq!(scene().await, json!({"Id": "night", "Name": "night", "Running": true}));
    assert_eq!(ask(&gw, Method::POST, "/scenes/night/disable", Json::Null).await, (200, Json::Null));
    assert_eq!(scene().await["Running"], false);
    assert_eq!(ask(&gw, Method::POST, "/scenes/night/enable", Json::Null).await.0, 200);
    assert_eq!(scene().await["Running"], true);
}
