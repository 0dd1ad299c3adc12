//! Invocations over HTTPS, as many as fit: connections that are kept, each with one request at a time.
//!
//! The gateway is a process of its own and the clients are this one. Both share the machine, so the number is what is left for the
//! gateway when its clients run beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use hyper::Method;
use tokio::task::JoinSet;

use super::function::FIRST;
use super::guests::Guests;
use super::process::{Running, invocation_path};
use super::row::Row;
use super::samples::Samples;
use super::{Effort, Name};
use crate::cli::client::Connection;

const EVENT: Bytes = Bytes::from_static(b"x");
/// Not measured: caches, and the gateway's threads, come awake.
const WARM_UP: Duration = Duration::from_millis(300);

pub async fn measure(effort: &Effort, guests: &Guests, gateway: &Running) -> anyhow::Result<Vec<Row>> {
    deploy_count(guests, gateway).await?;
    let path: Arc<str> = invocation_path(guests.count.name.service(), guests.count.name.function()).into();
    let mut rows = Vec::new();
    for (name, connections) in [(Name::Http1, 1), (Name::Http32, 32)] {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(gateway.client().connect().await?);
        }
        let (open, _) = load(open, &path, WARM_UP).await?;
        let took = Duration::from_millis(effort.load_ms);
        let (_, samples) = load(open, &path, took).await?;
        let per_s = samples.len() as f64 / took.as_secs_f64();
        let note = format!("a request takes {:.2} ms, p99 {:.2} ms", samples.median() / 1_000.0, samples.percentile(99) / 1_000.0);
        rows.push(Row::new(name, per_s, "requests/s").note(note));
    }
    Ok(rows)
}

async fn deploy_count(guests: &Guests, gateway: &Running) -> anyhow::Result<()> {
    let mut set = guests.demo.clone();
    set.functions.push(guests.count.clone());
    let sent = gateway.local().send(Method::POST, "/2016-08-15/deployments", &[], serde_json::to_vec(&set)?.into()).await?;
    sent.ok().context("deploying the function `count`")?;
    Ok(())
}

/// Sends requests on every connection until the time is over, and gives the connections back.
async fn load(connections: Vec<Connection>, path: &Arc<str>, during: Duration) -> anyhow::Result<(Vec<Connection>, Samples)> {
    let until = Instant::now() + during;
    let mut clients = JoinSet::new();
    for mut connection in connections {
        let path = path.clone();
        clients.spawn(async move {
            let mut samples = Samples::default();
            while Instant::now() < until {
                let answer = samples.time(1, connection.send(Method::POST, &path, &[], EVENT)).await?.ok()?;
                ensure!(answer == FIRST, "a fresh instance answered {answer:?}");
            }
            anyhow::Ok((connection, samples))
        });
    }
    let (mut open, mut all) = (Vec::new(), Samples::default());
    while let Some(client) = clients.join_next().await {
        let (connection, samples) = client.context("loading the gateway")??;
        open.push(connection);
        all.extend(samples);
    }
    Ok((open, all))
}
