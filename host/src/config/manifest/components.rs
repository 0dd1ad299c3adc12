//! `[drivers.NAME]` and `[functions."SERVICE/FUNCTION"]`: what is built from crates or taken as it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::reader::{Entry, Table, Value};
use super::sandbox::{self, Of};
use super::{Source, json, place};
use crate::limit::{AGE_S, ATTEMPTS, BACKOFF_S, CONFIG_FILES_MAX, FIRST_CALLS_MAX, FIRST_CALLS_USUAL, INTERVAL_S, REUSE};
use crate::name::{FunctionName, check_driver, check_timer};
use crate::schedule::{parse_cron, parse_zone};
use crate::set::{
    Asynchronous, ConfigFile, Destination, Driver, Function, Health, HttpAuth, HttpTrigger, Missed, Mode, Schedule, Timer,
    check_config_path, check_http_prefix,
};
use crate::topic::check_topic;

/// The most entries of a driver's `config.kv` (FACTS 3.1).
const KV_ENTRIES_MAX: usize = 100;

pub fn driver(entry: &Entry<'_>) -> Option<Driver<Source>> {
    let name = check_driver(entry.key).map_err(|err| entry.error(err));
    let table = entry.value.table(&["crate", "component", "config", "limits", "grants"])?;
    let component = source(&table);
    let mut files = Vec::new();
    let config = table.optional("config").map(|config| read_config(&config, &mut files));
    let (limits, grants) = (sandbox::limits(&table, Of::Driver), sandbox::grants(&table, Of::Driver));
    name.ok()?;
    Some(Driver { name: entry.key.to_owned(), component: component?, config: config.flatten(), files, limits, grants })
}

pub fn function(entry: &Entry<'_>) -> Option<Function<Source>> {
    let name: Result<FunctionName, ()> = entry.key.parse().map_err(|err| entry.error(err));
    if name.as_ref().is_ok_and(|name| name.qualifier().is_some()) {
        entry.error("a function is deployed without a version or an alias in its name");
    }
    let table = entry.value.table(&["crate", "component", "limits", "grants", "reuse", "mode", "async", "timers", "health", "http"])?;
    let component = source(&table);
    let (limits, grants) = (sandbox::limits(&table, Of::Function), sandbox::grants(&table, Of::Function));
    let reuse = table.optional("reuse").and_then(|value| value.integer(REUSE)).unwrap_or_default();
    let mode = match table.optional("mode").map(|value| (value.text(), value)) {
        None | Some((Some("on-demand"), _)) => Some(Mode::OnDemand),
        Some((Some("persistent"), _)) => Some(Mode::Persistent),
        Some((Some(_), value)) => {
            value.error("expected `on-demand` (an instance for each call) or `persistent` (one instance that stays)");
            None
        }
        Some((None, _)) => None,
    };
    let asynchronous = table.optional("async").map(|value| asynchronous(&value).map(Arc::new));
    let health = table.optional("health").map(|value| health(&value));
    let timers = table.entries("timers").iter().filter_map(timer).collect();
    let http = table.optional("http").map(|http| http_trigger(&http));
    let grants = Arc::new(grants);
    Some(Function {
        name: name.ok()?,
        component: component?,
        limits,
        grants,
        reuse,
        mode: mode?,
        asynchronous: asynchronous.flatten(),
        timers,
        health: health.flatten(),
        http: http.flatten(),
    })
}

fn health(value: &Value<'_>) -> Option<Health> {
    let table = value.table(&["event", "expect", "first_calls"])?;
    let text = |key| table.optional(key).map_or(Some(None), |value| value.text().map(|text| Some(text.to_owned())));
    let (event, expect) = (text("event"), text("expect"));
    if let (Some(None), Some(Some(_))) = (&event, &expect) {
        value.error("`expect` is the result of an `event`: give that too, which may be empty");
    }
    let first_calls = table.optional("first_calls").map_or(Some(FIRST_CALLS_USUAL), |value| value.integer(0..=FIRST_CALLS_MAX));
    Some(Health { event: event?, expect: expect?, first_calls: first_calls? })
}

fn asynchronous(value: &Value<'_>) -> Option<Asynchronous> {
    let table = value.table(&["attempts", "backoff_s", "age_max_s", "on_success", "on_failure"])?;
    let usual = Asynchronous::default();
    let attempts = table.optional("attempts").map_or(Some(usual.attempts), |value| value.integer(ATTEMPTS));
    let backoff_s = table.optional("backoff_s").map_or(Some(usual.backoff_s), |value| {
        let items = value.array()?;
        if items.is_empty() {
            value.error("expected at least one number of seconds");
        }
        items.iter().map(|item| item.integer(BACKOFF_S)).collect()
    });
    let age_max_s = table.optional("age_max_s").map_or(Some(usual.age_max_s), |value| value.integer(AGE_S));
    let to = |key| table.optional(key).map(|value| destination(&value));
    let (on_success, on_failure) = (to("on_success"), to("on_failure"));
    Some(Asynchronous {
        attempts: attempts?,
        backoff_s: backoff_s?,
        age_max_s: age_max_s?,
        on_success: on_success.flatten(),
        on_failure: on_failure.flatten(),
    })
}

fn timer(entry: &Entry<'_>) -> Option<Timer> {
    let name = check_timer(entry.key).map_err(|wrong| entry.error(wrong));
    let table = entry.value.table(&["cron", "time_zone", "every_s", "payload", "missed"])?;
    let (key, value) = table.exactly_one(&["cron", "every_s"])?;
    let zone = table.optional("time_zone");
    let schedule = if key == "cron" {
        let cron = value.checked(|text| parse_cron(text).map(drop));
        let time_zone = zone.map_or(Some("UTC"), |zone| zone.checked(|name| parse_zone(name).map(drop)));
        cron.zip(time_zone).map(|(cron, zone)| Schedule::Cron { cron: cron.to_owned(), time_zone: zone.to_owned() })
    } else {
        if let Some(zone) = zone {
            zone.error("an interval has no time zone; give `cron` in place of `every_s`");
        }
        value.integer(INTERVAL_S).map(Schedule::EveryS)
    };
    let payload = table.optional("payload").map_or(Some(""), |value| value.text());
    let missed = match table.optional("missed").map(|value| (value.text(), value)) {
        None | Some((Some("run_once"), _)) => Some(Missed::RunOnce),
        Some((Some("skip"), _)) => Some(Missed::Skip),
        Some((Some(_), value)) => {
            value.error("expected `skip` or `run_once`");
            None
        }
        Some((None, _)) => None,
    };
    name.ok()?;
    Some(Timer { name: entry.key.to_owned(), schedule: schedule?, payload: payload?.to_owned(), missed: missed? })
}

fn destination(value: &Value<'_>) -> Option<Destination> {
    let keys = ["function", "topic"];
    let (key, value) = value.table(&keys)?.exactly_one(&keys)?;
    if key == "function" {
        return value.parsed().map(Destination::Function);
    }
    value.checked(check_topic).map(|topic| Destination::Topic(topic.to_owned()))
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
    Some(HttpTrigger { prefix: prefix?.to_owned(), auth: auth?, methods: vec![] })
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
fn read_config(value: &Value<'_>, found: &mut Vec<ConfigFile<Source>>) -> Option<Json> {
    let forms = ["json", "kv", "fileList"];
    let (form, value) = value.table(&forms)?.exactly_one(&forms)?;
    let content = match form {
        "json" => json::object(&value)?,
        "kv" => key_values(&value)?,
        _ => files(&value, found)?,
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

/// Notes the files besides, which are sent with the project.
fn files(value: &Value<'_>, found: &mut Vec<ConfigFile<Source>>) -> Option<Json> {
    let items = value.array()?;
    if items.len() > CONFIG_FILES_MAX {
        value.error(format_args!("has {} entries; expected {CONFIG_FILES_MAX} at most", items.len()));
    }
    for item in &items {
        let Some(value) = item.table(&["path"]).and_then(|table| table.required("path")) else { continue };
        let Some(path) = value.checked(check_config_path) else { continue };
        let file = value.dir().join(path);
        if !file.is_file() {
            value.error(format_args!("`{}` is no file; expected one that the driver reads", place::shown(&file).display()));
        }
        if found.iter().any(|other| other.path == path) {
            value.error(format_args!("the file `{path}` is there twice"));
        }
        found.push(ConfigFile { path: path.to_owned(), content: Source::Component(file) });
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
