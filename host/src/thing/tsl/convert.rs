//! The boundary check: from whatever was given to a value of the TSL's type, or a reason why not.
//!
//! What people and old drivers write for one thing is one value: `"1"`, `1` and `true` are the same bool. Nothing is rounded,
//! cut or filled in to make it fit, and to convert a converted value again changes nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value as Json};

use super::{DataType, Members, ParamSpec};
use crate::thing::fault;
use crate::thing::value::{Value, number_text, widened};

/// Why a value was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// 109008 (not of this type) or 100007 (of this type, but not allowed).
    pub code: u32,
    /// Where inside an array or struct, as in `[2].red`; else empty.
    pub path: String,
    pub reason: String,
}

impl DataType {
    /// Converts what a guest gave.
    pub fn convert(&self, value: Value) -> Result<Value, ValueError> {
        match (self, value) {
            (Self::Array { .. } | Self::Struct { .. }, Value::Compound(text) | Value::Text(text)) => self.compound(&parsed(&text)?),
            // By itself, to move a text that may be long.
            (Self::Text { length }, Value::Text(text)) => checked_text(text, *length),
            (_, value) => self.scalar(&Given::from(&value)),
        }
    }

    /// Converts what came as JSON.
    #[allow(clippy::wrong_self_convention, reason = "it is the JSON that is converted, by the type")]
    pub fn from_json(&self, json: &Json) -> Result<Value, ValueError> {
        match (self, json) {
            (Self::Array { .. } | Self::Struct { .. }, Json::String(text)) => self.compound(&parsed(text)?),
            (Self::Array { .. } | Self::Struct { .. }, json) => self.compound(json),
            (_, json) => self.scalar(&Given::from(json)),
        }
    }

    fn compound(&self, json: &Json) -> Result<Value, ValueError> {
        let converted = match (self, json) {
            (Self::Array { size, item }, Json::Array(items)) => array(*size, item, items)?,
            (Self::Struct { fields }, Json::Object(given)) => structure(fields, given)?,
            (Self::Array { .. }, other) => return Err(wrong_type(format!("{} is not an array", quoted_json(other)))),
            (_, other) => return Err(wrong_type(format!("{} is not a struct, which is a JSON object", quoted_json(other)))),
        };
        Ok(Value::Compound(converted.to_string()))
    }

    fn scalar(&self, given: &Given) -> Result<Value, ValueError> {
        match self {
            Self::Int { min, max, step } => int(given, *min, *max, *step).map(Value::Int),
            Self::Float { min, max, .. } => {
                // Rounded first, as the bounds were: what is a bound in decimal is one in binary.
                let number = given.number()? as f32;
                check_range(given, number, *min, *max, |bound| number_text(widened(bound)))?;
                Ok(Value::Float(number))
            }
            Self::Double { min, max, .. } => {
                let number = given.number()?;
                check_range(given, number, *min, *max, number_text)?;
                Ok(Value::Double(number))
            }
            Self::Bool => bool(given).map(Value::Bool),
            Self::Enum { members } => enum_member(given, members).map(Value::Enum),
            Self::Text { length } => match given {
                Given::Text(text) => checked_text((*text).to_owned(), *length),
                Given::Number(number) => checked_text(number_text(*number), *length),
                Given::Bool(_) | Given::Other(_) => Err(wrong_type(format!("{given} is not text"))),
            },
            Self::Date => date(given).map(Value::Date),
            // `convert` and `from_json` have taken all that could be one.
            Self::Array { .. } => Err(wrong_type(format!("{given} is not an array"))),
            Self::Struct { .. } => Err(wrong_type(format!("{given} is not a struct, which is a JSON object"))),
        }
    }

    /// An item of an array or a field of a struct. It stays JSON, so that the whole is written once.
    fn inner(&self, json: &Json) -> Result<Json, ValueError> {
        self.from_json(json).map(|value| value.to_json())
    }
}

fn array(size: usize, item: &DataType, items: &[Json]) -> Result<Json, ValueError> {
    if items.len() > size {
        return Err(out_of_range(format!("the array has {} items, {size} at most are allowed", items.len())));
    }
    let convert = |(place, json)| item.inner(json).map_err(|error: ValueError| error.inside(&format!("[{place}]")));
    items.iter().enumerate().map(convert).collect()
}

/// Fields that were not given stay away: a TSL does not say which ones a struct needs.
fn structure(fields: &Members<ParamSpec>, given: &Map<String, Json>) -> Result<Json, ValueError> {
    let mut converted = Map::new();
    for (name, json) in given {
        let Some(field) = fields.get(name) else {
            let known: Vec<&str> = fields.iter().take(NAMES_SHOWN_MAX).map(|field| field.identifier.as_str()).collect();
            return Err(wrong_type(format!("the struct has no field {}: expected {}", quoted(name), known.join(", "))));
        };
        let value = field.data_type.inner(json).map_err(|error| error.inside(&format!(".{name}")))?;
        converted.insert(name.clone(), value);
    }
    if let Some(missing) = fields.iter().find(|field| field.required && !converted.contains_key(&field.identifier)) {
        return Err(wrong_type(format!("the struct must have a field {}", quoted(&missing.identifier))));
    }
    Ok(Json::Object(converted))
}

fn int(given: &Given, min: i32, max: i32, step: Option<i32>) -> Result<i32, ValueError> {
    let number = given.number()?;
    if number.fract() != 0.0 {
        return Err(wrong_type(format!("{given} is not a whole number")));
    }
    check_range(given, number, f64::from(min), f64::from(max), number_text)?;
    // Steps count from the minimum, or from 0 where the TSL gives none.
    let start = if min == i32::MIN { 0 } else { i64::from(min) };
    match step {
        Some(step) if (number as i64 - start) % i64::from(step) != 0 => {
            Err(out_of_range(format!("{given} is not {start} plus a multiple of the step {step}")))
        }
        // It is whole and between two of this type.
        _ => Ok(number as i32),
    }
}

fn check_range<N: PartialOrd + Copy>(given: &Given, number: N, min: N, max: N, show: fn(N) -> String) -> Result<(), ValueError> {
    if number < min {
        return Err(out_of_range(format!("{given} is below the minimum {}", show(min))));
    }
    if number > max {
        return Err(out_of_range(format!("{given} is above the maximum {}", show(max))));
    }
    Ok(())
}

fn bool(given: &Given) -> Result<bool, ValueError> {
    match given {
        Given::Bool(on) => Ok(*on),
        Given::Text("true") => Ok(true),
        Given::Text("false") => Ok(false),
        other => match other.number() {
            Ok(0.0) => Ok(false),
            Ok(1.0) => Ok(true),
            Ok(_) => Err(out_of_range(format!("{given} is neither 0 nor 1"))),
            Err(_) => Err(wrong_type(format!("{given} is not a bool: expected 0, 1, true or false"))),
        },
    }
}

fn enum_member(given: &Given, members: &BTreeMap<i32, String>) -> Result<i32, ValueError> {
    let number = given.number()?;
    // The cast saturates, so what does not fit is no longer equal.
    if f64::from(number as i32) == number && members.contains_key(&(number as i32)) {
        return Ok(number as i32);
    }
    let known: Vec<String> = members.iter().take(NAMES_SHOWN_MAX).map(|(number, name)| format!("{number} {}", quoted(name))).collect();
    Err(out_of_range(format!("{given} is not a member: expected {}", known.join(", "))))
}

fn checked_text(text: String, length: usize) -> Result<Value, ValueError> {
    if text.len() > length {
        return Err(out_of_range(format!("the text has {} bytes, {length} at most are allowed", text.len())));
    }
    Ok(Value::Text(text))
}

/// Seconds or milliseconds, as given: devices that speak the one would not know the other.
fn date(given: &Given) -> Result<String, ValueError> {
    let digits = match given {
        Given::Text(text) => (*text).to_owned(),
        Given::Number(number) => number_text(*number),
        Given::Bool(_) | Given::Other(_) => return Err(wrong_type(format!("{given} is not a date"))),
    };
    if matches!(digits.len(), 10 | 13) && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Ok(digits);
    }
    Err(wrong_type(format!("{given} is not a date: expected 13 digits (milliseconds since 1970) or 10 (seconds)")))
}

fn parsed(text: &str) -> Result<Json, ValueError> {
    serde_json::from_str(text).map_err(|error| wrong_type(format!("{} is not JSON: {error}", quoted(text))))
}

/// What was given, before the type has had its say. All numbers of the contract fit a double.
enum Given<'a> {
    Bool(bool),
    Number(f64),
    Text(&'a str),
    /// Something that is no scalar, as it is shown in a reason.
    Other(String),
}

impl Given<'_> {
    fn number(&self) -> Result<f64, ValueError> {
        let number = match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Bool(_) | Self::Other(_) => None,
        };
        match number {
            Some(number) if number.is_finite() => Ok(number),
            _ => Err(wrong_type(format!("{self} is not a number"))),
        }
    }
}

impl<'a> From<&'a Value> for Given<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Bool(on) => Self::Bool(*on),
            Value::Int(number) | Value::Enum(number) => Self::Number(f64::from(*number)),
            Value::Float(number) => Self::Number(widened(*number)),
            Value::Double(number) => Self::Number(*number),
            Value::Text(text) | Value::Date(text) => Self::Text(text),
            Value::Compound(text) => Self::Other(quoted(text)),
        }
    }
}

impl<'a> From<&'a Json> for Given<'a> {
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Bool(on) => Self::Bool(*on),
            Json::Number(number) => number.as_f64().map_or_else(|| Self::Other(quoted_json(json)), Self::Number),
            Json::String(text) => Self::Text(text),
            Json::Null | Json::Array(_) | Json::Object(_) => Self::Other(quoted_json(json)),
        }
    }
}

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(on) => write!(f, "`{on}`"),
            Self::Number(number) if number.is_finite() => write!(f, "`{}`", number_text(*number)),
            Self::Number(number) => write!(f, "`{number}`"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Other(shown) => f.write_str(shown),
        }
    }
}

/// A text from outside as part of a message: cut, and without line breaks and control characters.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::from("`");
    for char in text.chars().take(TEXT_SHOWN_CHARS_MAX) {
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown.push_str(if text.chars().nth(TEXT_SHOWN_CHARS_MAX).is_some() { "...`" } else { "`" });
    shown
}

/// JSON as part of a message; text without its quotation marks.
pub(super) fn quoted_json(json: &Json) -> String {
    json.as_str().map_or_else(|| quoted(&json.to_string()), quoted)
}

fn wrong_type(reason: String) -> ValueError {
    ValueError { code: fault::INVALID_TYPE, path: String::new(), reason }
}

fn out_of_range(reason: String) -> ValueError {
    ValueError { code: fault::PARAM_RANGE_OVERFLOW, path: String::new(), reason }
}

impl ValueError {
    fn inside(self, place: &str) -> Self {
        Self { path: format!("{place}{}", self.path), ..self }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.reason),
            path => write!(f, "at `{path}`: {}", self.reason),
        }
    }
}

impl std::error::Error for ValueError {}

/// How much of a text from outside a message repeats.
const TEXT_SHOWN_CHARS_MAX: usize = 40;
/// How many names of fields or members a message lists.
const NAMES_SHOWN_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::lamp;
    use super::*;

    fn data_type(property: &str) -> DataType {
        lamp().property(property).unwrap().data_type.clone()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    /// What a property becomes: the value, or the code and the reason.
    fn read(property: &str, json: Json) -> Result<Value, (u32, String)> {
        data_type(property).from_json(&json).map_err(|error| (error.code, error.to_string()))
    }

    fn given(property: &str, value: Value) -> Result<Value, (u32, String)> {
        data_type(property).convert(value).map_err(|error| (error.code, error.to_string()))
    }

    fn wrong(reason: &str) -> Result<Value, (u32, String)> {
        Err((109_008, reason.to_owned()))
    }

    fn range(reason: &str) -> Result<Value, (u32, String)> {
        Err((100_007, reason.to_owned()))
    }

    #[test]
    fn one_and_true_are_the_same_bool() {
        for on in [json!("1"), json!(1), json!(true), json!(1.0), json!("true")] {
            assert_eq!(read("LightSwitch", on), Ok(Value::Bool(true)));
        }
        for off in [Value::Bool(false), Value::Int(0), Value::Enum(0), Value::Float(-0.0), Value::Double(0.0), text("0"), text("false")] {
            assert_eq!(given("LightSwitch", off), Ok(Value::Bool(false)));
        }
        assert_eq!(read("LightSwitch", json!(2)), range("`2` is neither 0 nor 1"));
        assert_eq!(read("LightSwitch", json!("on")), wrong("`on` is not a bool: expected 0, 1, true or false"));
        assert_eq!(read("LightSwitch", json!([1])), wrong("`[1]` is not a bool: expected 0, 1, true or false"));
    }

    #[test]
    fn a_whole_number_is_an_int_however_it_is_written() {
        for same in [json!(15), json!(15.0), json!("15"), json!("1.5e1")] {
            assert_eq!(read("Brightness", same), Ok(Value::Int(15)));
        }
        assert_eq!(given("Brightness", Value::Double(15.0)), Ok(Value::Int(15)));
        assert_eq!(read("Brightness", json!(15.5)), wrong("`15.5` is not a whole number"));
        assert_eq!(read("Brightness", json!("")), wrong("`` is not a number"));
        assert_eq!(read("Brightness", json!(true)), wrong("`true` is not a number"));
        assert_eq!(read("Brightness", json!({"a": 1})), wrong(r#"`{"a":1}` is not a number"#));
    }

    #[test]
    fn an_int_keeps_to_its_range_and_step() {
        assert_eq!(read("Brightness", json!(600)), Ok(Value::Int(600)));
        assert_eq!(read("Brightness", json!(700)), range("`700` is above the maximum 600"));
        assert_eq!(read("Brightness", json!(-1)), range("`-1` is below the minimum 0"));
        assert_eq!(read("Brightness", json!(u64::MAX)), range("`1.8446744073709552e+19` is above the maximum 600"));
        assert_eq!(read("Brightness", json!(12)), range("`12` is not 0 plus a multiple of the step 5"));
        let from_three = DataType::Int { min: 3, max: 100, step: Some(10) };
        assert_eq!(from_three.convert(Value::Int(13)), Ok(Value::Int(13)));
        assert!(from_three.convert(Value::Int(10)).is_err());
        let whole_range = DataType::Int { min: i32::MIN, max: i32::MAX, step: Some(2) };
        assert_eq!(whole_range.convert(Value::Int(i32::MIN)), Ok(Value::Int(i32::MIN)));
        assert_eq!(whole_range.convert(Value::Int(-4)), Ok(Value::Int(-4)));
        assert!(whole_range.from_json(&json!(3_000_000_000_u32)).is_err());
    }

    #[test]
    fn a_float_is_as_wide_as_its_type_and_steps_do_not_bind_it() {
        assert_eq!(read("Illuminance", json!(16.730524)), Ok(Value::Float(16.730524)));
        assert_eq!(read("Illuminance", json!("16.730524")), Ok(Value::Float(16.730524)));
        assert_eq!(given("Illuminance", Value::Int(7)), Ok(Value::Float(7.0)));
        assert_eq!(given("Energy", Value::Float(16.730524)), Ok(Value::Double(16.730524)));
        assert_eq!(read("Illuminance", json!(0.33)), Ok(Value::Float(0.33)));
    }

    #[test]
    fn the_maximum_of_a_float_is_inside() {
        assert_eq!(read("Illuminance", json!(1000.1)), Ok(Value::Float(1000.1)));
        assert_eq!(given("Illuminance", Value::Float(1000.1)), Ok(Value::Float(1000.1)));
        assert_eq!(read("Illuminance", json!(1000.2)), range("`1000.2` is above the maximum 1000.1"));
        assert_eq!(read("Illuminance", json!(-0.5)), range("`-0.5` is below the minimum 0"));
        let unlimited = DataType::Float { min: f32::MIN, max: f32::MAX, step: None };
        assert_eq!(unlimited.convert(Value::Float(f32::MAX)), Ok(Value::Float(f32::MAX)));
        assert_eq!(unlimited.from_json(&json!(1e39)).unwrap_err().reason, "`1e+39` is above the maximum 3.4028235e+38");
    }

    #[test]
    fn nan_and_infinity_are_no_numbers() {
        assert_eq!(given("Illuminance", Value::Float(f32::NAN)), wrong("`NaN` is not a number"));
        assert_eq!(given("Energy", Value::Double(f64::INFINITY)), wrong("`inf` is not a number"));
        assert_eq!(given("LightSwitch", Value::Double(f64::NAN)), wrong("`NaN` is not a bool: expected 0, 1, true or false"));
        for written in ["NaN", "inf", "-infinity", "1e999"] {
            assert_eq!(read("Energy", json!(written)), wrong(&format!("`{written}` is not a number")));
        }
    }

    #[test]
    fn an_enum_takes_the_number_of_a_member() {
        for night in [json!(1), json!("1"), json!(1.0)] {
            assert_eq!(read("Mode", night), Ok(Value::Enum(1)));
        }
        assert_eq!(given("Mode", Value::Int(7)), Ok(Value::Enum(7)));
        assert_eq!(read("Mode", json!(3)), range("`3` is not a member: expected 0 `day`, 1 `night`, 7 `off`"));
        assert_eq!(read("Mode", json!(1.5)), range("`1.5` is not a member: expected 0 `day`, 1 `night`, 7 `off`"));
        assert_eq!(read("Mode", json!("night")), wrong("`night` is not a number"));
    }

    #[test]
    fn a_text_is_as_long_as_its_bytes() {
        assert_eq!(read("Label", json!("twelve bytes")), Ok(text("twelve bytes")));
        assert_eq!(read("Label", json!("开关开关")), Ok(text("开关开关")));
        assert_eq!(given("Label", text("开关开关!")), range("the text has 13 bytes, 12 at most are allowed"));
        assert_eq!(given("Label", Value::Date("1565000000".into())), Ok(text("1565000000")));
        assert_eq!(read("Label", json!(1.5)), Ok(text("1.5")));
        assert_eq!(given("Label", Value::Int(42)), Ok(text("42")));
        assert_eq!(given("Label", Value::Double(f64::MAX)), range("the text has 23 bytes, 12 at most are allowed"));
        assert_eq!(read("Label", json!(true)), wrong("`true` is not text"));
        assert_eq!(read("Label", json!(["a"])), wrong(r#"`["a"]` is not text"#));
    }

    #[test]
    fn a_date_is_seconds_or_milliseconds_as_given() {
        for digits in ["1565000000", "1565000000000"] {
            let date = Ok(Value::Date(digits.to_owned()));
            assert_eq!(given("Since", text(digits)), date);
            assert_eq!(given("Since", Value::Date(digits.to_owned())), date);
            assert_eq!(given("Since", Value::Double(digits.parse().unwrap())), date);
            assert_eq!(read("Since", serde_json::from_str(digits).unwrap()), date);
        }
        let expected = "is not a date: expected 13 digits (milliseconds since 1970) or 10 (seconds)";
        for no_date in ["2019-08-05", "156500000", "-156500000", "+156500000", "1565000000.5", "", "１５６５"] {
            assert_eq!(read("Since", json!(no_date)), wrong(&format!("`{no_date}` {expected}")));
        }
        assert_eq!(read("Since", json!(1_565_000_000.5)), wrong(&format!("`1565000000.5` {expected}")));
        assert_eq!(read("Since", json!(true)), wrong("`true` is not a date"));
    }

    #[test]
    fn every_item_of_an_array_is_converted() {
        let levels = Ok(Value::Compound("[0.5,1.0,16.730524]".into()));
        assert_eq!(read("Levels", json!([0.5, "1", 16.730524])), levels);
        assert_eq!(read("Levels", json!(r#"[0.5,"1",16.730524]"#)), levels);
        assert_eq!(given("Levels", Value::Compound(r#"[0.5, 1, "16.730524"]"#.into())), levels);
        assert_eq!(given("Levels", text("[]")), Ok(Value::Compound("[]".into())));
        assert_eq!(read("Levels", json!([1, 2, 3, 4])), range("the array has 4 items, 3 at most are allowed"));
        assert_eq!(read("Levels", json!([1, 2, "x"])), wrong("at `[2]`: `x` is not a number"));
        assert_eq!(read("Levels", json!([null])), wrong("at `[0]`: `null` is not a number"));
        assert_eq!(read("Levels", json!({})), wrong("`{}` is not an array"));
        assert_eq!(given("Levels", Value::Int(1)), wrong("`1` is not an array"));
        assert!(given("Levels", Value::Compound("[1,".into())).unwrap_err().1.starts_with("`[1,` is not JSON: "));
    }

    #[test]
    fn every_field_of_a_struct_is_converted_and_unknown_ones_are_refused() {
        assert_eq!(read("Scene", json!([{"on": "1", "level": 7.0}, {"level": "8", "on": 0}])), {
            Ok(Value::Compound(r#"[{"on":1,"level":7},{"level":8,"on":0}]"#.into()))
        });
        assert_eq!(read("Scene", json!([{"on": 1, "level": 1}, {"level": 300}])), range("at `[1].level`: `300` is above the maximum 255"));
        assert_eq!(read("Scene", json!([{"hue": 1}])), wrong("at `[0]`: the struct has no field `hue`: expected on, level"));
        assert_eq!(read("Scene", json!([{"on": 1}])), wrong("at `[0]`: the struct must have a field `level`"));
        assert_eq!(read("Scene", json!([3])), wrong("at `[0]`: `3` is not a struct, which is a JSON object"));
    }

    #[test]
    fn null_is_no_value() {
        for property in lamp().properties() {
            let error = property.data_type.from_json(&Json::Null).unwrap_err();
            assert_eq!(error.code, 109_008, "{}", property.identifier);
            assert!(error.reason.starts_with("`null` is not"), "{}", error.reason);
        }
    }

    #[test]
    fn compound_json_is_no_scalar() {
        assert_eq!(given("Brightness", Value::Compound("5".into())), wrong("`5` is not a number"));
        assert_eq!(given("Label", Value::Compound("[]".into())), wrong("`[]` is not text"));
    }

    #[test]
    fn to_convert_again_changes_nothing() {
        for (property, json) in [
            ("LightSwitch", json!("1")),
            ("Brightness", json!("15")),
            ("Illuminance", json!(0.1)),
            ("Energy", json!("0.1")),
            ("Mode", json!("7")),
            ("Label", json!(7)),
            ("Since", json!(1_565_000_000_000_u64)),
            ("Levels", json!(["0.1", 1])),
            ("Scene", json!([{"on": true, "level": "3"}])),
        ] {
            let once = read(property, json).unwrap();
            assert_eq!(given(property, once.clone()), Ok(once.clone()), "{property}");
            assert_eq!(read(property, once.to_json()), Ok(once.clone()), "{property}");
            assert_eq!(given(property, Value::Text(once.to_text())), Ok(once), "{property}");
        }
    }

    #[test]
    fn a_message_repeats_little_of_what_was_given() {
        let long = format!("line\n{}", "x".repeat(100_000));
        let (_, reason) = read("Brightness", json!(long)).unwrap_err();
        assert_eq!(reason, format!("`line\\n{}...` is not a number", "x".repeat(35)));
    }

    fn values() -> impl proptest::strategy::Strategy<Value = Json> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            (-2_i64..300).prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            "[-+0-9.eE]{0,6}|true|.{0,6}".prop_map(Json::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                proptest::collection::btree_map("[a-z]{0,5}|red", inner, 0..4).prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        /// What was converted once stays as it is.
        #[test]
        fn any_value_is_converted_or_refused_and_a_converted_one_is_settled(json in values()) {
            for property in lamp().properties() {
                if let Ok(value) = property.data_type.from_json(&json) {
                    proptest::prop_assert_eq!(property.data_type.convert(value.clone()), Ok(value.clone()), "{}", property.identifier);
                    proptest::prop_assert!(property.data_type.from_json(&value.to_json()).is_ok(), "{}: {:?}", property.identifier, value);
                }
            }
        }
    }
}
