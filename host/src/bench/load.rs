//! The load of HTTP requests, as cheap for its maker as it can be: it shares the machine with the server that is measured.
//!
//! One thread, connections that are kept, one request at a time on each, always the same bytes. Of an answer it understands what it
//! must: the status, the length, and that the body is the right one.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsConnector;

use super::samples::Samples;

#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// Over TLS, if it is.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// One request, as bytes.
    pub request: Vec<u8>,
    /// Of every answer.
    pub status: &'static str,
    pub expected: Expected,
}

/// The body of every answer.
#[derive(Clone, Copy)]
pub enum Expected {
    Exactly(&'static [u8]),
    /// Where it says when it was made. Its length is that of `content-length`.
    With(&'static [u8]),
}

/// `GET path`, as bytes.
pub fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
}

pub struct Load {
    pub per_s: f64,
    /// How long each answer took, in microseconds.
    pub latencies: Samples,
}

/// Sends requests on so many connections until the time is over. Blocks.
pub fn run(target: &Target, connections: usize, during: Duration) -> anyhow::Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let request: Rc<[u8]> = target.request.clone().into();
    let (status, expected) = (target.status, target.expected);
    LocalSet::new().block_on(&runtime, async {
        let mut open = Vec::new();
        for at in 0..connections {
            let stream = connect(target, at).await.with_context(|| format!("connecting to {}", target.address))?;
            open.push(Connection { stream, request: request.clone(), status, expected, buffer: Vec::with_capacity(ANSWER_BYTES_MAX) });
        }
        let (began, mut clients) = (Instant::now(), JoinSet::new());
        for mut connection in open {
            clients.spawn_local(async move { connection.load(began + during).await });
        }
        let mut latencies = Samples::default();
        while let Some(client) = clients.join_next().await {
            latencies.extend(client.context("loading")??);
        }
        Ok(Load { per_s: latencies.len() as f64 / began.elapsed().as_secs_f64(), latencies })
    })
}

async fn connect(target: &Target, at: usize) -> anyhow::Result<Box<dyn Stream>> {
    let stream = connect_tcp(target.address, at).await?;
    stream.set_nodelay(true)?;
    let Some(config) = &target.tls else { return Ok(Box::new(stream)) };
    let name = ServerName::from(target.address.ip());
    Ok(Box::new(TlsConnector::from(config.clone()).connect(name, stream).await?))
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// From one of many addresses of this machine, as if the clients were so many: a server may hold each address to a share.
async fn connect_tcp(address: SocketAddr, at: usize) -> std::io::Result<TcpStream> {
    if !address.ip().is_loopback() || !address.is_ipv4() {
        return TcpStream::connect(address).await;
    }
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, (at % ADDRESSES) as u8 + 1], 0)))?;
    socket.connect(address).await
}

const ADDRESSES: usize = 16;
const ANSWER_BYTES_MAX: usize = 4 << 10;

struct Connection {
    stream: Box<dyn Stream>,
    request: Rc<[u8]>,
    status: &'static str,
    expected: Expected,
    buffer: Vec<u8>,
}

impl Connection {
    async fn load(&mut self, until: Instant) -> anyhow::Result<Samples> {
        let mut latencies = Samples::default();
        let mut sent = Instant::now();
        while sent < until {
            self.stream.write_all(&self.request).await?;
            // What TLS still holds goes out.
            self.stream.flush().await?;
            self.answer().await?;
            let now = Instant::now();
            latencies.add((now - sent).as_nanos() as f64 / 1_000.0);
            sent = now;
        }
        Ok(latencies)
    }

    async fn answer(&mut self) -> anyhow::Result<()> {
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the server closed the connection after {:?}", String::from_utf8_lossy(&self.buffer));
            if is_complete(&self.buffer, self.status, self.expected)? {
                return Ok(());
            }
            ensure!(self.buffer.len() < ANSWER_BYTES_MAX, "the answer is longer than {ANSWER_BYTES_MAX} bytes");
        }
    }
}

/// Whether `answer` has come whole. An error if it is another answer than the status with the expected body.
fn is_complete(answer: &[u8], status: &str, expected: Expected) -> anyhow::Result<bool> {
    let Some(head_bytes) = find(answer, b"\r\n\r\n") else { return Ok(false) };
    let (head, body) = (&answer[..head_bytes], &answer[head_bytes + 4..]);
    ensure!(
        head.strip_prefix(b"HTTP/1.1 ").is_some_and(|rest| rest.starts_with(status.as_bytes())),
        "the server answered {:?}",
        String::from_utf8_lossy(answer)
    );
    let framing = head.split(|byte| *byte == b'\n').find_map(framing);
    let Some(framing) = framing else { bail!("the answer has no length: {:?}", String::from_utf8_lossy(head)) };
    let wrong = || anyhow!("the server answered {:?}", String::from_utf8_lossy(body));
    match expected {
        Expected::Exactly(expected) => {
            let Some(whole) = framing.body(expected) else { bail!("the answer has another length than {} bytes", expected.len()) };
            ensure!(whole.starts_with(body), wrong());
            Ok(body.len() == whole.len())
        }
        Expected::With(part) => {
            let Framing::Length(length) = framing else { bail!("the answer has no length: {:?}", String::from_utf8_lossy(head)) };
            ensure!(body.len() < length || (body.len() == length && find(body, part).is_some()), wrong());
            Ok(body.len() == length)
        }
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

impl Framing {
    /// What the body must be on the wire. Servers send a short one as one chunk.
    fn body(self, expected: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Length(length) => (length == expected.len()).then(|| expected.to_vec()),
            Self::Chunked => Some([format!("{:X}\r\n", expected.len()).as_bytes(), expected, b"\r\n0\r\n\r\n"].concat()),
        }
    }
}

fn framing(line: &[u8]) -> Option<Framing> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"content-length") {
        return std::str::from_utf8(value).ok()?.parse().ok().map(Framing::Length);
    }
    (name.eq_ignore_ascii_case(b"transfer-encoding") && value == b"chunked").then_some(Framing::Chunked)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEY: Expected = Expected::Exactly(b"hey");

    #[test]
    fn an_answer_is_complete_at_its_last_byte_in_either_framing() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhey",
            "HTTP/1.1 200 OK\r\ndate: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhey\r\n0\r\n\r\n",
        ] {
            for bytes in 0..answer.len() {
                assert!(!is_complete(&answer.as_bytes()[..bytes], "200", HEY).unwrap(), "{bytes} bytes of {answer:?}");
            }
            assert!(is_complete(answer.as_bytes(), "200", HEY).unwrap());
        }
    }

    #[test]
    fn an_answer_that_differs_each_time_is_complete_at_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n12:00 ho";
        for bytes in 0..answer.len() {
            assert!(!is_complete(&answer[..bytes], "200", Expected::With(b"ho")).unwrap(), "{bytes} bytes");
        }
        assert!(is_complete(answer, "200", Expected::With(b"ho")).unwrap());
        assert!(is_complete(answer, "200", Expected::With(b"hey")).is_err());
    }

    #[test]
    fn another_answer_is_an_error() {
        for answer in
            ["HTTP/1.1 503 No\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhoy", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"]
        {
            assert!(is_complete(answer.as_bytes(), "200", HEY).is_err(), "{answer:?}");
        }
    }
}
