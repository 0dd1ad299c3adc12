//! Frames of Modbus TCP: a header of seven bytes (MBAP) before each PDU.
//!
//! A frame is 260 bytes at most, and nothing is kept for one that says it is longer.

use std::fmt;

/// One frame: whose answer it is, from which unit, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The request's number, which its answer repeats.
    pub transaction: u16,
    /// The device behind the server.
    pub unit: u8,
    /// The function code and what belongs to it; never empty.
    pub pdu: Vec<u8>,
}

/// What came is no frame; where the next one begins, nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// The protocol identifier of Modbus is 0.
    Protocol(u16),
    /// Unit and PDU have 2 to 254 bytes together.
    Length(u16),
}

/// Takes bytes as they come, and gives frames.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

const HEADER_BYTES: usize = 7;
/// What the header's length counts: the unit and the PDU.
const LENGTHS: std::ops::RangeInclusive<u16> = 2..=254;

impl Frame {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.pdu.len());
        bytes.extend(self.transaction.to_be_bytes());
        bytes.extend([0, 0]);
        // No request of `pdu` comes near 64 KiB.
        bytes.extend((self.pdu.len() as u16 + 1).to_be_bytes());
        bytes.push(self.unit);
        bytes.extend(&self.pdu);
        bytes
    }
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// The next frame, if it is there as a whole.
    pub fn next(&mut self) -> Result<Option<Frame>, BadFrame> {
        let [t0, t1, p0, p1, l0, l1, unit] = *self.bytes.first_chunk().unwrap_or(&[0, 0, 0, 0, 0, 2, 0]);
        let (protocol, length) = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([l0, l1]));
        if protocol != 0 {
            return Err(BadFrame::Protocol(protocol));
        }
        if !LENGTHS.contains(&length) {
            return Err(BadFrame::Length(length));
        }
        let end = HEADER_BYTES - 1 + usize::from(length);
        if self.bytes.len() < end {
            return Ok(None);
        }
        let pdu = self.bytes[HEADER_BYTES..end].to_vec();
        self.bytes.drain(..end);
        Ok(Some(Frame { transaction: u16::from_be_bytes([t0, t1]), unit, pdu }))
    }

    /// Whether a frame has begun and is not there as a whole.
    pub fn is_within_a_frame(&self) -> bool {
        !self.bytes.is_empty()
    }
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(protocol) => write!(f, "no frame of Modbus TCP: its protocol identifier is {protocol}, not 0"),
            Self::Length(length) => {
                write!(f, "no frame of Modbus TCP: its length is {length}, not {} to {}", LENGTHS.start(), LENGTHS.end())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(pdu: &[u8]) -> Frame {
        Frame { transaction: 0x0102, unit: 9, pdu: pdu.into() }
    }

    #[test]
    fn a_frame_is_what_the_protocol_says() {
        assert_eq!(frame(&[3, 0, 1, 0, 2]).encode(), [1, 2, 0, 0, 0, 6, 9, 3, 0, 1, 0, 2]);
    }

    #[test]
    fn what_is_no_frame_is_named() {
        let bad = |bytes: &[u8]| {
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            decoder.next().unwrap_err()
        };
        assert_eq!(bad(&[0, 1, 0, 7, 0, 6, 1]), BadFrame::Protocol(7));
        assert_eq!(bad(&[0, 1, 0, 0, 0, 1, 1]), BadFrame::Length(1));
        assert_eq!(bad(&[0, 1, 0, 0, 0, 255, 1]), BadFrame::Length(255));
        assert_eq!(bad(b"HTTP/1.1 400"), BadFrame::Protocol(u16::from_be_bytes(*b"TP")));
    }

    proptest::proptest! {
        #[test]
        fn frames_are_found_however_they_are_cut(pdus in proptest::collection::vec(proptest::collection::vec(0_u8.., 1..=253), 0..6), cut in 1_usize..300) {
            let frames: Vec<Frame> = pdus.iter().map(|pdu| frame(pdu)).collect();
            let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            let (mut decoder, mut found) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames);
            assert!(!decoder.is_within_a_frame());
        }

        #[test]
        fn any_bytes_are_frames_or_are_refused(bytes in proptest::collection::vec(0_u8.., 0..600)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(frame)) = decoder.next() {
                assert!(!frame.pdu.is_empty() && frame.pdu.len() <= 253);
            }
        }
    }
}
