//! The listener of functions that answer HTTP requests. Off by default.
//!
//! Connections are served where guests run, so that a request goes from its socket into its guest on one thread.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use hyper::service::service_fn;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::connection::{converse, serve_once, timed};
use super::listen::{accept_all, bind_as, handshake, remote_ip};
use super::places::{Place, Places};
use crate::api::{self, Front, Peer};
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
    pub async fn serve(self, tls: Arc<ServerConfig>, front: Arc<Front>, places: Arc<Places>, shutdown: Shutdown) {
        let acceptor = self.listen.is_tls.then(|| TlsAcceptor::from(tls));
        let handle = |(stream, address): (TcpStream, SocketAddr), place: Place| {
            let (acceptor, front, shutdown) = (acceptor.clone(), front.clone(), shutdown.clone());
            async move {
                // Answers are written whole: waiting to join small ones only delays them.
                stream.set_nodelay(true)?;
                let stream = timed(stream);
                let peer = Peer::Remote { address, tls: acceptor.is_some() };
                let Some(acceptor) = acceptor else { return connection(stream, peer, &place, front, shutdown).await };
                let Some(stream) = handshake(&acceptor, stream, &shutdown).await? else { return Ok(()) };
                connection(stream, peer, &place, front, shutdown).await
            }
        };
        let open = accept_all(|| self.listener.accept(), remote_ip, &places, handle, &shutdown).await;
        drop(self.listener);
        open.join_all().await;
    }
}

async fn connection<S>(stream: S, peer: Peer, place: &Place, front: Arc<Front>, shutdown: Shutdown) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if matches!(place, Place::Goodbye { .. }) {
        return serve_once(stream, peer, api::too_many(), shutdown).await;
    }
    let service = service_fn(|request| async { Ok::<_, std::convert::Infallible>(front.answer(peer, request).await) });
    converse(stream, service, true, shutdown).await
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
