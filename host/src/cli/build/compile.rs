//! One run of `cargo build`, and the components that come out of it.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::guest_tool::{TARGET, tool};
use super::progress::{Meter, Progress};
use super::toolchain::not_started;
use super::workspace::{Wanted, Workspace, same_file};
use crate::config::manifest::shown;

/// What cargo says of one thing it made; every other message has another `reason`.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Builds the wanted crates of a workspace: the directory of each and the component that it gave.
pub fn run(workspace: &Workspace, progress: Progress) -> Result<Vec<(PathBuf, PathBuf)>> {
    let meter = progress.start(workspace.wanted.len(), &shown(&workspace.root));
    let mut cargo = spawn(workspace, progress)?;
    let (stdout, stderr) = (cargo.stdout.take(), cargo.stderr.take());
    let artifacts = thread::scope(|scope| {
        if let Some(stderr) = stderr {
            scope.spawn(|| forward(stderr, &meter));
        }
        stdout.map_or_else(|| Ok(Vec::new()), |stdout| read_artifacts(BufReader::new(stdout), &meter))
    });
    let status = cargo.wait().context("waiting for cargo")?;
    meter.finish();
    let components = Components(artifacts?);
    if !status.success() {
        return Err(failure(workspace, &components));
    }
    workspace.wanted.iter().map(|wanted| Ok((wanted.dir.clone(), components.of(wanted)?))).collect()
}

fn spawn(workspace: &Workspace, progress: Progress) -> Result<Child> {
    let mut cargo = tool("cargo", &workspace.root);
    // `--keep-going`: every crate that is wrong shows its errors in one run.
    cargo.args(["build", "--release", "--quiet", "--keep-going", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    for wanted in &workspace.wanted {
        cargo.args(["-p", &wanted.package.id]);
    }
    if progress == Progress::Bar {
        // Its messages go past the bar; on the way cargo would take stderr for a file and drop the colours.
        let color = if env::var_os("NO_COLOR").is_some() { "never" } else { "always" };
        cargo.args(["--color", color]).stderr(Stdio::piped());
    }
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|err| not_started("cargo", err))
}

fn forward(stderr: impl Read, meter: &Meter) {
    // Bytes, not text: a message in another encoding must not end the reading, or cargo would wait for a full pipe.
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while matches!(stderr.read_until(b'\n', &mut line), Ok(bytes) if bytes > 0) {
        meter.say(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

/// Takes the artifacts with a component out of cargo's messages.
fn read_artifacts(messages: impl BufRead, meter: &Meter) -> Result<Vec<Artifact>> {
    let mut artifacts = Vec::new();
    for line in messages.split(b'\n') {
        let line = line.context("reading cargo's messages")?;
        // A build script or a tool of the guest may print lines of its own.
        let Ok(artifact) = serde_json::from_slice::<Artifact>(&line) else { continue };
        if artifact.reason != "compiler-artifact" {
            continue;
        }
        meter.finished(artifact.name());
        if artifact.component().is_some() {
            artifacts.push(artifact);
        }
    }
    Ok(artifacts)
}

impl Artifact {
    /// The crate's name; a build script has none that tells anything.
    fn name(&self) -> Option<&str> {
        let target = self.target.as_ref()?;
        (!target.kind.iter().any(|kind| kind == "custom-build")).then_some(&target.name)
    }

    fn component(&self) -> Option<&Path> {
        self.filenames.iter().map(PathBuf::as_path).find(|file| file.extension().is_some_and(|ext| ext == "wasm"))
    }

    fn is_library(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.kind.iter().any(|kind| kind == "cdylib"))
    }
}

struct Components(Vec<Artifact>);

impl Components {
    /// The component of a crate: its library, else its one program.
    fn of(&self, wanted: &Wanted) -> Result<PathBuf> {
        let mut made: Vec<&Artifact> = self.made_by(wanted).collect();
        if made.iter().any(|artifact| artifact.is_library()) {
            made.retain(|artifact| artifact.is_library());
        }
        let name = &wanted.package.name;
        let manifest = shown(&wanted.package.manifest_path);
        match made[..] {
            [artifact] => artifact.component().map(Path::to_owned).context("an artifact without a component"),
            [] => bail!(
                "the crate `{name}` gives no component: `crate-type = [\"cdylib\"]` is missing under [lib] in `{}`",
                manifest.display()
            ),
            _ => bail!(
                "the crate `{name}` gives more than one component; make it one library, with `crate-type = [\"cdylib\"]` in `{}`",
                manifest.display()
            ),
        }
    }

    fn made_by<'a>(&'a self, wanted: &'a Wanted) -> impl Iterator<Item = &'a Artifact> {
        self.0.iter().filter(|artifact| same_file(&artifact.manifest_path, &wanted.package.manifest_path))
    }
}

/// Which crates failed: cargo kept going, so they are those that gave nothing.
fn failure(workspace: &Workspace, components: &Components) -> anyhow::Error {
    let failed = workspace.wanted.iter().filter(|wanted| components.made_by(wanted).next().is_none());
    let names: Vec<String> = failed.map(|wanted| format!("`{}` ({})", wanted.package.name, shown(&wanted.dir).display())).collect();
    let who = if names.is_empty() { format!("the workspace `{}`", shown(&workspace.root).display()) } else { names.join(", ") };
    anyhow!("{who} did not build; cargo's messages are above")
}
