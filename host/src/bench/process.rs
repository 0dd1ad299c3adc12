//! A gateway in a process of its own: how soon it answers, and how much memory it holds when nothing happens.
//!
//! It starts on a data directory where the demo was deployed before, as it would after a power cut: nothing is built, and compiled
//! code comes from the cache.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hyper::Method;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::guests::Guests;
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::{Effort, Name};
use crate::cli::client::Client;
use crate::clock::Clock;
use crate::config::manifest;
use crate::function::IDLE;
use crate::gateway::monitor::Bring;
use crate::gateway::{ConnectionLimits, Gateway, Options, this_program};
use crate::name::FunctionName;
use crate::set::{Digest, Set};
use crate::supervisor::RestartPolicy;

const IDLE_RSS_MB_MAX: f64 = 40.0;
const START_MS_MAX: f64 = 300.0;
/// A gateway that has not started, answered or stopped by then will not.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// A data directory with something deployed on it.
pub struct Prepared {
    data: PathBuf,
    /// A project without any entry: `ledge up` wants one, and what is deployed already stays.
    project: PathBuf,
    fingerprint: String,
    password: Zeroizing<String>,
    /// Is called first, to see that the gateway answers.
    first: FunctionName,
    /// How long a function is not called before it is unloaded.
    pub idle: Duration,
}

impl Prepared {
    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn project(&self) -> &Path {
        &self.project
    }

    pub fn password(&self) -> &str {
        &self.password
    }
}

/// A gateway that runs; killed when it is dropped.
pub struct Running {
    process: Child,
    /// Kept open: a gateway that cannot speak ends.
    _said: BufReader<ChildStdout>,
    client: Client,
    local: Client,
}

/// The demo.
pub async fn prepare(guests: &Guests, scratch: &Scratch) -> anyhow::Result<Prepared> {
    let components = guests.components.0.iter().map(|(digest, component)| (digest, component.as_slice()));
    prepare_set(scratch, "demo", guests.demo.clone(), components, "EdgeFC/helloworld".parse()?).await
}

/// Any set, in a directory of that name.
pub async fn prepare_set<'a>(
    scratch: &Scratch,
    name: &str,
    set: Set,
    components: impl Iterator<Item = (&'a Digest, &'a [u8])>,
    first: FunctionName,
) -> anyhow::Result<Prepared> {
    let dir = scratch.path().join(name);
    let (data, project) = (dir.join("data"), dir.join("project"));
    fs::create_dir_all(&project)?;
    let password = Zeroizing::new(crate::seal::random_token());
    let options = Options { admin_password: Some(password.clone()), ..options(&data) };
    let gateway = Gateway::start(options).await?;
    // As a gateway is that was started before.
    gateway.bring_monitor(Bring::Once).await.context("deploying the gateway itself")?;
    for (digest, component) in components {
        gateway.deploy.components().put(digest, component)?;
    }
    gateway.deploy.apply(set, false, "ledge bench").await.with_context(|| format!("deploying {name}"))?;
    let fingerprint = gateway.fingerprint.clone();
    gateway.stop().await;
    fs::write(project.join(manifest::FILE_NAME), "[project]\nname = \"bench\"\n")?;
    Ok(Prepared { data, project, fingerprint, password, first, idle: IDLE })
}

/// A gateway as it usually is, on a port of its own.
pub fn options(data: &Path) -> Options {
    Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        plain_listen: None,
        http_listen: None,
        host_names: vec![],
        connections: ConnectionLimits::default(),
        data: data.to_owned(),
        key_file: None,
        admin_password: None,
        compat_default_login: false,
        restarts: RestartPolicy::default(),
        idle: IDLE,
        clock: Clock::system(),
        program: this_program(),
    }
}

/// Starts gateways, one after another. The last one still runs.
pub async fn measure(effort: &Effort, prepared: &Prepared) -> anyhow::Result<(Vec<Row>, Running)> {
    let (mut start_ms, mut rss_mb) = (Samples::default(), Samples::default());
    // The first start is thrown away: it may read the binary from the disk.
    let (mut running, _) = Running::start(prepared).await?;
    for _ in 0..effort.starts {
        running.stop().await?;
        let started = Running::start(prepared).await?;
        running = started.0;
        start_ms.add(started.1.as_secs_f64() * 1_000.0);
        running.until_drivers_are_online().await?;
        rss_mb.add(running.memory_mb("VmRSS:")?);
    }
    let [anon, file] = ["RssAnon:", "RssFile:"].map(|part| running.memory_mb(part));
    let rss = Row::new(Name::IdleRss, rss_mb.median(), "MB").at_most(IDLE_RSS_MB_MAX);
    let start = Row::new(Name::Start, start_ms.median(), "ms").p99(start_ms.percentile(99)).at_most(START_MS_MAX);
    let rows = vec![
        rss.note(format!("the demo, after one call and a login; of it {:.1} anonymous, {:.1} files", anon?, file?)),
        start.note(format!("to the first result of a function over HTTPS, login included; median of {}", start_ms.len())),
    ];
    Ok((rows, running))
}

impl Running {
    /// Starts the gateway, and gives the time until it answered.
    pub async fn start(prepared: &Prepared) -> anyhow::Result<(Self, Duration)> {
        let mut ledge = Command::new(std::env::current_exe().context("finding this program")?);
        ledge.arg("up").arg(&prepared.project).arg("--data").arg(&prepared.data).args(["--listen", "127.0.0.1:0"]);
        ledge.args(["--connections-per-address-max", "1024"]);
        ledge.args(["--idle-s", &prepared.idle.as_secs().to_string()]);
        // A password in the environment is for another gateway.
        ledge.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).env_remove("LEDGE_ADMIN_PASSWORD");
        let began = Instant::now();
        let mut process = ledge.kill_on_drop(true).spawn().context("starting a gateway")?;
        let mut said = BufReader::new(process.stdout.take().context("reading what the gateway says")?);
        let mut first_line = String::new();
        timeout(PATIENCE, said.read_line(&mut first_line)).await.context("the gateway that is measured said nothing")??;
        let Some((_, authority)) = first_line.trim().split_once("https://") else {
            bail!("the gateway that is measured did not start; `ledge demo` may say why");
        };
        let client = Client::remote(authority, &prepared.fingerprint)?.with_password("admin", &prepared.password);
        let running = Self { process, _said: said, client, local: Client::local(&prepared.data) };
        running
            .client
            .send(Method::POST, &invocation_path(prepared.first.service(), prepared.first.function()), &[], "bench".into())
            .await?
            .ok()?;
        Ok((running, began.elapsed()))
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// As the administrator of this machine.
    pub fn local(&self) -> &Client {
        &self.local
    }

    pub async fn until_drivers_are_online(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let drivers = self.local.get_json("/ledge/v1/drivers").await?;
            if drivers.as_array().is_some_and(|all| all.iter().all(|driver| driver["things"] == driver["things_online"])) {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("the demo's drivers did not come online: {drivers}");
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// A line of the kernel's account of the process, which counts in kibibytes.
    pub fn memory_mb(&self, key: &str) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/status", self.pid()?.as_raw_nonzero());
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib: Option<f64> = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
        kib.map(|kib| kib * 1_024.0 / 1_000_000.0).with_context(|| format!("{path} has no line `{key} ... kB`; idle-rss needs Linux"))
    }

    /// Stops it as an operator would, so that the next one finds its data in order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        kill_process(self.pid()?, Signal::TERM).context("stopping a gateway")?;
        timeout(PATIENCE, self.process.wait()).await.context("a gateway does not stop")??;
        Ok(())
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        let pid = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        pid.context("the gateway that is measured ended by itself; `ledge demo` may say why")
    }
}

pub fn invocation_path(service: &str, function: &str) -> String {
    format!("/2020-04-30/functions/service:{service}:function:{function}/invocations")
}
