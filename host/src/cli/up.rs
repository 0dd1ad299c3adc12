//! `ledge up`: builds a project, starts the gateway, deploys, and stays until it is told to stop.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::asks;
use super::build::{self, Built, Progress};
use super::output::say;
use crate::auth::FirstPassword;
use crate::config::manifest;
use crate::deploy::{DeployError, Report};
use crate::gateway::{Gateway, Options};

pub async fn run(project_dir: &Path, options: Options) -> anyhow::Result<()> {
    let gateway = start(project_dir, options).await?;
    until_told_to_stop(gateway).await
}

/// Builds, starts and deploys, and says on stdout how to reach the gateway.
pub async fn start(project_dir: &Path, options: Options) -> anyhow::Result<Gateway> {
    let project = manifest::load(project_dir)?;
    let name = project.name.clone();
    let built = tokio::task::spawn_blocking(move || build::build(project, Progress::of_stderr())).await??;
    let data = options.data.clone();
    let gateway = Gateway::start(options).await?;
    // Before the deployment, which may be refused: a password that is made now is shown now or never.
    announce(&gateway, &data);
    for line in asks::uncovered(&built)? {
        let _ = say(format_args!("{line}"));
    }
    let report = deploy(&gateway, built).await.with_context(|| format!("deploying project `{name}`"))?;
    let _ = say(format_args!("  project       {name}: {}\n", report.summary()));
    Ok(gateway)
}

async fn deploy(gateway: &Gateway, built: Built) -> anyhow::Result<Report> {
    for (digest, path) in &built.components {
        let component = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        gateway.deploy.components().put(digest, &component)?;
    }
    gateway.deploy.apply(built.set, false, "ledge up").await.map_err(|error| match error {
        DeployError::Refused(problems) => anyhow::anyhow!("nothing was deployed:\n  {}", problems.join("\n  ")),
        DeployError::Failed(error) => error,
    })
}

fn announce(gateway: &Gateway, data: &Path) {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let password = match &gateway.first_password {
        FirstPassword::Generated(password) => &format!("password {}   (shown this once)", password.as_str()),
        FirstPassword::Given => "with the password that was given",
        FirstPassword::Kept => "with the password of the first start (a new one: --admin-password)",
    };
    let said = say(format_args!(
        "Ledge is running at https://{}\n  data          {}\n  user          admin, {password}\n  fingerprint   {}",
        gateway.address,
        data.display(),
        gateway.fingerprint,
    ));
    let said = said.and_then(|()| gateway.http.map_or(Ok(()), |http| say(format_args!("  functions     answer at {http}"))));
    if let Err(error) = said {
        tracing::warn!("stdout cannot be written ({error}); a password that was to be shown once can be set with --admin-password");
    }
}

/// Waits for Ctrl-C or SIGTERM, then drains. A second one ends at once.
pub async fn until_told_to_stop(gateway: Gateway) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let began = Instant::now();
    eprintln!("stopping: running calls may finish, 10 s at most; Ctrl-C again stops at once");
    tokio::select! {
        () = gateway.stop() => eprintln!("stopped after {} ms", began.elapsed().as_millis()),
        _ = interrupt.recv() => std::process::exit(130),
        _ = terminate.recv() => std::process::exit(143),
    }
    Ok(())
}
