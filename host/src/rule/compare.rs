//! Comparing what was found with what a rule asks for.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value as Json;

/// As in `> 30`.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    how: How,
    with: Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    More,
    MoreOrEqual,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    /// One of a list.
    In,
}

impl Comparison {
    /// `compareType` and `compareValue`.
    pub fn new(how: &str, with: Json) -> Result<Self, String> {
        let how = match how {
            ">" => How::More,
            ">=" => How::MoreOrEqual,
            "==" => How::Equal,
            "!=" => How::NotEqual,
            "<" => How::Less,
            "<=" => How::LessOrEqual,
            "in" => How::In,
            other => return Err(format!("`{other}` is no comparison; expected one of > >= == != < <= in")),
        };
        let with = match (how, with) {
            (How::In, Json::String(list)) => list.split(',').map(|item| Json::from(item.trim())).collect(),
            (How::In, list @ Json::Array(_)) => list,
            (How::In, _) => return Err("`in` needs a list as `compareValue`".to_owned()),
            (_, one @ (Json::Number(_) | Json::String(_) | Json::Bool(_))) => one,
            (How::Equal | How::NotEqual, other) => other,
            _ => return Err("`compareValue` must be a number or text to be more or less than".to_owned()),
        };
        Ok(Self { how, with })
    }

    /// The values that it compares with.
    pub fn values(&self) -> Vec<&Json> {
        match (&self.with, self.how) {
            (Json::Array(items), How::In) => items.iter().collect(),
            (one, _) => vec![one],
        }
    }

    /// Whether it asks for more or less, which not every type has.
    pub fn is_of_order(&self) -> bool {
        !matches!(self.how, How::Equal | How::NotEqual | How::In)
    }

    pub fn holds(&self, found: &Json) -> bool {
        match self.how {
            How::Equal => is_same(found, &self.with),
            How::NotEqual => !is_same(found, &self.with),
            How::In => self.values().iter().any(|item| is_same(found, item)),
            How::More => order(found, &self.with) == Some(Ordering::Greater),
            How::Less => order(found, &self.with) == Some(Ordering::Less),
            How::MoreOrEqual => order(found, &self.with).is_some_and(Ordering::is_ge),
            How::LessOrEqual => order(found, &self.with).is_some_and(Ordering::is_le),
        }
    }
}

/// Two texts are the same only letter by letter: `007` and `7` are two doors.
fn is_same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::String(a), Json::String(b)) => a == b,
        _ => order(a, b).map_or(a == b, Ordering::is_eq),
    }
}

fn order(a: &Json, b: &Json) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (whole(a), whole(b)) {
        return Some(a.cmp(&b));
    }
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.partial_cmp(&b),
        _ => None,
    }
}

/// A whole number, which has more digits than a float keeps.
fn whole(json: &Json) -> Option<i64> {
    match json {
        Json::Number(number) => number.as_i64(),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A number however it is written: `"1"`, `1` and `true` are one, as everywhere at this boundary.
fn number(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        Json::Bool(on) => Some(f64::from(u8::from(*on))),
        Json::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::More => ">",
            How::MoreOrEqual => ">=",
            How::Equal => "==",
            How::NotEqual => "!=",
            How::Less => "<",
            How::LessOrEqual => "<=",
            How::In => "in",
        };
        write!(f, "{how} {}", self.with)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers_however_they_are_written() {
        let table = [
            (json!(31), ">", json!(30), true),
            (json!(30), ">", json!("30"), false),
            (json!("9"), "<", json!(10), true),
            (json!(30.5), ">=", json!(30.5), true),
            (json!(1), "==", json!(true), true),
            (json!("1"), "==", json!(1), true),
            (json!("on"), "==", json!("on"), true),
            (json!("on"), "!=", json!("off"), true),
            (json!("on"), ">", json!("off"), false),
            (json!(2), "in", json!([1, 2]), true),
            (json!("b"), "in", json!("a, b"), true),
            (json!(3), "in", json!("1,2"), false),
            (json!([1]), "==", json!([1]), true),
            (json!("00123"), "==", json!("123"), false),
            (json!("12345678901234567891"), "==", json!("12345678901234567890"), false),
            (json!(9_007_199_254_740_993_i64), "==", json!(9_007_199_254_740_992_i64), false),
            (json!("1565000000001"), ">", json!("1565000000000"), true),
        ];
        for (found, how, with, holds) in table {
            assert_eq!(Comparison::new(how, with.clone()).unwrap().holds(&found), holds, "{found} {how} {with}");
        }
    }

    #[test]
    fn a_comparison_that_is_none_is_refused() {
        for (how, with) in [("=>", json!(1)), ("", json!(1)), ("in", json!(1)), (">", json!([1])), ("<", json!(null))] {
            assert!(Comparison::new(how, with).is_err(), "{how}");
        }
    }
}
