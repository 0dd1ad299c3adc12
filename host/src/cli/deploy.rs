//! `ledge build` and `ledge deploy`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use hyper::header::RETRY_AFTER;
use hyper::{Method, StatusCode};

use super::DeployArgs;
use super::asks;
use super::build::{self, Built, Progress};
use super::client::{Answer, Client};
use super::output::say;
use crate::config::manifest::{self, shown};
use crate::deploy::{Change, Report};
use crate::set::{Digest, Set};

pub fn build_only(project_dir: &Path) -> anyhow::Result<ExitCode> {
    let built = build::build(manifest::load(project_dir)?, Progress::of_stderr())?;
    let functions = built.set.functions.iter().map(|row| (format!("function {}", row.name), &row.component));
    let drivers = built.set.drivers.iter().map(|row| (format!("driver {}", row.name), &row.component));
    for (who, digest) in functions.chain(drivers) {
        let path = &built.components[digest];
        let bytes = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?.len();
        say(format_args!("{who}: {} ({} kB)", shown(path).display(), bytes.div_ceil(1_000)))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn run(args: DeployArgs) -> anyhow::Result<()> {
    let client = Client::of(&args.target)?;
    // Before the build, which may take a while: is there anybody to deploy to, and may we?
    send_set(&client, &Set::default(), Options { prune: false, dry_run: true }).await?;
    let project = manifest::load(&args.project.project_dir)?;
    let built = tokio::task::spawn_blocking(move || build::build(project, Progress::of_stderr())).await??;
    for line in asks::lines(&built)? {
        say(format_args!("{line}"))?;
    }
    if !args.dry_run {
        send_components(&client, &built).await?;
    }
    let options = Options { prune: args.prune, dry_run: args.dry_run };
    let report = send_set(&client, &built.set, options).await.context("nothing was deployed")?;
    for entry in report.entries.iter().filter(|entry| entry.change != Change::Unchanged) {
        let change = format!("{:?}", entry.change).to_lowercase();
        say(format_args!("{change:8} {} {}", entry.kind, entry.name))?;
    }
    let what = if args.dry_run { "nothing is deployed; it would be" } else { "deployed" };
    say(format_args!("{what}: {}", report.summary()))?;
    Ok(())
}

async fn send_components(client: &Client, built: &Built) -> anyhow::Result<()> {
    for (digest, path) in &built.components {
        if !has(client, digest).await? {
            let component = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            let sent = send(client, Method::PUT, &path_of(digest), component.into()).await?;
            sent.ok().with_context(|| format!("sending {}", shown(path).display()))?;
        }
    }
    Ok(())
}

async fn has(client: &Client, digest: &Digest) -> anyhow::Result<bool> {
    let answer = client.send(Method::GET, &path_of(digest), &[], Bytes::new()).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    answer.ok().map(|_| true)
}

fn path_of(digest: &Digest) -> String {
    format!("/2016-08-15/components/{digest}")
}

#[derive(Clone, Copy)]
struct Options {
    prune: bool,
    dry_run: bool,
}

async fn send_set(client: &Client, set: &Set, options: Options) -> anyhow::Result<Report> {
    let path = format!("/2016-08-15/deployments?prune={}&dry_run={}", options.prune, options.dry_run);
    let answer = send(client, Method::POST, &path, serde_json::to_vec(set)?.into()).await?;
    serde_json::from_value(answer.json()?).context("the gateway's answer is no report")
}

/// Sends again what the gateway says to send again.
async fn send(client: &Client, method: Method, path: &str, body: Bytes) -> anyhow::Result<Answer> {
    for _ in 1..TRIES {
        let answer = client.send(method.clone(), path, &[], body.clone()).await?;
        let later = answer.headers.get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        match later {
            Some(seconds) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
                tokio::time::sleep(Duration::from_secs(seconds).min(PAUSE_MAX)).await;
            }
            _ => return Ok(answer),
        }
    }
    client.send(method, path, &[], body).await
}

/// How often something is sent before it is given up, and the longest pause in between.
const TRIES: usize = 5;
const PAUSE_MAX: Duration = Duration::from_secs(30);
