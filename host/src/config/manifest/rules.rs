//! `[rules.NAME]`: automation rules, each a JSON file or a table.

use serde_json::Value as Json;

use super::products::json_file;
use super::reader::{Entry, Value};
use super::{FILE_BYTES_MAX, json};
use crate::limit::{RUNS_PER_S, RUNS_PER_S_USUAL};
use crate::name::check_rule;
use crate::rule::parse;
use crate::set::{Qos, Rule};

pub fn read(entry: &Entry<'_>) -> Option<Rule> {
    let name = check_rule(entry.key).map_err(|wrong| entry.error(wrong));
    let table = entry.value.table(&["file", "rule", "description", "enabled", "qos", "runs_per_s"])?;
    let rule = table.exactly_one(&["file", "rule"]).and_then(|(key, value)| rule(key, &value));
    let description = table.optional("description").map_or(Some(""), |value| value.text());
    let enabled = table.optional("enabled").map_or(Some(true), |value| value.boolean());
    let qos = table.optional("qos").map_or(Some(0), |value| value.integer(0..=1)).and_then(|number: u8| Qos::try_from(number).ok());
    let runs_per_s = table.optional("runs_per_s").map_or(Some(RUNS_PER_S_USUAL), |value| value.integer(RUNS_PER_S));
    name.ok()?;
    Some(Rule {
        name: entry.key.to_owned(),
        description: description?.to_owned(),
        rule: rule?,
        enabled: enabled?,
        qos: qos?,
        runs_per_s: runs_per_s?,
    })
}

/// The rule's JSON, if it can be understood. Whether what it names is there, only the gateway knows.
fn rule(key: &str, value: &Value<'_>) -> Option<Json> {
    let json = if key == "file" {
        // It was checked to be JSON, but for depth.
        serde_json::from_str(&json_file(value, FILE_BYTES_MAX)?).map_err(|wrong| value.error(wrong)).ok()?
    } else {
        json::object_of(value, FILE_BYTES_MAX)?
    };
    match parse(&json) {
        Ok(_) => Some(json),
        Err(wrongs) => {
            wrongs.iter().for_each(|wrong| value.error(format_args!("the rule is wrong at {wrong}")));
            None
        }
    }
}
