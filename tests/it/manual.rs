//! What the manual prints of its OpenAPI (chapter 3): each curl line, run by curl, and each code.

use hyper::Method;
use ledge::gateway::ConnectionLimits;
use serde_json::{Value as Json, json};

use crate::harness::client::{json as body_of, post};
use crate::harness::{PASSWORD, Setup, TestGateway, gateway, raw};

// The lines as they are printed, joined where the page breaks them.
const LOGIN: &str = r#"curl -c "test_eweb.cookie" -d "{\"id\":111,\"version\":\"1.0\",\"request\":{\"apiVer\":\"0.6\"},\"params\":{\"UserName\": \"admin\", \"Password\": \"admin1234\"}}" -k -X POST https://127.0.0.1:9999/auth/login#"#;
const LOGOUT: &str = r#"curl -b "test_eweb.cookie" -d "{\"id\":111,\"version\":\"1.0\",\"request\":{\"apiVer\":\"0.6\"},\"params\":{\"UserName\": \"admin\"}}" -k -X POST https://127.0.0.1:9999/auth/logout#"#;
const COUNT: &str = r#"curl -b "test_eweb.cookie" -d "{\"request\":{ \"apiVer\": \"0.6\"}, \"params\": {}}" -k -X POST https://127.0.0.1:9999/thing/device/count"#;
const LIST: &str = r#"curl -b "test_eweb.cookie" -d "{\"request\":{ \"apiVer\": \"0.6\"}, \"params\": {\"PageSize\": 15, \"CurrentPage\": 1}}" -k -X POST https://127.0.0.1:9999/thing/device/list-authed"#;
const SET: &str = r#"curl -b "test_eweb.cookie" -d "{\"request\":{ \"apiVer\": \"0.6\"}, \"params\": { \"productKey\": \"a1VCsnA****\", \"deviceName\": \"cloud_sync_****\", \"properties\": {\"cpu_core_number\": 1, \"aaa\": 2} }}" -k -X POST https://127.0.0.1:9999/thing/device/properties/set"#;
const QUERY: &str = r#"curl -b "test_eweb.cookie" -d "{\"request\":{ \"apiVer\": \"0.6\"}, \"params\": { \"productKey\": \"a1acbea****\", \"deviceName\": \"RijJCeD63B0DXKQs****\", \"propertyIdentifier\": [\"cpu_core_number\",\"cpu_usage\"]}}" -k -X POST https://127.0.0.1:9999/thing/device/property/query"#;
const INVOKE: &str = r#"curl -b "test_eweb.cookie" -d "{\"request\":{ \"apiVer\": \"0.6\"}, \"params\": { \"productKey\": \"a1VCsnA****\", \"deviceName\": \"Led****\", \"method\": \"power_on\", \"inputParams\": {\"a\": \"1234abc\"}}}" -k -X POST https://127.0.0.1:9999/thing/device/service/invoke"#;
const EVENTS: &str = r#"curl -b "test_eweb.cookie" -d "{\"request\":{ \"apiVer\": \"0.6\"}, \"params\": {\"eventInfo\": [{ \"productKey\": \"a1JJ3QE****\", \"deviceName\": \"1njlnxNbdHs4EmOh****\", \"eventIdentifier\": [\"abc\", \"edf\"]}, { \"productKey\": \"a1JJ3QE****\", \"deviceName\": \"8sQa2kvLKpWitIFF****\", \"eventIdentifier\": [\"abc\", \"edf\"]}]}}" -k -X POST https://127.0.0.1:9999/thing/device/events/get"#;

/// As printed, but for the port, which is free here, and for the stars, with which the manual hides a part of real names.
fn printed(gw: &TestGateway, line: &str) -> String {
    line.replace("https://127.0.0.1:9999", &gw.url()).replace("****", "0000")
}

async fn curl(gw: &TestGateway, line: &str) -> Json {
    let said = gw.shell(&printed(gw, line)).await;
    assert_eq!(said.code, 0, "{line}\n{said:?}");
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{line}\n{said:?}"))
}

/// The products and things that the lines name.
fn things() -> Setup {
    let number = |name: &str, kind: &str| json!({"identifier": name, "name": name, "accessMode": "rw", "dataType": {"type": kind, "specs": {"min": "0", "max": "1000"}}});
    let text = |name: &str| json!({"identifier": name, "name": name, "dataType": {"type": "text", "specs": {"length": "64"}}});
    let power_on = json!({
        "identifier": "power_on", "name": "power on", "callType": "sync", "inputData": [text("a")],
        "outputData": [text("rtn"), text("uid"), {"identifier": "code", "name": "c", "dataType": {"type": "int", "specs": {}}}],
    });
    let event = |name: &str| json!({"identifier": name, "name": name, "type": "info", "outputData": []});
    let report = json!({
        "identifier": "event", "name": "reports an event", "callType": "sync", "inputData": [text("event")], "outputData": [],
    });
    let tsl = |key: &str| {
        json!({
            "profile": {"productKey": key},
            "properties": [number("cpu_core_number", "int"), number("cpu_usage", "float"), number("aaa", "int")],
            "events": [event("abc"), event("edf"), event("other")],
            "services": [power_on, report],
        })
        .to_string()
    };
    let mut setup = gateway().compat_default_login().driver("echo_thing", "echo-thing");
    for (product, devices) in [
        ("a1VCsnA0000", ["cloud_sync_0000", "Led0000"].as_slice()),
        ("a1acbea0000", &["RijJCeD63B0DXKQs0000"]),
        ("a1JJ3QE0000", &["1njlnxNbdHs4EmOh0000", "8sQa2kvLKpWitIFF0000"]),
    ] {
        setup = setup.product(product, &tsl(product));
        for device in devices {
            setup = setup.thing(product, device, "echo_thing");
        }
    }
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn every_curl_line_answers_as_it_is_printed() {
    let gw = things().start().await;
    assert_eq!(curl(&gw, LOGIN).await, json!({"code": 200, "message": "success", "data": {"UserName": "admin"}}));
    assert_eq!(curl(&gw, COUNT).await, json!({"code": 200, "message": "success", "data": {"deviceCount": 5}}));
    let list = curl(&gw, LIST).await;
    let (data, row) = (&list["data"], &list["data"]["List"][0]);
    assert_eq!((&data["TotalNum"], &data["PageSize"], &data["CurrentPage"]), (&json!(5), &json!(15), &json!(1)));
    for member in [
        "LocalState",
        "DriverName",
        "LastCloudOnlineTime",
        "DeviceName",
        "CloudState",
        "DeviceTags",
        "LastLinkTime",
        "ProductKey",
        "LastLocalOnlineTime",
        "DeviceLocalId",
    ] {
        assert!(!row[member].is_null(), "{member} is not in {row}");
    }
    assert_eq!(curl(&gw, SET).await, json!({"code": 200, "message": "success", "data": null}));
    let of = |product: &str, device: &str| json!({"productKey": product, "deviceName": device});
    let mut set = of("a1acbea0000", "RijJCeD63B0DXKQs0000");
    set["properties"] = json!({"cpu_core_number": 8, "cpu_usage": "16.730524"});
    assert_eq!(gw.v1("/thing/device/properties/set", set).await.0, 200);
    let query = curl(&gw, QUERY).await;
    for (row, (attribute, value)) in [("cpu_core_number", "8"), ("cpu_usage", "16.730524")].into_iter().enumerate() {
        let row = &query["data"][row];
        assert_eq!((&row["attribute"], &row["value"]), (&json!(attribute), &json!(value)), "{query}");
        assert_eq!((&row["iotId"], &row["groud"], &row["batchId"]), (&json!(""), &json!(""), &json!("")));
        assert_eq!(row["gmtModified"].as_str().unwrap().len(), "1552035452".len());
    }
    let invoked = json!({"code": 0, "data": {"rtn": "asdfasdf", "uid": "111", "code": 1}, "message": "ok"});
    assert_eq!(curl(&gw, INVOKE).await, json!({"code": 200, "message": "success", "data": invoked}));
    assert_eq!(curl(&gw, LOGOUT).await, json!({"code": 200, "message": "success", "data": {}}));
    assert_eq!(curl(&gw, COUNT).await, json!({"code": 401, "message": "resqust auth error", "data": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_curl_line_of_events_shows_the_chunks_that_are_printed() {
    let gw = things().start().await;
    curl(&gw, LOGIN).await;
    // As printed, but that curl shows the length of each chunk, and each at once.
    let line = format!("{} -s -N --raw | head -c 420", printed(&gw, EVENTS));
    let reading = gw.shell(&line);
    tokio::pin!(reading);
    let said = loop {
        let mut call = json!({"productKey": "a1JJ3QE0000", "deviceName": "8sQa2kvLKpWitIFF0000", "method": "event"});
        for event in ["other", "edf"] {
            call["inputParams"] = json!({"event": event});
            assert_eq!(gw.v1("/thing/device/service/invoke", call.clone()).await.0, 200);
        }
        tokio::select! {
            said = &mut reading => break said,
            // The next event, in case that curl had not subscribed yet.
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
        }
    };
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let heartbeat = chunk(r#"{"code": 204, "message": "heartbeats", "data": null}"#);
    assert!(heartbeat.starts_with("34\r\n") && said.stdout.starts_with(&heartbeat), "{said:?}");
    let (length, rest) = said.stdout[heartbeat.len()..].split_once("\r\n").unwrap();
    let length = usize::from_str_radix(length, 16).unwrap();
    let event: Json = serde_json::from_str(&rest[..length]).unwrap_or_else(|_| panic!("{said:?}"));
    let items = &event["data"]["items"];
    assert_eq!((&event["code"], &event["message"], &event["data"]["timestamp"]), (&json!(200), &json!("success"), &json!("")));
    assert_eq!((&items["eventName"], &items["eventType"], &items["eventCode"]), (&json!("edf"), &json!("edf"), &json!("")));
    assert_eq!(items["deviceName"], "8sQa2kvLKpWitIFF0000");
    assert!(items["eventBody"]["params"]["time"].is_u64() && items["eventBody"]["params"]["value"].is_object(), "{event}");
}

/// The first answer to these bytes: its status, and its body.
async fn answered(from: usize, to: std::net::SocketAddr, bytes: &str) -> (u16, Json) {
    let mut stream = raw::connect(raw::address(from), to).await;
    raw::send(&mut stream, bytes).await.unwrap();
    let (status, _, body) = raw::answer(&mut stream).await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("not JSON: {body}")))
}

/// The table of codes (3.2), each with how it is come by, and what is said. Where the manual prints another text for a case (3.3, 3.4), that is it.
#[tokio::test(flavor = "multi_thread")]
async fn each_code_of_the_table_is_the_status_too_and_says_what_the_manual_says() {
    let limits = ConnectionLimits { per_address_max: 4, max: 100 };
    let gw = gateway().plain_listen().connections(limits).echo_thing("echo-1").start().await;
    let viewer = json!({"role": "viewer", "password": PASSWORD}).to_string();
    assert_eq!(gw.admin().send(Method::PUT, "/ledge/v1/users/viewer", &[], viewer.into()).await.unwrap().status, 201);
    let viewer = gw.stranger().with_password("viewer", PASSWORD);
    let of = |more: Json| {
        let mut params = json!({"productKey": "a1Echo", "deviceName": "echo-1"});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let set = of(json!({"properties": {"Number": 1}}));
    let mut said = vec![
        (200, gw.v1("/thing/device/count", json!({})).await, "success"),
        (400, gw.v1("/thing/device/list-authed", json!({})).await, "Bad Request: "),
        (400, gw.v1("/auth/login", json!({"UserName": "admin", "Password": "wrong wrong"})).await, "Invalid username or password"),
        (400, gw.v1("/auth/logout", json!({"UserName": "admin"})).await, "cookie is invalid"),
        (401, post(&gw.stranger(), "/thing/device/count", r#"{"params": {}}"#).await, "resqust auth error"),
        (403, post(&viewer, "/thing/device/properties/set", &json!({"params": set}).to_string()).await, "Forbidden: "),
        (403, gw.v1("/thing/device/properties/set", json!({"productKey": "a", "deviceName": "b", "properties": {}})).await, ""),
        (404, gw.v1("/thing/device/nothing", json!({})).await, "Not Found: "),
        (500, gw.v1("/thing/device/service/invoke", of(json!({"method": "lies", "inputParams": {}}))).await, "Internal Server Error: "),
    ];
    let get = gw.admin().send(Method::GET, "/thing/device/count", &[], "".into()).await.unwrap();
    said.push((405, (get.status.as_u16(), body_of(&get)), "Method Not Allowed: "));
    let plain_on_tls = "POST /thing/device/count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    said.push((302, answered(1, gw.gateway.address, plain_on_tls).await, "Move temporarily: "));
    let call = gw.v1("/thing/device/service/invoke", of(json!({"method": "offline", "inputParams": {}}))).await;
    assert_eq!(call.0, 200);
    let query = of(json!({"propertyIdentifier": ["Number"]}));
    said.push((503, gw.v1("/thing/device/property/query", query).await, "Service Unavailable: "));
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = raw::connect(raw::address(2), gw.gateway.plain.unwrap()).await;
        raw::send(&mut stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(raw::answer(&mut stream).await.unwrap().0, 200);
        held.push(stream);
    }
    said.push((421, answered(2, gw.gateway.plain.unwrap(), plain_on_tls).await, "Too Many Connections: "));
    // The heartbeat is a line within an answer that goes on, whose status was said before.
    let mut connection = gw.admin().connect().await.unwrap();
    let begun = connection.start(Method::POST, "/thing/device/events/get", &[], r#"{"params": {"eventInfo": []}}"#.into()).await.unwrap();
    assert_eq!(begun.status(), 200);
    let chunk = http_body_util::BodyExt::frame(&mut begun.into_body()).await.unwrap().unwrap().into_data().unwrap();
    let heartbeat: Json = serde_json::from_slice(&chunk).unwrap();
    said.push((204, (204, heartbeat), "heartbeats"));

    for (code, (status, body), message) in &said {
        assert_eq!((*status, body["code"].as_u64()), (*code, Some(u64::from(*code))), "{body}");
        assert!(body["message"].as_str().unwrap().starts_with(message), "{code}: {body}");
        assert!(body.get("data").is_some(), "{body}");
    }
    let mut codes: Vec<u16> = said.iter().map(|(code, ..)| *code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes, [200, 204, 302, 400, 401, 403, 404, 405, 421, 500, 503]);
}
