//! `[drivers.NAME]` and `[functions."SERVICE/FUNCTION"]`: what is built from crates or taken as it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::reader::{Entry, Table, Value};
use super::sandbox::{self, Of};
use super::{Source, json, place};
use crate::limit::REUSE;
use crate::name::{FunctionName, check_driver};
use crate::set::{Driver, Function, HttpAuth, HttpTrigger, check_http_prefix};

/// The most entries of a driver's `config.kv` (FACTS 3.1).
const KV_ENTRIES_MAX: usize = 100;

pub fn driver(entry: &Entry<'_>) -> Option<Driver<Source>> {
    let name = check_driver(entry.key).map_err(|err| entry.error(err));
    let table = entry.value.table(&["crate", "component", "config", "limits", "grants"])?;
    let component = source(&table);
    let config = table.optional("config").map(|config| read_config(&config));
    let (limits, grants) = (sandbox::limits(&table, Of::Driver), sandbox::grants(&table, Of::Driver));
    name.ok()?;
    Some(Driver { name: entry.key.to_owned(), component: component?, config: config.flatten(), limits, grants })
}

pub fn function(entry: &Entry<'_>) -> Option<Function<Source>> {
    let name: Result<FunctionName, ()> = entry.key.parse().map_err(|err| entry.error(err));
    let table = entry.value.table(&["crate", "component", "limits", "grants", "reuse", "http"])?;
    let component = source(&table);
    let (limits, grants) = (sandbox::limits(&table, Of::Function), sandbox::grants(&table, Of::Function));
    let reuse = table.optional("reuse").and_then(|value| value.integer(REUSE)).unwrap_or_default();
    let http = table.optional("http").map(|http| http_trigger(&http));
    let grants = Arc::new(grants);
    Some(Function { name: name.ok()?, component: component?, limits, grants, reuse, http: http.flatten() })
}

fn http_trigger(value: &Value<'_>) -> Option<HttpTrigger> {
    let table = value.table(&["prefix", "auth"])?;
    let prefix = table.required("prefix").and_then(|value| value.checked(check_http_prefix));
    let auth = match table.optional("auth").map(|value| (value.text(), value)) {
        None | Some((Some("user"), _)) => Some(HttpAuth::User),
        Some((Some("anonymous"), _)) => Some(HttpAuth::Anonymous),
        Some((Some(_), value)) => {
            value.error("expected `user` (the users of this gateway) or `anonymous` (everybody)");
            None
        }
        Some((None, _)) => None,
    };
    Some(HttpTrigger { prefix: prefix?.to_owned(), auth: auth? })
}

fn source(table: &Table<'_>) -> Option<Source> {
    let (key, value) = table.exactly_one(&["crate", "component"])?;
    let path = value.dir().join(value.text()?);
    let shown = place::shown(&path);
    if key == "crate" {
        if !path.join("Cargo.toml").is_file() {
            value.error(format_args!("`{}` has no Cargo.toml; expected the directory of a Rust crate", shown.display()));
        }
        return Some(Source::Crate(path));
    }
    if !path.is_file() {
        value.error(format_args!("`{}` is no file; expected a component's .wasm file", shown.display()));
    }
    Some(Source::Component(path))
}

/// The member `config` of the driver's configuration (FACTS 3.1), in one of its three forms.
fn read_config(value: &Value<'_>) -> Option<Json> {
    let forms = ["json", "kv", "fileList"];
    let (form, value) = value.table(&forms)?.exactly_one(&forms)?;
    let content = match form {
        "json" => json::object(&value)?,
        "kv" => key_values(&value)?,
        _ => files(&value)?,
    };
    Some(json!({ form: content }))
}

fn key_values(value: &Value<'_>) -> Option<Json> {
    let items = value.array()?;
    if items.len() > KV_ENTRIES_MAX {
        value.error(format_args!("has {} entries; expected {KV_ENTRIES_MAX} at most", items.len()));
    }
    let mut keys = BTreeSet::new();
    for item in &items {
        let Some(table) = item.table(&["key", "value", "note"]) else { continue };
        if let Some((text, key)) = table.required("key").and_then(|key| Some((key.text()?, key)))
            && !keys.insert(text)
        {
            key.error(format_args!("the key `{text}` is there twice"));
        }
        table.required("value").and_then(|value| value.text());
        table.optional("note").and_then(|note| note.text());
    }
    texts(&items)
}

fn files(value: &Value<'_>) -> Option<Json> {
    let items = value.array()?;
    for item in &items {
        item.table(&["path"]).and_then(|table| table.required("path")?.text());
    }
    texts(&items)
}

/// Tables of texts as JSON. What is no text was noted before.
fn texts(items: &[Value<'_>]) -> Option<Json> {
    let object = |item: &Value<'_>| {
        let members = item.raw()?.as_table()?;
        let member = |key: &str| Some((key.to_owned(), Json::from(members.get(key)?.get_ref().as_str()?)));
        Some(Json::Object(["key", "value", "note", "path"].into_iter().filter_map(member).collect::<Map<_, _>>()))
    };
    items.iter().map(object).collect()
}
