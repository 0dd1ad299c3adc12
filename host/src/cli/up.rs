//! `ledge up`: builds a project, starts the gateway, deploys, and stays until it is told to stop.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::asks;
use super::build::{self, Built, Progress};
use super::output::say;
use crate::auth::FirstPassword;
use crate::config::manifest;
use crate::deploy::{DeployError, Report};
use crate::gateway::monitor::Bring;
use crate::gateway::{Gateway, Options};
use crate::store;

pub async fn run(project_dir: &Path, options: Options, monitor: Bring) -> anyhow::Result<()> {
    let (gateway, stop) = start(project_dir, options, monitor).await?;
    stop.until_told(gateway).await
}

/// Ctrl-C and SIGTERM, from when the gateway runs.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

/// Builds, starts and deploys, and says on stdout how to reach the gateway. Where something is wrong with the project, what was deployed
/// before runs on: a box that comes up after a power cut is not to stay dark for it.
pub async fn start(project_dir: &Path, options: Options, monitor: Bring) -> anyhow::Result<(Gateway, Stop)> {
    let data = options.data.clone();
    // A build may take minutes, and the gateway itself binds after it.
    options.check_addresses().await?;
    let built = built(project_dir).await;
    if !data.join(store::FILE_NAME).exists() {
        // The first start: nothing could run on.
        built.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    }
    let mut gateway = Gateway::start(options).await?;
    // Before anything is said: whoever reads that it runs may tell it to stop.
    let mut stop = Stop::listen()?;
    // Before the deployment, which may be refused: a password that is made now is shown now or never.
    announce(&gateway, &data);
    let deployed = tokio::select! {
        deployed = deploy(&gateway, built) => deployed,
        () = stop.told() => anyhow::bail!("told to stop while the project was deployed; nothing of it runs"),
    };
    match deployed {
        Ok((name, Some(report))) => {
            let _ = say(format_args!("  project       {name}: {}\n", report.summary()));
        }
        Ok((name, None)) => {
            let dir = manifest::shown(project_dir);
            let _ = say(format_args!(
                "  project       {name}: the same as last time; what was changed on the gateway since then stays (`ledge deploy {}` puts the \
                 project's own back)\n",
                dir.display()
            ));
        }
        Err(error) if gateway.is_empty() => return Err(error),
        Err(error) => {
            tracing::error!("{error:#}");
            let _ = say("  project       not deployed, for the reason above; what was deployed before runs on\n");
        }
    }
    // Last, so that the project does not wait for it.
    gateway.bring_monitor_behind(monitor);
    Ok((gateway, stop))
}

async fn built(project_dir: &Path) -> anyhow::Result<(String, Built)> {
    let project = manifest::load(project_dir)?;
    let name = project.name.clone();
    let built = tokio::task::spawn_blocking(move || build::build(project, Progress::of_stderr())).await??;
    Ok((name, built))
}

/// The project's name, and what its deployment changed. `None`: it was deployed before as it is.
async fn deploy(gateway: &Gateway, built: anyhow::Result<(String, Built)>) -> anyhow::Result<(String, Option<Report>)> {
    let (name, built) = built?;
    for line in asks::uncovered(&built)? {
        let _ = say(format_args!("{line}"));
    }
    for (digest, path) in &built.components {
        let component = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        gateway.deploy.components().put(digest, &component)?;
    }
    let report = gateway.deploy.apply_project(&name, built.set, "ledge up").await.map_err(|error| match error {
        DeployError::Refused(problems) => anyhow::anyhow!("nothing was deployed:\n  {}", problems.join("\n  ")),
        DeployError::Failed(error) => error,
    });
    let report = report.with_context(|| format!("deploying project `{name}`"))?;
    Ok((name, report))
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
    let said = said.and_then(|()| gateway.plain.map_or(Ok(()), |plain| say(format_args!("  plain HTTP    http://{plain}"))));
    let said = said.and_then(|()| gateway.http.map_or(Ok(()), |http| say(format_args!("  functions     answer at {http}"))));
    if let Err(error) = said {
        tracing::warn!("stdout cannot be written ({error}); a password that was to be shown once can be set with --admin-password");
    }
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for Ctrl-C or SIGTERM, then drains. A second one ends at once.
    pub async fn until_told(mut self, gateway: Gateway) -> anyhow::Result<()> {
        tokio::select! {
            () = self.told() => {}
            reason = gateway.failed() => anyhow::bail!(
                "the gateway stops at once, since it cannot promise any more that what it accepts is kept: {reason}. \
                 What was acknowledged is on the disk; mend that, then start the gateway again"
            ),
        }
        let began = Instant::now();
        eprintln!("stopping: running calls may finish, 10 s at most; Ctrl-C again stops at once");
        tokio::select! {
            () = gateway.stop() => eprintln!("stopped after {} ms", began.elapsed().as_millis()),
            _ = self.interrupt.recv() => std::process::exit(130),
            _ = self.terminate.recv() => std::process::exit(143),
        }
        Ok(())
    }
}
