//! What the audit records, and that whatever is done to it afterwards is found.

use std::fmt::{self, Debug, Formatter};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use super::chain::Keys;
use super::file::LogFile;
use super::head::Head;
use super::verify::Wrong;
use super::*;
use crate::store;

fn parsed(lines: &[String]) -> Vec<serde_json::Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_fact_is_one_line_whatever_a_guest_put_into_it() {
    let audit = Audit::in_memory();
    audit.record("function EdgeFC/x", "denied", "topic `a\n{\"what\":\"fake\"}`");
    audit.record(&"é".repeat(500), "denied", &"é".repeat(5_000));
    let lines = audit.lines();
    let read = parsed(&lines);
    assert_eq!(read.len(), 2);
    assert_eq!((&read[0]["who"], &read[0]["what"]), (&"function EdgeFC/x".into(), &"denied".into()));
    assert_eq!(read[0]["detail"], "topic `a\n{\"what\":\"fake\"}`");
    assert!(read[0]["time"].as_u64().unwrap() > 0 && !lines[0].contains('\n'));
    assert_eq!(read[1]["detail"].as_str().unwrap().len(), DETAIL_BYTES_MAX);
}

#[test]
fn a_loud_guest_is_counted_and_a_quiet_one_is_heard() {
    let (clock, hands) = Clock::fixed(0);
    let audit = Audit::start(Sink::Memory(Memory::default()), FirstLines::new(), clock).unwrap();
    for _ in 0..1_000 {
        audit.record("function a/loud", "denied", "x");
    }
    audit.record("function a/quiet", "denied", "x");
    hands.advance(Duration::from_secs(1));
    audit.record("function a/loud", "denied", "x");
    let read = parsed(&audit.lines());
    let count = |who: &str, what: &str| read.iter().filter(|line| line["who"] == who && line["what"] == what).count();
    assert_eq!(count("function a/loud", "denied"), 11);
    assert_eq!(count("function a/quiet", "denied"), 1);
    let suppressed: u64 = read.iter().filter(|line| line["what"] == "suppressed").map(leading_number).sum();
    assert_eq!(suppressed, 990);
}

fn leading_number(line: &serde_json::Value) -> u64 {
    line["detail"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn what_finds_no_room_is_counted() {
    let (clock, _hands) = Clock::fixed(0);
    let memory = Memory::default();
    let audit = Audit::start(Sink::Memory(memory.clone()), FirstLines::new(), clock).unwrap();
    // Held: the writer stands as if the disk hung.
    let disk = memory.lock();
    for number in 0..2_000 {
        audit.record(&format!("function a/f{number}"), "denied", "x");
    }
    drop(disk);
    let read = parsed(&audit.lines());
    let written = read.iter().filter(|line| line["what"] == "denied").count() as u64;
    let lost: u64 = read.iter().filter(|line| line["what"] == "lost").map(leading_number).sum();
    let suppressed: u64 = read.iter().filter(|line| line["what"] == "suppressed").map(leading_number).sum();
    assert!(lost > 0);
    assert_eq!(written + lost + suppressed, 2_000);
}

#[test]
fn the_file_is_ours_alone_and_grows_over_restarts() {
    let (dir, seal) = (tempfile::tempdir().unwrap(), Seal::ephemeral());
    for _ in 0..2 {
        let audit = Audit::open(dir.path(), &seal).unwrap();
        audit.record("user admin", "login", "from 127.0.0.1");
        audit.close();
        audit.record("user admin", "login", "too late");
        audit.flush();
    }
    let path = dir.path().join("audit.log");
    // And the first of the chain.
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A chain in memory, in two files, and its head.
struct Written {
    keys: Keys,
    older: Vec<Vec<u8>>,
    log: Vec<Vec<u8>>,
    head: Vec<u8>,
}

impl Debug for Written {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}--\n{}", String::from_utf8_lossy(&self.older.concat()), String::from_utf8_lossy(&self.log.concat()))
    }
}

impl Written {
    /// `lines` in all, of which `kept_from` is the oldest that is kept and `log_from` the first of the newer file.
    fn new(lines: u64, kept_from: u64, log_from: u64) -> Self {
        let keys = Keys::of(&Seal::ephemeral());
        let mut head = Head::at(Link::origin());
        let (mut older, mut log) = (Vec::new(), Vec::new());
        for seq in 1..=lines {
            if seq == kept_from {
                head.older = head.last;
            }
            if seq == log_from {
                head.log = head.last;
            }
            let object = format!(r#"{{"seq":{seq},"time":{},"who":"user admin","what":"deployed","detail":"{seq} new"}}"#, 1_000 * seq);
            let (line, link) = keys.sign_line(&head.last, seq, &object);
            head.last = link;
            let file = if seq < log_from { &mut older } else { &mut log };
            if seq >= kept_from {
                file.push(format!("{line}\n").into_bytes());
            }
        }
        let head = head.to_bytes(&keys);
        Self { keys, older, log, head }
    }

    fn all(&self) -> Vec<&Vec<u8>> {
        self.older.iter().chain(&self.log).collect()
    }

    /// The line of this number, counted through both files.
    fn line(&mut self, number: usize) -> &mut Vec<u8> {
        let older = self.older.len();
        if number < older { &mut self.older[number] } else { &mut self.log[number - older] }
    }

    fn remove(&mut self, number: usize) -> Vec<u8> {
        let older = self.older.len();
        if number < older { self.older.remove(number) } else { self.log.remove(number - older) }
    }

    fn insert(&mut self, number: usize, line: Vec<u8>) {
        let older = self.older.len();
        if number < older { self.older.insert(number, line) } else { self.log.insert(number - older, line) }
    }

    fn swap(&mut self, one: usize, other: usize) {
        let first = std::mem::take(self.line(one));
        let second = std::mem::replace(self.line(other), first);
        *self.line(one) = second;
    }

    fn verify(&self) -> Findings {
        verify::read(&self.keys, Some(&self.head), &*self.older.concat(), &*self.log.concat(), None).unwrap()
    }
}

/// 3 to 40 lines; how many of the oldest were dropped; how many are in the older file.
fn written() -> impl Strategy<Value = Written> {
    (3_u64..40)
        .prop_flat_map(|lines| (Just(lines), 1..lines - 1))
        .prop_flat_map(|(lines, kept_from)| (kept_from..=lines).prop_map(move |log_from| Written::new(lines, kept_from, log_from)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_gateway_wrote_is_whole(written in written()) {
        let found = written.verify();
        prop_assert_eq!(found.problems, []);
        prop_assert_eq!((found.lines, found.after_head), (written.all().len() as u64, 0));
    }

    #[test]
    fn a_changed_byte_is_found(mut written in written(), line in any::<Index>(), byte in any::<Index>(), bits in 1_u8..) {
        let number = line.index(written.all().len());
        let line = written.line(number);
        let at = byte.index(line.len());
        line[at] ^= bits;
        prop_assert!(written.verify().problem_count > 0);
    }

    #[test]
    fn a_changed_byte_of_the_head_is_found(mut written in written(), byte in any::<Index>(), bits in 1_u8..) {
        let at = byte.index(written.head.len());
        written.head[at] ^= bits;
        prop_assert!(written.verify().problem_count > 0);
    }

    #[test]
    fn deleted_lines_are_found(mut written in written(), first in any::<Index>(), count in 1_usize..5) {
        let first = first.index(written.all().len());
        for _ in 0..count.min(written.all().len() - first) {
            written.remove(first);
        }
        prop_assert!(written.verify().problem_count > 0);
    }

    #[test]
    fn swapped_lines_are_found(mut written in written(), one in any::<Index>(), other in any::<Index>()) {
        let (one, other) = (one.index(written.all().len()), other.index(written.all().len()));
        prop_assume!(one != other);
        written.swap(one, other);
        prop_assert!(written.verify().problem_count > 0);
    }

    #[test]
    fn a_line_that_is_put_in_is_found(mut written in written(), from in any::<Index>(), to in any::<Index>(), seq in any::<Option<u64>>()) {
        let (from, to) = (from.index(written.all().len()), to.index(written.all().len() + 1));
        let copy = String::from_utf8(written.line(from).clone()).unwrap();
        let line = match seq {
            None => copy,
            // Made up, signed with another key.
            Some(seq) => {
                let object = format!(r#"{{"seq":{seq},"time":1,"who":"user admin","what":"logged in","detail":""}}"#);
                Keys::of(&Seal::ephemeral()).sign_line(&Link::origin(), seq, &object).0 + "\n"
            }
        };
        written.insert(to, line.into_bytes());
        prop_assert!(written.verify().problem_count > 0);
    }

    #[test]
    fn bytes_that_are_cut_off_are_found(mut written in written(), whole in any::<Index>(), begin in any::<bool>()) {
        let file = if begin && !written.older.is_empty() { &mut written.older } else { &mut written.log };
        let bytes = file.concat();
        let cut = whole.index(bytes.len());
        *file = vec![if begin { bytes[cut + 1..].to_vec() } else { bytes[..cut].to_vec() }];
        prop_assert!(written.verify().problem_count > 0);
    }

    #[test]
    fn whatever_is_in_the_files_is_no_reason_to_panic(head in any::<Vec<u8>>(), older in any::<Vec<u8>>(), log in "(\\PC|\n)*") {
        let keys = Keys::of(&Seal::ephemeral());
        prop_assert!(verify::read(&keys, Some(&head), &*older, log.as_bytes(), None).unwrap().problem_count > 0);
    }
}

#[test]
fn nothing_that_can_be_done_to_a_small_audit_is_overlooked() {
    let small = || Written::new(7, 2, 5);
    let mut tried = 0;
    let mut is_found = |written: &Written, what: &str, at: (usize, usize)| {
        tried += 1;
        assert!(written.verify().problem_count > 0, "{what} at {at:?} is overlooked in\n{written:?}");
    };
    let mut written = small();
    let count = written.all().len();
    for number in 0..count {
        for at in 0..written.line(number).len() {
            for bit in 0..8 {
                written.line(number)[at] ^= 1 << bit;
                is_found(&written, "a changed bit", (number, at));
                written.line(number)[at] ^= 1 << bit;
            }
            let whole = written.line(number).clone();
            written.line(number).remove(at);
            is_found(&written, "a byte taken out", (number, at));
            *written.line(number) = whole;
        }
        let line = written.remove(number);
        is_found(&written, "a deleted line", (number, 0));
        for to in (0..count).filter(|to| *to != number) {
            written.insert(to, line.clone());
            is_found(&written, "a moved line", (number, to));
            written.remove(to);
        }
        written.insert(number, line.clone());
        for to in 0..=count {
            written.insert(to, line.clone());
            is_found(&written, "a line put in twice", (number, to));
            written.remove(to);
        }
        for other in number + 1..count {
            written.swap(number, other);
            is_found(&written, "two swapped lines", (number, other));
            written.swap(number, other);
        }
    }
    let log = written.log.concat();
    for end in 0..log.len() {
        written.log = vec![log[..end].to_vec()];
        is_found(&written, "a cut end", (end, 0));
    }
    for begin in 1..count {
        let mut written = small();
        (0..begin).for_each(|_| drop(written.remove(0)));
        is_found(&written, "a cut beginning", (begin, 0));
    }
    let mut written = small();
    for at in 0..written.head.len() {
        for bit in 0..8 {
            written.head[at] ^= 1 << bit;
            is_found(&written, "a changed bit of the head", (at, bit));
            written.head[at] ^= 1 << bit;
        }
    }
    assert!(tried > 5_000 && small().verify().problems.is_empty());
}

/// An audit on a disk, in files of 2,000 bytes.
struct OnDisk {
    dir: TempDir,
    seal: Seal,
    /// As a gateway that runs has it.
    journal: Option<Journal>,
}

impl OnDisk {
    fn new() -> Self {
        let mut new = Self { dir: tempfile::tempdir().unwrap(), seal: Seal::ephemeral(), journal: None };
        assert_eq!(new.start(), [BEGUN]);
        std::fs::write(new.dir.path().join(store::FILE_NAME), "").unwrap();
        new
    }

    /// What the first lines of the new run are.
    fn start(&mut self) -> Vec<&'static str> {
        let (journal, first_lines) = Journal::open(self.dir.path(), &self.seal, 2_000).unwrap();
        self.journal = Some(journal);
        for (what, detail) in &first_lines {
            self.write(what, detail);
        }
        first_lines.into_iter().map(|(what, _)| what).collect()
    }

    fn write(&mut self, what: &str, detail: &str) {
        let journal = self.journal.as_mut().unwrap();
        let line = Line { seq: journal.next_seq(), time: 1, who: "test".into(), what: what.to_owned().into(), detail: detail.into() };
        journal.append(&serde_json::to_string(&line).unwrap()).unwrap();
    }

    fn write_many(&mut self, count: u32) {
        (0..count).for_each(|number| self.write("deployed", &number.to_string()));
    }

    fn stop(&mut self) {
        self.journal.take().unwrap().settle().unwrap();
    }

    fn kill(&mut self) {
        self.journal = None;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_default()
    }

    fn verify(&self) -> Findings {
        verify::verify(self.dir.path(), &Keys::of(&self.seal), None).unwrap()
    }

    fn whole(&self) -> Findings {
        let found = self.verify();
        assert_eq!(found.problems, []);
        found
    }

    fn wrong(&self) -> Vec<Wrong> {
        self.verify().problems.into_iter().map(|problem| problem.wrong).collect()
    }
}

#[test]
fn the_chain_goes_on_over_restarts_kills_and_full_files() {
    let mut audit = OnDisk::new();
    for round in 0..20 {
        audit.write_many(7);
        if round % 2 == 0 {
            audit.stop();
            assert_eq!(audit.whole().after_head, 0);
        } else {
            audit.kill();
        }
        let found = audit.whole();
        assert_eq!(found.last.unwrap().seq, 1 + 7 * (round + 1));
        assert_eq!(audit.start(), Vec::<&str>::new());
    }
    assert!(audit.whole().first.unwrap() > 100, "nothing was put aside");
}

#[test]
fn a_kill_while_a_file_is_put_aside_is_no_alarm() {
    for is_renamed in [false, true] {
        let mut audit = OnDisk::new();
        for _ in 0..3 {
            audit.write_many(9);
            audit.journal.as_mut().unwrap().head.rotating = true;
            audit.stop();
            if is_renamed {
                std::fs::rename(audit.path("audit.log"), audit.path("audit.log.1")).unwrap();
            }
            audit.whole();
            assert_eq!(audit.start(), Vec::<&str>::new());
            audit.whole();
        }
        audit.write_many(50);
        audit.stop();
        audit.whole();
    }
}

#[test]
fn a_line_that_the_power_cut_is_repaired_and_told() {
    let mut audit = OnDisk::new();
    audit.write_many(2);
    audit.stop();
    audit.start();
    audit.write_many(1);
    audit.kill();
    let bytes = audit.bytes("audit.log");
    std::fs::write(audit.path("audit.log"), &bytes[..bytes.len() - 20]).unwrap();
    assert!(audit.whole().torn_bytes > 20);
    assert_eq!(audit.start(), [REPAIRED]);
    let found = audit.whole();
    assert_eq!((found.repaired, found.torn_bytes), (vec![4], 0));
}

#[test]
fn lines_that_were_cut_off_before_a_restart_stay_missing_and_the_alarm_is_given_once() {
    let mut audit = OnDisk::new();
    audit.write_many(5);
    audit.stop();
    let bytes = audit.bytes("audit.log");
    let kept: Vec<u8> = bytes.split_inclusive(|byte| *byte == b'\n').take(3).flatten().copied().collect();
    std::fs::write(audit.path("audit.log"), kept).unwrap();
    assert_eq!(audit.wrong(), [Wrong::CutOff(4, 6)]);
    assert_eq!(audit.start(), [ALARM]);
    audit.write_many(1);
    audit.stop();
    assert_eq!(audit.wrong(), [Wrong::Missing(4, 6)]);
    assert!(String::from_utf8(audit.bytes("audit.log")).unwrap().contains(ALARM));
    assert_eq!(audit.start(), Vec::<&str>::new());
}

#[test]
fn what_is_deleted_under_a_running_gateway_is_found() {
    for name in ["audit.log", "audit.log.1", "audit.head"] {
        let mut audit = OnDisk::new();
        audit.write_many(30);
        audit.journal.as_mut().unwrap().settle().unwrap();
        std::fs::remove_file(audit.path(name)).unwrap();
        assert_ne!(audit.wrong(), [], "{name}");
        audit.write_many(1);
        audit.stop();
        // The gateway has written its head again; the lines are gone.
        assert_eq!(audit.wrong().is_empty(), name == "audit.head", "{name}");
    }
    let mut audit = OnDisk::new();
    audit.write_many(5);
    LogFile::open(audit.dir.path()).unwrap();
    std::fs::File::options().write(true).open(audit.path("audit.log")).unwrap().set_len(0).unwrap();
    audit.write_many(1);
    audit.stop();
    assert_eq!(audit.wrong(), [Wrong::Missing(1, 6)]);
}

#[test]
fn an_audit_that_is_gone_as_a_whole_is_told_by_the_next() {
    let mut audit = OnDisk::new();
    audit.write_many(30);
    audit.stop();
    for name in ["audit.log", "audit.log.1", "audit.head"] {
        std::fs::remove_file(audit.path(name)).unwrap();
    }
    assert!(audit.verify().is_nothing());
    assert_eq!(audit.start(), [ALARM]);
    audit.stop();
    assert_eq!(audit.whole().alarms.len(), 1);
}

#[test]
fn older_files_that_are_put_back_are_found_by_who_noted_a_later_line() {
    let mut audit = OnDisk::new();
    audit.write_many(2);
    audit.stop();
    let earlier = ["audit.log", "audit.head"].map(|name| (name, audit.bytes(name)));
    audit.start();
    audit.write_many(2);
    audit.stop();
    let noted = audit.whole().last.unwrap();
    let since = |audit: &OnDisk, link| verify::verify(audit.dir.path(), &Keys::of(&audit.seal), Some(link)).unwrap().problems;
    assert_eq!(since(&audit, noted), []);
    assert_eq!(since(&audit, Link { mac: [0; 32], ..noted })[0].wrong, Wrong::Other(5));
    for (name, bytes) in earlier {
        std::fs::write(audit.path(name), bytes).unwrap();
    }
    audit.whole();
    assert_eq!(since(&audit, noted)[0].wrong, Wrong::CutOff(4, 5));
}

#[test]
fn another_key_opens_nothing_and_a_forged_number_stops_nothing() {
    let mut audit = OnDisk::new();
    audit.write_many(2);
    audit.stop();
    let found = verify::verify(audit.dir.path(), &Keys::of(&Seal::ephemeral()), None).unwrap();
    assert!(found.is_all_wrong && found.problem_count == 4);

    let object = format!(r#"{{"seq":{},"time":1,"who":"x","what":"x","detail":"x"}}"#, u64::MAX);
    let forged = Keys::of(&Seal::ephemeral()).sign_line(&Link::origin(), u64::MAX, &object).0 + "\n";
    std::fs::write(audit.path("audit.log"), [audit.bytes("audit.log"), forged.into_bytes()].concat()).unwrap();
    assert_eq!(audit.start(), [ALARM]);
    audit.write_many(2);
    audit.stop();
    assert_eq!(audit.verify().last.unwrap().seq, 6);
    assert_eq!(audit.wrong()[0], Wrong::Missing(4, u64::MAX - 1));
}
