//! The audit: who was denied what, who logged in, what was deployed. One JSON line a fact, in `<data>/audit.log`, each chained to the one
//! before, so that [`verify`] finds what was changed afterwards.
//!
//! Recording never waits and never fails: what cannot be written is counted, and the count is written. Nobody gets more than a few lines a
//! second, and of denials and failed logins one a minute, so that whoever is hostile can neither fill the disk nor hide what others do. Never a payload or a secret: `detail` is written
//! by the host. Deliberately absent: a way to read the audit over the network.

mod chain;
mod file;
mod head;
mod journal;
mod rate;
mod show;
#[cfg(test)]
mod tests;
mod verify;

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

pub use self::chain::Link;
use self::journal::{FirstLines, Journal};
use self::rate::{Rate, Suppressed};
pub use self::show::{Shown, last_lines};
pub use self::verify::Findings;
use crate::clock::Clock;
use crate::metric::RefusalMetrics;
use crate::seal::Seal;

/// Records facts. Clones write to the same place.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    clock: Clock,
    rate: Arc<Rate>,
    lost: Arc<AtomicU64>,
    sender: SyncSender<Message>,
    memory: Option<Memory>,
    refusals: RefusalMetrics,
}

enum Message {
    Line(Line),
    Flush(SyncSender<()>),
    Close(SyncSender<()>),
}

/// One fact, as it is written.
#[derive(Serialize)]
struct Line {
    /// In the chain; the writer gives it.
    seq: u64,
    /// Unix milliseconds.
    time: u64,
    who: String,
    what: Cow<'static, str>,
    detail: String,
}

type Memory = Arc<Mutex<Vec<String>>>;

enum Sink {
    Files(Box<Journal>),
    Memory(Memory),
}

/// Reads the audit in a data directory, whether its gateway runs or not, and says what of it the gateway did not write so. With `since`, also
/// whether it goes on from that line.
pub fn verify(dir: &Path, key_file: &Path, since: Option<Link>) -> Result<Findings> {
    let keys = chain::Keys::of(&Seal::read(key_file)?);
    verify::verify(dir, &keys, since).with_context(|| format!("reading the audit in `{}`", dir.display()))
}

impl Audit {
    /// Goes on with the audit in the data directory, which must be there.
    pub fn open(dir: &Path, seal: &Seal) -> Result<Self> {
        let opening = || format!("opening the audit in `{}`", dir.display());
        let (journal, first_lines) = Journal::open(dir, seal, FILE_BYTES_MAX).with_context(opening)?;
        Self::start(Sink::Files(Box::new(journal)), first_lines, Clock::system())
    }

    /// An audit that is gone with the process: for tests, which read it with [`Audit::lines`].
    pub fn in_memory() -> Self {
        let sink = Sink::Memory(Memory::default());
        Self::start(sink, FirstLines::new(), Clock::system()).expect("a process that can run a test can start a thread")
    }

    fn start(sink: Sink, first_lines: FirstLines, clock: Clock) -> Result<Self> {
        let memory = if let Sink::Memory(memory) = &sink { Some(memory.clone()) } else { None };
        let (sender, receiver) = sync_channel(WAITING_LINES_MAX);
        let (rate, lost) = (Arc::new(Rate::new(clock.clone())), Arc::new(AtomicU64::new(0)));
        let mut writer = Writer { sink, clock: clock.clone(), rate: rate.clone(), lost: lost.clone(), failing: false };
        let run = move || {
            for (what, detail) in first_lines {
                writer.note(what, detail);
            }
            writer.run(&receiver);
        };
        thread::Builder::new().name("audit".into()).spawn(run).context("starting the audit's thread")?;
        Ok(Self(Arc::new(Inner { clock, rate, lost, sender, memory, refusals: RefusalMetrics::default() })))
    }

    /// Records that `who` (`function EdgeFC/x`, `user admin from 10.0.0.7`) did or suffered `what` (`denied`). Long text is cut.
    pub fn record(&self, who: &str, what: &'static str, detail: &str) {
        let who = cut(who, WHO_BYTES_MAX);
        if !self.0.rate.allows(who, what) {
            return;
        }
        let detail = cut(detail, DETAIL_BYTES_MAX).to_owned();
        let line = Line { seq: 0, time: self.0.clock.unix_ms(), who: who.to_owned(), what: what.into(), detail };
        if self.0.sender.try_send(Message::Line(line)).is_err() {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long a user must wait before they change something again, so that the lines of what they change push out no others.
    pub fn wait_to_change(&self, user: &str) -> Option<Duration> {
        self.0.rate.wait_to_change(user)
    }

    /// What was refused to people and programs, whether its lines were written or left out.
    pub fn refusals(&self) -> &RefusalMetrics {
        &self.0.refusals
    }

    /// Waits until all that was recorded so far is on disk, but not for a disk that hangs. Blocks.
    pub fn flush(&self) {
        self.told(Message::Flush);
    }

    /// The same, and nothing is written after it: another gateway may go on with the files.
    pub fn close(&self) {
        self.told(Message::Close);
    }

    fn told(&self, message: impl FnOnce(SyncSender<()>) -> Message) {
        let (done, is_done) = sync_channel(1);
        if self.0.sender.send(message(done)).is_ok() {
            _ = is_done.recv_timeout(FLUSH_MAX);
        }
    }

    /// All lines so far, if this is [`Audit::in_memory`]; else none.
    pub fn lines(&self) -> Vec<String> {
        self.flush();
        self.0.memory.as_ref().map(|memory| memory.lock().clone()).unwrap_or_default()
    }
}

/// The thread that owns the files. It ends with [`Audit::close`], or when the last [`Audit`] is gone.
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
            let wait = if self.is_idle() { Duration::MAX } else { next_sweep.saturating_duration_since(Instant::now()) };
            match receiver.recv_timeout(wait) {
                Ok(Message::Line(line)) => self.write(line),
                Ok(Message::Flush(done)) => {
                    let counts = self.rate.rest();
                    self.settle(counts);
                    _ = done.try_send(());
                }
                Ok(Message::Close(done)) => {
                    let counts = self.rate.rest();
                    self.settle(counts);
                    _ = done.try_send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= next_sweep {
                let counts = self.rate.sweep();
                self.settle(counts);
                next_sweep = Instant::now() + SWEEP_EVERY;
            }
        }
        let counts = self.rate.rest();
        self.settle(counts);
    }

    fn is_idle(&self) -> bool {
        let is_settled = if let Sink::Files(journal) = &self.sink { !journal.is_behind() } else { true };
        is_settled && self.rate.is_empty() && self.lost.load(Ordering::Relaxed) == 0
    }

    /// Says how many lines are missing, and whose; then all of it is to be on the disk.
    fn settle(&mut self, counts: Vec<Suppressed>) {
        for Suppressed { who, detail } in counts {
            self.write(Line { seq: 0, time: self.clock.unix_ms(), who, what: SUPPRESSED.into(), detail });
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line = self.own(LOST, format!("{lost} lines: they came faster than the disk took them, or the disk failed"));
            self.write_or_lose(line, lost);
        }
        if let Sink::Files(journal) = &mut self.sink
            && let Err(error) = journal.settle()
        {
            self.said_once(&error);
        }
    }

    /// A line of the gateway itself.
    fn own(&self, what: &'static str, detail: String) -> Line {
        Line { seq: 0, time: self.clock.unix_ms(), who: "gateway".into(), what: what.into(), detail }
    }

    fn note(&mut self, what: &'static str, detail: String) {
        let line = self.own(what, detail);
        self.write(line);
    }

    fn write(&mut self, line: Line) {
        self.write_or_lose(line, 1);
    }

    /// `lost` is how many lines are lost if this one cannot be written.
    fn write_or_lose(&mut self, mut line: Line, lost: u64) {
        let to_text = |line: &Line| serde_json::to_string(line).expect("a line is three texts and two numbers");
        let written = match &mut self.sink {
            Sink::Files(journal) => {
                line.seq = journal.next_seq();
                journal.append(&to_text(&line))
            }
            Sink::Memory(lines) => {
                let mut lines = lines.lock();
                line.seq = lines.len() as u64 + 1;
                lines.push(to_text(&line));
                Ok(to_text(&line))
            }
        };
        match written {
            // The whole line as JSON: no control character of a guest reaches a terminal.
            Ok(text) => {
                self.failing = false;
                if QUIET.contains(&&*line.what) {
                    info!(target: "audit", "{text}");
                } else {
                    warn!(target: "audit", "{text}");
                }
            }
            Err(error) => {
                self.lost.fetch_add(lost, Ordering::Relaxed);
                self.said_once(&error);
            }
        }
    }

    fn said_once(&mut self, error: &std::io::Error) {
        if !self.failing {
            error!("the audit cannot be written ({error}): lines are counted as lost until it can; is the disk full?");
        }
        self.failing = true;
    }
}

/// What is no cause for alarm.
const QUIET: [&str; 16] = [
    "access key added",
    "access key deleted",
    "certificate replaced",
    "deployed",
    "logged in",
    "logged out",
    "started",
    "stopped",
    "user added",
    "user changed",
    "user deleted",
    "password changed",
    "rule enabled",
    "rule disabled",
    "rule triggered",
    BEGUN,
];
/// The first line of a chain.
const BEGUN: &str = "audit begun";
/// A line that ended in its middle was cut off.
const REPAIRED: &str = "audit repaired";
/// The audit was changed while the gateway did not run.
const ALARM: &str = "audit changed";
/// Lines of one that were left out.
const SUPPRESSED: &str = "suppressed";
/// Lines of all that were left out.
const LOST: &str = "lost";

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
