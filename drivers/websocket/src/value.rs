//! Values as the protocol has them: `{"identifier": ..., "type": ..., "value": ...}`.
//!
//! What a value must be is known to the gateway by the TSL, which converts and refuses. Here, `type` tells only what JSON leaves open: whether a
//! number is a date, and whether a text is a structure.

use ledge_sdk::serde_json::{Value as Json, json};
use ledge_sdk::value::{Properties, Property, Value};

/// A value's names of types, as a TSL spells them.
const TYPES: [&str; 9] = ["int", "bool", "float", "text", "date", "enum", "struct", "array", "double"];

/// The values of a list, and what is wrong with those that are none.
pub fn from_list(list: &Json, name: &str) -> Result<(Properties, Vec<String>), String> {
    let items = match list {
        Json::Array(items) => items,
        Json::Null => return Err(format!("`{name}` is missing: a list of identifier, type and value")),
        _ => return Err(format!("`{name}` is no list of identifier, type and value")),
    };
    let (mut values, mut wrong) = (Vec::new(), Vec::new());
    for (at, item) in items.iter().enumerate() {
        match from_item(item) {
            Ok(property) => values.push(property),
            Err(why) => wrong.push(format!("{name}[{at}]: {why}")),
        }
    }
    Ok((values.into(), wrong))
}

fn from_item(item: &Json) -> Result<Property, String> {
    let identifier = item["identifier"].as_str().ok_or("it has no text `identifier`")?;
    let kind = match &item["type"] {
        Json::Null => "",
        Json::String(kind) if TYPES.contains(&kind.as_str()) => kind,
        other => return Err(format!("`type` of `{identifier}` is {other}; expected one of {}", TYPES.join(", "))),
    };
    let value = match (&item["value"], kind) {
        (Json::Number(number), "date") => Some(Value::Date(number.to_string())),
        (Json::String(text), "struct" | "array") => Some(Value::Compound(text.clone())),
        (value, _) => Value::from_json(value),
    };
    let value = value.ok_or_else(|| format!("`{identifier}` has no `value`"))?;
    Ok(Property { identifier: identifier.to_owned(), value })
}

pub fn to_list(values: &Properties) -> Json {
    let item = |property: &Property| {
        json!({
            "identifier": property.identifier,
            "type": kind(&property.value),
            "value": property.value.to_json(),
        })
    };
    values.iter().map(item).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Compound(json) if json.trim_start().starts_with('[') => "array",
        Value::Compound(_) => "struct",
        other => other.type_name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_goes_both_ways() {
        let sent = json!([
            {"identifier": "i", "type": "int", "value": -3},
            {"identifier": "b", "type": "bool", "value": 1},
            {"identifier": "f", "type": "double", "value": 0.5},
            {"identifier": "t", "type": "text", "value": "x"},
            {"identifier": "d", "type": "date", "value": 1_700_000_000_000_u64},
            {"identifier": "s", "type": "struct", "value": {"a": 1}},
            {"identifier": "l", "type": "array", "value": "[1,2]"},
            {"identifier": "u", "value": true},
        ]);
        let (values, wrong) = from_list(&sent, "properties").unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
        let back = to_list(&values);
        assert_eq!(back[0], sent[0]);
        assert_eq!(back[3], sent[3]);
        assert_eq!(back[4], json!({"identifier": "d", "type": "date", "value": "1700000000000"}));
        assert_eq!(back[5], sent[5]);
        assert_eq!(back[6], json!({"identifier": "l", "type": "array", "value": [1, 2]}));
        assert_eq!(back[7], json!({"identifier": "u", "type": "bool", "value": 1}));
    }

    #[test]
    fn what_is_no_value_is_named_and_the_others_are_kept() {
        let sent = json!([
            {"identifier": "good", "type": "int", "value": 1},
            {"type": "int", "value": 1},
            {"identifier": "kind", "type": "integer", "value": 1},
            {"identifier": "none", "type": "int", "value": null},
            7,
        ]);
        let (values, wrong) = from_list(&sent, "properties").unwrap();
        assert_eq!(values.len(), 1);
        assert_eq!(wrong.len(), 4);
        assert!(wrong[0].starts_with("properties[1]") && wrong[1].contains("\"integer\"") && wrong[2].contains("`none`"), "{wrong:?}");
        assert!(from_list(&Json::Null, "outputData").unwrap_err().contains("missing"));
        assert!(from_list(&json!({}), "outputData").is_err());
    }
}
