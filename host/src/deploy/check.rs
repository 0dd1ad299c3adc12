//! What is wrong with a set, all of it at once. The CLI checks the same of a project; this is for whatever else
//! speaks the API, and for what only the gateway can know.

use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::check_rules;
use crate::capability::listen::server_config;
use crate::grant::{self, ClosedDirs, Grants};
use crate::limit::{self, CONFIG_JSON_BYTES_MAX, Limits};
use crate::name::{self, FunctionName};
use crate::set::{self, Asynchronous, Destination, Mode, RouteSource, Set, Timer};
use crate::thing::tsl::Tsl;
use crate::topic;

/// Names, references, limits and models. What stands in `before` as it is was checked then.
pub fn set(before: &Set, set: &Set, has_version: &dyn Fn(&FunctionName) -> bool, closed_dirs: &ClosedDirs) -> Vec<String> {
    let mut problems = Vec::new();
    products(set.products.iter().filter(|row| !before.products.contains(row)), &mut problems);
    things(set, &mut problems);
    for driver in &set.drivers {
        let who = format!("driver `{}`", driver.name);
        problems.extend(name::check_driver(&driver.name).err().map(|wrong| format!("{who}: {wrong}")));
        limits(&who, &driver.limits, &mut problems);
        config_files(&who, driver, &mut problems);
        problems
            .extend(function_grants(&driver.grants).map(|grant| format!("{who}: it is granted `{grant}`, which only functions can use")));
        if !before.drivers.contains(driver) {
            surroundings(&who, &driver.grants, closed_dirs, &mut problems);
            problems.extend(certificates(&who, &driver.grants));
        }
    }
    for function in &set.functions {
        let who = format!("function `{}`", function.name);
        limits(&who, &function.limits, &mut problems);
        if function.name.qualifier().is_some() {
            problems.push(format!("{who}: a function is deployed without a version or an alias in its name"));
        }
        if let Some(health) = &function.health {
            let outside = outside(health.first_calls, 0..=limit::FIRST_CALLS_MAX);
            problems.extend(outside.map(|outside| format!("{who}: `health.first_calls` is {outside}")));
            if health.event.is_none() && health.expect.is_some() {
                problems.push(format!("{who}: `health.expect` is the result of an event, and there is no `health.event`"));
            }
        }
        if !before.functions.contains(function) {
            surroundings(&who, &function.grants, closed_dirs, &mut problems);
        }
        if function.mode == Mode::Persistent {
            let clash = [("reuse", function.reuse > 0), ("http", function.http.is_some())];
            problems.extend(clash.iter().filter(|(_, is_there)| *is_there).map(|(key, _)| {
                format!("{who}: it is persistent, and has `{key}`, which is for functions whose calls have instances of their own")
            }));
        }
        problems.extend(outside(function.reuse, limit::REUSE).map(|outside| format!("{who}: `reuse` is {outside}")));
        problems.extend(socket_grants(&function.grants).map(|grant| {
            format!("{who}: it is granted `{grant}`, and only drivers have sockets; make it a driver, or grant it `http` and let it send requests")
        }));
        if function.grants.gateway_info {
            problems.push(format!("{who}: it is granted `gateway_info`, which only drivers can use"));
        }
        problems.extend(function.asynchronous.iter().flat_map(|policy| asynchronous(&who, policy)));
        problems.extend(function.asynchronous.iter().flat_map(|policy| untold(&who, policy, set, has_version)));
        problems.extend(function.timers.iter().filter_map(|timer| Some(format!("{who}: timer `{}`: {}", timer.name, wrong_timer(timer)?))));
        duplicates(&format!("{who}: timer"), function.timers.iter().map(|timer| timer.name.clone()), &mut problems);
        let prefix = function.http.as_ref().map(|http| set::check_http_prefix(&http.prefix));
        problems.extend(prefix.and_then(Result::err).map(|wrong| format!("{who}: `http.prefix`: {wrong}")));
    }
    duplicates("HTTP prefix", set.functions.iter().filter_map(|row| Some(row.http.as_ref()?.prefix.clone())), &mut problems);
    routes(set, has_version, &mut problems);
    check_rules::rules(set, has_version, &mut problems);
    duplicates("product", set.products.iter().map(|row| row.key.clone()), &mut problems);
    duplicates("thing", set.things.iter().map(|row| format!("{}/{}", row.product_key, row.device_name)), &mut problems);
    let local_names = set.things.iter().filter_map(|row| Some(format!("{}/{}", row.product_key, row.local_name.as_ref()?)));
    duplicates("local name", local_names, &mut problems);
    duplicates("driver", set.drivers.iter().map(|row| row.name.clone()), &mut problems);
    duplicates("rule", set.rules.iter().map(|row| row.name.clone()), &mut problems);
    duplicates("function", set.functions.iter().map(|row| row.name.to_string()), &mut problems);
    problems
}

/// The files of a driver's configuration, as `fileList` names them.
fn config_files(who: &str, driver: &set::Driver, problems: &mut Vec<String>) {
    let listed = driver.config.as_ref().and_then(|config| config["fileList"].as_array()).into_iter().flatten();
    let listed: HashSet<&str> = listed.filter_map(|entry| entry["path"].as_str()).collect();
    let given: HashSet<&str> = driver.files.iter().map(|file| file.path.as_str()).collect();
    if driver.files.len() > limit::CONFIG_FILES_MAX {
        problems.push(format!("{who}: it has {} files, and may have {}", driver.files.len(), limit::CONFIG_FILES_MAX));
    }
    problems.extend(given.iter().filter_map(|path| set::check_config_path(path).err()).map(|wrong| format!("{who}: {wrong}")));
    let below = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    for outer in given.iter().filter(|outer| given.iter().any(|inner| below(outer, inner))) {
        problems.push(format!("{who}: `{outer}` is a file, and another file lies below it"));
    }
    duplicates(&format!("{who}: the file"), driver.files.iter().map(|file| file.path.clone()), problems);
    let mut differ: Vec<_> = listed.symmetric_difference(&given).collect();
    differ.sort();
    problems.extend(differ.iter().map(|path| format!("{who}: `{path}` is either in `config.fileList` or in `files`, and must be in both")));
}

/// Directories and environment.
fn surroundings(who: &str, grants: &Grants, closed_dirs: &ClosedDirs, problems: &mut Vec<String>) {
    for dir in &grants.dirs {
        problems.extend(closed_dirs.open(&dir.host).err().map(|error| format!("{who}: `grants.dirs`: {error}")));
        let are_paths = dir.host.is_absolute() && dir.guest.starts_with('/');
        problems.extend((!are_paths).then(|| format!("{who}: `grants.dirs`: `host` and `guest` must both begin with `/`")));
    }
    let guest_names = grants.dirs.iter().map(|dir| dir.guest.clone());
    duplicates(&format!("{who}: `grants.dirs`: the guest's"), guest_names, problems);
    for (name, value) in &grants.env.0 {
        let wrong = grant::check_variable(name, value).err();
        problems.extend(wrong.map(|wrong| format!("{who}: `grants.env`: `{}`: {wrong}", name.escape_debug())));
    }
}

/// Certificates that cannot be used.
fn certificates(who: &str, grants: &Grants) -> impl Iterator<Item = String> {
    let own = grants.listen.iter().filter_map(|listen| Some((listen, listen.certificate.as_ref()?)));
    own.filter_map(move |(listen, certificate)| {
        let wrong = match (listen.tls, server_config(certificate)) {
            (false, _) => "it has a certificate and no `tls`".to_owned(),
            (true, Err(wrong)) => format!("{wrong:#}"),
            (true, Ok(_)) => return None,
        };
        Some(format!("{who}: `grants.listen` of {}: {wrong}", listen.address))
    })
}

/// The grants that are there and that the world of drivers has nothing for.
fn function_grants(grants: &Grants) -> impl Iterator<Item = &'static str> {
    let things = &grants.things;
    [
        ("publish", grants.publish.is_empty()),
        ("subscribe", grants.subscribe.is_empty()),
        ("things", things.read.is_empty() && things.write.is_empty() && things.call.is_empty()),
        ("invoke", grants.invoke.sync.is_empty() && grants.invoke.asynchronous.is_empty()),
        ("http", grants.http.is_empty()),
        ("credentials", !grants.credentials),
    ]
    .into_iter()
    .filter(|(_, is_absent)| !is_absent)
    .map(|(name, _)| name)
}

/// What is wrong with what becomes of async invocations.
fn asynchronous(who: &str, policy: &Asynchronous) -> Vec<String> {
    let attempts = outside(policy.attempts, limit::ATTEMPTS).map(|outside| format!("`async.attempts` is {outside}"));
    let pauses = policy.backoff_s.iter().filter_map(|pause| outside(*pause, limit::BACKOFF_S));
    let pauses = pauses.map(|outside| format!("`async.backoff_s` is {outside}"));
    let none = policy.backoff_s.is_empty().then(|| "`async.backoff_s` is empty".to_owned());
    let age = outside(policy.age_max_s, limit::AGE_S).map(|outside| format!("`async.age_max_s` is {outside}"));
    let topics = [&policy.on_success, &policy.on_failure].into_iter().filter_map(|to| match to {
        Some(Destination::Topic(topic)) => topic::check_topic(topic).err().map(|wrong| format!("the destination `{topic}`: {wrong}")),
        _ => None,
    });
    attempts.into_iter().chain(pauses).chain(none).chain(age).chain(topics).map(|wrong| format!("{who}: {wrong}")).collect()
}

/// Functions that are to be told how async invocations end, and are not there.
fn untold(who: &str, policy: &Asynchronous, set: &Set, has_version: &dyn Fn(&FunctionName) -> bool) -> Vec<String> {
    let told = [("on_success", &policy.on_success), ("on_failure", &policy.on_failure)];
    let gone = told.into_iter().filter_map(|(member, to)| match to {
        Some(Destination::Function(name)) => {
            let is_there = set.functions.iter().any(|row| row.name == *name) || name.qualifier().is_some() && has_version(name);
            (!is_there).then(|| format!("{who}: `async.{member}` is function `{name}`, which is neither in the project nor on the gateway"))
        }
        _ => None,
    });
    gone.collect()
}

fn wrong_timer(timer: &Timer) -> Option<String> {
    name::check_timer(&timer.name).map_err(|wrong| wrong.to_string()).and_then(|()| timer.schedule.parse().map(drop)).err()
}

/// The grants of sockets that are there.
fn socket_grants(grants: &Grants) -> impl Iterator<Item = &'static str> {
    let sockets = [("tcp", grants.tcp.is_empty()), ("udp", grants.udp.is_empty()), ("listen", grants.listen.is_empty())];
    sockets.into_iter().filter(|(_, is_absent)| !is_absent).map(|(name, _)| name)
}

fn products<'a>(products: impl Iterator<Item = &'a set::Product>, problems: &mut Vec<String>) {
    for product in products {
        let key = &product.key;
        problems.extend(name::check_thing(key).err().map(|wrong| format!("product `{key}`: {wrong}")));
        let outside = outside(product.history_bytes, limit::HISTORY_BYTES);
        problems.extend(outside.map(|outside| format!("product `{key}`: `history_bytes` is {outside}")));
        match Tsl::parse(&product.tsl) {
            Err(error) => problems.push(format!("product `{key}`: its TSL is wrong: {error}")),
            Ok(tsl) => {
                problems.extend(tsl.product_key().filter(|own| own != key).map(|own| {
                    format!("product `{key}`: its TSL says `profile.productKey` is `{own}`; change one of the two, or leave the TSL's out")
                }));
                let wrong = product.tsl_ext.as_deref().and_then(|ext| tsl.check_ext(ext).err());
                problems.extend(wrong.map(|error| format!("product `{key}`: its ext info: {error}")));
            }
        }
    }
}

fn routes(set: &Set, has_version: &dyn Fn(&FunctionName) -> bool, problems: &mut Vec<String>) {
    for route in &set.routes {
        let target = &route.target;
        let is_version = target.qualifier().is_some() && has_version(target);
        match set.functions.iter().find(|function| function.name == *target) {
            _ if is_version => {}
            None => problems.push(format!("a route leads to function `{target}`, which is neither in the project nor on the gateway")),
            Some(function) if function.grants.subscribe.is_empty() => problems.push(format!(
                "a route leads to function `{target}`, which is granted no topic; add `subscribe = [\"/sys/+/+/thing/event/property/post\"]`, say, to its grants"
            )),
            Some(_) => {}
        }
        if let RouteSource::Function(name) = &route.source
            && name.qualifier().is_some()
        {
            problems
                .push(format!("the route from `{name}`: all versions of a function publish under its plain name; leave the qualifier out"));
        }
        if let RouteSource::Device(filter) = &route.source {
            problems.extend(set::check_device_source(filter.as_str()).err().map(|wrong| format!("the route to `{target}`: {wrong}")));
        }
    }
}

fn things(set: &Set, problems: &mut Vec<String>) {
    let products: HashSet<_> = set.products.iter().map(|row| row.key.as_str()).collect();
    let drivers: HashSet<_> = set.drivers.iter().map(|row| row.name.as_str()).collect();
    for thing in &set.things {
        let (product, driver) = (thing.product_key.as_str(), thing.driver.as_str());
        let who = format!("thing `{product}/{}`", thing.device_name);
        problems.extend(name::check_thing(&thing.device_name).err().map(|wrong| format!("{who}: {wrong}")));
        let local_name = thing.local_name.as_deref().map(name::check_thing);
        problems.extend(local_name.and_then(Result::err).map(|wrong| format!("{who}: its local name: {wrong}")));
        if thing.custom.as_ref().is_some_and(|custom| custom.to_string().len() > CONFIG_JSON_BYTES_MAX) {
            problems.push(format!("{who}: `custom` has more than {CONFIG_JSON_BYTES_MAX} bytes of JSON"));
        }
        if !products.contains(product) {
            problems.push(format!("{who}: product `{product}` is neither in the project nor on the gateway"));
        }
        if !drivers.contains(driver) {
            problems.push(format!("{who}: driver `{driver}` is neither in the project nor on the gateway"));
        }
    }
}

fn limits(who: &str, limits: &Limits, problems: &mut Vec<String>) {
    let mut check = |name: &str, outside: Option<String>| {
        problems.extend(outside.map(|outside| format!("{who}: limit `{name}` is {outside}")));
    };
    check("memory_bytes", outside(limits.memory_bytes, limit::MEMORY_BYTES));
    check("table_elements", outside(limits.table_elements, limit::TABLE_ELEMENTS));
    let is_stack = limit::STACK_BYTES.contains(&limits.stack_bytes);
    check("stack_bytes", (!is_stack).then(|| format!("{}, and may be one of {:?}", limits.stack_bytes, limit::STACK_BYTES)));
    check("cpu_ms", outside(limits.cpu_ms, limit::CPU_MS));
    check("publishes_per_s", outside(limits.publishes_per_s, limit::PUBLISHES_PER_S));
    check("invocations_per_s", outside(limits.invocations_per_s, limit::INVOCATIONS_PER_S));
    check("breaker_failures", outside(limits.breaker_failures, limit::BREAKER_FAILURES));
    check("deadline_ms", outside(limits.deadline_ms, limit::DEADLINE_MS));
    check("host_call_bytes", outside(limits.host_call_bytes, limit::HOST_CALL_BYTES));
    check("handles", outside(limits.handles, limit::HANDLES));
    check("concurrency", outside(limits.concurrency, limit::CONCURRENCY));
    check("connections", outside(limits.connections, limit::CONNECTIONS));
    check("log_bytes_per_s", outside(limits.log_bytes_per_s, limit::LOG_BYTES_PER_S));
    check("kv_bytes", outside(limits.kv_bytes, limit::KV_BYTES));
    check("call_depth", outside(limits.call_depth, limit::CALL_DEPTH));
}

pub(super) fn outside<T: PartialOrd + Display>(value: T, range: RangeInclusive<T>) -> Option<String> {
    (!range.contains(&value)).then(|| format!("{value}, and may be {} to {}", range.start(), range.end()))
}

fn duplicates(kind: &str, names: impl Iterator<Item = String>, problems: &mut Vec<String>) {
    let mut seen = HashSet::new();
    problems.extend(names.filter(|name| !seen.insert(name.clone())).map(|name| format!("{kind} `{name}` is declared twice")));
}
