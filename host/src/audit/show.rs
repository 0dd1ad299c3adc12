//! The newest lines, for people. They are not verified.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use super::file::Kept;

/// One line, as it stands there.
pub struct Shown {
    /// `None`: it is no line of the audit.
    pub line: Option<Line>,
    pub text: String,
}

#[derive(Deserialize)]
pub struct Line {
    pub seq: u64,
    /// Unix milliseconds.
    pub time: u64,
    pub who: String,
    pub what: String,
    pub detail: String,
}

/// So many at most, the oldest first.
pub fn last_lines(dir: &Path, count: usize) -> io::Result<Vec<Shown>> {
    let kept = Kept::open(dir)?;
    let mut lines = VecDeque::new();
    for file in [kept.older, kept.log].into_iter().flatten() {
        let mut file = BufReader::new(file.take(FILE_BYTES_MAX));
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line)? > 0 {
            if lines.len() == count {
                lines.pop_front();
            }
            lines.push_back(std::mem::take(&mut line));
        }
    }
    let shown = |line: Vec<u8>| {
        let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        Shown { line: serde_json::from_str(&text).ok(), text }
    };
    Ok(lines.into_iter().map(shown).collect())
}

/// No file of ours is half as large.
const FILE_BYTES_MAX: u64 = 2 * super::FILE_BYTES_MAX;
