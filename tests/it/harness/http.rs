//! A client of functions that answer HTTP requests: plain HTTP/1.1, bodies as they come.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{PATIENCE, TestGateway};

pub type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// An answer that came whole.
#[derive(Debug)]
pub struct Whole {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Whole {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A body that is sent piece by piece, until the sender is dropped.
pub fn streamed() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, parts) = mpsc::channel(1);
    let frames = futures_util::stream::unfold(parts, |mut parts: mpsc::Receiver<Bytes>| async {
        let part = parts.recv().await?;
        Some((Ok(Frame::data(part)), parts))
    });
    (sender, StreamBody::new(frames).boxed_unsync())
}

pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

impl TestGateway {
    pub fn http(&self) -> std::net::SocketAddr {
        self.gateway.http.expect("it has no HTTP listener").address
    }

    /// Sends a request on a connection of its own; it is closed when the answer is dropped.
    pub async fn begin(&self, request: Request<Body>) -> Result<Begun, hyper::Error> {
        let stream = TcpStream::connect(self.http()).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driven = tokio::spawn(async move {
            let _ = connection.await;
        });
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("no answer began");
        Ok(Begun { answer: answer?, _connection: Abort(driven) })
    }

    pub async fn send(&self, request: Request<Body>) -> Whole {
        self.begin(request).await.unwrap().whole().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Whole {
        self.send(self.request("GET", path).body(whole("")).unwrap()).await
    }

    pub fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder().method(method).uri(path).header(HOST, self.http().to_string())
    }
}

/// An answer whose head has come.
pub struct Begun {
    pub answer: Response<Incoming>,
    _connection: Abort,
}

struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Begun {
    pub async fn whole(self) -> Result<Whole, hyper::Error> {
        let (head, body) = self.answer.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("the answer did not end")?;
        Ok(Whole { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    }

    /// The next part of the body; `None` at its end.
    pub async fn part(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        let frame = tokio::time::timeout(PATIENCE, self.answer.body_mut().frame()).await.expect("no part came");
        frame.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
    }
}
