//! What the TSL says of a property, as far as a driver needs it: its type and its range.
//!
//! The gateway has checked the TSL, and checks every value again; here it decides what is dropped before it is reported.

use std::collections::BTreeSet;

use ledge_sdk::serde_json::{self, Value as Json};
use ledge_sdk::value::{Date, Value};

use crate::layout::Raw;

/// A property's type in the TSL.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    Bool,
    Int {
        min: f64,
        max: f64,
    },
    Float {
        min: f64,
        max: f64,
    },
    Double {
        min: f64,
        max: f64,
    },
    Enum {
        members: BTreeSet<i32>,
    },
    Text {
        bytes_max: usize,
    },
    /// In milliseconds, whatever the registers count.
    Date,
    /// Of so many numbers.
    Array {
        size: u16,
        item: Box<Model>,
    },
}

/// A property of the TSL, or a parameter of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    pub identifier: String,
    pub is_readable: bool,
    pub is_writable: bool,
    /// Or why a register cannot hold it.
    pub model: Result<Model, String>,
}

/// A service of the TSL.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub identifier: String,
    pub inputs: Vec<Property>,
    pub outputs: Vec<Property>,
}

/// What every product has in its TSL: they set and get properties.
const BUILT_IN: [&str; 2] = ["set", "get"];
/// Texts of the TSL whose length it does not say.
const TEXT_BYTES_DEFAULT: f64 = 10_240.0;

/// The properties of a TSL.
pub fn properties(tsl: &Json) -> Vec<Property> {
    tsl["properties"].as_array().into_iter().flatten().filter_map(property).collect()
}

/// The services of a TSL, but for those that every product has.
pub fn services(tsl: &Json) -> Vec<Service> {
    let service = |entry: &Json| {
        let identifier = entry["identifier"].as_str().filter(|identifier| !BUILT_IN.contains(identifier))?;
        let parameters = |list: &str, is_input: bool| {
            let parameter = |entry: &Json| Some(Property { is_readable: !is_input, is_writable: is_input, ..property(entry)? });
            entry[list].as_array().into_iter().flatten().filter_map(parameter).collect()
        };
        Some(Service { identifier: identifier.to_owned(), inputs: parameters("inputData", true), outputs: parameters("outputData", false) })
    };
    tsl["services"].as_array().into_iter().flatten().filter_map(service).collect()
}

fn property(entry: &Json) -> Option<Property> {
    let access = entry["accessMode"].as_str().unwrap_or_default();
    Some(Property {
        identifier: entry["identifier"].as_str()?.to_owned(),
        is_readable: access.contains('r'),
        is_writable: access.contains('w'),
        model: model(&entry["dataType"]),
    })
}

fn model(data_type: &Json) -> Result<Model, String> {
    let specs = &data_type["specs"];
    let range = |min: f64, max: f64| (number(&specs["min"]).unwrap_or(min), number(&specs["max"]).unwrap_or(max));
    Ok(match data_type["type"].as_str().unwrap_or_default() {
        "bool" => Model::Bool,
        "int" => {
            let (min, max) = range(i32::MIN.into(), i32::MAX.into());
            Model::Int { min, max }
        }
        "float" => {
            let (min, max) = range(f32::MIN.into(), f32::MAX.into());
            // Rounded as the values are: what is a bound in decimal is one in binary.
            Model::Float { min: f64::from(min as f32), max: f64::from(max as f32) }
        }
        "double" => {
            let (min, max) = range(f64::MIN, f64::MAX);
            Model::Double { min, max }
        }
        "enum" => Model::Enum { members: specs.as_object().into_iter().flatten().filter_map(|(key, _)| key.parse().ok()).collect() },
        "text" => Model::Text { bytes_max: number(&specs["length"]).unwrap_or(TEXT_BYTES_DEFAULT) as usize },
        "date" => Model::Date,
        "array" => array(specs)?,
        other => return Err(format!("a register cannot hold the TSL's type `{other}`")),
    })
}

fn array(specs: &Json) -> Result<Model, String> {
    let item = model(&specs["item"]).ok().filter(Model::is_number).ok_or("an array that is mapped has items of int, float or double")?;
    let size = number(&specs["size"]).filter(|size| (1.0..=f64::from(u16::MAX)).contains(size));
    let size = size.ok_or("an array that is mapped has a `size` in the TSL, the number of its items")?;
    Ok(Model::Array { size: size as u16, item: Box::new(item) })
}

/// A TSL writes numbers as text.
fn number(json: &Json) -> Option<f64> {
    json.as_f64().or_else(|| json.as_str()?.parse().ok())
}

impl Model {
    /// What is read as a value of the TSL, or why it is none.
    pub fn value(&self, raw: &Raw) -> Result<Value, String> {
        let number = match (self, raw) {
            (Self::Text { bytes_max }, Raw::Text(text)) if text.len() <= *bytes_max => return Ok(Value::Text(text.clone())),
            (Self::Text { bytes_max }, Raw::Text(text)) => {
                return Err(format!("the text has {} bytes, and the TSL allows {bytes_max}", text.len()));
            }
            (_, Raw::Text(_)) => return Err("a text is no number".into()),
            (Self::Array { item, .. }, Raw::List(numbers)) => return item.list(numbers),
            (_, Raw::List(_)) => return Err("an array is no number".into()),
            (_, Raw::Number(number)) => *number,
        };
        let within = |number: f64, min: f64, max: f64| {
            if (min..=max).contains(&number) { Ok(number) } else { Err(format!("{number} is not within the TSL's {min} to {max}")) }
        };
        Ok(match self {
            Self::Bool if number == 0.0 || number == 1.0 => Value::Boolean(number == 1.0),
            Self::Bool => return Err(format!("{number} is neither 0 nor 1")),
            // Between two of 32 bits, as the TSL's bounds are.
            Self::Int { min, max } => Value::Integer(within(number.round(), *min, *max)? as i32),
            Self::Float { min, max } => Value::Float(within(f64::from(number as f32), *min, *max)? as f32),
            Self::Double { min, max } => Value::Double(within(number, *min, *max)?),
            Self::Enum { members } => match members.iter().find(|member| f64::from(**member) == number) {
                Some(member) => Value::Enumeration(*member),
                None => return Err(format!("{number} is no member of the TSL's enum")),
            },
            Self::Date if (0.0..1e13).contains(&number) => Date::from_unix_ms(number as u64).into(),
            Self::Date => return Err(format!("{number} ms since 1970 is no date between 1970 and 2286")),
            Self::Text { .. } => return Err("a number is no text".into()),
            Self::Array { .. } => return Err("a number is no array".into()),
        })
    }

    /// An array of such items.
    fn list(&self, numbers: &[f64]) -> Result<Value, String> {
        let item = |(at, number): (usize, &f64)| match self.value(&Raw::Number(*number)) {
            Ok(value) => Ok(value.to_json()),
            Err(wrong) => Err(format!("[{at}]: {wrong}")),
        };
        let items: Json = numbers.iter().enumerate().map(item).collect::<Result<Vec<_>, _>>()?.into();
        Ok(Value::Compound(items.to_string()))
    }

    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text { .. })
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int { .. } | Self::Float { .. } | Self::Double { .. })
    }

    /// So many items, if it is an array.
    pub fn items(&self) -> Option<u16> {
        match self {
            Self::Array { size, .. } => Some(*size),
            _ => None,
        }
    }
}

/// A value that somebody sets, as what is to be written.
pub fn raw(value: &Value) -> Result<Raw, String> {
    match value {
        Value::Text(text) => Ok(Raw::Text(text.clone())),
        Value::Date(_) => Date::try_from(value).map(|date| Raw::Number(date.unix_ms() as f64)).map_err(|error| error.to_string()),
        Value::Compound(json) => list(json).ok_or_else(|| format!("{json} is no array of numbers")),
        other => f64::try_from(other).map(Raw::Number).map_err(|error| error.to_string()),
    }
}

fn list(json: &str) -> Option<Raw> {
    let items: Vec<f64> = serde_json::from_str(json).ok()?;
    Some(Raw::List(items))
}

#[cfg(test)]
mod tests {
    use ledge_sdk::serde_json::json;

    use super::*;

    fn read(data_type: &Json, number: f64) -> Result<Value, String> {
        model(data_type).unwrap().value(&Raw::Number(number))
    }

    #[test]
    fn a_value_has_the_type_of_the_tsl_or_is_refused() {
        assert_eq!(read(&json!({"type": "int", "specs": {"min": "0", "max": "10"}}), 9.6), Ok(Value::Integer(10)));
        assert!(read(&json!({"type": "int", "specs": {"min": "0", "max": "10"}}), 11.0).unwrap_err().contains("0 to 10"));
        assert_eq!(read(&json!({"type": "float", "specs": {"max": "0.1"}}), 0.1), Ok(Value::Float(0.1)));
        assert!(read(&json!({"type": "float", "specs": {}}), 1e39).is_err());
        assert_eq!(read(&json!({"type": "double"}), 0.1), Ok(Value::Double(0.1)));
        assert_eq!(read(&json!({"type": "bool", "specs": {"0": "off", "1": "on"}}), 1.0), Ok(Value::Boolean(true)));
        assert!(read(&json!({"type": "bool"}), 2.0).is_err());
        let modes = json!({"type": "enum", "specs": {"0": "off", "2": "auto"}});
        assert_eq!(read(&modes, 2.0), Ok(Value::Enumeration(2)));
        assert!(read(&modes, 1.0).unwrap_err().contains("no member"));
        let short = model(&json!({"type": "text", "specs": {"length": "3"}})).unwrap();
        assert_eq!(short.value(&Raw::Text("abc".into())), Ok(Value::Text("abc".into())));
        assert!(short.value(&Raw::Text("abcd".into())).unwrap_err().contains("allows 3"));
        assert!(model(&json!({"type": "struct", "specs": []})).unwrap_err().contains("`struct`"));
    }

    #[test]
    fn a_date_is_in_milliseconds_and_is_written_from_either() {
        let date = json!({"type": "date"});
        assert_eq!(read(&date, 1_565_136_000_000.0), Ok(Value::Date("1565136000000".into())));
        assert_eq!(read(&date, 0.0), Ok(Value::Date("0000000000000".into())));
        for wrong in [-1.0, 1e13] {
            assert!(read(&date, wrong).unwrap_err().contains("no date"), "{wrong}");
        }
        for text in ["1565136000000", "1565136000"] {
            assert_eq!(raw(&Value::Date(text.into())), Ok(Raw::Number(1_565_136_000_000.0)));
        }
        assert!(raw(&Value::Date("soon".into())).is_err());
    }

    #[test]
    fn an_array_has_so_many_numbers_each_within_the_tsl() {
        let of = |item: Json, size: Json| model(&json!({"type": "array", "specs": {"size": size, "item": item}}));
        let floats = of(json!({"type": "float", "specs": {"max": "9"}}), json!("2")).unwrap();
        assert_eq!(floats.items(), Some(2));
        assert_eq!(floats.value(&Raw::List(vec![0.1, 2.0])), Ok(Value::Compound("[0.1,2.0]".into())));
        assert!(floats.value(&Raw::List(vec![0.1, 10.0])).unwrap_err().starts_with("[1]: 10 is not within"));
        assert_eq!(raw(&Value::Compound("[1, 2.5]".into())), Ok(Raw::List(vec![1.0, 2.5])));
        assert!(raw(&Value::Compound("{\"a\": 1}".into())).unwrap_err().contains("no array of numbers"));
        for (item, size) in
            [(json!({"type": "text"}), json!("2")), (json!({"type": "int"}), json!(null)), (json!({"type": "int"}), json!("0"))]
        {
            assert!(of(item, size).unwrap_err().contains("an array that is mapped"));
        }
    }

    #[test]
    fn services_are_those_that_the_product_has_of_its_own() {
        let tsl = json!({"services": [
            {"identifier": "get", "inputData": ["a"]}, {"identifier": "set"},
            {"identifier": "Dose", "inputData": [{"identifier": "litres", "dataType": {"type": "double"}}],
             "outputData": [{"identifier": "state", "dataType": {"type": "bool"}}]},
        ]});
        let services = services(&tsl);
        assert_eq!((services.len(), services[0].identifier.as_str()), (1, "Dose"));
        assert!(services[0].inputs[0].is_writable && !services[0].outputs[0].is_writable);
    }
}
