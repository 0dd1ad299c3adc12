//! History: what things reported, in the order in which it came, as bytes for a disk.
//!
//! A chunk is a run of reports of one thing. A name is written where it comes first and is a number from then on, and times are
//! differences, so that a report of two numbers takes some fifteen bytes. Where chunks are kept is not known here.

use std::collections::HashMap;

use super::value::{Property, Value};

/// What a thing said at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Unix milliseconds.
    pub time_ms: u64,
    /// The event, unless these are properties.
    pub event: Option<String>,
    /// The properties, or the event's outputs.
    pub values: Vec<Property>,
}

/// Reports as they are added.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    names: HashMap<Box<str>, u64>,
    count: u64,
    last_ms: u64,
}

/// Bytes that are no chunk: the disk is damaged, or another version wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history is damaged, or was written by another version of Ledge")]
pub struct Damaged;

impl Chunk {
    pub fn push(&mut self, time_ms: u64, event: Option<&str>, values: &[Property]) {
        self.count += 1;
        put_signed(&mut self.bytes, time_ms as i64 - self.last_ms as i64);
        self.last_ms = time_ms;
        self.bytes.push(u8::from(event.is_some()));
        if let Some(event) = event {
            self.put_name(event);
        }
        put(&mut self.bytes, values.len() as u64);
        for Property { identifier, value } in values {
            self.put_name(identifier);
            put_value(&mut self.bytes, value);
        }
    }

    /// Goes on with what was written before.
    pub fn resumed(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut chunk = Self::default();
        for Report { time_ms, event, values } in read(bytes)? {
            chunk.push(time_ms, event.as_deref(), &values);
        }
        Ok(chunk)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many reports it has.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn put_name(&mut self, name: &str) {
        if let Some(number) = self.names.get(name) {
            return put(&mut self.bytes, *number);
        }
        put(&mut self.bytes, 0);
        put_text(&mut self.bytes, name);
        let number = self.names.len() as u64 + 1;
        self.names.insert(name.into(), number);
    }
}

/// The reports of a chunk.
pub fn read(bytes: &[u8]) -> Result<Vec<Report>, Damaged> {
    let (mut rest, mut names, mut time_ms, mut reports) = (Reader(bytes), Vec::new(), 0i64, Vec::new());
    while !rest.0.is_empty() {
        time_ms = time_ms.checked_add(rest.signed()?).ok_or(Damaged)?;
        let event = match rest.byte()? {
            0 => None,
            1 => Some(rest.name(&mut names)?),
            _ => return Err(Damaged),
        };
        let count = rest.number()?;
        let mut values = Vec::new();
        for _ in 0..count {
            let identifier = rest.name(&mut names)?;
            values.push(Property { identifier, value: rest.value()? });
        }
        reports.push(Report { time_ms: u64::try_from(time_ms).map_err(|_| Damaged)?, event, values });
    }
    Ok(reports)
}

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const INT: u8 = 2;
const ENUM: u8 = 3;
const FLOAT: u8 = 4;
const DOUBLE: u8 = 5;
const TEXT: u8 = 6;
const DATE: u8 = 7;
const COMPOUND: u8 = 8;

fn put_value(to: &mut Vec<u8>, value: &Value) {
    let mut text = |tag, text: &str| {
        to.push(tag);
        put_text(to, text);
    };
    match value {
        Value::Text(it) => text(TEXT, it),
        Value::Date(it) => text(DATE, it),
        Value::Compound(it) => text(COMPOUND, it),
        Value::Bool(on) => to.push(if *on { TRUE } else { FALSE }),
        Value::Int(number) => {
            to.push(INT);
            put_signed(to, i64::from(*number));
        }
        Value::Enum(number) => {
            to.push(ENUM);
            put_signed(to, i64::from(*number));
        }
        Value::Float(number) => {
            to.push(FLOAT);
            to.extend(number.to_le_bytes());
        }
        Value::Double(number) => {
            to.push(DOUBLE);
            to.extend(number.to_le_bytes());
        }
    }
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put(to, text.len() as u64);
    to.extend(text.as_bytes());
}

/// Seven bits a byte, the lowest first.
fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Numbers near 0 are short, whatever their sign.
fn put_signed(to: &mut Vec<u8>, number: i64) {
    put(to, ((number << 1) ^ (number >> 63)) as u64);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.bytes(N)?.try_into().map_err(|_| Damaged)
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn int(&mut self) -> Result<i32, Damaged> {
        i32::try_from(self.signed()?).map_err(|_| Damaged)
    }

    fn text(&mut self) -> Result<String, Damaged> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        String::from_utf8(self.bytes(length)?.to_vec()).map_err(|_| Damaged)
    }

    fn name(&mut self, names: &mut Vec<String>) -> Result<String, Damaged> {
        let number = self.number()?;
        if number == 0 {
            let name = self.text()?;
            names.push(name.clone());
            return Ok(name);
        }
        let place = usize::try_from(number - 1).map_err(|_| Damaged)?;
        names.get(place).cloned().ok_or(Damaged)
    }

    fn value(&mut self) -> Result<Value, Damaged> {
        Ok(match self.byte()? {
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            INT => Value::Int(self.int()?),
            ENUM => Value::Enum(self.int()?),
            FLOAT => Value::Float(f32::from_le_bytes(self.array()?)),
            DOUBLE => Value::Double(f64::from_le_bytes(self.array()?)),
            TEXT => Value::Text(self.text()?),
            DATE => Value::Date(self.text()?),
            COMPOUND => Value::Compound(self.text()?),
            _ => return Err(Damaged),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::Int),
            any::<i32>().prop_map(Value::Enum),
            any::<f32>().prop_filter("comparable", |it| !it.is_nan()).prop_map(Value::Float),
            any::<f64>().prop_filter("comparable", |it| !it.is_nan()).prop_map(Value::Double),
            ".{0,200}".prop_map(Value::Text),
            "[0-9]{10}|[0-9]{13}".prop_map(Value::Date),
            Just(Value::Compound(r#"{"a":[1,2]}"#.into())),
        ]
    }

    fn report() -> impl Strategy<Value = Report> {
        let values = prop::collection::vec(("[a-d]|[a-z]{1,64}", value()), 0..6);
        (0..u64::MAX / 2, prop::option::of("[a-z]{1,8}"), values).prop_map(|(time_ms, event, values)| Report {
            time_ms,
            event,
            values: values.into_iter().map(|(identifier, value)| Property { identifier, value }).collect(),
        })
    }

    proptest! {
        #[test]
        fn what_was_pushed_is_read(reports in prop::collection::vec(report(), 0..12), cut in 0usize..12) {
            let mut chunk = Chunk::default();
            for (place, it) in reports.iter().enumerate() {
                if place == cut {
                    chunk = Chunk::resumed(chunk.bytes()).unwrap();
                }
                chunk.push(it.time_ms, it.event.as_deref(), &it.values);
            }
            prop_assert_eq!(read(chunk.bytes()).unwrap(), reports);
        }

        #[test]
        fn damaged_bytes_are_damaged_and_nothing_worse(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn names_are_written_once() {
        let mut chunk = Chunk::default();
        let values = [Property::new("MeasuredIlluminance", Value::Float(1.5)), Property::new("LightSwitch", Value::Bool(true))];
        chunk.push(1_700_000_000_000, None, &values);
        let first = chunk.bytes().len();
        chunk.push(1_700_000_002_000, None, &values);
        assert_eq!(chunk.bytes().len() - first, 12);
        assert_eq!(chunk.count(), 2);
    }
}
