//! The files of the audit: appended to, and put aside when it is full. One older file is kept, as `audit.log.1`; the head is `audit.head`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::store::file::sync_dir;

pub const LOG: &str = "audit.log";
pub const OLDER: &str = "audit.log.1";
const HEAD: &str = "audit.head";
const HEAD_DRAFT: &str = "audit.head.new";

/// The newer file, open for writing.
pub struct LogFile {
    dir: PathBuf,
    file: File,
    /// Whether a line may end in its middle, since it could not be written.
    torn: bool,
    /// Whether the directory may not know of this file yet, after power loss.
    is_new: bool,
}

/// All that there is, open for reading.
pub struct Kept {
    pub head: Option<Vec<u8>>,
    pub older: Option<File>,
    pub log: Option<File>,
}

impl LogFile {
    pub fn open(dir: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(dir.join(LOG))?;
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        Ok(Self { dir: dir.to_owned(), file, torn: true, is_new: true })
    }

    pub fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Cuts off a line that ends in its middle, as after power loss. How many bytes that were.
    pub fn mend(&mut self) -> io::Result<u64> {
        let bytes = self.bytes()?;
        let mut end = bytes;
        let mut chunk = [0; 512];
        while end > 0 {
            let chunk = &mut chunk[..end.min(512) as usize];
            let begin = end - chunk.len() as u64;
            self.file.seek(SeekFrom::Start(begin))?;
            self.file.read_exact(chunk)?;
            if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
                end = begin + at as u64 + 1;
                break;
            }
            end = begin;
        }
        if end < bytes {
            self.file.set_len(end)?;
        }
        self.torn = false;
        Ok(bytes - end)
    }

    /// Appends one line, which ends with a line feed; all of it or nothing.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.nlink() == 0 {
            // Somebody deleted it: what comes now is to be kept all the same.
            *self = Self::open(&self.dir)?;
        }
        if self.torn {
            self.mend()?;
        }
        let before = self.bytes()?;
        self.file.write_all(line).inspect_err(|_| self.torn = self.file.set_len(before).is_err())
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if self.is_new {
            sync_dir(&self.dir)?;
            self.is_new = false;
        }
        Ok(())
    }

    /// Makes this file the older one, in the place of the one before, and begins another.
    pub fn put_aside(&mut self) -> io::Result<()> {
        match fs::rename(self.dir.join(LOG), self.dir.join(OLDER)) {
            // It was put aside before, and the new one could not be opened then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
        *self = Self::open(&self.dir)?;
        Ok(())
    }

    /// Writes the head so that it is there whole, the old one or this. A draft that a crash leaves behind is the next one's.
    pub fn write_head(&self, head: &[u8]) -> io::Result<()> {
        let draft = self.dir.join(HEAD_DRAFT);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(head)?;
        file.sync_data()?;
        fs::rename(draft, self.dir.join(HEAD))?;
        sync_dir(&self.dir)
    }
}

impl Kept {
    /// All of one moment, also where the gateway writes meanwhile.
    pub fn open(dir: &Path) -> io::Result<Self> {
        for _ in 0..TRIES_MAX {
            let kept = Self { head: there(fs::read(dir.join(HEAD)))?, older: open(dir, OLDER)?, log: open(dir, LOG)? };
            // If one was put aside between two of these steps, they do not belong together.
            let is_same_head = kept.head == there(fs::read(dir.join(HEAD)))?;
            if is_same_head && inode(&kept.older)? == inode(&open(dir, OLDER)?)? {
                return Ok(kept);
            }
        }
        Err(io::Error::other("the audit changes faster than it can be read: try again"))
    }
}

fn open(dir: &Path, name: &str) -> io::Result<Option<File>> {
    there(File::open(dir.join(name)))
}

fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn inode(file: &Option<File>) -> io::Result<Option<u64>> {
    file.as_ref().map(|file| Ok(file.metadata()?.ino())).transpose()
}

/// The head changes once a second at most.
const TRIES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_older_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(dir.path()).unwrap();
        for line in ["1\n", "2\n", "3\n"] {
            log.put_aside().unwrap();
            log.append(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(dir.path().join(LOG)).unwrap(), "3\n");
        assert_eq!(fs::read_to_string(dir.path().join(OLDER)).unwrap(), "2\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_torn_line_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        for (torn, whole) in [("{}\n{\"time\":1", "{}\n"), ("{}\n", "{}\n"), ("{", ""), ("", ""), ("\n\0\0", "\n")] {
            for padding in [0, 512, 2_000] {
                let whole = format!("{}{whole}", "x".repeat(padding));
                let whole = if whole.ends_with('\n') { whole } else { String::new() };
                let torn = format!("{}{torn}", "x".repeat(padding));
                fs::write(dir.path().join(LOG), &torn).unwrap();
                let mut log = LogFile::open(dir.path()).unwrap();
                assert_eq!(log.mend().unwrap() as usize, torn.len() - whole.len());
                log.append(b"1\n").unwrap();
                assert_eq!(fs::read_to_string(dir.path().join(LOG)).unwrap(), format!("{whole}1\n"));
            }
        }
    }
}
