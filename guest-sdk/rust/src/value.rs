//! Values of properties, of events' outputs and of services' parameters, and how they become Rust types.
//!
//! The gateway converts what it is given to the type of the TSL, so `1`, `true` and `"1"` all set a bool;
//! coming back, a value has the type of the TSL, and [`Properties::get`] asks for the Rust type.

mod convert;
mod date;
mod properties;

use serde_json::{Number, Value as Json};

pub use convert::WrongType;
pub use date::Date;
pub use properties::{Properties, ValueError};

/// A value, by its type in the TSL.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// 0 or 1 on the wire of the original.
    Boolean(bool),
    /// Within the TSL's range, and on its step.
    Integer(i32),
    /// The number of an enum's member.
    Enumeration(i32),
    /// Not NaN and not infinite: the gateway refuses both.
    Float(f32),
    /// Not NaN and not infinite: the gateway refuses both.
    Double(f64),
    /// At most the TSL's `length` bytes of UTF-8; 10,240 where it is silent.
    Text(String),
    /// Time since 1970-01-01T00:00:00Z as decimal text: 13 digits are milliseconds, 10 are seconds.
    Date(String),
    /// A struct or an array, as JSON.
    Compound(String),
}

/// A named value.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// As the TSL spells it, at most 64 bytes.
    pub identifier: String,
    /// Of the type that the TSL gives it, or one that converts to it.
    pub value: Value,
}

impl Value {
    /// The value as the manual's SDKs give it to functions: bool and enum are numbers, a compound is its structure.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Boolean(b) => Json::from(u8::from(*b)),
            Self::Integer(n) | Self::Enumeration(n) => Json::from(*n),
            Self::Float(x) => float_to_json(*x),
            Self::Double(x) => Json::from(*x),
            Self::Text(text) | Self::Date(text) => Json::from(text.as_str()),
            Self::Compound(text) => serde_json::from_str(text).unwrap_or_else(|_| Json::from(text.as_str())),
        }
    }

    /// What a JSON value is without a TSL: a whole number of 32 bits is an integer, any other number a double.
    /// `null` is no value.
    pub fn from_json(json: &Json) -> Option<Self> {
        match json {
            Json::Null => None,
            Json::Bool(b) => Some(Self::Boolean(*b)),
            Json::Number(number) => from_number(number),
            Json::String(text) => Some(Self::Text(text.clone())),
            Json::Array(_) | Json::Object(_) => Some(Self::Compound(json.to_string())),
        }
    }

    /// The name of this value's type, as a TSL spells it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "bool",
            Self::Integer(_) => "int",
            Self::Enumeration(_) => "enum",
            Self::Float(_) => "float",
            Self::Double(_) => "double",
            Self::Text(_) => "text",
            Self::Date(_) => "date",
            Self::Compound(_) => "struct or array",
        }
    }
}

/// A float prints the shortest digits of its own width: 0.1 and not 0.10000000149011612.
fn float_to_json(x: f32) -> Json {
    let digits = x.to_string();
    digits.parse::<f64>().ok().and_then(Number::from_f64).map_or(Json::Null, Json::Number)
}

fn from_number(number: &Number) -> Option<Value> {
    match number.as_i64().and_then(|n| i32::try_from(n).ok()) {
        Some(n) => Some(Value::Integer(n)),
        None => number.as_f64().map(Value::Double),
    }
}
