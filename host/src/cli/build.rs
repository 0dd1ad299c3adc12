//! `ledge build`: makes a project's components, so that the project becomes a set that can be deployed.
//!
//! Rust crates are built with the cargo that is on the machine, one run for each cargo workspace; components that were
//! made elsewhere are taken as they are. What a component imports and exports is not looked at here: `deploy` does that.

mod compile;
mod guest_tool;
mod progress;
mod toolchain;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub use self::progress::Progress;
use crate::config::manifest::{Project, Source, shown};
use crate::limit::COMPONENT_BYTES_MAX;
use crate::set::{ConfigFile, Digest, Driver, Function, Set};

/// A set whose components and configuration files exist as files.
#[derive(Debug)]
pub struct Built {
    pub set: Set<Digest>,
    pub components: BTreeMap<Digest, PathBuf>,
    /// Those that were built here, from Rust.
    pub from_crates: BTreeSet<Digest>,
}

/// Builds every component of the project. Blocks as long as cargo needs.
pub fn build(project: Project, progress: Progress) -> Result<Built> {
    let mut built = Components::default();
    let sources = project.set.drivers.iter().map(|driver| &driver.component);
    let config_files = project.set.drivers.iter().flat_map(|driver| driver.files.iter().map(|file| &file.content));
    let sources: BTreeSet<&Source> =
        sources.chain(project.set.functions.iter().map(|function| &function.component)).chain(config_files).collect();
    for (source, file) in crates(&sources, progress)?.into_iter().chain(files(&sources)) {
        built.add(source, file)?;
    }
    built.into_set(project.set)
}

fn crates(sources: &BTreeSet<&Source>, progress: Progress) -> Result<Vec<(Source, PathBuf)>> {
    let dirs = sources.iter().filter_map(|source| if let Source::Crate(dir) = source { Some(dir.as_path()) } else { None });
    let mut built = Vec::new();
    for workspace in workspace::group(dirs)? {
        toolchain::ensure_target(&workspace.root)?;
        built.extend(compile::run(&workspace, progress)?);
    }
    Ok(built.into_iter().map(|(dir, file)| (Source::Crate(dir), file)).collect())
}

fn files(sources: &BTreeSet<&Source>) -> Vec<(Source, PathBuf)> {
    let file = |source: &Source| if let Source::Component(file) = source { Some((source.clone(), file.clone())) } else { None };
    sources.iter().filter_map(|source| file(source)).collect()
}

#[derive(Default)]
struct Components {
    from_crates: BTreeSet<Digest>,
    digests: BTreeMap<Source, Digest>,
    files: BTreeMap<Digest, PathBuf>,
}

impl Components {
    fn add(&mut self, source: Source, file: PathBuf) -> Result<()> {
        let digest = digest(&file)?;
        if matches!(source, Source::Crate(_)) {
            self.from_crates.insert(digest.clone());
        }
        self.digests.insert(source, digest.clone());
        self.files.insert(digest, file);
        Ok(())
    }

    fn into_set(self, set: Set<Source>) -> Result<Built> {
        let digest = |source: &Source| self.digests.get(source).cloned().with_context(|| format!("{source:?} was not built"));
        let driver = |driver: Driver<Source>| {
            let Driver { name, component, config, files, limits, grants } = driver;
            let file = |file: ConfigFile<Source>| Ok(ConfigFile { path: file.path, content: digest(&file.content)? });
            let files = files.into_iter().map(file).collect::<Result<_>>()?;
            Ok(Driver { name, component: digest(&component)?, config, files, limits, grants })
        };
        let function = |function: Function<Source>| {
            let Function { name, component, limits, grants, reuse, mode, asynchronous, timers, health, http } = function;
            Ok(Function { name, component: digest(&component)?, limits, grants, reuse, mode, asynchronous, timers, health, http })
        };
        let set = Set {
            products: set.products,
            things: set.things,
            drivers: set.drivers.into_iter().map(driver).collect::<Result<_>>()?,
            functions: set.functions.into_iter().map(function).collect::<Result<_>>()?,
            routes: set.routes,
            rules: set.rules,
        };
        Ok(Built { set, components: self.files, from_crates: self.from_crates })
    }
}

fn digest(file: &Path) -> Result<Digest> {
    let reading = || format!("reading `{}`", shown(file).display());
    let bytes = fs::metadata(file).with_context(reading)?.len();
    if bytes > COMPONENT_BYTES_MAX as u64 {
        bail!(
            "`{}` has {bytes} bytes, and {COMPONENT_BYTES_MAX} can be deployed; for a Rust crate, set `opt-level = \"s\"`, \
             `lto = true` and `strip = true` under [profile.release] in the Cargo.toml of its workspace",
            shown(file).display()
        );
    }
    Ok(Digest::of(&fs::read(file).with_context(reading)?))
}

#[cfg(test)]
mod tests;
