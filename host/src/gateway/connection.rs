//! One connection that speaks HTTP/1.1, from its first byte on, with a time for everything that its client may be slow at.

use std::error::Error as StdError;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::worded::Worded;
use super::write_timeout::WriteTimeout;
use crate::api::Peer;
use crate::shutdown::Shutdown;

/// For the first byte, and for the handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// For the headers of a request, and for a silent connection between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// For what is sent to a client and not read by it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 32 << 10;
/// For all of a connection that gets one answer, whatever it asks.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(10);

/// A stream whose reader may not stand still. Below TLS, which takes more than its reader has read.
pub fn timed<S>(stream: S) -> WriteTimeout<S> {
    WriteTimeout::new(stream, WRITE_TIMEOUT)
}

/// Serves requests on a [`timed`] stream until the client goes, or the gateway.
pub async fn converse<S, V, B>(stream: S, service: V, keep_alive: bool, shutdown: Shutdown) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: Service<Request<Incoming>, Response = Response<B>>,
    V::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(keep_alive)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended.context("serving"),
        () = shutdown.ordered() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.context("serving")
}

/// Hands each request to the router, with where it comes from.
pub async fn serve<S>(stream: S, peer: Peer, router: Router, shutdown: Shutdown) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    converse(Worded::new(stream), routed(peer, router), true, shutdown).await
}

/// Serves one request and ends.
pub async fn serve_once<S>(stream: S, peer: Peer, router: Router, shutdown: Shutdown) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = converse(Worded::new(stream), routed(peer, router), false, shutdown);
    tokio::time::timeout(GOODBYE_TIMEOUT, served).await.context("saying goodbye")?
}

fn routed(
    peer: Peer,
    router: Router,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = std::convert::Infallible, Future: Send> + Send {
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    })
}

/// What a client begins with on the port of HTTPS.
pub enum Beginning {
    Tls,
    /// A request in clear.
    Http,
    Neither,
}

/// Looks at the first byte, and leaves it where it is.
pub async fn beginning(stream: &TcpStream) -> anyhow::Result<Beginning> {
    const HANDSHAKE_RECORD: u8 = 0x16;
    let mut first = [0];
    let peeked = tokio::time::timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await.context("waiting for the first byte")??;
    Ok(match first[0] {
        HANDSHAKE_RECORD if peeked == 1 => Beginning::Tls,
        b'A'..=b'Z' => Beginning::Http,
        _ => Beginning::Neither,
    })
}
