//! Compiled code on disk, mapped from its file, and what its component uses of products. A file is used only if its MAC, made with a key
//! of this gateway, is right for exactly this component, this engine and these bytes; anything else is compiled anew.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::Loaded;
use super::compiler::{Compiled, Compiler};
use super::inspect::{CONTRACT, Kind};
use crate::limit::UNUSED_KEPT;
use crate::seal::Seal;
use crate::set::Digest;
use crate::store::file;
use crate::thing::tsl::{USES_BYTES_MAX, Uses};

pub struct Cache {
    dir: PathBuf,
    seal: Arc<Seal>,
    compiler: Compiler,
    /// Files that somebody looks for now: who comes for the same one waits, and finds it.
    wanted: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
}

const MAC_PURPOSE: &str = "compiled code";
const USES_PURPOSE: &str = "what a component uses of products";
const MAC_BYTES: usize = 32;

impl Cache {
    pub fn open(dir: &Path, seal: Arc<Seal>, compiler: Compiler) -> anyhow::Result<Self> {
        file::create_dir(dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), seal, compiler, wanted: Mutex::default() })
    }

    /// The component, compiled for `engine`, which runs components of that kind. What is found was checked when it was compiled;
    /// only what is not found is compiled, from the bytes that `read` gives.
    pub fn component(
        &self,
        engine: &Engine,
        kind: Kind,
        digest: &Digest,
        read: impl FnOnce() -> anyhow::Result<Vec<u8>>,
    ) -> anyhow::Result<(Component, Loaded)> {
        let engine_hash = compatibility(engine, kind);
        let path = self.path(digest, engine_hash);
        let turn = self.turn(&path);
        let _turn = turn.lock();
        if let Some(found) = self.read(engine, digest, engine_hash, &path) {
            return Ok((found, Loaded::FromCache));
        }
        let Compiled { uses, code: compiled } = self.compiler.compile(kind, &read()?)?;
        match self.write_uses(digest, &uses).and_then(|()| self.write(digest, engine_hash, &path, &compiled)) {
            // From the file, it takes no memory that the system cannot take back.
            Ok(()) => {
                if let Some(written) = self.read(engine, digest, engine_hash, &path) {
                    return Ok((written, Loaded::Compiled));
                }
            }
            // The gateway runs as well without its cache, only slower to start.
            Err(error) => {
                tracing::warn!("cannot keep compiled code in {}: {error:#}; it is compiled again at the next start", path.display())
            }
        }
        // SAFETY: our own compiler made these bytes a moment ago.
        let component = unsafe { Component::deserialize(engine, &compiled) }.map_err(super::plain)?;
        Ok((component, Loaded::Compiled))
    }

    /// What the component uses of products, which was noted when it was compiled. Where the note is gone, it is compiled once more.
    pub fn uses(&self, kind: Kind, digest: &Digest, read: impl FnOnce() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<Vec<Uses>> {
        let noted = match self.read_uses(digest) {
            Some(noted) => noted,
            None => {
                let made = self.compiler.compile(kind, &read()?)?.uses;
                if let Err(error) = self.write_uses(digest, &made) {
                    tracing::warn!("cannot keep what component {digest} uses of products: {error:#}");
                }
                made
            }
        };
        Uses::parse(&noted).map_err(|reason| anyhow::anyhow!("what it uses of products cannot be read: {reason}"))
    }

    /// The MAC, and then what was noted.
    fn read_uses(&self, digest: &Digest) -> Option<Vec<u8>> {
        let file = File::open(self.uses_path(digest)).ok()?;
        let mut noted = Vec::new();
        file.take((MAC_BYTES + USES_BYTES_MAX) as u64).read_to_end(&mut noted).ok()?;
        let (mac, uses) = noted.split_at_checked(MAC_BYTES)?;
        self.seal.verify(USES_PURPOSE, &[digest.as_str().as_bytes(), uses], mac).then(|| uses.to_vec())
    }

    fn write_uses(&self, digest: &Digest, uses: &[u8]) -> anyhow::Result<()> {
        let mac = self.seal.mac(USES_PURPOSE, &[digest.as_str().as_bytes(), uses]);
        Ok(file::replace(&self.uses_path(digest), 0o600, &[&mac, uses].concat())?)
    }

    fn uses_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}.uses"))
    }

    fn turn(&self, path: &Path) -> Arc<Mutex<()>> {
        let mut wanted = self.wanted.lock();
        wanted.retain(|_, turn| Arc::strong_count(turn) > 1);
        wanted.entry(path.to_owned()).or_default().clone()
    }

    /// Whether there is a file for it, good or not.
    pub fn has(&self, engine: &Engine, kind: Kind, digest: &Digest) -> bool {
        self.path(digest, compatibility(engine, kind)).exists()
    }

    fn path(&self, digest: &Digest, engine_hash: u64) -> PathBuf {
        self.dir.join(format!("{digest}-{engine_hash:016x}.cwasm"))
    }

    /// Files begin with the digest of their component.
    pub fn prune(&self, is_used: impl Fn(&str) -> bool) {
        file::prune(&self.dir, UNUSED_KEPT, is_used);
    }

    fn read(&self, engine: &Engine, digest: &Digest, engine_hash: u64, path: &Path) -> Option<Component> {
        let mac = fs::read(mac_path(path)).ok()?;
        let compiled = File::open(path).ok()?;
        let signed = [digest.as_str().as_bytes(), &engine_hash.to_be_bytes()];
        let bytes = private_bytes(&compiled).ok()?;
        if !bytes.is_some_and(|bytes| self.seal.verify_read(MAC_PURPOSE, &signed, &compiled, bytes, &mac).unwrap_or(false)) {
            tracing::warn!("{} was not written by this gateway, or was changed since: it is compiled anew", path.display());
            return None;
        }
        // SAFETY: the MAC says that this gateway made them, for this engine, and nobody else may write to the file.
        let mapped = unsafe { Component::deserialize_file(engine, format!("/proc/self/fd/{}", compiled.as_raw_fd())) };
        // Without `/proc`, or where a file may not be mapped as code (`noexec`), a copy in memory does as well.
        match mapped.or_else(|_| self.copied(engine, &signed, &compiled, &mac)) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!("{} cannot be used ({error}): it is compiled anew", path.display());
                None
            }
        }
    }

    fn copied(&self, engine: &Engine, signed: &[&[u8]; 2], mut compiled: &File, mac: &[u8]) -> wasmtime::Result<Component> {
        let mut bytes = Vec::new();
        compiled.seek(SeekFrom::Start(0))?;
        compiled.read_to_end(&mut bytes)?;
        wasmtime::ensure!(self.seal.verify(MAC_PURPOSE, &[signed[0], signed[1], &bytes], mac), "it changed while it was read");
        // SAFETY: the MAC says that this gateway made them, for this engine.
        unsafe { Component::deserialize(engine, &bytes) }
    }

    fn write(&self, digest: &Digest, engine_hash: u64, path: &Path, compiled: &[u8]) -> anyhow::Result<()> {
        let mac = self.seal.mac(MAC_PURPOSE, &[digest.as_str().as_bytes(), &engine_hash.to_be_bytes(), compiled]);
        file::replace(path, 0o600, compiled)?;
        Ok(file::replace(&mac_path(path), 0o600, &mac)?)
    }
}

/// How long a file is, if it is ours and nobody else can change it once it was checked.
fn private_bytes(file: &File) -> io::Result<Option<u64>> {
    let metadata = file.metadata()?;
    let is_ours = metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw();
    Ok((is_ours && metadata.permissions().mode() & 0o022 == 0).then_some(metadata.len()))
}

fn mac_path(path: &Path) -> PathBuf {
    path.with_extension("mac")
}

/// Changes with the version of wasmtime, with every setting that changes the code, and with what was checked before compiling.
fn compatibility(engine: &Engine, kind: Kind) -> u64 {
    // Its keys are fixed, so the hash is the same at each start. It only names files: the MAC is what is trusted.
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    (CONTRACT, kind, super::compile::RECIPE, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    hasher.finish()
}
