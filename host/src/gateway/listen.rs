//! The accept loops. No client can hold one up: each has a task, a place, and a time for its handshake and for its headers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{Beginning, HANDSHAKE_TIMEOUT, beginning, serve, serve_once, timed};
use super::places::{Place, Places};
use super::write_timeout::WriteTimeout;
use crate::api::{self, Peer};
use crate::shutdown::Shutdown;

/// After an error that will not pass by itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the system keeps for a client that does not read. Where it may keep megabytes, those who read slowly seem to stand still meanwhile.
const SEND_BUFFER_BYTES: usize = 512 << 10;

pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    bind_as(address, "--listen").await
}

/// Where the API is served without TLS, if it is.
pub async fn bind_plain(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    if !address.ip().is_loopback() {
        tracing::warn!("--plain-listen {address} is not encrypted, and other machines reach it: passwords go over the network in clear");
    }
    bind_as(address, "--plain-listen").await.map(Some)
}

/// `option` is the one that names another address.
pub async fn bind_as(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is in use by another program: stop that one, or choose another address with {option}")
        }
        _ => anyhow::Error::from(error).context(format!("listening on {address}")),
    })?;
    // What is accepted has the same.
    sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER_BYTES).context("bounding what waits to be sent")?;
    Ok(listener)
}

/// What every listener of the API serves.
#[derive(Clone)]
pub struct Served {
    pub router: Router,
    pub places: Arc<Places>,
    pub shutdown: Shutdown,
}

pub async fn serve_tls(listener: TcpListener, tls: Arc<ServerConfig>, served: Served) {
    let acceptor = TlsAcceptor::from(tls);
    let port = listener.local_addr().map_or(0, |address| address.port());
    let handle = |(stream, address): (TcpStream, SocketAddr), place: Place| {
        let (acceptor, served) = (acceptor.clone(), served.clone());
        async move {
            let shutdown = served.shutdown;
            // Answers are written whole: waiting to join small ones only delays them.
            stream.set_nodelay(true)?;
            let begun = tokio::select! {
                begun = beginning(&stream) => begun?,
                () = shutdown.ordered() => return Ok(()),
            };
            let stream = timed(stream);
            let clear = Peer::Remote { address, tls: false };
            match (begun, &place) {
                (Beginning::Neither, _) => Ok(()),
                (Beginning::Http, Place::Served { .. }) => serve_once(stream, clear, api::to_https(port), shutdown).await,
                (Beginning::Http, Place::Goodbye { .. }) => serve_once(stream, clear, api::too_many(), shutdown).await,
                (Beginning::Tls, _) => {
                    let Some(stream) = handshake(&acceptor, stream, &shutdown).await? else { return Ok(()) };
                    talk(stream, Peer::Remote { address, tls: true }, &place, served.router, shutdown).await
                }
            }
        }
    };
    let open = accept_all(|| listener.accept(), remote_ip, &served.places, handle, &served.shutdown).await;
    drop(listener);
    open.join_all().await;
}

pub async fn serve_plain(listener: TcpListener, served: Served) {
    let handle = |(stream, address): (TcpStream, SocketAddr), place: Place| {
        let Served { router, shutdown, .. } = served.clone();
        async move {
            stream.set_nodelay(true)?;
            talk(timed(stream), Peer::Remote { address, tls: false }, &place, router, shutdown).await
        }
    };
    let open = accept_all(|| listener.accept(), remote_ip, &served.places, handle, &served.shutdown).await;
    drop(listener);
    open.join_all().await;
}

/// The administrator's own socket. Its places are its own: clients from elsewhere cannot take them.
pub async fn serve_local(listener: UnixListener, Served { router, places, shutdown }: Served) {
    let handle = |(stream, _), place: Place| {
        let (router, shutdown) = (router.clone(), shutdown.clone());
        async move { talk(timed(stream), Peer::Local, &place, router, shutdown).await }
    };
    let open = accept_all(|| listener.accept(), |_| None, &places, handle, &shutdown).await;
    drop(listener);
    open.join_all().await;
}

/// Serves whoever has a place, and tells others that they have none.
async fn talk<S>(stream: S, peer: Peer, place: &Place, router: Router, shutdown: Shutdown) -> anyhow::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    match place {
        Place::Served { .. } => serve(stream, peer, router, shutdown).await,
        Place::Goodbye { .. } => serve_once(stream, peer, api::too_many(), shutdown).await,
    }
}

/// `None` once the gateway stops.
pub(super) async fn handshake(
    acceptor: &TlsAcceptor,
    stream: WriteTimeout<TcpStream>,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<TlsStream<WriteTimeout<TcpStream>>>> {
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    tokio::select! {
        stream = handshake => Ok(Some(stream.context("TLS handshake")??)),
        () = shutdown.ordered() => Ok(None),
    }
}

pub(super) fn remote_ip((_, address): &(TcpStream, SocketAddr)) -> Option<IpAddr> {
    Some(address.ip())
}

/// Accepts until the gateway stops, and gives the connections that are open then. Whoever calls lets go of the listener
/// before waiting for them, so that a new client is refused at once.
pub(super) async fn accept_all<C, A, H>(
    accept: impl Fn() -> A,
    address_of: impl Fn(&C) -> Option<IpAddr>,
    places: &Arc<Places>,
    handle: impl Fn(C, Place) -> H,
    shutdown: &Shutdown,
) -> JoinSet<()>
where
    A: Future<Output = io::Result<C>>,
    H: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            () = shutdown.ordered() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(connection) => {
                let Some(place) = places.take(address_of(&connection)) else { continue };
                let connection = handle(connection, place);
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!("a connection ended: {error:#}");
                    }
                });
            }
            // The client has gone already: others wait.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections
}
