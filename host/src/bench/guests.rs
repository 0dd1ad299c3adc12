//! The components that are measured: the demo, and a function that does nothing. Built by the code of `ledge build`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::cli::build::{Progress, build};
use crate::config::manifest::{self, Source};
use crate::grant::Grants;
use crate::limit::Limits;
use crate::runtime::ComponentSource;
use crate::set::{Digest, Driver, Function, Mode, Set};

pub struct Guests {
    /// The demo as `ledge demo` deploys it.
    pub demo: Set,
    /// Counts the calls of its instance and does nothing else: a fresh one answers `1`.
    pub count: Function,
    /// Does one thing many times: `tests/guests/repeat`.
    pub repeat: Function,
    /// Publishes what it is called with.
    pub relay: Function,
    /// Answers `hello` to every HTTP request.
    pub hello: Function,
    /// Reports as fast as it can: `tests/guests/reporter`.
    pub reporter: Driver,
    /// Reads registers: `drivers/modbus`.
    pub modbus: Driver,
    pub components: Arc<Components>,
}

pub struct Components(pub BTreeMap<Digest, Vec<u8>>);

impl Guests {
    pub fn build() -> anyhow::Result<Self> {
        let root = repository()?;
        let mut project = manifest::load(&root.join("sample-functions"))?;
        for (name, dir) in [("bench/count", COUNT), ("bench/repeat", REPEAT), ("bench/relay", RELAY), ("bench/hello", HELLO)] {
            let (name, component) = (name.parse()?, Source::Crate(root.join(dir)));
            // What is measured is not what a limit makes of it.
            let limits = Limits { invocations_per_s: 1_000_000, deadline_ms: 60_000, cpu_ms: 60_000, ..Limits::default() };
            project.set.functions.push(Function {
                name,
                component,
                limits,
                grants: Arc::default(),
                reuse: 0,
                mode: Mode::OnDemand,
                health: None,
                asynchronous: None,
                timers: vec![],
                http: None,
            });
        }
        for (name, dir) in [("reporter", REPORTER), ("modbus", MODBUS)] {
            let (component, limits, grants) = (Source::Crate(root.join(dir)), Limits::of_driver(), Grants::default());
            project.set.drivers.push(Driver { name: name.into(), component, config: None, files: vec![], limits, grants });
        }
        let mut built = build(project, Progress::of_stderr())?;
        let modbus = built.set.drivers.pop().context("`modbus` was not built")?;
        let reporter = built.set.drivers.pop().context("`reporter` was not built")?;
        let hello = built.set.functions.pop().context("`hello` was not built")?;
        let relay = built.set.functions.pop().context("`relay` was not built")?;
        let repeat = built.set.functions.pop().context("`repeat` was not built")?;
        let count = built.set.functions.pop().context("`count` was not built")?;
        let read = |(digest, path): (&Digest, &PathBuf)| {
            Ok((digest.clone(), fs::read(path).with_context(|| format!("reading {}", path.display()))?))
        };
        let components = built.components.iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(Self { demo: built.set, count, repeat, relay, hello, reporter, modbus, components: Arc::new(Components(components)) })
    }

    pub fn component(&self, digest: &Digest) -> anyhow::Result<&[u8]> {
        self.components.0.get(digest).map(Vec::as_slice).with_context(|| format!("component {digest} was not built"))
    }

    /// The demo's lamp: its driver has nothing to do but to answer.
    pub fn lamp_driver(&self) -> anyhow::Result<&Driver> {
        self.demo.drivers.iter().find(|driver| driver.name == "light").context("the demo has no driver `light`")
    }
}

impl ComponentSource for Components {
    fn read(&self, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        self.0.get(digest).cloned().with_context(|| format!("component {digest} was not built"))
    }
}

/// Guests of the integration tests.
const COUNT: &str = "tests/guests/count";
const REPEAT: &str = "tests/guests/repeat";
const RELAY: &str = "tests/guests/relay";
const HELLO: &str = "tests/guests/http-hello";
const REPORTER: &str = "tests/guests/reporter";
const MODBUS: &str = "drivers/modbus";

/// This repository, from wherever in it the command is typed.
fn repository() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let built_from = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut roots = here.ancestors().map(PathBuf::from).chain([built_from]);
    match roots.find(|root| root.join(COUNT).join("Cargo.toml").is_file()) {
        Some(root) => Ok(root),
        None => bail!("the bench builds its components from Ledge's repository: clone it, and run `ledge bench` in there"),
    }
}
