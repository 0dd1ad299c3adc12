//! `listen`: how a driver takes connections, where the grant `listen` allows it.
//!
//! What the grant demands is done here: TLS with the gateway's own certificate or the project's (`tls`), and nobody from elsewhere (`from`). A listener and its
//! connections live in the Store's table, so they end with the instance.

mod acceptor;
mod certificate;
mod connection;
mod polled;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::{Mutex, Semaphore};
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceTable};

use self::acceptor::Acceptor;
pub use self::certificate::server_config;
use self::connection::{Connection, Stream};
use super::Guest;
use crate::bindings::blocking::ledge::edge::listen_blocking;
use crate::bindings::driver::ledge::edge::listen::{
    self as wit, HostConnection, HostConnectionWithStore, HostListener, HostListenerWithStore,
};
use crate::bindings::types::Fault;
use crate::limit::Limits;
use crate::thing::fault;

/// What all drivers' listeners share.
pub struct ListenParts {
    /// Where guests run, and so what they wait for.
    pub guests: tokio::runtime::Handle,
    /// The gateway's own identity. None where there is none, as in `bench`.
    pub tls: Option<Arc<ServerConfig>>,
}

/// The interface's part of a Store.
pub struct Listen {
    pub guest: Arc<Guest>,
    parts: Arc<ListenParts>,
    places: Arc<Places>,
    read_bytes_max: usize,
    /// Bytes that may wait to be written, of all connections together.
    outgoing: Arc<Semaphore>,
    /// Listeners and connections that the guest holds.
    held: u32,
    held_max: u32,
}

/// How many connections one instance may have, those included whose handshake is under way.
struct Places {
    free: Arc<Semaphore>,
    max: u32,
}

/// The host's side of a `listener`.
struct Listener {
    address: SocketAddr,
    acceptor: Arc<Mutex<Acceptor>>,
}

/// A view of a Store: the context, and the table that holds its handles.
pub struct View<'a> {
    pub listen: &'a mut Listen,
    pub table: &'a mut ResourceTable,
}

pub struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a>;
}

pub fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&mut T) -> View<'_>) -> wasmtime::Result<()> {
    listen_blocking::add_to_linker::<T, Linked>(linker, get)?;
    wit::add_to_linker::<T, Linked>(linker, get)
}

/// The most that one call of `read` gives.
const READ_BYTES_MAX: usize = 64 << 10;
/// What one instance may have waiting for peers who do not read; one call may carry as much as it may.
const OUTGOING_BYTES_MAX: usize = 4 << 20;

impl Listen {
    pub fn new(guest: Arc<Guest>, parts: Arc<ListenParts>, limits: &Limits) -> Self {
        let places = Places { free: Arc::new(Semaphore::new(limits.connections as usize)), max: limits.connections };
        let read_bytes_max = limits.host_call_bytes.min(READ_BYTES_MAX);
        // With more handles than its limit an instance is ended, and strangers decide how many connections there are: so a quarter is left
        // for everything else.
        let held_max = limits.handles / 4 * 3;
        let outgoing = Arc::new(Semaphore::new(OUTGOING_BYTES_MAX.max(limits.host_call_bytes)));
        Self { guest, parts, places: Arc::new(places), read_bytes_max, outgoing, held: 0, held_max }
    }
}

/// The generated types name handles; what is in the table is ours.
fn own<M: 'static, W: 'static>(handle: &Resource<M>) -> Resource<W> {
    Resource::new_own(handle.rep())
}

fn borrowed<W: 'static, M: 'static>(handle: &Resource<W>) -> Resource<M> {
    Resource::new_borrow(handle.rep())
}

impl View<'_> {
    fn push<M: Send + 'static>(&mut self, made: M) -> Result<Resource<M>, Fault> {
        let pushed = if self.listen.held < self.listen.held_max { self.table.push(made).ok() } else { None };
        let Some(pushed) = pushed else {
            let message = "its connections have three quarters of its handles: drop some, or raise the limit `handles`";
            self.listen.guest.tell(Some("handles"), &format!("is refused a connection: {message}"));
            return Err(Fault { code: fault::TOO_MANY, message: message.to_owned() });
        };
        self.listen.held += 1;
        Ok(pushed)
    }

    fn connection(&mut self, handle: &Resource<wit::Connection>) -> Result<Connection, Fault> {
        self.table.get::<Connection>(&borrowed(handle)).cloned().map_err(|_| gone("connection"))
    }

    fn acceptor(&mut self, handle: &Resource<wit::Listener>) -> Result<Arc<Mutex<Acceptor>>, Fault> {
        let listener = self.table.get::<Listener>(&borrowed(handle)).map_err(|_| gone("listener"))?;
        Ok(listener.acceptor.clone())
    }
}

fn gone(what: &str) -> Fault {
    Fault { code: fault::INVALID_PARAM, message: format!("this handle is of no {what}") }
}

fn too_much_waits(connection: &Connection) -> Fault {
    let message = format!("too many bytes wait for peers who do not read; close {}, say, and try again", connection.peer());
    Fault { code: fault::TOO_MANY, message }
}

impl wit::Host for View<'_> {}

impl HostListener for View<'_> {
    fn address(&mut self, handle: Resource<wit::Listener>) -> String {
        // The guest can only name a handle that it holds.
        self.table.get::<Listener>(&borrowed(&handle)).map(|listener| listener.address.to_string()).unwrap_or_default()
    }

    fn drop(&mut self, handle: Resource<wit::Listener>) -> wasmtime::Result<()> {
        self.table.delete::<Listener>(own(&handle))?;
        self.listen.held -= 1;
        Ok(())
    }
}

impl HostConnection for View<'_> {
    fn peer(&mut self, handle: Resource<wit::Connection>) -> String {
        self.connection(&handle).map(|connection| connection.peer().to_string()).unwrap_or_default()
    }

    fn close(&mut self, handle: Resource<wit::Connection>) {
        if let Ok(connection) = self.connection(&handle) {
            connection.close();
        }
    }

    fn drop(&mut self, handle: Resource<wit::Connection>) -> wasmtime::Result<()> {
        self.table.delete::<Connection>(own(&handle))?.close();
        self.listen.held -= 1;
        Ok(())
    }
}

impl<T: Send> HostListenerWithStore<T> for Linked {
    async fn open(store: &Accessor<T, Self>, address: String) -> Result<Resource<wit::Listener>, Fault> {
        let (guest, parts, places) = store.with(|mut access| {
            let listen = access.get().listen;
            (listen.guest.clone(), listen.parts.clone(), listen.places.clone())
        });
        let acceptor = Acceptor::open(guest, &parts, places, &address).await?;
        let listener = Listener { address: acceptor.address, acceptor: Arc::new(Mutex::new(acceptor)) };
        store.with(|mut access| access.get().push(listener)).map(|pushed| own(&pushed))
    }

    async fn accept(store: &Accessor<T, Self>, listener: Resource<wit::Listener>) -> Result<Resource<wit::Connection>, Fault> {
        let acceptor = store.with(|mut access| access.get().acceptor(&listener))?;
        let connection = acceptor.lock().await.accept().await;
        store.with(|mut access| access.get().push(connection)).map(|pushed| own(&pushed))
    }
}

impl<T: Send> HostConnectionWithStore<T> for Linked {
    async fn read(store: &Accessor<T, Self>, connection: Resource<wit::Connection>, bytes_max: u32) -> Result<Vec<u8>, Fault> {
        let (connection, most) = store.with(|mut access| {
            let mut view = access.get();
            Ok::<_, Fault>((view.connection(&connection)?, view.listen.read_bytes_max))
        })?;
        connection.read((bytes_max as usize).min(most)).await
    }

    async fn write(store: &Accessor<T, Self>, connection: Resource<wit::Connection>, bytes: Vec<u8>) -> Result<(), Fault> {
        let (connection, outgoing) = store.with(|mut access| {
            let mut view = access.get();
            Ok::<_, Fault>((view.connection(&connection)?, view.listen.outgoing.clone()))
        })?;
        let Ok(_room) = outgoing.try_acquire_many(u32::try_from(bytes.len()).unwrap_or(u32::MAX)) else {
            return Err(too_much_waits(&connection));
        };
        connection.write(&bytes).await
    }

    async fn finish(store: &Accessor<T, Self>, connection: Resource<wit::Connection>) -> Result<(), Fault> {
        let connection = store.with(|mut access| access.get().connection(&connection))?;
        connection.finish().await
    }
}
