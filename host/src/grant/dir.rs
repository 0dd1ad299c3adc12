//! Directories of the gateway that a component may read.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A directory as the gateway and as the component name it. Both paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Dir {
    #[schema(value_type = String)]
    pub host: PathBuf,
    pub guest: String,
}

/// Directories that no grant opens, nor what is in them, nor what they are in.
#[derive(Clone, Debug)]
pub struct ClosedDirs(Vec<PathBuf>);

/// Why a directory is not opened.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    #[error("`{path}` cannot be opened as a directory of the gateway: {error}", path = .0.display(), error = .1)]
    Unreadable(PathBuf, io::Error),
    #[error("`{found}` is never opened to a component, since it holds `{closed}` or lies in it; name another directory", found = .found.display(), closed = .closed.display())]
    Closed { found: PathBuf, closed: PathBuf },
}

/// A directory that may be read, and stays the same whatever is put at its path.
pub struct OpenDir(File);

/// What the kernel shows of itself and of processes: to read it is to read the gateway's memory and settings.
const OF_THE_KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Kinds of file systems that show the same, wherever they are mounted.
const KERNEL_FILE_SYSTEMS: [&str; 9] = ["proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs"];

impl ClosedDirs {
    /// `own` are the gateway's own directories.
    pub fn new(own: impl IntoIterator<Item = PathBuf>) -> Self {
        // A directory that cannot be resolved is closed by the name that it has.
        let own = own.into_iter().map(|dir| dir.canonicalize().unwrap_or(dir));
        Self(OF_THE_KERNEL.into_iter().map(PathBuf::from).chain(kernel_mounts()).chain(own).collect())
    }

    /// Opens a directory, unless it is closed. It is looked at once it is open, so that nothing can be put in its place in between.
    pub fn open(&self, path: &Path) -> Result<OpenDir, DirError> {
        let unreadable = |error| DirError::Unreadable(path.to_owned(), error);
        // The dot refuses what is no directory before it is opened: to open a FIFO would wait for its writer.
        let dir = OpenDir(File::open(path.join(".")).map_err(unreadable)?);
        let found = fs::read_link(dir.path()).map_err(unreadable)?;
        match self.0.iter().find(|closed| found.starts_with(closed) || closed.starts_with(&found)) {
            Some(closed) => Err(DirError::Closed { found, closed: closed.clone() }),
            None => Ok(dir),
        }
    }
}

impl OpenDir {
    /// A path to it, for as long as this is kept.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Where the kernel's file systems are mounted, besides their usual places.
fn kernel_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().filter_map(kernel_mount).collect()
}

/// One line of `mountinfo` (proc(5)): the mount point is its fifth field, the kind of file system the first one after the dash.
fn kernel_mount(line: &str) -> Option<PathBuf> {
    let (mount, about) = line.split_once(" - ")?;
    let kind = about.split(' ').next()?;
    // A space in a path stands there as `\040`.
    KERNEL_FILE_SYSTEMS.contains(&kind).then(|| mount.split(' ').nth(4).map(|path| path.replace("\\040", " ").into()))?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn neither_a_closed_directory_nor_one_in_it_nor_one_around_it_is_opened() {
        let root = tempfile::tempdir().unwrap();
        let (own, beside) = (root.path().join("own"), root.path().join("own-beside"));
        fs::create_dir_all(own.join("in")).unwrap();
        fs::create_dir(&beside).unwrap();
        symlink(&own, root.path().join("link")).unwrap();
        let closed = ClosedDirs::new([own.clone()]);
        for path in [&own, &own.join("in"), &root.path().join("link/in"), &beside.join("../own"), root.path(), Path::new("/")] {
            assert!(matches!(closed.open(path), Err(DirError::Closed { .. })), "{} was opened", path.display());
        }
        for path in ["/proc", "/proc/self", "/sys", "/dev", "/dev/fd/../"] {
            assert!(matches!(closed.open(Path::new(path)), Err(DirError::Closed { .. })), "{path} was opened");
        }
        assert!(closed.open(&beside).is_ok());
    }

    #[test]
    fn what_is_no_directory_is_refused_without_waiting() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let made = std::process::Command::new("mkfifo").arg(root.path().join("fifo")).status().unwrap();
        assert!(made.success());
        let closed = ClosedDirs::new([]);
        for name in ["file", "fifo", "nothing"] {
            assert!(matches!(closed.open(&root.path().join(name)), Err(DirError::Unreadable(..))), "{name} was opened");
        }
    }

    #[test]
    fn a_file_system_of_the_kernel_is_found_wherever_it_is_mounted() {
        let line = r"36 35 0:33 / /srv/my\040jail/proc rw,nosuid master:1 - proc proc rw";
        assert_eq!(kernel_mount(line), Some("/srv/my jail/proc".into()));
        assert_eq!(kernel_mount("36 35 98:0 / /srv/data rw - ext4 /dev/root rw"), None);
    }
}
