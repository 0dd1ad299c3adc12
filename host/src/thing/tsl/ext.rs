//! Ext info (扩展描述, FACTS 3.2): what a driver is to know of a product's properties, as `{"properties": [{"identifier", "customize"}]}`.
//!
//! What `customize` says is the driver's own affair. Here it is seen to that it is about properties that there are.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::convert::{quoted, quoted_json};
use super::{PROBLEMS_MAX, Problem, TSL_BYTES_MAX, Tsl, TslError, too_deep};

impl Tsl {
    /// Whether `text` is ext info of this model.
    pub fn check_ext(&self, text: &str) -> Result<(), TslError> {
        if let Some(problem) = too_deep(text.as_bytes()) {
            return Err(TslError(vec![problem]));
        }
        let mut problems = Vec::new();
        let mut add = |path: String, reason: String| {
            if problems.len() < PROBLEMS_MAX {
                problems.push(Problem { path, reason });
            }
        };
        match serde_json::from_str::<Json>(text) {
            _ if text.len() > TSL_BYTES_MAX => {
                add(String::new(), format!("the ext info has {} bytes, {TSL_BYTES_MAX} at most are allowed", text.len()));
            }
            Err(error) => add(String::new(), format!("the ext info is not JSON: {error}")),
            Ok(ext) => self.check_ext_json(&ext, add),
        }
        if problems.is_empty() { Ok(()) } else { Err(TslError(problems)) }
    }

    fn check_ext_json(&self, ext: &Json, mut add: impl FnMut(String, String)) {
        if let Some(own) = ext["profile"]["productKey"].as_str()
            && self.product_key().is_some_and(|key| key != own)
        {
            add("profile.productKey".to_owned(), format!("is {}, and that of the TSL is another one", quoted(own)));
        }
        let Some(properties) = ext["properties"].as_array() else {
            return add("properties".to_owned(), "is missing, or is not a list".to_owned());
        };
        let mut seen = HashSet::new();
        for (place, property) in properties.iter().enumerate() {
            let at = |member: &str| format!("properties[{place}].{member}");
            match &property["identifier"] {
                Json::String(identifier) if self.property(identifier).is_none() => {
                    add(at("identifier"), format!("the TSL has no property {}", quoted(identifier)));
                }
                Json::String(identifier) if !seen.insert(identifier) => {
                    add(at("identifier"), format!("{} is there twice", quoted(identifier)));
                }
                Json::String(_) => {}
                other => add(at("identifier"), format!("{} is not text", quoted_json(other))),
            }
            if !matches!(property.get("customize"), None | Some(Json::Object(_))) {
                add(at("customize"), "is not a JSON object".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lamp;
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        lamp().check_ext(text).unwrap_err().0.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn ext_info_is_about_properties_that_there_are() {
        assert_eq!(lamp().check_ext(r#"{"properties": [{"identifier": "Mode", "customize": {"address": "0x1"}}]}"#), Ok(()));
        let text = r#"{"profile": {"productKey": "x"}, "properties": [{"identifier": "Nope"}, {"customize": 1}, {"identifier": "Mode"},
            {"identifier": "Mode", "customize": []}]}"#;
        assert_eq!(
            problems(text),
            [
                "profile.productKey: is `x`, and that of the TSL is another one",
                "properties[0].identifier: the TSL has no property `Nope`",
                "properties[1].identifier: `null` is not text",
                "properties[1].customize: is not a JSON object",
                "properties[3].identifier: `Mode` is there twice",
                "properties[3].customize: is not a JSON object",
            ]
        );
        assert_eq!(problems("{}"), ["properties: is missing, or is not a list"]);
        assert!(problems("[")[0].starts_with("the ext info is not JSON"));
        let deep = format!(r#"{{"properties": [{{"identifier": "Mode", "customize": {}"#, r#"{"a":"#.repeat(200));
        let (path, reason) = ("properties[0].customize.a.a.", "…: nests deeper than 100 lists and objects");
        assert!(problems(&deep)[0].starts_with(path) && problems(&deep)[0].ends_with(reason), "{:?}", problems(&deep));
    }
}
