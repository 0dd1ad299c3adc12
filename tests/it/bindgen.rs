//! `ledge bindgen`: a product in Rust types, for functions and for drivers, and what a deployment makes of a component whose product has
//! become another.

use std::fs;

use ledge::deploy::DeployError;
use ledge::grant::ThingGrants;
use ledge::name::ThingId;
use ledge::set::Set;
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};
use wasmparser::{Parser, Payload};

use crate::harness::command::ledge;
use crate::harness::{ECHO, PROGRAM, Setup, TestGateway, component, gateway, repository};

const LAMP: &str = include_str!("../../host/src/thing/tsl/lamp.json");
const ECHO_TSL: &str = include_str!("harness/echo.json");

/// The modules that are checked in, and how they were written.
const WRITTEN: [(&str, &str); 6] = [
    ("tests/guests/lamp-driver/src/lamp.rs", "host/src/thing/tsl/lamp.json --for driver"),
    ("tests/guests/lamp-caller/src/lamp.rs", "host/src/thing/tsl/lamp.json --for function"),
    ("tests/guests/lamp-caller/src/echo.rs", "tests/it/harness/echo.json --for function --only Number,alarm"),
    ("tests/guests/odd-names/src/odd.rs", "tests/it/harness/odd.json"),
    ("drivers/light/src/product.rs", "sample-functions/tsl/a1Light.json --for driver"),
    ("sample-functions/thing-operations/src/light.rs", "sample-functions/tsl/a1Light.json --for function --only LightSwitch,turn"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_checked_in_is_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.rs");
    for (file, args) in WRITTEN {
        let args: Vec<&str> = ["bindgen", "--lang", "rust"].into_iter().chain(args.split(' ')).collect();
        let printed = ledge(&repository(), &args).await;
        assert_eq!(printed.code, 0, "{printed:?}");
        let checked_in = fs::read_to_string(repository().join(file)).unwrap();
        assert!(printed.stdout == checked_in, "{file} is not what `ledge {}` writes; write it again", args.join(" "));
        let written = ledge(&repository(), &[&args[..], &["--out", out.to_str().unwrap()]].concat()).await;
        assert_eq!((written.code, written.stdout.trim()), (0, format!("wrote {}", out.display()).as_str()));
        assert_eq!(fs::read_to_string(&out).unwrap(), checked_in);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_model_another_language_and_an_unknown_member_are_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("wrong.json"), r#"{"properties": [{"identifier": "a", "accessMode": "x"}]}"#).unwrap();
    fs::write(dir.path().join("lamp.json"), LAMP).unwrap();
    let output = ledge(dir.path(), &["bindgen", "wrong.json", "--lang", "rust"]).await;
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    for wanted in ["wrong.json", "properties[0].accessMode: `x` is not known", "properties[0].dataType.type: is missing"] {
        assert!(output.stderr.contains(wanted), "nothing of {wanted} in {}", output.stderr);
    }
    let output = ledge(dir.path(), &["bindgen", "lamp.json", "--lang", "go"]).await;
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("possible values: rust"), "{}", output.stderr);
    let output = ledge(dir.path(), &["bindgen", "lamp.json", "--lang", "rust", "--only", "Mode,Colour"]).await;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("`Colour`") && output.stderr.contains("LightSwitch"), "{}", output.stderr);
    let output = ledge(dir.path(), &["bindgen", "gone.json", "--lang", "rust"]).await;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("reading gone.json"), "{}", output.stderr);
}

/// A lamp with its driver, and a function that uses it.
fn with_lamp(tsl: &str) -> Setup {
    let all = || vec!["a1Lamp/lamp-1".parse().unwrap(), "a1Echo/echo-1".parse().unwrap()];
    with_echo(gateway())
        .product("a1Lamp", tsl)
        .driver("lamp", "lamp-driver")
        .thing("a1Lamp", "lamp-1", "lamp")
        .function("lamp-caller")
        .grants(|grants| grants.things = ThingGrants { read: all(), write: all(), call: all() })
}

fn with_echo(setup: Setup) -> Setup {
    setup.product(ECHO, ECHO_TSL).driver("echo_thing", "echo-thing").thing(ECHO, "echo-1", "echo_thing")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_and_a_driver_speak_of_a_thing_in_types() {
    let gw = with_lamp(LAMP).start().await;
    let mut reports = gw.listen("/sys/a1Lamp/lamp-1/thing/event/property/post");
    let mut events = gw.listen("/sys/a1Lamp/lamp-1/thing/event/overheated/post");
    let said = gw.result("lamp-caller", "lamp-1").await;
    let lines: Vec<&str> = said.lines().collect();
    let scene = "[Scene { on: true, level: 3 }, Scene { on: false, level: 0 }]";
    for wanted in [
        "light_switch: Some(true)",
        "brightness: Some(55)",
        "illuminance: Some(0.5)",
        "energy: Some(1.25)",
        "mode: Some(Off)",
        "label: Some(\"hall\")",
        "since: Some(Date(\"1565136000000\"))",
        "levels: Some([0.1, 0.25])",
        &format!("scene: Some({scene})"),
    ] {
        assert!(lines[0].contains(wanted), "nothing of {wanted} in {}", lines[0]);
    }
    assert!(lines[1].contains("light_switch: Some(true), brightness: None") && lines[1].contains("mode: Some(Off)"), "{}", lines[1]);
    assert_eq!(lines[2..], [&format!("{scene} 0.5"), "BlinkOutput { done: 3 }", lines[4]]);
    assert!(lines[4].contains("another pin is wanted (100001)"), "{}", lines[4]);

    let routed = |topic: &str, payload: String| json!({ "topic": topic, "payload": payload }).to_string();
    let report = routed("/sys/a1Lamp/lamp-1/thing/event/property/post", reports.text().await);
    assert_eq!(gw.result("lamp-caller", &report).await, "lamp-1 reports Some(Off)");
    let event = events.text().await;
    assert_eq!(serde_json::from_str::<Json>(&event).unwrap()["params"]["value"]["temperature"], 3);
    let event = routed("/sys/a1Lamp/lamp-1/thing/event/overheated/post", event);
    assert_eq!(gw.result("lamp-caller", &event).await, "lamp-1 is 3 degrees hot since 1565136000001");
    let other = routed("/sys/a1Other/x/thing/event/property/post", "{}".to_owned());
    let refused = format!("{:?}", gw.invoke("lamp-caller", &other).await);
    assert!(refused.contains("is of no thing of product `a1Lamp`"), "{refused}");
    assert_eq!(gw.result("lamp-caller", "echo echo-1").await, "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_mean_something_to_rust_name_a_product_all_the_same() {
    let setup = gateway().product("a1Odd", include_str!("harness/odd.json")).driver("odd", "odd-names").thing("a1Odd", "odd-1", "odd");
    let gw = setup.start().await;
    let mut events = gw.listen("/sys/a1Odd/odd-1/thing/event/error/post");
    let thing = || ThingId::new("a1Odd", "odd-1");
    let things = gw.gateway.things.clone();
    let asked = gw.gateway.guests().spawn(async move {
        let given = [("into", Value::Int(3)), ("try_from", Value::Text("there".into())), ("clone", Value::Enum(0))];
        let given: Vec<Property> = given.map(|(identifier, value)| Property::new(identifier, value)).into();
        things.set_properties(&thing(), given.clone()).await.unwrap();
        assert_eq!(things.get_properties(&thing(), vec![]).await.unwrap(), given);
        let number = |identifier: &str, number| vec![Property::new(identifier, Value::Int(number))];
        assert_eq!(things.call_service(&thing(), "into", number("self", 8)).await.unwrap(), number("into", 9));
        things.call_service(&thing(), "try_into", vec![]).await.unwrap();
    });
    asked.await.unwrap();
    assert_eq!(serde_json::from_str::<Json>(&events.text().await).unwrap()["params"]["value"]["from"], 7);
}

#[test]
fn what_a_component_uses_outlives_strip_and_lto_and_takes_no_memory() {
    for (guest, products) in [("lamp-driver", vec!["a1Lamp"]), ("lamp-caller", vec!["a1Echo", "a1Lamp"]), ("misbehave", vec![])] {
        let component = component(guest);
        let mut section = Vec::new();
        for payload in Parser::new(0).parse_all(&component) {
            if let Payload::CustomSection(custom) = payload.unwrap()
                && custom.name() == "ledge:product"
            {
                section.extend(custom.data());
            }
        }
        let uses = serde_json::Deserializer::from_slice(&section).into_iter::<Json>();
        let mut found: Vec<String> = uses.map(|uses| uses.unwrap()["product"].as_str().unwrap().to_owned()).collect();
        found.sort();
        assert_eq!(found, products, "{guest}");
        let times = component.windows(10).filter(|bytes| bytes == b"\"product\":").count();
        assert_eq!(times, products.len(), "it is data of {guest} besides");
    }
}

async fn refused(gw: &TestGateway, setup: Setup) -> Vec<String> {
    match gw.deploy(setup).await {
        Err(DeployError::Refused(problems)) => problems,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// The lamp with another model.
fn lamp(from: &str, to: &str) -> String {
    assert!(LAMP.contains(from), "the lamp has no {from}");
    LAMP.replacen(from, to, 1)
}

const BOOL: &str = r#""type": "bool""#;
const INT: &str = r#""type": "int""#;

#[tokio::test(flavor = "multi_thread")]
async fn a_component_whose_product_is_another_or_is_not_there_is_refused_by_name() {
    let gw = gateway().start().await;
    let without = gateway().function("lamp-caller").product(ECHO, ECHO_TSL);
    assert_eq!(
        refused(&gw, without).await,
        [
            "function `test/lamp-caller`: it uses product `a1Lamp`, which is neither in the project nor on the gateway; run `ledge bindgen` again"
        ]
    );
    let changed = with_lamp(&lamp(BOOL, INT));
    let switch = "it uses property `LightSwitch` of product `a1Lamp` as bool, and the product has it as int; run `ledge bindgen` again";
    assert_eq!(refused(&gw, changed).await, [format!("function `test/lamp-caller`: {switch}"), format!("driver `lamp`: {switch}")]);
    assert_eq!(gw.gateway.deploy.current(), Set::default(), "something of it was deployed");
    // On the gateway is as good as in the project.
    gw.deploy(gateway().product("a1Lamp", LAMP).product(ECHO, ECHO_TSL)).await.unwrap();
    gw.deploy(gateway().function("lamp-caller")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_loses_what_somebody_uses_is_refused_and_one_that_is_limited_otherwise_is_not() {
    let gw = with_lamp(LAMP).compiler(PROGRAM.into()).start().await;
    let product = |tsl: &str| gateway().product("a1Lamp", tsl);
    for (from, to, misfit) in [
        ("\"LightSwitch\"", "\"Switch\"", "property `LightSwitch` of product `a1Lamp`, and the product has no such property"),
        ("\"overheated\", \"name\"", "\"cold\", \"name\"", "event `overheated` of product `a1Lamp`, and the product has no such event"),
        ("\"blink\", \"name\"", "\"wink\", \"name\"", "service `blink` of product `a1Lamp`, and the product has no such service"),
        (
            "\"name\": \"亮度\", \"accessMode\": \"rw\"",
            "\"accessMode\": \"r\"",
            "property `Brightness` of product `a1Lamp` as one that is set",
        ),
        (
            "\"7\": \"off\"",
            "\"6\": \"off\"",
            "property `Mode` of product `a1Lamp` as enum of 0, 1, 7, and the product has it as enum of 0, 1, 6",
        ),
    ] {
        let problems = refused(&gw, product(&lamp(from, to))).await;
        assert_eq!(problems.len(), 2, "{problems:?}");
        for (problem, who) in problems.iter().zip(["function `test/lamp-caller`: it uses ", "driver `lamp`: it uses "]) {
            assert!(problem.starts_with(&format!("{who}{misfit}")), "{problem}");
        }
    }
    assert!(gw.result("lamp-caller", "lamp-1").await.contains("brightness: Some(55)"), "what ran does not run on");

    gw.deploy(product(&lamp(r#""max": "600""#, r#""max": "700""#).replace("亮度", "bright"))).await.unwrap();
    // Of this product the function uses two members, and this is none of them.
    gw.deploy(gateway().product(ECHO, &ECHO_TSL.replace("\"Text\"", "\"Words\""))).await.unwrap();
    let problems = refused(&gw, gateway().product(ECHO, &ECHO_TSL.replace("\"alarm\"", "\"bell\""))).await;
    assert!(problems[0].contains("event `alarm` of product `a1Echo`") && problems.len() == 1, "{problems:?}");

    // It is remembered over a restart, and found out again where the note of it is gone.
    let gw = gw.restart().await;
    assert_eq!(refused(&gw, product(&lamp(BOOL, INT))).await.len(), 2);
    for entry in fs::read_dir(gw.path("cache")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "uses") {
            fs::write(path, "not what this gateway wrote").unwrap();
        }
    }
    assert_eq!(refused(&gw, product(&lamp(BOOL, INT))).await.len(), 2);

    // With components that fit it is taken.
    let fitting = product(&lamp(BOOL, INT)).driver("lamp", "echo-thing").function_of("test/lamp-caller", "count");
    gw.deploy(fitting).await.unwrap();
    gw.online(&ThingId::new("a1Lamp", "lamp-1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_version_holds_its_product_until_it_is_deleted() {
    let gw = with_lamp(LAMP).start().await;
    gw.gateway.deploy.publish("test", "", "test").await.unwrap();
    let other = || gateway().product("a1Lamp", &lamp(BOOL, INT)).driver("lamp", "echo-thing").function_of("test/lamp-caller", "count");
    let problems = refused(&gw, other()).await;
    assert!(problems.len() == 1 && problems[0].contains("LightSwitch") && problems[0].contains("delete that version"), "{problems:?}");
    gw.gateway.deploy.delete_version("test", 1, "test").await.unwrap();
    gw.deploy(other()).await.unwrap();
}

/// A component that says of itself that it uses something.
fn that_uses(guest: &str, text: &str) -> Vec<u8> {
    let mut bytes = component(guest);
    let name = b"ledge:product";
    let length = 1 + name.len() + text.len();
    bytes.extend([0, (length & 0x7f) as u8 | 0x80, (length >> 7 & 0x7f) as u8 | 0x80, (length >> 14) as u8]);
    bytes.push(name.len() as u8);
    bytes.extend(name);
    bytes.extend(text.as_bytes());
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_wrote_into_a_component_is_read_with_care() {
    let gw = with_echo(gateway()).function("misbehave").start().await;
    let with = |text: &str| {
        let mut setup = gateway().function_of("test/odd", "misbehave");
        setup.set.functions[0].component = setup.component(that_uses("misbehave", text));
        setup
    };
    for (text, wanted) in [
        ("not JSON", "its section `ledge:product`, which `ledge bindgen` makes, cannot be read: expected"),
        (r#"{"product":"a1Echo","more":1}"#, "unknown field `more`"),
        (r#"{"product":"a1Echo"}{"#, "EOF while parsing"),
        (&" ".repeat(65_537), "it has 65537 bytes, and 65536 is the most that is taken"),
        (&format!(r#"{{"product":"a1Echo","properties":{}"#, "[".repeat(10_000)), "cannot be read"),
        ("{\"product\":\"\\u001b[31m\"}", "it uses product `\\u{1b}[31m`, which is neither"),
        (
            r#"{"product":"a1Echo","properties":{"Number":{"access":"rw","type":{"enum":[1]}}}}"#,
            "as enum of 1, and the product has it as int",
        ),
    ] {
        let problems = refused(&gw, with(text)).await.join("\n");
        assert!(problems.starts_with("function `test/odd`: ") && problems.contains(wanted), "{problems}");
        assert!(problems.len() < 1_000, "{problems}");
    }
    assert_eq!(gw.result("misbehave", "still here").await, "still here");
    gw.deploy(with(r#"{"product":"a1Echo","properties":{"Number":{"access":"w","type":"int"}}} "#)).await.unwrap();
    assert_eq!(gw.result("odd", "runs").await, "runs");
}
