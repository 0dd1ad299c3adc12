//! The components that were uploaded, as files named by their digest.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use ring::digest::{Context as Sha256, SHA256};

use crate::limit::{COMPONENT_BYTES_MAX, UNUSED_KEPT};
use crate::runtime::ComponentSource;
use crate::set::Digest;
use crate::store::file;

const PIECE_BYTES: usize = 64 << 10;

#[derive(Clone)]
pub struct Components {
    dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error("the component has {0} bytes, and {COMPONENT_BYTES_MAX} is the most that is taken")]
    TooLarge(usize),
    #[error("the component has the digest {found}, and not {announced}: it was changed on its way; send it again")]
    OtherDigest { announced: Digest, found: Digest },
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl Components {
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        file::create_dir(dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Where it is, if it is there; whether it is whole, only [`ComponentSource::read`] says.
    pub fn find(&self, digest: &Digest) -> anyhow::Result<PathBuf> {
        let path = self.path(digest);
        fs::metadata(&path).with_context(|| missing(digest))?;
        Ok(path)
    }

    /// Whether it is there, and whole. Takes a while, and little memory.
    pub fn has(&self, digest: &Digest) -> bool {
        self.look_through(digest, |_| {}).is_ok()
    }

    /// Where it is, once each piece of it was seen and all of it is whole.
    pub fn look_through(&self, digest: &Digest, mut see: impl FnMut(&[u8])) -> anyhow::Result<PathBuf> {
        let path = self.path(digest);
        let mut file = File::open(&path).with_context(|| missing(digest))?;
        let (mut piece, mut seen) = (vec![0; PIECE_BYTES], Sha256::new(&SHA256));
        loop {
            let bytes = file.read(&mut piece).with_context(|| format!("reading {}", path.display()))?;
            if bytes == 0 {
                break;
            }
            see(&piece[..bytes]);
            seen.update(&piece[..bytes]);
        }
        anyhow::ensure!(Digest::from(seen.finish()) == *digest, damaged(&path));
        Ok(path)
    }

    /// Keeps a component under the digest that its sender announced.
    pub fn put(&self, announced: &Digest, component: &[u8]) -> Result<(), PutError> {
        if component.len() > COMPONENT_BYTES_MAX {
            return Err(PutError::TooLarge(component.len()));
        }
        let found = Digest::of(component);
        if found != *announced {
            return Err(PutError::OtherDigest { announced: announced.clone(), found });
        }
        let path = self.path(announced);
        if self.has(announced) {
            // Brought again, it is as new: what is deleted first is what lay for longest.
            let touched = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
            touched.with_context(|| format!("keeping the component {}", path.display()))?;
        } else {
            // A deployment that is acknowledged finds its components after a power loss: the file is fsynced.
            file::replace(&path, 0o600, component).context("keeping the component")?;
        }
        Ok(())
    }

    /// Deletes components that have lain unused for long.
    pub fn prune(&self, is_used: impl Fn(&str) -> bool) {
        file::prune(&self.dir, UNUSED_KEPT, is_used);
    }

    /// Deletes the oldest of the unused, until the rest of them has so many bytes at most: who may deploy may not fill the disk with what is not.
    pub fn prune_to(&self, bytes_max: u64, is_used: impl Fn(&str) -> bool) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let of_unused = |entry: fs::DirEntry| {
            let (name, metadata) = (entry.file_name(), entry.metadata().ok()?);
            let digest = name.to_str()?.strip_suffix(".wasm")?;
            (!is_used(digest)).then_some((metadata.modified().ok()?, metadata.len(), entry.path()))
        };
        let mut unused: Vec<_> = entries.flatten().filter_map(of_unused).collect();
        unused.sort_unstable_by(|one, other| other.cmp(one));
        let mut bytes = 0;
        for (_, len, path) in unused {
            bytes += len;
            if bytes > bytes_max {
                _ = fs::remove_file(path);
            }
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}.wasm"))
    }
}

impl ComponentSource for Components {
    fn read(&self, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        let path = self.path(digest);
        let component = fs::read(&path).with_context(|| missing(digest))?;
        anyhow::ensure!(Digest::of(&component) == *digest, damaged(&path));
        Ok(component)
    }
}

fn damaged(path: &Path) -> String {
    format!("its component was damaged on disk ({}); deploy it again", path.display())
}

fn missing(digest: &Digest) -> String {
    format!("its component {digest} is not on this gateway; deploy it again")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_what_is_not_used_the_newest_stay_within_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let components = Components::open(dir.path()).unwrap();
        let digests: Vec<Digest> = (0..5_u8).map(|number| Digest::of(&[number; 10])).collect();
        for (number, digest) in digests.iter().enumerate() {
            components.put(digest, &[number as u8; 10]).unwrap();
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + number as u64);
            File::options().write(true).open(components.path(digest)).unwrap().set_modified(written).unwrap();
        }
        components.prune_to(25, |digest| digest == digests[0].as_str());
        let left: Vec<bool> = digests.iter().map(|digest| components.has(digest)).collect();
        assert_eq!(left, [true, false, false, true, true]);
    }
}
