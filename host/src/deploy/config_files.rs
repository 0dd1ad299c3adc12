//! Files of drivers' configurations, each laid out where its driver finds it: `<data>/driver-files/DRIVER/PATH`.
//!
//! A running driver keeps its directory and sees new files in it, each of them whole.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Components;
use crate::runtime::ComponentSource;
use crate::set::{self, ConfigFile};
use crate::store::file;

#[derive(Clone)]
pub struct ConfigFiles {
    dir: PathBuf,
}

impl ConfigFiles {
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        file::create_dir(dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// The directory of a driver, which is made if it is not there.
    pub fn dir_of(&self, driver: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(driver);
        file::create_dir(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(dir)
    }

    /// Makes a driver's directory hold what is deployed, and nothing else.
    pub fn lay_out(&self, row: &set::Driver, components: &Components) -> anyhow::Result<()> {
        let dir = self.dir_of(&row.name)?;
        // What is there no more may be in the way: a file where a directory is to be.
        let wanted: HashSet<PathBuf> = row.files.iter().map(|file| dir.join(&file.path)).collect();
        clear(&dir, &wanted).with_context(|| format!("clearing {}", dir.display()))?;
        for file in &row.files {
            place(&dir, file, components).with_context(|| format!("laying out `{}` for driver `{}`", file.path, row.name))?;
        }
        Ok(())
    }

    /// Deletes what is of no driver.
    pub fn prune(&self, is_deployed: impl Fn(&str) -> bool) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(&is_deployed) {
                // It is looked for again at the next deployment.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Its content is the same file on disk, under a second name.
fn place(dir: &Path, file: &ConfigFile, components: &Components) -> anyhow::Result<()> {
    let (content, path) = (components.find(&file.content)?, dir.join(&file.path));
    let inode = |path: &Path| fs::metadata(path).map(|metadata| metadata.ino());
    if inode(&path).ok() == Some(inode(&content)?) {
        return Ok(());
    }
    // Whether it is whole.
    components.read(&file.content)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let new = dir.join(NEW);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::hard_link(&content, &new)?;
    Ok(fs::rename(&new, &path)?)
}

/// No path of a configuration file begins so.
const NEW: &str = "~new";

fn clear(dir: &Path, wanted: &HashSet<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        if entry?.is_dir() {
            clear(&path, wanted)?;
            // Not while something is in it.
            let _ = fs::remove_dir(&path);
        } else if !wanted.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
