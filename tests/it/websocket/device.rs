//! A device that speaks the protocol, over a WebSocket client that is not ours.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::{ECHO, PATIENCE};

/// The driver's own port, on a loopback address that no other test has.
pub fn address() -> SocketAddr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let [low, high, ..] = std::process::id().to_le_bytes();
    SocketAddr::new(Ipv4Addr::new(127, 64 | (high & 63), low, LAST.fetch_add(1, Ordering::Relaxed) + 1).into(), 17_682)
}

/// Connects as soon as somebody listens there.
pub async fn connect(address: SocketAddr) -> TcpStream {
    connect_from(Ipv4Addr::LOCALHOST.into(), address).await
}

pub async fn connect_from(source: IpAddr, address: SocketAddr) -> TcpStream {
    let began = Instant::now();
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        match socket.connect(address).await {
            Ok(stream) => return stream,
            Err(error) if began.elapsed() > PATIENCE => panic!("nobody listens on {address}: {error}"),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

pub struct Device<S = TcpStream> {
    pub socket: WebSocketStream<S>,
    last_id: u32,
}

impl Device {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(connect(address).await).await
    }

    /// Connected, and online under this name.
    pub async fn online(address: SocketAddr, name: &str) -> Self {
        let mut device = Self::connect(address).await;
        assert_eq!(device.bring_online(name).await["code"], 0);
        device
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Device<S> {
    pub async fn over(stream: S) -> Self {
        let (socket, _) = client_async("ws://gateway/", stream).await.unwrap();
        Self { socket, last_id: 100 }
    }

    pub async fn bring_online(&mut self, name: &str) -> Json {
        self.request("onlineDevice", name, json!({})).await
    }

    /// Asks, and gives the reply, which has to be to this request.
    pub async fn request(&mut self, method: &str, name: &str, more: Json) -> Json {
        let id = self.ask(method, name, more).await;
        let reply = self.next().await;
        assert_eq!(reply["messageId"], id, "{reply}");
        reply
    }

    /// Asks without waiting for the reply, and gives the message's id.
    pub async fn ask(&mut self, method: &str, name: &str, more: Json) -> u32 {
        let mut payload = json!({"productKey": ECHO, "deviceName": name});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.last_id += 1;
        self.say(&json!({"version": "1.0", "method": method, "messageId": self.last_id, "payload": payload}).to_string()).await;
        self.last_id
    }

    pub async fn report(&mut self, name: &str, properties: Json) -> Json {
        self.request("reportProperty", name, json!({"properties": properties})).await
    }

    pub async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Replies to the gateway's next request as `answer` says, and gives the request.
    pub async fn reply(&mut self, answer: impl FnOnce(&Json) -> Json) -> Json {
        let request = self.next().await;
        let mut reply = answer(&request);
        if reply["messageId"].is_null() {
            reply["messageId"] = request["messageId"].clone();
        }
        self.say(&reply.to_string()).await;
        request
    }

    /// The next message that is no ping.
    pub async fn next(&mut self) -> Json {
        match self.receive().await {
            Ok(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("no message came, but {other:?}"),
        }
    }

    /// The code of the close frame that comes next.
    pub async fn closed(&mut self) -> u16 {
        match self.receive().await {
            Ok(Message::Close(Some(frame))) => frame.code.into(),
            other => panic!("it was not closed: {other:?}"),
        }
    }

    /// Says nonsense again and again, and gives the code of the close frame that ends it.
    pub async fn talks_until_closed(&mut self) -> u16 {
        loop {
            self.say("not JSON").await;
            match self.receive().await {
                Ok(Message::Text(_)) => {}
                Ok(Message::Close(Some(frame))) => return frame.code.into(),
                other => panic!("it was not closed: {other:?}"),
            }
        }
    }

    async fn receive(&mut self) -> Result<Message, Error> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("nothing came");
            match next.expect("the connection is gone") {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                other => return other,
            }
        }
    }
}

/// Sends bytes, and gives all that comes back until the end.
pub async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).await.unwrap();
    rest(stream).await
}

/// All that comes until the end.
pub async fn rest(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut all = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it was not closed");
    // A peer that is cut off in the middle of sending sees that.
    let _ = read;
    all
}
