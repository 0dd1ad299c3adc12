//! The interfaces `listen` and `gateway-info` for a driver whose code blocks: it serves clients in a plain loop, and answers while it waits.

use ledge::grant::Listen;
use ledge::name::ThingId;
use ledge::set;
use ledge::thing::fault::Fault;
use ledge::thing::value::{Property, Value};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::harness::{ECHO, TestGateway, eventually, gateway};

fn thing() -> ThingId {
    ThingId::new(ECHO, "server-1")
}

/// A gateway with the driver `server`, which listens on a port of its own, and a function.
async fn start(change: impl FnOnce(&mut set::Driver)) -> TestGateway {
    let setup = gateway().function("misbehave").product(ECHO, include_str!("harness/echo.json")).driver("server", "plain-server");
    let setup = setup.with_driver(|driver| {
        driver.config = Some(json!({"json": {"listen": "127.0.0.1:0"}}));
        driver.grants.listen = vec!["127.0.0.1:*".parse().unwrap()];
        change(driver);
    });
    let gw = setup.thing(ECHO, "server-1", "server").start().await;
    gw.online(&thing()).await;
    gw
}

async fn call(gw: &TestGateway, service: &'static str, text: &str) -> Result<String, Fault> {
    let things = gw.gateway.things.clone();
    let arguments = if service == "echo" { vec![Property::new("text", Value::Text(text.into()))] } else { vec![] };
    let call = async move { things.call_service(&thing(), service, arguments).await };
    Ok(gw.gateway.guests().spawn(call).await.unwrap()?[0].value.to_text())
}

async fn echo(gw: &TestGateway, text: &str) -> String {
    call(gw, "echo", text).await.unwrap()
}

async fn clients(gw: &TestGateway) -> Value {
    gw.gateway.things.get_properties(&thing(), vec!["Number".into()]).await.unwrap().remove(0).value
}

async fn connect(gw: &TestGateway) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(call(gw, "config", "").await.unwrap().parse().unwrap()).await.unwrap()
}

async fn exchange(client: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), text: &str) -> String {
    client.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_the_gateway_while_it_waits_for_clients_and_for_their_bytes() {
    let gw = start(|_| {}).await;
    assert_eq!(echo(&gw, "waiting for a client").await, "waiting for a client");
    let mut client = connect(&gw).await;
    assert_eq!(exchange(&mut client, "hello").await, "hello");
    assert_eq!(echo(&gw, "waiting for bytes").await, "waiting for bytes");
    assert_eq!(exchange(&mut client, "again").await, "again");
    // It says no more, and still hears.
    client.write_all(b"end").await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    drop(client);
    let mut next = connect(&gw).await;
    assert_eq!(exchange(&mut next, "next").await, "next");
    assert_eq!(clients(&gw).await, Value::Int(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_up_no_answer_to_the_gateway() {
    let gw = start(|_| {}).await;
    let mut stuck = connect(&gw).await;
    stuck.write_all(b"big").await.unwrap();
    stuck.readable().await.unwrap();
    for _ in 0..20 {
        assert_eq!(echo(&gw, "still here").await, "still here");
    }
    let mut read = 0;
    let mut buffer = vec![0; 64 << 10];
    while read < 16 << 20 {
        match stuck.read(&mut buffer).await.unwrap() {
            0 => panic!("only {read} bytes came"),
            length => read += length,
        }
    }
    assert_eq!(exchange(&mut stuck, "done").await, "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conditions_of_its_grant_hold() {
    let gw = start(|driver| driver.grants.listen = vec![Listen { tls: true, ..driver.grants.listen[0].clone() }]).await;
    let tls = TlsConnector::from(ledge::tls::client_config(&gw.gateway.fingerprint).unwrap());
    let mut client = tls.connect(ServerName::try_from("localhost").unwrap(), connect(&gw).await).await.unwrap();
    assert_eq!(exchange(&mut client, "inside").await, "inside");

    let gw = start(|driver| driver.grants.listen.clear()).await;
    let said = call(&gw, "config", "").await.unwrap();
    assert!(said.starts_with("110001 not granted: listen"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_end_in_the_middle_end_nothing_else() {
    let gw = start(|_| {}).await;
    for _ in 0..20 {
        let mut client = connect(&gw).await;
        client.write_all(b"big").await.unwrap();
        client.set_zero_linger().unwrap();
    }
    eventually("all of them to be taken", || async { clients(&gw).await == Value::Int(20) }).await;
    assert_eq!(exchange(&mut connect(&gw).await, "after them").await, "after them");
    assert_eq!(gw.gateway.drivers.list()[0].2, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_knows_of_the_gateway_what_it_is_granted() {
    let gw = start(|driver| driver.grants.gateway_info = true).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(echo(&gw, "cores").await, cores.to_string());
    gw.result("misbehave", "hello").await;
    assert_eq!(echo(&gw, "function test/misbehave").await, "1");
    assert_eq!(echo(&gw, "functions").await, "1");
    assert_eq!(call(&gw, "echo", "function none/none").await.unwrap_err().code, 110_003);

    let gw = start(|_| {}).await;
    assert_eq!(call(&gw, "echo", "cores").await.unwrap_err().code, 110_001);
}
