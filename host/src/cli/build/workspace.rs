//! Which crates of a project belong to one cargo workspace: they are built in one run and share a target directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::guest_tool::tool;
use super::toolchain::not_started;
use crate::config::manifest::shown;

/// A cargo workspace and those of its crates that the project wants.
#[derive(Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub wanted: Vec<Wanted>,
    packages: Vec<Package>,
}

/// A crate to build.
#[derive(Debug)]
pub struct Wanted {
    /// As the project spells it.
    pub dir: PathBuf,
    pub package: Package,
}

/// A package, as `cargo metadata` describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    pub id: String,
    pub name: String,
    pub manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

/// Groups the crates in these directories by their workspace.
pub fn group<'a>(dirs: impl Iterator<Item = &'a Path>) -> Result<Vec<Workspace>> {
    let mut workspaces: Vec<Workspace> = Vec::new();
    for dir in dirs {
        let known = workspaces.iter_mut().find_map(|workspace| Some((workspace.package_in(dir)?, workspace)));
        if let Some((package, workspace)) = known {
            workspace.wanted.push(Wanted { dir: dir.to_owned(), package });
            continue;
        }
        let mut workspace = read(dir)?;
        let Some(package) = workspace.package_in(dir) else {
            bail!("`{}` is a cargo workspace but no crate; name the directory of one of its crates in ledge.toml", shown(dir).display());
        };
        workspace.wanted.push(Wanted { dir: dir.to_owned(), package });
        workspaces.push(workspace);
    }
    Ok(workspaces)
}

impl Workspace {
    fn package_in(&self, dir: &Path) -> Option<Package> {
        let manifest = dir.join("Cargo.toml");
        self.packages.iter().find(|package| same_file(&package.manifest_path, &manifest)).cloned()
    }
}

/// Whether both paths lead to one file, links and `..` followed.
pub fn same_file(left: &Path, right: &Path) -> bool {
    matches!((left.canonicalize(), right.canonicalize()), (Ok(left), Ok(right)) if left == right)
}

fn read(dir: &Path) -> Result<Workspace> {
    let output =
        tool("cargo", dir).args(["metadata", "--no-deps", "--format-version", "1"]).output().map_err(|err| not_started("cargo", err))?;
    if !output.status.success() {
        bail!("cargo does not take the crate `{}`: {}", shown(dir).display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("reading what `cargo metadata` printed")?;
    Ok(Workspace { root: metadata.workspace_root, wanted: Vec::new(), packages: metadata.packages })
}
