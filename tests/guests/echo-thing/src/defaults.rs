//! The values that a thing has before anybody has set one: by the types of its TSL.

use ledge_sdk::Error;
use ledge_sdk::serde_json::{self, Value as Json};
use ledge_sdk::value::{Properties, Property, Value};

pub fn of_tsl(tsl: &str) -> Result<Properties, Error> {
    let tsl: Json = serde_json::from_str(tsl)?;
    let properties = tsl["properties"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(properties.iter().filter_map(property).collect())
}

fn property(property: &Json) -> Option<Property> {
    let data_type = &property["dataType"];
    let specs = &data_type["specs"];
    let least = specs["min"].as_str().and_then(|min| min.parse::<f64>().ok()).unwrap_or_default().max(0.0);
    let value = match data_type["type"].as_str()? {
        "int" => Value::Integer(least as i32),
        "float" => Value::Float(least as f32),
        "double" => Value::Double(least),
        "bool" => Value::Boolean(false),
        "enum" => Value::Enumeration(specs.as_object()?.keys().next()?.parse().ok()?),
        "text" => Value::Text(String::new()),
        "date" => Value::Date("0".into()),
        "array" => Value::Compound("[]".into()),
        _ => Value::Compound("{}".into()),
    };
    Some((property["identifier"].as_str()?, value).into())
}
