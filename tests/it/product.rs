//! Products: their models come in over the API and the command line, and a wrong one is refused with its place.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::harness::client::json as body;
use crate::harness::command::ledge;
use crate::harness::{ECHO, TestGateway, gateway};

async fn put(gw: &TestGateway, key: &str, product: Json) -> (u16, Json) {
    let path = format!("/ledge/v1/products/{key}");
    let answer = gw.admin().send(hyper::Method::PUT, &path, &[], product.to_string().into()).await.unwrap();
    (answer.status.as_u16(), body(&answer))
}

fn property(name: &str) -> Json {
    json!({"identifier": name, "name": name, "accessMode": "rw", "dataType": {"type": "int", "specs": {"min": "0", "max": "9"}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_imported_shown_changed_and_taken_away_on_the_command_line() {
    let gw = gateway().start().await;
    let data = gw.data.path();
    fs::write(data.join("tsl.json"), json!({"properties": [property("a")]}).to_string()).unwrap();
    fs::write(data.join("ext.json"), json!({"properties": [{"identifier": "a", "customize": {"address": "0x1"}}]}).to_string()).unwrap();
    let run = async |args: &[&str]| ledge(data, &[args, &["--data", "."]].concat()).await;
    let imported = run(&["product", "import", "a1New", "tsl.json", "--ext", "ext.json", "--name", "New one"]).await;
    assert_eq!((imported.code, imported.stdout.as_str()), (0, "product `a1New` is on the gateway\n"), "{}", imported.stderr);
    let shown: Json = serde_json::from_str(&run(&["product", "show", "a1New"]).await.stdout).unwrap();
    assert_eq!((&shown["name"], &shown["tsl"]["properties"][0]), (&json!("New one"), &property("a")));
    assert_eq!(shown["tsl_ext"]["properties"][0]["customize"], json!({"address": "0x1"}));
    fs::write(data.join("tsl.json"), json!({"properties": [property("a"), property("b")]}).to_string()).unwrap();
    assert_eq!(run(&["product", "import", "a1New", "tsl.json"]).await.code, 0);
    let shown: Json = serde_json::from_str(&run(&["product", "show", "a1New"]).await.stdout).unwrap();
    assert_eq!((&shown["name"], shown["tsl"]["properties"].as_array().unwrap().len()), (&json!("New one"), 2));
    assert_eq!(run(&["product", "delete", "a1New"]).await.code, 0);
    let gone = run(&["product", "show", "a1New"]).await;
    assert!(gone.stderr.contains("product `a1New` is not on this gateway"), "{}", gone.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_model_is_refused_with_its_path_and_what_is_there_stays() {
    let gw = gateway().echo_thing("echo-1").start().await;
    let wrong = json!({"properties": [property("a"), {"identifier": "b", "accessMode": "rx", "dataType": {"type": "int"}}]});
    let (status, answer) = put(&gw, "a1Wrong", json!({"tsl": wrong})).await;
    assert_eq!(status, 400);
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("properties[1].accessMode: `rx` is not known: expected `r` or `w` or `rw`"), "{message}");
    let ext = json!({"properties": [{"identifier": "none", "customize": {}}]});
    let (status, answer) = put(&gw, ECHO, json!({"tsl_ext": ext})).await;
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().contains("properties[0].identifier: the TSL has no property `none`"), "{answer}");
    assert_eq!(put(&gw, "a1None", json!({"name": "no model"})).await.0, 400);
    let in_use = gw.admin().send(hyper::Method::DELETE, "/ledge/v1/products/a1Echo", &[], "".into()).await.unwrap();
    assert_eq!(in_use.status.as_u16(), 400);
    gw.gateway.things.get_properties(&ledge::name::ThingId::new(ECHO, "echo-1"), vec![]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_properties_load_in_under_a_second_and_two_hundred_levels_are_refused() {
    let gw = gateway().start().await;
    let many: Vec<Json> = (0..10_000).map(|number| property(&format!("property_{number}"))).collect();
    let began = Instant::now();
    assert_eq!(put(&gw, "a1Many", json!({"tsl": {"properties": many}})).await.0, 200);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let mut nested = json!({"type": "int"});
    for _ in 0..200 {
        nested = json!({"type": "array", "specs": {"size": "1", "item": nested}});
    }
    // Written by hand: the client's own serializer has a limit of its own.
    let tsl = json!({"properties": [{"identifier": "deep", "accessMode": "r", "dataType": nested}]});
    let mut set = gw.gateway.deploy.current();
    set.products[0].tsl = tsl.to_string();
    let refused = gw.gateway.deploy.apply(set, false, "test").await.unwrap_err().to_string();
    let place = format!("properties[0].dataType{}: nests deeper than 8 types", ".specs.item".repeat(8));
    assert!(refused.contains(&place), "{refused}");
    fs::write(gw.data.path().join("deep.json"), tsl.to_string()).unwrap();
    let imported = ledge(gw.data.path(), &["product", "import", "a1Deep", "deep.json", "--data", "."]).await;
    assert_eq!(imported.code, 1);
    assert!(imported.stderr.contains(&format!("`deep.json` is wrong at {place}")), "{}", imported.stderr);
    let (status, _) = put(&gw, "a1Deep", json!({"tsl": tsl})).await;
    assert_eq!(status, 400);
}
