//! Servers that answer nonsense, half of it, somebody else's, too late, or not at all.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledge::thing::value::Value;
use ledge::thing::{Presence, fault};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::plant::Plant;
use super::{Devices, NEVER_MS, Row, call, get, holding, id, int, report, reports, set, setup, unit, with_services};
use crate::harness::{Setup, TestGateway, eventually, gateway};

/// What it does with the answer to each request, which would be right.
#[derive(Clone, Debug)]
enum Manner {
    Right,
    /// These bytes in its place.
    Bytes(Vec<u8>),
    /// The answer with the byte at this place changed.
    Changed(usize, u8),
    /// So much of it, and then nothing.
    Half(usize),
    /// So much of it, and then the connection is closed.
    Closed(usize),
    Silent,
    /// The answer to the request before comes first.
    Late,
    /// It sends answers that nobody asked for, until nobody listens.
    Flood,
    /// Zeros, until nobody listens.
    Zeros,
    /// The right answer, and then the connection is closed.
    ClosedAfter,
    /// It closes the connection when this unit is asked.
    ClosedAt(u8),
    /// It closes the connection in place of an answer to a write.
    ClosedAtWrites,
}

/// `le_error.h` numbers that the driver uses besides the gateway's own.
const EXCEPTION_CODE: u32 = 109_012;
const DECODE: u32 = 109_016;

struct Server {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    connections: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, manner) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Manner::Right)));
        let connections = Arc::new(AtomicUsize::new(0));
        let writes = Arc::new(AtomicUsize::new(0));
        let (shared, count, writes_too) = (manner.clone(), connections.clone(), writes.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                tokio::spawn(serve(client, shared.clone(), writes_too.clone()));
            }
        });
        Self { address, manner, connections, writes }
    }

    fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

/// Answers every read of one register with the request's number.
async fn serve(mut client: TcpStream, manner: Arc<Mutex<Manner>>, writes: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut before: Option<Vec<u8>> = None;
    loop {
        let mut request = [0; 12];
        client.read_exact(&mut request).await?;
        let [t0, t1, .., unit, code, _, _, _, _] = request;
        let right = match code {
            3 => vec![t0, t1, 0, 0, 0, 5, unit, 3, 2, t0, t1],
            // A write of one register is repeated.
            _ => request.to_vec(),
        };
        let is_write = code != 3;
        writes.fetch_add(usize::from(is_write), Relaxed);
        let now = manner.lock().unwrap().clone();
        match now {
            Manner::Right => client.write_all(&right).await?,
            Manner::Bytes(bytes) => client.write_all(&bytes).await?,
            Manner::Changed(at, byte) => {
                let mut changed = right.clone();
                changed[at] = byte;
                client.write_all(&changed).await?;
            }
            Manner::Half(length) => client.write_all(&right[..length]).await?,
            Manner::Closed(length) => {
                client.write_all(&right[..length]).await?;
                return client.shutdown().await;
            }
            Manner::Silent => {}
            Manner::Late => {
                if let Some(before) = before.take() {
                    client.write_all(&[before, right.clone()].concat()).await?;
                }
            }
            Manner::Flood => loop {
                client.write_all(&[0xff, 0xff, 0, 0, 0, 5, unit, 3, 2, 0, 0].repeat(100)).await?;
            },
            Manner::Zeros => loop {
                client.write_all(&[0; 65_536]).await?;
            },
            Manner::ClosedAt(closed) if unit == closed => return client.shutdown().await,
            Manner::ClosedAt(_) => client.write_all(&right).await?,
            Manner::ClosedAtWrites if is_write => return client.shutdown().await,
            Manner::ClosedAtWrites => client.write_all(&right).await?,
            Manner::ClosedAfter => {
                client.write_all(&right).await?;
                return client.shutdown().await;
            }
        }
        before = Some(right);
    }
}

fn rows() -> [Row<'static>; 1] {
    [("n", "rw", int(), holding(0))]
}

/// A gateway with the device `bad` on this server, which is asked only when somebody wants it, and a device `good` elsewhere.
async fn start(server: &Server, good: &Plant, timeout_ms: u64) -> TestGateway {
    let settings = json!({"timeout_ms": timeout_ms, "offline_after": 1000, "backoff_max_ms": 20});
    let mut setup = setup(&rows(), settings).device("good", good.address, 1).device("bad", server.address, 1);
    setup = setup.with_thing(|thing| thing.custom.as_mut().unwrap()["interval_ms"] = json!(NEVER_MS));
    setup.start().await
}

/// The fault of a get, once the manner of the server shows.
async fn refusal(gw: &TestGateway, server: &Server, manner: Manner) -> fault::Fault {
    server.behave(Manner::Right);
    eventually("the device to answer again", || async { get(gw, "bad", "n").await.is_ok() }).await;
    server.behave(manner);
    get(gw, "bad", "n").await.unwrap_err()
}

async fn unharmed(gw: &TestGateway) {
    assert_eq!(get(gw, "good", "n").await.unwrap(), Value::Int(8));
    assert_eq!(gw.gateway.drivers.list()[0].2, 0, "the driver was started again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_a_named_fault_and_the_next_one_counts() {
    let (server, good) = (Server::start().await, Plant::start([(1, unit(&[8]))]).await);
    let gw = start(&server, &good, 2_000).await;
    for (manner, code, said) in [
        (Manner::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), DECODE, "protocol identifier"),
        (Manner::Bytes(vec![0; 64]), DECODE, "its length is 0"),
        (Manner::Changed(3, 1), DECODE, "protocol identifier is 1"),
        (Manner::Changed(4, 1), DECODE, "its length is 261"),
        (Manner::Changed(5, 255), DECODE, "its length is 255"),
        (Manner::Changed(6, 2), DECODE, "of unit 2"),
        (Manner::Changed(7, 4), DECODE, "function 4, not 3"),
        (Manner::Changed(7, 0x83), DECODE, "3 bytes in place of one"),
        (Manner::Changed(8, 4), DECODE, "expected 2"),
        (Manner::Flood, DECODE, "others"),
        (Manner::Zeros, DECODE, "its length is 0"),
    ] {
        let refused = refusal(&gw, &server, manner.clone()).await;
        assert_eq!(refused.code, code, "{manner:?}: {refused}");
        assert!(refused.message.contains(said), "{manner:?}: {refused}");
        unharmed(&gw).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_is_a_fault_that_names_it() {
    let (server, good) = (Server::start().await, Plant::start([(1, unit(&[8]))]).await);
    let gw = start(&server, &good, 2_000).await;
    for (code, fault, name) in [
        (1, EXCEPTION_CODE, "illegal function"),
        (2, EXCEPTION_CODE, "illegal data address"),
        (3, fault::PARAM_RANGE_OVERFLOW, "illegal data value"),
        (6, EXCEPTION_CODE, "busy"),
        (0x0b, fault::SERVICE_UNREACHABLE, "failed to respond"),
    ] {
        server.behave(Manner::Right);
        eventually("the device to answer again", || async { get(&gw, "bad", "n").await.is_ok() }).await;
        // Its number is what it answers in the register.
        let Value::Int(transaction) = get(&gw, "bad", "n").await.unwrap() else { panic!("no number") };
        let [t0, t1] = (transaction as u16 + 1).to_be_bytes();
        server.behave(Manner::Bytes(vec![t0, t1, 0, 0, 0, 3, 1, 0x83, code]));
        let refused = get(&gw, "bad", "n").await.unwrap_err();
        assert_eq!(refused.code, fault, "{refused}");
        assert!(refused.message.contains(name), "{refused}");
    }
    unharmed(&gw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_at_any_byte_is_unreachable_until_it_does_not() {
    let (server, good) = (Server::start().await, Plant::start([(1, unit(&[8]))]).await);
    let gw = start(&server, &good, 2_000).await;
    for length in 0..11 {
        let refused = refusal(&gw, &server, Manner::Closed(length)).await;
        assert_eq!(refused.code, fault::SERVICE_UNREACHABLE, "at {length}: {refused}");
        assert!(refused.message.contains("broke"), "at {length}: {refused}");
    }
    unharmed(&gw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_at_which_the_server_closes_costs_its_neighbours_no_call() {
    let server = Server::start().await;
    let settings = json!({"offline_after": 3, "backoff_min_ms": 50, "backoff_max_ms": 200});
    let gw = setup(&rows(), settings).device("well", server.address, 1).device("ill", server.address, 2).start().await;
    server.behave(Manner::ClosedAt(2));
    gw.presence(&id("ill"), Presence::Offline).await;
    let before = server.connections.load(Relaxed);
    // While it is tried again some times.
    eventually("the ill one to be tried", || async {
        get(&gw, "well", "n").await.unwrap();
        server.connections.load(Relaxed) > before + 5
    })
    .await;
    server.behave(Manner::Right);
    gw.online(&id("ill")).await;
    get(&gw, "ill", "n").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_written_again_on_a_new_connection_and_a_service_s_never_is() {
    let server = Server::start().await;
    let services = json!([{"identifier": "go", "name": "go", "callType": "sync", "inputData": [], "outputData": []}]);
    let mapped = json!([{"identifier": "go", "inputData": [{"customize": {"area": "holding", "address": 1, "value": 1}}]}]);
    let settings = json!({"offline_after": 1000, "backoff_max_ms": 20, "interval_ms": NEVER_MS});
    let gw = with_services(setup(&rows(), settings), &services, &mapped).device("bad", server.address, 1).start().await;
    let writes = || server.writes.load(Relaxed);
    for (is_call, wanted) in [(false, 2), (true, 1)] {
        server.behave(Manner::ClosedAtWrites);
        eventually("the device to answer again", || async { get(&gw, "bad", "n").await.is_ok() }).await;
        let before = writes();
        let refused = if is_call {
            call(&gw, "bad", "go", &[]).await.unwrap_err()
        } else {
            set(&gw, "bad", &[("n", Value::Int(1))]).await.unwrap_err()
        };
        assert_eq!((refused.code, writes() - before), (fault::SERVICE_UNREACHABLE, wanted), "{refused}");
    }
    server.behave(Manner::Right);
    eventually("the call to be done", || async { call(&gw, "bad", "go", &[]).await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_half_or_not_at_all_is_a_timeout() {
    let (server, good) = (Server::start().await, Plant::start([(1, unit(&[8]))]).await);
    let gw = start(&server, &good, 150).await;
    // A number that nobody gave is an answer to nothing.
    for manner in [Manner::Silent, Manner::Half(1), Manner::Half(7), Manner::Half(10), Manner::Changed(0, 0xff)] {
        let refused = refusal(&gw, &server, manner.clone()).await;
        assert_eq!(refused.code, fault::TIMEOUT, "{manner:?}: {refused}");
        assert!(refused.message.contains("within 150 ms"), "{manner:?}: {refused}");
    }
    unharmed(&gw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next_one() {
    let (server, good) = (Server::start().await, Plant::start([(1, unit(&[8]))]).await);
    let gw = start(&server, &good, 300).await;
    server.behave(Manner::Right);
    let Value::Int(first) = get(&gw, "bad", "n").await.unwrap() else { panic!("no number") };
    server.behave(Manner::Silent);
    assert_eq!(get(&gw, "bad", "n").await.unwrap_err().code, fault::TIMEOUT);
    server.behave(Manner::Late);
    // Two requests later, and not one: the answer to the silent one comes before its own.
    assert_eq!(get(&gw, "bad", "n").await.unwrap(), Value::Int(first + 2));
    unharmed(&gw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_after_each_answer_is_asked_on_a_new_connection_and_no_handle_is_lost() {
    let (server, good) = (Server::start().await, Plant::start([(1, unit(&[8]))]).await);
    let setup = setup(&rows(), json!({"interval_ms": NEVER_MS})).device("good", good.address, 1).device("bad", server.address, 1);
    let gw = setup.with_driver(|driver| driver.limits.handles = 64).start().await;
    server.behave(Manner::ClosedAfter);
    for value in 0..200 {
        set(&gw, "bad", &[("n", Value::Int(value))]).await.unwrap();
    }
    assert!(server.connections.load(Relaxed) > 100);
    unharmed(&gw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_connection_delays_nobody_and_no_handle_is_lost() {
    // Its queue of connections is full, and the system lets others wait without an answer.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(client) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(client.unwrap());
        assert!(waiting.len() < 64, "its queue has no end");
    }
    let good = Plant::start([(1, unit(&[8]))]).await;
    let gw = gateway().start().await;
    let setup = setup(&rows(), json!({"timeout_ms": 100, "backoff_max_ms": 10, "offline_after": 1000})).device("good", good.address, 1);
    let Setup { set, components, .. } = setup.device("bad", address, 1).with_driver(|driver| driver.limits.handles = 32);
    for (digest, component) in &components {
        gw.gateway.deploy.components().put(digest, component).unwrap();
    }
    let mut reports = reports(&gw, "good");
    // Without waiting for the device that never comes online.
    gw.gateway.deploy.apply(set, false, "test").await.unwrap();
    // In that time it is tried more often than there are handles.
    for _ in 0..220 {
        report(&mut reports).await;
    }
    unharmed(&gw).await;
}
