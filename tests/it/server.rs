//! The server beneath the API: what a hostile client may take of it, and that others notice nothing.

mod cases;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ledge::cli::client::Client;
use ledge::gateway::ConnectionLimits;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::ServerName;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsConnector;

use crate::harness::client::{json as body_of, post};
use crate::harness::command::ledge;
use crate::harness::{PASSWORD, TestGateway, eventually, gateway, raw};
use cases::{Case, Expected, SMUGGLED};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Connections that come from one address, where that is not what is tested.
const PER_ADDRESS: usize = 16;

/// So many in the usual run, and so many where `LEDGE_SERVER=long`.
fn count(usual: usize, long: usize) -> usize {
    if std::env::var("LEDGE_SERVER").is_ok_and(|form| form == "long") { long } else { usual }
}

async fn is_healthy(client: &Client) {
    let (status, body) = post(client, "/thing/device/count", r#"{"params": {}}"#).await;
    assert_eq!((status, &body["data"]["deviceCount"]), (200, &json!(0)));
}

/// Asks on new connections, one after another, until it is told to stop; gives how long each took.
fn healthy_beside(client: Client) -> (Arc<AtomicBool>, tokio::task::JoinHandle<Vec<Duration>>) {
    let done = Arc::new(AtomicBool::new(false));
    let is_done = done.clone();
    let asking = tokio::spawn(async move {
        let mut took = Vec::new();
        // It leaves some of the machine to the others.
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !is_done.load(Ordering::Relaxed) {
            let began = Instant::now();
            is_healthy(&client).await;
            took.push(began.elapsed());
            pace.tick().await;
        }
        took
    });
    (done, asking)
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

fn check(case: &Case, said: &[u8]) {
    let (name, text) = (&case.name, String::from_utf8_lossy(said));
    let statuses = raw::statuses(said);
    let is_right = match &case.expected {
        Expected::Refused => statuses.iter().all(|status| (400..500).contains(status)),
        Expected::NothingAfter => statuses.len() <= 1 && statuses.iter().all(|status| *status < 500),
        Expected::Answers(expected) => statuses == *expected,
    };
    assert!(is_right, "{name} was answered:\n{text}");
    assert!(!text.contains(SMUGGLED), "{name} brought a request in:\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_refused_and_nobody_else_notices() {
    let gw = gateway().plain_listen().start().await;
    let admin = gw.admin();
    is_healthy(&admin).await;
    let plain = cases::plain();
    let on_tls_port = cases::on_tls_port();
    assert!(plain.len() + on_tls_port.len() >= 200, "only {} cases", plain.len() + on_tls_port.len());
    let (done, healthy) = healthy_beside(admin.clone());
    let plain_port = gw.gateway.plain.unwrap();
    let in_clear = plain.iter().enumerate().map(async |(at, case)| {
        let stream = raw::connect(raw::address(at / PER_ADDRESS + 1), plain_port).await;
        check(case, &raw::exchange(stream, &case.bytes).await);
    });
    // The same inside of TLS: some of them, or all.
    let step = count(8, 1);
    let inside = plain.iter().enumerate().step_by(step).map(async |(at, case)| {
        let stream = raw::connect_tls(&gw, raw::address(at / PER_ADDRESS + 101)).await.unwrap();
        check(case, &raw::exchange(stream, &case.bytes).await);
    });
    let to_tls_port = on_tls_port.iter().enumerate().map(async |(at, case)| {
        let stream = raw::connect(raw::address(at / PER_ADDRESS + 201), gw.gateway.address).await;
        check(case, &raw::exchange(stream, &case.bytes).await);
    });
    tokio::join!(join_all(in_clear), join_all(inside), join_all(to_tls_port));
    done.store(true, Ordering::Relaxed);
    assert!(healthy.await.unwrap().len() > 10);
    is_healthy(&admin).await;
}

/// A client that does one thing slowly. Returns when the gateway has closed its connection.
async fn dawdle(gw: &TestGateway, at: usize) {
    let from = raw::address(at / PER_ADDRESS + 1);
    let drip = async |stream: &mut (dyn tokio::io::AsyncWrite + Unpin + Send), bytes: &[u8]| {
        let mut pace = tokio::time::interval(Duration::from_millis(250));
        for byte in bytes.iter().cycle() {
            pace.tick().await;
            if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    };
    match at % 4 {
        0 => {
            let mut stream = raw::connect(from, gw.gateway.address).await;
            raw::send(&mut stream, b"\x16\x03\x01\x01\xff\x01\x00\x01\xfb\x03\x03").await.unwrap();
            drip(&mut stream, &[7]).await;
        }
        1 => {
            let Ok(mut stream) = raw::connect_tls(gw, from).await else { return };
            raw::send(&mut stream, b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
            drip(&mut stream, b"X: y\r\n").await;
        }
        2 => {
            let Ok(mut stream) = raw::connect_tls(gw, from).await else { return };
            raw::send(&mut stream, b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n").await.unwrap();
            drip(&mut stream, b" ").await;
        }
        _ => {
            let Ok(mut stream) = raw::connect_tls(gw, from).await else { return };
            // Asks for much, and reads none of it.
            let ask = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
            let _ = raw::send(&mut stream, ask).await;
            drip(&mut stream, b"\r\n").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut_and_hold_nobody_up() {
    let gw = gateway().start().await;
    let admin = gw.admin();
    is_healthy(&admin).await;
    let mut alone = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        is_healthy(&admin).await;
        alone.push(began.elapsed());
    }
    let (done, healthy) = healthy_beside(admin.clone());
    let slow = count(120, 1_000);
    let all = join_all((0..slow).map(|at| dawdle(&gw, at)));
    // The longest patience is that for a body, 15 s. Whoever reads nothing is found out when the buffers are full, 10 s later.
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("a slow client is still served");
    done.store(true, Ordering::Relaxed);
    let (alone, beside) = (p99(alone), p99(healthy.await.unwrap()));
    println!("{slow} slow connections: a healthy client's p99 is {beside:?}, {alone:?} alone");
    let slack = Duration::from_millis(count(1_000, 10) as u64);
    assert!(beside <= alone * 2 + slack, "{beside:?} beside {slow} slow connections, {alone:?} alone");
}

const ASK: &str = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A request for the stream of events, which ends only with its connection.
fn watch() -> String {
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("admin:{PASSWORD}"));
    let body = r#"{"params": {"eventInfo": []}}"#;
    let head = format!("Host: localhost\r\nAuthorization: Basic {basic}\r\nContent-Length: {}", body.len());
    format!("POST /thing/device/events/get HTTP/1.1\r\n{head}\r\n\r\n{body}")
}

async fn ask_from(gw: &TestGateway, from: IpAddr) -> (Option<u16>, impl Sized + use<>) {
    match ask_for(gw, from, ASK).await {
        Ok((status, stream)) => (Some(status), Some(stream)),
        Err(_) => (None, None),
    }
}

/// Connects and asks; gives the status, and the connection that is still open, or how it was closed without an answer.
async fn ask_for(gw: &TestGateway, from: IpAddr, request: &str) -> Result<(u16, impl Sized + use<>), String> {
    let mut stream = raw::connect_tls(gw, from).await.map_err(|error| format!("in the handshake: {error}"))?;
    raw::send(&mut stream, request).await.map_err(|error| format!("asking: {error}"))?;
    let (status, head, body) = raw::answer(&mut stream).await.ok_or("before the answer")?;
    if status == 421 {
        let body: Json = serde_json::from_str(&body).unwrap();
        assert_eq!(body["code"], 421, "{body}");
        assert!(body["message"].as_str().unwrap().starts_with("Too Many Connections: "), "{body}");
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0, "it stays open");
    }
    Ok((status, stream))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_never_has_more_than_its_connections() {
    let gw = gateway().start().await;
    let admin = gw.admin();
    let greedy = raw::address(1);
    let (done, healthy) = healthy_beside(admin.clone());
    is_healthy(&admin).await;
    let (watch, mut held) = (watch(), Vec::new());
    let (mut told, mut closed) = (0, Vec::new());
    for _ in 0..count(3, 100) {
        for asked in join_all((0..100).map(|_| ask_for(&gw, greedy, &watch))).await {
            match asked {
                Ok((200, stream)) => held.push(stream),
                Ok((421, _)) => told += 1,
                Ok((other, _)) => panic!("it is answered {other}"),
                Err(how) => closed.push(how),
            }
        }
        assert!(told > 0 && held.len() == 32, "{} served, {told} told, others closed: {closed:?}", held.len());
    }
    let (served, closed) = (held.len(), closed.len());
    println!("{served} served, {told} told that they are too many, {closed} closed");
    done.store(true, Ordering::Relaxed);
    assert!(!healthy.await.unwrap().is_empty());
    drop(held);
    eventually("a place for the address", || async { ask_from(&gw, greedy).await.0 == Some(200) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_count_as_connections_and_others_have_theirs() {
    let limits = ConnectionLimits { per_address_max: 4, max: 10 };
    let gw = gateway().plain_listen().connections(limits).start().await;
    let plain_port = gw.gateway.plain.unwrap();
    let mut streams = Vec::new();
    for at in 0..4 {
        let mut stream = raw::connect(raw::address(1), plain_port).await;
        raw::send(&mut stream, watch()).await.unwrap();
        let (status, ..) = raw::answer(&mut stream).await.unwrap();
        assert_eq!(status, 200, "stream {at}");
        streams.push(stream);
    }
    // Over TLS the same address has no more.
    assert_eq!(ask_from(&gw, raw::address(1)).await.0, Some(421));
    let later =
        raw::exchange(raw::connect(raw::address(1), plain_port).await, b"GET /2020-04-30/things HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let later = String::from_utf8_lossy(&later).into_owned();
    assert!(later.starts_with("HTTP/1.1 421 ") && later.contains(r#""Code": "TooManyConnections""#), "{later}");
    let clear = raw::exchange(raw::connect(raw::address(1), gw.gateway.address).await, ASK.as_bytes()).await;
    assert_eq!(raw::statuses(&clear), [421]);
    // Others fill what is left in all, and then nobody else is served; but the administrator's own socket is apart.
    let mut others = Vec::new();
    for at in 0..6 {
        let (status, stream) = ask_from(&gw, raw::address(2 + at / 3)).await;
        assert_eq!(status, Some(200));
        others.push(stream);
    }
    assert_eq!(ask_from(&gw, raw::address(9)).await.0, Some(421));
    is_healthy(&Client::local(gw.data.path())).await;
    drop(others);
    eventually("a free place", || async { ask_from(&gw, raw::address(9)).await.0 == Some(200) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_on_the_port_of_https_is_led_there() {
    let gw = gateway().start().await;
    let port = gw.gateway.address.port();
    for (host, target, to) in [
        (format!("127.0.0.1:{port}"), "/docs/?a=b%20c", format!("https://127.0.0.1:{port}/docs/?a=b%20c")),
        ("gateway.plant:443".to_owned(), "/", "https://gateway.plant:443/".to_owned()),
        ("localhost".to_owned(), "/auth/login", format!("https://localhost:{port}/auth/login")),
        ("[::1]".to_owned(), "http://evil.example/x", format!("https://[::1]:{port}/x")),
    ] {
        let mut stream = raw::connect(LOCALHOST, gw.gateway.address).await;
        raw::send(&mut stream, format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
        let (status, head, body) = raw::answer(&mut stream).await.unwrap();
        assert_eq!(status, 302, "{body}");
        assert!(head.contains(&format!("location: {}\r\n", to.to_ascii_lowercase())), "{head}");
        let body: Json = serde_json::from_str(&body).unwrap();
        assert_eq!(body["code"], 302);
        assert!(body["message"].as_str().unwrap().starts_with("Move temporarily: "), "{body}");
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "it stays open");
    }
    let followed = gw.shell("curl -sk -L ${URL/https/http}/openapi.json | head -c 20").await;
    assert!(followed.stdout.contains("openapi"), "{followed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_neither_guessed_at_nor_kept() {
    let limits = ConnectionLimits { per_address_max: 8, max: 100 };
    let gw = gateway().plain_listen().connections(limits).start().await;
    let body = r#"{"params": {}}"#;
    let (watch, mut ask) = (watch(), Vec::new());
    for (line, more, expected) in [
        ("GET /openapi.json", "", 200),
        ("POST /thing/device/count", "", 401),
        ("GET /nothing", "", 404),
        ("GET /auth/login", "", 405),
        ("POST /auth/login", "", 400),
        ("POST /auth/login", "Origin: https://evil.example\r\n", 403),
        ("OPTIONS /auth/login", "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n", 403),
        ("GET /2020-04-30/things", "Sec-Fetch-Site: cross-site\r\n", 403),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len());
        ask.push((gw.gateway.plain.unwrap(), LOCALHOST, text, expected));
    }
    ask.push((gw.gateway.address, LOCALHOST, ASK.to_owned(), 302));
    let mut heads = Vec::new();
    for (to, from, text, expected) in ask {
        let mut stream = raw::connect(from, to).await;
        raw::send(&mut stream, &text).await.unwrap();
        let (status, head, _) = raw::answer(&mut stream).await.unwrap();
        assert_eq!(status, expected, "{text}");
        heads.push(head);
    }
    let asked = (0..8).map(async |_| ask_for(&gw, raw::address(1), &watch).await.unwrap());
    let held = join_all(asked).await;
    assert!(held.iter().all(|(status, _)| *status == 200));
    let mut stream = raw::connect(raw::address(1), gw.gateway.plain.unwrap()).await;
    raw::send(&mut stream, ASK).await.unwrap();
    let (status, head, _) = raw::answer(&mut stream).await.unwrap();
    assert_eq!(status, 421);
    heads.push(head);
    for head in heads {
        for line in ["x-content-type-options: nosniff", "cache-control: no-store"] {
            assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
        }
        assert!(!head.contains("access-control"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_nobody_can_read_is_answered_as_everything_else_is() {
    let gw = gateway().plain_listen().start().await;
    let right = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n";
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), 400, "Bad Request: this is no request of HTTP/1.1"),
        (format!("{right}A B: c\r\n\r\n"), 400, "Bad Request: this is no request of HTTP/1.1"),
        (format!("{right}{}\r\n", "a: b\r\n".repeat(200)), 431, "more than 100 lines"),
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(100_000)), 431, "more than 32 KiB"),
    ];
    for (bytes, expected, why) in cases {
        for is_second in [false, true] {
            let stream = raw::connect(LOCALHOST, gw.gateway.plain.unwrap()).await;
            let before = if is_second { format!("{right}Content-Length: 0\r\n\r\n") } else { String::new() };
            let said = raw::exchange(stream, format!("{before}{bytes}").as_bytes()).await;
            assert_eq!(raw::statuses(&said).last(), Some(&expected), "{why}");
            let said = String::from_utf8(said).unwrap();
            let (head, body) = said[said.rfind("HTTP/1.1 ").unwrap()..].split_once("\r\n\r\n").unwrap();
            for line in ["x-content-type-options: nosniff", "cache-control: no-store", "connection: close"] {
                assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
            }
            assert!(head.contains(&format!("content-length: {}", body.len())), "{said}");
            let body: Json = serde_json::from_str(body).unwrap();
            assert_eq!((&body["code"], &body["data"]), (&json!(expected), &Json::Null));
            assert!(body["message"].as_str().unwrap().contains(why), "{body}");
        }
    }
}

/// Asks on a connection of its own that ends afterwards; gives the status and the head, in lower case.
async fn ask(
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
    path: &str,
    more: &str,
    body: &str,
) -> (u16, String) {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{more}\r\n", body.len());
    raw::send(stream, head + body).await.unwrap();
    let (status, head, _) = raw::answer(stream).await.unwrap();
    (status, head)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_a_cookie_that_is_secure_where_its_listener_is_and_ends_by_logout_and_a_new_password() {
    let gw = gateway().plain_listen().start().await;
    let plain = gw.gateway.plain.unwrap();
    let login = format!(r#"{{"params": {{"UserName": "admin", "Password": "{PASSWORD}"}}}}"#);
    let session = |head: &str, attributes: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix("set-cookie: token=")).unwrap();
        let (token, rest) = line.split_once("; ").unwrap();
        // 256 bits in base64.
        assert_eq!((token.len(), rest), (43, attributes), "{head}");
    };
    let (status, head) = ask(&mut raw::connect(LOCALHOST, plain).await, "/auth/login", "", &login).await;
    assert_eq!(status, 200);
    session(&head, "path=/; httponly; samesite=strict");
    let (status, head) = ask(&mut raw::connect_tls(&gw, LOCALHOST).await.unwrap(), "/auth/login", "", &login).await;
    assert_eq!(status, 200);
    session(&head, "path=/; httponly; samesite=strict; secure");

    // The letters of a token matter.
    let begin = async || {
        let answer = gw.stranger().send(hyper::Method::POST, "/auth/login", &[], login.clone().into()).await.unwrap();
        let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
        format!("Cookie: {cookie}\r\n")
    };
    let count =
        async |cookie: &str| ask(&mut raw::connect(LOCALHOST, plain).await, "/thing/device/count", cookie, r#"{"params": {}}"#).await.0;
    let (first, second) = (begin().await, begin().await);
    assert_eq!((count(&first).await, count(&second).await), (200, 200));
    let (status, head) = ask(&mut raw::connect(LOCALHOST, plain).await, "/auth/logout", &first, r#"{"params": {}}"#).await;
    assert!(status == 200 && head.contains("set-cookie: token=; path=/; max-age=0"), "{head}");
    assert_eq!((count(&first).await, count(&second).await), (401, 200));
    let mut changed = json!({"new": "another horse that is correct"});
    assert_eq!(post(&gw.admin(), "/ledge/v1/users/admin/password", &changed.to_string()).await.0, 400, "a key or a browser that is open");
    changed["old"] = PASSWORD.into();
    let changed = changed.to_string();
    assert_eq!(post(&gw.admin(), "/ledge/v1/users/admin/password", &changed).await.0, 200);
    assert_eq!(count(&second).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_get_nowhere_and_programs_notice_nothing() {
    let gw = gateway().host_name("gateway.plant").start().await;
    let login = format!(r#"{{"params": {{"UserName": "admin", "Password": "{PASSWORD}"}}}}"#);
    let curl = async |more: &str| {
        let line = format!("curl -sk -o /dev/null -w '%{{http_code}}' {more} -d '{login}' $URL/auth/login");
        gw.shell(&line).await.stdout
    };
    let address = gw.gateway.address;
    let own = format!("-H 'Origin: https://{address}'");
    for right in
        ["", "-H 'Sec-Fetch-Site: same-origin'", "-H 'Sec-Fetch-Site: none'", "-H 'Host: gateway.plant'", "-H 'Host: localhost'", &own]
    {
        assert_eq!(curl(right).await, "200", "{right}");
    }
    let machine = format!("-H \"Host: $(uname -n):{}\"", address.port());
    assert_eq!(curl(&machine).await, "200", "{machine}");
    for wrong in [
        "-H 'Sec-Fetch-Site: cross-site'",
        "-H 'Sec-Fetch-Site: same-site'",
        "-H 'Origin: https://evil.example'",
        "-H 'Origin: null'",
        "-H 'Host: evil.example'",
        "-H 'Host: gateway.plant.evil.example'",
        &own.replace("https", "http"),
    ] {
        assert_eq!(curl(wrong).await, "403", "{wrong}");
    }
    let lines = gw.audit();
    assert_eq!(lines.matches("logged in").count(), 7, "{lines}");
    // Whoever may open the socket is no browser.
    let line = "curl -s -o /dev/null -w '%{http_code}' --unix-socket api.sock -H 'Host: evil.example' http://x/ledge/v1/gateway";
    let local = gw.shell(line).await;
    assert_eq!(local.stdout, "200", "{local:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_of_two_versions_and_for_http_1_1() {
    let gw = gateway().start().await;
    let connect = async |versions: &[&'static rustls::SupportedProtocolVersion], protocols: &[&str]| {
        let certificate = rustls::pki_types::pem::PemObject::from_pem_file(&gw.gateway.certificate).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = raw::connect(LOCALHOST, gw.gateway.address).await;
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await;
        stream.map(|stream| stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap()))
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert_eq!(connect(&[version], &["h2", "http/1.1"]).await.unwrap().as_deref(), Some("http/1.1"));
        assert_eq!(connect(&[version], &[]).await.unwrap(), None);
        assert!(connect(&[version], &["h2"]).await.is_err());
    }
}

/// A certificate for `localhost` and its key, in PEM.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "renewed.plant".to_owned()]).unwrap();
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_replaced_while_clients_are_connected() {
    let gw = gateway().start().await;
    let mut open = gw.admin().connect().await.unwrap();
    let (cert, key) = certificate(|_| {});
    std::fs::write(gw.path("new.pem"), format!("{key}{cert}")).unwrap();
    std::fs::write(gw.path("new.key"), &key).unwrap();
    let set = ledge(gw.data.path(), &["certificate", "set", "--cert", "new.pem", "--key", "new.key", "--data", "."]).await;
    assert_eq!(set.code, 0, "{set:?}");
    let shown = ledge(gw.data.path(), &["certificate", "show", "--data", "."]).await;
    let fingerprint = shown.stdout.lines().next().unwrap().to_owned();
    assert!(set.stdout.contains(&fingerprint) && fingerprint != gw.gateway.fingerprint, "{set:?} {shown:?}");
    assert!(shown.stdout.contains("BEGIN CERTIFICATE") && !shown.stdout.contains("PRIVATE"), "{shown:?}");
    // What was open goes on, and what comes new meets the new one.
    assert_eq!(open.send(hyper::Method::GET, "/ledge/v1/things", &[], "".into()).await.unwrap().status, 200);
    assert!(gw.admin().connect().await.is_err(), "the old certificate is still shown");
    let address = gw.gateway.address.to_string();
    let renewed = Client::remote(&address, &fingerprint).unwrap().with_password("admin", PASSWORD);
    is_healthy(&renewed).await;
    let port = gw.gateway.address.port();
    let line = format!("curl -s --cacert tls/cert.pem --resolve renewed.plant:{port}:127.0.0.1 https://renewed.plant:{port}/openapi.json");
    let known = gw.shell(&line).await;
    assert!(known.stdout.contains("openapi"), "{known:?}");
    gw.audited("certificate replaced").await;

    // What cannot be served changes nothing.
    let (other, other_key) = certificate(|_| {});
    let (expired, expired_key) = certificate(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let (early, early_key) = certificate(|params| params.not_before = date_time_ymd(2900, 1, 1));
    for (certificate, key, why) in [
        (other.as_str(), key.as_str(), "not that of the certificate"),
        (&expired, &expired_key, "expired"),
        (&early, &early_key, "not valid yet"),
        ("", &other_key, "0 certificates"),
        (&other, "", "private key"),
        (&other, &other, "private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &other_key, "cannot be read"),
        ("-----BEGIN CERTIFICATE-----\n!\n", &other_key, "not PEM"),
        (&other.repeat(11), &other_key, "11 certificates"),
    ] {
        let body = json!({"certificate": certificate, "key": key}).to_string();
        let answer = renewed.send(hyper::Method::PUT, "/ledge/v1/certificate", &[], body.into()).await.unwrap();
        let message = body_of(&answer)["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400, "{message}");
        assert!(message.contains(why) && !message.contains("BEGIN"), "{why} is not in {message}");
    }
    is_healthy(&renewed).await;

    // It is kept, its key only sealed, and the one before is gone.
    let secret = key.lines().nth(1).unwrap();
    std::fs::remove_file(gw.path("new.pem")).unwrap();
    std::fs::remove_file(gw.path("new.key")).unwrap();
    let files: Vec<_> = std::fs::read_dir(gw.path("tls")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{} has the key as it is", file.display());
    }
    let gw = gw.restart().await;
    assert_eq!(gw.gateway.fingerprint, fingerprint);
    is_healthy(&gw.admin()).await;
}

/// What is refused unread is read to its end, if that is near: who is told to log in does so on the same connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_after_a_refusal_whose_body_came_later() {
    let gw = gateway().start().await;
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("admin:{PASSWORD}"));
    let admin = format!("Authorization: Basic {basic}\r\n");
    for (method, path, more, expected) in [
        ("PUT", "/2016-08-15/components/no-digest", admin.as_str(), 400),
        ("POST", "/thing/device/list-authed", "", 401),
        ("POST", "/nowhere", "", 404),
        ("PUT", "/thing/device/list-authed", "", 405),
        ("POST", "/auth/login", "Origin: https://evil.example\r\n", 403),
    ] {
        let mut stream = raw::connect_tls(&gw, raw::address(1)).await.unwrap();
        for body in ["{}".to_owned(), "x".repeat(60_000)] {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: {}\r\n\r\n", body.len());
            raw::send(&mut stream, head).await.unwrap();
            raw::send(&mut stream, body).await.unwrap();
            let (status, head, _) = raw::answer(&mut stream).await.expect("the connection was closed");
            assert_eq!(status, expected, "{method} {path}: {head}");
        }
    }
}
