//! The accept loops. No client can hold one up: each has a task, and a time for its handshake and for its headers.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::write_timeout::WriteTimeout;
use crate::api::Peer;
use crate::shutdown::Shutdown;

/// Open connections. One more is closed at once.
const CONNECTIONS_MAX: usize = 1_024;
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// For the headers of a request, and for a silent connection between two.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// For what is sent to a client and not read by it.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const HEADER_BYTES_MAX: usize = 32 << 10;
/// After an error that will not pass by itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is in use by another program: stop that one, or choose another address with {option}")
        }
        _ => anyhow::Error::from(error).context(format!("listening on {address}")),
    })
}

pub async fn serve_tls(listener: TcpListener, tls: Arc<ServerConfig>, router: Router, shutdown: Shutdown) {
    let acceptor = TlsAcceptor::from(tls);
    let handle = |(stream, address): (tokio::net::TcpStream, SocketAddr)| {
        let (acceptor, router, shutdown) = (acceptor.clone(), router.clone(), shutdown.clone());
        async move {
            // Answers are written whole: waiting to join small ones only delays them.
            stream.set_nodelay(true)?;
            let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
            let stream = tokio::select! {
                stream = handshake => stream.context("TLS handshake")??,
                () = shutdown.ordered() => return Ok(()),
            };
            serve(stream, Peer::Remote { address, tls: true }, router, shutdown).await
        }
    };
    let open = accept_all(|| listener.accept(), handle, shutdown.clone()).await;
    drop(listener);
    open.join_all().await;
}

pub async fn serve_plain(listener: TcpListener, router: Router, shutdown: Shutdown) {
    let handle = |(stream, address): (tokio::net::TcpStream, SocketAddr)| {
        let (router, shutdown) = (router.clone(), shutdown.clone());
        async move {
            stream.set_nodelay(true)?;
            serve(stream, Peer::Remote { address, tls: false }, router, shutdown).await
        }
    };
    let open = accept_all(|| listener.accept(), handle, shutdown.clone()).await;
    drop(listener);
    open.join_all().await;
}

pub async fn serve_local(listener: UnixListener, router: Router, shutdown: Shutdown) {
    let handle = |(stream, _)| serve(stream, Peer::Local, router.clone(), shutdown.clone());
    let open = accept_all(|| listener.accept(), handle, shutdown.clone()).await;
    drop(listener);
    open.join_all().await;
}

/// Accepts until the gateway stops, and gives the connections that are open then. Whoever calls lets go of the listener
/// before waiting for them, so that a new client is refused at once.
pub(super) async fn accept_all<C, A, H>(accept: impl Fn() -> A, handle: impl Fn(C) -> H, shutdown: Shutdown) -> JoinSet<()>
where
    A: Future<Output = io::Result<C>>,
    H: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            () = shutdown.ordered() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(connection) => {
                let Ok(place) = places.clone().try_acquire_owned() else { continue };
                let connection = handle(connection);
                connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = connection.await {
                        tracing::debug!("a connection ended: {error:#}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections
}

async fn serve<S>(stream: S, peer: Peer, router: Router, shutdown: Shutdown) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, WRITE_TIMEOUT)), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended.context("serving"),
        () = shutdown.ordered() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.context("serving")
}
