//! Who may do what: every operation of the API, asked for by every role, and things of products that are somebody else's.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::{Value as Json, json};

use crate::harness::client::{json as body_of, post};
use crate::harness::{ECHO, PASSWORD, TestGateway, gateway};
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

    let password = async |client: &Client, name: &str, body: Json| {
        let path = format!("/ledge/v1/users/{name}/password");
        client.send(Method::POST, &path, &[], body.to_string().into()).await.unwrap().status.as_u16()
    };
    assert_eq!(password(&keeper, "admin", json!({"new": "a whole new horse"})).await, 403);
    assert_eq!(password(&viewer, "eve", json!({"new": "a whole new horse"})).await, 403);
    assert_eq!(password(&viewer, "viewer", json!({"new": "a whole new horse"})).await, 400);
    assert_eq!(password(&viewer, "viewer", json!({"old": "wrong wrong wrong", "new": "a whole new horse"})).await, 400);
    assert_eq!(password(&viewer, "viewer", json!({"old": PASSWORD, "new": "a whole new horse"})).await, 200);
    assert_eq!(viewer.send(Method::GET, "/ledge/v1/things", &[], "".into()).await.unwrap().status, 401);
}
