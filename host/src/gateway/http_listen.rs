//! The listener of functions that answer HTTP requests. Off by default.
//!
//! Connections are served where guests run, so that a request goes from its socket into its guest on one thread.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::listen::{HANDSHAKE_TIMEOUT, HEADER_BYTES_MAX, HEADER_TIMEOUT, WRITE_TIMEOUT, accept_all, bind_as};
use super::write_timeout::WriteTimeout;
use crate::api::{Front, Peer};
use crate::shutdown::Shutdown;

/// Where to listen, and how: `http://ADDR`, `https://ADDR`, or `ADDR` for http.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpListen {
    pub address: SocketAddr,
    pub is_tls: bool,
}

impl FromStr for HttpListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (is_tls, address) = match text.split_once("://") {
            None => (false, text),
            Some(("http", address)) => (false, address),
            Some(("https", address)) => (true, address),
            Some((other, _)) => return Err(format!("`{other}` is neither http nor https")),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        let address = address.parse().map_err(|_| format!("`{address}` is no address and port, as in 127.0.0.1:8080 or [::1]:8080"))?;
        Ok(Self { address, is_tls })
    }
}

impl fmt::Display for HttpListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_tls { "https" } else { "http" }, self.address)
    }
}

/// A socket that listens, with the address that it got.
pub struct HttpSocket {
    listener: TcpListener,
    pub listen: HttpListen,
}

pub async fn bind(listen: Option<HttpListen>, guests: &tokio::runtime::Handle) -> anyhow::Result<Option<HttpSocket>> {
    let Some(HttpListen { address, is_tls }) = listen else { return Ok(None) };
    // The socket belongs to the runtime that binds it.
    let listener = guests.spawn(bind_as(address, "--http-listen")).await??;
    let address = listener.local_addr().context("asking for the address that is listened on")?;
    if !is_tls && !address.ip().is_loopback() {
        tracing::warn!(
            "--http-listen {address} is not encrypted, and other machines reach it: passwords go over the network in clear; https://{address} would not show them"
        );
    }
    Ok(Some(HttpSocket { listener, listen: HttpListen { address, is_tls } }))
}

impl HttpSocket {
    pub async fn serve(self, tls: Arc<ServerConfig>, front: Arc<Front>, shutdown: Shutdown) {
        let acceptor = self.listen.is_tls.then(|| TlsAcceptor::from(tls));
        let handle = |(stream, address): (TcpStream, SocketAddr)| {
            let (acceptor, front, shutdown) = (acceptor.clone(), front.clone(), shutdown.clone());
            async move {
                // Answers are written whole: waiting to join small ones only delays them.
                stream.set_nodelay(true)?;
                let peer = Peer::Remote { address, tls: acceptor.is_some() };
                let Some(acceptor) = acceptor else { return connection(stream, peer, front, shutdown).await };
                let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
                let stream = tokio::select! {
                    stream = handshake => stream.context("TLS handshake")??,
                    () = shutdown.ordered() => return Ok(()),
                };
                connection(stream, peer, front, shutdown).await
            }
        };
        let open = accept_all(|| self.listener.accept(), handle, shutdown.clone()).await;
        drop(self.listener);
        open.join_all().await;
    }
}

async fn connection<S>(stream: S, peer: Peer, front: Arc<Front>, shutdown: Shutdown) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| async { Ok::<_, std::convert::Infallible>(front.answer(peer, request).await) });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_address_is_http_and_nonsense_is_refused() {
        let shown = |text: &str| text.parse::<HttpListen>().map(|listen| listen.to_string());
        assert_eq!(shown("127.0.0.1:80").unwrap(), "http://127.0.0.1:80");
        assert_eq!(shown("https://[::1]:443/").unwrap(), "https://[::1]:443");
        for wrong in ["", "8080", "ftp://127.0.0.1:1", "http://host:80", "https://127.0.0.1"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
