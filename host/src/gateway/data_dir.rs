//! The data directory: one gateway at a time, closed to everybody else on the machine.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::net::UnixListener;

use crate::store::file;

pub struct DataDir {
    root: PathBuf,
    /// Held for as long as the gateway runs.
    _lock: File,
}

impl DataDir {
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        let shown = root.display();
        file::create_dir(root).with_context(|| format!("creating the data directory {shown}"))?;
        let root = root.canonicalize().with_context(|| format!("finding the data directory {shown}"))?;
        check_is_ours(&root)?;
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&root, private).with_context(|| format!("closing the data directory {shown} to others"))?;
        let lock = lock(&root.join("lock"))?;
        Ok(Self { root, _lock: lock })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The socket of the local administrator: who may open it may do everything.
    pub fn bind_socket(&self) -> anyhow::Result<UnixListener> {
        let path = self.path(SOCKET);
        // Left by a gateway that was killed: the lock says that nobody listens on it.
        let _ = fs::remove_file(&path);
        let dir = File::open(&self.root)?;
        let listener = UnixListener::bind(reachable(&dir)).with_context(|| format!("listening on {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }
}

const SOCKET: &str = "api.sock";

/// The path of the socket in an open directory. A socket's path may have 107 bytes; this one is short, wherever it is.
fn reachable(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

/// The local administrator's socket of the gateway whose data is in `data`. It can be reached while `File` lives.
pub fn socket_path(data: &Path) -> std::io::Result<(File, PathBuf)> {
    let dir = File::open(data)?;
    let path = reachable(&dir);
    Ok((dir, path))
}

/// What others could put here (a key that they know, links to other files) would be trusted.
fn check_is_ours(root: &Path) -> anyhow::Result<()> {
    let shown = root.display();
    let found = fs::metadata(root).with_context(|| format!("looking at the data directory {shown}"))?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        bail!("the data directory {shown} belongs to another user: choose another with --data, or give it to this one with chown");
    }
    if found.permissions().mode() & 0o022 != 0 {
        bail!("the data directory {shown} can be written by others: see what is in it, and then type `chmod 700 {shown}`");
    }
    Ok(())
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let dir = path.parent().unwrap_or(path).display();
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            bail!("the data directory {dir} is in use by another gateway (process {pid}); stop that one, or choose another with --data")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking the data directory {dir}")),
    }
}
