//! Clients that send bytes, whatever they are, from whichever address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderName};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use ledge::cli::client::Answer;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TestGateway;

/// Longer than the longest time that the gateway gives anybody (15 s), and its end (1 s), on a busy machine.
const END_TIMEOUT: Duration = Duration::from_secs(40);

/// One of many addresses of this machine.
pub fn address(at: usize) -> IpAddr {
    let [.., high, low] = u32::try_from(at).unwrap().to_be_bytes();
    Ipv4Addr::new(127, 1, high, low).into()
}

pub async fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    // What is not read waits with the gateway and not here.
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    socket.connect(to).await.unwrap()
}

pub async fn connect_tls(gw: &TestGateway, from: IpAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let tls = TlsConnector::from(ledge::tls::client_config(&gw.gateway.fingerprint).unwrap());
    tls.connect(ServerName::try_from("localhost").unwrap(), connect(from, gw.gateway.address).await).await
}

/// HTTP from an address, on one connection as long as that stays.
pub struct Http<'gw> {
    gw: &'gw TestGateway,
    from: IpAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl<'gw> Http<'gw> {
    pub async fn connect(gw: &'gw TestGateway, from: IpAddr) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(connect_tls(gw, from).await.unwrap())).await.unwrap();
        // It ends with the sender.
        tokio::spawn(connection);
        Self { gw, from, sender }
    }

    pub async fn send(&mut self, method: Method, path: &str, headers: &[(HeaderName, &str)], body: String) -> Answer {
        // A connection that was silent for long is closed by the gateway.
        if self.sender.ready().await.is_err() {
            *self = Self::connect(self.gw, self.from).await;
        }
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let response = self.sender.send_request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }
}

/// What is only written may wait in the client.
pub async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    stream.write_all(bytes.as_ref()).await?;
    stream.flush().await
}

/// Sends everything, and gives what comes until the gateway closes the connection.
pub async fn exchange(stream: impl AsyncRead + AsyncWrite, bytes: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut said = Vec::new();
    let send = async {
        // A gateway that has closed is not told the rest.
        let _ = writer.write_all(bytes).await;
        let _ = writer.flush().await;
        std::future::pending::<()>().await;
    };
    let receive = async {
        let mut part = [0; 4_096];
        while let Ok(count @ 1..) = reader.read(&mut part).await {
            said.extend_from_slice(&part[..count]);
        }
    };
    let both = async {
        tokio::select! {
            () = send => {}
            () = receive => {}
        }
    };
    let ended = tokio::time::timeout(END_TIMEOUT, both).await;
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
    ended.unwrap_or_else(|_| panic!("the connection of a client that sent {shown:?} is still open"));
    said
}

/// The statuses of the answers among these bytes.
pub fn statuses(said: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(said);
    let answers = text.split("HTTP/1.1 ").skip(1);
    answers.map(|answer| answer.get(..3).and_then(|status| status.parse().ok()).expect("a status")).collect()
}

/// The first answer on a connection that stays open: its status, its headers in lower case, and its body if it has a length.
pub async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u16, String, String)> {
    let mut said = Vec::new();
    let mut part = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&said);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some((head.get(9..12)?.parse().ok()?, head, body.to_owned()));
            }
        }
        match tokio::time::timeout(END_TIMEOUT, stream.read(&mut part)).await.expect("no answer came") {
            Ok(count @ 1..) => said.extend_from_slice(&part[..count]),
            _ => return None,
        }
    }
}
