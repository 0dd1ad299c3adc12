//! `listen-blocking`: the same listeners and connections for a driver whose code blocks. Nothing here waits but what it polls.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::acceptor::Acceptor;
use super::connection::Connection;
use super::{View, borrowed, gone, own, too_much_waits};
use crate::bindings::blocking::ledge::edge::listen_blocking::{self as wit, Host, HostConnection, HostListener};
use crate::bindings::types::Fault;
use crate::thing::fault;

/// The host's side of a `listener`.
struct PolledListener {
    address: SocketAddr,
    arrivals: Arc<Arrivals>,
}

struct Arrivals {
    acceptor: tokio::sync::Mutex<Acceptor>,
    /// Came while somebody polled.
    next: Mutex<Option<Connection>>,
}

/// The host's side of a `connection`.
struct PolledConnection {
    connection: Connection,
    incoming: Arc<Incoming>,
    outgoing: Arc<Outgoing>,
}

struct Incoming {
    connection: Connection,
    bytes_max: usize,
    turn: tokio::sync::Mutex<()>,
    /// Came while somebody polled, and was not read yet. The end stays here.
    came: Mutex<Option<Result<Vec<u8>, Fault>>>,
}

struct Outgoing {
    guests: Handle,
    /// What is being written, or was and nobody asked how it went.
    begun: tokio::sync::Mutex<Option<JoinHandle<Result<(), Fault>>>>,
    ended: Mutex<Option<Fault>>,
}

/// What a connection may hold for a driver that does not read it.
const READ_AHEAD_BYTES: usize = 8 << 10;

impl Arrivals {
    /// Until a connection is there to be taken.
    async fn ready(&self) {
        let mut acceptor = self.acceptor.lock().await;
        if self.next.lock().is_none() {
            let next = acceptor.accept().await;
            *self.next.lock() = Some(next);
        }
    }
}

impl Incoming {
    /// Until there is something to read, the end included.
    async fn ready(&self) {
        let _turn = self.turn.lock().await;
        if self.came.lock().is_none() {
            let came = self.connection.read(self.bytes_max).await;
            *self.came.lock() = Some(came);
        }
    }

    fn take(&self, bytes_max: usize) -> Result<Option<Vec<u8>>, Fault> {
        if self.ready().now_or_never().is_none() {
            return Ok(None);
        }
        let mut came = self.came.lock();
        match came.take() {
            Some(Ok(mut bytes)) => {
                let rest = bytes.split_off(bytes.len().min(bytes_max));
                if !rest.is_empty() || bytes.is_empty() {
                    *came = Some(Ok(rest));
                }
                Ok(Some(bytes))
            }
            Some(Err(broke)) => Err(broke),
            None => Ok(None),
        }
    }
}

impl Outgoing {
    /// Until nothing is being written.
    async fn ready(&self) {
        let mut begun = self.begun.lock().await;
        if let Some(writing) = begun.as_mut() {
            // A task that panicked has written nothing that anybody could rely on; the connection is gone with it.
            let ended = writing.await.unwrap_or_else(|error| Err(Fault { code: fault::UNKNOWN, message: error.to_string() }));
            *begun = None;
            *self.ended.lock() = ended.err();
        }
    }

    fn is_written(&self) -> Result<bool, Fault> {
        let is_written = self.ready().now_or_never().is_some();
        self.ended.lock().take().map_or(Ok(is_written), Err)
    }

    /// Whether nothing is in its way.
    fn begin(&self, write: impl Future<Output = Result<(), Fault>> + Send + 'static) -> Result<bool, Fault> {
        if !self.is_written()? {
            return Ok(false);
        }
        let Ok(mut begun) = self.begun.try_lock() else { return Ok(false) };
        *begun = Some(self.guests.spawn(write));
        Ok(true)
    }
}

enum Poll {
    Arrivals(Arc<Arrivals>),
    Incoming(Arc<Incoming>),
    Outgoing(Arc<Outgoing>),
}

#[wasmtime_wasi::async_trait]
impl Pollable for Poll {
    async fn ready(&mut self) {
        match self {
            Self::Arrivals(arrivals) => arrivals.ready().await,
            Self::Incoming(incoming) => incoming.ready().await,
            Self::Outgoing(outgoing) => outgoing.ready().await,
        }
    }
}

impl View<'_> {
    /// It may outlive what it is of.
    fn subscribe(&mut self, to: Poll) -> wasmtime::Result<Resource<DynPollable>> {
        let to = self.table.push(to)?;
        subscribe(self.table, to)
    }

    fn polled(&mut self, handle: &Resource<wit::Connection>) -> Result<&PolledConnection, Fault> {
        self.table.get(&borrowed(handle)).map_err(|_| gone("connection"))
    }

    fn room(&mut self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.listen.outgoing.clone().try_acquire_many_owned(bytes).ok()
    }
}

impl Host for View<'_> {}

impl HostListener for View<'_> {
    async fn open(&mut self, address: String) -> Result<Resource<wit::Listener>, Fault> {
        let (guest, parts, places) = (self.listen.guest.clone(), self.listen.parts.clone(), self.listen.places.clone());
        let acceptor = Acceptor::open(guest, &parts, places, &address).await?;
        let address = acceptor.address;
        let arrivals = Arrivals { acceptor: tokio::sync::Mutex::new(acceptor), next: Mutex::default() };
        self.push(PolledListener { address, arrivals: Arc::new(arrivals) }).map(|pushed| own(&pushed))
    }

    async fn address(&mut self, handle: Resource<wit::Listener>) -> String {
        self.table.get::<PolledListener>(&borrowed(&handle)).map(|listener| listener.address.to_string()).unwrap_or_default()
    }

    async fn subscribe(&mut self, handle: Resource<wit::Listener>) -> wasmtime::Result<Resource<DynPollable>> {
        let arrivals = self.table.get::<PolledListener>(&borrowed(&handle))?.arrivals.clone();
        self.subscribe(Poll::Arrivals(arrivals))
    }

    async fn accept(&mut self, handle: Resource<wit::Listener>) -> Result<Option<Resource<wit::Connection>>, Fault> {
        let arrivals = self.table.get::<PolledListener>(&borrowed(&handle)).map_err(|_| gone("listener"))?.arrivals.clone();
        let _ = arrivals.ready().now_or_never();
        let Some(connection) = arrivals.next.lock().take() else { return Ok(None) };
        let bytes_max = self.listen.read_bytes_max.min(READ_AHEAD_BYTES);
        let incoming = Incoming { connection: connection.clone(), bytes_max, turn: Default::default(), came: Mutex::default() };
        let guests = self.listen.parts.guests.clone();
        let outgoing = Outgoing { guests, begun: Default::default(), ended: Mutex::default() };
        self.push(PolledConnection { connection, incoming: Arc::new(incoming), outgoing: Arc::new(outgoing) })
            .map(|pushed| Some(own(&pushed)))
    }

    async fn drop(&mut self, handle: Resource<wit::Listener>) -> wasmtime::Result<()> {
        self.table.delete::<PolledListener>(own(&handle))?;
        self.listen.held -= 1;
        Ok(())
    }
}

impl HostConnection for View<'_> {
    async fn peer(&mut self, handle: Resource<wit::Connection>) -> String {
        self.polled(&handle).map(|polled| polled.connection.peer().to_string()).unwrap_or_default()
    }

    async fn subscribe_read(&mut self, handle: Resource<wit::Connection>) -> wasmtime::Result<Resource<DynPollable>> {
        let incoming = self.table.get::<PolledConnection>(&borrowed(&handle))?.incoming.clone();
        self.subscribe(Poll::Incoming(incoming))
    }

    async fn subscribe_write(&mut self, handle: Resource<wit::Connection>) -> wasmtime::Result<Resource<DynPollable>> {
        let outgoing = self.table.get::<PolledConnection>(&borrowed(&handle))?.outgoing.clone();
        self.subscribe(Poll::Outgoing(outgoing))
    }

    async fn read(&mut self, handle: Resource<wit::Connection>, bytes_max: u32) -> Result<Option<Vec<u8>>, Fault> {
        if bytes_max == 0 {
            return Err(Fault { code: fault::INVALID_PARAM, message: "reading at most 0 bytes would look like the end".to_owned() });
        }
        self.polled(&handle)?.incoming.take(bytes_max as usize)
    }

    async fn write(&mut self, handle: Resource<wit::Connection>, bytes: Vec<u8>) -> Result<bool, Fault> {
        let room = self.room(bytes.len());
        let polled = self.polled(&handle)?;
        let connection = polled.connection.clone();
        let Some(room) = room else { return Err(too_much_waits(&connection)) };
        polled.outgoing.begin(async move {
            let _room = room;
            connection.write(&bytes).await
        })
    }

    async fn is_written(&mut self, handle: Resource<wit::Connection>) -> Result<bool, Fault> {
        self.polled(&handle)?.outgoing.is_written()
    }

    async fn finish(&mut self, handle: Resource<wit::Connection>) -> Result<bool, Fault> {
        let polled = self.polled(&handle)?;
        let connection = polled.connection.clone();
        polled.outgoing.begin(async move { connection.finish().await })
    }

    async fn close(&mut self, handle: Resource<wit::Connection>) {
        if let Ok(polled) = self.polled(&handle) {
            polled.connection.close();
        }
    }

    async fn drop(&mut self, handle: Resource<wit::Connection>) -> wasmtime::Result<()> {
        self.table.delete::<PolledConnection>(own(&handle))?.connection.close();
        self.listen.held -= 1;
        Ok(())
    }
}
