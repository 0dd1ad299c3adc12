//! WASI for guests: clocks, random numbers, an output that goes to the log, and what is granted besides.
//!
//! What has no grant answers with WASI's own "not permitted" or "no such file"; sockets are the affair of `sockets`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use super::Guest;
use super::dirs;
use super::sockets;
use crate::telemetry::{self, LINE_BYTES_MAX};

/// The output of one function or driver, all its instances together.
pub struct GuestLog {
    guest: Arc<Guest>,
    bytes_per_s: u32,
    window: Mutex<Window>,
}

struct Window {
    began: Instant,
    bytes: u32,
    dropped: u64,
}

impl GuestLog {
    pub fn new(guest: Arc<Guest>, bytes_per_s: u32) -> Self {
        Self { guest, bytes_per_s, window: Mutex::new(Window { began: Instant::now(), bytes: 0, dropped: 0 }) }
    }

    fn line(&self, text: &[u8]) {
        // An empty line is one too: with its time and its name it takes place in the log.
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX).saturating_add(LINE_OVERHEAD_BYTES);
        let mut window = self.window.lock();
        if window.began.elapsed().as_secs() >= 1 {
            let dropped = std::mem::take(&mut window.dropped);
            *window = Window { began: Instant::now(), bytes: 0, dropped: 0 };
            if dropped > 0 {
                tracing::warn!(target: "guest", "{}: {dropped} bytes dropped, beyond log_bytes_per_s ({})", self.guest.who, self.bytes_per_s);
            }
        }
        if window.bytes.saturating_add(bytes) > self.bytes_per_s {
            if window.dropped == 0 {
                self.guest.tell(Some("log_bytes_per_s"), &format!("met its limit log_bytes_per_s ({})", self.bytes_per_s));
            }
            window.dropped += u64::from(bytes);
            return;
        }
        window.bytes += bytes;
        drop(window);
        tracing::info!(target: "guest", "{}: {}", self.guest.who, printable(text));
    }
}

/// One stream of one instance: cuts the bytes into lines.
#[derive(Clone)]
pub struct Output(Arc<OutputState>);

struct OutputState {
    log: Arc<GuestLog>,
    text: Mutex<Text>,
}

#[derive(Default)]
struct Text {
    /// The line that is not complete yet.
    pending: Vec<u8>,
    /// The last complete lines.
    last: VecDeque<Vec<u8>>,
}

/// Lines that are kept for [`Output::last_words`].
const LAST_LINES: usize = 3;

fn printable(text: &[u8]) -> String {
    telemetry::printable(&String::from_utf8_lossy(text))
}

impl Output {
    pub fn new(log: Arc<GuestLog>) -> Self {
        Self(Arc::new(OutputState { log, text: Mutex::default() }))
    }

    /// The last lines that were written, where a panic explains itself.
    pub fn last_words(&self) -> String {
        let text = self.0.text.lock();
        let lines =
            text.last.iter().map(|line| printable(line)).filter(|line| !line.trim().is_empty() && !line.starts_with("note: run with"));
        lines.collect::<Vec<_>>().join(" ")
    }

    /// Drops the last words, for another call of the same instance.
    pub fn forget(&self) {
        self.0.text.lock().last.clear();
    }

    fn take(&self, mut bytes: &[u8]) {
        let mut text = self.0.text.lock();
        let Text { pending, last } = &mut *text;
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - pending.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let take = end.unwrap_or(room.min(bytes.len()));
            pending.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take + usize::from(end.is_some())..];
            if end.is_some() || pending.len() >= LINE_BYTES_MAX {
                self.0.log.line(pending);
                while last.len() >= LAST_LINES {
                    last.pop_front();
                }
                last.push_back(std::mem::take(pending));
            }
        }
    }
}

impl Drop for OutputState {
    fn drop(&mut self) {
        let pending = std::mem::take(&mut self.text.get_mut().pending);
        if !pending.is_empty() {
            self.log.line(&pending);
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

/// What a line counts for besides its text.
const LINE_OVERHEAD_BYTES: u32 = 64;
/// What one write of a guest may carry.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// The WASI context of one instance. One call gives so many random bytes at most: they are a host call's as any others.
pub fn context(guest: &Arc<Guest>, log: &Arc<GuestLog>, stderr: &Output, host_call_bytes: usize) -> WasiCtx {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(Output::new(log.clone())).stderr(stderr.clone()).max_random_size(host_call_bytes as u64);
    for (name, value) in &guest.grants.env.0 {
        wasi.env(name, value);
    }
    dirs::open(&mut wasi, guest);
    sockets::allow(&mut wasi, guest);
    wasi.build()
}
