//! What is wrong with a set, all of it at once. The CLI checks the same of a project; this is for whatever else
//! speaks the API, and for what only the gateway can know.

use std::collections::HashSet;

use crate::limit::{CONCURRENCY_MAX, DEADLINE_MS_MAX, Limits, MEMORY_BYTES_MAX};
use crate::name;
use crate::runtime::Kind;
use crate::set::{Digest, Set};
use crate::thing::tsl::Tsl;

/// Names, references, limits and models.
pub fn set(set: &Set) -> Vec<String> {
    let mut problems = Vec::new();
    products(set, &mut problems);
    things(set, &mut problems);
    for driver in &set.drivers {
        let who = format!("driver `{}`", driver.name);
        problems.extend(name::check_driver(&driver.name).err().map(|wrong| format!("{who}: {wrong}")));
        limits(&who, &driver.limits, &mut problems);
    }
    for function in &set.functions {
        limits(&format!("function `{}`", function.name), &function.limits, &mut problems);
    }
    let functions: HashSet<_> = set.functions.iter().map(|function| &function.name).collect();
    for route in set.routes.iter().filter(|route| !functions.contains(&route.target)) {
        problems.push(format!("a route leads to function `{}`, which is neither in the project nor on the gateway", route.target));
    }
    duplicates("product", set.products.iter().map(|row| row.key.clone()), &mut problems);
    duplicates("thing", set.things.iter().map(|row| format!("{}/{}", row.product_key, row.device_name)), &mut problems);
    duplicates("driver", set.drivers.iter().map(|row| row.name.clone()), &mut problems);
    duplicates("function", set.functions.iter().map(|row| row.name.to_string()), &mut problems);
    problems
}

fn products(set: &Set, problems: &mut Vec<String>) {
    for product in &set.products {
        let key = &product.key;
        problems.extend(name::check_thing(key).err().map(|wrong| format!("product `{key}`: {wrong}")));
        problems.extend(Tsl::parse(&product.tsl).err().map(|error| format!("product `{key}`: its TSL is wrong: {error}")));
    }
}

fn things(set: &Set, problems: &mut Vec<String>) {
    let products: HashSet<_> = set.products.iter().map(|row| row.key.as_str()).collect();
    let drivers: HashSet<_> = set.drivers.iter().map(|row| row.name.as_str()).collect();
    for thing in &set.things {
        let (product, driver) = (thing.product_key.as_str(), thing.driver.as_str());
        let who = format!("thing `{product}/{}`", thing.device_name);
        problems.extend(name::check_thing(&thing.device_name).err().map(|wrong| format!("{who}: {wrong}")));
        if !products.contains(product) {
            problems.push(format!("{who}: product `{product}` is neither in the project nor on the gateway"));
        }
        if !drivers.contains(driver) {
            problems.push(format!("{who}: driver `{driver}` is neither in the project nor on the gateway"));
        }
    }
}

fn limits(who: &str, limits: &Limits, problems: &mut Vec<String>) {
    let mut within = |name: &str, value: u64, least: u64, most: u64| {
        if !(least..=most).contains(&value) {
            problems.push(format!("{who}: limit `{name}` is {value}, and may be {least} to {most}"));
        }
    };
    within("memory_bytes", limits.memory_bytes, 1 << 20, MEMORY_BYTES_MAX);
    within("deadline_ms", limits.deadline_ms, 1, DEADLINE_MS_MAX);
    within("concurrency", limits.concurrency.into(), 1, CONCURRENCY_MAX.into());
    within("call_depth", limits.call_depth.into(), 1, 64);
    within("handles", limits.handles.into(), 16, 65_536);
    within("host_call_bytes", limits.host_call_bytes as u64, 4_096, 64 << 20);
}

fn duplicates(kind: &str, names: impl Iterator<Item = String>, problems: &mut Vec<String>) {
    let mut seen = HashSet::new();
    problems.extend(names.filter(|name| !seen.insert(name.clone())).map(|name| format!("{kind} `{name}` is declared twice")));
}

/// Whether each component is of the world that its entry declares, by `check`.
pub fn components(set: &Set, check: impl Fn(&Digest, Kind) -> Result<(), String>) -> Vec<String> {
    let functions = set.functions.iter().map(|row| (format!("function `{}`", row.name), &row.component, Kind::Function));
    let drivers = set.drivers.iter().map(|row| (format!("driver `{}`", row.name), &row.component, Kind::Driver));
    functions.chain(drivers).filter_map(|(who, digest, kind)| Some(format!("{who}: {}", check(digest, kind).err()?))).collect()
}

/// Takes out of a stored set what cannot run, and says what that was.
pub fn leave_out_broken(set: &mut Set, check: impl Fn(&Digest, Kind) -> Result<(), String>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut keep = |who: String, reason: Result<(), String>| {
        let ok = reason.is_ok();
        broken.extend(reason.err().map(|reason| format!("{who}: {reason}")));
        ok
    };
    set.functions.retain(|row| keep(format!("function `{}`", row.name), check(&row.component, Kind::Function)));
    set.drivers.retain(|row| keep(format!("driver `{}`", row.name), check(&row.component, Kind::Driver)));
    set.products.retain(|row| keep(format!("product `{}`", row.key), Tsl::parse(&row.tsl).map(drop).map_err(|error| error.to_string())));
    broken
}
