//! A directory for one run of the bench, gone at its end.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::store::file;

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn create() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("ledge-bench-{}", uuid::Uuid::new_v4().simple()));
        file::create_dir(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self(dir))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
