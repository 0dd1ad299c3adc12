//! What a component asks for and offers, read from its outermost layer, before anything of it is compiled.

use std::fmt;
use std::str::FromStr;

use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

use crate::limit::{MEMORY_BYTES, TABLE_ELEMENTS};
use crate::set::{self, Mode};
use crate::thing::tsl::{USES_BYTES_MAX, Uses};

/// The world that a component is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Function,
    /// A function with an HTTP trigger.
    Http,
    /// A function of the mode `persistent`.
    Persistent,
    Driver,
}

impl Kind {
    pub fn of_function<C>(row: &set::Function<C>) -> Self {
        match (row.mode, &row.http) {
            (Mode::Persistent, _) => Self::Persistent,
            (Mode::OnDemand, Some(_)) => Self::Http,
            (Mode::OnDemand, None) => Self::Function,
        }
    }
}

/// Why a component is refused. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("it is not a WebAssembly component: {0}")]
    NotAComponent(String),
    #[error("it is a core WebAssembly module, not a component; build it with `--target wasm32-wasip2`")]
    CoreModule,
    #[error(
        "it was built for the contract {built} (it has `{name}`), and this gateway speaks {CONTRACT}; build it again with this gateway's SDK"
    )]
    OtherContract { name: String, built: String },
    #[error("it imports what the contract does not have: {}", list(.0))]
    UnknownImports(Vec<String>),
    #[error("it answers HTTP requests (it exports `{0}`), {SAY_WHERE}")]
    NoTrigger(String),
    #[error(
        "it {HAS_HTTP} and answers no HTTP requests: for that a component exports `{INCOMING}@0.2.x`, and this is one for events, which \
         exports {}",
        list(.0)
    )]
    NotHttp(Vec<String>),
    #[error("it is made for `{0}`, and this gateway speaks wasi:http 0.2; build it for `{INCOMING}@0.2.x`")]
    OtherHttp(String),
    #[error(
        "it exports no known world: a function exports `{HANDLER}@{CONTRACT}` or `{INCOMING}@0.2.x`, a driver `{DEVICE}@{CONTRACT}` or \
         `{BLOCKING_DRIVER}`, and this exports {}",
        list(.0)
    )]
    NoWorld(Vec<String>),
    #[error("its outermost layer is too large to be meant: it has more than {max} {what}")]
    TooMany { what: &'static str, max: usize },
    #[error("one of its memories begins with {asked} bytes, and no limit allows more than {}", MEMORY_BYTES.end())]
    MemoryTooLarge { asked: u128 },
    #[error("one of its tables begins with {asked} elements, and no limit allows more than {}", TABLE_ELEMENTS.end())]
    TableTooLarge { asked: u64 },
    #[error("it lives as long as it is deployed (it exports `{PERSISTENT}`), {SAY_SO}")]
    NoMode,
    #[error(
        "it {HAS_MODE}: for that it exports `{PERSISTENT}@{CONTRACT}` (in Rust, with \
         `ledge_sdk::persistent!`), and this exports {}",
        list(.0)
    )]
    NotPersistent(Vec<String>),
    #[error(
        "its section `{USES_SECTION}`, which `ledge bindgen` makes, cannot be read: {0}; build it again, with this gateway's SDK and its `ledge bindgen`"
    )]
    WrongUses(String),
    #[error("it is a {found}, and {DECLARED} as a {declared}")]
    OtherKind { found: Kind, declared: Kind },
}

const SAY_WHERE: &str = "so say where: add `http = { prefix = \"/...\" }` to it in ledge.toml";
const HAS_HTTP: &str = "has `http` in ledge.toml";
const SAY_SO: &str = "so say so: add `mode = \"persistent\"` to it in ledge.toml";
const HAS_MODE: &str = "has `mode = \"persistent\"` in ledge.toml";
const DECLARED: &str = "the project declares it";
/// What the words on a manifest are for whoever deploys without one.
const WITHOUT_MANIFEST: [(&str, &str); 6] = [
    (SAY_WHERE, "so make it with the `runtime` `custom`"),
    (HAS_HTTP, "is given an HTTP trigger"),
    (SAY_SO, "and such functions are deployed by `ledge deploy` alone"),
    (HAS_MODE, "was deployed as a persistent function"),
    (DECLARED, "it is deployed"),
    ("neither in the project nor on the gateway", "not on the gateway then"),
];

/// The words of a refusal for whoever deploys without a manifest. The compiler, which refuses, knows nothing of that.
pub fn without_manifest(refusal: &str) -> String {
    WITHOUT_MANIFEST.iter().fold(refusal.to_owned(), |words, (with, without)| words.replace(with, without))
}

/// The version of `ledge:edge` in `wit/`.
pub(super) const CONTRACT: &str = "0.1.0";
/// Where a component says what it uses of products (`guest-sdk/rust/src/product_uses.rs`): in one of its modules, or in several.
const USES_SECTION: &str = "ledge:product";
const HANDLER: &str = "ledge:edge/handler";
const INCOMING: &str = "wasi:http/incoming-handler";
const PERSISTENT: &str = "ledge:edge/persistent";
const DEVICE: &str = "ledge:edge/device";
/// With its version, as a component has it.
pub(super) const BLOCKING_DRIVER: &str = "ledge:edge/blocking-driver@0.1.0";
const OF_FUNCTIONS: [&str; 5] = ["types", "iot-data", "fc", "credentials", "kv"];
const OF_DRIVERS: [&str; 9] = [
    "types",
    "thing-access",
    "thing-access-blocking",
    "requests",
    "gateway-figures",
    "gateway-info",
    "gateway-info-blocking",
    "listen",
    "listen-blocking",
];
const OF_HTTP: [&str; 2] = ["types", "outgoing-handler"];
/// The packages of WASI that always link (DESIGN, invariant 1).
const WASI: [&str; 6] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];

/// Far more than any toolchain makes: a component of wit-bindgen has some 25 imports, 5 modules and 80 types, and JavaScript's and
/// Python's have a few times that.
const NAMES_MAX: usize = 1_000;
const NESTED_MAX: usize = 1_000;
const TYPES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 16;

/// Checks that `component` is a component of a known world that imports nothing outside the contract. What it uses of products, as
/// [`Uses::parse`] reads it.
pub fn inspect(component: &[u8], declared: Kind) -> Result<Vec<u8>, Refused> {
    let Names { imports, exports, uses } = names(component)?;
    Uses::parse(&uses).map_err(Refused::WrongUses)?;
    for name in imports.iter().chain(&exports) {
        let (interface, version) = split(name);
        if interface.starts_with("ledge:edge/") && version != CONTRACT {
            return Err(Refused::OtherContract { name: name.clone(), built: version.to_owned() });
        }
    }
    if let Some(newer) = exports.iter().find(|name| is_other_http(name)) {
        return Err(Refused::OtherHttp(newer.clone()));
    }
    let exports_interface = |wanted: &str| exports.iter().any(|name| split(name).0 == wanted);
    let answers_http = exports.iter().find(|name| split(name).0 == INCOMING);
    if declared == Kind::Persistent && !exports_interface(PERSISTENT) {
        return Err(Refused::NotPersistent(exports));
    }
    if declared == Kind::Function && exports_interface(PERSISTENT) {
        return Err(Refused::NoMode);
    }
    let is_driver = exports_interface(DEVICE) || exports.iter().any(|name| name == BLOCKING_DRIVER);
    let found = match (exports_interface(HANDLER), is_driver, answers_http) {
        _ if declared == Kind::Persistent => Kind::Persistent,
        (_, _, Some(_)) if declared == Kind::Http => Kind::Http,
        (true, _, _) if declared == Kind::Function => Kind::Function,
        (false, false, Some(name)) if declared == Kind::Function => return Err(Refused::NoTrigger(name.clone())),
        (true, _, None) if declared == Kind::Http => return Err(Refused::NotHttp(exports)),
        (_, true, _) => Kind::Driver,
        (_, false, Some(_)) => Kind::Http,
        (true, false, None) => Kind::Function,
        (false, false, None) => return Err(Refused::NoWorld(exports)),
    };
    if found != declared {
        return Err(Refused::OtherKind { found, declared });
    }
    let unknown: Vec<String> = imports.into_iter().filter(|name| !is_in_contract(name, found)).collect();
    if unknown.is_empty() { Ok(uses) } else { Err(Refused::UnknownImports(unknown)) }
}

fn is_in_contract(import: &str, kind: Kind) -> bool {
    let (interface, version) = split(import);
    let (package, name) = interface.split_once('/').unwrap_or((interface, ""));
    let ours: &[&str] = if kind == Kind::Driver { &OF_DRIVERS } else { &OF_FUNCTIONS };
    match package {
        "ledge:edge" => ours.contains(&name),
        "wasi:http" => kind != Kind::Driver && OF_HTTP.contains(&name) && version.starts_with("0.2."),
        wasi if WASI.contains(&wasi) => {
            version.starts_with("0.2.") || (matches!(kind, Kind::Driver | Kind::Persistent) && version.starts_with("0.3."))
        }
        _ => false,
    }
}

/// A handler of `wasi:http` of another version than 0.2, in which it has another name too.
fn is_other_http(export: &str) -> bool {
    let (interface, version) = split(export);
    interface == "wasi:http/handler" || (interface == INCOMING && !version.starts_with("0.2."))
}

/// `a:b/c@1.2.3` in its interface and its version.
fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
    uses: Vec<u8>,
}

fn names(component: &[u8]) -> Result<Names, Refused> {
    if !component.starts_with(b"\0asm") {
        return Err(Refused::NotAComponent("it does not begin as WebAssembly does".to_owned()));
    }
    // The first line says it; what may follow is a dump of bytes.
    let broken =
        |error: wasmparser::BinaryReaderError| Refused::NotAComponent(error.message().lines().next().unwrap_or_default().to_owned());
    let features = WasmFeatures::default() | WasmFeatures::CM_ASYNC;
    let mut names = Names { imports: Vec::new(), exports: Vec::new(), uses: Vec::new() };
    let (mut depth, mut nested) = (0_usize, 0_usize);
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(broken)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(Refused::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                (depth, nested) = (depth + 1, nested + 1);
                at_most(depth, DEPTH_MAX, "components inside one another")?;
                at_most(nested, NESTED_MAX, "modules and components")?;
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory.map_err(broken)?;
                    let asked = u128::from(memory.initial) << memory.page_size_log2.unwrap_or(16).min(16);
                    if asked > u128::from(*MEMORY_BYTES.end()) {
                        return Err(Refused::MemoryTooLarge { asked });
                    }
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    let asked = table.map_err(broken)?.ty.initial;
                    if asked > u64::from(*TABLE_ELEMENTS.end()) {
                        return Err(Refused::TableTooLarge { asked });
                    }
                }
            }
            Payload::ComponentTypeSection(types) => at_most(types.count() as usize, TYPES_MAX, "types in one section")?,
            Payload::CustomSection(section) if section.name() == USES_SECTION => {
                // No more of it than it takes to see that it is too much.
                let room = (USES_BYTES_MAX + 1).saturating_sub(names.uses.len());
                names.uses.extend(section.data().iter().take(room));
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                at_most(names.imports.len() + imports.count() as usize, NAMES_MAX, "imports")?;
                for import in imports {
                    names.imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                at_most(names.exports.len() + exports.count() as usize, NAMES_MAX, "exports")?;
                for export in exports {
                    names.exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Validator::new_with_features(features).validate_all(component).map_err(broken)?;
    Ok(names)
}

fn at_most(found: usize, max: usize, what: &'static str) -> Result<(), Refused> {
    if found > max { Err(Refused::TooMany { what, max }) } else { Ok(()) }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Function => "function",
            Self::Http => "function that answers HTTP requests",
            Self::Persistent => "persistent function",
            Self::Driver => "driver",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Function, Self::Http, Self::Persistent, Self::Driver];
        known.into_iter().find(|kind| kind.to_string() == text).ok_or_else(|| format!("`{text}` is no kind of component"))
    }
}
