//! TCP connections of drivers, on WASI 0.3: each call waits without holding up the driver's other calls.
//!
//! `ledge.toml` has to grant the address (`grants = { tcp = ["192.168.1.10:502"] }`). Deliberately absent: names, since grants are of
//! addresses, and listening.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use wit_bindgen::rt::async_support::{FutureReader, StreamRead, StreamReader, StreamResult, StreamWriter};

use crate::bindings::driver::wasi::sockets::types as wit;
use crate::bindings::driver::wit_stream;

/// An open connection. Dropping it closes it.
///
/// ```
/// use std::time::Duration;
///
/// use ledge_sdk::{Error, clock, tcp::TcpStream};
///
/// async fn greeting() -> Result<Vec<u8>, Error> {
///     let mut peer = TcpStream::connect(([127, 0, 0, 1], 7).into()).await?;
///     peer.write_all(b"hello").await?;
///     let mut answer = [0; 5];
///     clock::timeout(Duration::from_secs(1), peer.read_exact(&mut answer)).await??;
///     Ok(answer.into())
/// }
/// ```
#[derive(Debug)]
pub struct TcpStream {
    // Before the socket, so that they are dropped before it.
    outgoing: StreamWriter<u8>,
    incoming: StreamReader<u8>,
    sent: Option<Outcome>,
    received: Option<Outcome>,
    _socket: wit::TcpSocket,
    /// What came and was not taken yet.
    buffer: Vec<u8>,
}

/// How one direction ended. It is there once that direction has ended.
type Outcome = FutureReader<Result<(), wit::ErrorCode>>;

/// What one read takes from the host at most.
const READ_BYTES_MAX: usize = 4_096;

impl TcpStream {
    /// Connects. The system may try for minutes: bound it with [`clock::timeout`](crate::clock::timeout).
    ///
    /// Errors: `PermissionDenied` (no grant `tcp` covers the address), `ConnectionRefused`, `HostUnreachable`, `TimedOut` and others.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let about = |code| error(code, Some(address));
        let family = if address.is_ipv4() { wit::IpAddressFamily::Ipv4 } else { wit::IpAddressFamily::Ipv6 };
        let socket = wit::TcpSocket::create(family).map_err(about)?;
        socket.connect(to_wit(address)).await.map_err(about)?;
        let (outgoing, data) = wit_stream::new();
        let sent = socket.send(data);
        let (incoming, received) = socket.receive();
        Ok(Self { outgoing, incoming, sent: Some(sent), received: Some(received), _socket: socket, buffer: Vec::new() })
    }

    /// Waits for bytes and takes as many of them as there are and `bytes` holds; 0 when the peer has sent its last.
    /// A read that is given up loses nothing: the next one has what came meanwhile.
    pub async fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.fill(1).await?;
        let taken = self.buffer.len().min(bytes.len());
        self.take(&mut bytes[..taken]);
        Ok(taken)
    }

    /// Waits until all of `bytes` has come. A read that is given up takes nothing. Error besides: `UnexpectedEof`.
    pub async fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        if !self.fill(bytes.len()).await? {
            let message = format!("the peer closed the connection after {} of {} bytes", self.buffer.len(), bytes.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.take(bytes);
        Ok(())
    }

    /// Sends all of `bytes`. Where it is given up, a part of them may be on the way: then close the connection.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.outgoing.write_all(bytes.to_vec()).await.is_empty() {
            return Ok(());
        }
        ended(&mut self.sent).await?;
        Err(io::Error::new(io::ErrorKind::BrokenPipe, "the connection is closed"))
    }

    /// Waits until so many bytes are in the buffer. Whether they are: the peer may have sent its last.
    async fn fill(&mut self, length: usize) -> io::Result<bool> {
        while self.buffer.len() < length {
            let read = self.incoming.read(Vec::with_capacity(READ_BYTES_MAX));
            let reading = Reading { read: Some(Box::pin(read)), buffer: &mut self.buffer };
            if reading.await == StreamResult::Dropped {
                ended(&mut self.received).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&mut self, bytes: &mut [u8]) {
        let rest = self.buffer.split_off(bytes.len());
        bytes.copy_from_slice(&std::mem::replace(&mut self.buffer, rest));
    }
}

/// One read of the host. If it is dropped, what came at the last moment is kept.
struct Reading<'a> {
    read: Option<Pin<Box<StreamRead<'a, u8>>>>,
    buffer: &'a mut Vec<u8>,
}

impl Future for Reading<'_> {
    type Output = StreamResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<StreamResult> {
        let Some(read) = &mut self.read else { return Poll::Ready(StreamResult::Dropped) };
        let Poll::Ready((result, bytes)) = read.as_mut().poll(context) else { return Poll::Pending };
        self.read = None;
        self.buffer.extend(bytes);
        Poll::Ready(result)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(read) = &mut self.read {
            let (_, bytes) = read.as_mut().cancel();
            self.buffer.extend(bytes);
        }
    }
}

/// Why a direction ended; after the first asking, or if it ended in order: nothing.
async fn ended(outcome: &mut Option<Outcome>) -> io::Result<()> {
    match outcome.take() {
        Some(outcome) => outcome.await.map_err(|code| error(code, None)),
        None => Ok(()),
    }
}

fn error(code: wit::ErrorCode, address: Option<SocketAddr>) -> io::Error {
    use wit::ErrorCode as Code;
    let kind = match &code {
        Code::AccessDenied => io::ErrorKind::PermissionDenied,
        Code::NotSupported => io::ErrorKind::Unsupported,
        Code::InvalidArgument => io::ErrorKind::InvalidInput,
        Code::OutOfMemory => io::ErrorKind::OutOfMemory,
        Code::Timeout => io::ErrorKind::TimedOut,
        Code::AddressNotBindable => io::ErrorKind::AddrNotAvailable,
        Code::AddressInUse => io::ErrorKind::AddrInUse,
        Code::RemoteUnreachable => io::ErrorKind::HostUnreachable,
        Code::ConnectionRefused => io::ErrorKind::ConnectionRefused,
        Code::ConnectionBroken => io::ErrorKind::BrokenPipe,
        Code::ConnectionReset => io::ErrorKind::ConnectionReset,
        Code::ConnectionAborted => io::ErrorKind::ConnectionAborted,
        Code::InvalidState | Code::DatagramTooLarge | Code::Other(_) => io::ErrorKind::Other,
    };
    match (code, address) {
        (Code::AccessDenied, Some(address)) => {
            io::Error::new(kind, format!("no grant covers {address}: give the driver `tcp = [\"{address}\"]` in ledge.toml"))
        }
        (Code::Other(Some(message)), _) => io::Error::new(kind, message),
        (Code::Other(None) | Code::InvalidState | Code::DatagramTooLarge, _) => io::Error::new(kind, "the connection failed"),
        _ => kind.into(),
    }
}

fn to_wit(address: SocketAddr) -> wit::IpSocketAddress {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) => wit::IpSocketAddress::Ipv4(wit::Ipv4SocketAddress { port, address: ip.octets().into() }),
        IpAddr::V6(ip) => {
            let scope_id = if let SocketAddr::V6(address) = address { address.scope_id() } else { 0 };
            let address = ip.segments().into();
            wit::IpSocketAddress::Ipv6(wit::Ipv6SocketAddress { port, flow_info: 0, address, scope_id })
        }
    }
}
