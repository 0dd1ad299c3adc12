//! One request on a connection of its own, each step of it within a time.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::{Target, at_most, tls};

/// A response, and what drives its connection.
pub type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// The head of an answer, and what is read ahead of its body.
const BUFFER_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, Copy)]
pub struct Timeouts {
    pub connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Timeouts {
    /// Nothing takes longer than the call has left.
    pub fn new(asked: Option<RequestOptions>, left: Duration) -> Self {
        let asked = asked.unwrap_or_default();
        Self {
            connect: at_most(asked.connect_timeout, left),
            first_byte: at_most(asked.first_byte_timeout, left),
            between_bytes: at_most(asked.between_bytes_timeout, left),
        }
    }
}

pub async fn send(
    mut request: Request<WasiBody>,
    target: &Target,
    addresses: &[SocketAddr],
    timeouts: Timeouts,
    place: OwnedSemaphorePermit,
) -> Result<Sent, Error> {
    // To the server itself a request names its path alone; `Host` is set already.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = timeout(timeouts.connect, connect(addresses)).await.map_err(|_| Error::ConnectionTimeout)??;
    if !target.is_tls {
        return exchange(request, stream, timeouts, place).await;
    }
    let host = target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|_| Error::HttpRequestUriInvalid)?;
    let handshake = TlsConnector::from(tls()).connect(name, stream);
    let stream = timeout(timeouts.connect, handshake).await.map_err(|_| Error::ConnectionTimeout)?.map_err(Error::Tls)?;
    exchange(request, stream, timeouts, place).await
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationNotFound;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = Error::Connect(error),
        }
    }
    Err(last)
}

async fn exchange<S>(request: Request<WasiBody>, stream: S, timeouts: Timeouts, place: OwnedSemaphorePermit) -> Result<Sent, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
    let driven = AbortOnDrop(tokio::spawn(async move {
        let _place = place;
        connection.await
    }));
    let answer = timeout(timeouts.first_byte, sender.send_request(request)).await.map_err(|_| Error::ConnectionReadTimeout)??;
    let body = |incoming| InTime { incoming, limit: timeouts.between_bytes, timer: None }.boxed_unsync();
    Ok((answer.map(body), Box::new(driven.ended())))
}

/// A connection whose guest is gone is closed.
struct AbortOnDrop(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl AbortOnDrop {
    async fn ended(mut self) -> Result<(), Error> {
        // What goes wrong is told by the body; here nobody would read it.
        let _ = (&mut self.0).await;
        Ok(())
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body whose next part may not be long in coming.
struct InTime {
    incoming: Incoming,
    limit: Duration,
    /// Runs while a part is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Body for InTime {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
