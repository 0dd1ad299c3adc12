//! Values on their way between a guest and the gateway. Nothing is checked here: `thing` does that by the TSL.

use crate::bindings::types;
use crate::thing::value::{Property, Value};

impl From<types::Property> for Property {
    fn from(property: types::Property) -> Self {
        let value = match property.value {
            types::Value::Boolean(it) => Value::Bool(it),
            types::Value::Integer(it) => Value::Int(it),
            types::Value::Enumeration(it) => Value::Enum(it),
            types::Value::Float(it) => Value::Float(it),
            types::Value::Double(it) => Value::Double(it),
            types::Value::Text(it) => Value::Text(it),
            types::Value::Date(it) => Value::Date(it),
            types::Value::Compound(it) => Value::Compound(it),
        };
        Self { identifier: property.identifier, value }
    }
}

impl From<Property> for types::Property {
    fn from(property: Property) -> Self {
        let value = match property.value {
            Value::Bool(it) => types::Value::Boolean(it),
            Value::Int(it) => types::Value::Integer(it),
            Value::Enum(it) => types::Value::Enumeration(it),
            Value::Float(it) => types::Value::Float(it),
            Value::Double(it) => types::Value::Double(it),
            Value::Text(it) => types::Value::Text(it),
            Value::Date(it) => types::Value::Date(it),
            Value::Compound(it) => types::Value::Compound(it),
        };
        Self { identifier: property.identifier, value }
    }
}

/// Converts a whole list, either way.
pub fn convert<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(B::from).collect()
}
