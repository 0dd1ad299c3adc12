//! Compiled code on disk. A file is used only if its MAC, made with a key of this gateway, is right for exactly this
//! component, this engine and these bytes; anything else is compiled anew.

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::Loaded;
use crate::seal::Seal;
use crate::set::Digest;
use crate::store::file;

pub struct Cache {
    dir: PathBuf,
    seal: Arc<Seal>,
}

const MAC_PURPOSE: &str = "compiled code";

impl Cache {
    pub fn open(dir: &Path, seal: Arc<Seal>) -> anyhow::Result<Self> {
        file::create_dir(dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), seal })
    }

    /// The component, compiled for `engine`.
    pub fn component(&self, engine: &Engine, digest: &Digest, component: &[u8]) -> anyhow::Result<(Component, Loaded)> {
        let engine_hash = compatibility(engine);
        let path = self.dir.join(format!("{digest}-{engine_hash:016x}.cwasm"));
        if let Some(found) = self.read(engine, digest, engine_hash, &path) {
            return Ok((found, Loaded::FromCache));
        }
        let compiled = engine.precompile_component(component).map_err(super::plain).context("compiling it")?;
        if let Err(error) = self.write(digest, engine_hash, &path, &compiled) {
            // The gateway runs as well without its cache, only slower to start.
            tracing::warn!("cannot keep compiled code in {}: {error:#}; it is compiled again at the next start", path.display());
        }
        // SAFETY: these bytes were made by this engine a moment ago.
        let component = unsafe { Component::deserialize(engine, &compiled) }.map_err(super::plain)?;
        Ok((component, Loaded::Compiled))
    }

    fn read(&self, engine: &Engine, digest: &Digest, engine_hash: u64, path: &Path) -> Option<Component> {
        let mac = fs::read(mac_path(path)).ok()?;
        let compiled = fs::read(path).ok()?;
        if !self.seal.verify(MAC_PURPOSE, &[digest.as_str().as_bytes(), &engine_hash.to_be_bytes(), &compiled], &mac) {
            tracing::warn!("{} was not written by this gateway, or was changed since: it is compiled anew", path.display());
            return None;
        }
        // The bytes that were checked are the bytes that run: a second look at the file could see another one.
        // SAFETY: the MAC says that this gateway made them, for this engine.
        match unsafe { Component::deserialize(engine, &compiled) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!("{} cannot be used ({error}): it is compiled anew", path.display());
                None
            }
        }
    }

    fn write(&self, digest: &Digest, engine_hash: u64, path: &Path, compiled: &[u8]) -> anyhow::Result<()> {
        let mac = self.seal.mac(MAC_PURPOSE, &[digest.as_str().as_bytes(), &engine_hash.to_be_bytes(), compiled]);
        file::replace(path, 0o600, compiled)?;
        Ok(file::replace(&mac_path(path), 0o600, &mac)?)
    }
}

fn mac_path(path: &Path) -> PathBuf {
    path.with_extension("mac")
}

/// Changes with the version of wasmtime and with every setting that changes the code.
fn compatibility(engine: &Engine) -> u64 {
    // Its keys are fixed, so the hash is the same at each start. It only names files: the MAC is what is trusted.
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}
