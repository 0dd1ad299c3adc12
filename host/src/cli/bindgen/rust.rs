//! What functions and drivers share: the product's key, enums, structs, the sets of properties.

use super::model::{Enum, Member, Model, Property, Record};
use super::text::Text;
use super::{UserKind, driver, function};

pub fn module(model: &Model, uses: &str, kind: Option<UserKind>) -> String {
    let mut text = Text::default();
    head(model, uses, kind, &mut text);
    model.enums.iter().for_each(|item| enumeration(item, &mut text));
    for item in &model.structs {
        record(item, &mut text);
        as_value(&item.name, &mut text);
    }
    let readable: Vec<&Property> = model.properties.iter().filter(|property| property.is_readable).collect();
    let writable: Vec<&Property> = model.properties.iter().filter(|property| property.is_writable).collect();
    if !readable.is_empty() {
        identifiers(&readable, &mut text);
        let docs = ["Values of properties that can be read. Each is there or not."];
        properties("Properties", &docs, &readable, &mut text);
    }
    if !writable.is_empty() {
        let docs = ["Values for properties that can be set. What is not there stays as it is."];
        properties("Settings", &docs, &writable, &mut text);
    }
    for service in model.services.iter().filter(|service| !service.outputs.members.is_empty()) {
        record(&service.outputs, &mut text);
    }
    if kind != Some(UserKind::Driver) {
        function::write(model, &readable, &writable, &mut text);
    }
    if kind != Some(UserKind::Function) {
        driver::write(model, &readable, &writable, &mut text);
    }
    text.end()
}

fn head(model: &Model, uses: &str, kind: Option<UserKind>, text: &mut Text) {
    let product = &model.product;
    text.line(&format!("//! Product `{product}`: its properties, events and services as Rust types."));
    text.line("//!");
    if !model.only.is_empty() {
        let only: Vec<String> = model.only.iter().map(|identifier| format!("`{identifier}`")).collect();
        text.line(&format!("//! Only {}.", only.join(", ")));
        text.line("//!");
    }
    text.lines(&[
        "//! Written by `ledge bindgen`. Where the product has changed, write it again; what is changed here is lost then.",
        "",
        // Not all of it is used by everybody, and the names are the product's.
        "#![allow(dead_code, unused_imports)]",
        "#![allow(clippy::enum_variant_names, clippy::large_enum_variant, clippy::should_implement_trait)]",
        "#![allow(clippy::too_many_arguments, clippy::wrong_self_convention)]",
        "#![cfg_attr(rustfmt, rustfmt_skip)]",
        "",
        match kind {
            None => {
                "use ledge_sdk::handler::RoutedMessage;\nuse ledge_sdk::{Error, Fault, ThingId, device, iot_data, thing_access, value};"
            }
            Some(UserKind::Function) => "use ledge_sdk::handler::RoutedMessage;\nuse ledge_sdk::{Error, Fault, iot_data, value};",
            Some(UserKind::Driver) => "use ledge_sdk::{Error, Fault, ThingId, device, thing_access, value};",
        },
        "",
        "/// The key of the product.",
    ]);
    text.line(&format!("pub const PRODUCT_KEY: &str = \"{product}\";"));
    text.gap();
    text.line("// A deployment holds this against the product, and refuses the component where they do not fit.");
    text.line(&format!("ledge_sdk::product_uses!(r#\"{uses}\"#);"));
}

fn enumeration(item: &Enum, text: &mut Text) {
    let Enum { name, docs, members } = item;
    text.gap();
    text.docs(docs);
    text.line("#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]");
    text.line("#[repr(i32)]");
    text.line(&format!("pub enum {name} {{"));
    for member in members {
        text.docs(&member.docs);
        text.line(&format!("{} = {},", member.name, member.number));
    }
    text.line("}");
    text.gap();
    text.line(&format!("impl {name} {{"));
    text.line("/// The member's number.");
    text.line("pub fn number(self) -> i32 {");
    text.lines(&["self as i32", "}", "}"]);
    text.gap();
    try_from_value(name, text);
    text.line("match i32::try_from(value)? {");
    for member in members {
        text.line(&format!("{} => Ok(Self::{}),", member.number, member.name));
    }
    text.line(&format!("_ => Err(value::WrongType::new(\"{name}\", value)),"));
    text.lines(&["}", "}", "}"]);
    text.gap();
    text.line(&format!("impl From<{name}> for value::Value {{"));
    text.line(&format!("fn from(member: {name}) -> Self {{"));
    text.lines(&["Self::Enumeration(member.number())", "}", "}"]);
}

fn try_from_value(name: &str, text: &mut Text) {
    text.line(&format!("impl TryFrom<&value::Value> for {name} {{"));
    text.line("type Error = value::WrongType;");
    text.gap();
    // Not `Self::Error`, which may be a member of an enum.
    text.line("fn try_from(value: &value::Value) -> Result<Self, value::WrongType> {");
}

/// A struct, to and from named values.
pub fn record(item: &Record, text: &mut Text) {
    let Record { name, docs, members } = item;
    text.gap();
    text.docs(docs);
    text.line("#[derive(Clone, Debug, PartialEq)]");
    fields(name, members.iter(), text);
    conversions(name, members.iter(), text);
}

fn fields<'m>(name: &str, members: impl Iterator<Item = &'m Member>, text: &mut Text) {
    text.line(&format!("pub struct {name} {{"));
    for member in members {
        text.docs(&member.docs);
        text.line(&format!("pub {}: {},", member.name, member.field_type()));
    }
    text.line("}");
}

fn conversions<'m>(name: &str, members: impl Iterator<Item = &'m Member> + Clone, text: &mut Text) {
    let is_empty = members.clone().next().is_none();
    text.gap();
    text.line(&format!("impl TryFrom<&value::Properties> for {name} {{"));
    text.line("type Error = value::ValueError;");
    text.gap();
    let values = if is_empty { "_" } else { "values" };
    text.line(&format!("fn try_from({values}: &value::Properties) -> Result<Self, value::ValueError> {{"));
    text.line("Ok(Self {");
    for member in members.clone() {
        let get = if member.is_optional { "get_optional" } else { "get" };
        text.line(&format!("{}: values.{get}(\"{}\")?,", member.name, member.identifier));
    }
    text.lines(&["})", "}", "}"]);
    text.gap();
    text.line(&format!("impl From<{name}> for value::Properties {{"));
    text.line(&format!("fn from({}: {name}) -> Self {{", if is_empty { "_" } else { "given" }));
    if is_empty {
        text.line("Self::new()");
    } else {
        text.line("let mut values = Self::new();");
        members.for_each(|member| text.line(&set("values", member, &format!("given.{}", member.name))));
        text.line("values");
    }
    text.lines(&["}", "}"]);
}

/// A statement that adds one value to a list.
pub fn set(list: &str, member: &Member, value: &str) -> String {
    let set = if member.is_optional { "set_optional" } else { "set" };
    format!("{list}.{set}(\"{}\", {value});", member.identifier)
}

/// A struct of the TSL's is a value too.
fn as_value(name: &str, text: &mut Text) {
    text.gap();
    try_from_value(name, text);
    text.lines(&["let fields = value::Properties::try_from(value)?;", "Ok(Self::try_from(&fields)?)", "}", "}"]);
    text.gap();
    text.line(&format!("impl From<{name}> for value::Value {{"));
    text.line(&format!("fn from(fields: {name}) -> Self {{"));
    text.lines(&["value::Properties::from(fields).into()", "}", "}"]);
}

fn identifiers(readable: &[&Property], text: &mut Text) {
    text.gap();
    text.line("/// A property that can be read.");
    text.line("#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]");
    text.line("pub enum Property {");
    for property in readable {
        text.docs(&property.member.docs);
        text.line(&format!("{},", property.variant));
    }
    text.line("}");
    text.gap();
    text.line("impl Property {");
    text.line("/// All of them, in the order of the TSL.");
    text.line("pub const ALL: &[Self] = &[");
    readable.iter().for_each(|property| text.line(&format!("Self::{},", property.variant)));
    text.line("];");
    text.gap();
    text.line("/// As the TSL spells it.");
    text.line("pub fn identifier(self) -> &'static str {");
    text.line("match self {");
    readable.iter().for_each(|property| text.line(&format!("Self::{} => \"{}\",", property.variant, property.member.identifier)));
    text.lines(&["}", "}"]);
    text.gap();
    text.line("/// The one that the TSL spells so.");
    text.line("pub fn of(identifier: &str) -> Option<Self> {");
    text.line("match identifier {");
    readable.iter().for_each(|property| text.line(&format!("\"{}\" => Some(Self::{}),", property.member.identifier, property.variant)));
    text.lines(&["_ => None,", "}", "}", "}"]);
}

fn properties(name: &str, docs: &[&str], list: &[&Property], text: &mut Text) {
    let members = || list.iter().map(|property| &property.member);
    text.gap();
    text.docs(docs);
    text.line("#[derive(Clone, Debug, Default, PartialEq)]");
    fields(name, members(), text);
    text.gap();
    text.line(&format!("impl {name} {{"));
    for member in members() {
        text.gap();
        text.line(&format!("/// The same with `{}`.", member.identifier));
        text.line("#[must_use]");
        text.line(&format!("pub fn {}(mut self, value: {}) -> Self {{", member.name, given_type(&member.rust_type)));
        let value = if member.rust_type == "String" { "value.into()" } else { "value" };
        text.line(&format!("self.{} = Some({value});", member.name));
        text.lines(&["self", "}"]);
    }
    text.line("}");
    conversions(name, members(), text);
}

/// What a method takes for a value of that type.
pub fn given_type(rust_type: &str) -> &str {
    if rust_type == "String" { "impl Into<String>" } else { rust_type }
}

/// The arguments of a method, each after a comma, for those who give them.
pub fn given(members: &[Member]) -> String {
    let given = |member: &Member| match member.is_optional {
        true => format!(", {}: {}", member.name, member.field_type()),
        false => format!(", {}: {}", member.name, given_type(&member.rust_type)),
    };
    members.iter().map(given).collect()
}

/// The arguments of a method, each after a comma, for those who get them.
pub fn taken(members: &[Member]) -> String {
    members.iter().map(|member| format!(", {}: {}", member.name, member.field_type())).collect()
}

/// Statements that make `list` of a method's arguments.
pub fn listed(list: &str, members: &[Member], text: &mut Text) {
    let mutable = if members.is_empty() { "" } else { "mut " };
    text.line(&format!("let {mutable}{list} = value::Properties::new();"));
    for member in members {
        let is_text = !member.is_optional && member.rust_type == "String";
        let value = if is_text { format!("Into::<String>::into({})", member.name) } else { member.name.clone() };
        text.line(&set(list, member, &value));
    }
}
