//! The file of the audit: appended to, and put aside when it is full. One older file is kept, as `audit.log.1`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub struct LogFile {
    path: PathBuf,
    bytes_max: u64,
    file: File,
    bytes: u64,
    /// Whether the file ends in the middle of a line, as after power loss or on a full disk.
    torn: bool,
}

impl LogFile {
    pub fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        let bytes = file.metadata()?.len();
        let mut last = [b'\n'];
        if bytes > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok(Self { path: path.to_owned(), bytes_max, file, bytes, torn: last != [b'\n'] })
    }

    /// Appends one line, which ends with a line feed.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
            self.rotate()?;
        }
        let line = if self.torn { [b"\n", line].concat() } else { line.to_vec() };
        self.torn = true;
        self.file.write_all(&line)?;
        self.torn = false;
        self.bytes += line.len() as u64;
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        match fs::rename(&self.path, older) {
            // It was put aside before, and the new one could not be opened then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
        *self = Self::open(&self.path, self.bytes_max)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_one_older_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let mut log = LogFile::open(&path, 8).unwrap();
        for line in ["1111\n", "222\n", "3333\n", "444444444444\n", "5\n"] {
            log.append(line.as_bytes()).unwrap();
            assert!(fs::metadata(&path).unwrap().len() <= 13);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "5\n");
        assert_eq!(fs::read_to_string(dir.path().join("audit.log.1")).unwrap(), "444444444444\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(&path, "{\"time\":1").unwrap();
        LogFile::open(&path, 1_000).unwrap().append(b"{}\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"time\":1\n{}\n");
    }
}
