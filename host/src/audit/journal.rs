//! The audit on disk: the files, the chain through them, and the head.

use std::io;
use std::path::Path;

use super::chain::{Keys, Link};
use super::file::LogFile;
use super::head::Head;
use super::verify::{Findings, verify};
use super::{ALARM, BEGUN, REPAIRED};
use crate::seal::Seal;
use crate::store;

pub struct Journal {
    keys: Keys,
    file: LogFile,
    file_bytes_max: u64,
    /// As it is to be written next.
    pub(super) head: Head,
    /// Whether lines were written that the head on the disk does not know of.
    is_behind: bool,
}

/// What the first lines of this run say.
pub type FirstLines = Vec<(&'static str, String)>;

impl Journal {
    /// Goes on where the chain ended, whatever befell the files meanwhile, and says what did.
    pub fn open(dir: &Path, seal: &Seal, file_bytes_max: u64) -> io::Result<(Self, FirstLines)> {
        let keys = Keys::of(seal);
        let findings = verify(dir, &keys, None)?;
        let mut file = LogFile::open(dir)?;
        let torn_bytes = file.mend()?;
        let is_first = findings.is_nothing() && torn_bytes == 0;
        let first_lines = if is_first { begun(dir) } else { befallen(&findings, torn_bytes) };
        let head = if is_first { Head::at(Link::origin()) } else { going_on(&findings) };
        let mut journal = Self { keys, file, file_bytes_max, head, is_behind: true };
        journal.settle()?;
        Ok((journal, first_lines))
    }

    /// The number of the next line.
    pub fn next_seq(&self) -> u64 {
        self.head.last.seq.saturating_add(1)
    }

    /// Writes a line, whose JSON has the number [`Journal::next_seq`]. How it stands in the file, without its end.
    pub fn append(&mut self, object: &str) -> io::Result<String> {
        let (mut line, link) = self.keys.sign_line(&self.head.last, self.next_seq(), object);
        line.push('\n');
        let bytes = self.file.bytes()?;
        if bytes > 0 && bytes + line.len() as u64 > self.file_bytes_max {
            self.rotate()?;
        }
        self.file.append(line.as_bytes())?;
        self.head.last = link;
        self.is_behind = true;
        line.pop();
        Ok(line)
    }

    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Sees to it that all lines are on the disk, and the head after them.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.is_behind {
            self.file.sync()?;
            self.file.write_head(&self.head.to_bytes(&self.keys))?;
            self.is_behind = false;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        // A crash between these steps leaves a head that knows of both ways in which the files may stand.
        self.head.rotating = true;
        self.is_behind = true;
        self.settle()?;
        self.file.put_aside()?;
        self.head = Head { older: self.head.log, log: self.head.last, rotating: false, ..self.head };
        self.is_behind = true;
        Ok(())
    }
}

/// In a directory where there was no audit.
fn begun(dir: &Path) -> FirstLines {
    if dir.join(store::FILE_NAME).exists() {
        return vec![(
            ALARM,
            "there was no audit, although the gateway has run here before: its files were deleted, and what they said is lost".into(),
        )];
    }
    vec![(BEGUN, "the first line of a new audit".into())]
}

fn befallen(findings: &Findings, torn_bytes: u64) -> FirstLines {
    let mut lines = Vec::new();
    let known = findings.head.as_ref().map_or(0, |head| head.known_problems);
    if let Some(first) = findings.problems.first().filter(|_| findings.problem_count > known) {
        let others = findings.problem_count - 1;
        let others = if others > 0 { format!(" (and {others} more: `ledge audit verify`)") } else { String::new() };
        lines.push((ALARM, format!("found at the start: {first}{others}")));
    }
    if torn_bytes > 0 {
        lines.push((REPAIRED, format!("a line ended in its middle, as after power loss: its {torn_bytes} bytes were cut off")));
    }
    lines
}

/// The chain goes on from the furthest line that is known: where lines are missing at the end, they stay missing.
fn going_on(findings: &Findings) -> Head {
    let right = [findings.last, findings.head.as_ref().map(|head| head.last)];
    let last = right.into_iter().flatten().max_by_key(|link| link.seq).or(findings.furthest).filter(|link| link.seq < SEQ_MAX);
    let last = last.unwrap_or_else(Link::origin);
    let (older, log) = match &findings.head {
        // It became the older file, and the head could not say so any more.
        Some(head) if head.rotating && findings.log == Some(head.last) => (head.log, head.last),
        Some(head) => (head.older, head.log),
        None => (findings.older.unwrap_or(last), findings.log.unwrap_or(last)),
    };
    Head { last, older, log, rotating: false, known_problems: findings.problem_count }
}

/// Whoever writes a number that is larger does not stop the audit: no gateway comes so far.
const SEQ_MAX: u64 = 1 << 60;
