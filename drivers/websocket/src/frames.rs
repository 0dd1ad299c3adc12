//! WebSocket without sockets: bytes in, events out, and bytes to send.
//!
//! The framing is tungstenite's, over two buffers. Nothing here waits, and no length that a peer claims is believed before it was checked.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tungstenite::Error;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

/// The longest message, and the longest frame of one.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// The longest HTTP request that opens a connection.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// The longest reason that a close frame can carry.
const REASON_BYTES_MAX: usize = 123;

pub struct Frames {
    state: State,
    wire: Wire,
    /// What is answered in place of an opened connection.
    refusal: Option<String>,
    /// The web pages that may connect.
    origins: Rc<[String]>,
}

enum State {
    /// Before the HTTP request is complete, with what there is of it.
    Opening(Vec<u8>),
    Open(Box<WebSocketContext>),
    /// What still comes is thrown away.
    Over,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Opened,
    Text(String),
    /// A ping or a pong: a sign of life, and already answered.
    Alive,
    /// There is nothing more to come; why, for people. What is to be sent last is there.
    Ended(String),
}

/// Why a connection is closed from this side, as its peer is told (RFC 6455, 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    Protocol,
    NotText,
    NotUtf8,
    Policy,
    TooLong,
    /// Somebody else needs its place.
    Full,
    /// Another connection has taken over its devices.
    TakenOver,
}

impl Close {
    fn code(self) -> CloseCode {
        match self {
            Self::Protocol => CloseCode::Protocol,
            Self::NotText => CloseCode::Unsupported,
            Self::NotUtf8 => CloseCode::Invalid,
            Self::Policy => CloseCode::Policy,
            Self::TooLong => CloseCode::Size,
            Self::Full => CloseCode::Again,
            Self::TakenOver => CloseCode::Library(4001),
        }
    }
}

impl Frames {
    /// For a connection that is refused with these words, if there are some. `origins`: the web pages that may connect.
    pub fn new(refusal: Option<String>, origins: Rc<[String]>) -> Self {
        Self { state: State::Opening(Vec::new()), wire: Wire::default(), refusal, origins }
    }

    pub fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening(_))
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Takes what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Opening(request) => request.extend_from_slice(bytes),
            State::Open(_) => self.wire.incoming.extend_from_slice(bytes),
            State::Over => {}
        }
    }

    /// What came, one after another, until there is nothing whole left.
    pub fn next(&mut self) -> Option<Event> {
        match &mut self.state {
            State::Opening(_) => self.open(),
            State::Open(context) => match context.read(&mut self.wire) {
                Ok(Message::Text(text)) => Some(Event::Text(text.as_str().to_owned())),
                Ok(Message::Binary(_)) => Some(self.fail(Close::NotText, "only text messages are understood")),
                Ok(Message::Ping(_) | Message::Pong(_)) => {
                    // The answer to a ping goes out with this.
                    let _ = context.flush(&mut self.wire);
                    Some(Event::Alive)
                }
                Ok(Message::Close(frame)) => {
                    let _ = context.flush(&mut self.wire);
                    self.state = State::Over;
                    Some(Event::Ended(frame.map_or_else(|| "it closed".to_owned(), |frame| format!("it closed: {frame}"))))
                }
                Ok(Message::Frame(_)) => None,
                Err(error) => self.failed(&error),
            },
            State::Over => None,
        }
    }

    fn open(&mut self) -> Option<Event> {
        let State::Opening(bytes) = &mut self.state else { return None };
        let parsed = Request::try_parse(bytes);
        let request = match parsed {
            Ok(None) if bytes.len() <= REQUEST_BYTES_MAX => return None,
            Ok(Some((length, request))) if length <= REQUEST_BYTES_MAX => {
                let rest = bytes.split_off(length);
                let stranger = stranger(&request, &self.origins);
                create_response(&request).map(|response| (response, rest, stranger))
            }
            Ok(_) => {
                let why = format!("the request is too long: it may have {REQUEST_BYTES_MAX} bytes");
                return Some(self.refuse("431 Request Header Fields Too Large", &why));
            }
            Err(error) => Err(error),
        };
        let (response, rest, stranger) = match request {
            Ok(opened) => opened,
            Err(error) => {
                let why = format!("this is the WebSocket of a gateway's devices, and the request opens none: {error}");
                return Some(self.refuse("400 Bad Request", &why));
            }
        };
        if let Some(origin) = stranger {
            let why = format!("a web page of {origin} may not connect; if it is to, add its origin to the driver's setting `origins`");
            return Some(self.refuse("403 Forbidden", &why));
        }
        if let Some(refusal) = self.refusal.take() {
            return Some(self.refuse("503 Service Unavailable", &refusal));
        }
        write_response(&mut self.wire.outgoing, &response).ok()?;
        self.state = State::Open(Box::new(WebSocketContext::from_partially_read(rest, Role::Server, Some(config()))));
        Some(Event::Opened)
    }

    fn refuse(&mut self, status: &str, why: &str) -> Event {
        let length = why.len() + 1;
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        self.wire.outgoing.extend_from_slice(format!("{head}{why}\n").as_bytes());
        self.state = State::Over;
        Event::Ended(why.to_owned())
    }

    fn failed(&mut self, error: &Error) -> Option<Event> {
        match error {
            Error::Io(error) if error.kind() == ErrorKind::WouldBlock => None,
            Error::Capacity(_) => Some(self.fail(Close::TooLong, &format!("a message has {MESSAGE_BYTES_MAX} bytes at most"))),
            Error::Utf8(_) => Some(self.fail(Close::NotUtf8, "the text is not UTF-8")),
            error => Some(self.fail(Close::Protocol, &error.to_string())),
        }
    }

    fn fail(&mut self, close: Close, why: &str) -> Event {
        self.close(close, why);
        Event::Ended(why.to_owned())
    }

    /// Tells the peer goodbye, and listens no more. Nothing if it is over already.
    pub fn close(&mut self, close: Close, reason: &str) {
        if let State::Open(context) = &mut self.state {
            let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
            // Into a buffer: it can only fail where the peer has said goodbye too, and then that is answered.
            let _ = context.close(&mut self.wire, Some(CloseFrame { code: close.code(), reason: reason.into() }));
        }
        self.state = State::Over;
    }

    /// Listens no more, and says nothing about it.
    pub fn end(&mut self) {
        self.state = State::Over;
    }

    /// Nothing if it is not open.
    pub fn send(&mut self, text: String) {
        self.write(Message::text(text));
    }

    pub fn ping(&mut self) {
        self.write(Message::Ping(Default::default()));
    }

    fn write(&mut self, message: Message) {
        if let State::Open(context) = &mut self.state {
            // Into a buffer, whose length the caller looks at.
            let _ = context.write(&mut self.wire, message);
        }
    }

    /// Bytes that nobody has taken yet.
    pub fn waiting(&self) -> usize {
        self.wire.outgoing.len()
    }

    /// What is to be sent.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire.outgoing)
    }
}

/// The `Origin` of a request, as people read it, if it has one that is not among these. Browsers always send it: whatever page somebody near
/// the gateway has open could speak to it else. Some clients of devices send the address that they connect to; a page of that origin would
/// be this driver's own. Only as an IP address: a name may be somebody's who lets it lead here.
fn stranger(request: &Request, origins: &[String]) -> Option<String> {
    const SHOWN_BYTES: usize = 100;
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).filter(|host| is_address(host));
    let own = host.map(|host| [format!("http://{host}"), format!("https://{host}")]);
    let is_own = |origin: &[u8]| own.iter().flatten().any(|own| own.as_bytes() == origin);
    let is_known = |origin: &[u8]| is_own(origin) || origins.iter().any(|known| known.as_bytes() == origin);
    let stranger = request.headers().get_all("origin").iter().map(|origin| origin.as_bytes()).find(|origin| !is_known(origin))?;
    Some(format!("`{}`", stranger[..stranger.len().min(SHOWN_BYTES)].escape_ascii()))
}

fn is_address(host: &str) -> bool {
    host.parse::<SocketAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// What tungstenite takes for a socket.
#[derive(Default)]
struct Wire {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = buffer.len().min(self.incoming.len());
        buffer[..length].copy_from_slice(&self.incoming[..length]);
        self.incoming.drain(..length);
        Ok(length)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
