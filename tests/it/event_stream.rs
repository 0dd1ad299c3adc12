//! Streams of events: those who read get everything, whatever becomes of those who do not.

use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http_body_util::BodyExt;
use hyper::Method;
use ledge::gateway::ConnectionLimits;
use ledge::limit::PUBLISHES_PER_S;
use ledge::name::ThingId;
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::harness::{PASSWORD, PATIENCE, TestGateway, gateway, raw};

const PRODUCT: &str = "a1Alarm";
const STUCK: usize = 100;
const HEALTHY: usize = 10;
const EVENTS_PER_S: usize = 1_000;
/// So long that what a connection holds by itself is soon full: a client that does not read is noticed only then.
const TEXT_BYTES: usize = 2_000;
/// Connections of one address, as many as it may have here.
const PER_ADDRESS: usize = 25;

/// In the usual run, and where `LEDGE_EVENTS=long`.
fn count(usual: usize, long: usize) -> usize {
    if std::env::var("LEDGE_EVENTS").is_ok_and(|form| form == "long") { long } else { usual }
}

fn tsl() -> String {
    let number = json!({"identifier": "number", "name": "n", "dataType": {"type": "int", "specs": {}}});
    let text = |name: &str| json!({"identifier": name, "name": name, "dataType": {"type": "text", "specs": {"length": "2048"}}});
    json!({
        "profile": {"productKey": PRODUCT},
        "properties": [],
        "events": [{"identifier": "alarm", "name": "alarm", "type": "alert", "outputData": [number, text("text")]}],
        "services": [{
            "identifier": "event", "name": "reports an event", "callType": "sync",
            "inputData": [text("event"), number, text("text")], "outputData": [],
        }],
    })
    .to_string()
}

/// A client that has begun to read events, and reads no more.
async fn stuck(gw: &TestGateway, at: usize) -> TlsStream<TcpStream> {
    let mut stream = raw::connect_tls(gw, raw::address(at / PER_ADDRESS + 1)).await.unwrap();
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("admin:{PASSWORD}"));
    let body = r#"{"params": {"eventInfo": []}}"#;
    let head = format!("Host: localhost\r\nAuthorization: Basic {basic}\r\nContent-Length: {}", body.len());
    raw::send(&mut stream, format!("POST /thing/device/events/get HTTP/1.1\r\n{head}\r\n\r\n{body}")).await.unwrap();
    assert_eq!(raw::answer(&mut stream).await.unwrap().0, 200);
    stream
}

/// Reads until the event `last`, and gives how many there were: each once, and in order.
async fn healthy(gw: &TestGateway, last: i64) -> tokio::task::JoinHandle<i64> {
    let mut connection = gw.admin().connect().await.unwrap();
    let body = json!({"params": {"eventInfo": [{"productKey": PRODUCT, "deviceName": "source"}]}}).to_string();
    let mut stream = connection.start(Method::POST, "/thing/device/events/get", &[], body.into()).await.unwrap().into_body();
    // The first heartbeat: it is subscribed.
    let mut read = stream.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
    tokio::spawn(async move {
        // It lives as long as it is read.
        let _connection = connection;
        let mut next = 0;
        loop {
            let mut texts = serde_json::Deserializer::from_slice(&read).into_iter::<Json>();
            while let Some(Ok(said)) = texts.next() {
                if said["code"] == 204 {
                    continue;
                }
                let value = &said["data"]["items"]["eventBody"]["params"]["value"];
                assert_eq!(value["number"], next, "{said}");
                next += 1;
                if next > last {
                    return next;
                }
            }
            let done = texts.byte_offset();
            read.drain(..done);
            read.extend_from_slice(&stream.frame().await.expect("the stream has ended").unwrap().into_data().unwrap());
        }
    })
}

/// Has the driver report events at a steady pace, and gives how long each call of it took.
async fn report(gw: &TestGateway, numbers: std::ops::Range<usize>) -> Vec<Duration> {
    let things = gw.gateway.things.clone();
    let reporting = gw.gateway.guests().spawn(async move {
        let (id, began, first) = (ThingId::new(PRODUCT, "source"), Instant::now(), numbers.start);
        let mut took = Vec::with_capacity(numbers.len());
        for number in numbers {
            let due = began + Duration::from_secs(1) / EVENTS_PER_S as u32 * (number - first) as u32;
            tokio::time::sleep_until(due.into()).await;
            let arguments = vec![
                Property::new("event", Value::Text("alarm".into())),
                Property::new("number", Value::Int(number as i32)),
                Property::new("text", Value::Text("x".repeat(TEXT_BYTES))),
            ];
            let asked = Instant::now();
            things.call_service(&id, "event", arguments).await.unwrap();
            took.push(asked.elapsed());
        }
        took
    });
    reporting.await.unwrap()
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

fn resident_mib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_who_do_not_read_are_cut_and_ten_who_do_miss_nothing() {
    let setup = gateway().product(PRODUCT, &tsl()).driver("echo_thing", "echo-thing").thing(PRODUCT, "source", "echo_thing");
    let limits = ConnectionLimits { per_address_max: PER_ADDRESS as u32, ..ConnectionLimits::default() };
    let gw = setup.connections(limits).with_driver(|driver| driver.limits.publishes_per_s = *PUBLISHES_PER_S.end()).start().await;
    let (before, beside) = (count(300, 5_000), count(2_500, 30_000));
    let all = i64::try_from(before + beside).unwrap();
    let readers = join_all((0..HEALTHY).map(|_| healthy(&gw, all - 1))).await;
    let alone = p99(report(&gw, 0..before).await);

    let clients = join_all((0..STUCK).map(|at| stuck(&gw, at))).await;
    let addresses = 1..=STUCK / PER_ADDRESS;
    for address in addresses.clone() {
        assert_eq!(free_places(&gw, address).await, 0, "the stuck readers do not have their places");
    }
    let (memory, began) = (resident_mib(), Instant::now());
    let took = p99(report(&gw, before..before + beside).await);
    let per_s = beside as f64 / began.elapsed().as_secs_f64();
    let grown = resident_mib().saturating_sub(memory);
    for reader in readers {
        let read = tokio::time::timeout(PATIENCE * 3, reader).await.expect("a reader waits for what it missed").unwrap();
        assert_eq!(read, all);
    }
    println!(
        "{HEALTHY} readers beside {STUCK} stuck ones: all of {all} events at {per_s:.0}/s; a call of the driver took {took:?} (p99), {alone:?} alone; {grown} MiB more"
    );
    let slack = Duration::from_millis(count(1_000, 10) as u64);
    assert!(took <= alone * 2 + slack, "{took:?} beside {STUCK} stuck readers, {alone:?} alone");
    // Beside other tests neither is told apart from theirs.
    if count(0, 1) == 1 {
        assert!(per_s > EVENTS_PER_S as f64 * 0.95, "{per_s}");
        assert!(grown < 128, "{grown} MiB more");
    }
    // All of them: as many others are served at once. An unoptimised build has much to do before it looks at the time.
    let cut = async {
        for address in addresses {
            while free_places(&gw, address).await < PER_ADDRESS {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE * 3, cut).await.expect("a reader that is stuck still has its place");
    drop(clients);
}

/// How many more clients of an address are served.
async fn free_places(gw: &TestGateway, address: usize) -> usize {
    let asked = (0..PER_ADDRESS).map(async |_| {
        let mut stream = raw::connect_tls(gw, raw::address(address)).await.ok()?;
        raw::send(&mut stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
        let (status, ..) = raw::answer(&mut stream).await?;
        (status == 200).then_some(stream)
    });
    join_all(asked).await.into_iter().flatten().count()
}
