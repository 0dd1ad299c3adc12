//! How a value lies in registers: its type, its order, its bits, its scale.

/// What the registers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Float32,
    Float64,
    /// 64 bits as the digits of a text: a number of the TSL does not carry them all.
    Digits {
        is_signed: bool,
    },
    /// Two bytes a register, in UTF-8, ended by a zero byte unless it fills them.
    Text {
        registers: u16,
    },
}

/// Some bits of one register, from the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    pub offset: u8,
    pub count: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    pub kind: Kind,
    /// So many of them, one after another: an array.
    pub items: Option<u16>,
    pub bits: Option<Bits>,
    /// The low byte of each register comes first.
    pub swap_bytes: bool,
    /// The low register comes first.
    pub swap_registers: bool,
    pub scale: f64,
    pub offset: f64,
}

/// What is read, before the TSL is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    Number(f64),
    Text(String),
    List(Vec<f64>),
}

/// The first whole number that may stand for another: a double has no 2^53 + 1.
const INEXACT_FROM: f64 = 9_007_199_254_740_992.0;

impl Kind {
    pub fn registers(self) -> u16 {
        match self {
            Self::Bool | Self::Int16 | Self::Uint16 => 1,
            Self::Int32 | Self::Uint32 | Self::Float32 => 2,
            Self::Int64 | Self::Uint64 | Self::Float64 | Self::Digits { .. } => 4,
            Self::Text { registers } => registers,
        }
    }

    /// The least number that fits, and the first above that no longer does. Floats have no such bounds.
    fn bounds(self) -> Option<(f64, f64)> {
        let signed = |bits: i32| (-(2_f64.powi(bits - 1)), 2_f64.powi(bits - 1));
        Some(match self {
            Self::Bool => (0.0, 2.0),
            Self::Int16 => signed(16),
            Self::Int32 => signed(32),
            Self::Int64 => signed(64),
            Self::Uint16 => (0.0, 2_f64.powi(16)),
            Self::Uint32 => (0.0, 2_f64.powi(32)),
            Self::Uint64 => (0.0, 2_f64.powi(64)),
            Self::Float32 | Self::Float64 | Self::Digits { .. } | Self::Text { .. } => return None,
        })
    }

    /// Whether its values are texts.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Digits { .. } | Self::Text { .. })
    }
}

impl Bits {
    /// Ones where the field is.
    pub fn mask(self) -> u16 {
        (((1_u32 << self.count) - 1) << self.offset) as u16
    }
}

impl Layout {
    pub fn registers(&self) -> u16 {
        self.kind.registers().saturating_mul(self.items.unwrap_or(1))
    }

    /// The value in these registers, which are as many as it has.
    pub fn decode(&self, registers: &[u16]) -> Result<Raw, String> {
        match self.kind {
            Kind::Text { .. } => return text(self.in_order(registers)),
            Kind::Digits { is_signed } => return Ok(digits(whole(&self.in_order(registers)), is_signed)),
            _ => {}
        }
        if self.items.is_none() {
            return self.number(registers).map(Raw::Number);
        }
        let items = registers.chunks_exact(self.kind.registers().into());
        let item = |(at, registers)| self.number(registers).map_err(|wrong| format!("[{at}]: {wrong}"));
        items.enumerate().map(item).collect::<Result<_, _>>().map(Raw::List)
    }

    fn number(&self, registers: &[u16]) -> Result<f64, String> {
        let bytes = self.in_order(registers);
        let number = match self.kind {
            Kind::Digits { .. } | Kind::Text { .. } => return Err("it is a text".into()),
            Kind::Bool => f64::from(u8::from(whole(&bytes) != 0)),
            Kind::Uint16 => f64::from(self.field(whole(&bytes) as u16)),
            Kind::Int16 => f64::from(whole(&bytes) as i16),
            Kind::Uint32 => f64::from(whole(&bytes) as u32),
            Kind::Int32 => f64::from(whole(&bytes) as i32),
            Kind::Uint64 => whole(&bytes) as f64,
            Kind::Int64 => whole(&bytes) as i64 as f64,
            Kind::Float32 => f64::from(f32::from_bits(whole(&bytes) as u32)),
            Kind::Float64 => f64::from_bits(whole(&bytes)),
        };
        if !number.is_finite() {
            return Err(format!("the device has {number}, which is no number"));
        }
        Ok(self.scaled(number))
    }

    /// The registers of a value; of a bit field, its bits from the lowest.
    pub fn encode(&self, value: &Raw) -> Result<Vec<u16>, String> {
        match (value, self.kind, self.items) {
            (Raw::Text(text), Kind::Text { registers }, _) => self.text_registers(text, registers),
            (Raw::Text(text), Kind::Digits { is_signed }, _) => Ok(self.registers_of(bits_of(text, is_signed)?)),
            (Raw::Text(_), ..) => Err("a text is not written as a number".into()),
            (_, Kind::Digits { .. } | Kind::Text { .. }, _) => Err("a number is not written as a text".into()),
            (Raw::Number(number), _, None) => self.number_registers(*number),
            (Raw::List(numbers), _, Some(items)) if numbers.len() == usize::from(items) => {
                let item = |(at, number): (usize, &f64)| self.number_registers(*number).map_err(|wrong| format!("[{at}]: {wrong}"));
                Ok(numbers.iter().enumerate().map(item).collect::<Result<Vec<_>, _>>()?.concat())
            }
            (Raw::List(numbers), _, items) => {
                Err(format!("the array has {} items, and its registers hold {}", numbers.len(), items.unwrap_or(1)))
            }
            (Raw::Number(_), _, Some(items)) => Err(format!("a number is no array of {items} items")),
        }
    }

    fn number_registers(&self, value: f64) -> Result<Vec<u16>, String> {
        let number = self.unscaled(value);
        let whole_number = number.round();
        let bounds = self.bits.map(|bits| (0.0, 2_f64.powi(bits.count.into()))).or(self.kind.bounds());
        if let Some((least, beyond)) = bounds
            && !(least..beyond).contains(&whole_number)
        {
            return Err(format!("{whole_number} does not fit into the registers, which hold {least} to {}", beyond - 1.0));
        }
        if matches!(self.kind, Kind::Int64 | Kind::Uint64) && whole_number.abs() >= INEXACT_FROM {
            return Err(format!(
                "{whole_number} is beyond {}, up to which a number of the TSL is exact; the TSL's `text` carries every digit of 64 bits",
                INEXACT_FROM - 1.0
            ));
        }
        let bits = match self.kind {
            Kind::Float32 => {
                let float = number as f32;
                if !float.is_finite() {
                    return Err(format!("{number} does not fit into a float32"));
                }
                u64::from(float.to_bits())
            }
            Kind::Float64 => number.to_bits(),
            Kind::Uint64 => whole_number as u64,
            // The cast of a negative number to fewer bits is its two's complement.
            _ => whole_number as i64 as u64,
        };
        if self.bits.is_some() {
            return Ok(vec![bits as u16]);
        }
        Ok(self.registers_of(bits))
    }

    /// The lowest of these bits, as many as it has.
    fn registers_of(&self, bits: u64) -> Vec<u16> {
        let bytes = &bits.to_be_bytes()[8 - 2 * usize::from(self.kind.registers())..];
        let registers: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        self.swapped(&registers)
    }

    /// A register as it is on the wire, or the other way round.
    pub fn swapped_bytes(&self, register: u16) -> u16 {
        if self.swap_bytes { register.swap_bytes() } else { register }
    }

    fn field(&self, register: u16) -> u16 {
        self.bits.map_or(register, |bits| (register & bits.mask()) >> bits.offset)
    }

    fn swapped(&self, registers: &[u16]) -> Vec<u16> {
        let mut registers: Vec<u16> = registers.iter().map(|register| self.swapped_bytes(*register)).collect();
        if self.swap_registers {
            registers.reverse();
        }
        registers
    }

    /// The bytes from the highest to the lowest.
    fn in_order(&self, registers: &[u16]) -> Vec<u8> {
        self.swapped(registers).into_iter().flat_map(u16::to_be_bytes).collect()
    }

    fn text_registers(&self, text: &str, registers: u16) -> Result<Vec<u16>, String> {
        let (room, mut bytes) = (usize::from(registers) * 2, text.as_bytes().to_vec());
        if bytes.len() > room {
            return Err(format!("the text has {} bytes, and its registers hold {room}", bytes.len()));
        }
        if bytes.contains(&0) {
            return Err("the text has a NUL character, where the device would end it".into());
        }
        bytes.resize(room, 0);
        Ok(bytes.chunks_exact(2).map(|pair| self.swapped_bytes(u16::from_be_bytes([pair[0], pair[1]]))).collect())
    }

    fn scaled(&self, number: f64) -> f64 {
        let product = match self.divisor() {
            Some(divisor) => number / divisor,
            None => number * self.scale,
        };
        product + self.offset
    }

    fn unscaled(&self, value: f64) -> f64 {
        let difference = value - self.offset;
        match self.divisor() {
            Some(divisor) => difference * divisor,
            None => difference / self.scale,
        }
    }

    /// A scale such as 0.1 is no binary number, and what it stands for is: to divide by 10 gives 0.3, where 3 * 0.1 is 0.30000000000000004.
    fn divisor(&self) -> Option<f64> {
        let divisor = (1.0 / self.scale).round();
        (divisor != 0.0 && ((1.0 / divisor) - self.scale).abs() <= f64::EPSILON * self.scale.abs()).then_some(divisor)
    }
}

/// Eight bytes at most, the highest first.
fn whole(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn digits(bits: u64, is_signed: bool) -> Raw {
    Raw::Text(if is_signed { (bits as i64).to_string() } else { bits.to_string() })
}

/// 64 bits by their digits.
fn bits_of(text: &str, is_signed: bool) -> Result<u64, String> {
    let (bits, least, most) = match is_signed {
        true => (text.trim().parse::<i64>().map(|number| number as u64), i128::from(i64::MIN), i128::from(i64::MAX)),
        false => (text.trim().parse::<u64>(), 0, i128::from(u64::MAX)),
    };
    bits.map_err(|_| {
        const SHOWN_CHARS: usize = 40;
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        format!("`{}` is no whole number from {least} to {most}", shown.escape_debug())
    })
}

fn text(mut bytes: Vec<u8>) -> Result<Raw, String> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let text = String::from_utf8(bytes).map_err(|_| "the device has bytes that are no UTF-8 text")?;
    Ok(Raw::Text(text.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(kind: Kind) -> Layout {
        Layout { kind, items: None, bits: None, swap_bytes: false, swap_registers: false, scale: 1.0, offset: 0.0 }
    }

    fn number(layout: &Layout, registers: &[u16]) -> f64 {
        match layout.decode(registers).unwrap() {
            Raw::Number(number) => number,
            other => panic!("it is {other:?}"),
        }
    }

    const KINDS: [Kind; 9] =
        [Kind::Bool, Kind::Int16, Kind::Uint16, Kind::Int32, Kind::Uint32, Kind::Int64, Kind::Uint64, Kind::Float32, Kind::Float64];

    #[test]
    fn every_type_is_read_from_its_registers() {
        assert_eq!(number(&layout(Kind::Uint16), &[0xfffe]), 65_534.0);
        assert_eq!(number(&layout(Kind::Int16), &[0xfffe]), -2.0);
        assert_eq!(number(&layout(Kind::Uint32), &[0x0001, 0x0002]), 65_538.0);
        assert_eq!(number(&layout(Kind::Int32), &[0xffff, 0xfffe]), -2.0);
        assert_eq!(number(&layout(Kind::Int64), &[0xffff, 0xffff, 0xffff, 0xfffe]), -2.0);
        assert_eq!(number(&layout(Kind::Uint64), &[0, 1, 0, 0]), 4_294_967_296.0);
        assert_eq!(number(&layout(Kind::Float32), &[0x4148, 0]), 12.5);
        assert_eq!(number(&layout(Kind::Float64), &[0x4029, 0, 0, 0]), 12.5);
        assert_eq!(number(&layout(Kind::Bool), &[7]), 1.0);
        assert!(layout(Kind::Float32).decode(&[0x7fc0, 0]).unwrap_err().contains("no number"));
    }

    #[test]
    fn the_four_orders_of_32_bits_are_read() {
        // 0x41480000 is 12.5, as ABCD, BADC, CDAB and DCBA.
        for (swap_bytes, swap_registers, registers) in
            [(false, false, [0x4148, 0x0000]), (true, false, [0x4841, 0x0000]), (false, true, [0x0000, 0x4148]), (true, true, [0, 0x4841])]
        {
            let layout = Layout { swap_bytes, swap_registers, ..layout(Kind::Float32) };
            assert_eq!(number(&layout, &registers), 12.5, "{swap_bytes} {swap_registers}");
            assert_eq!(layout.encode(&Raw::Number(12.5)).unwrap(), registers);
        }
    }

    #[test]
    fn a_scale_in_tenths_gives_numbers_in_tenths() {
        let tenths = Layout { scale: 0.1, ..layout(Kind::Int16) };
        assert_eq!(number(&tenths, &[3]), 0.3);
        assert_eq!(tenths.encode(&Raw::Number(23.56)), Ok(vec![236]));
        let fahrenheit = Layout { scale: 1.8, offset: 32.0, ..layout(Kind::Int16) };
        assert_eq!(number(&fahrenheit, &[100]), 212.0);
        assert_eq!(fahrenheit.encode(&Raw::Number(212.0)), Ok(vec![100]));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        for (kind, value) in
            [(Kind::Int16, 32_767.5), (Kind::Uint16, -1.0), (Kind::Uint32, 4.3e9), (Kind::Int64, 9.3e18), (Kind::Float32, 1e39)]
        {
            assert!(layout(kind).encode(&Raw::Number(value)).unwrap_err().contains("does not fit"), "{kind:?}");
        }
        assert_eq!(layout(Kind::Int16).encode(&Raw::Number(-32_768.4)), Ok(vec![0x8000]));
    }

    #[test]
    fn what_a_number_of_the_tsl_cannot_tell_from_another_is_not_written_to_64_bits() {
        let exact = 9_007_199_254_740_991.0;
        assert_eq!(layout(Kind::Int64).encode(&Raw::Number(-exact)), Ok(vec![0xffe0, 0, 0, 1]));
        assert_eq!(layout(Kind::Uint64).encode(&Raw::Number(exact)), Ok(vec![0x001f, 0xffff, 0xffff, 0xffff]));
        // What was 9007199254740993 before it was a double.
        for (kind, value) in [(Kind::Int64, 9_007_199_254_740_993_i64 as f64), (Kind::Int64, -exact - 1.0), (Kind::Uint64, 1e19)] {
            let wrong = layout(kind).encode(&Raw::Number(value)).unwrap_err();
            assert!(wrong.contains("beyond 9007199254740991") && wrong.contains("`text`"), "{wrong}");
        }
        let thousands = Layout { scale: 1_000.0, ..layout(Kind::Uint64) };
        assert_eq!(thousands.encode(&Raw::Number(1e16)), Ok(vec![0, 0x0918, 0x4e72, 0xa000]));
        let thousandths = Layout { scale: 0.001, items: Some(1), ..layout(Kind::Int64) };
        assert!(thousandths.encode(&Raw::List(vec![1e13])).unwrap_err().starts_with("[0]: 10000000000000000 is beyond"));
    }

    #[test]
    fn a_text_carries_every_digit_of_64_bits() {
        let (signed, unsigned) = (layout(Kind::Digits { is_signed: true }), layout(Kind::Digits { is_signed: false }));
        for (layout, text, registers) in [
            (&signed, "9007199254740993", [0x0020, 0, 0, 1]),
            (&signed, "-9223372036854775808", [0x8000, 0, 0, 0]),
            (&signed, "-1", [0xffff; 4]),
            (&unsigned, "18446744073709551615", [0xffff; 4]),
            (&unsigned, "0", [0; 4]),
        ] {
            assert_eq!(layout.encode(&Raw::Text(text.into())), Ok(registers.to_vec()), "{text}");
            assert_eq!(layout.decode(&registers), Ok(Raw::Text(text.into())));
        }
        let swapped = Layout { swap_registers: true, swap_bytes: true, ..signed };
        assert_eq!(swapped.encode(&Raw::Text(" 258 ".into())), Ok(vec![0x0201, 0, 0, 0]));
        assert_eq!(swapped.decode(&[0x0201, 0, 0, 0]), Ok(Raw::Text("258".into())));
        for wrong in ["", "1.0", "1e3", "0x10", "-1", "18446744073709551616", &"9".repeat(10_000)] {
            let said = unsigned.encode(&Raw::Text(wrong.into())).unwrap_err();
            assert!(said.contains("no whole number from 0 to 18446744073709551615") && said.len() < 120, "{said}");
        }
        assert!(unsigned.encode(&Raw::Number(1.0)).is_err());
    }

    #[test]
    fn a_bit_field_is_read_and_keeps_to_its_bits() {
        let field = Layout { bits: Some(Bits { offset: 4, count: 3 }), ..layout(Kind::Uint16) };
        assert_eq!(number(&field, &[0b0101_1111]), 5.0);
        assert_eq!(field.bits.unwrap().mask(), 0b0111_0000);
        assert_eq!(field.encode(&Raw::Number(7.0)), Ok(vec![7]));
        assert!(field.encode(&Raw::Number(8.0)).unwrap_err().contains("0 to 7"));
        assert_eq!(Bits { offset: 0, count: 16 }.mask(), 0xffff);
    }

    #[test]
    fn a_text_ends_at_its_zero_and_fits_its_registers() {
        let text = layout(Kind::Text { registers: 3 });
        assert_eq!(text.decode(&[0x7075, 0x6d70, 0x0058]), Ok(Raw::Text("pump".into())));
        assert_eq!(text.encode(&Raw::Text("pump".into())), Ok(vec![0x7075, 0x6d70, 0]));
        assert!(text.encode(&Raw::Text("too long".into())).unwrap_err().contains("8 bytes"));
        for cut in ["a\0b", "\0", "pump\0"] {
            assert!(text.encode(&Raw::Text(cut.into())).unwrap_err().contains("NUL"), "{cut:?}");
        }
        assert!(text.decode(&[0xffff, 0, 0]).unwrap_err().contains("UTF-8"));
        let swapped = Layout { swap_bytes: true, ..text };
        assert_eq!(swapped.decode(&[0x7570, 0x706d, 0]), Ok(Raw::Text("pump".into())));
    }

    #[test]
    fn an_array_is_its_items_one_after_another_each_in_its_own_order() {
        let array = Layout { items: Some(2), swap_registers: true, scale: 0.5, ..layout(Kind::Float32) };
        assert_eq!(array.registers(), 4);
        assert_eq!(array.decode(&[0, 0x4148, 0, 0x4080]), Ok(Raw::List(vec![6.25, 2.0])));
        assert_eq!(array.encode(&Raw::List(vec![6.25, 2.0])), Ok(vec![0, 0x4148, 0, 0x4080]));
        assert!(array.decode(&[0, 0x4148, 0, 0x7fc0]).unwrap_err().starts_with("[1]"));
        assert!(array.encode(&Raw::List(vec![1.0])).unwrap_err().contains("1 items, and its registers hold 2"));
        assert!(array.encode(&Raw::Number(1.0)).unwrap_err().contains("no array"));
        let words = Layout { items: Some(3), ..layout(Kind::Uint16) };
        assert!(words.encode(&Raw::List(vec![1.0, -1.0, 2.0])).unwrap_err().starts_with("[1]: -1 does not fit"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(at in 0..KINDS.len(), swap_bytes: bool, swap_registers: bool, value in -70_000_i32..70_000) {
            let layout = Layout { swap_bytes, swap_registers, ..layout(KINDS[at]) };
            if let Ok(registers) = layout.encode(&Raw::Number(f64::from(value))) {
                assert_eq!(registers.len(), usize::from(layout.kind.registers()));
                assert_eq!(number(&layout, &registers), f64::from(value));
            }
        }

        #[test]
        fn any_registers_are_a_value_or_are_refused(at in 0..KINDS.len(), registers in proptest::array::uniform4(0_u16..), scale in -1e6..1e6_f64) {
            let kind = KINDS[at];
            let _ = Layout { scale, ..layout(kind) }.decode(&registers[..usize::from(kind.registers())]);
            let _ = layout(Kind::Text { registers: 4 }).decode(&registers);
        }
    }
}
