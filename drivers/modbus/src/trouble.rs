//! Why a request brought nothing, and which fault whoever asked is told.

use std::fmt;
use std::time::Duration;

use ledge_sdk::Fault;

use crate::frame::BadFrame;
use crate::pdu::{BadAnswer, ILLEGAL_VALUE, NO_PATH};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no connection, and why.
    NotConnected(String),
    /// It was closed before the answer came, and how.
    Closed(String),
    Timeout(Duration),
    BadFrame(BadFrame),
    /// Somebody else's answer to this request.
    OtherUnit(u8),
    /// So many frames that nobody had asked for.
    Flood(u32),
    BadAnswer(BadAnswer),
}

/// `le_error.h` 109012 (EXCEPTION_CODE): the device answered with an exception.
const EXCEPTION_CODE: u32 = 109_012;
/// `le_error.h` 109016 (DECODE): what the device answered is no answer.
const DECODE: u32 = 109_016;

impl Trouble {
    /// Whether the device itself has answered: it is there, and does not want to.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::BadAnswer(BadAnswer::Exception(code)) if !NO_PATH.contains(code))
    }

    pub fn exception(&self) -> Option<u8> {
        match self {
            Self::BadAnswer(BadAnswer::Exception(code)) => Some(*code),
            _ => None,
        }
    }

    /// The fault for whoever asked; `about` is the device, or what was asked of it.
    pub fn fault(&self, about: impl fmt::Display) -> Fault {
        let code = match self {
            Self::NotConnected(_) | Self::Closed(_) => Fault::SERVICE_UNREACHABLE,
            Self::Timeout(_) => Fault::TIMEOUT,
            Self::BadAnswer(BadAnswer::Exception(code)) if NO_PATH.contains(code) => Fault::SERVICE_UNREACHABLE,
            Self::BadAnswer(BadAnswer::Exception(ILLEGAL_VALUE)) => Fault::PARAM_RANGE_OVERFLOW,
            Self::BadAnswer(BadAnswer::Exception(_)) => EXCEPTION_CODE,
            Self::BadFrame(_) | Self::OtherUnit(_) | Self::Flood(_) | Self::BadAnswer(BadAnswer::Malformed(_)) => DECODE,
        };
        Fault::new(code, format!("{about}: {self}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(why) => write!(f, "no connection: {why}"),
            Self::Closed(how) => write!(f, "the connection broke before the answer: {how}"),
            Self::Timeout(after) => write!(f, "no answer within {} ms", after.as_millis()),
            Self::BadFrame(bad) => bad.fmt(f),
            Self::OtherUnit(unit) => write!(f, "no answer to what was asked: it is of unit {unit}"),
            Self::Flood(frames) => write!(f, "no answer to what was asked, but {frames} others"),
            Self::BadAnswer(bad) => bad.fmt(f),
        }
    }
}
