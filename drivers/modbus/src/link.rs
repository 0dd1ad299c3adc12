//! One connection to a server: one request at a time, each answered or given up in time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ledge_sdk::clock;
use ledge_sdk::tcp::TcpStream;

use crate::config::Settings;
use crate::frame::{Decoder, Frame};
use crate::pauses::Pauses;
use crate::pdu::{Answer, Request};
use crate::trouble::Trouble;

pub struct Link {
    server: SocketAddr,
    open: Option<Open>,
    pub pauses: Pauses,
    transaction: u16,
    /// Why there is no connection.
    why: String,
}

struct Open {
    stream: TcpStream,
    decoder: Decoder,
    /// Whether anything was answered on it.
    has_answered: bool,
    /// Whether a request may have been sent in part.
    is_sending: bool,
    /// Requests without an answer since the last one that had one.
    silent: u32,
    /// When it was made, or the last answer came.
    heard_at: Duration,
}

/// Whether a request may be sent again on a new connection, where nobody knows whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// To read twice changes nothing, and to write the same value twice is to write it once.
    IfClosed,
    /// What starts something starts it twice.
    Never,
}

/// Requests without an answer before the connection is made anew: the server may be gone without a word.
const SILENT_MAX: u32 = 3;
/// A connection that was heard so lately is not one that the server has closed for being idle.
const FRESH: Duration = Duration::from_secs(1);
/// Answers of earlier requests that may come before the one that is waited for.
const STRAY_MAX: u32 = 16;
/// The longest frame.
const FRAME_BYTES_MAX: usize = 260;

impl Link {
    pub fn new(server: SocketAddr) -> Self {
        let why = "it was not tried yet".into();
        Self { server, open: None, pauses: Pauses::default(), transaction: 0, why }
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub fn is_fresh(&self) -> bool {
        self.open.as_ref().is_some_and(|open| clock::now().saturating_sub(open.heard_at) < FRESH)
    }

    pub fn not_connected(&self) -> Trouble {
        Trouble::NotConnected(self.why.clone())
    }

    pub async fn connect(&mut self, settings: &Settings) -> Result<(), Trouble> {
        self.open = None;
        let connected = match clock::timeout(settings.timeout, TcpStream::connect(self.server)).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(late) => Err(format!("the server did not take it within {} ms", late.after.as_millis())),
        };
        match connected {
            Ok(stream) => {
                self.pauses.connected();
                let decoder = Decoder::default();
                self.open = Some(Open { stream, decoder, has_answered: false, is_sending: false, silent: 0, heard_at: clock::now() });
                Ok(())
            }
            Err(why) => {
                self.why = why.clone();
                self.pauses.refused(settings, clock::now());
                Err(Trouble::NotConnected(why))
            }
        }
    }

    /// Asks once, and once more on a new connection where the old one, which had worked, turns out to be closed: servers close what
    /// is idle.
    pub async fn exchange(&mut self, unit: u8, request: &Request, repeat: Repeat, settings: &Settings) -> Result<Answer, Trouble> {
        let had_worked = self.open.as_ref().is_some_and(|open| open.has_answered);
        match self.exchange_once(unit, request, settings).await {
            Err(Trouble::Closed(_)) if had_worked && repeat == Repeat::IfClosed => {
                self.connect(settings).await?;
                self.exchange_once(unit, request, settings).await
            }
            exchanged => exchanged,
        }
    }

    async fn exchange_once(&mut self, unit: u8, request: &Request, settings: &Settings) -> Result<Answer, Trouble> {
        self.transaction = self.transaction.wrapping_add(1);
        let asked = Frame { transaction: self.transaction, unit, pdu: request.encode() };
        let Some(open) = &mut self.open else { return Err(self.not_connected()) };
        let answered = match clock::timeout(settings.timeout, open.exchange(&asked)).await {
            Ok(answered) => answered,
            Err(late) => Err(Trouble::Timeout(late.after)),
        };
        let is_lost = match &answered {
            Ok(_) => {
                (open.has_answered, open.silent, open.heard_at) = (true, 0, clock::now());
                self.pauses.answered(unit);
                false
            }
            Err(Trouble::Timeout(_)) => {
                open.silent += 1;
                open.is_sending || open.silent >= SILENT_MAX || open.decoder.is_within_a_frame()
            }
            Err(Trouble::OtherUnit(_)) => false,
            Err(_) => true,
        };
        if is_lost {
            self.close(unit, settings);
        }
        request.answer(&answered?).map_err(Trouble::BadAnswer)
    }

    /// A connection that was of no use is not made again at once for the unit that broke it. The others have nothing to do with it.
    fn close(&mut self, unit: u8, settings: &Settings) {
        let has_answered = self.open.take().is_some_and(|open| open.has_answered);
        if !has_answered {
            self.pauses.broke(unit, settings, clock::now());
        }
        self.why = "the last one broke".into();
    }
}

impl Open {
    /// The PDU of the answer. Answers of earlier requests, which were given up, are passed over.
    async fn exchange(&mut self, asked: &Frame) -> Result<Vec<u8>, Trouble> {
        self.is_sending = true;
        self.stream.write_all(&asked.encode()).await.map_err(closed)?;
        self.is_sending = false;
        let mut strays = 0;
        loop {
            let frame = self.frame().await?;
            if frame.transaction == asked.transaction {
                return if frame.unit == asked.unit { Ok(frame.pdu) } else { Err(Trouble::OtherUnit(frame.unit)) };
            }
            strays += 1;
            if strays > STRAY_MAX {
                return Err(Trouble::Flood(strays));
            }
        }
    }

    async fn frame(&mut self) -> Result<Frame, Trouble> {
        loop {
            if let Some(frame) = self.decoder.next().map_err(Trouble::BadFrame)? {
                return Ok(frame);
            }
            let mut bytes = [0; FRAME_BYTES_MAX];
            let length = self.stream.read(&mut bytes).await.map_err(closed)?;
            if length == 0 {
                return Err(Trouble::Closed("the server closed it".into()));
            }
            self.decoder.push(&bytes[..length]);
        }
    }
}

fn closed(error: io::Error) -> Trouble {
    Trouble::Closed(error.to_string())
}
