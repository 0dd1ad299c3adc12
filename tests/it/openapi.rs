//! OpenAPI v1 (manual, chapter 3), spoken by real clients to real driver components.

mod described;
mod page;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use serde_json::{Value as Json, json};

use crate::harness::client::{json as body_of, post};
use crate::harness::{PASSWORD, TestGateway, gateway};

async fn login(gw: &TestGateway, user: &str, password: &str) -> (u16, Json, Option<String>) {
    let body = json!({"id": 111, "version": "1.0", "request": {"apiVer": "0.6"}, "params": {"UserName": user, "Password": password}});
    let answer = gw.stranger().send(Method::POST, "/auth/login", &[], body.to_string().into()).await.unwrap();
    let cookie = answer.headers.get(SET_COOKIE).map(|value| value.to_str().unwrap().to_owned());
    (answer.status.as_u16(), body_of(&answer), cookie)
}

/// Posts with a cookie and no password.
async fn with_cookie(gw: &TestGateway, cookie: &str, path: &str, params: Json) -> (u16, Json) {
    let pair = cookie.split(';').next().unwrap();
    let body = json!({"request": {"apiVer": "0.6"}, "params": params}).to_string();
    let answer = gw.stranger().send(Method::POST, path, &[(COOKIE, pair)], body.into()).await.unwrap();
    (answer.status.as_u16(), body_of(&answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_gives_a_cookie_that_opens_the_rest_until_the_logout() {
    let gw = gateway().start().await;
    let (status, body, cookie) = login(&gw, "admin", PASSWORD).await;
    assert_eq!((status, body), (200, json!({"code": 200, "message": "success", "data": {"UserName": "admin"}})));
    let cookie = cookie.unwrap();
    for attribute in ["Path=/", "HttpOnly", "SameSite=Strict", "Secure"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let (status, body) = with_cookie(&gw, &cookie, "/thing/device/count", json!({})).await;
    assert_eq!((status, body), (200, json!({"code": 200, "message": "success", "data": {"deviceCount": 0}})));
    let (status, body) = with_cookie(&gw, &cookie, "/auth/logout", json!({"UserName": "admin"})).await;
    assert_eq!((status, body), (200, json!({"code": 200, "message": "success", "data": {}})));
    let (status, body) = with_cookie(&gw, &cookie, "/thing/device/count", json!({})).await;
    assert_eq!((status, body), (401, json!({"code": 401, "message": "resqust auth error", "data": null})));
    let (status, body) = with_cookie(&gw, &cookie, "/auth/logout", json!({"UserName": "admin"})).await;
    assert_eq!((status, body), (400, json!({"code": 400, "message": "cookie is invalid", "data": {}})));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_user_look_alike() {
    let gw = gateway().start().await;
    for (user, password) in [("admin", "wrong wrong wrong"), ("nobody", PASSWORD), ("admin", "admin1234")] {
        let (status, body, cookie) = login(&gw, user, password).await;
        assert_eq!((status, cookie), (400, None));
        assert_eq!(body, json!({"code": 400, "message": "Invalid username or password", "data": {"UserName": user}}));
    }
    gw.audited("login failed").await;
    let basic = gw.stranger().with_password("admin", "wrong wrong wrong");
    assert_eq!(post(&basic, "/thing/device/count", "{\"params\": {}}").await.0, 401);
    gw.audited("HTTP Basic").await;
    assert!(!gw.audit().contains("nobody"), "what was typed as a name may have been a password");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_but_the_login_is_closed_to_strangers() {
    let gw = gateway().start().await;
    let paths = [
        "/thing/device/count",
        "/thing/device/list-authed",
        "/thing/device/properties/set",
        "/thing/device/property/query",
        "/thing/device/service/invoke",
        "/thing/device/events/get",
        "/ledge/v1/routes",
    ];
    for path in paths {
        let (status, body) = post(&gw.stranger(), path, "{\"params\": {}}").await;
        assert_eq!((status, &body["code"]), (401, &json!(401)), "{path}");
    }
    let answer = gw.stranger().send(Method::GET, "/ledge/v1/functions", &[], Bytes::new()).await.unwrap();
    assert_eq!(answer.status.as_u16(), 401);
    // Below the later version's path errors have its form.
    let (status, body) = post(&gw.stranger(), "/2020-04-30/functions/service:a:function:b/invocations", "").await;
    assert_eq!((status, &body["Code"]), (401, &json!("Unauthorized")));
}

#[tokio::test(flavor = "multi_thread")]
async fn things_are_counted_and_listed_as_the_manual_prints_them() {
    let tagged = |thing: &mut ledge::set::Thing| drop(thing.tags.insert("location".into(), "master bedroom".into()));
    let gw = gateway().echo_thing("echo-1").with_thing(tagged).echo_thing("echo-2").start().await;
    let (_, body) = gw.v1("/thing/device/count", json!({"productKey": "a1Echo"})).await;
    assert_eq!(body["data"]["deviceCount"], 2);
    let (status, body) = gw.v1("/thing/device/list-authed", json!({"PageSize": 1, "CurrentPage": 1})).await;
    assert_eq!(status, 200);
    let data = &body["data"];
    assert_eq!((&data["TotalNum"], &data["PageSize"], &data["CurrentPage"]), (&json!(2), &json!(1), &json!(1)));
    let row = &data["List"][0];
    assert_eq!(data["List"].as_array().unwrap().len(), 1);
    assert_eq!(row["DeviceName"], "echo-1");
    assert_eq!(row["ProductKey"], "a1Echo");
    assert_eq!(row["DriverName"], "echo_thing");
    assert_eq!(row["LocalState"], "Online");
    assert_eq!(row["CloudState"], "Inactive");
    assert_eq!(row["DeviceTags"], json!(["location:master bedroom"]));
    assert!(row["LastLocalOnlineTime"].as_str().unwrap().parse::<u64>().unwrap() > 1_500_000_000_000);
    let (_, body) = gw.v1("/thing/device/list-authed", json!({"PageSize": 0, "CurrentPage": 1})).await;
    assert_eq!(body["data"]["List"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_pages_and_the_order_are_the_manuals() {
    let tagged = |thing: &mut ledge::set::Thing| thing.tags = [("room".into(), "hall".into()), ("floor".into(), "2".into())].into();
    let gw = gateway().echo_thing("b").with_thing(tagged).echo_thing("a").start().await;
    let later = gateway().product("a1Later", include_str!("harness/echo.json").replace("a1Echo", "a1Later").as_str());
    // One that no driver brings online, and that was deployed last.
    let later = later.driver("idle", "plain-loop").with_driver(|driver| driver.config = None).thing("a1Later", "c", "idle");
    gw.deploy_offline(later).await.unwrap();
    gw.v1("/thing/device/service/invoke", json!({"productKey": "a1Echo", "deviceName": "a", "method": "offline", "inputParams": {}})).await;
    let names = async |mut params: Json| {
        params["PageSize"] = params.get("PageSize").cloned().unwrap_or(json!(0));
        let (status, body) = gw.v1("/thing/device/list-authed", params.clone()).await;
        assert_eq!(status, 200, "{params}: {body}");
        let names: Vec<String> = body["data"]["List"].as_array().unwrap().iter().map(|row| row["DeviceName"].to_string()).collect();
        names.join("").replace('"', "")
    };
    assert_eq!(names(json!({})).await, "cab");
    assert_eq!(names(json!({"SortMethod": "TimeAsc"})).await, "abc");
    assert_eq!(names(json!({"PageSize": "2", "CurrentPage": "2", "SortMethod": "TimeAsc"})).await, "c");
    for (filter, wanted) in [
        (json!({"productKey": "a1Echo"}), "ab"),
        (json!({"ProductKey": "a1Later"}), "c"),
        (json!({"driverName": "idle"}), "c"),
        (json!({"DriverName": "echo_thing"}), "ab"),
        (json!({"DeviceTags": {"room": "hall"}}), "b"),
        (json!({"deviceTags": ["room:hall", "floor:2"]}), "b"),
        (json!({"DeviceTags": "{\"room\": \"hall\", \"floor\": \"3\"}"}), ""),
        (json!({"LocalState": "Offline", "productKey": "a1Echo"}), "a"),
        (json!({"LocalState": "Online", "productKey": "a1Echo"}), "b"),
        (json!({"CloudState": "Inactive"}), "cab"),
        (json!({"CloudState": "Online"}), ""),
        (json!({"productKey": null, "LocalState": null}), "cab"),
    ] {
        assert_eq!(names(filter.clone()).await, wanted, "{filter}");
    }
    for (filter, wanted) in [
        (json!({"activeStatus": 1, "productKey": "a1Echo"}), 2),
        (json!({"onlineStatus": 0, "productKey": "a1Echo"}), 1),
        (json!({"onlineStatus": "1", "productKey": "a1Echo"}), 1),
        (json!({"onlineStatus": null, "activeStatus": null}), 3),
    ] {
        assert_eq!(gw.v1("/thing/device/count", filter.clone()).await.1["data"]["deviceCount"], wanted, "{filter}");
    }
    for wrong in [
        json!({"SortMethod": "ByName"}),
        json!({"LocalState": "online"}),
        json!({"DeviceTags": "room"}),
        json!({"DeviceTags": ["room"]}),
        json!({"DeviceTags": {"room": 1}}),
        json!({"CurrentPage": 0}),
        json!({"PageSize": -1}),
        json!({"productKey": 1}),
    ] {
        let mut params = json!({"PageSize": 0});
        params.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let (status, body) = gw.v1("/thing/device/list-authed", params).await;
        assert_eq!(status, 400, "{wrong}: {body}");
        let member = wrong.as_object().unwrap().keys().next().unwrap();
        assert!(body["message"].as_str().unwrap().starts_with("Bad Request: ") && body["message"].to_string().contains(member), "{body}");
    }
    assert_eq!(gw.v1("/thing/device/count", json!({"onlineStatus": 2})).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_streamed_to_those_who_ask_for_them() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let mut connection = gw.admin().connect().await.unwrap();
    let body = json!({"params": {"eventInfo": [], "propertyReports": true}}).to_string();
    let mut stream = connection.start(Method::POST, "/thing/device/events/get", &[], body.into()).await.unwrap().into_body();
    let mut next = async || -> Json { serde_json::from_slice(&stream.frame().await.unwrap().unwrap().into_data().unwrap()).unwrap() };
    assert_eq!(next().await["code"], 204);
    let report = json!({"productKey": "a1Echo", "deviceName": "echo-1", "method": "report", "inputParams": {"Number": 7}});
    assert_eq!(gw.v1("/thing/device/service/invoke", report).await.0, 200);
    let items = loop {
        let said = next().await;
        if said["code"] == 200 {
            break said["data"]["items"].clone();
        }
    };
    assert_eq!((&items["eventName"], &items["eventBody"]["params"]["value"]), (&json!("propertiesChanged"), &json!({"Number": 7})));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_has_to_wait_and_the_owner_does_not() {
    let gw = gateway().start().await;
    let mut answers = Vec::new();
    for guess in 0..8 {
        answers.push(login(&gw, "admin", &format!("wrong wrong {guess}")).await.0);
    }
    assert_eq!(answers, [400, 400, 400, 400, 400, 503, 503, 503]);
    // Not even the right password is looked at from there; from elsewhere it is.
    let (status, body, _) = login(&gw, "admin", PASSWORD).await;
    assert_eq!(status, 503, "{body}");
    assert!(body["message"].as_str().unwrap().contains("try again in"), "{body}");
    let line = format!(
        "curl -s -k --interface 127.0.0.2 -d '{{\"params\": {{\"UserName\": \"admin\", \"Password\": \"{PASSWORD}\"}}}}' -X POST $URL/auth/login"
    );
    let said = gw.shell(&line).await;
    assert_eq!(serde_json::from_str::<Json>(&said.stdout).unwrap()["code"], 200, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_are_set_and_read_and_a_service_is_called() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let params = |more: Json| {
        let mut params = json!({"productKey": "a1Echo", "deviceName": "echo-1"});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let set = params(json!({"properties": {"Number": "42", "Switch": true}}));
    let (status, body) = gw.v1("/thing/device/properties/set", set).await;
    assert_eq!((status, body), (200, json!({"code": 200, "message": "success", "data": null})));
    let (_, body) = gw.v1("/thing/device/property/query", params(json!({"propertyIdentifier": ["Number", "Switch"]}))).await;
    let rows = body["data"].as_array().unwrap();
    assert_eq!((&rows[0]["attribute"], &rows[0]["value"]), (&json!("Number"), &json!("42")));
    assert_eq!((&rows[1]["attribute"], &rows[1]["value"]), (&json!("Switch"), &json!("1")));
    for key in ["iotId", "batchId", "group", "groud"] {
        assert_eq!(rows[0][key], "", "{key}");
    }
    assert_eq!(rows[0]["gmtModified"].as_str().unwrap().len(), 10);
    let call = params(json!({"method": "echo", "inputParams": {"text": "1234abc"}}));
    let (_, body) = gw.v1("/thing/device/service/invoke", call).await;
    assert_eq!(body["data"], json!({"code": 0, "data": {"text": "1234abc"}, "message": "ok"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_the_manuals_code_and_a_message_that_names_the_thing() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let of = |thing: &str, more: Json| {
        let mut params = json!({"productKey": "a1Echo", "deviceName": thing});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let cases = [
        ("/thing/device/properties/set", of("nobody", json!({"properties": {"Number": 1}})), 403, "a1Echo/nobody"),
        ("/thing/device/property/query", of("nobody", json!({"propertyIdentifier": ["Number"]})), 401, "a1Echo/nobody"),
        ("/thing/device/service/invoke", of("nobody", json!({"method": "echo", "inputParams": {}})), 400, "a1Echo/nobody"),
        ("/thing/device/properties/set", of("echo-1", json!({"properties": {"Nothing": 1}})), 400, "Nothing"),
        ("/thing/device/properties/set", of("echo-1", json!({"properties": {"Number": 101}})), 400, "101"),
        ("/thing/device/property/query", of("echo-1", json!({"propertyIdentifier": ["Nothing"]})), 400, "Nothing"),
        ("/thing/device/property/query", of("echo-1", json!({"propertyIdentifier": "Number"})), 400, "propertyIdentifier"),
        ("/thing/device/service/invoke", of("echo-1", json!({"method": "nothing", "inputParams": {}})), 400, "nothing"),
        ("/thing/device/service/invoke", of("echo-1", json!({"method": "echo", "inputParams": {}})), 400, "text"),
        ("/thing/device/properties/set", json!({"deviceName": "echo-1"}), 400, "productKey"),
        ("/thing/device/list-authed", json!({}), 400, "PageSize"),
    ];
    for (path, params, code, named) in cases {
        let (status, body) = gw.v1(path, params.clone()).await;
        assert_eq!((status, body["code"].as_u64()), (code, Some(code.into())), "{path} {params}: {body}");
        assert!(body["message"].as_str().unwrap().contains(named), "{path} {params}: {body}");
        assert!(body["data"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_answered_too() {
    let gw = gateway().start().await;
    let (status, body) = post(&gw.admin(), "/thing/device/count", "{not json").await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().contains("not JSON"), "{body}");
    let (status, body) = post(&gw.admin(), "/thing/device/count", "[]").await;
    assert_eq!((status, body["code"].as_u64()), (400, Some(400)));
    let (status, body) = post(&gw.admin(), "/thing/device/count", &" ".repeat((64 << 10) + 1)).await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().contains("65536 bytes"), "{body}");
    let much = format!("head -c 40000000 /dev/zero | curl -s -k -u 'admin:{PASSWORD}' --data-binary @- $URL/thing/device/count");
    let said = gw.shell(&much).await;
    assert!(said.stdout.contains("65536 bytes"), "{said:?}");
    let (status, _) = post(&gw.stranger(), "/auth/login", &format!("{{\"params\": {{}}, \"x\": \"{}\"}}", "x".repeat(5_000))).await;
    assert_eq!(status, 400, "a stranger may send a mebibyte");
    let (status, body) = post(&gw.admin(), "/thing/device/nothing", "{}").await;
    assert_eq!(status, 404);
    assert!(body["message"].as_str().unwrap().contains("/thing/device/nothing"), "{body}");
    let answer = gw.admin().send(Method::GET, "/thing/device/count", &[], Bytes::new()).await.unwrap();
    assert_eq!((answer.status.as_u16(), &body_of(&answer)["code"]), (405, &json!(405)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_is_json_whatever_its_content_type_says() {
    let gw = gateway().start().await;
    for kind in ["application/x-www-form-urlencoded", "text/plain", "nonsense"] {
        let body = Bytes::from_static(b"{\"params\": {}}");
        let answer = gw.admin().send(Method::POST, "/thing/device/count", &[(CONTENT_TYPE, kind)], body).await.unwrap();
        assert_eq!(answer.status.as_u16(), 200, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_thing_is_unavailable_and_not_unknown() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let thing = json!({"productKey": "a1Echo", "deviceName": "echo-1"});
    let with = |more: Json| {
        let mut params = thing.clone();
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    gw.v1("/thing/device/service/invoke", with(json!({"method": "offline", "inputParams": {}}))).await;
    let (status, body) = gw.v1("/thing/device/property/query", with(json!({"propertyIdentifier": ["Number"]}))).await;
    assert_eq!(status, 503);
    assert!(body["message"].as_str().unwrap().contains("a1Echo/echo-1"), "{body}");
    let (_, body) = gw.v1("/thing/device/list-authed", json!({"PageSize": 0})).await;
    assert_eq!(body["data"]["List"][0]["LocalState"], "Offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_streamed_one_to_a_chunk_between_heartbeats() {
    let gw = gateway().echo_thing("echo-1").echo_thing("echo-2").start().await;
    let params = json!({"eventInfo": [{"productKey": "a1Echo", "deviceName": "echo-1", "eventIdentifier": ["alarm"]}]});
    let mut connection = gw.admin().connect().await.unwrap();
    let body = json!({"params": params}).to_string();
    let response = connection.start(Method::POST, "/thing/device/events/get", &[], body.into()).await.unwrap();
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    let mut stream = response.into_body();
    let mut chunk = async || String::from_utf8(stream.frame().await.unwrap().unwrap().into_data().unwrap().to_vec()).unwrap();
    // The first heartbeat says that the subscription holds. It has the 52 bytes that the manual prints as `34`.
    let heartbeat = "{\"code\": 204, \"message\": \"heartbeats\", \"data\": null}";
    assert_eq!(chunk().await, heartbeat);
    assert_eq!(heartbeat.len(), 0x34);
    for thing in ["echo-2", "echo-1"] {
        let call = json!({"productKey": "a1Echo", "deviceName": thing, "method": "event", "inputParams": {"event": "alarm", "level": 3}});
        assert_eq!(gw.v1("/thing/device/service/invoke", call).await.0, 200);
    }
    let event = loop {
        let text = chunk().await;
        if text != heartbeat {
            break serde_json::from_str::<Json>(&text).unwrap();
        }
    };
    let items = &event["data"]["items"];
    assert_eq!((&event["code"], &event["message"]), (&json!(200), &json!("success")));
    assert_eq!(items["deviceName"], "echo-1", "the stream has an event of a thing that was not asked for");
    assert_eq!((&items["eventName"], &items["eventType"]), (&json!("alarm"), &json!("alarm")));
    assert_eq!(items["eventBody"]["params"]["value"], json!({"level": 3}));
    assert!(items["eventBody"]["params"]["time"].is_u64());
    assert_eq!(chunk().await, heartbeat);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_of_an_unknown_thing_is_refused() {
    let gw = gateway().start().await;
    let params = json!({"eventinfo": [{"productKey": "a1Echo", "deviceName": "nobody"}]});
    let (status, body) = gw.v1("/thing/device/events/get", params).await;
    assert_eq!((status, &body["message"]), (401, &json!("device not found: a1Echo/nobody")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manuals_curl_lines_work_as_they_are_printed() {
    let gw = gateway().compat_default_login().echo_thing("echo-1").start().await;
    // As printed, but for the address.
    let login = r#"curl -c "test_eweb.cookie" -d "{\"id\":111,\"version\":\"1.0\",\"request\":{\"apiVer\":\"0.6\"},\"params\":{\"UserName\": \"admin\", \"Password\": \"admin1234\"}}" -k -X POST $URL/auth/login"#;
    let said = gw.shell(login).await;
    assert_eq!(serde_json::from_str::<Json>(&said.stdout).unwrap()["data"]["UserName"], "admin", "{said:?}");
    let count =
        r#"curl -b "test_eweb.cookie" -d "{\"request\":{ \"apiVer\": \"0.6\"}, \"params\": {}}" -k -X POST $URL/thing/device/count"#;
    let said = gw.shell(count).await;
    assert_eq!(serde_json::from_str::<Json>(&said.stdout).unwrap()["data"]["deviceCount"], 1, "{said:?}");
    let list = r#"curl -b "test_eweb.cookie" -d "{\"request\":{ \"apiVer\": \"0.6\"}, \"params\": {\"PageSize\": 15, \"CurrentPage\": 1}}" -k -X POST $URL/thing/device/list-authed"#;
    let said = gw.shell(list).await;
    assert_eq!(serde_json::from_str::<Json>(&said.stdout).unwrap()["data"]["TotalNum"], 1, "{said:?}");
    let logout = r#"curl -b "test_eweb.cookie" -d "{\"id\":111,\"version\":\"1.0\",\"request\":{\"apiVer\":\"0.6\"},\"params\":{\"UserName\": \"admin\"}}" -k -X POST $URL/auth/logout"#;
    let said = gw.shell(logout).await;
    assert_eq!(serde_json::from_str::<Json>(&said.stdout).unwrap()["message"], "success", "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_described_and_a_page_shows_it() {
    let gw = gateway().start().await;
    let stranger = gw.stranger();
    let document = stranger.get_json("/openapi.json").await.unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    for path in ["/thing/device/list-authed", "/2020-04-30/things/bulk", "/ledge/v1/users/{name}", "/healthz"] {
        assert!(document["paths"][path].is_object(), "{path} is not described");
    }
    let page = stranger.send(Method::GET, "/docs/", &[], Bytes::new()).await.unwrap();
    let html = String::from_utf8_lossy(&page.body).into_owned();
    assert_eq!(page.status, 200);
    // What the page loads is here, and nothing of it is anywhere else.
    for part in html.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        assert!(!part.contains("//"), "{part} is loaded from elsewhere");
        let file = stranger.send(Method::GET, &format!("/docs/{}", part.trim_start_matches("./")), &[], Bytes::new()).await.unwrap();
        assert_eq!(file.status, 200, "{part}");
    }
    let initializer = stranger.send(Method::GET, "/docs/swagger-initializer.js", &[], Bytes::new()).await.unwrap();
    assert!(String::from_utf8_lossy(&initializer.body).contains("/openapi.json"));
    assert_eq!(stranger.send(Method::GET, "/docs/nothing", &[], Bytes::new()).await.unwrap().status, 404);
    let health = stranger.send(Method::GET, "/healthz", &[], Bytes::new()).await.unwrap();
    assert_eq!((health.status.as_u16(), &health.body[..]), (200, &b"ok\n"[..]));
    assert_eq!(stranger.get_json("/readyz").await.unwrap(), json!({"ready": true, "reasons": []}));
    assert_eq!(stranger.send(Method::GET, "/metrics", &[], Bytes::new()).await.unwrap().status, 401);
    let metrics = gw.admin().send(Method::GET, "/metrics", &[], Bytes::new()).await.unwrap();
    assert!(String::from_utf8_lossy(&metrics.body).contains("# TYPE"));
}
