//! kill -9, at any moment: what was acknowledged runs.
//!
//! `LEDGE_KILLS=1000 cargo test --release --test it crash -- --nocapture` is the long run (docs/testing.md).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hyper::Method;
use hyper::header::HeaderName;
use ledge::cli::client::{Client, Connection};
use tempfile::TempDir;

use crate::harness::command::{Process, command, ledge};
use crate::harness::{PASSWORD, Setup, component, data_dir, eventually, gateway, shared_key};

const KILLS_IN_CI: u32 = 30;
/// Each takes a compilation or two.
const KILLS_OF_DEPLOYMENTS_IN_CI: u32 = 12;
const CLIENTS: usize = 8;
/// Requests that one client has under way.
const AT_ONCE: usize = 4;
/// Invocations that a gateway acknowledges at least before it is killed: so many at most.
const STORM_MAX: u64 = 4_000;
const KIND: HeaderName = HeaderName::from_static("x-fc-invocation-type");

/// A gateway in a process of its own, that can be killed and started again on the same data.
struct Killable {
    data: TempDir,
    project: PathBuf,
}

struct Running {
    process: Process,
    client: Client,
}

impl Killable {
    /// With that on it.
    async fn new(setup: Setup) -> Self {
        let data = data_dir();
        let project = data.path().join("project");
        std::fs::create_dir(&project).unwrap();
        std::fs::write(project.join("ledge.toml"), "[project]\nname = \"crash\"\n").unwrap();
        let new = Self { data, project };
        let running = new.start().await;
        deploy(&running.client, setup).await.unwrap();
        running.kill().await;
        new
    }

    async fn start(&self) -> Running {
        let (data, key) = (self.data.path(), shared_key());
        let [data, key, project] = [data, &key, &self.project].map(|path: &Path| path.to_str().unwrap());
        let args = ["up", project, "--data", data, "--key-file", key, "--listen", "127.0.0.1:0", "--gateway-monitor", "never"];
        let args = [&args[..], &["--connections-per-address-max", "64"]].concat();
        let mut command = command(self.data.path(), &args);
        command.env("LEDGE_ADMIN_PASSWORD", PASSWORD);
        let mut process = Process::start(command);
        let address = process.line_with("is running at https://").await;
        let fingerprint = process.line_with("fingerprint").await;
        process.line_with("project").await;
        let address = address.rsplit_once("https://").unwrap().1.trim();
        let fingerprint = fingerprint.split_whitespace().last().unwrap();
        Running { process, client: Client::remote(address, fingerprint).unwrap().with_password("admin", PASSWORD) }
    }
}

impl Running {
    async fn kill(self) {
        self.process.signal("KILL");
        self.process.end().await;
    }
}

/// As `ledge deploy` does it.
async fn deploy(client: &Client, setup: Setup) -> anyhow::Result<()> {
    for (digest, component) in &setup.components {
        client.send(Method::PUT, &format!("/2016-08-15/components/{digest}"), &[], component.clone().into()).await?.ok()?;
    }
    let set = serde_json::to_vec(&setup.set)?;
    client.send(Method::POST, "/2016-08-15/deployments", &[], set.into()).await?.ok()?;
    Ok(())
}

/// One invocation of the counter. Whether it was acknowledged; a full queue may refuse it.
async fn submit(connection: &mut Connection, key: &str) -> anyhow::Result<bool> {
    let path = "/2020-04-30/functions/service:test:function:counter/invocations";
    let answer = connection.send(Method::POST, path, &[(KIND, "Async")], key.to_owned().into()).await?;
    match answer.status.as_u16() {
        202 => Ok(true),
        503 => Ok(false),
        other => panic!("the gateway answers {other}: {:?}", answer.body),
    }
}

/// Invokes until the gateway is gone, and counts what it acknowledged.
async fn storm(client: &Client, key: String, acknowledged: &AtomicU64) {
    let one = || async {
        let Ok(mut connection) = client.connect().await else { return };
        while let Ok(is_acknowledged) = submit(&mut connection, &key).await {
            acknowledged.fetch_add(u64::from(is_acknowledged), Ordering::Relaxed);
        }
    };
    futures_util::future::join_all((0..AT_ONCE).map(|_| one())).await;
}

fn kills(in_ci: u32) -> u32 {
    std::env::var("LEDGE_KILLS").map_or(in_ci, |text| text.parse().expect("LEDGE_KILLS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_a_kill_runs_after_it() {
    let kills = kills(KILLS_IN_CI);
    let counter = gateway().function("counter").limits(|limits| (limits.concurrency, limits.invocations_per_s) = (16, 1_000_000));
    let killable = Killable::new(counter).await;
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..CLIENTS).map(|_| AtomicU64::new(0)).collect());
    let began = Instant::now();
    for kill in 0..kills {
        let running = killable.start().await;
        let storms = (0..CLIENTS).map(|at| {
            let (client, acknowledged) = (running.client.clone(), acknowledged.clone());
            tokio::spawn(async move { storm(&client, format!("client-{at}"), &acknowledged[at]).await })
        });
        let storms: Vec<_> = storms.collect();
        let all = || acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
        // Any moment, and in every run another.
        let until = all() + 1 + uuid::Uuid::new_v4().as_u128() as u64 % STORM_MAX;
        eventually("so many acknowledgements", || async { all() >= until }).await;
        running.kill().await;
        for storm in storms {
            storm.await.unwrap();
        }
        if kill % 100 == 99 {
            println!("{} kills, {} s", kill + 1, began.elapsed().as_secs());
        }
    }
    let running = killable.start().await;
    let rows = || async { running.client.get_json("/ledge/v1/gateway").await.unwrap()["queue_rows"].as_u64().unwrap() };
    let mut left = rows().await;
    while left > 0 {
        eventually("the queue to become shorter", || async { rows().await < left }).await;
        left = rows().await;
    }
    let key = shared_key();
    let audit = ledge(killable.data.path(), &["audit", "verify", "--data", ".", "--key-file", key.to_str().unwrap()]).await;
    assert!(audit.code == 0, "a kill is taken for a change of the audit: {audit:?}");
    let dead = running.client.get_json("/ledge/v1/dead-letters").await.unwrap();
    assert_eq!(dead.as_array().unwrap().len(), 0, "{dead}");
    let (mut all, mut ran) = (0, 0);
    for (at, count) in acknowledged.iter().enumerate() {
        let path = "/2020-04-30/functions/service:test:function:counter/invocations";
        let answer = running.client.send(Method::POST, path, &[], format!("client-{at}").into()).await.unwrap().ok().unwrap();
        let counted = std::str::from_utf8(&answer).unwrap().parse::<u64>().unwrap() - 1;
        let acknowledged = count.load(Ordering::Relaxed);
        assert!(counted >= acknowledged, "client {at}: {acknowledged} invocations were acknowledged, and {counted} ran");
        (all, ran) = (all + acknowledged, ran + counted);
    }
    println!("{kills} kills: {all} invocations were acknowledged and {ran} ran, in {} s", began.elapsed().as_secs());
    assert!(all > u64::from(kills), "the storm was none: {all}");
}

/// Two functions that say which version they are, of components that no gateway has compiled yet.
fn two_of(version: u64) -> Setup {
    let mut bytes = component("look");
    // A custom section: another digest than anybody has compiled before, and the same code.
    let text = uuid::Uuid::new_v4().to_string();
    bytes.extend([0, u8::try_from(text.len()).unwrap() + 2, 1, b'v']);
    bytes.extend(text.as_bytes());
    let mut setup = gateway().function_of("test/first", "look").function_of("test/second", "look");
    setup.components.clear();
    let digest = setup.component(bytes);
    for function in &mut setup.set.functions {
        function.component = digest.clone();
        Arc::make_mut(&mut function.grants).env.0.insert("VERSION".into(), version.to_string());
    }
    setup
}

async fn version_of(client: &Client, function: &str) -> u64 {
    let path = format!("/2020-04-30/functions/service:test:function:{function}/invocations");
    let answer = client.send(Method::POST, &path, &[], "env".into()).await.unwrap().ok().unwrap();
    let vars: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    vars["VERSION"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_a_kill_cuts_off_is_there_as_a_whole_or_not_at_all() {
    let kills = kills(KILLS_OF_DEPLOYMENTS_IN_CI);
    let killable = Killable::new(two_of(0)).await;
    let (mut now, mut whole) = (1, 0);
    // How long one takes that nobody cuts off.
    let running = killable.start().await;
    let began = Instant::now();
    deploy(&running.client, two_of(now)).await.unwrap();
    let mut usual = began.elapsed();
    running.kill().await;
    for kill in 0..kills {
        let running = killable.start().await;
        assert_eq!(version_of(&running.client, "first").await, now);
        let next = u64::from(kill) + 2;
        // Any moment of it, or just after it.
        let moment = usual * (uuid::Uuid::new_v4().as_u128() as u32 % 140) / 100;
        let began = Instant::now();
        let is_acknowledged = tokio::time::timeout(moment, deploy(&running.client, two_of(next))).await.is_ok_and(|done| done.is_ok());
        if is_acknowledged {
            usual = (usual + began.elapsed()) / 2;
        }
        running.kill().await;
        let running = killable.start().await;
        let (first, second) = (version_of(&running.client, "first").await, version_of(&running.client, "second").await);
        assert!(first == second && (first == next || first == now && !is_acknowledged), "{now} to {next}: {first} and {second}");
        whole += u32::from(first == next);
        now = first;
        running.kill().await;
    }
    println!("{kills} kills during deployments: {whole} were there as a whole, the others not at all");
}
