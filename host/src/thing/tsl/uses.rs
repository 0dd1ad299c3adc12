//! What a component uses of a product: the members of its model, with their types. `ledge bindgen` writes it into a module, the module
//! carries it into the component (the custom section `ledge:product`), and a deployment holds it against the models of the gateway.
//!
//! Ranges, steps, lengths and names are no part of it: they may change under a component. The numbers of an enum's members are, since a
//! Rust enum has no place for another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::convert::quoted;
use super::{AccessMode, DataType, Members, ParamSpec, Tsl};

/// What one component uses of one product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uses {
    pub product: String,
    #[serde(default)]
    pub properties: BTreeMap<String, PropertyUse>,
    #[serde(default)]
    pub events: BTreeMap<String, EventUse>,
    #[serde(default)]
    pub services: BTreeMap<String, ServiceUse>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PropertyUse {
    pub access: Access,
    #[serde(rename = "type")]
    pub data_type: Type,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventUse {
    pub outputs: BTreeMap<String, Type>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceUse {
    pub inputs: BTreeMap<String, InputUse>,
    pub outputs: BTreeMap<String, Type>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputUse {
    #[serde(rename = "type")]
    pub data_type: Type,
    /// Whether a call always gives it.
    pub required: bool,
}

/// As the TSL spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "w")]
    Write,
    #[serde(rename = "rw")]
    ReadWrite,
}

/// A type without what limits it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    Int,
    Float,
    Double,
    Bool,
    Text,
    Date,
    /// The members' numbers.
    Enum(BTreeSet<i32>),
    Array(Box<Type>),
    Struct(BTreeMap<String, Type>),
}

/// The most bytes that a component may carry of this.
pub const USES_BYTES_MAX: usize = 64 << 10;
/// Misfits that are told of one component and one product.
const MISFITS_MAX: usize = 10;

impl Uses {
    /// All that stands in a component: JSON objects, one after another.
    pub fn parse(section: &[u8]) -> Result<Vec<Self>, String> {
        if section.len() > USES_BYTES_MAX {
            return Err(format!("it has {} bytes, and {USES_BYTES_MAX} is the most that is taken", section.len()));
        }
        serde_json::Deserializer::from_slice(section).into_iter().collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    /// Everything of the product that `is_wanted`, by its identifier.
    pub fn of(tsl: &Tsl, product: &str, is_wanted: impl Fn(&str) -> bool) -> Self {
        let properties = tsl.properties().filter(|spec| is_wanted(&spec.identifier));
        let events = tsl.events().filter(|spec| is_wanted(&spec.identifier));
        let services = tsl.services().filter(|spec| is_wanted(&spec.identifier));
        let service = |inputs: &Members<ParamSpec>, outputs| ServiceUse {
            inputs: inputs.iter().map(|spec| (spec.identifier.clone(), InputUse::of(spec))).collect(),
            outputs: types(outputs),
        };
        Self {
            product: product.to_owned(),
            properties: properties
                .map(|spec| (spec.identifier.clone(), PropertyUse { access: spec.access.into(), data_type: Type::of(&spec.data_type) }))
                .collect(),
            events: events.map(|spec| (spec.identifier.clone(), EventUse { outputs: types(&spec.outputs) })).collect(),
            services: services.map(|spec| (spec.identifier.clone(), service(&spec.inputs, &spec.outputs))).collect(),
        }
    }

    /// What the product's model, or its absence, does not have of this: sentences that go on from the component's name.
    pub fn misfits(&self, tsl: Option<&Tsl>) -> Vec<String> {
        let product = quoted(&self.product);
        let Some(tsl) = tsl else { return vec![format!("uses product {product}, which is neither in the project nor on the gateway")] };
        let properties =
            self.properties.iter().filter_map(|(name, used)| Some((format!("property {}", quoted(name)), used.misfit(tsl, name)?)));
        let events = self.events.iter().filter_map(|(name, used)| Some((format!("event {}", quoted(name)), used.misfit(tsl, name)?)));
        let services = self.services.iter().filter_map(|(name, used)| Some((format!("service {}", quoted(name)), used.misfit(tsl, name)?)));
        let all = properties.chain(events).chain(services);
        all.take(MISFITS_MAX).map(|(what, misfit)| format!("uses {what} of product {product}{misfit}")).collect()
    }
}

impl PropertyUse {
    fn misfit(&self, tsl: &Tsl, name: &str) -> Option<String> {
        let Some(spec) = tsl.property(name) else { return Some(", and the product has no such property".to_owned()) };
        let found = Type::of(&spec.data_type);
        if found != self.data_type {
            return Some(format!(" as {}, and the product has it as {found}", self.data_type));
        }
        let needed = AccessMode::from(self.access);
        if needed.is_writable() && !spec.access.is_writable() {
            return Some(" as one that is set, and it can only be read".to_owned());
        }
        (needed.is_readable() && !spec.access.is_readable()).then(|| " as one that is read or reported, and it can only be set".to_owned())
    }
}

impl EventUse {
    fn misfit(&self, tsl: &Tsl, name: &str) -> Option<String> {
        match tsl.event(name) {
            None => Some(", and the product has no such event".to_owned()),
            Some(spec) => outputs_misfit(&self.outputs, &spec.outputs),
        }
    }
}

impl ServiceUse {
    fn misfit(&self, tsl: &Tsl, name: &str) -> Option<String> {
        let Some(spec) = tsl.service(name) else { return Some(", and the product has no such service".to_owned()) };
        let input = |(name, used): (&String, &InputUse)| {
            let input = quoted(name);
            let Some(spec) = spec.inputs.get(name) else { return Some(format!(" with the input {input}, and there it has none")) };
            let found = Type::of(&spec.data_type);
            if found != used.data_type {
                return Some(format!(" with the input {input} as {}, and there it is {found}", used.data_type));
            }
            (spec.required && !used.required).then(|| format!(" without the input {input} at times, and there it is required"))
        };
        let missing = || {
            let missing = spec.inputs.iter().find(|input| input.required && !self.inputs.contains_key(&input.identifier))?;
            Some(format!(" without the input {}, and there it is required", quoted(&missing.identifier)))
        };
        self.inputs.iter().find_map(input).or_else(missing).or_else(|| outputs_misfit(&self.outputs, &spec.outputs))
    }
}

/// Outputs that nobody here knows of are left alone.
fn outputs_misfit(used: &BTreeMap<String, Type>, specs: &Members<ParamSpec>) -> Option<String> {
    used.iter().find_map(|(name, used)| {
        let output = quoted(name);
        match specs.get(name).map(|spec| Type::of(&spec.data_type)) {
            None => Some(format!(" with the output {output}, and there it has none")),
            Some(found) if found != *used => Some(format!(" with the output {output} as {used}, and there it is {found}")),
            Some(_) => None,
        }
    })
}

fn types(specs: &Members<ParamSpec>) -> BTreeMap<String, Type> {
    specs.iter().map(|spec| (spec.identifier.clone(), Type::of(&spec.data_type))).collect()
}

impl InputUse {
    fn of(spec: &ParamSpec) -> Self {
        Self { data_type: Type::of(&spec.data_type), required: spec.required }
    }
}

impl Type {
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int { .. } => Self::Int,
            DataType::Float { .. } => Self::Float,
            DataType::Double { .. } => Self::Double,
            DataType::Bool => Self::Bool,
            DataType::Text { .. } => Self::Text,
            DataType::Date => Self::Date,
            DataType::Enum { members } => Self::Enum(members.keys().copied().collect()),
            DataType::Array { item, .. } => Self::Array(Box::new(Self::of(item))),
            DataType::Struct { fields } => Self::Struct(types(fields)),
        }
    }
}

impl From<AccessMode> for Access {
    fn from(mode: AccessMode) -> Self {
        match mode {
            AccessMode::Read => Self::Read,
            AccessMode::Write => Self::Write,
            AccessMode::ReadWrite => Self::ReadWrite,
        }
    }
}

impl From<Access> for AccessMode {
    fn from(access: Access) -> Self {
        match access {
            Access::Read => Self::Read,
            Access::Write => Self::Write,
            Access::ReadWrite => Self::ReadWrite,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown(f, 0)
    }
}

impl Type {
    fn shown(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            _ if depth > SHOWN_DEPTH_MAX => f.write_str("..."),
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Bool => f.write_str("bool"),
            Self::Text => f.write_str("text"),
            Self::Date => f.write_str("date"),
            Self::Enum(members) => {
                let numbers: Vec<String> = members.iter().take(SHOWN_MAX).map(i32::to_string).collect();
                write!(f, "enum of {}{}", numbers.join(", "), more(members.len()))
            }
            Self::Array(item) => {
                f.write_str("array of ")?;
                item.shown(f, depth + 1)
            }
            Self::Struct(fields) => {
                f.write_str("struct of (")?;
                for (place, (name, field)) in fields.iter().take(SHOWN_MAX).enumerate() {
                    write!(f, "{}{}: ", if place == 0 { "" } else { ", " }, quoted(name))?;
                    field.shown(f, depth + 1)?;
                }
                write!(f, "{})", more(fields.len()))
            }
        }
    }
}

/// Members of an enum and fields of a struct that a message shows.
const SHOWN_MAX: usize = 10;
/// How deep a message goes into a type.
const SHOWN_DEPTH_MAX: usize = 2;

fn more(count: usize) -> &'static str {
    if count > SHOWN_MAX { ", ..." } else { "" }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lamp;
    use super::*;

    fn uses() -> Uses {
        Uses::of(&lamp(), "a1Lamp", |_| true)
    }

    /// What a changed model does not have any more of what was used of the lamp.
    fn misfits(from: &str, to: &str) -> Vec<String> {
        let text = include_str!("lamp.json");
        assert!(text.contains(from), "the lamp has no {from}");
        uses().misfits(Some(&Tsl::parse(&text.replacen(from, to, 1)).unwrap()))
    }

    #[test]
    fn what_is_written_is_read_again_and_several_follow_one_another() {
        let line = format!("{}\n", serde_json::to_string(&uses()).unwrap());
        assert_eq!(Uses::parse(line.as_bytes()), Ok(vec![uses()]));
        assert_eq!(Uses::parse(line.repeat(3).as_bytes()).unwrap().len(), 3);
        assert_eq!(Uses::parse(b""), Ok(vec![]));
        assert_eq!(Uses::parse(br#"{"product":"a"}"#).unwrap()[0].product, "a");
    }

    #[test]
    fn bytes_of_a_stranger_are_refused_with_a_reason() {
        for wrong in ["{", "[]", "x", "{\"product\":7}", "{\"product\":\"a\",\"more\":1}", "{\"product\":\"a\"} 7"] {
            assert!(Uses::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let nested = format!(
            r#"{{"product":"a","properties":{{"p":{{"access":"r","type":{}"int"{}}}}}}}"#,
            "{\"array\":".repeat(10_000),
            "}".repeat(10_000)
        );
        for wrong in [vec![b' '; USES_BYTES_MAX + 1], vec![0xff; 10], nested.into_bytes()] {
            assert!(Uses::parse(&wrong).is_err());
        }
        let nested = format!("{}int{}", "{\"array\":".repeat(5_000), "}".repeat(5_000));
        assert!(Uses::parse(nested.as_bytes()).is_err(), "too deep");
    }

    #[test]
    fn a_model_fits_itself_and_whatever_only_limits_it_otherwise() {
        assert!(uses().misfits(Some(&lamp())).is_empty());
        for (from, to) in [
            (r#""max": "600""#, r#""max": "6000""#),
            (r#""length": "12""#, r#""length": "13""#),
            (r#""name": "亮度""#, r#""name": "bright""#),
            (r#""size": "3""#, r#""size": "4""#),
            (r#""0": "day""#, r#""0": "light""#),
            (r#"{ "identifier": "Pin", "accessMode": "w""#, r#"{ "identifier": "Pin", "accessMode": "rw""#),
            (
                r#""inputData": [
        { "#,
                r#""inputData": [ {"identifier": "new", "required": false, "dataType": {"type": "int"}},
        { "#,
            ),
        ] {
            assert_eq!(misfits(from, to), [""; 0], "{from}");
        }
    }

    #[test]
    fn a_model_that_has_something_else_is_told_by_name() {
        for (from, to, misfit) in [
            ("\"LightSwitch\"", "\"Switch\"", "uses property `LightSwitch` of product `a1Lamp`, and the product has no such property"),
            (
                r#""type": "bool""#,
                r#""type": "int""#,
                "uses property `LightSwitch` of product `a1Lamp` as bool, and the product has it as int",
            ),
            (
                r#""7": "off""#,
                r#""8": "off""#,
                "uses property `Mode` of product `a1Lamp` as enum of 0, 1, 7, and the product has it as enum of 0, 1, 8",
            ),
            (
                r#""item": { "type": "float" }"#,
                r#""item": { "type": "double" }"#,
                "uses property `Levels` of product `a1Lamp` as array of float, and the product has it as array of double",
            ),
            (
                r#""Brightness", "name": "亮度", "accessMode": "rw""#,
                r#""Brightness", "name": "亮度", "accessMode": "r""#,
                "uses property `Brightness` of product `a1Lamp` as one that is set, and it can only be read",
            ),
            (
                r#""Energy", "accessMode": "r""#,
                r#""Energy", "accessMode": "w""#,
                "uses property `Energy` of product `a1Lamp` as one that is read or reported, and it can only be set",
            ),
            (
                r#""overheated", "name""#,
                r#""cold", "name""#,
                "uses event `overheated` of product `a1Lamp`, and the product has no such event",
            ),
            (
                r#""temperature""#,
                r#""t""#,
                "uses event `overheated` of product `a1Lamp` with the output `temperature`, and there it has none",
            ),
            (r#""blink", "name""#, r#""wink", "name""#, "uses service `blink` of product `a1Lamp`, and the product has no such service"),
            (
                r#""times", "name""#,
                r#""count", "name""#,
                "uses service `blink` of product `a1Lamp` with the input `times`, and there it has none",
            ),
            (
                r#""name": "mode", "required": false"#,
                r#""name": "mode", "required": true"#,
                "uses service `blink` of product `a1Lamp` without the input `mode` at times, and there it is required",
            ),
            (
                r#""inputData": [
        { "#,
                r#""inputData": [ {"identifier": "new", "dataType": {"type": "int"}},
        { "#,
                "uses service `blink` of product `a1Lamp` without the input `new`, and there it is required",
            ),
            (
                r#""done", "dataType": { "type": "int""#,
                r#""done", "dataType": { "type": "bool""#,
                "uses service `blink` of product `a1Lamp` with the output `done` as int, and there it is bool",
            ),
        ] {
            assert_eq!(misfits(from, to), [misfit], "{from}");
        }
        let none = uses().misfits(None);
        assert_eq!(none, ["uses product `a1Lamp`, which is neither in the project nor on the gateway"]);
        assert_eq!(uses().misfits(Some(&Tsl::default())).len(), MISFITS_MAX);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_uses_or_are_refused(text in r#"[\[\]{}:,"a-z0-9]{0,60}|.{0,60}"#, at in 0_usize..400, new in r#"[\[\]{}:,"0-9a-z]{0,6}"#) {
            _ = Uses::parse(text.as_bytes());
            let mut damaged = serde_json::to_string(&uses()).unwrap();
            damaged.replace_range(at.min(damaged.len())..(at + 3).min(damaged.len()), &new);
            for uses in Uses::parse(damaged.as_bytes()).unwrap_or_default() {
                uses.misfits(Some(&lamp())).iter().for_each(|misfit| assert!(misfit.len() < 2_000));
            }
        }
    }
}
