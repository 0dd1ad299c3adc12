//! The driver `websocket`: devices connect, are asked and answer, and whatever a peer does wrong is its own affair.

mod device;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use ledge::deploy::DeployError;
use ledge::grant::{Certificate, Listen};
use ledge::limit::Limits;
use ledge::name::ThingId;
use ledge::set;
use ledge::thing::value::{Property, Value};
use ledge::thing::{Presence, fault};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use self::device::{Device, address, connect, connect_from, exchange, rest};
use crate::harness::{ECHO, TestGateway, eventually, gateway};

/// A gateway with the driver, for the devices `one`, `two` and `three`.
async fn start(address: SocketAddr, settings: Json) -> TestGateway {
    start_with(address, settings, |_| {}).await
}

async fn start_with(address: SocketAddr, mut settings: Json, change: impl FnOnce(&mut set::Driver)) -> TestGateway {
    settings["listen"] = json!(address.to_string());
    let setup = gateway().product(ECHO, include_str!("harness/echo.json")).driver("websocket", "websocket").with_driver(|driver| {
        driver.config = Some(json!({"json": settings}));
        driver.limits = Limits::of_driver();
        driver.grants.listen = vec![address.to_string().parse().unwrap()];
        change(driver);
    });
    let setup = ["one", "two"].into_iter().fold(setup, |setup, name| setup.thing(ECHO, name, "websocket"));
    let pinned = setup.thing(ECHO, "three", "websocket").with_thing(|thing| thing.custom = Some(json!({"ip": "127.0.0.3"})));
    let gw = gateway().start().await;
    gw.deploy_offline(pinned).await.unwrap();
    gw
}

fn id(name: &str) -> ThingId {
    ThingId::new(ECHO, name)
}

fn ok(payload: Json) -> Json {
    json!({"code": 0, "message": "Success", "payload": payload})
}

/// A reply without values to whatever is asked.
fn done(_: &Json) -> Json {
    ok(json!({}))
}

fn number(value: i32) -> Json {
    json!([{"identifier": "Number", "type": "int", "value": value}])
}

async fn set_number(gw: &TestGateway, name: &str, value: i32) -> Result<(), fault::Fault> {
    gw.gateway.things.set_properties(&id(name), vec![Property::new("Number", Value::Int(value))]).await
}

/// Whether a device is asked and answers.
async fn works(gw: &TestGateway, device: &mut Device, name: &str) {
    let (set, _) = tokio::join!(set_number(gw, name, 7), device.reply(done));
    set.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_reports_is_its_last_value_and_on_the_bus() {
    let address = address();
    let gw = start(address, json!({})).await;
    let mut reports = gw.listen("/sys/a1Echo/one/thing/event/property/post");
    let mut events = gw.listen("/sys/a1Echo/one/thing/event/alarm/post");
    assert_eq!(gw.gateway.things.get(&id("one")).unwrap().presence(), Presence::Inactive);
    let mut device = Device::connect(address).await;
    let online = device.bring_online("one").await;
    assert_eq!((&online["code"], &online["message"], &online["payload"]), (&json!(0), &json!("Success"), &json!({})));
    assert_eq!(gw.gateway.things.get(&id("one")).unwrap().presence(), Presence::Online);

    let sent = json!([{"identifier": "Number", "type": "int", "value": 42}, {"identifier": "Switch", "type": "bool", "value": 1}]);
    assert_eq!(device.report("one", sent).await["code"], 0);
    let report: Json = serde_json::from_str(&reports.text().await).unwrap();
    assert_eq!((&report["Number"]["value"], &report["Switch"]["value"]), (&json!(42), &json!(1)));
    assert_eq!(gw.gateway.things.get(&id("one")).unwrap().value("Number").unwrap().value, Value::Int(42));

    let outputs = json!([{"identifier": "level", "type": "int", "value": 3}]);
    let event = json!({"identifier": "alarm", "outputData": outputs});
    assert_eq!(device.request("reportEvent", "one", event).await["code"], 0);
    let event: Json = serde_json::from_str(&events.text().await).unwrap();
    assert_eq!(event["params"]["value"], json!({"level": 3}));

    assert_eq!(device.request("offlineDevice", "one", json!({})).await["code"], 0);
    assert_eq!(gw.gateway.things.get(&id("one")).unwrap().presence(), Presence::Offline);
    assert_eq!(device.report("one", number(1)).await["code"], fault::DEVICE_OFFLINE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_read_and_set_and_its_services_are_called() {
    let address = address();
    let gw = start(address, json!({})).await;
    let mut device = Device::online(address, "one").await;
    let things = &gw.gateway.things;

    let one = id("one");
    let asked = things.get_properties(&one, vec!["Number".into(), "Text".into()]);
    let values = json!([{"identifier": "Number", "type": "int", "value": 5}, {"identifier": "Text", "type": "text", "value": "hi"}]);
    let (read, request) = tokio::join!(asked, device.reply(|_| ok(json!({"properties": values}))));
    assert_eq!(read.unwrap(), [Property::new("Number", Value::Int(5)), Property::new("Text", Value::Text("hi".into()))]);
    assert_eq!((&request["version"], &request["method"]), (&json!("1.0"), &json!("getProperty")));
    assert_eq!(request["payload"], json!({"productKey": ECHO, "deviceName": "one", "properties": ["Number", "Text"]}));

    let (set, request) = tokio::join!(
        things.set_properties(&one, vec![Property::new("Switch", Value::Text("1".into()))]),
        // As the original's own client replies: without a message, and with a NUL behind it.
        async {
            let request = device.next().await;
            device.say(&format!("{{\"code\":0,\"messageId\":{},\"payload\":{{}}}}\0", request["messageId"])).await;
            request
        }
    );
    set.unwrap();
    assert_eq!(request["payload"]["properties"], json!([{"identifier": "Switch", "type": "bool", "value": 1}]));

    let text = || vec![Property::new("text", Value::Text("ping".into()))];
    let echo = |request: &Json| ok(json!({"outputData": request["payload"]["inputData"]}));
    let (called, request) = tokio::join!(things.call_service(&one, "echo", text()), device.reply(echo));
    assert_eq!(called.unwrap(), text());
    assert_eq!((&request["method"], &request["payload"]["identifier"]), (&json!("callService"), &json!("echo")));
    // What has no arguments has the list all the same.
    let (called, request) = tokio::join!(things.call_service(&one, "fault", vec![]), device.reply(done));
    assert_eq!(called.unwrap(), []);
    assert_eq!(request["payload"]["inputData"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_devices_share_a_connection_and_requests_are_told_apart() {
    let address = address();
    let gw = start(address, json!({})).await;
    let mut device = Device::online(address, "one").await;
    assert_eq!(device.bring_online("two").await["code"], 0);
    let answer = async {
        let (first, second) = (device.next().await, device.next().await);
        // The other way round.
        for request in [second, first] {
            let value = if request["payload"]["deviceName"] == "one" { 1 } else { 2 };
            let reply = json!({"code": 0, "messageId": request["messageId"], "payload": {"properties": number(value)}});
            device.say(&reply.to_string()).await;
        }
    };
    let (one, two) = (id("one"), id("two"));
    let things = &gw.gateway.things;
    let numbers = || vec!["Number".to_owned()];
    let (first, second, ()) = tokio::join!(things.get_properties(&one, numbers()), things.get_properties(&two, numbers()), answer);
    assert_eq!((&first.unwrap()[0].value, &second.unwrap()[0].value), (&Value::Int(1), &Value::Int(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_wrong_late_or_never_comes_is_a_named_fault_and_the_next_request_works() {
    let address = address();
    let gw = start(address, json!({"reply_ms": 300})).await;
    let mut device = Device::online(address, "one").await;
    let mut other = Device::online(address, "two").await;

    let (refused, _) = tokio::join!(set_number(&gw, "one", 1), device.reply(|_| json!({"code": 109_003, "message": "it is locked"})));
    let refused = refused.unwrap_err();
    assert!(refused.code == 109_003 && refused.message.contains("it is locked") && refused.message.contains("a1Echo/one"), "{refused}");
    // Another id; meanwhile another device is served.
    let stray = async {
        let stray = device.reply(|_| json!({"code": 0, "messageId": 4_000_000_000_u32, "payload": {}})).await;
        works(&gw, &mut other, "two").await;
        stray
    };
    let (stray, request) = tokio::join!(set_number(&gw, "one", 2), stray);
    let stray = stray.unwrap_err();
    assert_eq!(stray.code, fault::TIMEOUT);
    assert!(stray.message.contains("setProperty") && stray.message.contains("1 replies"), "{stray}");
    // Too late, and twice.
    for _ in 0..2 {
        device.say(&json!({"code": 0, "messageId": request["messageId"], "payload": {}}).to_string()).await;
    }
    let nonsense = |_: &Json| json!({"code": "fine", "payload": []});
    let (wrong, _) = tokio::join!(set_number(&gw, "one", 3), device.reply(nonsense));
    assert_eq!(wrong.unwrap_err().code, fault::INVALID_TYPE);
    let one = id("one");
    let number = json!({"identifier": "Number", "type": "int", "value": 1});
    for (payload, said) in [
        (json!({"properties": [{"identifier": "Number"}]}), "no `value`"),
        (json!({"properties": [{"identifier": "Zzz", "type": "int", "value": 1}]}), "no value of `Number`, `Text`"),
        (json!({"properties": []}), "no value of `Number`, `Text`"),
        (json!({"properties": [&number]}), "no value of `Text`"),
        (json!({}), "`properties` is missing"),
    ] {
        let asked = gw.gateway.things.get_properties(&one, vec!["Number".into(), "Text".into()]);
        let (wrong, _) = tokio::join!(asked, device.reply(|_| ok(payload)));
        let wrong = wrong.unwrap_err();
        assert!(wrong.code == fault::INVALID_TYPE && wrong.message.contains("the device's reply is wrong"), "{wrong}");
        assert!(wrong.message.contains(said), "{wrong}");
    }
    // Of all of them it may leave some out.
    let (all, _) = tokio::join!(gw.gateway.things.get_properties(&one, vec![]), device.reply(|_| ok(json!({"properties": [number]}))));
    assert_eq!(all.unwrap(), [Property::new("Number", Value::Int(1))]);
    works(&gw, &mut device, "one").await;
    assert_eq!(gw.gateway.drivers.list()[0].2, 0, "the driver was started again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_never_replies_uses_up_nobody_else_s_calls() {
    let address = address();
    let gw = start(address, json!({"reply_ms": 2_000})).await;
    let _silent = Device::online(address, "one").await;
    let mut other = Device::online(address, "two").await;
    let asked = (0..40).map(|_| set_number(&gw, "one", 1));
    let asked = futures_util::future::join_all(asked);
    let beside = async {
        for _ in 0..20 {
            works(&gw, &mut other, "two").await;
        }
    };
    let (asked, ()) = tokio::join!(asked, beside);
    let count = |code: u32| asked.iter().filter(|answer| answer.as_ref().is_err_and(|fault| fault.code == code)).count();
    assert_eq!((count(fault::TIMEOUT), count(fault::TOO_MANY)), (16, 24));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_wrong_is_answered_with_what_is_wrong() {
    let address = address();
    let gw = start(address, json!({})).await;
    let mut device = Device::online(address, "one").await;
    let thing = json!({"productKey": ECHO, "deviceName": "one"});
    let cases = [
        ("not JSON".to_owned(), 0, fault::INVALID_JSON, "not JSON"),
        (json!({"version": "1.1", "method": "onlineDevice", "messageId": 1, "payload": thing}).to_string(), 1, 100_001, "1.0"),
        (json!({"version": "1.0", "method": "fly", "messageId": 2, "payload": thing}).to_string(), 2, 100_001, "`fly`"),
        (json!({"version": "1.0", "method": "onlineDevice", "messageId": 3}).to_string(), 3, 100_001, "productKey"),
        ("[]".to_owned(), 0, 100_001, "neither"),
    ];
    for (sent, message_id, code, said) in cases {
        device.say(&sent).await;
        let reply = device.next().await;
        assert_eq!((&reply["messageId"], &reply["code"]), (&json!(message_id), &json!(code)), "{reply}");
        assert!(reply["message"].as_str().unwrap().contains(said), "{reply}");
    }
    assert_eq!(device.bring_online("nobody").await["code"], fault::DEVICE_UNREGISTER);
    assert_eq!(device.report("two", number(1)).await["code"], fault::DEVICE_OFFLINE);
    // One bad value does not cost the good one; each kind of badness is named.
    let mixed = json!([{"identifier": "Number", "type": "int", "value": 9}, {"identifier": "Nothing", "type": "int", "value": 1}, {"identifier": "Text"}]);
    let reply = device.report("one", mixed).await;
    assert_eq!(reply["code"], fault::PROPERTY_NOT_EXIST);
    let said = reply["message"].as_str().unwrap();
    assert!(said.contains("Nothing") && said.contains("properties[2]"), "{said}");
    assert_eq!(gw.gateway.things.get(&id("one")).unwrap().value("Number").unwrap().value, Value::Int(9));
    works(&gw, &mut device, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_breaks_the_rules_is_closed_with_their_code_and_the_others_go_on() {
    let address = address();
    let gw = start(address, json!({"handshake_ms": 300})).await;
    let mut good = Device::online(address, "one").await;

    let mut binary = Device::connect(address).await;
    binary.socket.send(Message::Binary(Bytes::from_static(b"\x01\x02"))).await.unwrap();
    assert_eq!(binary.closed().await, 1003);

    let mut not_utf8 = Device::connect(address).await;
    not_utf8.socket.get_mut().write_all(&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]).await.unwrap();
    assert_eq!(not_utf8.closed().await, 1007);

    // Told by the header alone; and one that sends it all reads why.
    let mut huge = Device::connect(address).await;
    let header = [&[0x81, 0xff][..], &(100_u64 << 20).to_be_bytes(), &[0; 4]].concat();
    huge.socket.get_mut().write_all(&header).await.unwrap();
    assert_eq!(huge.closed().await, 1009);
    let mut huge = Device::connect(address).await;
    let _ = huge.socket.send(Message::text("x".repeat(4 << 20))).await;
    assert_eq!(huge.closed().await, 1009);

    let garbage = exchange(connect(address).await, b"\x16\x03\x01 this is no HTTP\r\n\r\n").await;
    assert!(garbage.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&garbage));
    let plain = exchange(connect(address).await, b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n").await;
    assert!(plain.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&plain));
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let page = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    let page = exchange(connect(address).await, page.as_bytes()).await;
    assert!(page.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&page));
    // Never says another word.
    let half_open = exchange(connect(address).await, b"GET / HTTP/1.1\r\nHost: gat").await;
    assert_eq!(half_open, b"");

    works(&gw, &mut good, "one").await;
    assert_eq!(gw.gateway.drivers.list()[0].2, 0, "the driver was started again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_takes_its_devices_offline_at_once() {
    let address = address();
    let gw = start(address, json!({})).await;
    let mut device = Device::online(address, "one").await;
    assert_eq!(device.bring_online("two").await["code"], 0);
    // Somebody waits for it.
    let ended = async {
        device.next().await;
        drop(device);
    };
    let (asked, ()) = tokio::join!(set_number(&gw, "one", 1), ended);
    assert_eq!(asked.unwrap_err().code, fault::DEVICE_OFFLINE);
    for name in ["one", "two"] {
        gw.presence(&id(name), Presence::Offline).await;
    }
    let mut again = Device::online(address, "one").await;
    works(&gw, &mut again, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_online_elsewhere_is_taken_over_without_going_offline() {
    let address = address();
    let gw = start(address, json!({})).await;
    let mut first = Device::online(address, "one").await;
    let mut second = Device::online(address, "one").await;
    // It had nothing else, so it is told in this way.
    assert_eq!(first.closed().await, 4001);
    works(&gw, &mut second, "one").await;
    // Who has another device keeps that, and is told when it speaks of the lost one.
    assert_eq!(second.bring_online("two").await["code"], 0);
    let mut third = Device::online(address, "one").await;
    let refused = second.report("one", number(1)).await;
    assert!(refused["code"] == fault::DEVICE_OFFLINE && refused["message"].as_str().unwrap().contains("taken over"), "{refused}");
    assert_eq!(second.report("two", number(1)).await["code"], 0);
    works(&gw, &mut third, "one").await;
    // The end of the connection that lost it is nothing to it.
    drop(second);
    gw.presence(&id("two"), Presence::Offline).await;
    assert_eq!(gw.gateway.things.get(&id("one")).unwrap().presence(), Presence::Online);
    works(&gw, &mut third, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_pinned_comes_online_from_its_address_only() {
    let address = address();
    let gw = start(address, json!({})).await;
    let refused = Device::connect(address).await.bring_online("three").await;
    assert_eq!(refused["code"], fault::NOT_GRANTED);
    assert!(refused["message"].as_str().unwrap().contains("127.0.0.3"), "{refused}");
    let mut device = Device::over(connect_from([127, 0, 0, 3].into(), address).await).await;
    assert_eq!(device.bring_online("three").await["code"], 0);
    works(&gw, &mut device, "three").await;
}

/// A client that trusts this certificate, under its name.
fn trusting(certificate: CertificateDer<'static>) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsConnector::from(Arc::new(versions.with_root_certificates(roots).with_no_client_auth()))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_and_a_source_only_granted_addresses_are_let_in_and_plain_text_is_not() {
    let address = address();
    let granted = |driver: &mut set::Driver| {
        let entry: Listen = address.to_string().parse().unwrap();
        driver.grants.listen = vec![Listen { tls: true, from: vec!["127.0.0.1".parse().unwrap()], ..entry }];
    };
    let gw = start_with(address, json!({}), granted).await;
    let tls = trusting(CertificateDer::from_pem_file(&gw.gateway.certificate).unwrap());
    let name = ServerName::try_from("localhost").unwrap();
    let mut device = Device::over(tls.connect(name.clone(), connect(address).await).await.unwrap()).await;
    assert_eq!(device.bring_online("one").await["code"], 0);
    let (set, request) = tokio::join!(set_number(&gw, "one", 5), device.reply(done));
    set.unwrap();
    assert_eq!(request["payload"]["properties"], number(5));

    let plain = exchange(connect(address).await, b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n").await;
    assert!(!plain.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&plain));
    // From elsewhere there is not even a handshake.
    let stranger = connect_from([127, 0, 0, 2].into(), address).await;
    assert!(tls.connect(name, stranger).await.is_err());
    gw.audited("listen.from 127.0.0.2").await;
    gw.counted(r#"ledge_denials_total{guest="driver websocket",grant="listen.from"} 1"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_project_s_is_shown_in_place_of_the_gateway_s_and_its_key_is_on_disk_only_sealed() {
    let address = address();
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec!["press.plant".to_owned()]).unwrap();
    let certificate = Certificate { chain: cert.pem(), key: signing_key.serialize_pem() };
    let secret = certificate.key.lines().nth(1).unwrap().to_owned();
    let granted = |driver: &mut set::Driver| {
        let entry: Listen = address.to_string().parse().unwrap();
        driver.grants.listen = vec![Listen { tls: true, certificate: Some(certificate.clone()), ..entry }];
    };
    let gw = start_with(address, json!({}), granted).await;
    // What was deployed is found again after a restart.
    let gw = gw.restart().await;
    let tls = trusting(cert.der().clone());
    let stream = tls.connect(ServerName::try_from("press.plant").unwrap(), connect(address).await).await.unwrap();
    let mut device = Device::over(stream).await;
    assert_eq!(device.bring_online("one").await["code"], 0);
    let kept = std::fs::read(gw.path("ledge.redb")).unwrap();
    let has = |text: &str| kept.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has("press") || has("a1Echo"), "the database is not where this test looks");
    assert!(!has(&secret), "the key is in the database as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_refused_with_the_deployment() {
    let made = || rcgen::generate_simple_self_signed(vec!["press.plant".to_owned()]).unwrap();
    let (one, other) = (made(), made());
    let gw = gateway().start().await;
    let cases = [
        (one.cert.pem(), other.signing_key.serialize_pem(), true, "`cert` and `key`"),
        (one.cert.pem(), one.cert.pem(), true, "`key`"),
        (one.signing_key.serialize_pem(), one.signing_key.serialize_pem(), true, "`cert` has no certificate"),
        (one.cert.pem(), one.signing_key.serialize_pem(), false, "`tls`"),
    ];
    for (chain, key, tls, said) in cases {
        let entry: Listen = "127.0.0.1:17682".parse().unwrap();
        let listen = Listen { tls, certificate: Some(Certificate { chain, key }), ..entry };
        let setup = gateway().driver("websocket", "websocket").with_driver(|driver| driver.grants.listen = vec![listen]);
        match gw.deploy(setup).await {
            Err(DeployError::Refused(problems)) => {
                assert!(problems[0].contains(said) && problems[0].contains("127.0.0.1:17682"), "{problems:?}");
            }
            other => panic!("it was not refused: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_read_slowly_and_delays_nobody_else() {
    let address = address();
    let gw = start(address, json!({"messages_per_s": 50})).await;
    let mut flood = Device::online(address, "one").await;
    let mut good = Device::online(address, "two").await;
    let sent = 120;
    let began = std::time::Instant::now();
    for _ in 0..sent {
        flood.ask("reportProperty", "one", json!({"properties": number(1)})).await;
    }
    let good_began = std::time::Instant::now();
    for _ in 0..20 {
        works(&gw, &mut good, "two").await;
    }
    let good_took = good_began.elapsed();
    // Each message of it is answered, in its time: 50 at once, and then 50 a second.
    for _ in 0..sent {
        assert_eq!(flood.next().await["code"], 0);
    }
    let flood_took = began.elapsed();
    assert!(flood_took > Duration::from_secs(1), "the flood was not held up");
    assert!(good_took < flood_took / 2, "others waited for the flood: {good_took:?} of {flood_took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_more_than_may_connect_is_told_so_and_those_inside_go_on() {
    let address = address();
    let full = json!({"connections_max": 3});
    let gw = start_with(address, full, |driver| driver.limits.connections = 5).await;
    let mut good = Device::online(address, "one").await;
    let two = Device::online(address, "two").await;
    let mut three = Device::over(connect_from([127, 0, 0, 3].into(), address).await).await;
    assert_eq!(three.bring_online("three").await["code"], 0);
    // The driver's own limit has words for it, and the gateway's beyond it closes at once.
    let mut refused = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(address).await;
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        refused.push(stream);
    }
    for stream in refused {
        let answer = String::from_utf8(rest(stream).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("connections_max"), "{answer}");
    }
    let silent: Vec<_> = futures_util::future::join_all((0..50).map(|_| connect(address))).await;
    gw.counted(r#"ledge_limit_hits_total{guest="driver websocket",limit="connections"}"#).await;
    works(&gw, &mut good, "one").await;
    drop((two, three, silent));
    // There is room again.
    eventually("a device to be let in", || async {
        tokio_tungstenite::client_async("ws://gateway/", connect(address).await).await.is_ok()
    })
    .await;
    works(&gw, &mut good, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_peer_is_noticed_and_a_silent_one_that_answers_pings_is_not() {
    let address = address();
    let gw = start(address, json!({"ping_ms": 300})).await;
    // Nobody reads it, so nobody answers its pings.
    let _dead = Device::online(address, "one").await;
    let mut silent = Device::online(address, "two").await;
    let listening = tokio::spawn(async move {
        silent.next().await;
    });
    gw.presence(&id("one"), Presence::Offline).await;
    assert_eq!(gw.gateway.things.get(&id("two")).unwrap().presence(), Presence::Online);
    listening.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_device_is_closed_after_a_while() {
    let address = address();
    let gw = start(address, json!({"online_ms": 300, "idle_ms": 600})).await;
    let mut good = Device::online(address, "one").await;
    assert_eq!(Device::connect(address).await.closed().await, 1008);
    // Whatever it says meanwhile.
    assert_eq!(Device::connect(address).await.talks_until_closed().await, 1008);
    // And one whose device has gone offline.
    let mut gone = Device::online(address, "two").await;
    assert_eq!(gone.request("offlineDevice", "two", json!({})).await["code"], 0);
    assert_eq!(gone.closed().await, 1008);
    works(&gw, &mut good, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_bring_no_device_online_keep_nobody_out() {
    let address = address();
    let gw = start(address, json!({"connections_max": 5, "connections_per_address_max": 3})).await;
    let mut good = Device::online(address, "one").await;
    let stranger = || connect_from([127, 0, 0, 2].into(), address);
    let mut strangers = Vec::new();
    for _ in 0..4 {
        strangers.push(Device::over(stranger().await).await);
    }
    // One address has three places, and its first connection makes room for its fourth.
    assert_eq!(strangers[0].closed().await, 1013);
    let mut three = Device::over(connect_from([127, 0, 0, 3].into(), address).await).await;
    assert_eq!(three.bring_online("three").await["code"], 0);
    // All five places are taken now: strangers take those of strangers, and a device that comes takes one of theirs.
    let silent = futures_util::future::join_all((0..20).map(|_| stranger())).await;
    for stranger in &mut strangers[1..] {
        assert_eq!(stranger.closed().await, 1013);
    }
    let mut two = Device::online(address, "two").await;
    for (device, name) in [(&mut good, "one"), (&mut two, "two"), (&mut three, "three")] {
        works(&gw, device, name).await;
    }
    drop(silent);
    assert_eq!(gw.gateway.drivers.list()[0].2, 0, "the driver was started again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_is_started_again_listens_on_its_port_at_once() {
    let address = address();
    let gw = start(address, json!({})).await;
    let mut device = Device::online(address, "one").await;
    for round in 0..3 {
        let changed = json!({"json": {"listen": address.to_string(), "idle_ms": 60_000 + round}});
        let setup = gateway().product(ECHO, include_str!("harness/echo.json")).driver("websocket", "websocket").with_driver(|driver| {
            driver.config = Some(changed);
            driver.grants.listen = vec![address.to_string().parse().unwrap()];
        });
        gw.deploy_offline(setup.thing(ECHO, "one", "websocket")).await.unwrap();
        // The old instance is gone, and its connections with it.
        rest(device.socket.into_inner()).await;
        device = Device::online(address, "one").await;
        works(&gw, &mut device, "one").await;
    }
    assert_eq!(gw.gateway.drivers.list()[0].2, 0, "it failed in between");
}
