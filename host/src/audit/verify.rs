//! The verification: reads what is kept of the chain from its beginning, and says what of it the gateway did not write so.
//!
//! What is found wrong does not end it: a line that follows the one before is right, whatever was before them.

use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use super::chain::{Keys, Link, Read};
use super::file::{self, Kept};
use super::head::{Found, Head};

/// What came of it.
#[derive(Default)]
pub struct Findings {
    /// Whole lines that are in the files.
    pub lines: u64,
    /// The number of the oldest.
    pub first: Option<u64>,
    /// The newest that is right.
    pub last: Option<Link>,
    /// In the order in which they stand in the files; so many at most.
    pub problems: Vec<Problem>,
    pub problem_count: u64,
    /// Numbers of the lines by which the gateway says that it cut off a line which ended in its middle.
    pub repaired: Vec<u64>,
    /// What the gateway itself found as it started: the line's number, and what it says.
    pub alarms: Vec<(u64, String)>,
    /// How many lines say that others were left out, since they came too fast.
    pub left_out: u64,
    /// Lines that are right and that the head does not know of.
    pub after_head: u64,
    /// Bytes at the end that are no whole line.
    pub torn_bytes: u64,
    /// Whether not one line is right, nor the head: rather another key file than so thorough an attack.
    pub is_all_wrong: bool,
    /// The line before the oldest, and the one before the first of the newer file.
    pub(super) older: Option<Link>,
    pub(super) log: Option<Link>,
    pub(super) head: Option<Head>,
    /// The last line, whether it is right or not.
    pub(super) furthest: Option<Link>,
}

/// Something that the gateway did not write so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which line of which file, if it is about one.
    pub at: Option<(&'static str, u64)>,
    pub wrong: Wrong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    NoLine,
    Changed(u64),
    /// From this number to that.
    Missing(u64, u64),
    Misplaced(u64),
    CutOff(u64, u64),
    Other(u64),
    HeadMissing,
    HeadDamaged,
}

impl Findings {
    /// Whether there is no audit, and no trace of one.
    pub fn is_nothing(&self) -> bool {
        self.lines == 0 && self.torn_bytes == 0 && matches!(self.problems[..], [Problem { wrong: Wrong::HeadMissing, .. }])
    }
}

/// Verifies what is in a data directory; with `since`, also that the chain goes on from there.
pub fn verify(dir: &Path, keys: &Keys, since: Option<Link>) -> io::Result<Findings> {
    let kept = Kept::open(dir)?;
    let reader = |file: Option<File>| -> Box<dyn BufRead> {
        match file {
            Some(file) => Box::new(BufReader::with_capacity(READ_BYTES, file)),
            None => Box::new(io::empty()),
        }
    };
    read(keys, kept.head.as_deref(), reader(kept.older), reader(kept.log), since)
}

pub(super) fn read(keys: &Keys, head: Option<&[u8]>, older: impl BufRead, log: impl BufRead, since: Option<Link>) -> io::Result<Findings> {
    let head = Found::read(head, keys);
    let mut walk =
        Walk { keys, starts: Vec::new(), before: None, expected: None, anchors: Vec::new(), right: 0, findings: Findings::default() };
    if let Found::Head(head) = &head {
        walk.starts = if head.rotating { vec![head.older, head.log] } else { vec![head.older] };
        walk.expect(&head.last);
        walk.findings.head = Some(head.clone());
    }
    since.iter().for_each(|since| walk.expect(since));
    let torn = walk.file(file::OLDER, older)?;
    if torn > 0 {
        walk.wrong(Some((file::OLDER, walk.findings.lines + 1)), Wrong::NoLine);
    }
    walk.findings.log = walk.expected;
    walk.findings.torn_bytes = walk.file(file::LOG, log)?;
    Ok(walk.end(&head))
}

struct Walk<'a> {
    keys: &'a Keys,
    /// Where what is kept may begin.
    starts: Vec<Link>,
    /// The line that was read last, right or wrong.
    before: Option<Link>,
    /// The furthest line so far: the next has to follow it.
    expected: Option<Link>,
    /// Lines that must be there, and whether they are.
    anchors: Vec<(Link, Seen)>,
    right: u64,
    findings: Findings,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Not,
    Same,
    Other,
}

impl Walk<'_> {
    fn expect(&mut self, link: &Link) {
        self.anchors.push((*link, Seen::Not));
    }

    /// Reads one file; how many bytes at its end are no whole line.
    fn file(&mut self, name: &'static str, mut file: impl BufRead) -> io::Result<u64> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            (&mut file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if line.pop_if(|last| *last == b'\n').is_some() {
                self.line((name, number), &line);
            } else if (line.len() as u64) < LINE_BYTES_MAX {
                return Ok(line.len() as u64);
            } else {
                self.findings.lines += 1;
                self.wrong(Some((name, number)), Wrong::NoLine);
                skip_line(&mut file)?;
            }
        }
        Ok(0)
    }

    fn line(&mut self, at: (&'static str, u64), line: &[u8]) {
        self.findings.lines += 1;
        let Some(line) = Read::parse(line) else { return self.wrong(Some(at), Wrong::NoLine) };
        let seq = line.link.seq;
        self.findings.first.get_or_insert(seq);
        let expected = *self.expected.get_or_insert_with(|| {
            self.starts
                .iter()
                .find(|start| start.seq.checked_add(1) == Some(seq))
                .or(self.starts.first())
                .copied()
                .unwrap_or_else(|| before_unknown(seq))
        });
        self.findings.older.get_or_insert(expected);
        let next = expected.seq.saturating_add(1);
        if self.keys.follows(&expected, &line) || self.before.is_some_and(|before| self.keys.follows(&before, &line)) {
            self.right(&line);
            self.expected = Some(line.link);
        } else if seq < next {
            self.wrong(Some(at), Wrong::Misplaced(seq));
        } else {
            let wrong = if seq > next { Wrong::Missing(next, seq - 1) } else { Wrong::Changed(seq) };
            self.wrong(Some(at), wrong);
            self.expected = Some(line.link);
        }
        self.before = Some(line.link);
        for (anchor, seen) in self.anchors.iter_mut().filter(|(anchor, _)| anchor.seq == seq) {
            *seen = if anchor.mac == line.link.mac { Seen::Same } else { Seen::Other };
        }
    }

    fn right(&mut self, line: &Read<'_>) {
        self.right += 1;
        let findings = &mut self.findings;
        if findings.last.is_none_or(|last| last.seq < line.link.seq) {
            findings.last = Some(line.link);
        }
        findings.after_head += u64::from(findings.head.as_ref().is_some_and(|head| head.last.seq < line.link.seq));
        match &*line.what {
            super::REPAIRED => findings.repaired.push(line.link.seq),
            super::ALARM => findings.alarms.push((line.link.seq, line.detail.to_string())),
            super::SUPPRESSED | super::LOST => findings.left_out += 1,
            _ => {}
        }
    }

    fn wrong(&mut self, at: Option<(&'static str, u64)>, wrong: Wrong) {
        self.findings.problem_count += 1;
        if self.findings.problems.len() < PROBLEMS_MAX {
            self.findings.problems.push(Problem { at, wrong });
        }
    }

    fn end(mut self, head: &Found) -> Findings {
        let furthest = self.expected.or(self.starts.first().copied());
        self.findings.furthest = self.expected;
        for (anchor, seen) in std::mem::take(&mut self.anchors) {
            let begin = furthest.map_or(0, |link| link.seq).saturating_add(1);
            let is_before = self.findings.older.or(furthest) == Some(anchor);
            match seen {
                Seen::Other => self.wrong(None, Wrong::Other(anchor.seq)),
                Seen::Not if !is_before && anchor.seq >= begin => self.wrong(None, Wrong::CutOff(begin, anchor.seq)),
                // Else it is among those that are said to be missing already, or too old to be kept.
                _ => {}
            }
        }
        match head {
            Found::Nothing => self.wrong(None, Wrong::HeadMissing),
            Found::Damaged => self.wrong(None, Wrong::HeadDamaged),
            Found::Head(_) => {}
        }
        self.findings.is_all_wrong = self.right == 0 && self.findings.lines > 0 && matches!(head, Found::Damaged);
        self.findings
    }
}

/// In the place of the line before the first, where nothing tells which one that was. No signature is right after it.
fn before_unknown(seq: u64) -> Link {
    Link { seq: seq.saturating_sub(1), mac: [0; 32] }
}

fn skip_line(file: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = file.fill_buf()?;
        let at = bytes.iter().position(|byte| *byte == b'\n');
        let (skipped, is_end) = (at.map_or(bytes.len(), |at| at + 1), at.is_some() || bytes.is_empty());
        file.consume(skipped);
        if is_end {
            return Ok(());
        }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = self.at {
            write!(f, "line {line} of {file}: ")?;
        }
        match self.wrong {
            Wrong::NoLine => f.write_str(
                "this is no line of the audit. It was put in, or changed beyond recognition; where a number is missing after it, it was that one",
            ),
            Wrong::Changed(seq) => write!(
                f,
                "number {seq} is not as the gateway wrote it. It was changed, or put in the place of another: do not believe what it says"
            ),
            Wrong::Missing(from, to) if from == to => {
                write!(f, "number {from}, which was before it, is missing. It was deleted, or moved: what it said is lost")
            }
            Wrong::Missing(from, to) => {
                write!(f, "the numbers {from} to {to}, which were before it, are missing. They were deleted, or moved: what they said is lost")
            }
            Wrong::Misplaced(seq) => {
                write!(f, "number {seq} does not belong here. It was moved, copied or put in: the order of the lines around it is not that of what happened")
            }
            Wrong::CutOff(from, to) => write!(
                f,
                "the numbers {from} to {to} are missing at the end: the gateway had them on its disk. They were cut off, or older files were put back: \
                 what they said is lost"
            ),
            Wrong::Other(seq) => write!(
                f,
                "number {seq} is another than the one that was there. The files were put in the place of others: do not believe what they say"
            ),
            Wrong::HeadMissing => f.write_str(
                "audit.head is missing, which says how far the audit goes. It was deleted: lines may be missing at the beginning and at the end",
            ),
            Wrong::HeadDamaged => f.write_str(
                "audit.head, which says how far the audit goes, is not as the gateway wrote it. It was changed: lines may be missing at the \
                 beginning and at the end",
            ),
        }
    }
}

/// No line of ours comes near: text of 1.3 kB, of which each byte may take six.
const LINE_BYTES_MAX: u64 = 16 << 10;
const PROBLEMS_MAX: usize = 10;
const READ_BYTES: usize = 64 << 10;
