//! Sockets of drivers: to granted addresses only, from granted addresses only, and never more than the limit of handles.

use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::str::FromStr;

use ledge::deploy::DeployError;
use ledge::name::ThingId;
use ledge::set;
use ledge::thing::fault::Fault;
use ledge::thing::value::{Property, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{ECHO, TestGateway, eventually, gateway};

/// A gateway with the driver `sockets`, changed.
async fn start(change: impl FnOnce(&mut set::Driver)) -> TestGateway {
    let setup = gateway().product(ECHO, include_str!("harness/echo.json")).driver("sockets", "socket-thing");
    setup.with_driver(change).thing(ECHO, "s", "sockets").start().await
}

async fn tell(gw: &TestGateway, text: String) -> Result<String, Fault> {
    let things = gw.gateway.things.clone();
    let text = vec![Property::new("text", Value::Text(text))];
    let call = async move { things.call_service(&ThingId::new(ECHO, "s"), "echo", text).await };
    Ok(gw.gateway.guests().spawn(call).await.unwrap()?[0].value.to_text())
}

fn grant<T: FromStr<Err: Debug>>(address: impl Display) -> Vec<T> {
    vec![address.to_string().parse().unwrap()]
}

/// A peer that answers `pong` to whatever a client says first, and keeps the connection.
async fn tcp_peer() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut ping = [0; 4];
                if client.read_exact(&mut ping).await.is_ok() {
                    let _ = client.write_all(b"pong").await;
                }
                let _ = client.read(&mut ping).await;
            });
        }
    });
    address
}

async fn udp_peer() -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut ping = [0; 4];
        while let Ok((_, from)) = socket.recv_from(&mut ping).await {
            let _ = socket.send_to(b"pong", from).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_talks_tcp_to_a_granted_address_and_to_no_other() {
    let (peer, other) = (tcp_peer().await, tcp_peer().await);
    let gw = start(|driver| driver.grants.tcp = grant(peer)).await;
    for kind in ["tcp", "sdk-tcp", "std-tcp"] {
        assert_eq!(tell(&gw, format!("{kind} {peer}")).await.unwrap(), "pong", "{kind}");
        let refused = tell(&gw, format!("{kind} {other}")).await.unwrap().to_lowercase();
        assert!(refused.contains("denied"), "{kind}: {refused}");
    }
    gw.audited(&format!("tcp {other}")).await;
    assert!(!gw.audit().contains(&format!("tcp {peer}")), "what is granted was denied");
    // TCP is no UDP, nor listening.
    assert!(tell(&gw, format!("udp {peer}")).await.unwrap().contains("AccessDenied"));
    assert!(tell(&gw, "listen 127.0.0.1:0".into()).await.unwrap().contains("AccessDenied"));
    gw.audited("udp a socket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_given_up_loses_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        for part in ["po", "ng!"] {
            let mut asked = [0; 4];
            client.read_exact(&mut asked).await.unwrap();
            client.write_all(part.as_bytes()).await.unwrap();
        }
    });
    let gw = start(|driver| driver.grants.tcp = grant(peer)).await;
    let said = tell(&gw, format!("late {peer}")).await.unwrap();
    assert_eq!(said, "true pong Err(UnexpectedEof)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_exchanges_datagrams_with_a_granted_address_and_with_no_other() {
    let (peer, other) = (udp_peer().await, udp_peer().await);
    let gw = start(|driver| driver.grants.udp = grant(peer)).await;
    for kind in ["udp", "std-udp"] {
        assert_eq!(tell(&gw, format!("{kind} {peer}")).await.unwrap(), "pong", "{kind}");
        let refused = tell(&gw, format!("{kind} {other}")).await.unwrap().to_lowercase();
        assert!(refused.contains("denied"), "{kind}: {refused}");
    }
    gw.audited(&format!("udp {other}")).await;
    assert!(tell(&gw, "udp-bind 127.0.0.1:40404".into()).await.unwrap().contains("AccessDenied"));
    gw.audited("listen 127.0.0.1:40404").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_takes_connections_where_it_may_listen_and_nowhere_else() {
    let gw = start(|driver| driver.grants.listen = grant("127.0.0.1:*")).await;
    let address = tell(&gw, "listen 127.0.0.1:0".into()).await.unwrap();
    let mut client = tokio::net::TcpStream::connect(&address).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(tell(&gw, "accept".into()).await.unwrap(), "hello");
    for elsewhere in ["0.0.0.0:0", "any"] {
        let refused = tell(&gw, format!("listen {elsewhere}")).await.unwrap();
        assert!(refused.contains("AccessDenied"), "{elsewhere}: {refused}");
    }
    gw.audited("listen 0.0.0.0:").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_may_only_connect_listens_on_no_port_at_all() {
    let gw = start(|driver| driver.grants.tcp = grant("0.0.0.0/0:*")).await;
    for anywhere in ["0.0.0.0:0", "127.0.0.1:0", "127.0.0.1:40405", "any"] {
        let refused = tell(&gw, format!("listen {anywhere}")).await.unwrap();
        assert!(refused.contains("AccessDenied"), "{anywhere}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_looks_up_no_names() {
    let gw = start(|driver| driver.grants.tcp = grant("0.0.0.0/0:*")).await;
    for kind in ["name", "std-name"] {
        let answer = tell(&gw, format!("{kind} localhost")).await.unwrap();
        assert!(!answer.contains("127") && !answer.contains("found"), "{kind}: {answer}");
    }
    gw.audited("the address of the name localhost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_without_grants_makes_no_socket() {
    let peer = tcp_peer().await;
    let gw = start(|_| {}).await;
    for kind in ["tcp", "std-tcp", "udp", "std-udp"] {
        let refused = tell(&gw, format!("{kind} {peer}")).await.unwrap().to_lowercase();
        assert!(refused.contains("denied"), "{kind}: {refused}");
    }
    gw.audited("tcp a socket").await;
    gw.audited("udp a socket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_holds_no_more_connections_than_its_limit_of_handles() {
    let peer = tcp_peer().await;
    let gw = start(|driver| {
        driver.grants.tcp = grant(peer);
        driver.limits.handles = 32;
    })
    .await;
    // Those that are closed do not count.
    assert_eq!(tell(&gw, format!("churn {peer}")).await.unwrap(), "churned");
    assert!(tell(&gw, format!("hoard {peer}")).await.is_err());
    eventually("the driver to be stopped at its limit", || async {
        let drivers = gw.admin().get_json("/ledge/v1/drivers").await.unwrap();
        drivers[0]["restarts"] == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_granted_no_sockets() {
    let setup = gateway().function("misbehave").grants(|grants| grants.tcp = grant("127.0.0.1:9"));
    let gw = gateway().start().await;
    match gw.deploy(setup).await {
        Err(DeployError::Refused(problems)) => assert!(problems[0].contains("`tcp`") && problems[0].contains("driver"), "{problems:?}"),
        other => panic!("it was not refused: {other:?}"),
    }
}
