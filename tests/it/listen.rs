//! The interface `listen`: a driver takes connections where it may, on the conditions of its grant, and no client holds another up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ledge::grant::Listen;
use ledge::name::ThingId;
use ledge::set;
use ledge::thing::fault::Fault;
use ledge::thing::value::{Property, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::harness::{ECHO, TestGateway, gateway};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A gateway with the driver `sockets`, changed.
async fn start(change: impl FnOnce(&mut set::Driver)) -> TestGateway {
    let setup = gateway().product(ECHO, include_str!("harness/echo.json")).driver("sockets", "socket-thing");
    setup.with_driver(change).thing(ECHO, "s", "sockets").start().await
}

async fn tell(gw: &TestGateway, text: impl Into<String>) -> Result<String, Fault> {
    let things = gw.gateway.things.clone();
    let text = vec![Property::new("text", Value::Text(text.into()))];
    let call = async move { things.call_service(&ThingId::new(ECHO, "s"), "echo", text).await };
    Ok(gw.gateway.guests().spawn(call).await.unwrap()?[0].value.to_text())
}

fn plain(address: &str) -> Vec<Listen> {
    vec![address.parse().unwrap()]
}

fn with_tls(address: &str) -> Vec<Listen> {
    vec![Listen { tls: true, ..address.parse().unwrap() }]
}

fn from(address: &str, source: IpAddr) -> Vec<Listen> {
    vec![Listen { from: vec![source.to_string().parse().unwrap()], ..address.parse().unwrap() }]
}

async fn connect(source: IpAddr, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source, 0)).unwrap();
    socket.connect(address.parse().unwrap()).await.unwrap()
}

/// Whether a client is closed without a byte.
async fn is_turned_away(mut client: TcpStream) -> bool {
    matches!(client.read(&mut [0; 8]).await, Ok(0) | Err(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_talks_with_whoever_connects() {
    let gw = start(|driver| driver.grants.listen = plain("127.0.0.1:*")).await;
    let address = tell(&gw, "open 127.0.0.1:0").await.unwrap();
    let mut client = connect(LOCALHOST, &address).await;
    assert_eq!(tell(&gw, "take").await.unwrap(), client.local_addr().unwrap().to_string());
    client.write_all(b"hello").await.unwrap();
    assert_eq!(tell(&gw, "echo").await.unwrap(), "hello");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
    // It says no more, and still hears.
    assert_eq!(tell(&gw, "finish").await.unwrap(), "finished");
    assert_eq!(client.read(&mut answer).await.unwrap(), 0);
    client.write_all(b"bye").await.unwrap();
    assert_eq!(tell(&gw, "hear").await.unwrap(), "bye");
    drop(client);
    assert_eq!(tell(&gw, "hear").await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_listens_where_it_may_and_is_told_why_not_elsewhere() {
    let gw = start(|driver| driver.grants.listen = plain("127.0.0.1:*")).await;
    let refused = async |address: &str| tell(&gw, format!("open {address}")).await.unwrap();
    for elsewhere in ["0.0.0.0:0", "127.0.0.2:0", "[::1]:0"] {
        let said = refused(elsewhere).await;
        assert!(said.starts_with("110001 not granted: listen"), "{said}");
    }
    gw.audited("listen 127.0.0.2:0").await;
    for wrong in ["localhost:80", "127.0.0.1", ""] {
        let said = refused(wrong).await;
        assert!(said.starts_with("100001 "), "{said}");
    }
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let said = refused(&taken.local_addr().unwrap().to_string()).await;
    assert!(said.starts_with("100008 ") && said.contains("in use"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_bytes_ends_when_the_connection_is_cut() {
    let gw = start(|driver| driver.grants.listen = plain("127.0.0.1:*")).await;
    let address = tell(&gw, "open 127.0.0.1:0").await.unwrap();
    let client = connect(LOCALHOST, &address).await;
    tell(&gw, "take").await.unwrap();
    let mut hearing = Box::pin(tell(&gw, "hear"));
    // It waits by then: the driver answers one call after another.
    assert!(futures_util::poll!(&mut hearing).is_pending());
    assert_eq!(tell(&gw, "cut").await.unwrap(), "cut");
    assert_eq!(hearing.await.unwrap(), "");
    assert!(is_turned_away(client).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_wasi_get_around_no_condition() {
    for conditions in [with_tls("127.0.0.1:*"), from("127.0.0.1:*", LOCALHOST)] {
        // Not even where another entry covers the address without one.
        let entries = [plain("127.0.0.1:*"), conditions].concat();
        let gw = start(|driver| driver.grants.listen = entries).await;
        for kind in ["listen", "udp-bind"] {
            let said = tell(&gw, format!("{kind} 127.0.0.1:0")).await.unwrap();
            assert!(said.contains("AccessDenied"), "{kind}: {said}");
        }
        gw.audited("without its `tls` or `from`, through wasi:sockets").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_hold_up_no_handshake() {
    // Fewer places than there are silent clients: one address has a quarter of them for its handshakes.
    let gw = start(|driver| {
        driver.grants.listen = with_tls("127.0.0.1:*");
        driver.limits.connections = 40;
    })
    .await;
    let address = tell(&gw, "open 127.0.0.1:0").await.unwrap();
    let silent: Vec<TcpStream> = futures_util::future::join_all((0..50).map(|_| connect(ELSEWHERE, &address))).await;
    let began = Instant::now();
    let tls = TlsConnector::from(ledge::tls::client_config(&gw.gateway.fingerprint).unwrap());
    let client = connect(LOCALHOST, &address).await;
    let local = client.local_addr().unwrap().to_string();
    let handshake = tls.connect(ServerName::try_from("localhost").unwrap(), client);
    let (client, taken) = tokio::join!(handshake, tell(&gw, "take"));
    let mut client = client.unwrap();
    assert_eq!(taken.unwrap(), local);
    assert!(began.elapsed() < Duration::from_secs(4), "it waited for those who say nothing");
    client.write_all(b"inside").await.unwrap();
    assert_eq!(tell(&gw, "echo").await.unwrap(), "inside");
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"inside");
    gw.counted(r#"ledge_limit_hits_total{guest="driver sockets",limit="connections"} 40"#).await;
    // Those who say nothing are closed in their time.
    let waiting = tokio::spawn({
        let (things, text) = (gw.gateway.things.clone(), vec![Property::new("text", Value::Text("take".into()))]);
        async move { things.call_service(&ThingId::new(ECHO, "s"), "echo", text).await }
    });
    let mut first = silent.into_iter().next().unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(15), first.read(&mut [0; 8])).await.expect("it may stay for ever");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_counted_and_fill_no_audit() {
    let gw = start(|driver| driver.grants.listen = from("127.0.0.1:*", LOCALHOST)).await;
    let address = tell(&gw, "open 127.0.0.1:0").await.unwrap();
    let mut friend = connect(LOCALHOST, &address).await;
    tell(&gw, "take").await.unwrap();
    let waiting = tell(&gw, "take");
    let strangers = async {
        for _ in 0..300 {
            assert!(is_turned_away(connect(ELSEWHERE, &address).await).await);
        }
        connect(LOCALHOST, &address).await
    };
    let (taken, second) = tokio::join!(waiting, strangers);
    assert_eq!(taken.unwrap(), second.local_addr().unwrap().to_string());
    gw.counted(r#"ledge_denials_total{guest="driver sockets",grant="listen.from"} 300"#).await;
    gw.audited("listen.from 127.0.0.2").await;
    assert_eq!(gw.audit().matches("listen.from").count(), 1, "{}", gw.audit());
    // What was there before goes on.
    drop(second);
    friend.write_all(b"still here").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_more_than_the_limit_is_closed_and_its_place_is_free_once_another_ends() {
    let gw = start(|driver| {
        driver.grants.listen = plain("127.0.0.1:*");
        driver.limits.connections = 1;
    })
    .await;
    let address = tell(&gw, "open 127.0.0.1:0").await.unwrap();
    let first = connect(LOCALHOST, &address).await;
    tell(&gw, "take").await.unwrap();
    let waiting = tokio::spawn({
        let (things, text) = (gw.gateway.things.clone(), vec![Property::new("text", Value::Text("take".into()))]);
        async move { things.call_service(&ThingId::new(ECHO, "s"), "echo", text).await }
    });
    assert!(is_turned_away(connect(LOCALHOST, &address).await).await);
    gw.counted(r#"ledge_limit_hits_total{guest="driver sockets",limit="connections"} 1"#).await;
    assert_eq!(tell(&gw, "cut").await.unwrap(), "cut");
    drop(first);
    let second = connect(LOCALHOST, &address).await;
    assert_eq!(waiting.await.unwrap().unwrap()[0].value.to_text(), second.local_addr().unwrap().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_keeps_too_many_connections_has_a_fault_and_not_an_end() {
    let gw = start(|driver| {
        driver.grants.listen = plain("127.0.0.1:*");
        driver.limits.handles = 64;
    })
    .await;
    let address = tell(&gw, "open 127.0.0.1:0").await.unwrap();
    let clients = futures_util::future::join_all((0..60).map(|_| connect(LOCALHOST, &address)));
    let (said, _clients) = tokio::join!(tell(&gw, "collect"), clients);
    let said = said.unwrap();
    assert!(said.starts_with("110002 ") && said.contains("handles"), "{said}");
    let _another = connect(LOCALHOST, &address).await;
    tell(&gw, "take").await.unwrap();
    assert_eq!(gw.gateway.drivers.list()[0].2, 0);
}
