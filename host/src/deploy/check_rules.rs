//! Automation rules against the models, the functions and the other rules of a set.

use std::collections::HashMap;

use serde_json::Value as Json;

use crate::limit;
use crate::name::{self, FunctionName, ThingId};
use crate::rule::{self, Comparison, Deed, Devices, Fact, Rule, Trigger};
use crate::set::{self, Set};
use crate::thing::tsl::{AccessMode, DataType, Tsl};

/// The longest description, in characters (FACTS 6.7).
const DESCRIPTION_CHARS_MAX: usize = 100;

/// What is wrong with the rules of a set, or with what they name: a thing that goes takes no rule with it unnoticed.
pub fn rules(set: &Set, has_version: &dyn Fn(&FunctionName) -> bool, problems: &mut Vec<String>) {
    if set.rules.is_empty() {
        return;
    }
    let models = set.products.iter().filter_map(|row| Some((row.key.as_str(), Tsl::parse(&row.tsl).ok()?))).collect();
    let surroundings = Surroundings { set, has_version, models };
    for row in &set.rules {
        let who = format!("rule `{}`", row.name);
        problems.extend(name::check_rule(&row.name).err().map(|wrong| format!("{who}: {wrong}")));
        if row.description.chars().count() > DESCRIPTION_CHARS_MAX {
            problems.push(format!("{who}: its description has more than {DESCRIPTION_CHARS_MAX} characters"));
        }
        problems
            .extend(super::check::outside(row.runs_per_s, limit::RUNS_PER_S).map(|outside| format!("{who}: `runs_per_s` is {outside}")));
        let wrongs = match rule::parse(&row.rule) {
            Ok(rule) => surroundings.check(&rule),
            Err(wrongs) => wrongs.iter().map(ToString::to_string).collect(),
        };
        problems.extend(wrongs.into_iter().map(|wrong| format!("{who}: {wrong}")));
    }
}

struct Surroundings<'s> {
    set: &'s Set,
    has_version: &'s dyn Fn(&FunctionName) -> bool,
    models: HashMap<&'s str, Tsl>,
}

impl Surroundings<'_> {
    fn check(&self, rule: &Rule) -> Vec<String> {
        let at = |place: &str, wrong: Result<(), String>| wrong.err().map(|wrong| format!("`{place}`: {wrong}"));
        let triggers = rule.triggers.iter().filter_map(|it| at(&it.place, self.trigger(&it.it)));
        let facts = rule.condition.facts().into_iter().filter_map(|it| at(&it.place, self.fact(&it.it)));
        let actions = rule.actions.iter().filter_map(|it| at(&it.place, self.deed(&it.it.deed)));
        triggers.chain(facts).chain(actions).collect()
    }

    fn trigger(&self, trigger: &Trigger) -> Result<(), String> {
        match trigger {
            Trigger::Timer { .. } => Ok(()),
            Trigger::Property { of, property, test } => {
                let tsl = self.devices(of)?;
                property.as_ref().map_or(Ok(()), |property| compared(property, property_type(tsl, property)?, test.as_ref()))
            }
            Trigger::Event { of, event, test } => {
                let tsl = self.devices(of)?;
                event.as_ref().map_or(Ok(()), |event| has_event(tsl, event, test.as_ref()))
            }
            Trigger::Status { of, .. } => self.devices(of).map(drop),
        }
    }

    fn fact(&self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Property { thing, property, test } => compared(property, property_type(self.thing(thing)?, property)?, Some(test)),
            Fact::Event { thing, event, test } => has_event(self.thing(thing)?, event, test.as_ref()),
            Fact::Status { thing, .. } => self.thing(thing).map(drop),
            Fact::Time(_) | Fact::Minute { .. } => Ok(()),
        }
    }

    fn deed(&self, deed: &Deed) -> Result<(), String> {
        match deed {
            Deed::SetProperties { thing, properties } => {
                let tsl = self.thing(thing)?;
                for property in properties.keys() {
                    let spec = tsl.properties().find(|spec| spec.identifier == *property);
                    if spec.is_some_and(|spec| spec.access == AccessMode::Read) {
                        return Err(format!("property `{property}` can only be read"));
                    }
                }
                tsl.properties_from_json(properties).map(drop).map_err(|fault| fault.message)
            }
            Deed::CallService { thing, service, arguments } => {
                let tsl = self.thing(thing)?;
                let arguments = tsl.arguments_from_json(service, arguments).map_err(|fault| fault.message)?;
                tsl.check_call(service, arguments).map(drop).map_err(|fault| fault.message)
            }
            Deed::InvokeFunction { function, .. } => {
                match self.set.functions.iter().any(|row| row.name == *function) || (self.has_version)(function) {
                    true => Ok(()),
                    false => Err(format!("function `{function}` is neither in the project nor on the gateway")),
                }
            }
            Deed::TriggerRule(name) => match self.set.rules.iter().any(|row: &set::Rule| row.name == *name) {
                true => Ok(()),
                false => Err(format!("rule `{name}` is neither in the project nor on the gateway")),
            },
            Deed::Publish { .. } => Ok(()),
        }
    }

    fn devices(&self, devices: &Devices) -> Result<&Tsl, String> {
        match devices {
            Devices::One(thing) => self.thing(thing),
            Devices::Product(key) => self.product(key),
        }
    }

    fn product(&self, key: &str) -> Result<&Tsl, String> {
        self.models.get(key).ok_or_else(|| format!("product `{key}` is neither in the project nor on the gateway"))
    }

    fn thing(&self, thing: &ThingId) -> Result<&Tsl, String> {
        let tsl = self.product(&thing.product_key)?;
        let is_this = |row: &set::Thing| row.product_key == thing.product_key && row.device_name == thing.device_name;
        if self.set.things.iter().any(is_this) {
            Ok(tsl)
        } else {
            Err(format!("thing `{thing}` is neither in the project nor on the gateway"))
        }
    }
}

fn property_type<'t>(tsl: &'t Tsl, property: &str) -> Result<&'t DataType, String> {
    let spec = tsl.properties().find(|spec| spec.identifier == property);
    spec.map(|spec| &spec.data_type).ok_or_else(|| format!("the product has no property `{property}`"))
}

fn has_event(tsl: &Tsl, event: &str, test: Option<&(String, Comparison)>) -> Result<(), String> {
    let spec = tsl.events().find(|spec| spec.identifier == event).ok_or_else(|| format!("the product has no event `{event}`"))?;
    let Some((output, test)) = test else { return Ok(()) };
    let output_spec = spec.outputs.get(output).ok_or_else(|| format!("event `{event}` has no output `{output}`"))?;
    compared(output, &output_spec.data_type, Some(test))
}

/// Whether a value of this type can ever meet the comparison.
fn compared(name: &str, data_type: &DataType, test: Option<&Comparison>) -> Result<(), String> {
    let Some(test) = test else { return Ok(()) };
    if test.is_of_order() && matches!(data_type, DataType::Text { .. } | DataType::Array { .. } | DataType::Struct { .. }) {
        return Err(format!("`{name}` is no number, so it is never more or less than another; compare with ==, != or in"));
    }
    // A bound beyond the type's own range is odd, and no mistake: what is compared need only be of the type.
    let is_number = matches!(data_type, DataType::Int { .. } | DataType::Float { .. } | DataType::Double { .. } | DataType::Date);
    for value in test.values() {
        let is_of_type = if is_number { is_numeric(value) } else { data_type.from_json(value).is_ok() };
        if !is_of_type {
            return Err(format!("{value} is no value of `{name}`"));
        }
    }
    Ok(())
}

fn is_numeric(json: &Json) -> bool {
    match json {
        Json::Number(_) | Json::Bool(_) => true,
        Json::String(text) => text.trim().parse::<f64>().is_ok(),
        Json::Null | Json::Array(_) | Json::Object(_) => false,
    }
}
