//! The gateway's side of compiling: a process for each component, so that no byte of an untrusted component is parsed, and
//! none compiled, in the process that serves (`docs/decisions/0011-compiler-process.md`).

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;
use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, kill_process};

use super::engine::Layout;
use super::inspect::Kind;
use crate::limit::{COMPILE_CPU_S_MAX, COMPILE_MEMORY_BYTES_MAX, COMPILE_TIME_MAX, COMPILED_BYTES_MAX};
use crate::thing::tsl::USES_BYTES_MAX;

/// What the compiler makes of a component.
#[derive(Debug, PartialEq, Eq)]
pub struct Compiled {
    /// What it uses of products, as [`Uses::parse`](crate::thing::tsl::Uses::parse) reads it.
    pub uses: Vec<u8>,
    pub code: Vec<u8>,
}

pub struct Compiler {
    /// This program, which has the subcommand [`SUBCOMMAND`].
    program: PathBuf,
    layout: Layout,
    time_max: Duration,
    free: Mutex<usize>,
    freed: Condvar,
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler's own words: what is wrong with the component.
    #[error("{0}")]
    Refused(String),
    #[error("compiling it took more than the {} MiB of memory that a component may take; make it smaller", COMPILE_MEMORY_BYTES_MAX >> 20)]
    Memory,
    #[error("compiling it took more than the {COMPILE_CPU_S_MAX} s of CPU time that a component may take; make it smaller")]
    Cpu,
    #[error("compiling it did not end within {} s; make it smaller, or deploy when the gateway has less to do", .0.as_secs())]
    Time(Duration),
    #[error("its compiled code has more than {} MiB; make it smaller", COMPILED_BYTES_MAX >> 20)]
    TooLarge,
    #[error("the compiler broke on it ({0}); the component is damaged, or made to do that")]
    Broke(String),
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

/// The hidden subcommand of `ledge`.
pub const SUBCOMMAND: &str = "compile-component";
/// The exit code of the compiler for a component that it refuses; its words are on stderr.
pub const REFUSED: u8 = 3;
/// What is kept of the compiler's words.
const SAID_BYTES_MAX: u64 = 4 << 10;

impl Compiler {
    pub fn new(program: PathBuf, layout: Layout) -> Self {
        let places = std::thread::available_parallelism().map_or(1, usize::from);
        Self { program, layout, time_max: COMPILE_TIME_MAX, free: Mutex::new(places), freed: Condvar::new() }
    }

    /// Blocks until the component is compiled, or will not be.
    pub fn compile(&self, kind: Kind, component: &[u8]) -> Result<Compiled, CompileError> {
        let _place = self.place();
        let mut process = Process(self.start(kind)?);
        let (mut input, output, errors) = match (process.0.stdin.take(), process.0.stdout.take(), process.0.stderr.take()) {
            (Some(input), Some(output), Some(errors)) => (input, output, errors),
            _ => return Err(anyhow::anyhow!("the compiler has no pipes").into()),
        };
        let pid = process.0.id();
        let (ended, end) = mpsc::channel::<()>();
        std::thread::scope(|threads| {
            // A compiler that ends early does not read it all: then its exit code says why.
            threads.spawn(move || _ = input.write_all(component));
            let said = threads.spawn(move || words(errors));
            let late = threads.spawn(move || self.stop_if_late(pid, &end));
            let mut code = Vec::new();
            let read = output.take(COMPILED_BYTES_MAX + 1).read_to_end(&mut code);
            if code.len() as u64 > COMPILED_BYTES_MAX {
                stop(pid);
                return Err(CompileError::TooLarge);
            }
            // It has closed its output; its words end with it.
            let said = said.join().unwrap_or_default();
            let is_late = matches!(end_of(ended, late), Some(true));
            let status = process.0.wait().context("waiting for the compiler")?;
            read.context("reading the compiled code")?;
            if is_late {
                return Err(CompileError::Time(self.time_max));
            }
            outcome(status, code, said)
        })
    }

    fn start(&self, kind: Kind) -> anyhow::Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg0("ledge").args([SUBCOMMAND, &kind.to_string(), &self.layout.to_string()]);
        // Nothing of the gateway's: not its environment, which may hold a password, and not its directory.
        command.env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().with_context(|| format!("starting the compiler `{}`", self.program.display()))
    }

    fn stop_if_late(&self, pid: u32, end: &mpsc::Receiver<()>) -> bool {
        let is_late = end.recv_timeout(self.time_max) == Err(RecvTimeoutError::Timeout);
        if is_late {
            stop(pid);
        }
        is_late
    }

    fn place(&self) -> Place<'_> {
        let mut free = self.free.lock();
        self.freed.wait_while(&mut free, |free| *free == 0);
        *free -= 1;
        Place(self)
    }
}

/// One of as many compilers as there are processors.
struct Place<'a>(&'a Compiler);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

/// Killed where it is let go of before its end.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Only before the process is waited for: until then its number is its own.
fn stop(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        _ = kill_process(pid, Signal::KILL);
    }
}

fn end_of(ended: mpsc::Sender<()>, late: std::thread::ScopedJoinHandle<'_, bool>) -> Option<bool> {
    drop(ended);
    late.join().ok()
}

fn words(mut errors: impl Read) -> String {
    let mut said = Vec::new();
    _ = errors.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut said);
    // The rest is read too, or the compiler would wait for a reader.
    _ = std::io::copy(&mut errors, &mut std::io::sink());
    String::from_utf8_lossy(&said).trim().to_owned()
}

fn outcome(status: ExitStatus, output: Vec<u8>, said: String) -> Result<Compiled, CompileError> {
    // Rust's own words where an allocation fails, and the kernel's where a mapping does.
    let is_memory = said.contains("memory allocation of") || said.contains("annot allocate memory");
    match (status.code(), status.signal()) {
        (Some(0), _) => taken_apart(output).ok_or_else(|| CompileError::Broke("it gave back half of what it promised".to_owned())),
        _ if is_memory => Err(CompileError::Memory),
        (Some(code), _) if code == i32::from(REFUSED) => Err(CompileError::Refused(said)),
        (_, Some(signal)) if signal == Signal::XCPU.as_raw() => Err(CompileError::Cpu),
        // By the kernel, which does that where the machine's memory runs out.
        (_, Some(signal)) if signal == Signal::KILL.as_raw() => Err(CompileError::Memory),
        (_, Some(signal)) => Err(CompileError::Broke(format!("signal {signal}: {}", first_line(&said)))),
        (code, None) => Err(CompileError::Broke(format!("exit code {}: {}", code.unwrap_or(-1), first_line(&said)))),
    }
}

/// What stands before the two parts of the compiler's output: the length of the first.
pub fn head(uses: &[u8]) -> [u8; HEAD_BYTES] {
    // It is at most USES_BYTES_MAX long.
    u32::try_from(uses.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn taken_apart(mut output: Vec<u8>) -> Option<Compiled> {
    let head = *output.first_chunk::<HEAD_BYTES>()?;
    let uses = HEAD_BYTES..HEAD_BYTES.checked_add(usize::try_from(u32::from_be_bytes(head)).ok()?)?;
    let end = uses.end;
    let uses = output.get(uses).filter(|uses| uses.len() <= USES_BYTES_MAX)?.to_vec();
    output.drain(..end);
    Some(Compiled { uses, code: output })
}

const HEAD_BYTES: usize = 4;

fn first_line(said: &str) -> &str {
    said.lines().find(|line| !line.is_empty()).unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What comes of a compiler that is this shell script.
    fn with(script: &str, time_max: Duration) -> Result<Compiled, CompileError> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("compiler");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
        Compiler { time_max, ..Compiler::new(program, "4294967296+33554432".parse().unwrap()) }.compile(Kind::Function, b"component")
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_compiler_gets_the_component_and_gives_its_output() {
        let compiled = Compiled { uses: b"com".to_vec(), code: b"ponent".to_vec() };
        assert_eq!(with("printf '\\0\\0\\0\\003'; cat", LONG).unwrap(), compiled);
        assert_eq!(with("printf '\\0\\0\\0\\003'; exec /bin/cat <&0; echo $SECRET", LONG).unwrap(), compiled);
    }

    #[test]
    fn a_compiler_that_gives_back_less_or_more_than_it_says_broke() {
        for script in ["exit 0", "printf '\\0\\0\\0'", "printf '\\0\\0\\0\\020'; cat", "printf '\\0\\002\\0\\0'; head -c 200000 /dev/zero"]
        {
            let error = with(script, LONG).unwrap_err();
            assert!(error.to_string().contains("half of what it promised"), "{script}: {error}");
        }
    }

    #[test]
    fn a_compiler_that_does_not_end_is_stopped_at_its_time() {
        let error = with("exec sleep 600", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, CompileError::Time(_)), "{error}");
    }

    #[test]
    fn a_compiler_that_computes_for_ever_is_stopped_at_its_cpu_time() {
        let error = with("ulimit -S -t 1; while :; do :; done", LONG).unwrap_err();
        assert!(matches!(error, CompileError::Cpu), "{error}");
        assert!(error.to_string().contains("60 s of CPU time"), "{error}");
    }

    #[test]
    fn what_a_compiler_says_becomes_the_error() {
        let error = with("echo 'it is no component' >&2; exit 3", LONG).unwrap_err();
        assert_eq!(error.to_string(), "it is no component");
        let error = with("echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$", LONG).unwrap_err();
        assert!(matches!(error, CompileError::Memory), "{error}");
        let error = with("kill -SEGV $$", LONG).unwrap_err();
        assert!(error.to_string().contains("signal 11: it said nothing"), "{error}");
    }
}
