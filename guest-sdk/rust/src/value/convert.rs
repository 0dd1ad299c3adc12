//! Conversions between values and Rust types.
//!
//! To a whole number or a bool: exactly, or refused. To a float: the nearest one, and refused beyond its range.
//! Text counts as what it spells, as in the manual's `{'LightSwitch': '1'}`.

use std::fmt;

use serde_json::Value as Json;

use super::{Properties, Property, Value, ValueError};

/// A value that cannot be what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongType {
    /// The Rust type that was asked for.
    pub expected: &'static str,
    /// The value's type in the TSL, and the value.
    pub found: String,
}

impl WrongType {
    /// What was expected, and the value that is there instead.
    pub fn new(expected: &'static str, value: &Value) -> Self {
        // The value may be long; who reads the error needs only enough to recognise it.
        const SHOWN_CHARS: usize = 40;
        let shown: String = value.to_json().to_string().chars().take(SHOWN_CHARS).collect();
        Self { expected, found: format!("{} {shown}", value.type_name()) }
    }
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
        found.ok_or_else(|| WrongType::new("bool", value))
    }
}

impl TryFrom<&Value> for f64 {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        number(value).filter(|x| x.is_finite()).ok_or_else(|| WrongType::new("f64", value))
    }
}

impl TryFrom<&Value> for f32 {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        let found = match value {
            Value::Float(x) => Some(*x),
            other => number(other).map(|x| x as f32),
        };
        found.filter(|x| x.is_finite()).ok_or_else(|| WrongType::new("f32", value))
    }
}

macro_rules! whole_numbers {
    ($($number:ident),*) => {$(
        impl TryFrom<&Value> for $number {
            type Error = WrongType;

            fn try_from(value: &Value) -> Result<Self, WrongType> {
                let found = whole(value).and_then(|n| $number::try_from(n).ok());
                found.ok_or_else(|| WrongType::new(stringify!($number), value))
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
            _ => Err(WrongType::new("String", value)),
        }
    }
}

impl TryFrom<&Value> for Json {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        match value {
            Value::Compound(text) => serde_json::from_str(text).map_err(|_| WrongType::new("JSON", value)),
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

/// The items of an array.
impl<T: for<'v> TryFrom<&'v Value, Error = WrongType>> TryFrom<&Value> for Vec<T> {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        let Ok(Json::Array(items)) = Json::try_from(value) else { return Err(WrongType::new("an array", value)) };
        let item = |item: &Json| T::try_from(&Value::from_json(item).ok_or_else(|| WrongType::new("an array without `null`", value))?);
        items.iter().map(item).collect()
    }
}

/// The fields of a struct.
impl TryFrom<&Value> for Properties {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        match Json::try_from(value) {
            Ok(Json::Object(fields)) => Ok(Self::from_json(&fields)),
            _ => Err(WrongType::new("a struct", value)),
        }
    }
}

/// What is wrong inside a struct is wrong with the whole.
impl From<ValueError> for WrongType {
    fn from(error: ValueError) -> Self {
        match error {
            ValueError::Missing { identifier, .. } => {
                Self { expected: "a struct with all its fields", found: format!("no `{identifier}`") }
            }
            ValueError::Type { identifier, error } => {
                Self { expected: error.expected, found: format!("{} in the field `{identifier}`", error.found) }
            }
        }
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

/// An array.
impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Compound(Json::Array(items.into_iter().map(|item| item.into().to_json()).collect()).to_string())
    }
}

/// A struct.
impl From<Properties> for Value {
    fn from(fields: Properties) -> Self {
        Self::Compound(fields.to_json().to_string())
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
    fn arrays_and_structs_are_taken_apart_and_put_together() {
        let levels = Value::from(vec![0.5_f32, 1.0]);
        assert_eq!(levels, Value::Compound("[0.5,1.0]".into()));
        assert_eq!(Vec::<f32>::try_from(&levels), Ok(vec![0.5, 1.0]));
        assert_eq!(Vec::<f32>::try_from(&Value::Compound(r#"["a"]"#.into())).unwrap_err().to_string(), "expected f32, found text \"a\"");
        assert!(Vec::<i32>::try_from(&Value::Compound("[null]".into())).is_err());
        assert!(Vec::<i32>::try_from(&Value::from("[1]")).is_err());
        let scene = Value::from(Properties::from([("level", 3)]).with("on", true));
        assert_eq!(scene, Value::Compound(r#"{"level":3,"on":1}"#.into()));
        let fields = Properties::try_from(&scene).unwrap();
        assert_eq!(fields.get::<bool>("on"), Ok(true));
        assert_eq!(
            WrongType::from(fields.get::<bool>("off").unwrap_err()).to_string(),
            "expected a struct with all its fields, found no `off`"
        );
        let error = WrongType::from(fields.get::<bool>("level").unwrap_err()).to_string();
        assert_eq!(error, "expected bool, found int 3 in the field `level`");
        assert!(Properties::try_from(&Value::Compound("[]".into())).is_err());
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
