//! The components that are measured: the demo, and a function that does nothing. Built by the code of `ledge build`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::cli::build::{Progress, build};
use crate::config::manifest::{self, Source};
use crate::grant::Grants;
use crate::limit::Limits;
use crate::name::FunctionName;
use crate::set::{Digest, Driver, Function, Set};

pub struct Guests {
    /// The demo as `ledge demo` deploys it.
    pub demo: Set,
    /// Counts the calls of its instance and does nothing else: a fresh one answers `1`.
    pub count: Function,
    pub components: BTreeMap<Digest, Vec<u8>>,
}

impl Guests {
    pub fn build() -> anyhow::Result<Self> {
        let root = repository()?;
        let mut project = manifest::load(&root.join("sample-functions"))?;
        let name: FunctionName = "bench/count".parse()?;
        let component = Source::Crate(root.join(COUNT));
        let (limits, grants) = (Limits::default(), Grants::default());
        project.set.functions.push(Function { name: name.clone(), component, limits, grants, reuse: 0, http: None });
        let mut built = build(project, Progress::of_stderr())?;
        let at = built.set.functions.iter().position(|row| row.name == name).context("the function `count` was not built")?;
        let count = built.set.functions.remove(at);
        let read = |(digest, path): (&Digest, &PathBuf)| {
            Ok((digest.clone(), fs::read(path).with_context(|| format!("reading {}", path.display()))?))
        };
        let components = built.components.iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(Self { demo: built.set, count, components })
    }

    pub fn component(&self, digest: &Digest) -> anyhow::Result<&[u8]> {
        self.components.get(digest).map(Vec::as_slice).with_context(|| format!("component {digest} was not built"))
    }

    /// The demo's lamp: its driver has nothing to do but to answer.
    pub fn lamp_driver(&self) -> anyhow::Result<&Driver> {
        self.demo.drivers.iter().find(|driver| driver.name == "light").context("the demo has no driver `light`")
    }
}

/// A guest of the integration tests.
const COUNT: &str = "tests/guests/count";

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
