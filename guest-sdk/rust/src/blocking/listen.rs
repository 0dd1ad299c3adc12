//! Connections that devices make to the gateway, for drivers that block: [`listen`](crate::listen) in plain loops.
//!
//! Whatever waits here answers what the gateway asks meanwhile, as [`sleep`](super::sleep) does. Grant: `listen`.

use std::net::SocketAddr;

use super::wait_for;
use crate::Fault;
use crate::bindings::blocking::ledge::edge::listen_blocking as wit;
use crate::listen::socket_address;

/// Takes connections on one address of the gateway, until it is dropped.
#[derive(Debug)]
pub struct Listener(wit::Listener);

/// One connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection(wit::Connection);

impl Listener {
    /// Listens on an IP address and a port, as in `0.0.0.0:17682`. Faults as for [`listen::Listener::open`](crate::listen::Listener::open).
    pub fn open(address: &str) -> Result<Self, Fault> {
        wit::Listener::open(address).map(Self)
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        socket_address(&self.0.address())
    }

    /// Waits for the next connection.
    ///
    /// Fault: 110002 (the limit `handles`; this connection is closed, and the next call waits for another).
    pub fn accept(&self) -> Result<Connection, Fault> {
        loop {
            if let Some(connection) = self.try_accept()? {
                return Ok(connection);
            }
            wait_for(&self.0.subscribe());
        }
    }

    /// The next connection, if one is there: for a loop that serves several and waits with [`sleep`](super::sleep). Fault as for
    /// [`Listener::accept`].
    pub fn try_accept(&self) -> Result<Option<Connection>, Fault> {
        Ok(self.0.accept()?.map(Connection))
    }
}

impl Connection {
    /// Who is at the other end.
    pub fn peer(&self) -> SocketAddr {
        socket_address(&self.0.peer())
    }

    /// Waits for the next bytes, at most `bytes_max` of them and at most 8,192. None at all: the peer has closed.
    ///
    /// Faults: 100001 (`bytes_max` is 0), 100008 (the connection broke).
    pub fn read(&self, bytes_max: u32) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(bytes) = self.try_read(bytes_max)? {
                return Ok(bytes);
            }
            wait_for(&self.0.subscribe_read());
        }
    }

    /// What came, if anything did. Faults as for [`Connection::read`].
    pub fn try_read(&self, bytes_max: u32) -> Result<Option<Vec<u8>>, Fault> {
        self.0.read(bytes_max)
    }

    /// Writes all of the bytes, at most the driver's limit `host_call_bytes` at once.
    ///
    /// Faults: 100006 (the peer took nothing for 30 s; the connection is closed), 100008 (it broke, or is closed).
    pub fn write_all(&self, bytes: &[u8]) -> Result<(), Fault> {
        self.begin(|| self.0.write(bytes))
    }

    /// Tells the peer that nothing more will be written; reading goes on. Fault: 100008.
    pub fn finish(&self) -> Result<(), Fault> {
        self.begin(|| self.0.finish())
    }

    /// Closes at once.
    pub fn close(&self) {
        self.0.close();
    }

    /// Begins as soon as nothing is in the way, and waits for the end.
    fn begin(&self, begin: impl Fn() -> Result<bool, Fault>) -> Result<(), Fault> {
        let written = self.0.subscribe_write();
        while !begin()? {
            wait_for(&written);
        }
        while !self.0.is_written()? {
            wait_for(&written);
        }
        Ok(())
    }
}
