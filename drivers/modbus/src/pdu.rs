//! Requests and answers, without the header: a function code and what belongs to it.
//!
//! An answer is held against its request: code, count of bytes, and what a write has to repeat.

use std::fmt;

/// One request. Addresses are those of the protocol, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// 1: coils, 2000 at most.
    ReadCoils { start: u16, count: u16 },
    /// 2: discrete inputs, 2000 at most.
    ReadDiscrete { start: u16, count: u16 },
    /// 3: holding registers, 125 at most.
    ReadHolding { start: u16, count: u16 },
    /// 4: input registers, 125 at most.
    ReadInput { start: u16, count: u16 },
    /// 5
    WriteCoil { address: u16, on: bool },
    /// 6
    WriteRegister { address: u16, value: u16 },
    /// 15: 1968 at most.
    WriteCoils { start: u16, values: Vec<bool> },
    /// 16: 123 at most.
    WriteRegisters { start: u16, values: Vec<u16> },
    /// 22: what is there, with the bits of `and` kept and then those of `or` where `and` has none.
    MaskRegister { address: u16, and: u16, or: u16 },
    /// 23: writes 121 registers at most, then reads the same.
    WriteAndRead { start: u16, values: Vec<u16> },
}

/// What an answer has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Bits(Vec<bool>),
    Registers(Vec<u16>),
    Written,
}

/// An answer that brings nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// The device refuses, with this code.
    Exception(u8),
    /// It is not an answer to this request, and why.
    Malformed(String),
}

/// Illegal data address: something of what was asked for is not there.
pub const ILLEGAL_ADDRESS: u8 = 2;
/// Illegal data value.
pub const ILLEGAL_VALUE: u8 = 3;
/// A server in front of the device has no path to it, or no answer from it.
pub const NO_PATH: [u8; 2] = [0x0a, 0x0b];

pub const READ_REGISTERS_MAX: u16 = 125;
pub const READ_BITS_MAX: u16 = 2_000;
pub const WRITE_REGISTERS_MAX: usize = 123;
pub const WRITE_AND_READ_REGISTERS_MAX: usize = 121;
pub const WRITE_BITS_MAX: usize = 1_968;
const ON: u16 = 0xff00;

impl Request {
    pub fn code(&self) -> u8 {
        match self {
            Self::ReadCoils { .. } => 1,
            Self::ReadDiscrete { .. } => 2,
            Self::ReadHolding { .. } => 3,
            Self::ReadInput { .. } => 4,
            Self::WriteCoil { .. } => 5,
            Self::WriteRegister { .. } => 6,
            Self::WriteCoils { .. } => 15,
            Self::WriteRegisters { .. } => 16,
            Self::MaskRegister { .. } => 22,
            Self::WriteAndRead { .. } => 23,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let words = |words: &[u16]| [&[self.code()][..], &bytes_of(words)].concat();
        match self {
            Self::ReadCoils { start, count }
            | Self::ReadDiscrete { start, count }
            | Self::ReadHolding { start, count }
            | Self::ReadInput { start, count } => words(&[*start, *count]),
            Self::WriteCoil { address, on } => words(&[*address, if *on { ON } else { 0 }]),
            Self::WriteRegister { address, value } => words(&[*address, *value]),
            Self::MaskRegister { address, and, or } => words(&[*address, *and, *or]),
            Self::WriteCoils { start, values } => counted(words(&[*start, values.len() as u16]), &packed(values)),
            Self::WriteRegisters { start, values } => counted(words(&[*start, values.len() as u16]), &bytes_of(values)),
            Self::WriteAndRead { start, values } => {
                let count = values.len() as u16;
                counted(words(&[*start, count, *start, count]), &bytes_of(values))
            }
        }
    }

    /// What a PDU says as an answer to this request.
    pub fn answer(&self, pdu: &[u8]) -> Result<Answer, BadAnswer> {
        let malformed = |what: String| Err(BadAnswer::Malformed(what));
        let Some((&code, body)) = pdu.split_first() else { return malformed("it is empty".into()) };
        if code == self.code() | 0x80 {
            return match body {
                [exception] => Err(BadAnswer::Exception(*exception)),
                _ => malformed(format!("it refuses with {} bytes in place of one", body.len())),
            };
        }
        if code != self.code() {
            return malformed(format!("it is of function {code}, not {}", self.code()));
        }
        match self {
            Self::ReadCoils { count, .. } | Self::ReadDiscrete { count, .. } => {
                let bytes = counted_bytes(body, usize::from(count.div_ceil(8)))?;
                Ok(Answer::Bits((0..usize::from(*count)).map(|at| bytes[at / 8] >> (at % 8) & 1 == 1).collect()))
            }
            Self::ReadHolding { count, .. } | Self::ReadInput { count, .. } => registers(body, usize::from(*count)),
            Self::WriteAndRead { values, .. } => registers(body, values.len()),
            // Those of one value repeat the request, the others only where and how many.
            Self::WriteCoil { .. } | Self::WriteRegister { .. } | Self::MaskRegister { .. } => self.repeated(body, usize::MAX),
            Self::WriteCoils { .. } | Self::WriteRegisters { .. } => self.repeated(body, 4),
        }
    }

    fn repeated(&self, body: &[u8], bytes_max: usize) -> Result<Answer, BadAnswer> {
        let own = self.encode();
        let own = &own[1..own.len().min(bytes_max.saturating_add(1))];
        if body == own {
            return Ok(Answer::Written);
        }
        Err(BadAnswer::Malformed(format!("it confirms {} in place of {}", hex(body), hex(own))))
    }
}

fn bytes_of(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The first value is the lowest bit of the first byte.
fn packed(values: &[bool]) -> Vec<u8> {
    values.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
}

fn counted(mut head: Vec<u8>, bytes: &[u8]) -> Vec<u8> {
    // No request has more than 246.
    head.push(bytes.len() as u8);
    head.extend(bytes);
    head
}

fn counted_bytes(body: &[u8], expected: usize) -> Result<&[u8], BadAnswer> {
    match body.split_first() {
        Some((&count, bytes)) if usize::from(count) == expected && bytes.len() == expected => Ok(bytes),
        Some((count, bytes)) => {
            Err(BadAnswer::Malformed(format!("it says that {count} bytes follow and has {} of them; expected {expected}", bytes.len())))
        }
        None => Err(BadAnswer::Malformed(format!("it has no bytes; expected {expected}"))),
    }
}

fn registers(body: &[u8], count: usize) -> Result<Answer, BadAnswer> {
    let bytes = counted_bytes(body, count * 2)?;
    Ok(Answer::Registers(bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()))
}

fn hex(bytes: &[u8]) -> String {
    // It may be as long as a frame; who reads it needs the beginning.
    const SHOWN_BYTES: usize = 8;
    bytes.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// What the protocol calls an exception.
pub fn exception_name(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        ILLEGAL_ADDRESS => "illegal data address",
        ILLEGAL_VALUE => "illegal data value",
        4 => "server device failure",
        5 => "acknowledge",
        6 => "server device busy",
        7 => "negative acknowledge",
        8 => "memory parity error",
        0x0a => "gateway path unavailable",
        0x0b => "gateway target device failed to respond",
        _ => "an exception of its own",
    }
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exception(code) => write!(f, "exception {code}, {}", exception_name(*code)),
            Self::Malformed(what) => write!(f, "no answer to what was asked: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the protocol's specification, chapter 6.
    #[test]
    fn requests_and_answers_are_those_of_the_specification() {
        let coils = Request::ReadCoils { start: 0x13, count: 19 };
        assert_eq!(coils.encode(), [1, 0, 0x13, 0, 0x13]);
        let Ok(Answer::Bits(bits)) = coils.answer(&[1, 3, 0xcd, 0x6b, 0x05]) else { panic!("no bits") };
        assert_eq!(bits[..8], [true, false, true, true, false, false, true, true]);
        assert_eq!(bits.len(), 19);
        let holding = Request::ReadHolding { start: 0x6b, count: 3 };
        assert_eq!(holding.encode(), [3, 0, 0x6b, 0, 3]);
        assert_eq!(holding.answer(&[3, 6, 0x02, 0x2b, 0, 0, 0, 0x64]), Ok(Answer::Registers(vec![0x022b, 0, 0x64])));
        assert_eq!(Request::WriteCoil { address: 0xac, on: true }.encode(), [5, 0, 0xac, 0xff, 0]);
        let coils = [true, false, true, true, false, false, true, true, true, false];
        assert_eq!(Request::WriteCoils { start: 0x13, values: coils.into() }.encode(), [15, 0, 0x13, 0, 0x0a, 2, 0xcd, 0x01]);
        assert_eq!(Request::WriteRegisters { start: 1, values: vec![10, 0x0102] }.encode(), [16, 0, 1, 0, 2, 4, 0, 10, 1, 2]);
        assert_eq!(Request::MaskRegister { address: 4, and: 0xf2, or: 0x25 }.encode(), [22, 0, 4, 0, 0xf2, 0, 0x25]);
        assert_eq!(Request::WriteAndRead { start: 14, values: vec![255] }.encode(), [23, 0, 14, 0, 1, 0, 14, 0, 1, 2, 0, 255]);
    }

    #[test]
    fn an_answer_to_something_else_is_refused() {
        let read = Request::ReadHolding { start: 0, count: 2 };
        for (pdu, why) in [
            (&[4, 4, 0, 1, 0, 2][..], "function 4, not 3"),
            (&[3, 2, 0, 1], "expected 4"),
            (&[3, 4, 0, 1, 0], "has 3 of them"),
            (&[3, 4, 0, 1, 0, 2, 0], "has 5 of them"),
            (&[3], "no bytes"),
            (&[], "empty"),
            (&[0x83], "0 bytes in place of one"),
        ] {
            let Err(BadAnswer::Malformed(what)) = read.answer(pdu) else { panic!("{pdu:?} was taken") };
            assert!(what.contains(why), "{what}");
        }
        assert_eq!(read.answer(&[0x83, 2]), Err(BadAnswer::Exception(2)));
    }

    #[test]
    fn a_write_is_done_only_if_it_is_confirmed() {
        let one = Request::WriteRegister { address: 1, value: 3 };
        assert_eq!(one.answer(&[6, 0, 1, 0, 3]), Ok(Answer::Written));
        assert!(one.answer(&[6, 0, 1, 0, 4]).is_err());
        let many = Request::WriteRegisters { start: 1, values: vec![3, 4] };
        assert_eq!(many.answer(&[16, 0, 1, 0, 2]), Ok(Answer::Written));
        assert!(many.answer(&[16, 0, 1, 0, 3]).is_err());
        assert!(many.answer(&[16, 0, 1, 0, 2, 0]).is_err());
        let coils = Request::WriteCoils { start: 1, values: vec![true] };
        assert_eq!(coils.answer(&[15, 0, 1, 0, 1]), Ok(Answer::Written));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_are_refused(pdu in proptest::collection::vec(0_u8.., 0..254), count in 1_u16..=125) {
            let _ = Request::ReadCoils { start: 0, count }.answer(&pdu);
            let _ = Request::WriteCoils { start: 0, values: vec![true; usize::from(count)] }.answer(&pdu);
            let _ = Request::MaskRegister { address: 0, and: 1, or: count }.answer(&pdu);
            if let Ok(Answer::Registers(registers)) = (Request::ReadHolding { start: 0, count }).answer(&pdu) {
                assert_eq!(registers.len(), usize::from(count));
            }
        }
    }
}
