//! What components ask for, by the names of the grants that cover it: read from what they import.
//!
//! Read by the author's own command, of the author's own files. A Rust build imports exactly what its code uses, so what no grant covers there is worth a word. Deliberately absent: files
//! and the environment, which Rust's standard library imports whether they are used or not.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use wasmparser::component_types::ComponentEntityType;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use super::build::Built;
use crate::grant::Grants;
use crate::set::Digest;

/// A call of the contract, and its grant.
struct Call {
    interface: &'static str,
    function: &'static str,
    grant: &'static str,
    /// A line of `ledge.toml` that grants it.
    line: &'static str,
    is_granted: fn(&Grants) -> bool,
}

/// A component of the project, and what it asks for.
struct Asker {
    /// As in `function EdgeFC/hello`.
    who: String,
    /// The head of its grants in `ledge.toml`.
    table: String,
    asks: Vec<&'static Call>,
    uncovered: Vec<&'static Call>,
}

/// A line for each component; more for what no grant covers.
pub fn lines(built: &Built) -> Result<Vec<String>> {
    Ok(askers(built)?.iter().map(|asker| asker.to_string() + &asker.advice()).collect())
}

/// What no grant covers, and how to grant it.
pub fn uncovered(built: &Built) -> Result<Vec<String>> {
    let askers = askers(built)?.into_iter().filter(|asker| !asker.uncovered.is_empty());
    Ok(askers.map(|asker| asker.to_string() + &asker.advice()).collect())
}

fn askers(built: &Built) -> Result<Vec<Asker>> {
    let functions = built.set.functions.iter().map(|row| ("function", row.name.to_string(), &row.component, &*row.grants));
    let drivers = built.set.drivers.iter().map(|row| ("driver", row.name.clone(), &row.component, &row.grants));
    functions.chain(drivers).map(|(kind, name, component, grants)| asker(built, kind, &name, component, grants)).collect()
}

fn asker(built: &Built, kind: &str, name: &str, component: &Digest, grants: &Grants) -> Result<Asker> {
    let path = &built.components[component];
    let asks = calls(&fs::read(path).with_context(|| format!("reading {}", path.display()))?);
    let is_exact = built.from_crates.contains(component);
    let is_missing = |call: &&Call| is_exact && !(call.is_granted)(grants) && !(kind == "function" && OF_DRIVERS.contains(&call.grant));
    let mut uncovered: Vec<_> = asks.iter().copied().filter(is_missing).collect();
    // One line of `things.read` does for both.
    if uncovered.iter().any(|call| call.grant == "things.read") {
        uncovered.retain(|call| call.grant != "things");
    }
    let name_in_toml = if kind == "function" { format!("\"{name}\"") } else { name.to_owned() };
    Ok(Asker { who: format!("{kind} {name}"), table: format!("[{kind}s.{name_in_toml}.grants]"), asks, uncovered })
}

/// The calls that need a grant. A component that cannot be read asks for nothing: what is wrong with it, the gateway says.
fn calls(component: &[u8]) -> Vec<&'static Call> {
    let features = WasmFeatures::default() | WasmFeatures::CM_ASYNC;
    let Ok(types) = Validator::new_with_features(features).validate_all(component) else { return Vec::new() };
    let mut found: Vec<&Call> = Vec::new();
    for import in imports(component) {
        let Some(ComponentEntityType::Instance(instance)) = types.component_item_for_import(import).map(|item| item.ty) else { continue };
        let functions = types[instance].exports.keys();
        found.extend(functions.filter_map(|function| CALLS.iter().find(|call| call.is(import, function))));
    }
    found.sort_by_key(|call| call.grant);
    found.dedup_by_key(|call| call.grant);
    found
}

/// The names of the imports of the outermost layer.
fn imports(component: &[u8]) -> Vec<&str> {
    let (mut names, mut depth) = (Vec::new(), 0_usize);
    for payload in Parser::new(0).parse_all(component).map_while(|payload| payload.ok()) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                names.extend(section.into_iter().filter_map(|import| Some(import.ok()?.name.name)));
            }
            _ => {}
        }
    }
    names
}

impl Call {
    /// `function` as it is imported, as in `[method]tcp-socket.connect`.
    fn is(&self, interface: &str, function: &str) -> bool {
        let function = function.rsplit_once(']').map_or(function, |(_, name)| name);
        interface.starts_with(self.interface) && self.function == function
    }
}

const fn call(
    interface: &'static str,
    function: &'static str,
    grant: &'static str,
    line: &'static str,
    is_granted: fn(&Grants) -> bool,
) -> Call {
    Call { interface, function, grant, line, is_granted }
}

/// Grants that only drivers can be given.
const OF_DRIVERS: [&str; 4] = ["tcp", "udp", "listen", "gateway_info"];
const TCP: &str = "tcp = [\"192.168.1.20:502\"]";
const UDP: &str = "udp = [\"192.168.1.20:502\"]";
const LISTEN: &str = "listen = [\"0.0.0.0:502\"]";
const GATEWAY_INFO: &str = "gateway_info = true";

/// WASI 0.2 and 0.3 name the calls of a socket differently.
const CALLS: &[Call] = &[
    call("ledge:edge/iot-data@", "publish", "publish", "publish = [\"topic/of/it\"]", |grants| !grants.publish.is_empty()),
    call("ledge:edge/iot-data@", "get-thing-properties", "things.read", "things.read = [\"PRODUCT/THING/PROPERTY\"]", |grants| {
        !grants.things.read.is_empty()
    }),
    call("ledge:edge/iot-data@", "set-thing-properties", "things.write", "things.write = [\"PRODUCT/THING/PROPERTY\"]", |grants| {
        !grants.things.write.is_empty()
    }),
    call("ledge:edge/iot-data@", "get-things-with-tags", "things", "things.read = [\"PRODUCT/THING\"]", |grants| {
        !(grants.things.read.is_empty() && grants.things.write.is_empty() && grants.things.call.is_empty())
    }),
    call("ledge:edge/iot-data@", "call-thing-service", "things.call", "things.call = [\"PRODUCT/THING/SERVICE\"]", |grants| {
        !grants.things.call.is_empty()
    }),
    call("ledge:edge/fc@", "invoke", "invoke.sync", "invoke.sync = [\"SERVICE/FUNCTION\"]", |grants| !grants.invoke.sync.is_empty()),
    call("ledge:edge/fc@", "invoke-async", "invoke.async", "invoke.async = [\"SERVICE/FUNCTION\"]", |grants| {
        !grants.invoke.asynchronous.is_empty()
    }),
    call("ledge:edge/credentials@", "get", "credentials", "credentials = true", |grants| grants.credentials),
    call("ledge:edge/gateway-info@", "get", "gateway_info", GATEWAY_INFO, |grants| grants.gateway_info),
    call("ledge:edge/gateway-info@", "function-counters", "gateway_info", GATEWAY_INFO, |grants| grants.gateway_info),
    call("wasi:http/outgoing-handler@", "handle", "http", "http = [\"api.example.com\"]", |grants| !grants.http.is_empty()),
    call("wasi:sockets/", "tcp-socket.start-connect", "tcp", TCP, |grants| !grants.tcp.is_empty()),
    call("wasi:sockets/", "tcp-socket.connect", "tcp", TCP, |grants| !grants.tcp.is_empty()),
    call("wasi:sockets/", "tcp-socket.start-listen", "listen", LISTEN, |grants| !grants.listen.is_empty()),
    call("wasi:sockets/", "tcp-socket.listen", "listen", LISTEN, |grants| !grants.listen.is_empty()),
    call("ledge:edge/listen@", "listener.open", "listen", LISTEN, |grants| !grants.listen.is_empty()),
    call("wasi:sockets/", "udp-socket.stream", "udp", UDP, |grants| !grants.udp.is_empty()),
    call("wasi:sockets/", "udp-socket.send", "udp", UDP, |grants| !grants.udp.is_empty()),
];

impl Asker {
    fn advice(&self) -> String {
        if self.uncovered.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self.uncovered.iter().map(|call| format!("`{}`", call.grant)).collect();
        let mut text = format!("\n  no grant covers {}: such calls are refused. To allow them, add to ledge.toml:", names.join(", "));
        let _ = write!(text, "\n    {}", self.table);
        for call in &self.uncovered {
            let _ = write!(text, "\n    {}", call.line);
        }
        text
    }
}

impl std::fmt::Display for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.asks.iter().map(|call| call.grant).collect();
        write!(f, "{} asks for {}", self.who, if names.is_empty() { "nothing".to_owned() } else { names.join(", ") })
    }
}
