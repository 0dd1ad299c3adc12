//! Reading JSON that people wrote: numbers as numbers or as text (`"0x1F"`), keys that must be known, and reasons for what is wrong.

use std::fmt::Display;
use std::ops::RangeInclusive;

use ledge_sdk::serde_json::{Map, Value as Json};

/// An object, and the keys that it may have.
pub struct Fields<'a> {
    members: &'a Map<String, Json>,
}

impl<'a> Fields<'a> {
    pub fn new(json: &'a Json, known: &[&str]) -> Result<Self, String> {
        let Some(members) = json.as_object() else { return Err(format!("{} is no object", shown(json))) };
        match members.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(format!("there is no key `{key}`; expected {}", known.join(", "))),
            None => Ok(Self { members }),
        }
    }

    /// What a TSL extension says of one value.
    pub fn of_customize(json: &'a Json, known: &[&str]) -> Result<Self, String> {
        Self::new(json, known).map_err(|wrong| format!("`customize`: {wrong}"))
    }

    /// `null` is as good as absent.
    pub fn get(&self, key: &str) -> Option<&'a Json> {
        self.members.get(key).filter(|json| !json.is_null())
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        self.read(key, |json| json.as_str().ok_or_else(|| "no text".into()))
    }

    /// One of these words, in lower case.
    pub fn word(&self, key: &str, words: &[&str]) -> Result<Option<String>, String> {
        self.read(key, |json| {
            let word = json.as_str().unwrap_or_default().to_lowercase();
            if words.contains(&word.as_str()) { Ok(word) } else { Err(format!("none of {}", words.join(", "))) }
        })
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        self.read(key, |json| match json {
            Json::Bool(flag) => Ok(*flag),
            Json::String(text) if text == "true" || text == "1" => Ok(true),
            Json::String(text) if text == "false" || text == "0" => Ok(false),
            other if *other == 1 => Ok(true),
            other if *other == 0 => Ok(false),
            _ => Err("neither true nor false".into()),
        })
    }

    pub fn number(&self, key: &str) -> Result<Option<f64>, String> {
        self.read(key, |json| {
            let number = json.as_f64().or_else(|| json.as_str()?.trim().parse().ok());
            number.filter(|number| number.is_finite()).ok_or_else(|| "no number".into())
        })
    }

    /// A whole number: 31, "31" or "0x1F".
    pub fn whole<T: TryFrom<u64> + PartialOrd + Display>(&self, key: &str, range: RangeInclusive<T>) -> Result<Option<T>, String> {
        self.read(key, |json| {
            let number = json.as_u64().or_else(|| digits(json.as_str()?.trim()));
            let number = number.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number));
            number.ok_or_else(|| format!("no whole number from {} to {}", range.start(), range.end()))
        })
    }

    fn read<T>(&self, key: &str, read: impl FnOnce(&'a Json) -> Result<T, String>) -> Result<Option<T>, String> {
        let Some(json) = self.get(key) else { return Ok(None) };
        read(json).map(Some).map_err(|wrong| format!("`{key}` is {}, which is {wrong}", shown(json)))
    }
}

fn digits(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What was given, as far as it takes to recognise it.
fn shown(json: &Json) -> String {
    const SHOWN_CHARS: usize = 40;
    json.to_string().chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use ledge_sdk::serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_numbers_or_texts() {
        let json = json!({"a": 31, "b": "31", "c": "0x1F", "d": " 0X1f ", "e": "0.5", "f": null, "g": -1, "h": "1", "i": "x"});
        let fields = Fields::new(&json, &["a", "b", "c", "d", "e", "f", "g", "h", "i"]).unwrap();
        for key in ["a", "b", "c", "d"] {
            assert_eq!(fields.whole(key, 0..=100_u16), Ok(Some(31)), "{key}");
        }
        assert_eq!(fields.number("e"), Ok(Some(0.5)));
        assert_eq!(fields.number("f"), Ok(None));
        assert_eq!(fields.flag("h"), Ok(Some(true)));
        assert_eq!(fields.whole("g", 0..=9_u8), Err("`g` is -1, which is no whole number from 0 to 9".into()));
        assert_eq!(fields.number("i"), Err("`i` is \"x\", which is no number".into()));
        assert_eq!(fields.word("i", &["y", "z"]), Err("`i` is \"x\", which is none of y, z".into()));
    }

    #[test]
    fn a_key_that_nobody_knows_is_named() {
        assert_eq!(Fields::new(&json!({"adress": 1}), &["address"]).err().unwrap(), "there is no key `adress`; expected address");
        assert_eq!(Fields::new(&json!([1]), &["address"]).err().unwrap(), "[1] is no object");
    }
}
