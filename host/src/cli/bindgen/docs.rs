//! What a TSL says for people: names, units, descriptions and limits, as doc comments.

use serde_json::Value as Json;

use crate::thing::tsl::DataType;

/// Of a member of a TSL: `json` is its entry.
pub fn member(identifier: &str, data_type: &DataType, json: &Json) -> Vec<String> {
    let limits = limits(data_type, &json["dataType"]["specs"]);
    titled(identifier, json, if limits.is_empty() { String::new() } else { format!(": {limits}") })
}

/// Of an event or a service.
pub fn title(identifier: &str, json: &Json) -> Vec<String> {
    titled(identifier, json, String::new())
}

fn titled(identifier: &str, json: &Json, rest: String) -> Vec<String> {
    let name = json["name"].as_str().map(plain).filter(|name| !name.is_empty() && name != identifier);
    let mut docs = vec![format!("`{identifier}`{}{rest}.", name.map(|name| format!(", {name}")).unwrap_or_default())];
    let description = ["desc", "description"].iter().find_map(|key| json[*key].as_str()).map(plain);
    if let Some(description) = description.filter(|text| !text.is_empty()) {
        docs.extend([String::new(), description]);
    }
    docs
}

/// The range, step, length and unit of a type.
fn limits(data_type: &DataType, specs: &Json) -> String {
    let unit = unit(specs);
    match data_type {
        DataType::Int { min, max, step } => {
            range((*min != i32::MIN).then_some(min), (*max != i32::MAX).then_some(max), step.as_ref(), &unit)
        }
        DataType::Float { min, max, step } => {
            range((*min != f32::MIN).then_some(min), (*max != f32::MAX).then_some(max), step.as_ref(), &unit)
        }
        DataType::Double { min, max, step } => {
            range((*min != f64::MIN).then_some(min), (*max != f64::MAX).then_some(max), step.as_ref(), &unit)
        }
        DataType::Bool => {
            let meaning = |key: &str, value: &str| specs[key].as_str().map(|text| format!("`{value}` is {}", plain(text)));
            let meanings: Vec<String> = meaning("0", "false").into_iter().chain(meaning("1", "true")).collect();
            meanings.join(", ")
        }
        DataType::Text { length } => format!("at most {length} bytes of UTF-8{unit}"),
        DataType::Array { size, item } => {
            let each = limits(item, &specs["item"]["specs"]);
            format!("at most {size} items{}", if each.is_empty() { String::new() } else { format!(", each {each}") })
        }
        DataType::Enum { .. } | DataType::Date | DataType::Struct { .. } => String::new(),
    }
}

fn range<N: ToString, S: ToString>(min: Option<&N>, max: Option<&N>, step: Option<&S>, unit: &str) -> String {
    let range = match (min.map(ToString::to_string), max.map(ToString::to_string)) {
        (Some(min), Some(max)) => format!("{min} to {max}{unit}"),
        (Some(min), None) => format!("{min} and above{unit}"),
        (None, Some(max)) => format!("{max} and below{unit}"),
        (None, None) if unit.is_empty() => String::new(),
        (None, None) => format!("in{unit}"),
    };
    let step = step.map(|step| format!("steps of {}", step.to_string()));
    [range, step.unwrap_or_default()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", in ")
}

/// As in ` lm (lumen)`.
fn unit(specs: &Json) -> String {
    let text = |key: &str| specs[key].as_str().map(plain).filter(|text| !text.is_empty());
    match (text("unit"), text("unitName")) {
        (Some(unit), Some(name)) if name != unit => format!(" {unit} ({name})"),
        (Some(unit), _) | (None, Some(unit)) => format!(" {unit}"),
        (None, None) => String::new(),
    }
}

/// Text of a stranger, on one line, that means nothing to rustdoc, and that shows as it stands: characters that turn the direction of what
/// follows are an error to rustc.
pub fn plain(text: &str) -> String {
    let is_hidden =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let mut shown = String::new();
    for c in text.split(|c: char| c.is_whitespace() || is_hidden(c)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").chars() {
        if "\\`*_[]<>#|~&".contains(c) {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_and_units_are_told_in_words() {
        for (data_type, wanted) in [
            (
                json!({"type": "int", "specs": {"min": "0", "max": "600", "step": "5", "unit": "lm", "unitName": "流明"}}),
                ": 0 to 600 lm (流明), in steps of 5",
            ),
            (json!({"type": "int", "specs": {"unit": "V"}}), ": in V"),
            (json!({"type": "float", "specs": {"min": "0", "max": "1000.1", "step": "0.1"}}), ": 0 to 1000.1, in steps of 0.1"),
            (json!({"type": "double", "specs": {"min": "-1", "unitName": "bar"}}), ": -1 and above bar"),
            (json!({"type": "double", "specs": {"step": "2"}}), ": steps of 2"),
            (json!({"type": "bool", "specs": {"0": "off", "1": "on"}}), ": `false` is off, `true` is on"),
            (
                json!({"type": "array", "specs": {"size": "3", "item": {"type": "text", "specs": {"length": "4"}}}}),
                ": at most 3 items, each at most 4 bytes of UTF-8",
            ),
            (json!({"type": "date"}), ""),
        ] {
            let entry = json!({"identifier": "P", "name": "p [1]", "accessMode": "rw", "dataType": data_type});
            let tsl = crate::thing::tsl::Tsl::parse(&json!({"properties": [entry]}).to_string()).unwrap();
            let property = tsl.properties().next().unwrap();
            assert_eq!(member("P", &property.data_type, &entry), [format!("`P`, p \\[1\\]{wanted}.")]);
        }
    }

    #[test]
    fn a_strangers_text_is_one_line_that_means_nothing() {
        assert_eq!(plain(" a\r\n*/ b\u{202e}c\t<d> "), "a \\*/ b c \\<d\\>");
        assert_eq!(title("s", &json!({"name": "s", "desc": "Does\nthis."})), ["`s`.", "", "Does this."]);
    }
}
