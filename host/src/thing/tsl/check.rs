//! What callers and drivers give, held against the TSL: one check for each kind of call.
//!
//! A check takes what it is given and hands back the converted values, or one fault that names every member it refuses.
//! Whether the caller may do this at all (grants) and whether the thing is there is for others to say.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use super::convert::quoted;
use super::parse::{BUILT_IN_EVENT, BUILT_IN_SERVICES};
use super::*;
use crate::thing::fault::{self, Fault};
use crate::thing::value::{Property, Value};

impl Tsl {
    /// Properties to set: all of them, or none. Faults: 100001 (none given, or one twice), 109002, 109003, 109008, 100007.
    pub fn check_set(&self, properties: Vec<Property>) -> Result<Vec<Property>, Fault> {
        some(properties.len())?;
        all(admit(named(properties), |name, value| as_property(name, self.writable(name)?.convert(value))))
    }

    /// The same as [`Tsl::check_set`], of JSON.
    pub fn properties_from_json(&self, properties: &Map<String, Json>) -> Result<Vec<Property>, Fault> {
        some(properties.len())?;
        all(admit(properties.iter(), |name, json| as_property(name, self.writable(name)?.from_json(json))))
    }

    /// Properties to get, each once; an empty list asks for every readable one. Faults: 100001 (too many), 109002, 109004.
    pub fn check_get(&self, identifiers: Vec<String>) -> Result<Vec<String>, Fault> {
        if identifiers.is_empty() {
            return Ok(self.properties().filter(|spec| spec.access.is_readable()).map(|spec| spec.identifier.clone()).collect());
        }
        few(identifiers.len())?;
        let (mut asked, mut refusals) = (Vec::with_capacity(identifiers.len()), Refusals::default());
        let mut seen = (identifiers.len() > NAMES_COMPARED_MAX).then(|| HashSet::with_capacity(identifiers.len()));
        for identifier in identifiers {
            match self.readable(&identifier) {
                Ok(_) if seen.as_mut().map_or_else(|| asked.contains(&identifier), |seen| !seen.insert(identifier.clone())) => {}
                Ok(_) => asked.push(identifier),
                Err(fault) => refusals.add(fault),
            }
        }
        all((asked, refusals))
    }

    /// What a driver answered to a get of `asked`. What was not asked for is dropped. What was asked for by its name must be there; of
    /// everything, a device may have less at times.
    pub fn check_answer(&self, asked: &[String], is_of_all: bool, answer: Vec<Property>) -> Result<Vec<Property>, Fault> {
        let wanted: HashSet<&str> = asked.iter().map(String::as_str).collect();
        let answer = answer.into_iter().filter(|property| wanted.contains(property.identifier.as_str())).collect();
        let (admitted, mut refusals) = admit(named(answer), |name, value| as_property(name, self.readable(name)?.convert(value)));
        if !is_of_all && refusals.first.is_none() && admitted.len() < asked.len() {
            let given: HashSet<&str> = admitted.iter().map(|property| property.identifier.as_str()).collect();
            for missing in asked.iter().filter(|name| !given.contains(name.as_str())) {
                refusals.add(Fault::new(fault::INVALID_TYPE, format!("property `{missing}` is missing")));
            }
        }
        all((admitted, refusals)).map_err(from_driver)
    }

    /// What a driver reports: the good values, and a fault for the others.
    /// Faults: 100001 (none given, or one twice), 109002, 109004, 109008, 100007.
    pub fn check_report(&self, properties: Vec<Property>) -> (Vec<Property>, Option<Fault>) {
        if let Err(fault) = some(properties.len()) {
            return (Vec::new(), Some(fault));
        }
        let (good, refusals) = admit(named(properties), |name, value| as_property(name, self.readable(name)?.convert(value)));
        (good, refusals.into_fault())
    }

    /// An event that a driver reports, with every output that it must have. Fault: 100001, whatever is wrong.
    pub fn check_event(&self, event: &str, outputs: Vec<Property>) -> Result<Vec<Property>, Fault> {
        let spec = self.event(event).ok_or_else(|| Fault::new(fault::INVALID_PARAM, self.no_event(event)))?;
        as_outputs(&spec.outputs, format_args!("event `{event}`"), outputs).map_err(|fault| Fault { code: fault::INVALID_PARAM, ..fault })
    }

    /// A call of a service. Faults: 109005, 109006.
    pub fn check_call(&self, service: &str, arguments: Vec<Property>) -> Result<Vec<Property>, Fault> {
        self.check_arguments(service, named(arguments), |data_type, value| data_type.convert(value))
    }

    /// The same as [`Tsl::check_call`], of JSON.
    pub fn arguments_from_json(&self, service: &str, arguments: &Map<String, Json>) -> Result<Vec<Property>, Fault> {
        self.check_arguments(service, arguments.iter(), |data_type, json| data_type.from_json(json))
    }

    /// What a driver answered to a call, with every output that it must have. What is no output is dropped.
    /// Faults: 109005, 109008, 100007, 100001 (an output twice).
    pub fn check_outputs(&self, service: &str, outputs: Vec<Property>) -> Result<Vec<Property>, Fault> {
        let spec = self.callable(service)?;
        let outputs = outputs.into_iter().filter(|output| spec.outputs.get(&output.identifier).is_some()).collect();
        as_outputs(&spec.outputs, format_args!("service `{service}`"), outputs).map_err(from_driver)
    }

    fn check_arguments<I: AsRef<str> + Into<String>, V>(
        &self,
        service: &str,
        given: impl ExactSizeIterator<Item = (I, V)>,
        convert: impl Fn(&DataType, V) -> Result<Value, ValueError>,
    ) -> Result<Vec<Property>, Fault> {
        let inputs = &self.callable(service)?.inputs;
        let wrong = |reason: String| Fault::new(fault::SERVICE_INPUT_PARAM, format!("service `{service}`: {reason}"));
        let (arguments, mut refusals) = admit(given, |name, value| {
            let Some(input) = inputs.get(name) else { return Err(wrong(no_member("input", name, inputs))) };
            convert(&input.data_type, value).map_err(|error| wrong(format!("input {}: {error}", quoted(name))))
        });
        // What was given and refused is not missing too.
        if refusals.first.is_none() {
            let missing = |input: &&ParamSpec| input.required && !arguments.iter().any(|given| given.identifier == input.identifier);
            for input in inputs.iter().filter(missing) {
                refusals.add(wrong(format!("input `{}` is missing", input.identifier)));
            }
        }
        // Whatever is wrong with an argument has one number.
        all((arguments, refusals)).map_err(|fault| Fault { code: fault::SERVICE_INPUT_PARAM, ..fault })
    }

    fn writable(&self, name: &str) -> Result<&DataType, Fault> {
        let spec = self.known(name)?;
        if !spec.access.is_writable() {
            return Err(Fault::new(fault::PROPERTY_READ_ONLY, format!("property `{name}` can only be read")));
        }
        Ok(&spec.data_type)
    }

    fn readable(&self, name: &str) -> Result<&DataType, Fault> {
        let spec = self.known(name)?;
        if !spec.access.is_readable() {
            return Err(Fault::new(fault::PROPERTY_WRITE_ONLY, format!("property `{name}` can only be set, neither read nor reported")));
        }
        Ok(&spec.data_type)
    }

    fn known(&self, name: &str) -> Result<&PropertySpec, Fault> {
        self.property(name).ok_or_else(|| {
            let known = names(self.properties().map(|spec| spec.identifier.as_str()));
            Fault::new(fault::PROPERTY_NOT_EXIST, format!("the TSL has no property {}: {known}", quoted(name)))
        })
    }

    fn callable(&self, name: &str) -> Result<&ServiceSpec, Fault> {
        self.service(name).ok_or_else(|| {
            let message = if BUILT_IN_SERVICES.contains(&name) {
                format!("`{name}` is built in: use the calls that get and set properties")
            } else {
                let known = names(self.services().map(|spec| spec.identifier.as_str()));
                format!("the TSL has no service {}: {known}", quoted(name))
            };
            Fault::new(fault::SERVICE_NOT_EXIST, message)
        })
    }

    fn no_event(&self, name: &str) -> String {
        if name == BUILT_IN_EVENT {
            return format!("event `{name}` is built in: report the properties instead");
        }
        let known = names(self.events().map(|spec| spec.identifier.as_str()));
        format!("the TSL has no event {}: {known}", quoted(name))
    }
}

/// Converts every member that was given, and sorts out those that `check` refuses.
fn admit<I: AsRef<str> + Into<String>, V>(
    given: impl ExactSizeIterator<Item = (I, V)>,
    check: impl Fn(&str, V) -> Result<Value, Fault>,
) -> (Vec<Property>, Refusals) {
    let (mut admitted, mut refusals) = (Vec::with_capacity(given.len().min(MEMBERS_MAX)), Refusals::default());
    // A guest may send as many as fit its host call: bounded, as the TSL is.
    if let Err(fault) = few(given.len()) {
        refusals.add(fault);
        return (admitted, refusals);
    }
    // Of a few names it is quicker to look at all of them.
    let mut seen = (given.len() > NAMES_COMPARED_MAX).then(|| HashSet::with_capacity(given.len()));
    for (identifier, value) in given {
        let name = identifier.as_ref();
        let is_twin = match &mut seen {
            Some(seen) => !seen.insert(name.to_owned()),
            None => admitted.iter().any(|property: &Property| property.identifier == name),
        };
        match check(name, value) {
            Ok(_) if is_twin => refusals.add(Fault::new(fault::INVALID_PARAM, format!("{} is given twice", quoted(name)))),
            Ok(value) => admitted.push(Property::new(identifier, value)),
            Err(fault) => refusals.add(fault),
        }
    }
    (admitted, refusals)
}

fn named(properties: Vec<Property>) -> impl ExactSizeIterator<Item = (String, Value)> {
    properties.into_iter().map(|property| (property.identifier, property.value))
}

fn all<T>((admitted, refusals): (T, Refusals)) -> Result<T, Fault> {
    refusals.into_fault().map_or(Ok(admitted), Err)
}

fn some(count: usize) -> Result<(), Fault> {
    if count == 0 { Err(Fault::new(fault::INVALID_PARAM, "no property is given")) } else { Ok(()) }
}

fn few(count: usize) -> Result<(), Fault> {
    if count <= MEMBERS_MAX {
        return Ok(());
    }
    Err(Fault::new(fault::INVALID_PARAM, format!("{count} members are given, {MEMBERS_MAX} at most are allowed")))
}

fn as_property(name: &str, converted: Result<Value, ValueError>) -> Result<Value, Fault> {
    converted.map_err(|error| Fault::new(error.code, format!("property `{name}`: {error}")))
}

fn as_outputs(specs: &Members<ParamSpec>, owner: fmt::Arguments, outputs: Vec<Property>) -> Result<Vec<Property>, Fault> {
    let (admitted, mut refusals) = admit(named(outputs), |name, value| {
        let Some(spec) = specs.get(name) else { return Err(Fault::new(fault::INVALID_PARAM, no_member("output", name, specs))) };
        let refused = |error: ValueError| Fault::new(error.code, format!("output {} of {owner}: {error}", quoted(name)));
        spec.data_type.convert(value).map_err(refused)
    });
    // What was given and refused is not missing too.
    if refusals.first.is_none() {
        let is_missing = |spec: &&ParamSpec| spec.required && !admitted.iter().any(|given| given.identifier == spec.identifier);
        for spec in specs.iter().filter(is_missing) {
            refusals.add(Fault::new(fault::INVALID_TYPE, format!("output `{}` of {owner} is missing", spec.identifier)));
        }
    }
    all((admitted, refusals))
}

fn from_driver(fault: Fault) -> Fault {
    Fault { message: format!("the driver's answer is wrong: {}", fault.message), ..fault }.of_answer()
}

fn no_member(kind: &str, name: &str, specs: &Members<ParamSpec>) -> String {
    let known = names(specs.iter().map(|spec| spec.identifier.as_str()));
    format!("there is no {kind} {}: {known}", quoted(name))
}

fn names<'a>(mut known: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = if known.len() > NAMES_LISTED_MAX { ", ..." } else { "" };
    match known.by_ref().take(NAMES_LISTED_MAX).collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "it has none".to_owned(),
        some => format!("it has {some}{more}"),
    }
}

/// Faults of several members, as one: the number is the first one's.
#[derive(Default)]
struct Refusals {
    first: Option<Fault>,
    count: usize,
}

impl Refusals {
    fn add(&mut self, fault: Fault) {
        self.count += 1;
        match &mut self.first {
            None => self.first = Some(fault),
            Some(first) if self.count <= REFUSALS_LISTED_MAX => first.message = format!("{}; {}", first.message, fault.message),
            Some(_) => {}
        }
    }

    fn into_fault(self) -> Option<Fault> {
        let mut fault = self.first?;
        if let Some(more @ 1..) = self.count.checked_sub(REFUSALS_LISTED_MAX) {
            fault.message = format!("{}; and {more} more", fault.message);
        }
        Some(fault)
    }
}

/// Names that are looked for one by one.
const NAMES_COMPARED_MAX: usize = 32;
/// How many refused members a fault names.
const REFUSALS_LISTED_MAX: usize = 8;
/// How many names that would have been right a fault lists.
const NAMES_LISTED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::lamp;
    use super::*;

    fn property(identifier: &str, value: Value) -> Property {
        Property::new(identifier, value)
    }

    fn text(identifier: &str, text: &str) -> Property {
        Property::new(identifier, Value::Text(text.to_owned()))
    }

    fn fault<T: std::fmt::Debug>(result: Result<T, Fault>) -> (u32, String) {
        let fault = result.unwrap_err();
        (fault.code, fault.message)
    }

    fn ids(identifiers: &[&str]) -> Vec<String> {
        identifiers.iter().map(|id| (*id).to_owned()).collect()
    }

    fn object(json: Json) -> Map<String, Json> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_set_has_the_types_of_the_tsl() {
        let set = lamp().check_set(vec![text("LightSwitch", "1"), text("Brightness", "15")]);
        assert_eq!(set, Ok(vec![property("LightSwitch", Value::Bool(true)), property("Brightness", Value::Int(15))]));
        let json = lamp().properties_from_json(&object(json!({"LightSwitch": "1", "Brightness": 15.0})));
        assert_eq!(json, set);
    }

    #[test]
    fn what_is_set_is_refused_as_a_whole_and_every_reason_is_given() {
        let given =
            vec![text("LightSwitch", "1"), text("Nope", "1"), text("Illuminance", "1"), text("Brightness", "700"), text("Mode", "x")];
        let (code, message) = fault(lamp().check_set(given));
        assert_eq!(code, 109_002);
        assert!(message.starts_with("the TSL has no property `Nope`: it has LightSwitch, Brightness"), "{message}");
        assert!(message.ends_with(
            "; property `Illuminance` can only be read; property `Brightness`: `700` is above the maximum 600; \
             property `Mode`: `x` is not a number"
        ));
    }

    #[test]
    fn each_refusal_has_its_number() {
        let set = |property| fault(lamp().check_set(vec![property])).0;
        assert_eq!(set(text("Nope", "1")), 109_002);
        assert_eq!(set(text("Illuminance", "1")), 109_003);
        assert_eq!(set(text("Brightness", "x")), 109_008);
        assert_eq!(set(text("Brightness", "700")), 100_007);
        assert_eq!(fault(lamp().check_set(vec![])), (100_001, "no property is given".into()));
        assert_eq!(fault(lamp().properties_from_json(&Map::new())).0, 100_001);
        let twice = lamp().check_set(vec![text("LightSwitch", "1"), text("LightSwitch", "0")]);
        assert_eq!(fault(twice), (100_001, "`LightSwitch` is given twice".into()));
    }

    #[test]
    fn a_write_only_property_can_be_set_but_neither_read_nor_reported() {
        assert!(lamp().check_set(vec![text("Pin", "1234")]).is_ok());
        assert_eq!(fault(lamp().check_get(ids(&["Pin"]))).0, 109_004);
        assert_eq!(lamp().check_report(vec![text("Pin", "1234")]).1.unwrap().code, 109_004);
    }

    #[test]
    fn an_empty_get_asks_for_every_readable_property() {
        let all = lamp().check_get(vec![]).unwrap();
        assert_eq!(all.len(), 9);
        assert!(!all.contains(&"Pin".to_owned()));
    }

    #[test]
    fn a_get_asks_for_each_property_once() {
        assert_eq!(lamp().check_get(ids(&["Mode", "Label", "Mode"])), Ok(ids(&["Mode", "Label"])));
        let (code, message) = fault(lamp().check_get(ids(&["Mode", "x", "y"])));
        assert_eq!(code, 109_002);
        assert!(message.contains("`x`") && message.contains("`y`"), "{message}");
        assert_eq!(fault(lamp().check_get(vec!["Mode".into(); MEMBERS_MAX + 1])).0, 100_001);
    }

    #[test]
    fn an_answer_is_what_was_asked_and_no_more() {
        let asked = ids(&["LightSwitch", "Illuminance", "Mode"]);
        let answer = vec![text("Illuminance", "0.1"), text("Label", "x"), text("Unknown", "x"), property("LightSwitch", Value::Int(1))];
        let known = vec![property("Illuminance", Value::Float(0.1)), property("LightSwitch", Value::Bool(true))];
        assert_eq!(lamp().check_answer(&asked, true, answer.clone()), Ok(known.clone()));
        assert_eq!(lamp().check_answer(&asked[..2], false, answer.clone()), Ok(known));
        let missing = "the driver's answer is wrong: property `Mode` is missing".to_owned();
        assert_eq!(fault(lamp().check_answer(&asked, false, answer)), (109_008, missing));
        let (code, message) = fault(lamp().check_answer(&asked, true, vec![text("Mode", "9")]));
        assert_eq!(code, 100_007);
        assert!(message.starts_with("the driver's answer is wrong: property `Mode`: `9` is not a member"), "{message}");
        let twice = vec![text("Mode", "0"), text("Mode", "1")];
        let twice = lamp().check_answer(&asked, true, twice).unwrap_err();
        assert!(twice.is_of_answer && twice.message.contains("`Mode` is given twice"), "{twice}");
    }

    #[test]
    fn a_report_keeps_the_good_values_and_names_the_others() {
        let (good, fault) = lamp().check_report(vec![text("Illuminance", "12.5"), text("Brightness", "x"), text("Mode", "0")]);
        assert_eq!(good, [property("Illuminance", Value::Float(12.5)), property("Mode", Value::Enum(0))]);
        assert_eq!(fault, Some(Fault::new(109_008, "property `Brightness`: `x` is not a number")));
        assert_eq!(lamp().check_report(vec![text("Mode", "0")]).1, None);
        let (none, fault) = lamp().check_report(vec![]);
        assert!(none.is_empty());
        assert_eq!(fault.unwrap().code, 100_001);
    }

    #[test]
    fn an_event_has_the_outputs_of_the_tsl() {
        let tsl = lamp();
        let since = property("since", Value::Date("1700000000000".into()));
        let whole = Ok(vec![property("temperature", Value::Int(90)), since.clone()]);
        assert_eq!(tsl.check_event("overheated", vec![text("temperature", "90"), since]), whole);
        for (event, outputs, message) in [
            (
                "overheated",
                vec![],
                "output `temperature` of event `overheated` is missing; output `since` of event `overheated` is missing",
            ),
            ("cold", vec![], "the TSL has no event `cold`: it has overheated"),
            ("post", vec![], "event `post` is built in: report the properties instead"),
            ("overheated", vec![text("t", "1")], "there is no output `t`: it has temperature, since"),
            ("overheated", vec![text("temperature", "x")], "output `temperature` of event `overheated`: `x` is not a number"),
            ("overheated", vec![text("temperature", "999")], "output `temperature` of event `overheated`: `999` is above the maximum 300"),
        ] {
            assert_eq!(fault(tsl.check_event(event, outputs)), (100_001, message.to_owned()));
        }
    }

    #[test]
    fn a_call_has_every_required_input_and_no_other() {
        let tsl = lamp();
        let called = Ok(vec![property("times", Value::Int(3))]);
        assert_eq!(tsl.check_call("blink", vec![text("times", "3")]), called);
        assert_eq!(tsl.arguments_from_json("blink", &object(json!({"times": 3}))), called);
        for (arguments, message) in [
            (json!({}), "service `blink`: input `times` is missing"),
            (json!({"mode": 1}), "service `blink`: input `times` is missing"),
            (json!({"times": 11}), "service `blink`: input `times`: `11` is above the maximum 10"),
            (json!({"times": 1, "on": 1}), "service `blink`: there is no input `on`: it has times, mode"),
        ] {
            assert_eq!(fault(tsl.arguments_from_json("blink", &object(arguments))), (109_006, message.to_owned()));
        }
        assert_eq!(fault(tsl.check_call("blink", vec![text("times", "1"), text("times", "2")])).0, 109_006);
    }

    #[test]
    fn a_service_that_is_not_there_cannot_be_called() {
        assert_eq!(fault(lamp().check_call("dance", vec![])), (109_005, "the TSL has no service `dance`: it has blink".into()));
        let built_in = fault(lamp().check_call("set", vec![]));
        assert_eq!(built_in, (109_005, "`set` is built in: use the calls that get and set properties".into()));
        assert_eq!(fault(Tsl::default().check_call("x", vec![])).1, "the TSL has no service `x`: it has none");
    }

    #[test]
    fn outputs_of_a_call_are_those_of_the_tsl() {
        let tsl = lamp();
        assert_eq!(tsl.check_outputs("blink", vec![text("done", "3"), text("more", "x")]), Ok(vec![property("done", Value::Int(3))]));
        let (code, message) = fault(tsl.check_outputs("blink", vec![text("done", "x")]));
        assert_eq!(
            fault(tsl.check_outputs("blink", vec![])).1,
            "the driver's answer is wrong: output `done` of service `blink` is missing"
        );
        assert_eq!(fault(tsl.check_outputs("blink", vec![text("done", "1"), text("done", "2")])).0, 100_001);
        assert_eq!(
            (code, message.as_str()),
            (109_008, "the driver's answer is wrong: output `done` of service `blink`: `x` is not a number")
        );
    }

    #[test]
    fn a_flood_is_answered_and_not_searched() {
        let flood = vec![text("LightSwitch", "1"); MEMBERS_MAX + 1];
        assert_eq!(lamp().check_report(flood.clone()).0, []);
        assert_eq!(fault(lamp().check_set(flood)), (100_001, "16385 members are given, 16384 at most are allowed".into()));
    }

    #[test]
    fn a_fault_names_a_few_and_counts_the_rest() {
        let many = (0..20).map(|number| text(&format!("p{number}"), "")).collect();
        let (_, message) = fault(lamp().check_set(many));
        assert_eq!(message.matches("the TSL has no property").count(), REFUSALS_LISTED_MAX);
        assert!(message.ends_with("; and 12 more"), "{message}");
    }
}
