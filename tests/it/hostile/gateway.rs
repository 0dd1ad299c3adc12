//! A gateway in a process of its own, alone on the machine, whose memory and answers are measured.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use ledge::cli::client::{Client, Connection};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::harness::command::{Process, command_under};
use crate::harness::{self, Setup, data_dir, shared_key};

pub struct Gateway {
    process: Process,
    data: TempDir,
    pub client: Client,
}

/// One answer to an attacker.
pub struct Answer {
    pub took: Duration,
    pub status: u16,
    /// The limit that it names.
    pub limit: Option<String>,
    pub text: String,
}

/// The neighbour is asked so often, whether the last answer has come or not.
const PACE: Duration = Duration::from_millis(2);

impl Gateway {
    pub async fn start() -> Self {
        Self::start_under("true").await
    }

    /// Under the limits that a shell command sets for its process.
    pub async fn start_under(limits: &str) -> Self {
        let data = data_dir();
        fs::write(data.path().join("ledge.toml"), "[project]\nname = \"hostile\"\n").unwrap();
        let log = fs::File::create(data.path().join("log")).unwrap();
        let (dir, key) = (data.path().to_str().unwrap(), shared_key());
        let key = key.to_str().unwrap();
        let args = ["up", dir, "--data", dir, "--key-file", key, "--listen", "127.0.0.1:0", "--gateway-monitor", "never"];
        let mut process = Process::start_alone(command_under(limits, data.path(), &args), log);
        process.line_with("project").await;
        Self { client: Client::local(data.path()), process, data }
    }

    /// Deploys exactly this.
    pub async fn deploy(&self, setup: &Setup) -> anyhow::Result<Json> {
        for (digest, component) in &setup.components {
            let path = format!("/2016-08-15/components/{digest}");
            self.client.send(Method::PUT, &path, &[], component.clone().into()).await?.ok()?;
        }
        let set = serde_json::to_vec(&setup.set)?;
        self.client.send(Method::POST, "/2016-08-15/deployments?prune=true", &[], set.into()).await?.json()
    }

    /// Asks for a result at a steady pace, and gives the time of each answer, waiting for those before it included: a
    /// neighbour who is held up is held up for all who ask meanwhile.
    pub async fn neighbour(&self, during: Duration) -> Times {
        let mut connection = self.client.connect().await.unwrap();
        let began = Instant::now();
        let mut times = Vec::new();
        while began.elapsed() < during {
            let wanted = began + PACE * u32::try_from(times.len()).unwrap();
            tokio::time::sleep_until(wanted.into()).await;
            let answer = call(&mut connection, "test/neighbour", "").await;
            assert_eq!((answer.status, answer.text.as_str()), (200, "1"), "the neighbour failed");
            times.push(wanted.elapsed());
        }
        times.sort();
        Times(times)
    }

    /// Calls again and again, so many at once, until the time is over.
    pub async fn attack(&self, function: &'static str, event: &'static str, callers: usize, during: Duration) -> Vec<Answer> {
        let until = Instant::now() + during;
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..callers {
            let mut connection = self.client.connect().await.unwrap();
            all.spawn(async move {
                let mut answers = vec![call(&mut connection, function, event).await];
                while Instant::now() < until {
                    answers.push(call(&mut connection, function, event).await);
                }
                answers
            });
        }
        all.join_all().await.into_iter().flatten().collect()
    }

    /// Makes so many calls, and lets go of each after up to 4 ms: the gateway notices, and ends it.
    pub async fn cancel(&self, function: &'static str, event: &'static str, callers: usize, calls: usize) -> Duration {
        let began = Instant::now();
        let callers = (0..callers).map(|_| async {
            for _ in 0..calls / callers {
                let mut connection = self.client.connect().await.unwrap();
                let moment = Duration::from_micros((uuid::Uuid::new_v4().as_u128() % 4_000) as u64);
                let _ = tokio::time::timeout(moment, call(&mut connection, function, event)).await;
            }
        });
        futures_util::future::join_all(callers).await;
        began.elapsed()
    }

    /// Resident memory, all of it.
    pub fn rss_mib(&self) -> f64 {
        self.memory_mib("VmRSS:")
    }

    /// The most that was ever resident.
    pub fn peak_mib(&self) -> f64 {
        self.memory_mib("VmHWM:")
    }

    fn memory_mib(&self, which: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() / 1_024.0
    }

    pub async fn rss_mib_at_most(&self, mib: f64) -> f64 {
        // What was freed goes back in the moments after the last answer.
        let settled = async {
            while self.rss_mib() > mib {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), settled).await;
        self.rss_mib()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.data.path().join("log")).unwrap()
    }

    pub async fn metrics(&self) -> String {
        let answer = self.client.send(Method::GET, "/ledge/v1/metrics", &[], Bytes::new()).await.unwrap();
        String::from_utf8(answer.ok().unwrap().to_vec()).unwrap()
    }

    pub async fn logged(&self, wanted: &str) {
        harness::eventually(&format!("the log to say `{wanted}`"), || async { self.log().contains(wanted) }).await;
    }
}

pub async fn call(connection: &mut Connection, function: &str, event: &'static str) -> Answer {
    let (service, function) = function.split_once('/').unwrap();
    let path = format!("/2020-04-30/functions/service:{service}:function:{function}/invocations");
    let began = Instant::now();
    let answer = connection.send(Method::POST, &path, &[], Bytes::from_static(event.as_bytes())).await.unwrap();
    let took = began.elapsed();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let said: Json = serde_json::from_str(&text).unwrap_or_default();
    Answer { took, status: answer.status.as_u16(), limit: said["Limit"].as_str().map(str::to_owned), text }
}

/// Sorted.
pub struct Times(Vec<Duration>);

impl Times {
    pub fn of(answers: &[Answer]) -> Self {
        let mut times: Vec<_> = answers.iter().map(|answer| answer.took).collect();
        times.sort();
        Self(times)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn p99_ms(&self) -> f64 {
        let at = (self.0.len() * 99).div_ceil(100).max(1) - 1;
        self.0[at].as_secs_f64() * 1_000.0
    }
}
