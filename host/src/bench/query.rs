//! A property of a thing, asked for over HTTPS: through the whole API and the driver, beside a router of the same kind that says hello
//! over the same TLS.
//!
//! Both servers are processes of their own, and take turns.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::post;
use hyper::Method;
use hyper::header::SET_COOKIE;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use super::load::{self, Expected, Load, Target};
use super::process::Running;
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::wasi_http::{Server, spawn};
use super::{Effort, Name};
use crate::gateway::{self, this_program};
use crate::seal::Seal;
use crate::store::file;
use crate::tls::{self, Identity};

const PATH: &str = "/thing/device/property/query";
const CONNECTIONS: usize = 32;
/// How much of what says hello must be left.
const SHARE_MIN: f64 = 0.6;
const TURNS: u64 = 10;
const HELLO: &str = "hello";

pub async fn measure(effort: &Effort, scratch: &Scratch, gateway: &Running, password: &str) -> anyhow::Result<Row> {
    let (_process, hello) = start_hello(scratch).await?;
    let ledge = query(gateway, password).await?;
    let turn = Duration::from_millis(effort.load_ms / TURNS);
    let [mut queries, mut hellos, mut p99_ms] = [(); 3].map(|()| Samples::default());
    // The first round is thrown away.
    for round in 0..=TURNS {
        let (query, said) = (load(&ledge, turn).await?, load(&hello, turn).await?);
        if round > 0 {
            queries.add(query.per_s);
            p99_ms.add(query.latencies.percentile(99) / 1_000.0);
            hellos.add(said.per_s);
        }
    }
    let baseline = Row::new(Name::PropertyQuery, hellos.median(), "requests/s");
    let row = Row::new(Name::PropertyQuery, queries.median(), "requests/s").beside(&baseline).at_least(SHARE_MIN * hellos.median());
    Ok(row.p99(p99_ms.median()).note(format!("{CONNECTIONS} connections over TLS, beside a router that says hello; p99 in ms")))
}

async fn load(target: &Target, during: Duration) -> anyhow::Result<Load> {
    let target = target.clone();
    tokio::task::spawn_blocking(move || load::run(&target, CONNECTIONS, during)).await?
}

/// The demo's lamp, for a user who has logged in.
async fn query(gateway: &Running, password: &str) -> anyhow::Result<Target> {
    let login = json!({"params": {"UserName": "admin", "Password": password}});
    let answer = gateway.client().send(Method::POST, "/auth/login", &[], login.to_string().into()).await?;
    let cookie = answer.headers.get(SET_COOKIE).and_then(|value| value.to_str().ok()?.split(';').next()).map(str::to_owned);
    let cookie = cookie.context("logging in to the gateway that is measured")?;
    let (address, tls) = gateway.client().pinned().context("the gateway that is measured is not reached over TLS")?;
    let expected = Expected::With(b"\"attribute\": \"LightSwitch\"");
    Ok(Target { address, tls: Some(tls), request: request(address, &cookie), status: "200", expected })
}

async fn start_hello(scratch: &Scratch) -> anyhow::Result<(Server, Target)> {
    let dir = scratch.path().join("hello-tls");
    let mut command = Command::new(this_program());
    command.args(["bench", "--say-hello"]).arg(&dir).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = spawn(command)?;
    let said = process.stderr.take().context("reading what the server that says hello says")?;
    let server = Server::at(process, said, "https://").await?;
    let tls = tls::client_config(&tls::fingerprint_of_file(&dir.join("cert.pem"))?)?;
    let request = request(server.address, "token=nobody");
    let target = Target { address: server.address, tls: Some(tls), request, status: "200", expected: Expected::Exactly(HELLO.as_bytes()) };
    Ok((server, target))
}

/// The same for both.
fn request(address: SocketAddr, cookie: &str) -> Vec<u8> {
    let body = json!({"params": {"productKey": "a1Light", "deviceName": "lamp-1", "propertyIdentifier": ["LightSwitch"]}}).to_string();
    let length = body.len();
    format!("POST {PATH} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Says hello to whoever asks, until it is killed.
pub async fn say_hello(dir: &Path) -> anyhow::Result<Infallible> {
    file::create_dir(dir).with_context(|| format!("creating {}", dir.display()))?;
    let identity = Identity::open(dir, &Arc::new(Seal::ephemeral()), &[])?;
    let acceptor = TlsAcceptor::from(identity.server_config());
    let router = Router::new().route(PATH, post(|| async { HELLO }));
    let listener = gateway::bind(([127, 0, 0, 1], 0).into()).await?;
    eprintln!("says hello at https://{}", listener.local_addr()?);
    loop {
        let (client, _) = listener.accept().await.context("accepting")?;
        client.set_nodelay(true)?;
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let Ok(client) = acceptor.accept(client).await else { return };
            let _ = http1::Builder::new().serve_connection(TokioIo::new(client), TowerToHyperService::new(router)).await;
        });
    }
}
