//! A list of named values with typed access, in the order in which they were given.

use std::fmt;

use serde_json::{Map, Value as Json};

use super::{Property, Value, WrongType};
use crate::Fault;

/// Named values: `[("LightSwitch", true)]` becomes one, and so does `()`, the empty one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties(Vec<Property>);

/// Why a value could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// There is no such value.
    Missing {
        /// What was asked for.
        identifier: String,
        /// What there is.
        present: Vec<String>,
    },
    /// There is one, of another type.
    Type {
        /// What was asked for.
        identifier: String,
        /// What was expected, and what was found.
        error: WrongType,
    },
}

impl Properties {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// These and one more; for lists whose values have different types.
    #[must_use]
    pub fn with(mut self, identifier: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set(identifier, value);
        self
    }

    /// Sets one value, in place of an earlier one of that identifier.
    pub fn set(&mut self, identifier: impl Into<String>, value: impl Into<Value>) {
        let property = Property::from((identifier, value));
        match self.0.iter_mut().find(|known| known.identifier == property.identifier) {
            Some(known) => *known = property,
            None => self.0.push(property),
        }
    }

    /// Sets one value, if there is one.
    pub fn set_optional(&mut self, identifier: impl Into<String>, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(identifier, value);
        }
    }

    /// The value as a Rust type: bool, i32, u32, i64, u64, f32, f64, String, [`Date`](super::Date), a `Vec` of these, [`Properties`] for
    /// a struct, [`Json`], [`Value`] itself, or a type that `ledge bindgen` wrote.
    /// To a whole number or bool it converts exactly or not at all, to a float by rounding.
    pub fn get<T>(&self, identifier: &str) -> Result<T, ValueError>
    where
        T: for<'v> TryFrom<&'v Value, Error = WrongType>,
    {
        let found = self.0.iter().find(|property| property.identifier == identifier);
        let Some(property) = found else {
            let present = self.0.iter().map(|property| property.identifier.clone()).collect();
            return Err(ValueError::Missing { identifier: identifier.to_owned(), present });
        };
        T::try_from(&property.value).map_err(|error| ValueError::Type { identifier: identifier.to_owned(), error })
    }

    /// The same, or `None` if there is no such value.
    pub fn get_optional<T>(&self, identifier: &str) -> Result<Option<T>, ValueError>
    where
        T: for<'v> TryFrom<&'v Value, Error = WrongType>,
    {
        match self.get(identifier) {
            Ok(value) => Ok(Some(value)),
            Err(ValueError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The values as one JSON object, as [`Value::to_json`] gives each.
    pub fn to_json(&self) -> Json {
        Json::Object(self.0.iter().map(|p| (p.identifier.clone(), p.value.to_json())).collect())
    }

    /// The members of a JSON object, as [`Value::from_json`] takes each; what is `null` is left out.
    pub fn from_json(object: &Map<String, Json>) -> Self {
        let value = |(key, json): (&String, &Json)| Some(Property { identifier: key.clone(), value: Value::from_json(json)? });
        Self(object.iter().filter_map(value).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, in the order in which they were set.
    pub fn iter(&self) -> std::slice::Iter<'_, Property> {
        self.0.iter()
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { identifier, present } if present.is_empty() => write!(f, "no value of `{identifier}`: there are none at all"),
            Self::Missing { identifier, present } => write!(f, "no value of `{identifier}`: there are only {}", present.join(", ")),
            Self::Type { identifier, error } => write!(f, "value of `{identifier}`: {error}"),
        }
    }
}

impl std::error::Error for ValueError {}

/// Fault 109008: whoever gave the value gave it wrong.
impl From<ValueError> for Fault {
    fn from(error: ValueError) -> Self {
        Self::new(Self::INVALID_TYPE, error.to_string())
    }
}

impl From<()> for Properties {
    fn from((): ()) -> Self {
        Self::new()
    }
}

impl<I: Into<String>, V: Into<Value>, const N: usize> From<[(I, V); N]> for Properties {
    fn from(pairs: [(I, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl From<Vec<Property>> for Properties {
    fn from(list: Vec<Property>) -> Self {
        Self(list)
    }
}

impl From<Properties> for Vec<Property> {
    fn from(properties: Properties) -> Self {
        properties.0
    }
}

impl<P: Into<Property>> FromIterator<P> for Properties {
    fn from_iter<L: IntoIterator<Item = P>>(list: L) -> Self {
        Self(list.into_iter().map(Into::into).collect())
    }
}

impl IntoIterator for Properties {
    type Item = Property;
    type IntoIter = std::vec::IntoIter<Property>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'p> IntoIterator for &'p Properties {
    type Item = &'p Property;
    type IntoIter = std::slice::Iter<'p, Property>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_had_by_its_identifier_and_type() {
        let mut lamp = Properties::from([("LightSwitch", 1)]).with("Name", "hall");
        assert_eq!(lamp.get::<bool>("LightSwitch"), Ok(true));
        assert_eq!(lamp.get::<String>("Name").as_deref(), Ok("hall"));
        lamp.set("LightSwitch", false);
        assert_eq!(lamp.to_json().to_string(), r#"{"LightSwitch":0,"Name":"hall"}"#);
        assert_eq!(lamp.len(), 2);
        lamp.set_optional("Level", None::<i32>);
        assert_eq!(lamp.get_optional::<i32>("Level"), Ok(None));
        lamp.set_optional("Level", Some(3));
        assert_eq!(lamp.get_optional("Level"), Ok(Some(3)));
        assert_eq!(Fault::from(lamp.get_optional::<bool>("Level").unwrap_err()).code, Fault::INVALID_TYPE);
    }

    #[test]
    fn an_error_names_what_is_missing_or_wrong() {
        let lamp = Properties::from([("LightSwitch", "dim")]);
        assert_eq!(lamp.get::<bool>("Colour").unwrap_err().to_string(), "no value of `Colour`: there are only LightSwitch");
        assert_eq!(lamp.get::<bool>("LightSwitch").unwrap_err().to_string(), "value of `LightSwitch`: expected bool, found text \"dim\"");
        assert_eq!(Properties::new().get::<bool>("x").unwrap_err().to_string(), "no value of `x`: there are none at all");
    }
}
