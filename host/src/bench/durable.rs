//! Async invocations that are on the disk when they are acknowledged: over plain HTTP, from many clients; and from functions.
//!
//! The gateway is a process of its own, which runs what it accepts meanwhile: a queue that only fills up is no use to anybody.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::guests::Guests;
use super::load::{self, Expected, Load, Target};
use super::process::{Prepared, invocation_path, prepare_set};
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::wasi_http::Server;
use super::{Effort, Name};
use crate::cli::client::Client;
use crate::gateway::this_program;
use crate::grant::{Grants, InvokeGrants};
use crate::limit::Limits;
use crate::name::FunctionName;
use crate::set::{self, Set};

const PAYLOAD: [u8; 256] = [b'x'; 256];
/// Turns of each row. Between two the queue runs empty.
const TURNS: u64 = 5;
/// Functions that enqueue at the same time.
const INSIDE: usize = 64;
/// Invocations that one call of such a function enqueues.
const INSIDE_EACH: usize = 250;
const PATIENCE: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(10);

struct Gateway {
    server: Server,
    local: Client,
    request: Vec<u8>,
    target: FunctionName,
}

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch, wanted: &[Name]) -> anyhow::Result<Vec<Row>> {
    let gateway = Gateway::start(guests, scratch).await?;
    let turn = Duration::from_millis(effort.load_ms / TURNS);
    let mut rows = Vec::new();
    for (name, clients) in [(Name::Durable64, 64), (Name::Durable256, 256)] {
        if !wanted.contains(&name) {
            continue;
        }
        let (mut per_s, mut p99_ms, mut ran_per_s) = (Samples::default(), Samples::default(), Samples::default());
        for at in 0..=TURNS {
            let began = Instant::now();
            let load = gateway.load(clients, turn).await?;
            let accepted = load.latencies.len();
            gateway.until_empty().await?;
            // The first turn is thrown away.
            if at > 0 {
                per_s.add(load.per_s);
                p99_ms.add(load.latencies.percentile(99) / 1_000.0);
                ran_per_s.add(accepted as f64 / began.elapsed().as_secs_f64());
            }
        }
        let note = format!("p99 in ms; accepted and run, both, {:.0} a second", ran_per_s.median());
        rows.push(Row::new(name, per_s.median(), "invocations/s").p99(p99_ms.median()).note(note));
    }
    if !wanted.contains(&Name::DurableInside) {
        return Ok(rows);
    }
    let mut inside = Samples::default();
    for _ in 0..TURNS {
        inside.add(gateway.inside().await?);
        gateway.until_empty().await?;
    }
    let note = format!("{INSIDE} functions at once, each one after another");
    rows.push(Row::new(Name::DurableInside, inside.median(), "invocations/s").note(note));
    Ok(rows)
}

impl Gateway {
    async fn start(guests: &Guests, scratch: &Scratch) -> anyhow::Result<Self> {
        let count = guests.count.name.clone();
        let invoke = InvokeGrants { sync: vec![], asynchronous: vec![format!("{}/{}", count.service(), count.function()).parse()?] };
        let limits = Limits { concurrency: INSIDE as u32, ..guests.repeat.limits };
        let repeat = set::Function { grants: Grants { invoke, ..Grants::default() }.into(), limits, ..guests.repeat.clone() };
        let set = Set {
            products: vec![],
            things: vec![],
            drivers: vec![],
            functions: vec![guests.count.clone(), repeat],
            routes: vec![],
            rules: vec![],
        };
        let components = guests.components.0.iter().map(|(digest, component)| (digest, component.as_slice()));
        let prepared = prepare_set(scratch, "durable", set, components, count.clone()).await?;
        let server = Self::serve(&prepared).await?;
        let request = request(server.address, &prepared, &invocation_path(count.service(), count.function()));
        Ok(Self { server, local: Client::local(prepared.data()), request, target: count })
    }

    async fn serve(prepared: &Prepared) -> anyhow::Result<Server> {
        let mut ledge = Command::new(this_program());
        ledge.arg("up").arg(prepared.project()).arg("--data").arg(prepared.data());
        ledge.args(["--listen", "127.0.0.1:0", "--plain-listen", "127.0.0.1:0", "--connections-per-address-max", "1024"]);
        ledge.env_remove("LEDGE_ADMIN_PASSWORD").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = super::wasi_http::spawn(ledge)?;
        let said = process.stdout.take().context("reading what the gateway says")?;
        Server::at(process, said, "plain HTTP    http://").await
    }

    async fn load(&self, clients: usize, during: Duration) -> anyhow::Result<Load> {
        let target = Target {
            address: self.server.address,
            request: self.request.clone(),
            status: "202",
            expected: Expected::Exactly(b""),
            tls: None,
        };
        tokio::task::spawn_blocking(move || load::run(&target, clients, during)).await?
    }

    /// Invocations a second that functions enqueue.
    async fn inside(&self) -> anyhow::Result<f64> {
        let mut calls = JoinSet::new();
        let mut open = Vec::new();
        for _ in 0..INSIDE {
            open.push(self.local.connect().await?);
        }
        let began = Instant::now();
        for mut connection in open {
            let target = self.target.clone();
            calls.spawn(async move {
                let path = invocation_path("bench", "repeat");
                let event = format!("async {INSIDE_EACH} {} {}", target.service(), target.function());
                connection.send(Method::POST, &path, &[], event.into()).await?.ok()
            });
        }
        while let Some(called) = calls.join_next().await {
            let said = called??;
            ensure!(&said[..] == b"done", "a function that enqueues answered {said:?}");
        }
        Ok((INSIDE * INSIDE_EACH) as f64 / began.elapsed().as_secs_f64())
    }

    async fn until_empty(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.local.get_json("/ledge/v1/gateway").await?["queue_rows"] != 0 {
            if Instant::now() > until {
                bail!("the queue of the gateway that is measured does not become empty");
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Ok(())
    }
}

/// One async invocation, as bytes.
fn request(address: SocketAddr, prepared: &Prepared, path: &str) -> Vec<u8> {
    let login = STANDARD.encode(format!("admin:{}", prepared.password()));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {login}\r\nX-Fc-Invocation-Type: Async\r\nContent-Length: {}\r\n\r\n",
        PAYLOAD.len()
    );
    [head.as_bytes(), &PAYLOAD].concat()
}
