//! A TOML table as the JSON that a driver reads.

use serde_json::{Map, Number, Value as Json};
use toml::de::{DeFloat, DeInteger, DeTable, DeValue};

use super::reader::Value;
use crate::limit::CONFIG_JSON_BYTES_MAX;

/// The table as a JSON object of at most [`CONFIG_JSON_BYTES_MAX`].
pub fn object(value: &Value<'_>) -> Option<Json> {
    object_of(value, CONFIG_JSON_BYTES_MAX)
}

/// The same, of at most so many bytes.
pub fn object_of(value: &Value<'_>, bytes_max: usize) -> Option<Json> {
    // Notes it if the value is no table.
    value.entries()?;
    let Some(DeValue::Table(entries)) = value.raw() else { return None };
    let json = table(entries).map_err(|err| value.error(err)).ok()?;
    let bytes = json.to_string().len();
    if bytes > bytes_max {
        value.error(format_args!("has {bytes} bytes as JSON; expected {bytes_max} at most"));
        return None;
    }
    Some(json)
}

fn table(entries: &DeTable<'_>) -> Result<Json, String> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let members = entries.into_iter().map(|(key, value)| Ok((key.get_ref().to_string(), any(value.get_ref())?)));
    Ok(Json::Object(members.collect::<Result<Map<_, _>, String>>()?))
}

fn any(value: &DeValue<'_>) -> Result<Json, String> {
    Ok(match value {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Integer(digits) => integer(digits)?,
        DeValue::Float(digits) => float(digits)?,
        DeValue::Boolean(boolean) => Json::Bool(*boolean),
        DeValue::Datetime(date) => Json::String(date.to_string()),
        DeValue::Array(items) => Json::Array(items.iter().map(|item| any(item.get_ref())).collect::<Result<_, _>>()?),
        DeValue::Table(entries) => table(entries)?,
    })
}

fn integer(digits: &DeInteger<'_>) -> Result<Json, String> {
    let number = i64::from_str_radix(digits.as_str(), digits.radix());
    number.map(Json::from).map_err(|_| format!("{digits} is out of range; expected a number of 64 bits"))
}

fn float(digits: &DeFloat<'_>) -> Result<Json, String> {
    let number = digits.as_str().parse().ok().and_then(Number::from_f64);
    number.map(Json::Number).ok_or_else(|| format!("JSON has no number {digits}"))
}
