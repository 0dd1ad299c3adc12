//! A thousand registers of one Modbus server: how many requests the driver `modbus` needs to read them all.
//!
//! The server here answers one function and counts; the driver is tested against a real one in `tests/it/modbus.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::guests::Guests;
use super::process::options;
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::{Effort, Name};
use crate::bus::Kind;
use crate::gateway::Gateway;
use crate::grant::Grants;
use crate::set::{self, Driver, Set};

const PRODUCT: &str = "a1Registers";
const REGISTERS: usize = 1_000;
const REQUESTS_MAX: f64 = 10.0;
const INTERVAL_MS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch) -> anyhow::Result<Row> {
    let (server, requests) = serve()?;
    let gateway = Gateway::start(options(&scratch.path().join("modbus"))).await?;
    let mut reports = gateway.bus.subscribe(|message| message.kind == Kind::Properties && message.topic.contains(PRODUCT), 1_024);
    gateway.deploy.components().put(&guests.modbus.component, guests.component(&guests.modbus.component)?)?;
    gateway.deploy.apply(set(guests, server)?, false, "ledge bench").await.context("deploying what is measured")?;
    // The first one is on its way with the connection, and the gateway may be busy with itself.
    timeout(PATIENCE, reports.next()).await.context("the registers were not read")?;
    let (mut per_cycle, mut cycle_ms) = (Samples::default(), Samples::default());
    for _ in 0..effort.starts {
        let (before, began) = (requests.load(Relaxed), Instant::now());
        timeout(PATIENCE, reports.next()).await.context("the registers were not read again")?;
        per_cycle.add((requests.load(Relaxed) - before) as f64);
        cycle_ms.add(began.elapsed().as_secs_f64() * 1_000.0);
    }
    gateway.stop().await;
    let row = Row::new(Name::Modbus, per_cycle.median(), "requests").at_most(REQUESTS_MAX);
    Ok(row.note(format!("for {REGISTERS} registers of one server, read every {INTERVAL_MS} ms; a cycle took {:.1} ms", cycle_ms.median())))
}

fn set(guests: &Guests, server: SocketAddr) -> anyhow::Result<Set> {
    let name = |at: usize| format!("register_{at}");
    let property = |at| json!({"identifier": name(at), "accessMode": "r", "dataType": {"type": "int", "specs": {}}});
    let mapped = |at| json!({"identifier": name(at), "customize": {"area": "holding", "address": at, "type": "uint16"}});
    let product = set::Product {
        key: PRODUCT.into(),
        name: PRODUCT.into(),
        tsl: json!({"properties": (0..REGISTERS).map(property).collect::<Vec<_>>()}).to_string(),
        tsl_ext: Some(json!({"properties": (0..REGISTERS).map(mapped).collect::<Vec<_>>()}).to_string()),
        history_bytes: 64 << 10,
    };
    let thing = set::Thing {
        product_key: PRODUCT.into(),
        device_name: "server-1".into(),
        driver: guests.modbus.name.clone(),
        local_name: None,
        tags: BTreeMap::new(),
        custom: Some(json!({"host": server.ip().to_string(), "port": server.port(), "interval_ms": INTERVAL_MS})),
    };
    let grants = Grants { tcp: vec![server.to_string().parse()?], ..Grants::default() };
    let driver = Driver { grants, ..guests.modbus.clone() };
    Ok(Set { products: vec![product], things: vec![thing], drivers: vec![driver], ..Set::default() })
}

/// A server whose registers hold their own addresses, and how many requests it has answered.
fn serve() -> anyhow::Result<(SocketAddr, Arc<AtomicU64>)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let (listener, requests) = (socket.listen(8)?, Arc::<AtomicU64>::default());
    let (address, counted) = (listener.local_addr()?, requests.clone());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(answer(client, counted.clone()));
        }
    });
    Ok((address, requests))
}

async fn answer(mut client: TcpStream, requests: Arc<AtomicU64>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut request = [0; 12];
    loop {
        client.read_exact(&mut request).await?;
        let [transaction_1, transaction_2, _, _, _, _, unit, function, from_1, from_2, count_1, count_2] = request;
        let (from, count) = (u16::from_be_bytes([from_1, from_2]), u16::from_be_bytes([count_1, count_2]).min(125));
        let bytes = u8::try_from(count * 2).unwrap_or(u8::MAX);
        let mut answer = vec![transaction_1, transaction_2, 0, 0, 0, bytes.saturating_add(3), unit, function, bytes];
        answer.extend((0..count).flat_map(|at| from.wrapping_add(at).to_be_bytes()));
        requests.fetch_add(1, Relaxed);
        client.write_all(&answer).await?;
    }
}
