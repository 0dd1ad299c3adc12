//! The driver `modbus`, against a server that is not ours (tokio-modbus), and against servers that answer nonsense.

mod bad_server;
mod log;
mod plant;

use std::net::SocketAddr;
use std::time::Duration;

use ledge::name::ThingId;
use ledge::thing::Presence;
use ledge::thing::fault::{self, Fault};
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};

use crate::harness::{Listener, Setup, TestGateway, eventually, gateway, repository};
use plant::{Plant, Seen, Unit};

const PRODUCT: &str = "a1Modbus";
/// How often devices are asked here.
const INTERVAL_MS: u64 = 20;
/// For what is to be asked only when somebody wants it.
const NEVER_MS: u64 = 3_600_000;

/// One property: its identifier, access, type in the TSL, and where it is.
type Row<'a> = (&'a str, &'a str, Json, Json);

/// A gateway with the driver and a product of these properties. Its devices are still to be named.
fn setup(rows: &[Row], settings: Json) -> Setup {
    let (tsl, tsl_ext) = model(rows);
    let setup = gateway().product(PRODUCT, &tsl).tsl_ext(&tsl_ext).driver("modbus", "modbus");
    setup.with_driver(|driver| {
        driver.grants.tcp = vec!["127.0.0.1:*".parse().unwrap()];
        let mut config = json!({"timeout_ms": 3000, "interval_ms": INTERVAL_MS, "backoff_min_ms": 10, "backoff_max_ms": 100});
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        driver.config = Some(json!({"json": config}));
    })
}

fn model(rows: &[Row]) -> (String, String) {
    let property = |(identifier, access, data_type, _): &Row| json!({"identifier": identifier, "name": identifier, "accessMode": access, "dataType": data_type});
    let mapped = |(identifier, _, _, customize): &Row| json!({"identifier": identifier, "customize": customize});
    let tsl = json!({"properties": rows.iter().map(property).collect::<Vec<_>>()});
    let tsl_ext = json!({"properties": rows.iter().map(mapped).collect::<Vec<_>>()});
    (tsl.to_string(), tsl_ext.to_string())
}

/// Gives the product services, and says where they are.
fn with_services(mut setup: Setup, services: &Json, mapped: &Json) -> Setup {
    let with = |text: &str, services: &Json| {
        let mut model: Json = serde_json::from_str(text).unwrap();
        model["services"] = services.clone();
        model.to_string()
    };
    let product = &mut setup.set.products[0];
    product.tsl = with(&product.tsl, services);
    product.tsl_ext = product.tsl_ext.as_deref().map(|ext| with(ext, mapped));
    setup
}

trait Devices {
    fn device(self, name: &str, server: SocketAddr, unit: u8) -> Self;
}

impl Devices for Setup {
    fn device(self, name: &str, server: SocketAddr, unit: u8) -> Self {
        self.thing(PRODUCT, name, "modbus").custom(json!({"host": "127.0.0.1", "port": server.port(), "unit_id": unit}))
    }
}

fn id(name: &str) -> ThingId {
    ThingId::new(PRODUCT, name)
}

fn number() -> Json {
    json!({"type": "double", "specs": {}})
}

fn int() -> Json {
    json!({"type": "int", "specs": {}})
}

fn boolean() -> Json {
    json!({"type": "bool", "specs": {"0": "off", "1": "on"}})
}

fn holding(address: u16) -> Json {
    json!({"area": "holding", "address": address})
}

async fn get(gw: &TestGateway, thing: &str, property: &str) -> Result<Value, Fault> {
    let things = gw.gateway.things.clone();
    let (id, properties) = (id(thing), vec![property.to_owned()]);
    let answer = gw.gateway.guests().spawn(async move { things.get_properties(&id, properties).await }).await.unwrap()?;
    Ok(answer.into_iter().next().expect("it has no value").value)
}

async fn set(gw: &TestGateway, thing: &str, values: &[(&str, Value)]) -> Result<(), Fault> {
    let things = gw.gateway.things.clone();
    let properties = values.iter().map(|(name, value)| Property::new(*name, value.clone())).collect();
    let id = id(thing);
    gw.gateway.guests().spawn(async move { things.set_properties(&id, properties).await }).await.unwrap()
}

async fn call(gw: &TestGateway, thing: &str, service: &str, arguments: &[(&str, Value)]) -> Result<Vec<Property>, Fault> {
    let things = gw.gateway.things.clone();
    let arguments = arguments.iter().map(|(name, value)| Property::new(*name, value.clone())).collect();
    let (id, service) = (id(thing), service.to_owned());
    gw.gateway.guests().spawn(async move { things.call_service(&id, &service, arguments).await }).await.unwrap()
}

/// Waits until the gateway has this value of a property.
async fn reported(gw: &TestGateway, thing: &str, property: &str, wanted: Value) {
    let is_there = || async { gw.gateway.things.get(&id(thing)).unwrap().value(property).is_some_and(|value| value.value == wanted) };
    eventually(&format!("`{property}` to be {wanted:?}"), is_there).await;
}

fn reports(gw: &TestGateway, thing: &str) -> Listener {
    gw.listen(&format!("/sys/{PRODUCT}/{thing}/thing/event/property/post"))
}

async fn report(reports: &mut Listener) -> Json {
    serde_json::from_str(&reports.text().await).unwrap()
}

fn codes(seen: &[Seen]) -> Vec<u8> {
    seen.iter().map(|request| request.code).collect()
}

/// A unit whose holding registers begin with these.
fn unit(holding: &[u16]) -> Unit {
    let mut unit = Unit::new(2_000);
    unit.holding[..holding.len()].copy_from_slice(holding);
    unit
}

#[tokio::test(flavor = "multi_thread")]
async fn every_area_type_and_order_is_read_as_the_mapping_says() {
    let at = |address: u16, kind: &str| json!({"area": "input", "address": address, "type": kind});
    let with = |mut customize: Json, more: Json| {
        customize.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        customize
    };
    let modes = json!({"type": "enum", "specs": {"0": "off", "5": "automatic"}});
    let rows = [
        ("coil", "r", boolean(), json!({"area": "coil", "address": 3})),
        ("discrete", "r", boolean(), json!({"area": "discrete", "address": 4})),
        ("holding", "r", int(), json!({"area": "holding", "address": "0x0A"})),
        ("int16", "r", int(), at(0, "int16")),
        ("uint16", "r", int(), at(0, "uint16")),
        ("int32", "r", int(), at(0, "int32")),
        ("uint32", "r", number(), at(0, "uint32")),
        ("int64", "r", number(), at(0, "int64")),
        ("uint64", "r", number(), at(2, "uint64")),
        ("float64", "r", number(), at(10, "float64")),
        ("float32", "r", json!({"type": "float", "specs": {}}), at(20, "float32")),
        ("BADC", "r", number(), with(at(22, "float32"), json!({"swap_bytes": true}))),
        ("CDAB", "r", number(), with(at(24, "float32"), json!({"swap_registers": true}))),
        ("DCBA", "r", number(), with(at(26, "float32"), json!({"swap_bytes": true, "swap_registers": true}))),
        ("scaled", "r", number(), with(at(30, "int16"), json!({"scale": "0.1", "offset": -40}))),
        ("bits", "r", modes, json!({"area": "input", "address": 31, "bits": {"offset": 4, "count": 3}})),
        ("bit", "r", boolean(), json!({"area": "input", "address": 31, "bits": {"offset": "15"}})),
        ("bool", "r", boolean(), at(31, "bool")),
        ("text", "r", json!({"type": "text", "specs": {"length": "16"}}), with(at(32, "string"), json!({"length": 4}))),
    ];
    let mut unit = unit(&[]);
    (unit.coils[3], unit.discrete[4], unit.holding[10]) = (true, true, 1234);
    unit.input[..6].copy_from_slice(&[0xffff, 0xfffe, 0xffff, 0xfffe, 0, 1]);
    unit.input[10..14].copy_from_slice(&[0x4029, 0, 0, 0]);
    unit.input[20..28].copy_from_slice(&[0x4148, 0, 0x4841, 0, 0, 0x4148, 0, 0x4841]);
    (unit.input[30], unit.input[31]) = (655, 0x80d0);
    unit.input[32..36].copy_from_slice(&[0x7075, 0x6d70, 0x2d37, 0]);
    let plant = Plant::start([(7, unit)]).await;
    let gw = setup(&rows, json!({})).device("d", plant.address, 7).start().await;
    let wanted = [
        ("coil", Value::Bool(true)),
        ("discrete", Value::Bool(true)),
        ("holding", Value::Int(1234)),
        ("int16", Value::Int(-1)),
        ("uint16", Value::Int(65_535)),
        ("int32", Value::Int(-2)),
        ("uint32", Value::Double(4_294_967_294.0)),
        ("int64", Value::Double(-4_294_967_298.0)),
        ("uint64", Value::Double(18_446_744_065_119_617_025.0)),
        ("float64", Value::Double(12.5)),
        ("float32", Value::Float(12.5)),
        ("BADC", Value::Double(12.5)),
        ("CDAB", Value::Double(12.5)),
        ("DCBA", Value::Double(12.5)),
        ("scaled", Value::Double(25.5)),
        ("bits", Value::Enum(5)),
        ("bit", Value::Bool(true)),
        ("bool", Value::Bool(true)),
        ("text", Value::Text("pump-7".into())),
    ];
    for (property, value) in wanted {
        reported(&gw, "d", property, value.clone()).await;
        assert_eq!(get(&gw, "d", property).await.unwrap(), value, "{property}");
    }
    let asked = codes(&plant.take_seen());
    assert!((1..=4).all(|code| asked.contains(&code)), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_function_writes_what_it_is_for() {
    let field = json!({"area": "holding", "address": 5, "bits": {"offset": 4, "count": 3}});
    let field_by_6 = json!({"area": "holding", "address": 6, "bits": {"offset": 8, "count": 2}, "write_function": 6});
    let rows = [
        ("coil", "rw", boolean(), json!({"area": "coil", "address": 1})),
        ("coil2", "rw", boolean(), json!({"area": "coil", "address": 2})),
        ("coil15", "rw", boolean(), json!({"area": "coil", "address": 9, "write_function": 15})),
        ("word", "rw", number(), json!({"area": "holding", "address": 0, "type": "int16", "scale": 0.1})),
        ("float", "rw", number(), json!({"area": "holding", "address": 2, "type": "float32", "swap_registers": true})),
        ("field", "rw", int(), field),
        ("field6", "rw", int(), field_by_6),
        ("back", "rw", int(), json!({"area": "holding", "address": 7, "type": "uint32", "write_function": 23})),
        ("secret", "w", int(), json!({"area": "holding", "address": 9, "write_function": 16})),
        ("text", "rw", json!({"type": "text", "specs": {}}), json!({"area": "holding", "address": 10, "type": "string", "length": 3})),
    ];
    let rows = rows.map(|(name, access, data_type, mut customize)| {
        customize["interval_ms"] = json!(NEVER_MS);
        (name, access, data_type, customize)
    });
    let plant = Plant::start([(1, unit(&[0, 0, 0, 0, 0, 0xffff, 0xffff]))]).await;
    let gw = setup(&rows, json!({})).device("d", plant.address, 1).start().await;
    let written = async |values: &[(&str, Value)]| {
        plant.take_seen();
        set(&gw, "d", values).await.unwrap();
        // What was written is read again, beside it.
        let seen = plant.take_seen().into_iter().filter(|request| request.code > 4).collect::<Vec<_>>();
        codes(&seen)
    };
    assert_eq!(written(&[("coil", Value::Bool(true))]).await, [5]);
    assert_eq!(written(&[("coil", Value::Bool(false)), ("coil2", Value::Bool(true))]).await, [15]);
    assert_eq!(written(&[("coil15", Value::Bool(true))]).await, [15]);
    assert_eq!(written(&[("word", Value::Double(-12.34))]).await, [6]);
    assert_eq!(written(&[("float", Value::Double(12.5))]).await, [16]);
    assert_eq!(written(&[("field", Value::Int(2))]).await, [22]);
    assert_eq!(written(&[("field6", Value::Int(1))]).await, [6]);
    assert_eq!(written(&[("back", Value::Int(65_538))]).await, [23]);
    assert_eq!(written(&[("secret", Value::Int(42))]).await, [16]);
    assert_eq!(written(&[("text", Value::Text("ab".into()))]).await, [16]);
    let unit = plant.unit(1);
    assert_eq!((unit.coils[1], unit.coils[2], unit.coils[9]), (false, true, true));
    assert_eq!(unit.holding[..13], [(-123_i16) as u16, 0, 0, 0x4148, 0, 0xffaf, 0xfdff, 1, 2, 42, 0x6162, 0, 0]);
    // And it is reported, although nobody polls.
    reported(&gw, "d", "float", Value::Double(12.5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_or_is_refused_is_a_fault_and_nothing_is_written() {
    let rows = [
        ("word", "rw", number(), holding(0)),
        ("field", "rw", int(), json!({"area": "holding", "address": 1, "bits": {"offset": 0, "count": 2}})),
        ("nowhere", "rw", int(), json!({"area": "coil", "address": 60_000, "interval_ms": NEVER_MS, "type": "bool"})),
        (
            "text",
            "rw",
            json!({"type": "text", "specs": {"length": "8"}}),
            json!({"area": "holding", "address": 4, "type": "string", "length": 4}),
        ),
    ];
    let plant = Plant::start([(1, unit(&[7]))]).await;
    let gw = setup(&rows, json!({})).device("d", plant.address, 1).start().await;
    let refused = async |values: &[(&str, Value)]| set(&gw, "d", values).await.unwrap_err();
    let too_large = refused(&[("word", Value::Double(1.0)), ("field", Value::Int(4))]).await;
    assert_eq!(too_large.code, fault::PARAM_RANGE_OVERFLOW, "{too_large}");
    assert!(too_large.message.contains("`field`"), "{too_large}");
    assert_eq!(refused(&[("word", Value::Double(-1.0))]).await.code, fault::PARAM_RANGE_OVERFLOW);
    assert_eq!(plant.unit(1).holding[0], 7);
    let exception = refused(&[("nowhere", Value::Int(1))]).await;
    assert_eq!(exception.code, 109_012, "{exception}");
    assert!(exception.message.contains("illegal data address") && exception.message.contains("`nowhere`"), "{exception}");
    assert_eq!(refused(&[("text", Value::Text("a\0b".into()))]).await.code, fault::PARAM_RANGE_OVERFLOW);
    // One that the device does not have costs nobody else anything, but whoever asks for it besides others.
    assert_eq!(get(&gw, "d", "word").await.unwrap(), Value::Double(7.0));
    assert_eq!(get(&gw, "d", "nowhere").await.unwrap_err().code, 109_012);
    let both = gw.gateway.things.get_properties(&id("d"), vec!["word".into(), "nowhere".into()]).await.unwrap_err();
    assert!(both.code == 109_012 && both.message.contains("`nowhere` is not read"), "{both}");
    let all = gw.gateway.things.get_properties(&id("d"), vec![]).await.unwrap();
    assert!(all.len() == 3 && all.contains(&Property::new("word", Value::Double(7.0))), "{all:?}");
    // Of what is set in part, each is named.
    let part = refused(&[("word", Value::Double(8.0)), ("nowhere", Value::Int(1)), ("text", Value::Text("x".into()))]).await;
    assert!(
        part.message.contains("`nowhere` is not set") && part.message.contains("set before it: `word`; not set after it: `text`"),
        "{part}"
    );
    assert_eq!((plant.unit(1).holding[0], plant.unit(1).holding[4]), (8, 0));
    plant.change(1, |unit| unit.unknown = vec![22]);
    let unknown = refused(&[("field", Value::Int(1))]).await;
    assert!(unknown.message.contains("illegal function"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integer_of_64_bits_has_all_of_its_digits_as_a_text_and_is_never_written_as_another() {
    let at = |address: u16, kind: &str| json!({"area": "holding", "address": address, "type": kind});
    let text = || json!({"type": "text", "specs": {"length": "20"}});
    let rows =
        [("number", "rw", number(), at(0, "int64")), ("signed", "rw", text(), at(4, "int64")), ("digits", "rw", text(), at(8, "uint64"))];
    let plant = Plant::start([(1, unit(&[0, 0, 0, 5]))]).await;
    let gw = setup(&rows, json!({"interval_ms": NEVER_MS})).device("d", plant.address, 1).start().await;
    let refused = set(&gw, "d", &[("number", Value::Text("9007199254740993".into()))]).await.unwrap_err();
    assert!(refused.code == fault::PARAM_RANGE_OVERFLOW && refused.message.contains("9007199254740991"), "{refused}");
    for (name, value) in [("signed", "-9007199254740993"), ("digits", "18446744073709551615")] {
        set(&gw, "d", &[(name, Value::Text(value.into()))]).await.unwrap();
        assert_eq!(get(&gw, "d", name).await.unwrap(), Value::Text(value.into()));
        assert_eq!(
            set(&gw, "d", &[(name, Value::Text("18446744073709551616".into()))]).await.unwrap_err().code,
            fault::PARAM_RANGE_OVERFLOW
        );
    }
    assert_eq!(plant.unit(1).holding[..12], [0, 0, 0, 5, 0xffdf, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_neighbouring_registers_are_read_in_ten_requests_and_reported_at_once() {
    let names: Vec<String> = (0..1_000).map(|at| format!("r{at}")).collect();
    let rows: Vec<Row> = names.iter().enumerate().map(|(at, name)| (name.as_str(), "r", int(), holding(at as u16))).collect();
    let words: Vec<u16> = (0..1_000).collect();
    let plant = Plant::start([(1, unit(&words))]).await;
    let gw = gateway().start().await;
    let mut reports = reports(&gw, "d");
    gw.deploy(setup(&rows, json!({"interval_ms": NEVER_MS})).device("d", plant.address, 1)).await.unwrap();
    let report = report(&mut reports).await;
    assert_eq!(report.as_object().unwrap().len(), 1_000);
    assert_eq!((&report["r0"]["value"], &report["r999"]["value"]), (&json!(0), &json!(999)));
    let seen = plant.take_seen();
    assert!(seen.len() <= 10, "{} requests: {seen:?}", seen.len());
    assert_eq!(seen.iter().map(|request| usize::from(request.count)).sum::<usize>(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_does_not_wait_for_the_polls() {
    let names: Vec<String> = (0..1_000).map(|at| format!("r{at}")).collect();
    let mut rows: Vec<Row> = names.iter().enumerate().map(|(at, name)| (name.as_str(), "r", int(), holding(at as u16))).collect();
    rows.push(("coil", "rw", boolean(), json!({"area": "coil", "address": 0})));
    let slow = Unit { delay: Duration::from_millis(200), ..unit(&[]) };
    let plant = Plant::start([(1, slow)]).await;
    let gw = setup(&rows, json!({"interval_ms": NEVER_MS})).device("d", plant.address, 1).start().await;
    set(&gw, "d", &[("coil", Value::Bool(true))]).await.unwrap();
    assert_eq!(get(&gw, "d", "coil").await.unwrap(), Value::Bool(true));
    let polls = codes(&plant.take_seen()).into_iter().filter(|code| *code == 3).count();
    assert!(polls < 8, "a round of polls was done first");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_project_reads_and_writes_its_pump() {
    let project = ledge::config::manifest::load(&repository().join("drivers/modbus")).unwrap();
    let mut setup = gateway().driver("modbus", "modbus");
    let mut unit = unit(&[]);
    (unit.coils[0], unit.discrete[0]) = (true, true);
    unit.input[..5].copy_from_slice(&[123, 0, 0x4148, 1, 2]);
    unit.input[0x20..0x22].copy_from_slice(&[0x4142, 0x3700]);
    (unit.holding[0x10], unit.holding[0x11]) = (500, 0x0020);
    let plant = Plant::start([(1, unit.clone()), (2, unit)]).await;
    // The same, but for the component, which is built already, and the port.
    setup.set.products = project.set.products;
    setup.set.things = project.set.things;
    setup.set.things.iter_mut().for_each(|thing| thing.custom.as_mut().unwrap()["port"] = json!(plant.address.port()));
    let config = project.set.drivers[0].config.clone();
    let setup = setup.with_driver(|driver| {
        driver.config = config;
        driver.grants.tcp = vec![plant.address.to_string().parse().unwrap()];
    });
    let gw = setup.start().await;
    let pump = ThingId::new("a1Pump", "pump-1");
    eventually("every value", || async { gw.gateway.things.get(&pump).unwrap().values().len() == 8 }).await;
    let values = gw.gateway.things.get(&pump).unwrap().values();
    for (property, value) in [
        ("Running", Value::Bool(true)),
        ("Leak", Value::Bool(true)),
        ("Pressure", Value::Double(1.23)),
        ("Flow", Value::Float(12.5)),
        ("Volume", Value::Double(65_538.0)),
        ("Speed", Value::Double(50.0)),
        ("Mode", Value::Enum(2)),
        ("SerialNumber", Value::Text("AB7".into())),
    ] {
        assert_eq!(values[property].value, value, "{property}");
    }
    gw.gateway.things.set_properties(&pump, vec![Property::new("Mode", Value::Enum(1))]).await.unwrap();
    assert_eq!(plant.unit(1).holding[0x11], 0x0010);
    let doses = gw.gateway.things.call_service(&pump, "Dose", vec![Property::new("Litres", Value::Float(12.5))]).await;
    assert_eq!(doses.unwrap(), [Property::new("Doses", Value::Int(0))]);
    let unit = plant.unit(1);
    assert_eq!((&unit.holding[0x30..0x32], unit.coils[1]), (&[0, 0x4148][..], true));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_and_a_date_are_read_and_written_as_a_whole() {
    let array = json!({"type": "array", "specs": {"size": "3", "item": {"type": "float"}}});
    let date = json!({"type": "date", "specs": {}});
    let rows = [
        ("levels", "rw", array, json!({"area": "holding", "address": 20, "type": "float32"})),
        ("since", "rw", date.clone(), json!({"area": "holding", "address": 30})),
        ("until", "r", date, json!({"area": "holding", "address": 40, "type": "uint64"})),
    ];
    let plant = Plant::start([(1, unit(&[]))]).await;
    plant.change(1, |unit| unit.holding[40..44].copy_from_slice(&[0, 0x016c, 0x6997, 0x7c00]));
    let gw = setup(&rows, json!({})).device("d", plant.address, 1).start().await;
    set(&gw, "d", &[("levels", Value::Compound("[1.5, 2, 12.5]".into())), ("since", Value::Date("1565136000".into()))]).await.unwrap();
    let unit = plant.unit(1);
    assert_eq!(unit.holding[20..26], [0x3fc0, 0, 0x4000, 0, 0x4148, 0]);
    assert_eq!(unit.holding[30..32], [0x5d4a, 0x1480]);
    let Value::Compound(levels) = get(&gw, "d", "levels").await.unwrap() else { panic!("it is no array") };
    assert_eq!(serde_json::from_str::<Vec<f64>>(&levels).unwrap(), [1.5, 2.0, 12.5]);
    reported(&gw, "d", "since", Value::Date("1565136000000".into())).await;
    reported(&gw, "d", "until", Value::Date(0x016c_6997_7c00_u64.to_string())).await;
    // Fewer items than there are registers for.
    let short = set(&gw, "d", &[("levels", Value::Compound("[1.5]".into()))]).await.unwrap_err();
    assert!(short.code == fault::PARAM_RANGE_OVERFLOW && short.message.contains("1 items"), "{short}");
    assert_eq!(plant.unit(1).holding[20..22], [0x3fc0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_writes_its_inputs_in_one_request_and_reads_its_outputs_after_that() {
    let parameter = |name: &str, data_type: Json| json!({"identifier": name, "name": name, "dataType": data_type});
    let at = |name: &str, customize: Json| json!({"identifier": name, "customize": customize});
    let service = |name: &str, inputs: Json, outputs: Json| json!({"identifier": name, "name": name, "callType": "sync", "inputData": inputs, "outputData": outputs});
    let inputs = json!([parameter("litres", number()), parameter("times", int())]);
    let services = json!([service("dose", inputs, json!([parameter("done", int())])), service("drain", json!([]), json!([]))]);
    let mapped = json!([{
        "identifier": "dose",
        "inputData": [
            at("litres", json!({"area": "holding", "address": 40, "type": "float32"})),
            at("times", holding(42)),
            {"customize": {"area": "coil", "address": 5, "value": 1}},
        ],
        "outputData": [at("done", json!({"area": "input", "address": 7}))],
    }]);
    let rows = [("n", "rw", int(), json!({"area": "holding", "address": 0, "interval_ms": NEVER_MS}))];
    let plant = Plant::start([(1, unit(&[]))]).await;
    plant.change(1, |unit| unit.input[7] = 11);
    let gw = with_services(setup(&rows, json!({})), &services, &mapped).device("d", plant.address, 1).start().await;

    let arguments = |times: i32| [("litres", Value::Double(12.5)), ("times", Value::Int(times))];
    plant.take_seen();
    assert_eq!(call(&gw, "d", "dose", &arguments(3)).await.unwrap(), [Property::new("done", Value::Int(11))]);
    // Besides the polls.
    let seen: Vec<Seen> = plant.take_seen().into_iter().filter(|request| request.code != 3).collect();
    assert_eq!(codes(&seen), [16, 5, 4]);
    assert_eq!((seen[0].start, seen[0].count), (40, 3));
    let unit = plant.unit(1);
    assert_eq!((&unit.holding[40..43], unit.coils[5]), (&[0x4148, 0, 3][..], true));

    assert_eq!(call(&gw, "d", "drain", &[]).await.unwrap_err().code, fault::SERVICE_NOT_EXIST);
    let refused = call(&gw, "d", "dose", &arguments(70_000)).await.unwrap_err();
    assert!(refused.code == fault::PARAM_RANGE_OVERFLOW && refused.message.contains("`times`"), "{refused}");
    assert_eq!(plant.unit(1).holding[42], 3);
    plant.change(1, |unit| unit.unknown = vec![4]);
    let refused = call(&gw, "d", "dose", &arguments(4)).await.unwrap_err();
    assert_eq!(refused.code, 109_012, "{refused}");
    assert_eq!(plant.unit(1).holding[42], 4);
    assert_eq!(get(&gw, "d", "n").await.unwrap(), Value::Int(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_periodic_is_reported_each_time_and_the_rest_when_it_changes() {
    let change = |address: u16, dead_band: f64| json!({"area": "holding", "address": address, "report": "change", "dead_band": dead_band});
    let rows =
        [("changing", "r", number(), change(0, 0.0)), ("banded", "r", number(), change(1, 10.0)), ("periodic", "r", int(), holding(2))];
    let plant = Plant::start([(1, unit(&[1, 100, 5]))]).await;
    let gw = gateway().start().await;
    let mut reports = reports(&gw, "d");
    gw.deploy(setup(&rows, json!({})).device("d", plant.address, 1)).await.unwrap();
    let first = report(&mut reports).await;
    assert_eq!(first.as_object().unwrap().len(), 3);
    for _ in 0..5 {
        let next = report(&mut reports).await;
        assert_eq!(next.as_object().unwrap().keys().collect::<Vec<_>>(), ["periodic"]);
    }
    plant.change(1, |unit| (unit.holding[0], unit.holding[1]) = (2, 110));
    reported(&gw, "d", "changing", Value::Double(2.0)).await;
    plant.change(1, |unit| (unit.holding[0], unit.holding[1]) = (3, 111));
    reported(&gw, "d", "changing", Value::Double(3.0)).await;
    let mut banded = Vec::new();
    loop {
        let next = report(&mut reports).await;
        banded.extend(next["banded"]["value"].as_f64());
        if next["changing"]["value"] == 3.0 {
            break;
        }
    }
    assert_eq!(banded, [111.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_that_a_device_does_not_have_costs_only_itself() {
    // The gap between them is not there either.
    let rows =
        [("a", "r", int(), holding(0)), ("b", "r", int(), holding(1)), ("gone", "r", int(), holding(2)), ("c", "r", int(), holding(3))];
    let mut unit = Unit::new(2_000);
    unit.holding = vec![10, 11];
    let plant = Plant::start([(1, unit)]).await;
    let gw = setup(&rows, json!({})).device("d", plant.address, 1).start().await;
    reported(&gw, "d", "b", Value::Int(11)).await;
    reported(&gw, "d", "a", Value::Int(10)).await;
    let refused = get(&gw, "d", "gone").await.unwrap_err();
    assert_eq!(refused.code, 109_012, "{refused}");
    // From then on it is asked in pieces, and no longer tried as a whole.
    let mut reports = reports(&gw, "d");
    report(&mut reports).await;
    plant.take_seen();
    for _ in 0..3 {
        report(&mut reports).await;
    }
    let seen = plant.take_seen();
    assert!(seen.len() >= 3 && seen.iter().all(|request| request.count <= 2), "{seen:?}");
    plant.change(1, |unit| unit.holding = vec![10, 11, 12, 13]);
    reported(&gw, "d", "c", Value::Int(13)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_one_server_share_its_connection_and_a_silent_one_goes_offline_alone() {
    let rows = [("n", "rw", int(), holding(0))];
    let plant = Plant::start([(1, unit(&[1])), (2, unit(&[2])), (3, unit(&[3]))]).await;
    let other = Plant::start([(1, unit(&[9]))]).await;
    let settings = json!({"timeout_ms": 200, "offline_after": 2, "backoff_max_ms": 50});
    let setup = setup(&rows, settings).device("one", plant.address, 1).device("two", plant.address, 2).device("three", plant.address, 3);
    let gw = setup.device("elsewhere", other.address, 1).start().await;
    for (name, value) in [("one", 1), ("two", 2), ("three", 3), ("elsewhere", 9)] {
        reported(&gw, name, "n", Value::Int(value)).await;
    }
    assert_eq!((plant.connections(), other.connections()), (1, 1));
    plant.change(2, |unit| unit.is_silent = true);
    gw.presence(&id("two"), Presence::Offline).await;
    assert_eq!(get(&gw, "two", "n").await.unwrap_err().code, fault::DEVICE_OFFLINE);
    plant.change(1, |unit| unit.holding[0] = 11);
    reported(&gw, "one", "n", Value::Int(11)).await;
    assert_eq!(get(&gw, "three", "n").await.unwrap(), Value::Int(3));
    plant.change(2, |unit| unit.is_silent = false);
    gw.online(&id("two")).await;
    reported(&gw, "two", "n", Value::Int(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_takes_its_devices_offline_and_brings_them_back() {
    let rows = [("n", "rw", int(), json!({"area": "holding", "address": 0, "report": "change"}))];
    let mut plant = Plant::start([(1, unit(&[1])), (2, unit(&[2]))]).await;
    let gw = setup(&rows, json!({})).device("one", plant.address, 1).device("two", plant.address, 2).start().await;
    for round in 0..3 {
        plant.stop().await;
        gw.presence(&id("one"), Presence::Offline).await;
        gw.presence(&id("two"), Presence::Offline).await;
        assert_eq!(set(&gw, "one", &[("n", Value::Int(7))]).await.unwrap_err().code, fault::DEVICE_OFFLINE);
        let mut reports = reports(&gw, "one");
        plant.serve().await;
        gw.online(&id("one")).await;
        gw.online(&id("two")).await;
        // What has not changed is reported again: nobody knows what was meanwhile.
        report(&mut reports).await;
        set(&gw, "two", &[("n", Value::Int(round))]).await.unwrap();
        assert_eq!(plant.unit(2).holding[0], round as u16);
    }
    assert_eq!(gw.gateway.drivers.list()[0].2, 0, "the driver was started again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_is_taken_over_and_devices_that_it_does_not_concern_notice_nothing() {
    let rows = [("n", "rw", int(), holding(0))];
    let plant = Plant::start([(1, unit(&[1])), (2, unit(&[2])), (3, unit(&[3]))]).await;
    let other = Plant::start([(1, unit(&[9]))]).await;
    let staying = |interval_ms: u64| setup(&rows, json!({"interval_ms": interval_ms})).device("stays", plant.address, 1);
    let gw = staying(NEVER_MS).device("moves", plant.address, 2).device("goes", plant.address, 3).start().await;
    for (name, value) in [("stays", 1), ("moves", 2), ("goes", 3)] {
        reported(&gw, name, "n", Value::Int(value)).await;
    }
    let online_since = || gw.gateway.things.get(&id("stays")).unwrap().online_at_ms();
    let since = online_since();

    gw.deploy(staying(INTERVAL_MS).device("moves", plant.address, 2).device("goes", plant.address, 3)).await.unwrap();
    // Nobody would have read it again for an hour.
    plant.change(1, |unit| unit.holding[0] = 11);
    reported(&gw, "stays", "n", Value::Int(11)).await;

    // To another server, while one device goes and one comes.
    gw.deploy_alone(staying(INTERVAL_MS).device("moves", other.address, 1).device("comes", plant.address, 3)).await.unwrap();
    reported(&gw, "moves", "n", Value::Int(9)).await;
    reported(&gw, "comes", "n", Value::Int(3)).await;
    assert!(gw.gateway.things.get(&id("goes")).is_err());
    set(&gw, "moves", &[("n", Value::Int(7))]).await.unwrap();
    assert_eq!((other.unit(1).holding[0], plant.unit(2).holding[0]), (7, 2));

    // And back to the first server, to another unit; what was its own is not asked any more.
    gw.deploy(staying(INTERVAL_MS).device("moves", plant.address, 2).device("comes", plant.address, 3)).await.unwrap();
    reported(&gw, "moves", "n", Value::Int(2)).await;
    gw.online(&id("moves")).await;
    plant.change(1, |unit| unit.holding[0] = 12);
    reported(&gw, "stays", "n", Value::Int(12)).await;
    assert_eq!((online_since(), plant.connections(), other.connections()), (since, 1, 1));
    assert_eq!(gw.gateway.drivers.list()[0].2, 0, "the driver was started again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_only_written_to_is_online_with_its_server() {
    let rows = [("n", "w", int(), holding(0))];
    let mut plant = Plant::start([(1, unit(&[1]))]).await;
    let gw = setup(&rows, json!({})).device("d", plant.address, 1).start().await;
    set(&gw, "d", &[("n", Value::Int(5))]).await.unwrap();
    // Nobody asks it anything, so that its server is gone shows with the next call, which is tried on a new connection.
    plant.stop().await;
    plant.serve().await;
    set(&gw, "d", &[("n", Value::Int(6))]).await.unwrap();
    assert_eq!(plant.unit(1).holding[0], 6);
}
