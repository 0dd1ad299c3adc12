//! `ledge list`.

use comfy_table::{Table, presets};
use serde_json::Value as Json;

use super::client::Client;
use super::output::say;
use super::{Listing, TargetArgs};

pub async fn run(what: Listing, json: bool, target: TargetArgs) -> anyhow::Result<()> {
    let (path, columns): (_, &[&str]) = match what {
        Listing::Functions => {
            ("functions", &["name", "mode", "state", "running", "deadline_ms", "memory_mib", "http", "component", "reason"])
        }
        Listing::Drivers => ("drivers", &["name", "state", "restarts", "things", "things_online", "reason"]),
        Listing::Things => ("things", &["product", "name", "driver", "state", "values", "tags"]),
        Listing::Routes => ("routes", &["source", "topic", "target", "qos"]),
        Listing::Timers => ("timers", &["function", "name", "schedule", "missed", "last", "next"]),
        Listing::Rules => ("rules", &["name", "enabled", "runs", "last", "next", "waiting", "description"]),
        Listing::Versions => ("versions", &["service", "version", "published", "functions", "description"]),
        Listing::Aliases => ("aliases", &["service", "alias", "version", "also"]),
        Listing::Users => ("users", &["name", "role", "permissions", "products"]),
        Listing::Products => ("products", &["key", "name", "properties", "events", "services", "things"]),
    };
    let rows = Client::of(&target)?.get_json(&format!("/ledge/v1/{path}")).await?;
    if json {
        return Ok(say(serde_json::to_string_pretty(&rows)?)?);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.to_uppercase()));
    for row in rows.as_array().into_iter().flatten() {
        table.add_row(columns.iter().map(|column| cell(row, column)));
    }
    Ok(say(table)?)
}

fn cell(row: &Json, column: &str) -> String {
    match (column, &row[column]) {
        ("deadline_ms", _) => plain(&row["limits"]["deadline_ms"]),
        ("memory_mib", _) => (row["limits"]["memory_bytes"].as_u64().unwrap_or_default() >> 20).to_string(),
        ("http", Json::Object(http)) => format!("{} ({})", plain(&http["prefix"]), plain(&http["auth"])),
        ("component", digest) => plain(digest).chars().take(12).collect(),
        ("values", Json::Object(values)) => joined(values.iter().map(|(name, it)| format!("{name}={}", plain(&it["value"])))),
        (_, Json::Object(pairs)) => joined(pairs.iter().map(|(name, it)| format!("{name}={}", plain(it)))),
        (_, Json::Array(items)) => joined(items.iter().map(plain)),
        (_, value) => plain(value),
    }
}

/// Many in one cell. It is cut where it grows long, since the widest row makes all of them as wide; one name or reason never is.
fn joined(parts: impl Iterator<Item = String>) -> String {
    let whole = parts.collect::<Vec<_>>().join(", ");
    match whole.char_indices().nth(CELL_CHARS_MAX) {
        None => whole,
        Some(_) => whole.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect(),
    }
}

fn plain(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a table shows of many values or names; `--json` has them all.
const CELL_CHARS_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_of_many_is_cut_and_one_of_a_single_name_is_not() {
        let values = |text: String| json!({"values": {"Label": {"value": text, "time": 1}}});
        assert_eq!(cell(&values("光".repeat(54)), "values"), format!("Label={}", "光".repeat(54)));
        assert_eq!(cell(&values("光".repeat(55)), "values"), format!("Label={}…", "光".repeat(53)));
        let many = json!({"properties": (0..1_000).map(|number| format!("p{number}")).collect::<Vec<_>>(), "reason": "r".repeat(200)});
        assert_eq!(cell(&many, "properties").chars().count(), 60);
        assert!(cell(&many, "properties").starts_with("p0, p1, p2, ") && cell(&many, "properties").ends_with('…'));
        assert_eq!(cell(&many, "reason").len(), 200);
    }
}
