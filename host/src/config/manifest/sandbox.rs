//! `limits` and `grants` of a function or a driver.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::reader::{Table, Value};
use crate::grant::{Grants, ThingGrants};
use crate::limit::{CALL_DEPTH, CONCURRENCY, DEADLINE_MS, HANDLES, HOST_CALL_BYTES, LOG_BYTES_PER_S, Limits, MEMORY_BYTES};

/// The limits of the component that `table` declares; `limits` where it is silent.
pub fn limits(table: &Table<'_>, mut limits: Limits) -> Limits {
    let known = ["memory_mib", "deadline_ms", "host_call_bytes", "handles", "concurrency", "log_bytes_per_s", "call_depth"];
    let Some(table) = table.optional("limits").and_then(|limits| limits.table(&known)) else { return limits };
    if let Some(memory_mib) =
        table.optional("memory_mib").and_then(|value| value.integer(MEMORY_BYTES.start() >> 20..=MEMORY_BYTES.end() >> 20))
    {
        limits.memory_bytes = memory_mib << 20;
    }
    replace(&mut limits.deadline_ms, &table, "deadline_ms", DEADLINE_MS);
    replace(&mut limits.host_call_bytes, &table, "host_call_bytes", HOST_CALL_BYTES);
    replace(&mut limits.handles, &table, "handles", HANDLES);
    replace(&mut limits.concurrency, &table, "concurrency", CONCURRENCY);
    replace(&mut limits.log_bytes_per_s, &table, "log_bytes_per_s", LOG_BYTES_PER_S);
    replace(&mut limits.call_depth, &table, "call_depth", CALL_DEPTH);
    limits
}

/// The grants of the component that `table` declares; none where it is silent.
pub fn grants(table: &Table<'_>) -> Grants {
    let known = ["publish", "things", "invoke", "credentials"];
    let Some(table) = table.optional("grants").and_then(|grants| grants.table(&known)) else { return Grants::default() };
    Grants {
        publish: list(&table, "publish"),
        things: table.optional("things").map(|things| thing_grants(&things)).unwrap_or_default(),
        invoke: list(&table, "invoke"),
        credentials: table.optional("credentials").and_then(|value| value.boolean()).unwrap_or_default(),
    }
}

fn thing_grants(value: &Value<'_>) -> ThingGrants {
    let Some(table) = value.table(&["read", "write", "call"]) else { return ThingGrants::default() };
    ThingGrants { read: list(&table, "read"), write: list(&table, "write"), call: list(&table, "call") }
}

fn replace<T: TryFrom<i64> + PartialOrd + Display>(limit: &mut T, table: &Table<'_>, key: &'static str, range: RangeInclusive<T>) {
    if let Some(number) = table.optional(key).and_then(|value| value.integer(range)) {
        *limit = number;
    }
}

fn list<T: FromStr<Err: Display>>(table: &Table<'_>, key: &'static str) -> Vec<T> {
    let items = table.optional(key).and_then(|value| value.array()).unwrap_or_default();
    items.iter().filter_map(Value::parsed).collect()
}
