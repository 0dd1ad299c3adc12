//! From JSON text to a [`Tsl`], with every problem named by its place.
//!
//! A reader that finds a problem notes it and goes on, with a stand-in where it needs one: the result counts only if nothing
//! was noted. Members that the gateway does not use are left alone, since TSLs come out of consoles of several generations.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::convert::{quoted, quoted_json};
use super::*;

pub(super) fn tsl(text: &str) -> Result<Tsl, TslError> {
    let fail = |reason: String| TslError(vec![Problem { path: String::new(), reason }]);
    if text.len() > TSL_BYTES_MAX {
        return Err(fail(format!("the TSL has {} bytes, {TSL_BYTES_MAX} at most are allowed", text.len())));
    }
    if let Some(problem) = too_deep(text.as_bytes()) {
        return Err(TslError(vec![problem]));
    }
    let json: Json = serde_json::from_str(text).map_err(|error| fail(format!("the TSL is not JSON: {error}")))?;
    if !json.is_object() {
        return Err(fail("the TSL is not a JSON object".to_owned()));
    }
    let (at, mut problems) = (At { path: String::new(), json: Some(&json) }, Problems::default());
    let tsl = Tsl {
        product_key: at.member("profile").member("productKey").optional_text(&mut problems),
        properties: at.member("properties").members(&mut problems, property),
        events: at.member("events").members(&mut problems, event),
        services: at.member("services").members(&mut problems, service),
    };
    if problems.0.is_empty() { Ok(tsl) } else { Err(TslError(problems.0)) }
}

type Entry<T> = Option<(String, T)>;

fn property(at: &At, problems: &mut Problems) -> Entry<PropertySpec> {
    let access =
        at.member("accessMode").choice(problems, None, &[("r", AccessMode::Read), ("w", AccessMode::Write), ("rw", AccessMode::ReadWrite)]);
    let data_type = data_type(&at.member("dataType"), 1, problems);
    let required = at.member("required").flag(problems).unwrap_or(false);
    let identifier = at.identifier(problems)?;
    Some((identifier.clone(), PropertySpec { identifier, access: access?, required, data_type: data_type? }))
}

fn event(at: &At, problems: &mut Problems) -> Entry<EventSpec> {
    let identifier = at.identifier(problems)?;
    if identifier == BUILT_IN_EVENT {
        return None;
    }
    if identifier == PROPERTY_TOPIC_LEVEL {
        problems.add(&at.member("identifier"), "`property` cannot name an event: its topic is that of the property reports");
    }
    let kinds = [("info", EventKind::Info), ("alert", EventKind::Alert), ("error", EventKind::Error)];
    let kind = at.member("type").choice(problems, Some(EventKind::Info), &kinds);
    let outputs = at.member("outputData").members(problems, |at, problems| param(at, 1, problems));
    let name = at.member("name").optional_text(problems).unwrap_or_else(|| identifier.clone());
    Some((identifier.clone(), EventSpec { identifier, name, kind: kind?, outputs }))
}

fn service(at: &At, problems: &mut Problems) -> Entry<ServiceSpec> {
    let identifier = at.identifier(problems)?;
    if BUILT_IN_SERVICES.contains(&identifier.as_str()) {
        return None;
    }
    let call_type = at.member("callType").choice(problems, Some(CallType::Sync), &[("sync", CallType::Sync), ("async", CallType::Async)]);
    let inputs = at.member("inputData").members(problems, |at, problems| param(at, 1, problems));
    let outputs = at.member("outputData").members(problems, |at, problems| param(at, 1, problems));
    Some((identifier.clone(), ServiceSpec { identifier, inputs, outputs, call_type: call_type? }))
}

fn param(at: &At, depth: usize, problems: &mut Problems) -> Entry<ParamSpec> {
    let data_type = data_type(&at.member("dataType"), depth, problems);
    let required = at.member("required").flag(problems).unwrap_or(true);
    let identifier = at.identifier(problems)?;
    Some((identifier.clone(), ParamSpec { identifier, required, data_type: data_type? }))
}

/// `at` has the members `type` and `specs`.
fn data_type(at: &At, depth: usize, problems: &mut Problems) -> Option<DataType> {
    if depth > TYPE_DEPTH_MAX {
        problems.add(at, format!("nests deeper than {TYPE_DEPTH_MAX} types"));
        return None;
    }
    let specs = at.member("specs");
    match at.member("type").text(problems)? {
        "int" => Some(int(&specs, problems)),
        "float" => Some(float(&specs, problems)),
        "double" => Some(double(&specs, problems)),
        "bool" => Some(bool(&specs, problems)),
        "enum" => Some(DataType::Enum { members: enum_members(&specs, problems) }),
        "text" => Some(DataType::Text { length: specs.member("length").count(problems, TEXT_BYTES_MAX).unwrap_or(TEXT_BYTES_DEFAULT) }),
        "date" => Some(DataType::Date),
        "array" => {
            let size = specs.member("size").count(problems, ARRAY_ITEMS_MAX).unwrap_or(ARRAY_ITEMS_MAX);
            let item = data_type(&specs.member("item"), depth + 1, problems)?;
            Some(DataType::Array { size, item: Box::new(item) })
        }
        "struct" => Some(DataType::Struct { fields: specs.members(problems, |at, problems| param(at, depth + 1, problems)) }),
        other => {
            let types = "`int`, `float`, `double`, `bool`, `enum`, `text`, `date`, `array` or `struct`";
            problems.add(&at.member("type"), format!("{} is not a type: expected {types}", quoted(other)));
            None
        }
    }
}

fn int(specs: &At, problems: &mut Problems) -> DataType {
    let min = specs.member("min").whole(problems).unwrap_or(i32::MIN);
    let max = specs.member("max").whole(problems).unwrap_or(i32::MAX);
    check_range(specs, f64::from(min), f64::from(max), problems);
    let step = specs.member("step").whole(problems);
    check_step(specs, step.map(f64::from), problems);
    DataType::Int { min, max, step }
}

fn float(specs: &At, problems: &mut Problems) -> DataType {
    let mut bound = |name: &str, or: f32| {
        let Some(number) = specs.member(name).number(problems) else { return or };
        // A value is rounded in the same way, so that the bound itself is always inside.
        let number = number as f32;
        if number.is_infinite() {
            problems.add(&specs.member(name), "does not fit a float: the type `double` has the room");
        }
        number
    };
    let (min, max) = (bound("min", f32::MIN), bound("max", f32::MAX));
    check_range(specs, f64::from(min), f64::from(max), problems);
    DataType::Float { min, max, step: step(specs, problems) }
}

fn double(specs: &At, problems: &mut Problems) -> DataType {
    let min = specs.member("min").number(problems).unwrap_or(f64::MIN);
    let max = specs.member("max").number(problems).unwrap_or(f64::MAX);
    check_range(specs, min, max, problems);
    DataType::Double { min, max, step: step(specs, problems) }
}

fn check_range(specs: &At, min: f64, max: f64, problems: &mut Problems) {
    if min > max {
        problems.add(&specs.member("min"), "is above `max`");
    }
}

fn step(specs: &At, problems: &mut Problems) -> Option<f64> {
    let step = specs.member("step").number(problems);
    check_step(specs, step, problems);
    step
}

fn check_step(specs: &At, step: Option<f64>, problems: &mut Problems) {
    if step.is_some_and(|step| step <= 0.0) {
        problems.add(&specs.member("step"), "is not above 0");
    }
}

/// Its members' names are for people, but a third one would be a mistake.
fn bool(specs: &At, problems: &mut Problems) -> DataType {
    for key in specs.json.and_then(Json::as_object).into_iter().flat_map(|given| given.keys()) {
        if key != "0" && key != "1" {
            problems.add(&specs.member(key), format!("{} is no member of a bool: expected `0` and `1`", quoted(key)));
        }
    }
    DataType::Bool
}

fn enum_members(specs: &At, problems: &mut Problems) -> BTreeMap<i32, String> {
    let mut members = BTreeMap::new();
    let Some(Json::Object(given)) = specs.json else {
        problems.add(specs, "an enum needs an object of its members, as in {\"0\": \"off\", \"1\": \"on\"}");
        return members;
    };
    if given.is_empty() || given.len() > MEMBERS_MAX {
        problems.add(specs, format!("has {} members: expected 1 to {MEMBERS_MAX}", given.len()));
        return members;
    }
    for (key, name) in given {
        let member = specs.member(key);
        let Ok(number) = key.parse() else {
            problems.add(&member, format!("{} is not the number of a member", quoted(key)));
            continue;
        };
        let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
        if members.insert(number, name).is_some() {
            problems.add(&member, format!("the member {number} is there twice"));
        }
    }
    members
}

/// A place in the JSON text, which may be empty.
struct At<'a> {
    path: String,
    json: Option<&'a Json>,
}

impl<'a> At<'a> {
    fn member(&self, name: &str) -> At<'a> {
        let dot = if self.path.is_empty() { "" } else { "." };
        At { path: format!("{}{dot}{name}", self.path), json: self.json.and_then(|json| json.get(name)) }
    }

    fn item(&self, place: usize) -> At<'a> {
        At { path: format!("{}[{place}]", self.path), json: self.json.and_then(|json| json.get(place)) }
    }

    /// The entries of a list that may be absent, without those that `read` leaves out.
    fn members<T>(&self, problems: &mut Problems, mut read: impl FnMut(&At, &mut Problems) -> Entry<T>) -> Members<T> {
        let mut members = Members::default();
        let length = match self.json {
            None => 0,
            Some(Json::Array(list)) => list.len(),
            Some(_) => return problems.stand_in(self, "is not a list"),
        };
        if length > MEMBERS_MAX {
            return problems.stand_in(self, format!("has {length} entries, {MEMBERS_MAX} at most are allowed"));
        }
        for place in 0..length {
            let at = self.item(place);
            if let Some((identifier, spec)) = read(&at, problems)
                && !members.insert(&identifier, spec)
            {
                problems.add(&at.member("identifier"), format!("{} is there twice", quoted(&identifier)));
            }
        }
        members
    }

    fn identifier(&self, problems: &mut Problems) -> Option<String> {
        let at = self.member("identifier");
        let text = at.text(problems)?;
        // It becomes a level of a topic and a part of a grant: nothing that means something there may pass.
        let allowed = |c: char| c.is_alphanumeric() || "_-.:".contains(c);
        if text.is_empty() {
            problems.add(&at, "is empty");
        } else if text.len() > IDENTIFIER_BYTES_MAX || !text.chars().all(allowed) {
            problems.add(
                &at,
                format!(
                    "{} is not an identifier: expected letters, digits and `_ - . :`, {IDENTIFIER_BYTES_MAX} bytes at most",
                    quoted(text)
                ),
            );
        } else {
            return Some(text.to_owned());
        }
        None
    }

    fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        match self.json {
            Some(Json::String(text)) => return Some(text),
            Some(other) => problems.add(self, format!("{} is not text", quoted_json(other))),
            None => problems.add(self, "is missing"),
        }
        None
    }

    fn optional_text(&self, problems: &mut Problems) -> Option<String> {
        self.json.and_then(|_| self.text(problems)).map(str::to_owned)
    }

    fn flag(&self, problems: &mut Problems) -> Option<bool> {
        let json = self.json?;
        if !json.is_boolean() {
            problems.add(self, format!("{} is neither `true` nor `false`", quoted_json(json)));
        }
        json.as_bool()
    }

    /// One of a few words; `or` is what holds if none is given.
    fn choice<T: Copy>(&self, problems: &mut Problems, or: Option<T>, choices: &[(&str, T)]) -> Option<T> {
        if self.json.is_none() && or.is_some() {
            return or;
        }
        let text = self.text(problems)?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if found.is_none() {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
            problems.add(self, format!("{} is not known: expected {}", quoted(text), words.join(" or ")));
        }
        found
    }

    /// A number, which a TSL usually writes as text. Consoles write an empty text for a number that nobody entered.
    fn number(&self, problems: &mut Problems) -> Option<f64> {
        let number = match self.json? {
            Json::String(text) if text.is_empty() => return None,
            Json::String(text) => text.parse().ok(),
            other => other.as_f64(),
        };
        let number = number.filter(|number: &f64| number.is_finite());
        if number.is_none() {
            problems.add(self, format!("{} is not a number", self.json.map(quoted_json).unwrap_or_default()));
        }
        number
    }

    fn whole(&self, problems: &mut Problems) -> Option<i32> {
        let number = self.number(problems)?;
        // The cast saturates, so what does not fit is no longer equal.
        if f64::from(number as i32) != number {
            problems.add(self, format!("{number} is not a whole number of 32 bits"));
            return None;
        }
        Some(number as i32)
    }

    /// A number from 1 to `max`.
    fn count(&self, problems: &mut Problems, max: usize) -> Option<usize> {
        let number = self.number(problems)?;
        if number < 1.0 || number > max as f64 || number.fract() != 0.0 {
            problems.add(self, format!("{number} is not a whole number from 1 to {max}"));
            return None;
        }
        Some(number as usize)
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, at: &At, reason: impl Into<String>) {
        if self.0.len() < PROBLEMS_MAX {
            self.0.push(Problem { path: at.path.clone(), reason: reason.into() });
        }
    }

    fn stand_in<T: Default>(&mut self, at: &At, reason: impl Into<String>) -> T {
        self.add(at, reason);
        T::default()
    }
}

/// The event that carries property reports.
pub(super) const BUILT_IN_EVENT: &str = "post";
/// In `thing/event/property/post`, where any other event has its identifier.
const PROPERTY_TOPIC_LEVEL: &str = "property";
/// The services that set and get properties. The `inputData` of `get` is a list of identifiers, unlike any other.
pub(super) const BUILT_IN_SERVICES: [&str; 2] = ["set", "get"];

#[cfg(test)]
mod tests {
    use super::super::tests::lamp;
    use super::*;

    /// Parses a TSL with one property of this type.
    fn typed(data_type: &str) -> Result<DataType, String> {
        let text = format!(r#"{{"properties": [{{"identifier": "p", "accessMode": "rw", "dataType": {data_type}}}]}}"#);
        match Tsl::parse(&text) {
            Ok(tsl) => Ok(tsl.property("p").unwrap().data_type.clone()),
            Err(TslError(problems)) => Err(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")),
        }
    }

    fn problems(text: &str) -> Vec<String> {
        Tsl::parse(text).unwrap_err().0.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn numbers_are_text_or_numbers_and_absent_ones_are_the_types_own() {
        let int = DataType::Int { min: -5, max: 5, step: Some(1) };
        assert_eq!(typed(r#"{"type": "int", "specs": {"min": "-5", "max": "5", "step": "1"}}"#), Ok(int.clone()));
        assert_eq!(typed(r#"{"type": "int", "specs": {"min": -5, "max": 5.0, "step": 1}}"#), Ok(int));
        assert_eq!(typed(r#"{"type": "int"}"#), Ok(DataType::Int { min: i32::MIN, max: i32::MAX, step: None }));
        assert_eq!(typed(r#"{"type": "float", "specs": {"step": ""}}"#), Ok(DataType::Float { min: f32::MIN, max: f32::MAX, step: None }));
        assert_eq!(
            typed(r#"{"type": "double", "specs": {"min": "-1.5E3"}}"#),
            Ok(DataType::Double { min: -1500.0, max: f64::MAX, step: None })
        );
        assert_eq!(typed(r#"{"type": "text", "specs": {}}"#), Ok(DataType::Text { length: TEXT_BYTES_DEFAULT }));
        assert_eq!(typed(r#"{"type": "array", "specs": {"item": {"type": "date"}}}"#), {
            Ok(DataType::Array { size: ARRAY_ITEMS_MAX, item: Box::new(DataType::Date) })
        });
    }

    #[test]
    fn a_wrong_type_says_where_and_why() {
        for (data_type, problem) in [
            (r#"{"type": "int", "specs": {"min": "abc"}}"#, "specs.min: `abc` is not a number"),
            (r#"{"type": "int", "specs": {"max": "3000000000"}}"#, "specs.max: 3000000000 is not a whole number of 32 bits"),
            (r#"{"type": "int", "specs": {"min": "2", "max": "1"}}"#, "specs.min: is above `max`"),
            (r#"{"type": "int", "specs": {"step": "0"}}"#, "specs.step: is not above 0"),
            (r#"{"type": "float", "specs": {"step": "-1"}}"#, "specs.step: is not above 0"),
            (r#"{"type": "double", "specs": {"step": 0}}"#, "specs.step: is not above 0"),
            (
                r#"{"type": "bool", "specs": {"0": "off", "1": "on", "2": "dim"}}"#,
                "specs.2: `2` is no member of a bool: expected `0` and `1`",
            ),
            (r#"{"type": "float", "specs": {"max": "1e39"}}"#, "specs.max: does not fit a float: the type `double` has the room"),
            (r#"{"type": "double", "specs": {"min": "NaN"}}"#, "specs.min: `NaN` is not a number"),
            (r#"{"type": "double", "specs": {"min": {}}}"#, "specs.min: `{}` is not a number"),
            (r#"{"type": "text", "specs": {"length": "0"}}"#, "specs.length: 0 is not a whole number from 1 to 1048576"),
            (r#"{"type": "enum", "specs": {"on": "1"}}"#, "specs.on: `on` is not the number of a member"),
            (r#"{"type": "enum", "specs": {"1": "a", "+1": "b"}}"#, "specs.+1: the member 1 is there twice"),
            (r#"{"type": "enum", "specs": {}}"#, "specs: has 0 members: expected 1 to 16384"),
            (r#"{"type": "array", "specs": {"size": "3"}}"#, "specs.item.type: is missing"),
            (r#"{"type": "struct", "specs": {"r": 1}}"#, "specs: is not a list"),
            (r#"{"type": "struct", "specs": [{"identifier": "r"}]}"#, "specs[0].dataType.type: is missing"),
        ] {
            assert_eq!(typed(data_type), Err(format!("properties[0].dataType.{problem}")), "{data_type}");
        }
        assert!(typed(r#"{"type": "long"}"#).unwrap_err().starts_with("properties[0].dataType.type: `long` is not a type: expected `int`"));
    }

    #[test]
    fn every_problem_is_listed_at_once() {
        let text = r#"{
            "profile": {"productKey": 7},
            "properties": [{"identifier": "a", "accessMode": "x", "dataType": {"type": "bool"}}, {"accessMode": "r", "required": "yes"}],
            "events": {},
            "services": [{"identifier": "s", "callType": "later", "inputData": ["a"]}]
        }"#;
        assert_eq!(
            problems(text),
            [
                "profile.productKey: `7` is not text",
                "properties[0].accessMode: `x` is not known: expected `r` or `w` or `rw`",
                "properties[1].dataType.type: is missing",
                "properties[1].required: `yes` is neither `true` nor `false`",
                "properties[1].identifier: is missing",
                "events: is not a list",
                "services[0].callType: `later` is not known: expected `sync` or `async`",
                "services[0].inputData[0].dataType.type: is missing",
                "services[0].inputData[0].identifier: is missing",
            ]
        );
    }

    #[test]
    fn an_identifier_is_taken_once_and_safe_in_a_topic() {
        let event = |identifier: &str| format!(r#"{{"identifier": "{identifier}", "type": "info", "outputData": []}}"#);
        let text = format!(r#"{{"events": [{}]}}"#, ["a", "a", "", "b/c", "*", "灯", "module:x"].map(event).join(","));
        let found = problems(&text);
        assert_eq!(found[0], "events[1].identifier: `a` is there twice");
        assert_eq!(found[1], "events[2].identifier: is empty");
        assert!(found[2].starts_with("events[3].identifier: `b/c` is not an identifier"));
        assert!(found[3].starts_with("events[4].identifier: `*` is not an identifier"));
        assert_eq!(found.len(), 4);
        let reports = format!(r#"{{"events": [{}]}}"#, event("property"));
        assert!(problems(&reports)[0].contains("its topic is that of the property reports"));
        let long = format!(r#"{{"events": [{}]}}"#, event(&"x".repeat(IDENTIFIER_BYTES_MAX + 1)));
        assert_eq!(problems(&long).len(), 1);
    }

    #[test]
    fn no_more_problems_are_listed_than_a_screen_holds() {
        let text = format!(r#"{{"events": [{}]}}"#, vec!["{}"; 100].join(","));
        assert_eq!(problems(&text).len(), PROBLEMS_MAX);
    }

    #[test]
    fn size_and_depth_are_limited() {
        let nested = |levels: usize| {
            (1..levels).fold(r#"{"type": "bool"}"#.to_owned(), |inner, _| format!(r#"{{"type": "array", "specs": {{"item": {inner}}}}}"#))
        };
        assert!(typed(&nested(TYPE_DEPTH_MAX)).is_ok());
        assert!(typed(&nested(TYPE_DEPTH_MAX + 1)).unwrap_err().ends_with("nests deeper than 8 types"));
        let many = format!(r#"{{"events": [{}]}}"#, vec!["{}"; MEMBERS_MAX + 1].join(","));
        assert_eq!(problems(&many), ["events: has 16385 entries, 16384 at most are allowed"]);
        assert!(problems(&" ".repeat(TSL_BYTES_MAX + 1))[0].contains("bytes"));
        let place = format!("properties[0].dataType{}: nests deeper than 8 types", ".specs.item".repeat(TYPE_DEPTH_MAX));
        for levels in [TYPE_DEPTH_MAX + 1, 40, 60, 200, 10_000] {
            assert_eq!(typed(&nested(levels)), Err(place.clone()), "{levels}");
        }
        assert!(problems(&"[".repeat(10_000))[0].ends_with("nests deeper than 100 lists and objects"));
        assert_eq!(problems("[]"), ["the TSL is not a JSON object"]);
    }

    #[test]
    fn the_built_in_event_and_services_are_left_out() {
        let tsl = lamp();
        assert_eq!(tsl.events().map(|event| event.identifier.as_str()).collect::<Vec<_>>(), ["overheated"]);
        assert_eq!(tsl.services().map(|service| service.identifier.as_str()).collect::<Vec<_>>(), ["blink"]);
    }

    #[test]
    fn an_empty_tsl_is_one() {
        assert_eq!(Tsl::parse("{}"), Ok(Tsl::default()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_model_or_is_refused_with_reasons(text in r#"[\[\]{}:,"a-z0-9. ]{0,60}|.{0,60}"#) {
            check_parse(&text);
            check_parse(&format!(r#"{{"properties": [{{"identifier": "p", "accessMode": "rw", "dataType": {text}}}]}}"#));
        }

        #[test]
        fn a_damaged_model_is_a_model_or_is_refused_with_reasons(at in 0_usize..10_000, gone in 0_usize..40, new in r#"[\[\]{}:,"0-9a-z-]{0,6}"#) {
            let mut text: Vec<char> = include_str!("../../../../tests/it/harness/echo.json").chars().collect();
            let at = at % text.len();
            let end = (at + gone).min(text.len());
            text.splice(at..end, new.chars());
            check_parse(&text.into_iter().collect::<String>());
        }
    }

    fn check_parse(text: &str) {
        if let Err(TslError(problems)) = Tsl::parse(text) {
            assert!(!problems.is_empty(), "refused without a reason: {text}");
        }
    }
}
