//! The arrows of docs/ARCHITECTURE.md: which part of `host/src` may use which.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What every part may use.
const COMMON: &[&str] =
    &["audit", "call_path", "clock", "grant", "limit", "memory", "metric", "name", "schedule", "set", "store", "telemetry", "topic"];

/// Each part with the parts that it may use besides.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("lib", &[]),
    ("cli", &["auth", "bench", "bus", "config", "deploy", "function", "gateway", "runtime", "thing", "tls"]),
    ("config", &["rule", "thing"]),
    (
        "gateway",
        &[
            "api",
            "auth",
            "bus",
            "capability",
            "deploy",
            "driver",
            "function",
            "persistent",
            "queue",
            "runtime",
            "seal",
            "shutdown",
            "state",
            "supervisor",
            "thing",
            "tls",
            "trigger",
        ],
    ),
    (
        "bench",
        &[
            "bindings",
            "bus",
            "capability",
            "cli",
            "config",
            "driver",
            "function",
            "gateway",
            "queue",
            "runtime",
            "seal",
            "state",
            "supervisor",
            "thing",
            "tls",
        ],
    ),
    (
        "api",
        &[
            "auth",
            "bus",
            "deploy",
            "driver",
            "function",
            "persistent",
            "queue",
            "rule",
            "shutdown",
            "supervisor",
            "thing",
            "tls",
            "trigger",
        ],
    ),
    ("deploy", &["capability", "driver", "function", "persistent", "rule", "runtime", "seal", "thing", "trigger"]),
    ("trigger", &["bus", "function", "queue", "rule", "thing"]),
    ("driver", &["capability", "function", "runtime", "supervisor", "thing"]),
    ("persistent", &["capability", "function", "runtime", "supervisor"]),
    ("supervisor", &["capability", "function"]),
    ("runtime", &["bindings", "capability", "function", "seal", "state", "thing"]),
    ("capability", &["bindings", "bus", "function", "queue", "state", "thing"]),
    ("queue", &[]),
    ("rule", &[]),
    ("state", &[]),
    ("function", &[]),
    ("thing", &["bus"]),
    ("bus", &[]),
    ("auth", &["seal"]),
    ("bindings", &[]),
    ("tls", &["seal"]),
    ("seal", &[]),
    ("shutdown", &[]),
    ("audit", &["seal"]),
    ("store", &[]),
    ("telemetry", &[]),
    ("grant", &[]),
    ("schedule", &[]),
    ("set", &[]),
    ("topic", &[]),
    ("name", &[]),
    ("limit", &[]),
    ("memory", &[]),
    ("metric", &[]),
    ("clock", &[]),
    ("call_path", &[]),
];

/// Crates that only some parts may name.
const CRATES: &[(&str, &[&str])] = &[
    ("wasmtime", &["runtime", "capability", "bindings", "bench"]),
    ("wasmtime_wasi", &["runtime", "capability", "bindings", "bench"]),
    ("wasmtime_wasi_http", &["runtime", "capability", "bindings", "bench"]),
    ("axum", &["api", "gateway", "bench"]),
    ("redb", &["store"]),
    ("croner", &["schedule"]),
    ("jiff", &["schedule"]),
    ("clap", &["cli", "bench"]),
    ("prometheus_client", &["metric"]),
];

#[test]
fn every_part_uses_only_what_its_arrows_allow() {
    let mut wrong = Vec::new();
    for (part, path, text) in sources() {
        let allowed = ARROWS.iter().find(|(name, _)| *name == part).unwrap_or_else(|| panic!("`{part}` is a part without arrows")).1;
        for used in words_after(&text, "crate::") {
            if used != part && !allowed.contains(&used.as_str()) && !COMMON.contains(&used.as_str()) && is_part(&used) {
                wrong.push(format!("{}: `{part}` may not use `{used}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_arrow_is_used_and_every_use_can_be_seen() {
    let mut used = BTreeSet::new();
    for (part, path, text) in sources() {
        assert!(!text.contains("crate::{"), "{}: one `use crate::part` a line, so that this test can read it", path.display());
        used.extend(words_after(&text, "crate::").into_iter().map(|to| (part.clone(), to)));
    }
    for (part, allowed) in ARROWS {
        for to in *allowed {
            assert!(used.contains(&((*part).to_owned(), (*to).to_owned())) || *part == "main", "nothing of `{part}` uses `{to}`");
        }
    }
}

#[test]
fn the_arrows_have_no_circle() {
    let mut done = BTreeSet::new();
    while done.len() < ARROWS.len() {
        let before = done.len();
        // `cli` and `bench` call each other: `bench` is a command, and its client is `cli`'s.
        let free = |uses: &[&str]| uses.iter().all(|used| done.contains(used) || *used == "bench");
        let ready: Vec<&str> = ARROWS.iter().filter(|(part, uses)| !done.contains(part) && free(uses)).map(|(part, _)| *part).collect();
        done.extend(ready);
        assert!(done.len() > before, "a circle among the parts that are not {done:?}");
    }
}

#[test]
fn only_some_parts_name_the_runtime_the_web_framework_and_the_database() {
    for (part, path, text) in sources() {
        for (name, parts) in CRATES {
            let named = text.contains(&format!("{name}::"));
            assert!(!named || parts.contains(&part.as_str()), "{}: `{part}` may not name `{name}`", path.display());
        }
    }
}

/// The gateway its own, the capability `listen` those that a driver is granted, and the bench a server to measure with. (WASI's are
/// wasmtime's, and asked for in `capability/sockets.rs`.)
#[test]
fn only_the_gateway_and_the_capability_listen_bind_sockets() {
    let mut binding = Vec::new();
    for (part, path, text) in sources() {
        let binds = text.contains("Listener::bind(")
            || text.contains("UdpSocket::bind(")
            || (text.contains("TcpSocket::new_v") && text.contains(".listen("));
        let may = ["gateway", "bench"].contains(&part.as_str()) || path.ends_with("src/capability/listen/acceptor.rs");
        assert!(!binds || may, "{}: `{part}` binds a socket", path.display());
        binding.extend(binds.then_some(part));
    }
    assert!(
        ["gateway", "capability"].iter().all(|part| binding.iter().any(|found| found == part)),
        "who binds sockets binds them otherwise"
    );
}

#[test]
fn no_file_is_longer_than_900_lines() {
    for (_, path, text) in sources() {
        assert!(text.lines().count() <= 900, "{} is two files by now", path.display());
    }
}

fn is_part(name: &str) -> bool {
    ARROWS.iter().any(|(part, _)| *part == name)
}

/// Every source file of the host with the part that it belongs to, without its unit tests.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
                let inner = path.strip_prefix(&root).unwrap().with_extension("");
                let part = inner.iter().next().unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                found.push((part, path, product));
            }
        }
    }
    assert!(found.len() > 50, "the sources are not where this test looks");
    found
}

/// The names that follow `before` in code, comments left out.
fn words_after(text: &str, before: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let pieces = code.flat_map(|line| line.split(before).skip(1));
    pieces.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}
