//! Connections that devices make to the gateway. Needs the grant `listen`, for drivers only.
//!
//! Where the grant says `tls` or `from`, the gateway speaks TLS with the device and sends away whoever comes from elsewhere; a driver sees
//! the bytes and the peer, and is written the same either way.

use std::net::SocketAddr;

use crate::Fault;
use crate::bindings::driver::ledge::edge::listen as wit;

/// Takes connections on one address of the gateway, until it is dropped.
#[derive(Debug)]
pub struct Listener(wit::Listener);

/// One connection. Dropping it closes it. It can be read and written at the same time.
#[derive(Debug)]
pub struct Connection(wit::Connection);

impl Listener {
    /// Listens on an IP address and a port, as in `0.0.0.0:17682`. Port 0 is any free one that the grant covers.
    ///
    /// Faults: 100001 (no such address), 110001 (not granted), 110002 (the limit `handles`), 100008 (in use, or no address of this machine).
    pub async fn open(address: &str) -> Result<Self, Fault> {
        wit::Listener::open(address.to_owned()).await.map(Self)
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        socket_address(&self.0.address())
    }

    /// The next connection, once its TLS handshake is over. The gateway closes those that are more than the driver's limit `connections`.
    ///
    /// Fault: 110002 (the limit `handles`; this connection is closed, and the next call waits for another).
    pub async fn accept(&self) -> Result<Connection, Fault> {
        self.0.accept().await.map(Connection)
    }
}

impl Connection {
    /// Who is at the other end.
    pub fn peer(&self) -> SocketAddr {
        socket_address(&self.0.peer())
    }

    /// The next bytes, at most `bytes_max` of them and at most 65,536. None at all: the peer has closed, or [`Connection::close`] was called.
    ///
    /// Faults: 100001 (`bytes_max` is 0), 100008 (the connection broke).
    pub async fn read(&self, bytes_max: u32) -> Result<Vec<u8>, Fault> {
        self.0.read(bytes_max).await
    }

    /// Writes all of the bytes, at most the driver's limit `host_call_bytes` at once.
    ///
    /// Faults: 100006 (the peer took nothing for 30 s; the connection is closed), 100008 (it broke, or is closed).
    pub async fn write_all(&self, bytes: Vec<u8>) -> Result<(), Fault> {
        self.0.write(bytes).await
    }

    /// Tells the peer that nothing more will be written; reading goes on. Fault: 100008.
    pub async fn finish(&self) -> Result<(), Fault> {
        self.0.finish().await
    }

    /// Closes at once: a `read` that waits returns nothing, a `write_all` fails.
    pub fn close(&self) {
        self.0.close();
    }
}

pub(crate) fn socket_address(text: &str) -> SocketAddr {
    text.parse().expect("the gateway writes an IP address and a port")
}
