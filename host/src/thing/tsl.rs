//! TSL: what a product's things have (properties), tell (events) and do (services). FACTS 3.3 has the format.
//!
//! A TSL is parsed once, when a product is deployed, and every value that crosses the gateway is held against it. Not kept are
//! the names, units and descriptions that only people read, and the built-in event `post` and services `set` and `get`, which
//! repeat the properties: whoever wants those shows the product's own JSON.

mod check;
mod convert;
mod depth;
mod ext;
mod parse;
mod uses;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

pub use convert::ValueError;
pub use depth::too_deep;
pub use uses::{USES_BYTES_MAX, Uses};

/// A product's model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tsl {
    product_key: Option<String>,
    properties: Members<PropertySpec>,
    events: Members<EventSpec>,
    services: Members<ServiceSpec>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PropertySpec {
    pub identifier: String,
    pub access: AccessMode,
    pub required: bool,
    pub data_type: DataType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    Read,
    Write,
    ReadWrite,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventSpec {
    pub identifier: String,
    pub name: String,
    pub kind: EventKind,
    pub outputs: Members<ParamSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Info,
    Alert,
    Error,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    pub identifier: String,
    pub inputs: Members<ParamSpec>,
    pub outputs: Members<ParamSpec>,
    pub call_type: CallType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallType {
    Sync,
    Async,
}

/// An event's output, a service's input or output, a field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    pub identifier: String,
    /// Whether a call must give it. Only asked of a service's inputs, which are required unless the TSL says `"required": false`.
    pub required: bool,
    pub data_type: DataType,
}

/// A type and its limits. Where a TSL gives no limit, the type's own one is filled in.
#[derive(Clone, Debug, PartialEq)]
pub enum DataType {
    Int {
        min: i32,
        max: i32,
        step: Option<i32>,
    },
    Float {
        min: f32,
        max: f32,
        /// For people: no float is refused for it, since 0.3 is no multiple of 0.1 in binary.
        step: Option<f64>,
    },
    Double {
        min: f64,
        max: f64,
        /// For people, as with a float.
        step: Option<f64>,
    },
    Bool,
    /// The members' numbers and names.
    Enum {
        members: BTreeMap<i32, String>,
    },
    /// `length` counts bytes of UTF-8, as the original platform does.
    Text {
        length: usize,
    },
    Date,
    /// `size` is the most items that it may have.
    Array {
        size: usize,
        item: Box<DataType>,
    },
    Struct {
        fields: Members<ParamSpec>,
    },
}

/// Specs in the order of the TSL, found by identifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Members<T> {
    list: Vec<T>,
    places: HashMap<String, usize>,
}

/// Why a text is not a TSL: every problem, up to [`PROBLEMS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TslError(pub Vec<Problem>);

/// One wrong place, as in `properties[2].dataType.specs.min`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: String,
    pub reason: String,
}

impl Tsl {
    pub fn parse(text: &str) -> Result<Self, TslError> {
        parse::tsl(text)
    }

    /// `profile.productKey`, which a TSL written by hand may leave out.
    pub fn product_key(&self) -> Option<&str> {
        self.product_key.as_deref()
    }

    pub fn properties(&self) -> impl ExactSizeIterator<Item = &PropertySpec> {
        self.properties.iter()
    }

    pub fn events(&self) -> impl ExactSizeIterator<Item = &EventSpec> {
        self.events.iter()
    }

    pub fn services(&self) -> impl ExactSizeIterator<Item = &ServiceSpec> {
        self.services.iter()
    }

    pub fn property(&self, identifier: &str) -> Option<&PropertySpec> {
        self.properties.get(identifier)
    }

    pub fn event(&self, identifier: &str) -> Option<&EventSpec> {
        self.events.get(identifier)
    }

    pub fn service(&self, identifier: &str) -> Option<&ServiceSpec> {
        self.services.get(identifier)
    }
}

impl AccessMode {
    pub fn is_readable(self) -> bool {
        self != Self::Write
    }

    pub fn is_writable(self) -> bool {
        self != Self::Read
    }
}

impl EventKind {
    /// As the TSL and the event streams spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Alert => "alert",
            Self::Error => "error",
        }
    }
}

impl<T> Members<T> {
    pub fn get(&self, identifier: &str) -> Option<&T> {
        self.places.get(identifier).and_then(|place| self.list.get(*place))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.list.iter()
    }

    /// Whether it was added: an identifier can be taken once.
    fn insert(&mut self, identifier: &str, spec: T) -> bool {
        if self.places.contains_key(identifier) {
            return false;
        }
        self.places.insert(identifier.to_owned(), self.list.len());
        self.list.push(spec);
        true
    }
}

// Not derived: that would ask for `T: Default`.
impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { list: Vec::new(), places: HashMap::new() }
    }
}

impl fmt::Display for TslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the TSL is wrong in {} {}", self.0.len(), if self.0.len() == 1 { "place" } else { "places" })?;
        if self.0.len() == PROBLEMS_MAX {
            f.write_str(" (no more are listed)")?;
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for TslError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.reason),
            path => write!(f, "{path}: {}", self.reason),
        }
    }
}

/// The largest TSL, as JSON text.
pub const TSL_BYTES_MAX: usize = 8 << 20;
/// Entries in one list of a TSL: its properties, events and services, their parameters, the members of an enum. One call or report
/// carries no more either.
pub const MEMBERS_MAX: usize = 16_384;
/// The longest identifier, in bytes (`leda.h`, MAX_PARAM_NAME_LENGTH).
pub const IDENTIFIER_BYTES_MAX: usize = 64;
/// How deep arrays and structs may nest, the outermost included.
pub const TYPE_DEPTH_MAX: usize = 8;
/// The most items that a TSL can give an array, and what it has where the TSL is silent.
pub const ARRAY_ITEMS_MAX: usize = 1_024;
/// The most bytes that a TSL can give a text.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// The length of a text where the TSL is silent.
pub const TEXT_BYTES_DEFAULT: usize = 10_240;
/// Problems that one [`TslError`] lists.
pub const PROBLEMS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// A lamp that has a property of every type; the other files' tests use it too.
    pub fn lamp() -> Tsl {
        Tsl::parse(include_str!("tsl/lamp.json")).unwrap()
    }

    #[test]
    fn members_are_found_by_identifier_and_keep_their_order() {
        let tsl = lamp();
        assert_eq!(tsl.product_key(), Some("a1Lamp"));
        assert_eq!(tsl.property("Brightness").unwrap().data_type, DataType::Int { min: 0, max: 600, step: Some(5) });
        assert_eq!(tsl.event("overheated").unwrap().kind, EventKind::Alert);
        assert_eq!(tsl.service("blink").unwrap().inputs.iter().len(), 2);
        assert!(tsl.property("overheated").is_none());
        let first: Vec<&str> = tsl.properties().take(2).map(|spec| spec.identifier.as_str()).collect();
        assert_eq!(first, ["LightSwitch", "Brightness"]);
    }

    #[test]
    fn a_tsl_error_reads_as_a_list() {
        let error = TslError(vec![
            Problem { path: "events".into(), reason: "is not a list".into() },
            Problem { path: String::new(), reason: "no JSON".into() },
        ]);
        assert_eq!(error.to_string(), "the TSL is wrong in 2 places\n  events: is not a list\n  no JSON");
    }
}
