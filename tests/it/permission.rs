//! Who may do what: every operation of the API, asked for by every role, and things of products that are somebody else's.

use std::collections::BTreeMap;

use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value as Json, json};

use crate::fc_api::signer::{Signer, date};
use crate::harness::client::{json as body_of, post};
use crate::harness::{ECHO, PASSWORD, PATIENCE, TestGateway, gateway};
use ledge::cli::client::Client;

/// What the roles may do, written down once more.
const OPERATORS: [&str; 10] = [
    "things.read",
    "things.write",
    "things.call",
    "events.read",
    "functions.invoke",
    "functions.read",
    "functions.operate",
    "rules.read",
    "rules.operate",
    "metrics.read",
];
const VIEWERS: [&str; 5] = ["things.read", "events.read", "functions.read", "rules.read", "metrics.read"];

async fn add(gw: &TestGateway, name: &str, mut rights: Json) -> Client {
    rights["password"] = PASSWORD.into();
    let path = format!("/ledge/v1/users/{name}");
    let answer = gw.admin().send(Method::PUT, &path, &[], rights.to_string().into()).await.unwrap();
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    gw.stranger().with_password(name, PASSWORD)
}

async fn document(gw: &TestGateway) -> Json {
    gw.stranger().get_json("/openapi.json").await.unwrap()
}

/// Each operation: its method, its path with something in the place of each parameter, and the permission that it needs, if it needs one.
fn operations(document: &Json) -> Vec<(Method, String, Option<Option<String>>)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/");
        for (method, operation) in methods.as_object().unwrap() {
            let scopes = operation["security"].as_array().and_then(|all| all[0]["session"].as_array());
            let needs = scopes.map(|scopes| scopes.first().map(|scope| scope.as_str().unwrap().to_owned()));
            operations.push((method.to_uppercase().parse().unwrap(), path.clone(), needs));
        }
    }
    operations
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_each_role_as_the_table_says() {
    let gw = gateway().start().await;
    let mut clients = BTreeMap::from([("nobody", gw.stranger())]);
    for role in ["admin", "operator", "viewer"] {
        clients.insert(role, add(&gw, role_user(role), json!({"role": role})).await);
    }
    let operations = operations(&document(&gw).await);
    assert!(operations.len() >= 40, "only {} operations are described", operations.len());
    let open: Vec<_> = operations.iter().filter(|(_, _, needs)| needs.is_none()).map(|(_, path, _)| path.as_str()).collect();
    assert_eq!(
        open,
        [
            "/2016-08-15/services/x/functions/x/code/package",
            "/2020-04-30/auth/cookies",
            "/auth/login",
            "/auth/logout",
            "/healthz",
            "/readyz"
        ]
    );
    for (method, path, needs) in &operations {
        for (role, client) in &clients {
            let answer = client.send(method.clone(), path, &[], "{}".into()).await.unwrap();
            let status = answer.status.as_u16();
            let may = match (needs, *role) {
                (None, _) => true,
                (Some(_), "nobody") => {
                    assert_eq!(status, 401, "{method} {path} answers strangers");
                    continue;
                }
                (Some(None), _) | (_, "admin") => true,
                (Some(Some(needs)), "operator") => OPERATORS.contains(&needs.as_str()),
                (Some(Some(needs)), _) => VIEWERS.contains(&needs.as_str()),
            };
            // Changing somebody else's password is refused by the handler.
            let is_refused = status == 403 && !path.ends_with("/password");
            assert_eq!(is_refused, !may, "{method} {path} answers {role} with {status}");
            assert!(needs.is_none() || status != 401, "{method} {path} does not know {role}");
        }
    }
    gw.audited("denied").await;
}

fn role_user(role: &str) -> &str {
    if role == "admin" { "another-admin" } else { role }
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_narrow_a_role_at_once() {
    let gw = gateway().start().await;
    let operator = add(&gw, "op", json!({"role": "operator", "permissions": ["things.read"]})).await;
    assert_eq!(post(&operator, "/thing/device/count", r#"{"params": {}}"#).await.0, 200);
    let answer = operator.send(Method::GET, "/ledge/v1/functions", &[], "".into()).await.unwrap();
    assert_eq!(answer.status, 403);
    let message = body_of(&answer)["message"].as_str().unwrap().to_owned();
    assert!(message.contains("functions.read") && message.contains("op"), "{message}");
    // The same connection and the same password, a moment later.
    let wider = json!({"role": "operator"}).to_string();
    assert_eq!(gw.admin().send(Method::PUT, "/ledge/v1/users/op", &[], wider.into()).await.unwrap().status, 200);
    assert_eq!(operator.send(Method::GET, "/ledge/v1/functions", &[], "".into()).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn things_of_other_products_are_not_there() {
    let other = include_str!("harness/echo.json").replace(ECHO, "a1Other");
    let gw = gateway().echo_thing("echo-1").product("a1Other", &other).thing("a1Other", "other-1", "echo_thing").start().await;
    let own = add(&gw, "own", json!({"role": "operator", "products": [ECHO]})).await;
    let (_, body) = post(&own, "/thing/device/list-authed", r#"{"params": {"PageSize": 0}}"#).await;
    let names: Vec<_> = body["data"]["List"].as_array().unwrap().iter().map(|row| &row["DeviceName"]).collect();
    assert_eq!(names, ["echo-1"]);
    let listed = own.get_json("/ledge/v1/things").await.unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    for (path, rest) in [
        ("/thing/device/property/query", json!({"propertyIdentifier": []})),
        ("/thing/device/properties/set", json!({"properties": {"Number": 1}})),
        ("/thing/device/service/invoke", json!({"method": "config", "inputParams": {}})),
    ] {
        for (product, device, status) in [(ECHO, "echo-1", 200), ("a1Other", "other-1", 403), ("a1Other", "unknown", 403)] {
            let mut params = rest.clone();
            params["productKey"] = product.into();
            params["deviceName"] = device.into();
            let (answered, body) = post(&own, path, &json!({"params": params}).to_string()).await;
            assert_eq!(answered, status, "{path} of {product}/{device}: {body}");
        }
    }
    let events = json!({"params": {"eventInfo": [{"productKey": "a1Other", "deviceName": "other-1"}]}}).to_string();
    assert_eq!(post(&own, "/thing/device/events/get", &events).await.0, 403);
    assert_eq!(own.send(Method::GET, "/ledge/v1/things/a1Other/other-1/history", &[], "".into()).await.unwrap().status, 403);
    assert_eq!(own.send(Method::GET, "/ledge/v1/functions", &[], "".into()).await.unwrap().status, 403);
    gw.audited(r#""detail":"product a1Other""#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_gives_nobody_more_than_they_have_and_changes_only_their_own_password() {
    let gw = gateway().start().await;
    let keeper = add(&gw, "keeper", json!({"role": "admin", "permissions": ["users", "things.read"]})).await;
    let viewer = add(&gw, "viewer", json!({"role": "viewer", "permissions": ["things.read"]})).await;
    let put = async |client: &Client, name: &str, body: Json| {
        client.send(Method::PUT, &format!("/ledge/v1/users/{name}"), &[], body.to_string().into()).await.unwrap().status.as_u16()
    };
    assert_eq!(put(&keeper, "eve", json!({"role": "admin", "password": PASSWORD})).await, 403);
    assert_eq!(put(&keeper, "admin", json!({"role": "viewer"})).await, 403);
    assert_eq!(put(&keeper, "eve", json!({"role": "viewer", "permissions": ["things.read"]})).await, 201);
    assert_eq!(put(&keeper, "eve", json!({"role": "owner"})).await, 400);
    // A role cannot leave what it has not.
    assert_eq!(put(&keeper, "eve", json!({"role": "viewer", "permissions": ["things.read", "users"]})).await, 400);

    // Who serves another certificate can be taken for the gateway.
    let certificate =
        keeper.send(Method::PUT, "/ledge/v1/certificate", &[], json!({"certificate": "", "key": ""}).to_string().into()).await;
    assert_eq!(certificate.unwrap().status, 403);

    let password = async |client: &Client, name: &str, body: Json| {
        let path = format!("/ledge/v1/users/{name}/password");
        client.send(Method::POST, &path, &[], body.to_string().into()).await.unwrap().status.as_u16()
    };
    assert_eq!(password(&keeper, "admin", json!({"new": "a whole new horse"})).await, 403);
    assert_eq!(password(&viewer, "eve", json!({"new": "a whole new horse"})).await, 403);
    assert_eq!(password(&keeper, "eve", json!({"new": "a whole new horse"})).await, 200);
    assert_eq!(password(&keeper, "keeper", json!({"new": "a whole new horse"})).await, 400);
    let own = json!({"role": "admin", "permissions": ["users", "things.read"], "password": "a whole new horse"});
    assert_eq!(put(&keeper, "keeper", own).await, 400);
    assert_eq!(password(&viewer, "viewer", json!({"new": "a whole new horse"})).await, 400);
    assert_eq!(password(&viewer, "viewer", json!({"old": "wrong wrong wrong", "new": "a whole new horse"})).await, 400);
    assert_eq!(password(&viewer, "viewer", json!({"old": PASSWORD, "new": "a whole new horse"})).await, 200);
    assert_eq!(viewer.send(Method::GET, "/ledge/v1/things", &[], "".into()).await.unwrap().status, 401);
}

/// A rule that is tried tells what it found of things.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_things_tries_no_rule() {
    let gw = gateway().start().await;
    let rule = json!({"rule": {"type": "IFTTT", "action": []}, "event": {"timer": "0 22 * * *"}}).to_string();
    for (name, permissions, expected) in [("rules", json!(["rules.read"]), 403), ("both", json!(["rules.read", "things.read"]), 400)] {
        let client = add(&gw, name, json!({"role": "viewer", "permissions": permissions})).await;
        let answer = client.send(Method::POST, "/ledge/v1/rule-tests", &[], rule.clone().into()).await.unwrap();
        assert_eq!(answer.status, expected, "{:?}", answer.body);
    }
}

/// Each change has a line in the audit, which has a bound.
#[tokio::test(flavor = "multi_thread")]
async fn who_switches_a_rule_without_end_is_told_to_wait_and_an_administrator_is_not() {
    let gw = gateway().start().await;
    let rule = json!({"rule": {"type": "IFTTT", "action": [{"uri": "action/mq/send", "params": {"topic": "/t"}}]}}).to_string();
    assert!(gw.admin().send(Method::PUT, "/ledge/v1/rules/r", &[], rule.into()).await.unwrap().status.is_success());
    let operator = add(&gw, "operator", json!({"role": "operator"})).await;
    let mut connection = operator.connect().await.unwrap();
    let mut done = 0;
    let refused = loop {
        let path = if done % 2 == 0 { "/ledge/v1/rules/r/disable" } else { "/ledge/v1/rules/r/enable" };
        let answer = connection.start(Method::POST, path, &[], "".into()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if !head.status.is_success() {
            break (head, String::from_utf8(body.to_vec()).unwrap());
        }
        done += 1;
        assert!(done < 3_000, "nobody minds");
    };
    let (head, body) = refused;
    assert!(done >= 2_000, "refused after {done}");
    assert!(head.status == 503 && head.headers.contains_key("retry-after") && body.contains("go on more slowly"), "{head:?} {body}");
    let local = Client::local(gw.data.path());
    assert_eq!(local.send(Method::POST, "/ledge/v1/rules/r/enable", &[], "".into()).await.unwrap().status, 200);
}

const OTHER: &str = "a1Other";

/// What an operation says to somebody who may only see one product.
#[derive(Clone, Copy)]
enum Answer {
    /// It names a thing or a product: 200 for one's own, and 403 for another's, whether it is there or not.
    Named,
    /// The same, and the answer goes on.
    Stream,
    /// It gives a list: what is another's is left out, also where it is asked for.
    List,
    /// It names many things: each has a result of its own.
    Results,
}

/// How an operation is asked about a thing: the path below its own, and the body.
type Ask = fn(product: &str, device: &str) -> (String, Json);

fn v1(product: &str, device: &str, more: Json) -> (String, Json) {
    let mut params = more;
    params["productKey"] = product.into();
    params["deviceName"] = device.into();
    (String::new(), json!({"params": params}))
}

fn bulk(action: &str, product: &str, device: &str) -> (String, Json) {
    let services = json!([{"Name": "echo", "Args": {"text": "hi"}}]);
    let mut thing = json!({"ProductKey": product, "DeviceName": device});
    match action {
        "SetProperties" => thing["Properties"] = json!({"Number": 1}),
        "CallServices" => thing["Services"] = services,
        _ => {}
    }
    (String::new(), json!({"BulkAction": action, "Things": [thing]}))
}

/// Every operation that is about things or products, the permission that it needs, and how it is asked.
const OF_PRODUCTS: [(&str, &str, &str, Answer, Ask); 21] = [
    ("POST", "/thing/device/count", "things.read", Answer::List, |product, device| v1(product, device, json!({}))),
    ("POST", "/thing/device/list-authed", "things.read", Answer::List, |product, device| v1(product, device, json!({"PageSize": 0}))),
    ("POST", "/thing/device/property/query", "things.read", Answer::Named, |product, device| {
        v1(product, device, json!({"propertyIdentifier": ["Number"]}))
    }),
    ("POST", "/thing/device/properties/set", "things.write", Answer::Named, |product, device| {
        v1(product, device, json!({"properties": {"Number": 1}}))
    }),
    ("POST", "/thing/device/service/invoke", "things.call", Answer::Named, |product, device| {
        v1(product, device, json!({"method": "echo", "inputParams": {"text": "hi"}}))
    }),
    ("POST", "/thing/device/events/get", "events.read", Answer::Stream, |product, device| {
        (String::new(), json!({"params": {"eventInfo": [{"productKey": product, "deviceName": device}]}}))
    }),
    ("GET", "/2020-04-30/things", "things.read", Answer::List, |product, _| (format!("?productkey={product}"), Json::Null)),
    ("POST", "/2020-04-30/things/search", "things.read", Answer::List, |_, _| (String::new(), json!({"Tags": {}}))),
    ("GET", "/2020-04-30/things/{product}/{device}/properties", "things.read", Answer::Named, |_, _| (String::new(), Json::Null)),
    ("POST", "/2020-04-30/things/{product}/{device}/properties", "things.write", Answer::Named, |_, _| {
        (String::new(), json!({"Properties": {"Number": 1}}))
    }),
    ("POST", "/2020-04-30/things/{product}/{device}/services", "things.call", Answer::Named, |_, _| {
        (String::new(), json!({"Services": [{"Name": "echo", "Args": {"text": "hi"}}]}))
    }),
    ("GET", "/2020-04-30/tsls/{product}", "things.read", Answer::Named, |_, _| (String::new(), Json::Null)),
    ("POST", "/2020-04-30/things/bulk", "things.read", Answer::Results, |product, device| bulk("GetProperties", product, device)),
    ("POST", "/2020-04-30/things/bulk", "things.write", Answer::Results, |product, device| bulk("SetProperties", product, device)),
    ("POST", "/2020-04-30/things/bulk", "things.call", Answer::Results, |product, device| bulk("CallServices", product, device)),
    ("POST", "/2020-04-30/things/bulk", "events.read", Answer::Stream, |product, device| bulk("Watch", product, device)),
    ("GET", "/ledge/v1/things", "things.read", Answer::List, |_, _| (String::new(), Json::Null)),
    ("GET", "/ledge/v1/things/{product}/{name}/history", "things.read", Answer::Named, |_, _| (String::new(), Json::Null)),
    ("GET", "/ledge/v1/products", "things.read", Answer::List, |_, _| (String::new(), Json::Null)),
    ("GET", "/ledge/v1/products/{key}", "things.read", Answer::Named, |_, _| (String::new(), Json::Null)),
    ("PUT", "/ledge/v1/products/{key}", "deploy", Answer::Named, |_, _| (String::new(), json!({"name": "another"}))),
];

/// Asks one of them about a thing; of a stream only the status is read.
async fn ask(client: &Client, row: usize, product: &str, device: &str) -> (u16, Json) {
    let (method, path, _, answer, of) = OF_PRODUCTS[row];
    let (more, body) = of(product, device);
    let path = path.replace("{product}", product).replace("{key}", product).replace("{device}", device).replace("{name}", device) + &more;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    if let Answer::Stream = answer {
        let mut connection = client.connect().await.unwrap();
        let begun = connection.start(method.parse().unwrap(), &path, &[], body.into()).await.unwrap();
        return (begun.status().as_u16(), Json::Null);
    }
    let answer = client.send(method.parse().unwrap(), &path, &[], body.into()).await.unwrap();
    (answer.status.as_u16(), body_of(&answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_about_things_answers_each_role_for_its_own_product_and_for_another() {
    let other = include_str!("harness/echo.json").replace(ECHO, OTHER);
    let gw = gateway().echo_thing("echo-1").product(OTHER, &other).thing(OTHER, "other-1", "echo_thing").start().await;
    let mut clients = BTreeMap::new();
    for role in ["admin", "operator", "viewer"] {
        clients.insert((role, false), add(&gw, &format!("{role}-of-all"), json!({"role": role})).await);
        clients.insert((role, true), add(&gw, &format!("{role}-of-one"), json!({"role": role, "products": [ECHO]})).await);
    }
    for ((role, is_narrow), client) in &clients {
        for (row, (method, path, needs, answer, _)) in OF_PRODUCTS.into_iter().enumerate() {
            let may = match *role {
                "operator" => OPERATORS.contains(&needs),
                "viewer" => VIEWERS.contains(&needs),
                _ => true,
            };
            // Whoever has products has nothing that knows no products, and nothing to deploy.
            let may = may && !(*is_narrow && needs == "deploy");
            for (product, device, is_there) in [(ECHO, "echo-1", true), (OTHER, "other-1", true), (OTHER, "nobody", false)] {
                let covered = !is_narrow || product == ECHO;
                let (status, body) = ask(client, row, product, device).await;
                let text = body.to_string();
                let case = format!("{method} {path} about {product}/{device}, {role} (of one product: {is_narrow}): {status} {text}");
                match answer {
                    _ if !may => assert_eq!(status, 403, "{case}"),
                    Answer::Named | Answer::Stream if !covered => assert_eq!(status, 403, "{case}"),
                    // What is not there is for those to know who may see it.
                    Answer::Named | Answer::Stream => assert!(status == 200 || !is_there, "{case}"),
                    Answer::List => {
                        assert_eq!(status, 200, "{case}");
                        assert!(!is_narrow || !(text.contains(OTHER) || text.contains("other-1")), "{case}");
                        assert!(text.contains("deviceCount") || product != ECHO || text.contains(ECHO), "{case}");
                        assert!(path != "/thing/device/count" || body["data"]["deviceCount"] == u8::from(covered), "{case}");
                    }
                    Answer::Results => {
                        assert_eq!(status, 200, "{case}");
                        let result = &body["Data"]["Results"][0];
                        let code = result["Returns"]["Code"].as_u64().or_else(|| result["Services"][0]["Returns"]["Code"].as_u64());
                        assert_eq!(
                            code,
                            Some(if !covered {
                                403
                            } else if is_there {
                                200
                            } else {
                                404
                            }),
                            "{case}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_products_has_nothing_that_knows_no_products() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let admin = add(&gw, "admin-of-one", json!({"role": "admin", "products": [ECHO]})).await;
    let mut about_things = Vec::new();
    for (method, path, needs) in operations(&document(&gw).await) {
        let Some(needs) = needs else { continue };
        let is_about_things = needs.as_deref().is_some_and(|needs| needs.starts_with("things.") || needs == "events.read");
        let asked = admin.send(method.clone(), &path, &[], "{}".into()).await.unwrap();
        match needs {
            Some(needs) if !is_about_things => assert_eq!(asked.status, 403, "{method} {path} needs {needs}"),
            _ => about_things.push(format!("{method} {path}")),
        }
    }
    // Each of the others is in the table above, or is about the caller.
    for one in about_things {
        let is_in_table = OF_PRODUCTS.iter().any(|(method, path, ..)| {
            let path = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/");
            one == format!("{method} {path}")
        });
        let of_callers =
            ["GET /ledge/v1/gateway", "GET /ledge/v1/certificate", "POST /ledge/v1/users/x/password", "DELETE /2020-04-30/auth/cookies/x"];
        assert!(is_in_table || of_callers.contains(&one.as_str()), "{one} is in no table of who may do what with which product");
    }
}

/// What everybody may listen to who names nothing is what they may see.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_everything_is_of_ones_own_products() {
    let other = include_str!("harness/echo.json").replace(ECHO, OTHER);
    let gw = gateway().echo_thing("echo-1").product(OTHER, &other).thing(OTHER, "other-1", "echo_thing").start().await;
    let viewer = add(&gw, "viewer", json!({"role": "viewer", "products": [ECHO]})).await;
    for (path, body) in [
        ("/thing/device/events/get", json!({"params": {"eventInfo": []}})),
        ("/2020-04-30/things/bulk", json!({"BulkAction": "Watch", "Things": []})),
    ] {
        let mut connection = viewer.connect().await.unwrap();
        let mut stream = connection.start(Method::POST, path, &[], body.to_string().into()).await.unwrap().into_body();
        let mut next = async || String::from_utf8(stream.frame().await.unwrap().unwrap().into_data().unwrap().to_vec()).unwrap();
        assert!(next().await.contains("heartbeat"), "{path}");
        for (product, device) in [(OTHER, "other-1"), (ECHO, "echo-1")] {
            let event = json!({"event": "alarm", "level": 3});
            let call = json!({"productKey": product, "deviceName": device, "method": "event", "inputParams": event});
            assert_eq!(gw.v1("/thing/device/service/invoke", call).await.0, 200);
        }
        let said = loop {
            let said = next().await;
            if !said.contains("heartbeat") {
                break said;
            }
        };
        assert!(said.contains("echo-1"), "{path}: {said}");
    }
}

/// A stream may be open for days: what its reader may do is as of now.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_rights_and_the_password_that_opened_it() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let admin = gw.admin();
    for (user, method, path, body) in [
        ("a", Method::PUT, "/ledge/v1/users/a", json!({"role": "viewer", "products": ["a1None"]}).to_string()),
        ("b", Method::POST, "/ledge/v1/users/b/password", json!({"new": "a whole new horse"}).to_string()),
        ("c", Method::DELETE, "/ledge/v1/users/c", String::new()),
    ] {
        let reader = add(&gw, user, json!({"role": "viewer"})).await;
        let mut streams = Vec::new();
        for (path, body) in [
            ("/thing/device/events/get", json!({"params": {"eventInfo": []}})),
            ("/2020-04-30/things/bulk", json!({"BulkAction": "Watch", "Things": []})),
        ] {
            let mut connection = reader.connect().await.unwrap();
            let mut stream = connection.start(Method::POST, path, &[], body.to_string().into()).await.unwrap().into_body();
            stream.frame().await.unwrap().unwrap();
            streams.push((connection, stream));
        }
        assert!(admin.send(method, path, &[], body.into()).await.unwrap().status.is_success());
        let event = json!({"productKey": ECHO, "deviceName": "echo-1", "method": "event", "inputParams": {"event": "alarm", "level": 3}});
        assert_eq!(gw.v1("/thing/device/service/invoke", event).await.0, 200);
        for (_connection, mut stream) in streams {
            let rest = async {
                let mut said = Vec::new();
                while let Some(frame) = stream.frame().await {
                    said.extend_from_slice(&frame.unwrap().into_data().unwrap());
                }
                said
            };
            let said = tokio::time::timeout(PATIENCE, rest).await.unwrap_or_else(|_| panic!("{user} still reads after {path}"));
            assert!(!String::from_utf8_lossy(&said).contains("alarm"), "{user} has read on after {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_access_key_that_opened_it_and_not_with_another() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let (path, body) = ("/thing/device/events/get", json!({"params": {"eventInfo": []}}).to_string());
    let mut streams = Vec::new();
    for signer in [Signer::of(&gw, "admin").await, Signer::of(&gw, "admin").await] {
        let headers = signer.headers(&Method::POST, path, body.as_bytes(), date(0), &[]);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), value.as_str())).collect();
        let mut connection = gw.stranger().connect().await.unwrap();
        let mut stream = connection.start(Method::POST, path, &headers, body.clone().into()).await.unwrap().into_body();
        stream.frame().await.unwrap().unwrap();
        streams.push((signer.id, connection, stream));
    }
    let (id, ..) = &streams[0];
    let key = format!("/ledge/v1/users/admin/access-keys/{id}");
    assert_eq!(gw.admin().send(Method::DELETE, &key, &[], "".into()).await.unwrap().status, 200);
    let event = json!({"productKey": ECHO, "deviceName": "echo-1", "method": "event", "inputParams": {"event": "alarm", "level": 3}});
    assert_eq!(gw.v1("/thing/device/service/invoke", event).await.0, 200);
    for ((_, _connection, mut stream), reads_on) in streams.into_iter().zip([false, true]) {
        let alarm = async {
            while let Some(frame) = stream.frame().await {
                if String::from_utf8_lossy(&frame.unwrap().into_data().unwrap()).contains("alarm") {
                    return true;
                }
            }
            false
        };
        assert_eq!(tokio::time::timeout(PATIENCE, alarm).await.expect("neither an event nor an end came"), reads_on);
    }
}
