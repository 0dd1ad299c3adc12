//! `limits` and `grants` of a function or a driver.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use toml::de::DeValue;

use super::reader::{Table, Value};
use crate::grant::{Certificate, Dir, Env, Grants, InvokeGrants, Listen, ThingGrants, check_variable};
use crate::limit::{
    BREAKER_FAILURES, CALL_DEPTH, CONCURRENCY, CONNECTIONS, CPU_MS, DEADLINE_MS, HANDLES, HOST_CALL_BYTES, INVOCATIONS_PER_S, KV_BYTES,
    LOG_BYTES_PER_S, Limits, MEMORY_BYTES, PUBLISHES_PER_S, STACK_BYTES, TABLE_ELEMENTS,
};

/// What a section is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Function,
    Driver,
}

/// One that only a driver has, those of both, and then those that mean nothing for a driver, which calls no functions and is called by
/// its own rules.
const LIMITS: [&str; 15] = [
    "connections",
    "memory_mib",
    "table_elements",
    "stack_kib",
    "cpu_ms",
    "deadline_ms",
    "host_call_bytes",
    "handles",
    "concurrency",
    "publishes_per_s",
    "log_bytes_per_s",
    "invocations_per_s",
    "kv_bytes",
    "call_depth",
    "breaker_failures",
];
const OF_DRIVERS: usize = 11;

/// The largest file of certificates or of a key.
const PEM_BYTES_MAX: usize = 64 << 10;

/// What the world of functions can ask for, and that of drivers.
const FUNCTION_GRANTS: [&str; 8] = ["publish", "subscribe", "things", "invoke", "http", "dirs", "credentials", "env"];
const DRIVER_GRANTS: [&str; 6] = ["tcp", "udp", "listen", "dirs", "gateway_info", "env"];

/// The limits of the component that `table` declares; the defaults where it is silent.
pub fn limits(table: &Table<'_>, of: Of) -> Limits {
    let (mut limits, known) = match of {
        Of::Function => (Limits::default(), &LIMITS[1..]),
        Of::Driver => (Limits::of_driver(), &LIMITS[..OF_DRIVERS]),
    };
    let Some(table) = table.optional("limits").and_then(|limits| limits.table(known)) else { return limits };
    if let Some(memory_mib) =
        table.optional("memory_mib").and_then(|value| value.integer(MEMORY_BYTES.start() >> 20..=MEMORY_BYTES.end() >> 20))
    {
        limits.memory_bytes = memory_mib << 20;
    }
    if let Some(bytes) = table.optional("stack_kib").and_then(|value| stack_bytes(&value)) {
        limits.stack_bytes = bytes;
    }
    replace(&mut limits.table_elements, &table, "table_elements", TABLE_ELEMENTS);
    replace(&mut limits.cpu_ms, &table, "cpu_ms", CPU_MS);
    replace(&mut limits.deadline_ms, &table, "deadline_ms", DEADLINE_MS);
    replace(&mut limits.host_call_bytes, &table, "host_call_bytes", HOST_CALL_BYTES);
    replace(&mut limits.handles, &table, "handles", HANDLES);
    replace(&mut limits.concurrency, &table, "concurrency", CONCURRENCY);
    replace(&mut limits.connections, &table, "connections", CONNECTIONS);
    replace(&mut limits.publishes_per_s, &table, "publishes_per_s", PUBLISHES_PER_S);
    replace(&mut limits.invocations_per_s, &table, "invocations_per_s", INVOCATIONS_PER_S);
    replace(&mut limits.log_bytes_per_s, &table, "log_bytes_per_s", LOG_BYTES_PER_S);
    replace(&mut limits.kv_bytes, &table, "kv_bytes", KV_BYTES);
    replace(&mut limits.call_depth, &table, "call_depth", CALL_DEPTH);
    replace(&mut limits.breaker_failures, &table, "breaker_failures", BREAKER_FAILURES);
    limits
}

fn stack_bytes(value: &Value<'_>) -> Option<usize> {
    let bytes = value.integer(1..=1 << 20)? << 10;
    let is_known = STACK_BYTES.contains(&bytes);
    if !is_known {
        let known = STACK_BYTES.map(|bytes| (bytes >> 10).to_string()).join(", ");
        value.error(format_args!("there is no stack of {} KiB; expected one of {known}", bytes >> 10));
    }
    is_known.then_some(bytes)
}

/// The grants of the component that `table` declares; none where it is silent.
pub fn grants(table: &Table<'_>, of: Of) -> Grants {
    let known = if of == Of::Driver { &DRIVER_GRANTS[..] } else { &FUNCTION_GRANTS[..] };
    let Some(table) = table.optional("grants").and_then(|grants| grants.table(known)) else { return Grants::default() };
    Grants {
        publish: list(&table, "publish"),
        subscribe: list(&table, "subscribe"),
        things: table.optional("things").map(|things| thing_grants(&things)).unwrap_or_default(),
        invoke: table.optional("invoke").map(|invoke| invoke_grants(&invoke)).unwrap_or_default(),
        http: list(&table, "http"),
        tcp: list(&table, "tcp"),
        udp: list(&table, "udp"),
        listen: table.optional("listen").map(|listen| read_listen(&listen)).unwrap_or_default(),
        dirs: table.optional("dirs").map(|dirs| read_dirs(&dirs)).unwrap_or_default(),
        credentials: table.optional("credentials").and_then(|value| value.boolean()).unwrap_or_default(),
        gateway_info: table.optional("gateway_info").and_then(|value| value.boolean()).unwrap_or_default(),
        env: table.optional("env").map(|env| read_env(&env)).unwrap_or_default(),
    }
}

fn thing_grants(value: &Value<'_>) -> ThingGrants {
    let Some(table) = value.table(&["read", "write", "call"]) else { return ThingGrants::default() };
    ThingGrants { read: list(&table, "read"), write: list(&table, "write"), call: list(&table, "call") }
}

/// A list is for both kinds of calls; a table names the kind.
fn invoke_grants(value: &Value<'_>) -> InvokeGrants {
    if matches!(value.raw(), Some(DeValue::Array(_))) {
        let both = parsed_list(value);
        return InvokeGrants { sync: both.clone(), asynchronous: both };
    }
    let Some(table) = value.table(&["sync", "async"]) else { return InvokeGrants::default() };
    InvokeGrants { sync: list(&table, "sync"), asynchronous: list(&table, "async") }
}

fn read_listen(value: &Value<'_>) -> Vec<Listen> {
    let entry = |item: &Value<'_>| {
        if !matches!(item.raw(), Some(DeValue::Table(_))) {
            return item.parsed();
        }
        let table = item.table(&["address", "tls", "cert", "key", "from"])?;
        let address = table.required("address").and_then(|value| value.parsed());
        let tls = table.optional("tls").map_or(Some(false), |value| value.boolean());
        let from = table.optional("from").map_or(Some(Vec::new()), |value| {
            let networks = value.array()?;
            if networks.is_empty() {
                value.error("nobody is named, so nobody could connect; name an address, or leave `from` out for anybody");
            }
            networks.iter().map(Value::parsed).collect()
        });
        let certificate = match (table.optional("cert"), table.optional("key")) {
            (None, None) => Some(None),
            (Some(chain), Some(key)) if tls == Some(true) => {
                let (chain, key) = (read_pem(&chain), read_pem(&key));
                Some(Some(Certificate { chain: chain?, key: key? }))
            }
            (Some(one), _) | (_, Some(one)) => {
                one.error("`cert` and `key` belong together, and to `tls = true`");
                None
            }
        };
        Some(Listen { address: address?, tls: tls?, certificate: certificate?, from: from? })
    };
    value.array().unwrap_or_default().iter().filter_map(entry).collect()
}

/// The text of a file of the project. What is in it, the gateway judges.
fn read_pem(value: &Value<'_>) -> Option<String> {
    let path = value.dir().join(value.text()?);
    match fs::read(&path) {
        Ok(bytes) if bytes.len() <= PEM_BYTES_MAX => match String::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN ") => return Some(text),
            _ => {
                value.error(format_args!("`{}` is no PEM file (text with a line `-----BEGIN ...`); openssl can convert it", path.display()))
            }
        },
        Ok(bytes) => value.error(format_args!("`{}` has {} bytes; expected {PEM_BYTES_MAX} at most", path.display(), bytes.len())),
        Err(error) => value.error(format_args!("reading `{}`: {error}", path.display())),
    }
    None
}

fn read_dirs(value: &Value<'_>) -> Vec<Dir> {
    let dir = |item: &Value<'_>| {
        let table = item.table(&["host", "guest"])?;
        let path = |key| table.required(key).and_then(|value| value.checked(check_absolute));
        let (host, guest) = (path("host"), path("guest"));
        Some(Dir { host: PathBuf::from(host?), guest: guest?.to_owned() })
    };
    value.array().unwrap_or_default().iter().filter_map(dir).collect()
}

fn check_absolute(path: &str) -> Result<(), String> {
    if path.starts_with('/') { Ok(()) } else { Err(format!("`{path}` is no absolute path; expected one that begins with `/`")) }
}

fn read_env(value: &Value<'_>) -> Env {
    let mut variables = BTreeMap::new();
    for entry in value.entries().unwrap_or_default() {
        let Some(text) = entry.value.text() else { continue };
        if let Err(wrong) = check_variable(entry.key, text) {
            entry.error(wrong);
        }
        variables.insert(entry.key.to_owned(), text.to_owned());
    }
    Env(variables)
}

fn replace<T: TryFrom<i64> + PartialOrd + Display>(limit: &mut T, table: &Table<'_>, key: &'static str, range: RangeInclusive<T>) {
    if let Some(number) = table.optional(key).and_then(|value| value.integer(range)) {
        *limit = number;
    }
}

fn list<T: FromStr<Err: Display>>(table: &Table<'_>, key: &'static str) -> Vec<T> {
    table.optional(key).map(|value| parsed_list(&value)).unwrap_or_default()
}

fn parsed_list<T: FromStr<Err: Display>>(value: &Value<'_>) -> Vec<T> {
    value.array().unwrap_or_default().iter().filter_map(Value::parsed).collect()
}
