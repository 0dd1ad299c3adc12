//! A component of `wasi:http` that says hello, as many times as fit: here and in `wasmtime serve`, the same component and the same
//! load, over plain HTTP.
//!
//! Every server is a process of its own. They take turns of some hundred milliseconds, so that whatever else the machine does hits all.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::guests::Guests;
use super::load::{self, Expected, Load, Target};
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::stand_in::Pool;
use super::{Effort, Name};
use crate::clock::Clock;
use crate::config::manifest;
use crate::function::IDLE;
use crate::gateway::{ConnectionLimits, Gateway, Options, this_program};
use crate::limit::REUSE;
use crate::set::{self, HttpAuth, HttpTrigger, Set};
use crate::supervisor::RestartPolicy;

/// How many times as many requests as `wasmtime serve` answers as it comes, and with a pool like ours.
const FRESH_TIMES_DEFAULT: f64 = 3.5;
const FRESH_TIMES_TUNED: f64 = 1.3;
const REUSE_TIMES_DEFAULT: f64 = 7.0;

const CONNECTIONS: usize = 32;
const EXPECTED: &[u8] = b"hello\n";
const FRESH: &str = "/fresh";
const KEPT: &str = "/kept";
/// A server that has not said by then where it listens will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// The flags of the rival's pool: what ours has.
pub mod tuning {
    pub const MEMORY_KEEP_RESIDENT_BYTES: usize = 4 << 20;
    pub const TABLE_KEEP_RESIDENT_BYTES: usize = 80_000;
    pub const WARM_SLOTS: u32 = 64;
}

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch, against: Option<&Path>) -> anyhow::Result<Vec<Row>> {
    let hello = scratch.path().join("hello.wasm");
    fs::write(&hello, guests.component(&guests.hello.component)?)?;
    let ledge = Server::ledge(guests, scratch).await?;
    let default = Server::rival(against, Pool::Default, &hello).await?;
    let tuned = Server::rival(against, Pool::Tuned, &hello).await?;
    let turn = Duration::from_millis(effort.load_ms / TURNS);
    let [mut fresh, mut kept, mut usual, mut like_ours] = [(); 4].map(|()| Turns::default());
    // The first round is thrown away: caches, and the servers' threads, come awake.
    for round in 0..=TURNS {
        for (server, path, turns) in
            [(&ledge, FRESH, &mut fresh), (&default, "/", &mut usual), (&tuned, "/", &mut like_ours), (&ledge, KEPT, &mut kept)]
        {
            let load = server.load(path, turn).await?;
            if round > 0 {
                turns.add(load);
            }
        }
    }
    Ok(rows(&fresh, &kept, &usual, &like_ours, against))
}

/// Turns of each server.
const TURNS: u64 = 10;

fn rows(fresh: &Turns, kept: &Turns, usual: &Turns, like_ours: &Turns, against: Option<&Path>) -> Vec<Row> {
    let rival = if against.is_some() { "wasmtime serve" } else { "a stand-in for wasmtime serve" };
    let default = Row::new(Name::WasiHttpFresh, usual.per_s.median(), "requests/s");
    let note = format!(
        "{rival}: {:.0}, p99 {:.2} ms; with our pool {:.0} ({:.2} times), p99 {:.2} ms",
        usual.per_s.median(),
        usual.p99_ms.median(),
        like_ours.per_s.median(),
        fresh.per_s.median() / like_ours.per_s.median(),
        like_ours.p99_ms.median()
    );
    let bar = (FRESH_TIMES_DEFAULT * usual.per_s.median()).max(FRESH_TIMES_TUNED * like_ours.per_s.median());
    let is_as_steady = fresh.p99_ms.median() <= usual.p99_ms.median().min(like_ours.p99_ms.median());
    vec![
        Row::new(Name::WasiHttpFresh, fresh.per_s.median(), "requests/s")
            .beside(&default)
            .at_least(bar)
            .provided(is_as_steady)
            .p99(fresh.p99_ms.median())
            .note(note),
        Row::new(Name::WasiHttpReuse, kept.per_s.median(), "requests/s")
            .beside(&default)
            .at_least(REUSE_TIMES_DEFAULT * usual.per_s.median())
            .p99(kept.p99_ms.median())
            .note("p99 in ms"),
    ]
}

#[derive(Default)]
struct Turns {
    per_s: Samples,
    p99_ms: Samples,
}

impl Turns {
    fn add(&mut self, load: Load) {
        self.per_s.add(load.per_s);
        self.p99_ms.add(load.latencies.percentile(99) / 1_000.0);
    }
}

/// A server in a process of its own; killed when it is dropped.
pub(super) struct Server {
    _process: Child,
    pub address: SocketAddr,
}

impl Server {
    async fn load(&self, path: &str, during: Duration) -> anyhow::Result<Load> {
        let request = load::get(self.address, path);
        let target = Target { address: self.address, request, status: "200", expected: Expected::Exactly(EXPECTED), tls: None };
        tokio::task::spawn_blocking(move || load::run(&target, CONNECTIONS, during)).await?
    }

    /// A gateway with the component on it twice: with fresh instances, and with kept ones.
    async fn ledge(guests: &Guests, scratch: &Scratch) -> anyhow::Result<Self> {
        let (data, project) = (scratch.path().join("http-data"), scratch.path().join("http-project"));
        fs::create_dir(&project)?;
        fs::write(project.join(manifest::FILE_NAME), "[project]\nname = \"bench\"\n")?;
        deploy(guests, &data).await?;
        let mut ledge = Command::new(this_program());
        ledge.arg("up").arg(&project).arg("--data").arg(&data).args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
        ledge.args(["--connections-per-address-max", "1024"]);
        ledge.args(["--gateway-monitor", "never"]);
        ledge.env_remove("LEDGE_ADMIN_PASSWORD").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = spawn(ledge)?;
        let said = process.stdout.take().context("reading what the gateway says")?;
        Self::at(process, said, "answer at http://").await
    }

    async fn rival(against: Option<&Path>, pool: Pool, component: &Path) -> anyhow::Result<Self> {
        let mut rival = match against {
            Some(wasmtime) => {
                let mut rival = Command::new(wasmtime);
                // What Rust's std imports is not there by itself.
                rival.args(["serve", "-Scli", "--addr", "127.0.0.1:0"]).args(flags(pool)).arg(component);
                rival
            }
            None => {
                let mut stand_in = Command::new(this_program());
                let pool = if pool == Pool::Tuned { "tuned" } else { "default" };
                stand_in.args(["bench", "--stand-in", pool, "--component"]).arg(component);
                stand_in
            }
        };
        rival.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = spawn(rival)?;
        let said = process.stderr.take().context("reading what the rival says")?;
        Self::at(process, said, "http://").await
    }

    /// Waits until it says where it listens, and goes on listening to it, so that it never waits for somebody to read.
    pub async fn at(process: Child, said: impl AsyncRead + Unpin + Send + 'static, before: &str) -> anyhow::Result<Self> {
        let mut lines = BufReader::new(said).lines();
        let found = async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, address)) = line.split_once(before) {
                    return address.trim_end_matches('/').parse().with_context(|| format!("reading the address in `{line}`"));
                }
            }
            bail!("a server that is measured ended by itself")
        };
        let address = timeout(PATIENCE, found).await.context("a server that is measured does not say where it listens")??;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { _process: process, address })
    }
}

pub(super) fn spawn(mut command: Command) -> anyhow::Result<Child> {
    let shown = format!("{:?}", command.as_std());
    command.stdin(Stdio::null()).kill_on_drop(true).spawn().with_context(|| format!("starting {shown}"))
}

fn flags(pool: Pool) -> Vec<String> {
    if pool == Pool::Default {
        return vec![];
    }
    vec![
        "-Opooling-allocator=y".to_owned(),
        format!("-Opooling-memory-keep-resident={}", tuning::MEMORY_KEEP_RESIDENT_BYTES),
        format!("-Opooling-table-keep-resident={}", tuning::TABLE_KEEP_RESIDENT_BYTES),
        format!("-Opooling-max-unused-warm-slots={}", tuning::WARM_SLOTS),
        "-Opooling-pagemap-scan=auto".to_owned(),
    ]
}

async fn deploy(guests: &Guests, data: &Path) -> anyhow::Result<()> {
    let options = Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        plain_listen: None,
        http_listen: None,
        host_names: vec![],
        connections: ConnectionLimits::default(),
        data: data.to_owned(),
        key_file: None,
        admin_password: Some(Zeroizing::new(crate::seal::random_token())),
        compat_default_login: false,
        restarts: RestartPolicy::default(),
        idle: IDLE,
        clock: Clock::system(),
        program: this_program(),
    };
    let gateway = Gateway::start(options).await?;
    gateway.deploy.components().put(&guests.hello.component, guests.component(&guests.hello.component)?)?;
    let answers = |name: &str, prefix: &str, reuse| -> anyhow::Result<set::Function> {
        let http = HttpTrigger { prefix: prefix.to_owned(), auth: HttpAuth::Anonymous, methods: vec![] };
        Ok(set::Function { name: name.parse()?, http: Some(http), reuse, ..guests.hello.clone() })
    };
    let functions = vec![answers("bench/hello", FRESH, 0)?, answers("bench/kept", KEPT, *REUSE.end())?];
    let set = Set { products: vec![], things: vec![], drivers: vec![], functions, routes: vec![], rules: vec![] };
    gateway.deploy.apply(set, false, "ledge bench").await.context("deploying hello")?;
    gateway.stop().await;
    Ok(())
}
