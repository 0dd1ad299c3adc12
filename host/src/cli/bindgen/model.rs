//! A product as Rust will name it: every name is chosen here, so that writing is only writing.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::names::{self, Names};
use super::{Options, docs};
use crate::thing::tsl::{DataType, Members, ParamSpec, Tsl, Uses};

pub struct Model {
    pub product: String,
    /// The identifiers that it was narrowed to.
    pub only: BTreeSet<String>,
    pub uses: Uses,
    pub properties: Vec<Property>,
    pub events: Vec<Event>,
    pub services: Vec<Service>,
    pub enums: Vec<Enum>,
    /// Structs of the TSL's, innermost first.
    pub structs: Vec<Record>,
}

pub struct Property {
    pub member: Member,
    /// In the enum of all that can be read.
    pub variant: String,
    pub is_readable: bool,
    pub is_writable: bool,
}

pub struct Event {
    pub identifier: String,
    pub docs: Vec<String>,
    /// In the enum of all that functions are brought.
    pub variant: String,
    /// The driver's method that reports it.
    pub method: String,
    pub outputs: Record,
}

pub struct Service {
    pub identifier: String,
    pub docs: Vec<String>,
    /// Of a function's handle.
    pub method: String,
    /// Of a driver.
    pub driver_method: String,
    pub inputs: Vec<Member>,
    pub outputs: Record,
}

/// A Rust struct: the fields of a TSL's struct, the outputs of an event or a service.
pub struct Record {
    pub name: String,
    pub docs: Vec<String>,
    pub members: Vec<Member>,
}

pub struct Enum {
    pub name: String,
    pub docs: Vec<String>,
    pub members: Vec<EnumMember>,
}

pub struct EnumMember {
    pub number: i32,
    pub name: String,
    pub docs: Vec<String>,
}

#[derive(Clone)]
pub struct Member {
    pub identifier: String,
    pub name: String,
    pub rust_type: String,
    /// Whether it may be absent.
    pub is_optional: bool,
    pub docs: Vec<String>,
}

impl Model {
    /// `json` is what `tsl` was parsed from, for what only people read.
    pub fn new(product: &str, tsl: &Tsl, json: &Json, options: &Options) -> Self {
        let is_wanted = |identifier: &str| options.only.is_empty() || options.only.contains(identifier);
        let mut types = Types { names: Names::beside(TYPE_NAMES.split(' ')), enums: Vec::new(), structs: Vec::new() };
        let properties = properties(tsl, json, &mut types, is_wanted);
        let events = events(tsl, json, &mut types, is_wanted);
        let services = services(tsl, json, &mut types, is_wanted, &properties);
        let Types { enums, structs, .. } = types;
        let uses = Uses::of(tsl, product, is_wanted);
        Self { product: product.to_owned(), only: options.only.clone(), uses, properties, events, services, enums, structs }
    }
}

fn properties(tsl: &Tsl, json: &Json, types: &mut Types, is_wanted: impl Fn(&str) -> bool) -> Vec<Property> {
    // `default` makes the structs of properties; a method of that name would hide it.
    let mut fields = Names::beside(["default"]);
    let mut variants = Names::beside([""; 0]);
    let wanted = tsl.properties().filter(|spec| is_wanted(&spec.identifier));
    wanted
        .map(|spec| {
            let entry = entry(&json["properties"], &spec.identifier);
            let member = Member {
                identifier: spec.identifier.clone(),
                name: fields.snake(&spec.identifier),
                rust_type: types.rust(&spec.identifier, &spec.identifier, &spec.data_type, entry),
                is_optional: true,
                docs: docs::member(&spec.identifier, &spec.data_type, entry),
            };
            let variant = variants.camel(&spec.identifier);
            Property { member, variant, is_readable: spec.access.is_readable(), is_writable: spec.access.is_writable() }
        })
        .collect()
}

fn events(tsl: &Tsl, json: &Json, types: &mut Types, is_wanted: impl Fn(&str) -> bool) -> Vec<Event> {
    let mut variants = Names::beside(["Report"]);
    let mut methods = Names::beside(["new", "id", "register", "thing", "report"]);
    let wanted = tsl.events().filter(|spec| is_wanted(&spec.identifier));
    wanted
        .map(|spec| {
            let (identifier, entry) = (spec.identifier.clone(), entry(&json["events"], &spec.identifier));
            let name = types.names.camel(&identifier);
            let members = types.members(&name, &spec.outputs, &entry["outputData"], &[]);
            let docs = docs::title(&identifier, entry);
            let outputs = Record { name, docs: docs.clone(), members };
            Event { variant: variants.camel(&identifier), method: methods.snake(&identifier), identifier, docs, outputs }
        })
        .collect()
}

fn services(tsl: &Tsl, json: &Json, types: &mut Types, is_wanted: impl Fn(&str) -> bool, properties: &[Property]) -> Vec<Service> {
    let accessors = properties.iter().flat_map(|property| [property.member.method("get"), property.member.method("set")]);
    let own = ["new", "name", "get", "set"].map(str::to_owned);
    let mut methods = Names::beside(accessors.chain(own));
    let mut driver_methods = Names::beside(["run", "get", "set", "config_changed"]);
    let wanted = tsl.services().filter(|spec| is_wanted(&spec.identifier));
    wanted
        .map(|spec| {
            let (identifier, entry) = (spec.identifier.clone(), entry(&json["services"], &spec.identifier));
            let name = names::camel(&identifier);
            let inputs = types.members(&name, &spec.inputs, &entry["inputData"], LOCALS);
            let name = types.names.camel(&format!("{identifier}-output"));
            let members = types.members(&name, &spec.outputs, &entry["outputData"], &[]);
            let outputs = Record { name, docs: vec![format!("What the service `{identifier}` answers.")], members };
            let docs = docs::title(&identifier, entry);
            Service {
                method: methods.snake(&identifier),
                driver_method: driver_methods.snake(&identifier),
                identifier,
                docs,
                inputs,
                outputs,
            }
        })
        .collect()
}

impl Member {
    /// As in `get_light_switch`.
    pub fn method(&self, verb: &str) -> String {
        // What was added to make it no keyword is not needed here.
        format!("{verb}_{}", self.name.trim_end_matches('_'))
    }

    /// Its type where it may be absent.
    pub fn field_type(&self) -> String {
        if self.is_optional { format!("Option<{}>", self.rust_type) } else { self.rust_type.clone() }
    }
}

struct Types {
    names: Names,
    enums: Vec<Enum>,
    structs: Vec<Record>,
}

impl Types {
    /// The Rust type of a TSL's. Where it has to be made, it gets this name, or one like it.
    fn rust(&mut self, name: &str, identifier: &str, data_type: &DataType, entry: &Json) -> String {
        let specs = &entry["dataType"]["specs"];
        match data_type {
            DataType::Int { .. } => "i32".to_owned(),
            DataType::Float { .. } => "f32".to_owned(),
            DataType::Double { .. } => "f64".to_owned(),
            DataType::Bool => "bool".to_owned(),
            DataType::Text { .. } => "String".to_owned(),
            DataType::Date => "value::Date".to_owned(),
            DataType::Enum { members } => {
                let name = self.names.camel(name);
                let mut variants = Names::beside([""; 0]);
                let members = members.iter().map(|(&number, text)| EnumMember::new(number, text, &mut variants)).collect();
                self.enums.push(Enum { name: name.clone(), docs: docs::title(identifier, entry), members });
                name
            }
            DataType::Array { item, .. } => {
                let entry = serde_json::json!({ "name": entry["name"], "dataType": specs["item"] });
                format!("Vec<{}>", self.rust(name, identifier, item, &entry))
            }
            DataType::Struct { fields } => {
                let name = self.names.camel(name);
                let members = self.members(&name, fields, specs, &[]);
                self.structs.push(Record { name: name.clone(), docs: docs::title(identifier, entry), members });
                name
            }
        }
    }

    /// The parameters of an owner, in a scope of their own.
    fn members(&mut self, owner: &str, specs: &Members<ParamSpec>, json: &Json, reserved: &[&str]) -> Vec<Member> {
        let mut names = Names::beside(reserved.iter().copied());
        let member = |spec: &ParamSpec| {
            let entry = entry(json, &spec.identifier);
            Member {
                identifier: spec.identifier.clone(),
                name: names.snake(&spec.identifier),
                rust_type: self.rust(&format!("{owner}-{}", spec.identifier), &spec.identifier, &spec.data_type, entry),
                is_optional: !spec.required,
                docs: docs::member(&spec.identifier, &spec.data_type, entry),
            }
        };
        specs.iter().map(member).collect()
    }
}

impl EnumMember {
    fn new(number: i32, text: &str, names: &mut Names) -> Self {
        let fallback = || if number < 0 { format!("Member-minus-{}", number.unsigned_abs()) } else { format!("Member-{number}") };
        let wanted = if names::is_plain(text) { names::camel(text) } else { String::new() };
        let name = if wanted.is_empty() || names.has(&wanted) { names.camel(&fallback()) } else { names.camel(text) };
        Self { number, name, docs: vec![format!("`{number}`: {}.", docs::plain(text))] }
    }
}

fn entry<'j>(list: &'j Json, identifier: &str) -> &'j Json {
    let found = list.as_array().and_then(|list| list.iter().find(|entry| entry["identifier"] == identifier));
    found.unwrap_or(&Json::Null)
}

/// What the module has besides, and what Rust's prelude means by a name.
const TYPE_NAMES: &str = "Component Driver Error Event Fault Properties Property Registered Settings RoutedMessage Thing ThingId AsMut \
    AsRef Box Clone Copy Debug Default DoubleEndedIterator Drop Eq Err ExactSizeIterator Extend Fn FnMut FnOnce \
    From FromIterator Future Hash Into IntoFuture IntoIterator Iterator None Ok Option Ord PartialEq PartialOrd \
    Result Send Sized Some String Sync ToOwned ToString TryFrom TryInto Unpin Vec";

/// What methods with arguments have of their own.
const LOCALS: &[&str] = &["arguments", "outputs", "thing"];
