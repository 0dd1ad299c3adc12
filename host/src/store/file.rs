//! Whole files that appear whole: a reader, or the next start after power loss, finds all of the bytes or none of them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Creates a directory that is ours alone (0700), and those above it. One that is there is left as it is.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a new file. Fails with `AlreadyExists` if there is one.
pub fn create(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    create_with(path, mode, |file| file.write_all(bytes))
}

/// Like [`create`], where the bytes come from a function. The file can be read, too.
pub fn create_with(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let draft = Draft::write(path, mode, write)?;
    // A link, unlike a rename, never replaces what is there.
    fs::hard_link(&draft.0, path)?;
    sync_parent(path)
}

/// Writes a file, in place of the one that may be there.
pub fn replace(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let draft = Draft::write(path, mode, |file| file.write_all(bytes))?;
    fs::rename(&draft.0, path)?;
    sync_parent(path)
}

/// Deletes the files that were written longer than `age` ago, but for those that are used, by the part of the name before the
/// first `-` or `.`. Drafts that a crash left behind go too. What cannot be deleted stays until the next time.
pub fn prune(dir: &Path, age: Duration, is_used: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split(['-', '.']).next().unwrap_or_default();
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = written.is_ok_and(|written| written.elapsed().is_ok_and(|since| since > age));
        if is_old && !is_used(owner) {
            _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes the entries of a directory survive power loss.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_dir(dir),
        _ => sync_dir(Path::new(".")),
    }
}

/// The bytes under a name of their own, in the same directory. Gone when dropped, unless it was renamed.
struct Draft(PathBuf);

impl Draft {
    fn write(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Self> {
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        // Random: a draft that a crash left behind never stands in the way.
        name.push(format!(".{}", uuid::Uuid::new_v4().simple()));
        let draft = Self(path.with_file_name(name));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&draft.0)?;
        // The umask may have taken bits away.
        file.set_permissions(PermissionsExt::from_mode(mode))?;
        write(&mut file)?;
        file.sync_all()?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_that_nothing_uses_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["used.wasm", "used-1.cwasm", "gone.wasm", "gone.wasm.draft"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let left = || fs::read_dir(dir.path()).unwrap().count();
        prune(dir.path(), Duration::from_secs(60), |_| false);
        assert_eq!(left(), 4);
        prune(dir.path(), Duration::ZERO, |owner| owner == "used");
        assert_eq!(left(), 2);
    }

    #[test]
    fn a_new_file_never_replaces_one_and_no_draft_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, 0o600, b"first").unwrap();
        assert_eq!(create(&path, 0o600, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        replace(&path, 0o644, b"third").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
