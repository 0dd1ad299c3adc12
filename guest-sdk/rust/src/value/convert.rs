//! Conversions between values and Rust types.
//!
//! To a whole number or a bool: exactly, or refused. To a float: the nearest one, and refused beyond its range.
//! Text counts as what it spells, as in the manual's `{'LightSwitch': '1'}`.

use std::fmt;

use serde_json::Value as Json;

use super::{Property, Value};

/// A value that cannot be what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongType {
    /// The Rust type that was asked for.
    pub expected: &'static str,
    /// The value's type in the TSL, and the value.
    pub found: String,
}

impl fmt::Display for WrongType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for WrongType {}

impl TryFrom<&Value> for bool {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        let found = match value {
            Value::Boolean(b) => Some(*b),
            Value::Text(text) if text == "true" => Some(true),
            Value::Text(text) if text == "false" => Some(false),
            other => whole(other).and_then(|n| match n {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            }),
        };
        found.ok_or_else(|| wrong("bool", value))
    }
}

impl TryFrom<&Value> for f64 {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        number(value).filter(|x| x.is_finite()).ok_or_else(|| wrong("f64", value))
    }
}

impl TryFrom<&Value> for f32 {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        let found = match value {
            Value::Float(x) => Some(*x),
            other => number(other).map(|x| x as f32),
        };
        found.filter(|x| x.is_finite()).ok_or_else(|| wrong("f32", value))
    }
}

macro_rules! whole_numbers {
    ($($number:ident),*) => {$(
        impl TryFrom<&Value> for $number {
            type Error = WrongType;

            fn try_from(value: &Value) -> Result<Self, WrongType> {
                let found = whole(value).and_then(|n| $number::try_from(n).ok());
                found.ok_or_else(|| wrong(stringify!($number), value))
            }
        }
    )*};
}

whole_numbers!(i32, u32, i64, u64);

impl TryFrom<&Value> for String {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        match value {
            Value::Text(text) | Value::Date(text) | Value::Compound(text) => Ok(text.clone()),
            _ => Err(wrong("String", value)),
        }
    }
}

impl TryFrom<&Value> for Json {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        match value {
            Value::Compound(text) => serde_json::from_str(text).map_err(|_| wrong("JSON", value)),
            other => Ok(other.to_json()),
        }
    }
}

impl TryFrom<&Value> for Value {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        Ok(value.clone())
    }
}

/// The value as a whole number, if it is exactly one.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Boolean(b) => Some(i64::from(*b)),
        Value::Integer(n) | Value::Enumeration(n) => Some(i64::from(*n)),
        Value::Float(x) => whole_float(f64::from(*x)),
        Value::Double(x) => whole_float(*x),
        Value::Text(text) | Value::Date(text) => text.parse().ok().or_else(|| text.parse().ok().and_then(whole_float)),
        Value::Compound(_) => None,
    }
}

fn whole_float(x: f64) -> Option<i64> {
    // Above 2^53 a double no longer says which whole number was meant.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (x.fract() == 0.0 && x.abs() <= EXACT_MAX).then_some(x as i64)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Boolean(b) => Some(f64::from(u8::from(*b))),
        Value::Integer(n) | Value::Enumeration(n) => Some(f64::from(*n)),
        Value::Float(x) => Some(f64::from(*x)),
        Value::Double(x) => Some(*x),
        Value::Text(text) | Value::Date(text) => text.parse().ok(),
        Value::Compound(_) => None,
    }
}

fn wrong(expected: &'static str, value: &Value) -> WrongType {
    // The value may be long; who reads the error needs only enough to recognise it.
    const SHOWN_CHARS: usize = 40;
    let shown: String = value.to_json().to_string().chars().take(SHOWN_CHARS).collect();
    WrongType { expected, found: format!("{} {shown}", value.type_name()) }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Boolean(b)
    }
}

impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Self::Integer(n)
    }
}

impl From<f32> for Value {
    fn from(x: f32) -> Self {
        Self::Float(x)
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Self::Double(x)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<I: Into<String>, V: Into<Value>> From<(I, V)> for Property {
    fn from((identifier, value): (I, V)) -> Self {
        Self { identifier: identifier.into(), value: value.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bool_is_the_same_however_it_is_spelled() {
        for value in [Value::Boolean(true), Value::Integer(1), Value::Double(1.0), "1".into(), "true".into()] {
            assert_eq!(bool::try_from(&value), Ok(true), "{value:?}");
        }
        for value in [Value::Integer(2), "yes".into(), Value::Compound("[1]".into())] {
            assert!(bool::try_from(&value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_whole_number_is_exact_or_refused() {
        assert_eq!(i32::try_from(&Value::Double(-3.0)), Ok(-3));
        assert_eq!(i32::try_from(&Value::Enumeration(7)), Ok(7));
        assert_eq!(u64::try_from(&Value::Date("1565136000000".into())), Ok(1_565_136_000_000));
        assert_eq!(i64::try_from(&Value::from("2.0")), Ok(2));
        assert!(i32::try_from(&Value::Float(1.5)).is_err());
        assert!(u32::try_from(&Value::Integer(-1)).is_err());
        assert!(i32::try_from(&Value::Double(3e9)).is_err());
        assert!(i64::try_from(&Value::Double(1e18)).is_err());
    }

    #[test]
    fn a_float_is_the_nearest_one_within_its_range() {
        assert_eq!(f32::try_from(&Value::Double(200.1)), Ok(200.1));
        assert_eq!(f64::try_from(&Value::Integer(600)), Ok(600.0));
        assert_eq!(f32::try_from(&Value::from("16.730524")), Ok(16.730524));
        assert!(f32::try_from(&Value::Double(1e300)).is_err());
        assert!(f64::try_from(&Value::from("NaN")).is_err());
    }

    #[test]
    fn text_and_numbers_are_not_mixed_up() {
        assert_eq!(String::try_from(&Value::from("on")).as_deref(), Ok("on"));
        let error = String::try_from(&Value::Float(0.1)).unwrap_err();
        assert_eq!(error.to_string(), "expected String, found float 0.1");
    }

    #[test]
    fn json_keeps_what_the_manual_prints() {
        assert_eq!(Value::Boolean(false).to_json().to_string(), "0");
        assert_eq!(Value::Float(0.1).to_json().to_string(), "0.1");
        assert_eq!(Value::Compound(r#"{"a":[1]}"#.into()).to_json().to_string(), r#"{"a":[1]}"#);
        assert_eq!(Value::from_json(&Json::from(3_000_000_000_u64)), Some(Value::Double(3e9)));
        assert_eq!(Value::from_json(&Json::Null), None);
    }
}
