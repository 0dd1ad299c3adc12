//! Values of properties, events and services, and their two outward forms: JSON and text.
//!
//! Nothing here knows a TSL: whether a value is the right one is decided in `tsl`. A value that came through there is finite
//! and, if compound, valid JSON.

use serde_json::{Map, Value as Json};

/// A value, by its type in the TSL (`ledge:edge/types.value`).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i32),
    /// The number of an enum's member.
    Enum(i32),
    Float(f32),
    Double(f64),
    Text(String),
    /// Time since 1970-01-01T00:00:00Z as decimal digits: 13 are milliseconds, 10 are seconds.
    Date(String),
    /// A struct or an array, as JSON text.
    Compound(String),
}

/// A named value: a property, an event's output, a service's parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    pub identifier: String,
    pub value: Value,
}

impl Property {
    pub fn new(identifier: impl Into<String>, value: Value) -> Self {
        Self { identifier: identifier.into(), value }
    }
}

impl Value {
    /// The value as functions and routes see it: bool and enum are numbers, a float has the digits of its own width.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Bool(on) => Json::from(u8::from(*on)),
            Self::Int(number) | Self::Enum(number) => Json::from(*number),
            Self::Float(number) => Json::from(widened(*number)),
            Self::Double(number) => Json::from(*number),
            Self::Text(text) | Self::Date(text) => Json::from(text.as_str()),
            // What is no JSON did not come through a TSL; as text it is at least visible.
            Self::Compound(json) => serde_json::from_str(json).unwrap_or_else(|_| Json::from(json.as_str())),
        }
    }

    /// The value as OpenAPI v1 shows it, where every value is text.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) | Self::Date(text) | Self::Compound(text) => text.clone(),
            Self::Float(number) => number_text(widened(*number)),
            Self::Double(number) => number_text(*number),
            Self::Bool(_) | Self::Int(_) | Self::Enum(_) => self.to_json().to_string(),
        }
    }
}

/// `{identifier: value}`, in the order of the list.
pub fn properties_to_json(properties: &[Property]) -> Map<String, Json> {
    properties.iter().map(|property| (property.identifier.clone(), property.value.to_json())).collect()
}

/// The double that prints as this float does. A plain cast keeps the bits and so shows digits that nobody measured:
/// 16.730524 would become 16.730524063110352, and 0.1 would lie above a maximum of 0.1.
pub(super) fn widened(number: f32) -> f64 {
    // The text of a float is a double's too; NaN and the infinities included.
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// The shortest text of a number, where a whole one has no `.0`.
pub(super) fn number_text(number: f64) -> String {
    // JSON writes 1e+300; `Display` would write 301 digits.
    let text = Json::from(number).to_string();
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: Value) -> String {
        value.to_json().to_string()
    }

    #[test]
    fn functions_see_bool_and_enum_as_numbers() {
        assert_eq!(json(Value::Bool(true)), "1");
        assert_eq!(json(Value::Bool(false)), "0");
        assert_eq!(json(Value::Enum(3)), "3");
        assert_eq!(json(Value::Int(-7)), "-7");
        assert_eq!(json(Value::Text("1".into())), r#""1""#);
        assert_eq!(json(Value::Date("1565000000000".into())), r#""1565000000000""#);
        assert_eq!(json(Value::Compound(r#"{"b":1,"a":[2]}"#.into())), r#"{"b":1,"a":[2]}"#);
    }

    #[test]
    fn a_float_prints_the_digits_of_its_own_width() {
        assert_eq!(json(Value::Float(16.730524)), "16.730524");
        assert_eq!(json(Value::Double(16.730524063)), "16.730524063");
        assert_eq!(json(Value::Float(0.1)), "0.1");
        assert_eq!(json(Value::Float(20.0)), "20.0");
        assert_eq!(Value::Float(f32::MAX).to_text(), "3.4028235e+38");
    }

    #[test]
    fn every_float_survives_its_own_json() {
        let mut bits: u32 = 1;
        for _ in 0..100_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = f32::from_bits(bits);
            if number.is_finite() {
                assert_eq!(widened(number) as f32, number, "{bits:#x}");
            }
        }
    }

    #[test]
    fn open_api_v1_sees_only_text() {
        assert_eq!(Value::Bool(true).to_text(), "1");
        assert_eq!(Value::Enum(2).to_text(), "2");
        assert_eq!(Value::Float(16.730524).to_text(), "16.730524");
        assert_eq!(Value::Double(8.0).to_text(), "8");
        assert_eq!(Value::Double(1e300).to_text(), "1e+300");
        assert_eq!(Value::Text("on".into()).to_text(), "on");
        assert_eq!(Value::Compound("[1,2]".into()).to_text(), "[1,2]");
    }

    #[test]
    fn properties_keep_their_order_as_json() {
        let given = [Property::new("b", Value::Bool(true)), Property::new("a", Value::Int(2))];
        assert_eq!(Json::from(properties_to_json(&given)).to_string(), r#"{"b":1,"a":2}"#);
    }
}
