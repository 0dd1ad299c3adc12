//! Whether something that happened makes a rule run, and every value that this hangs on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::{Comparison, Condition, Fact, Rule, Trigger};
use crate::name::ThingId;
use crate::schedule;

/// Something that happened, and when.
#[derive(Clone, Debug)]
pub struct Happened {
    pub cause: Cause,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The cause, cut where it is long: for what is kept only to be looked at.
    pub shown: Arc<Json>,
}

impl Happened {
    pub fn new(cause: Cause, at_ms: u64) -> Self {
        let shown = Arc::new(cause.shown());
        Self { cause, at_ms, shown }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    Properties {
        thing: ThingId,
        values: Map<String, Json>,
    },
    Event {
        thing: ThingId,
        event: String,
        outputs: Map<String, Json>,
    },
    Status {
        thing: ThingId,
        is_online: bool,
    },
    /// A trigger of this rule, by its number.
    Tick {
        trigger: usize,
    },
    /// Somebody, or another rule, says so: triggers do not count.
    Told {
        by: String,
    },
}

/// What is known of things at the time.
pub trait Known {
    /// A property's last value, and when it was reported.
    fn value(&self, thing: &ThingId, property: &str) -> Option<(Json, u64)>;
    /// The outputs of the last event of a kind, and when it came.
    fn event(&self, thing: &ThingId, event: &str) -> Option<(Map<String, Json>, u64)>;
    fn is_online(&self, thing: &ThingId) -> Option<bool>;
}

/// What came of it, part by part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the rule's actions are to run.
    pub fires: bool,
    /// Each trigger that what happened could have set off. Empty where triggers do not count.
    pub triggers: Vec<Judged>,
    /// Each condition, also where no trigger was met.
    pub conditions: Vec<Judged>,
}

/// One trigger or condition.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RulePart)]
pub struct Judged {
    pub what: String,
    pub holds: bool,
    /// What was found, in words.
    pub found: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub of: Vec<Judged>,
}

impl Rule {
    /// `None`: no trigger of this rule is about such a thing.
    pub fn judge(&self, happened: &Happened, known: &dyn Known) -> Option<Verdict> {
        let is_told = matches!(happened.cause, Cause::Told { .. });
        let triggers: Vec<Judged> =
            self.triggers.iter().enumerate().filter_map(|(at, trigger)| trigger.it.judge(at, &happened.cause)).collect();
        if triggers.is_empty() && !is_told {
            return None;
        }
        let known = Seen { happened, known };
        let (holds, conditions) = match &self.condition {
            Condition::All(parts) => {
                let judged: Vec<Judged> = parts.iter().map(|part| part.judge(&known)).collect();
                (judged.iter().all(|part| part.holds), judged)
            }
            one => {
                let judged = one.judge(&known);
                (judged.holds, vec![judged])
            }
        };
        let fires = holds && (is_told || triggers.iter().any(|trigger| trigger.holds));
        Some(Verdict { fires, triggers, conditions })
    }
}

impl Judged {
    /// What was found may be as long as a report.
    fn new(what: String, holds: bool, mut found: String) -> Self {
        if found.len() > FOUND_BYTES_MAX {
            found.truncate(found.floor_char_boundary(FOUND_BYTES_MAX));
            found += " ...";
        }
        Self { what, holds, found, of: Vec::new() }
    }
}

const FOUND_BYTES_MAX: usize = 256;

impl Trigger {
    /// `None`: it is not about this.
    fn judge(&self, at: usize, cause: &Cause) -> Option<Judged> {
        let judged = |holds, found: String| Some(Judged::new(self.to_string(), holds, found));
        match (self, cause) {
            (Self::Timer { .. }, Cause::Tick { trigger }) if *trigger == at => judged(true, "it is time".to_owned()),
            (Self::Property { of, property, test }, Cause::Properties { thing, values }) if of.covers(thing) => match property {
                None => judged(true, Json::from(values.clone()).to_string()),
                Some(property) => match values.get(property) {
                    None => judged(false, "the report does not have it".to_owned()),
                    Some(value) => judged(test.as_ref().is_none_or(|test| test.holds(value)), value.to_string()),
                },
            },
            (Self::Event { of, event: wanted, test }, Cause::Event { thing, event, outputs }) if of.covers(thing) => {
                if wanted.as_ref().is_some_and(|wanted| wanted != event) {
                    return judged(false, format!("the event is {event}"));
                }
                let (holds, found) = outputs_meet(test.as_ref(), outputs);
                judged(holds, format!("{event} {found}"))
            }
            (Self::Status { of, is_online }, Cause::Status { thing, is_online: now }) if of.covers(thing) => {
                judged(is_online.is_none_or(|wanted| wanted == *now), super::status(*now).to_owned())
            }
            _ => None,
        }
    }
}

fn outputs_meet(test: Option<&(String, Comparison)>, outputs: &Map<String, Json>) -> (bool, String) {
    match test {
        None => (true, Json::from(outputs.clone()).to_string()),
        Some((output, test)) => match outputs.get(output) {
            None => (false, format!("has no {output}")),
            Some(value) => (test.holds(value), format!("{output} = {value}")),
        },
    }
}

impl Condition {
    fn judge(&self, known: &Seen<'_>) -> Judged {
        let judged = |parts: &[Self]| -> Vec<Judged> { parts.iter().map(|part| part.judge(known)).collect() };
        let count = |of: &[Judged]| format!("{} of {} hold", of.iter().filter(|part| part.holds).count(), of.len());
        match self {
            Self::All(parts) => {
                let of = judged(parts);
                Judged { what: "all of".to_owned(), holds: of.iter().all(|part| part.holds), found: count(&of), of }
            }
            Self::Any(parts) => {
                let of = judged(parts);
                Judged { what: "any of".to_owned(), holds: of.iter().any(|part| part.holds), found: count(&of), of }
            }
            Self::One(fact) => {
                let (holds, found) = fact.it.judge(known);
                Judged::new(fact.it.to_string(), holds, found)
            }
        }
    }
}

impl Fact {
    fn judge(&self, known: &Seen<'_>) -> (bool, String) {
        let now_ms = known.happened.at_ms;
        match self {
            Self::Property { thing, property, test } => match known.value(thing, property) {
                None => (false, "was not reported yet".to_owned()),
                Some((value, at_ms)) => (test.holds(&value), format!("{value}, {}", ago(now_ms, at_ms))),
            },
            Self::Event { thing, event, test } => match known.event(thing, event) {
                None => (false, "did not happen since the gateway started".to_owned()),
                Some((outputs, at_ms)) => {
                    let (holds, found) = outputs_meet(test.as_ref(), &outputs);
                    (holds, format!("{found}, {}", ago(now_ms, at_ms)))
                }
            },
            Self::Status { thing, is_online } => match known.is_online(thing) {
                None => (false, "there is no such thing".to_owned()),
                Some(now) => (now == *is_online, super::status(now).to_owned()),
            },
            Self::Time(range) => range.covers(now_ms),
            Self::Minute { parsed, .. } => (schedule::is_minute_of(parsed, now_ms), schedule::iso(now_ms)),
        }
    }
}

fn ago(now_ms: u64, at_ms: u64) -> String {
    match now_ms.saturating_sub(at_ms) / 1_000 {
        0 => "now".to_owned(),
        seconds => format!("{seconds} s ago"),
    }
}

/// What is known, what happened just now included.
struct Seen<'k> {
    happened: &'k Happened,
    known: &'k dyn Known,
}

impl Seen<'_> {
    fn value(&self, thing: &ThingId, property: &str) -> Option<(Json, u64)> {
        match &self.happened.cause {
            Cause::Properties { thing: reporter, values } if reporter == thing && values.contains_key(property) => {
                Some((values[property].clone(), self.happened.at_ms))
            }
            _ => self.known.value(thing, property),
        }
    }

    fn event(&self, thing: &ThingId, event: &str) -> Option<(Map<String, Json>, u64)> {
        match &self.happened.cause {
            Cause::Event { thing: reporter, event: told, outputs } if reporter == thing && told == event => {
                Some((outputs.clone(), self.happened.at_ms))
            }
            _ => self.known.event(thing, event),
        }
    }

    fn is_online(&self, thing: &ThingId) -> Option<bool> {
        match &self.happened.cause {
            Cause::Status { thing: reporter, is_online } if reporter == thing => Some(*is_online),
            _ => self.known.is_online(thing),
        }
    }
}

const SHOWN_BYTES_MAX: usize = 1_024;

impl Cause {
    /// Whose report it is.
    pub fn thing(&self) -> Option<&ThingId> {
        match self {
            Self::Properties { thing, .. } | Self::Event { thing, .. } | Self::Status { thing, .. } => Some(thing),
            Self::Tick { .. } | Self::Told { .. } => None,
        }
    }

    /// As the API shows it, and as a function is told it.
    pub fn to_json(&self) -> Json {
        let of = |thing: &ThingId| json!({"productKey": thing.product_key, "deviceName": thing.device_name});
        let with = |thing: &ThingId, name: &str, value: Json| {
            let mut shown = of(thing);
            shown[name] = value;
            shown
        };
        match self {
            Self::Properties { thing, values } => with(thing, "properties", json!(values)),
            Self::Event { thing, event, outputs } => with(thing, "event", json!({"code": event, "outputs": outputs})),
            Self::Status { thing, is_online } => with(thing, "status", json!(super::status(*is_online))),
            Self::Tick { trigger } => json!({"timer": trigger}),
            Self::Told { by } => json!({"told": by}),
        }
    }

    fn shown(&self) -> Json {
        let whole = self.to_json();
        let text = whole.to_string();
        if text.len() <= SHOWN_BYTES_MAX {
            return whole;
        }
        let mut shown =
            self.thing().map_or_else(|| json!({}), |thing| json!({"productKey": thing.product_key, "deviceName": thing.device_name}));
        shown["cut"] = json!(text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]);
        shown["bytes"] = json!(text.len());
        shown
    }

    /// What [`Cause::to_json`] shows, as a person may write it too.
    pub fn from_json(json: &Json) -> Result<Self, String> {
        let wrong = || {
            "expected {\"productKey\", \"deviceName\"} with one of \"properties\": {..}, \"event\": {\"code\", \"outputs\"} and \
             \"status\": \"online\" or \"offline\"; or {\"timer\": number of the trigger}, or {\"told\": \"by whom\"}"
                .to_owned()
        };
        let known = ["productKey", "deviceName", "properties", "event", "status", "timer", "told"];
        if let Some(other) = json.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| !known.contains(&name.as_str())) {
            return Err(format!("`{other}` is not known here; {}", wrong()));
        }
        if let Some(trigger) = json.get("timer") {
            let trigger = trigger.as_u64().and_then(|trigger| usize::try_from(trigger).ok()).ok_or_else(wrong)?;
            return Ok(Self::Tick { trigger });
        }
        if let Some(by) = json.get("told") {
            return Ok(Self::Told { by: by.as_str().ok_or_else(wrong)?.to_owned() });
        }
        let text = |name: &str| json.get(name).and_then(Json::as_str);
        let thing = ThingId::new(text("productKey").ok_or_else(wrong)?, text("deviceName").ok_or_else(wrong)?);
        let object = |json: Option<&Json>| json.and_then(Json::as_object).cloned();
        match (json.get("properties"), json.get("event"), text("status")) {
            (Some(values), None, None) => Ok(Self::Properties { thing, values: object(Some(values)).ok_or_else(wrong)? }),
            (None, Some(event), None) => Ok(Self::Event {
                thing,
                event: event.get("code").and_then(Json::as_str).ok_or_else(wrong)?.to_owned(),
                outputs: event.get("outputs").map_or(Some(Map::new()), |outputs| object(Some(outputs))).ok_or_else(wrong)?,
            }),
            (None, None, Some(status @ ("online" | "offline"))) => Ok(Self::Status { thing, is_online: status == "online" }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Known for Nothing {
        fn value(&self, _: &ThingId, property: &str) -> Option<(Json, u64)> {
            (property == "Light").then(|| (json!(400), 1_000))
        }

        fn event(&self, _: &ThingId, _: &str) -> Option<(Map<String, Json>, u64)> {
            None
        }

        fn is_online(&self, _: &ThingId) -> Option<bool> {
            Some(false)
        }
    }

    fn params(more: &str) -> Json {
        let mut params = json!({"productKey": "a", "deviceName": "d"});
        params.as_object_mut().unwrap().extend(serde_json::from_str::<Map<String, Json>>(more).unwrap());
        params
    }

    fn rule() -> Rule {
        super::super::parse(&json!({
            "type": "IFTTT",
            "trigger": {"uri": "trigger/device/property",
                "params": params(r#"{"propertyName": "T", "compareType": ">", "compareValue": 30}"#)},
            "condition": {"uri": "logical/and", "items": [
                {"uri": "condition/device/property",
                    "params": params(r#"{"propertyName": "Light", "compareType": "<", "compareValue": 500}"#)},
                {"uri": "logical/or", "items": [
                    {"uri": "condition/device/status", "params": params(r#"{"status": "online"}"#)},
                    {"uri": "condition/device/property",
                        "params": params(r#"{"propertyName": "T", "compareType": "<=", "compareValue": 40}"#)},
                ]},
            ]},
            "action": [{"uri": "action/mq/send", "params": {"topic": "/a"}}],
        }))
        .unwrap()
    }

    fn report(values: Json) -> Happened {
        Happened::new(Cause::from_json(&json!({"productKey": "a", "deviceName": "d", "properties": values})).unwrap(), 5_000)
    }

    #[test]
    fn a_verdict_says_what_each_part_found() {
        let fired = rule().judge(&report(json!({"T": 31})), &Nothing).unwrap();
        assert!(fired.fires);
        assert_eq!((fired.triggers[0].what.as_str(), fired.triggers[0].found.as_str()), ("a/d reports T > 30", "31"));
        assert_eq!((fired.conditions[0].what.as_str(), fired.conditions[0].found.as_str()), ("Light of a/d < 500", "400, 4 s ago"));
        let any = &fired.conditions[1];
        assert_eq!((any.holds, any.found.as_str(), any.of[1].found.as_str()), (true, "1 of 2 hold", "31, now"));
    }

    #[test]
    fn conditions_are_looked_at_also_where_no_trigger_was_met() {
        let not = rule().judge(&report(json!({"T": 30})), &Nothing).unwrap();
        assert!(!not.fires && !not.triggers[0].holds && not.conditions[0].holds);
        let hot = rule().judge(&report(json!({"T": 41})), &Nothing).unwrap();
        assert!(!hot.fires && hot.triggers[0].holds && !hot.conditions[1].holds);
        let bright = rule().judge(&report(json!({"T": 31, "Light": 501})), &Nothing).unwrap();
        assert!(!bright.fires && bright.conditions[0].found == "501, now");
        let other = Cause::from_json(&json!({"productKey": "a", "deviceName": "e", "properties": {"T": 50}})).unwrap();
        let other = Happened::new(other, 0);
        assert!(rule().judge(&other, &Nothing).is_none());
    }

    #[test]
    fn whoever_triggers_a_rule_skips_its_triggers_and_not_its_conditions() {
        let told = Happened::new(Cause::Told { by: "user admin".into() }, 5_000);
        let verdict = rule().judge(&told, &Nothing).unwrap();
        assert!(!verdict.fires && verdict.triggers.is_empty() && verdict.conditions.len() == 2);
    }

    #[test]
    fn a_cause_is_shown_as_it_is_written() {
        for text in [
            r#"{"productKey":"a","deviceName":"d","properties":{"T":1}}"#,
            r#"{"productKey":"a","deviceName":"d","event":{"code":"e","outputs":{"n":1}}}"#,
            r#"{"productKey":"a","deviceName":"d","status":"offline"}"#,
            r#"{"timer":1}"#,
            r#"{"told":"user admin"}"#,
        ] {
            let cause = Cause::from_json(&serde_json::from_str(text).unwrap()).unwrap();
            assert_eq!(cause.to_json().to_string(), text);
        }
        for wrong in [r#"{}"#, r#"[]"#, r#"{"productKey":"a","deviceName":"d"}"#, r#"{"productKey":"a","deviceName":"d","status":"on"}"#] {
            assert!(Cause::from_json(&serde_json::from_str(wrong).unwrap()).is_err(), "{wrong}");
        }
    }
}
