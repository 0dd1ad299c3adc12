//! The audit: who was denied what, who logged in, what was deployed. One JSON line a fact, in `<data>/audit.log`.
//!
//! Recording never waits and never fails: what cannot be written is counted, and the count is written. Nobody gets more than a few lines a
//! second, so that a hostile guest can neither fill the disk nor hide what others do. Never a payload or a secret: `detail` is written
//! by the host. Deliberately absent: a way to read the audit over the network.

mod file;
mod rate;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use serde::Serialize;
use tracing::{error, info, warn};

use self::file::LogFile;
use self::rate::{Rate, Suppressed};
use crate::clock::Clock;

/// Records facts. Clones write to the same place.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    clock: Clock,
    rate: Arc<Rate>,
    lost: Arc<AtomicU64>,
    sender: SyncSender<Message>,
    memory: Option<Memory>,
}

enum Message {
    Line(Line),
    Flush(SyncSender<()>),
}

/// One fact, as it is written.
#[derive(Serialize)]
struct Line {
    /// Unix milliseconds.
    time: u64,
    who: String,
    what: Cow<'static, str>,
    detail: String,
}

type Memory = Arc<Mutex<Vec<String>>>;

enum Sink {
    File(LogFile),
    Memory(Memory),
}

impl Audit {
    /// Appends to `audit.log` in the data directory, which must be there.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("audit.log");
        let file = LogFile::open(&path, FILE_BYTES_MAX).with_context(|| format!("opening the audit `{}`", path.display()))?;
        Self::start(Sink::File(file), Clock::system())
    }

    /// An audit that is gone with the process: for tests, which read it with [`Audit::lines`].
    pub fn in_memory() -> Self {
        Self::start(Sink::Memory(Memory::default()), Clock::system()).expect("a process that can run a test can start a thread")
    }

    fn start(sink: Sink, clock: Clock) -> Result<Self> {
        let memory = if let Sink::Memory(memory) = &sink { Some(memory.clone()) } else { None };
        let (sender, receiver) = sync_channel(WAITING_LINES_MAX);
        let (rate, lost) = (Arc::new(Rate::new(clock.clone())), Arc::new(AtomicU64::new(0)));
        let writer = Writer { sink, clock: clock.clone(), rate: rate.clone(), lost: lost.clone(), failing: false };
        thread::Builder::new().name("audit".into()).spawn(move || writer.run(&receiver)).context("starting the audit's thread")?;
        Ok(Self(Arc::new(Inner { clock, rate, lost, sender, memory })))
    }

    /// Records that `who` (`function EdgeFC/x`, `user admin`) did or suffered `what` (`denied`). Long text is cut.
    pub fn record(&self, who: &str, what: &'static str, detail: &str) {
        let who = cut(who, WHO_BYTES_MAX);
        if !self.0.rate.allows(who) {
            return;
        }
        let detail = cut(detail, DETAIL_BYTES_MAX).to_owned();
        let line = Line { time: self.0.clock.unix_ms(), who: who.to_owned(), what: what.into(), detail };
        if self.0.sender.try_send(Message::Line(line)).is_err() {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was recorded so far is on disk, but not for a disk that hangs. For an orderly end; blocks.
    pub fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.0.sender.send(Message::Flush(done)).is_ok() {
            _ = is_done.recv_timeout(FLUSH_MAX);
        }
    }

    /// All lines so far, if this is [`Audit::in_memory`]; else none.
    pub fn lines(&self) -> Vec<String> {
        self.flush();
        self.0.memory.as_ref().map(|memory| memory.lock().clone()).unwrap_or_default()
    }
}

/// The thread that owns the file. It ends when the last [`Audit`] is gone.
struct Writer {
    sink: Sink,
    clock: Clock,
    rate: Arc<Rate>,
    lost: Arc<AtomicU64>,
    /// Whether the last write failed, so that a full disk is reported once.
    failing: bool,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut next_sweep = Instant::now() + SWEEP_EVERY;
        loop {
            // Nothing was recorded lately: sleep until something is.
            let idle = self.rate.is_empty() && self.lost.load(Ordering::Relaxed) == 0;
            let wait = if idle { Duration::MAX } else { next_sweep.saturating_duration_since(Instant::now()) };
            match receiver.recv_timeout(wait) {
                Ok(Message::Line(line)) => self.write(&line),
                Ok(Message::Flush(done)) => {
                    self.write_counts();
                    self.sync();
                    _ = done.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= next_sweep {
                self.write_counts();
                next_sweep = Instant::now() + SWEEP_EVERY;
            }
        }
        self.write_counts();
    }

    /// Says how many lines are missing, and whose.
    fn write_counts(&mut self) {
        for Suppressed { who, lines } in self.rate.sweep() {
            let detail = format!("{lines} lines left out: more than {} a second", rate::LINES_PER_S_MAX);
            self.write(&Line { time: self.clock.unix_ms(), who, what: "suppressed".into(), detail });
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let detail = format!("{lost} lines: they came faster than the disk took them, or the disk failed");
            let line = Line { time: self.clock.unix_ms(), who: "gateway".into(), what: "lost".into(), detail };
            self.write_or_lose(&line, lost);
        }
    }

    fn write(&mut self, line: &Line) {
        self.write_or_lose(line, 1);
    }

    /// `lost` is how many lines are lost if this one cannot be written.
    fn write_or_lose(&mut self, line: &Line, lost: u64) {
        let text = serde_json::to_string(line).expect("a line is three texts and a number");
        let written = match &mut self.sink {
            Sink::File(file) => file.append(format!("{text}\n").as_bytes()),
            Sink::Memory(lines) => {
                lines.lock().push(text.clone());
                Ok(())
            }
        };
        match written {
            // The whole line as JSON: no control character of a guest reaches a terminal.
            Ok(()) if QUIET.contains(&&*line.what) => info!(target: "audit", "{text}"),
            Ok(()) => warn!(target: "audit", "{text}"),
            Err(ref error) => {
                self.lost.fetch_add(lost, Ordering::Relaxed);
                if !self.failing {
                    error!("the audit cannot be written ({error}): lines are counted as lost until it can; is the disk full?");
                }
            }
        }
        self.failing = written.is_err();
    }

    fn sync(&mut self) {
        if let Sink::File(file) = &self.sink
            && let Err(error) = file.sync()
        {
            error!("the audit cannot be written to disk: {error}; is the disk failing?");
        }
    }
}

/// What is no cause for alarm.
const QUIET: [&str; 2] = ["deployed", "logged in"];

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// One older file of this size is kept besides.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Lines that may wait for the disk.
const WAITING_LINES_MAX: usize = 1_024;
const WHO_BYTES_MAX: usize = 256;
const DETAIL_BYTES_MAX: usize = 1_024;
const FLUSH_MAX: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

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
        let audit = Audit::start(Sink::Memory(Memory::default()), clock).unwrap();
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
        let audit = Audit::start(Sink::Memory(memory.clone()), clock).unwrap();
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
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let audit = Audit::open(dir.path()).unwrap();
            audit.record("user admin", "login", "from 127.0.0.1");
            audit.flush();
        }
        let path = dir.path().join("audit.log");
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
