//! Which registers or coils a service writes and reads.
//!
//! Its inputs are written in the order in which the extension has them, and its outputs are read after that. What has no identifier is
//! written with a fixed `value`, as a coil that starts something.

use ledge_sdk::Fault;
use ledge_sdk::serde_json::Value as Json;
use ledge_sdk::value::{Properties, Property as Given};

use super::{Mapping, Point};
use crate::fields::Fields;
use crate::layout::Raw;
use crate::model::{self, Model, Property};
use crate::write::Encoded;

/// A service whose parameters are all mapped.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub identifier: String,
    inputs: Vec<Input>,
    outputs: Vec<Parameter>,
}

/// A parameter, and the number of its point.
#[derive(Clone, Debug, PartialEq)]
struct Parameter {
    name: String,
    at: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Input {
    Argument(Parameter),
    Fixed(Encoded),
}

/// What a parameter may say; when it is read and reported, it does not.
const KEYS: [&str; 11] =
    ["area", "address", "type", "length", "swap_bytes", "swap_registers", "scale", "offset", "bits", "date_in", "write_function"];
const MORE_KEYS: [&str; 2] = ["value", "note"];

impl Mapping {
    /// Takes the services over, and notes what is wrong.
    pub(super) fn read_services(&mut self, known: &[model::Service], entries: &Json) {
        for (at, entry) in entries.as_array().into_iter().flatten().enumerate() {
            let identifier = entry["identifier"].as_str().map_or_else(|| format!("services[{at}]"), str::to_owned);
            let points = self.points.len();
            let service = match known.iter().find(|service| service.identifier == identifier) {
                _ if self.service(&identifier).is_some() => Err("it is mapped twice".into()),
                Some(service) => self.read_service(service, entry),
                None => Err("the TSL has no such service of its own".into()),
            };
            match service {
                Ok(service) => self.services.push(service),
                Err(reason) => {
                    self.points.truncate(points);
                    self.problems.push((format!("service `{identifier}`"), reason));
                }
            }
        }
    }

    fn read_service(&mut self, known: &model::Service, entry: &Json) -> Result<Service, String> {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for (what, entry) in parameters(entry, "inputData")? {
            let input = match entry["identifier"].as_str() {
                Some(name) => Input::Argument(self.parameter(&known.identifier, name, &known.inputs, &entry["customize"])?),
                None => Input::Fixed(self.fixed(&format!("{}.{what}", known.identifier), &entry["customize"]).map_err(about(&what))?),
            };
            inputs.push(input);
        }
        for (what, entry) in parameters(entry, "outputData")? {
            let name = entry["identifier"].as_str().ok_or_else(|| format!("`{what}` has no `identifier`"))?;
            outputs.push(self.parameter(&known.identifier, name, &known.outputs, &entry["customize"])?);
        }
        let arguments = inputs.iter().filter_map(Input::argument);
        all_once(&known.inputs, arguments)?;
        all_once(&known.outputs, outputs.iter())?;
        if inputs.is_empty() && outputs.is_empty() {
            return Err("it neither writes nor reads anything".into());
        }
        Ok(Service { identifier: known.identifier.clone(), inputs, outputs })
    }

    fn parameter(&mut self, service: &str, name: &str, known: &[Property], customize: &Json) -> Result<Parameter, String> {
        let read = || {
            let property = known.iter().find(|property| property.identifier == name).ok_or("the TSL has no such parameter there")?;
            let fields = Fields::of_customize(customize, &[&KEYS[..], &MORE_KEYS[1..]].concat())?;
            // No property of a TSL has a dot in its identifier.
            let property = Property { identifier: format!("{service}.{name}"), ..property.clone() };
            super::point(&property, &fields)
        };
        let point = read().map_err(about(name))?;
        Ok(Parameter { name: name.to_owned(), at: self.add(point) })
    }

    fn fixed(&mut self, identifier: &str, customize: &Json) -> Result<Encoded, String> {
        let fields = Fields::of_customize(customize, &[&KEYS[..], &MORE_KEYS[..]].concat())?;
        let value = fields.number("value")?.ok_or("it has neither an `identifier` nor a `value` in `customize`")?;
        let model = Model::Double { min: f64::MIN, max: f64::MAX };
        let property = Property { identifier: identifier.to_owned(), is_readable: false, is_writable: true, model: Ok(model) };
        let point = super::point(&property, &fields)?;
        let words = point.layout.encode(&Raw::Number(value))?;
        Ok((self.add(point), words))
    }

    fn add(&mut self, point: Point) -> usize {
        self.points.push(Point { is_readable: false, ..point });
        self.points.len() - 1
    }

    pub fn service(&self, identifier: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.identifier == identifier)
    }
}

/// The entries of a list, which may be missing, and their places for people.
fn parameters<'a>(entry: &'a Json, list: &str) -> Result<Vec<(String, &'a Json)>, String> {
    match &entry[list] {
        Json::Null => Ok(Vec::new()),
        Json::Array(entries) => Ok(entries.iter().enumerate().map(|(at, entry)| (format!("{list}[{at}]"), entry)).collect()),
        _ => Err(format!("`{list}` is no list")),
    }
}

/// Whether each parameter of the TSL is mapped, and none twice.
fn all_once<'a>(known: &[Property], mapped: impl Iterator<Item = &'a Parameter>) -> Result<(), String> {
    let mut names: Vec<&str> = mapped.map(|parameter| parameter.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("its parameter `{}` is mapped twice", pair[0]));
    }
    match known.iter().find(|property| !names.contains(&property.identifier.as_str())) {
        Some(property) => Err(format!("its parameter `{}` is not mapped", property.identifier)),
        None => Ok(()),
    }
}

fn about(what: &str) -> impl Fn(String) -> String {
    move |wrong| format!("`{what}`: {wrong}")
}

impl Input {
    fn argument(&self) -> Option<&Parameter> {
        match self {
            Self::Argument(parameter) => Some(parameter),
            Self::Fixed(_) => None,
        }
    }
}

impl Service {
    /// What a call writes, in order. Arguments that are not given are not written.
    pub fn writes(&self, arguments: &Properties, encode: impl Fn(usize, &Given) -> Result<Encoded, Fault>) -> Result<Vec<Encoded>, Fault> {
        let mut writes = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            match input {
                Input::Fixed(words) => writes.push(words.clone()),
                Input::Argument(parameter) => {
                    let given = arguments.iter().find(|property| property.identifier == parameter.name);
                    writes.extend(given.map(|given| encode(parameter.at, given)).transpose()?);
                }
            }
        }
        Ok(writes)
    }

    /// The points that are read after that.
    pub fn reads(&self) -> Vec<usize> {
        self.outputs.iter().map(|output| output.at).collect()
    }

    /// The name of an output.
    pub fn output(&self, at: usize) -> Option<&str> {
        self.outputs.iter().find(|output| output.at == at).map(|output| output.name.as_str())
    }
}

#[cfg(test)]
mod tests;
