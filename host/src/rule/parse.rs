//! A rule's JSON to a rule: `{"type": "IFTTT", "trigger", "condition", "action"}`. Every mistake is reported in one go, with its place.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::{Action, At, Comparison, Condition, Deed, Devices, Fact, Rule, TimeRange, Trigger};
use crate::name::{FunctionName, ThingId, check_rule, check_thing};
use crate::schedule::{Parsed, Schedule, parse_zone};
use crate::set::Missed;
use crate::topic::check_topic;

/// What is wrong with a rule, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// As in `trigger.items[1].params.compareType`; empty: the rule as a whole.
    pub place: String,
    pub reason: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() { f.write_str(&self.reason) } else { write!(f, "`{}`: {}", self.place, self.reason) }
    }
}

/// The most triggers of a rule, conditions and actions (FACTS 6.7).
const TRIGGERS_MAX: usize = 10;
const CONDITIONS_MAX: usize = 10;
/// Of all of them, however they are nested.
const FACTS_MAX: usize = 50;
const ACTIONS_MAX: usize = 30;
/// How deep `logical/and` and `logical/or` may nest.
const NESTING_MAX: usize = 4;
/// The longest delay of an action, in seconds: a day (FACTS 6.7).
const DELAY_S_MAX: u64 = 86_400;
/// What the original's editors leave in `params` for themselves, and nothing runs by.
const DECORATIONS: [&str; 2] = ["propertyNamesItems", "iotId"];

/// Understands a rule.
pub fn parse(rule: &Json) -> Result<Rule, Vec<Wrong>> {
    let wrongs = RefCell::default();
    let whole = Node { wrongs: &wrongs, place: String::new(), json: rule };
    let parsed = whole.rule();
    let wrongs = wrongs.into_inner();
    match parsed {
        Some(rule) if wrongs.is_empty() => Ok(rule),
        _ => Err(wrongs),
    }
}

/// A piece of the JSON, where it is, and where its mistakes are noted.
#[derive(Clone)]
struct Node<'a> {
    wrongs: &'a RefCell<Vec<Wrong>>,
    place: String,
    json: &'a Json,
}

impl<'a> Node<'a> {
    fn wrong<T>(&self, reason: impl Into<String>) -> Option<T> {
        self.wrongs.borrow_mut().push(Wrong { place: self.place.clone(), reason: reason.into() });
        None
    }

    fn noted<T>(&self, result: Result<T, impl fmt::Display>) -> Option<T> {
        result.map_or_else(|reason| self.wrong(reason.to_string()), Some)
    }

    fn at(&self, step: &str, json: &'a Json) -> Self {
        let dot = if self.place.is_empty() || step.starts_with('[') { "" } else { "." };
        Self { wrongs: self.wrongs, place: format!("{}{dot}{step}", self.place), json }
    }

    fn object(&self, known: &[&str]) -> Option<&'a Map<String, Json>> {
        let Json::Object(members) = self.json else { return self.wrong("expected an object") };
        for (name, json) in members {
            if !known.contains(&name.as_str()) && !name.starts_with("localized") {
                let _ = self.at(name, json).wrong::<()>(format!("is not known here; expected {}", known.join(", ")));
            }
        }
        Some(members)
    }

    /// A member, where there is one and it is not null.
    fn get(&self, name: &str) -> Option<Self> {
        self.json.get(name).filter(|json| !json.is_null()).map(|json| self.at(name, json))
    }

    fn required(&self, name: &str) -> Option<Self> {
        self.get(name).or_else(|| self.wrong(format!("`{name}` is missing")))
    }

    fn text(&self) -> Option<&'a str> {
        self.json.as_str().or_else(|| self.wrong("expected text"))
    }

    fn required_text(&self, name: &str) -> Option<String> {
        Some(self.required(name)?.text()?.to_owned())
    }

    fn map(&self) -> Option<Map<String, Json>> {
        self.json.as_object().cloned().or_else(|| self.wrong("expected an object"))
    }

    fn items(&self, most: usize) -> Option<Vec<Self>> {
        let Json::Array(items) = self.json else { return self.wrong("expected a list") };
        if items.len() > most {
            return self.wrong(format!("has {} items; expected {most} at most", items.len()));
        }
        Some(items.iter().enumerate().map(|(at, item)| self.at(&format!("[{at}]"), item)).collect())
    }

    /// The parameters of a trigger, condition or action.
    fn params(&self, known: &[&str]) -> Option<Self> {
        self.object(&["uri", "params", "items"])?;
        let params = self.required("params")?;
        params.object(&[known, &DECORATIONS].concat())?;
        Some(params)
    }

    fn is_empty(&self) -> bool {
        self.json.as_object().is_some_and(Map::is_empty)
    }

    fn uri(&self) -> Option<&'a str> {
        if !self.json.is_object() {
            return self.wrong("expected an object with `uri`");
        }
        self.required("uri")?.text()
    }

    fn rule(&self) -> Option<Rule> {
        self.object(&["type", "trigger", "condition", "action", "sid"])?;
        if let Some(kind) = self.required("type")
            && kind.json != "IFTTT"
        {
            let _ = kind.wrong::<()>("expected `IFTTT`; rules of the type CA are not supported");
        }
        let triggers = self.get("trigger").map_or(Some(Vec::new()), |trigger| trigger.triggers());
        let condition = self.get("condition").map_or(Some(Condition::All(Vec::new())), |condition| condition.condition(0));
        let actions = self.required("action").and_then(|actions| {
            let items = actions.items(ACTIONS_MAX)?;
            if items.is_empty() {
                return actions.wrong("a rule needs at least one action");
            }
            all(items.iter().map(Self::action).collect())
        });
        if condition.as_ref().is_some_and(|condition| condition.facts().len() > FACTS_MAX) {
            return self.wrong(format!("a rule has {FACTS_MAX} conditions at most, however they are nested"));
        }
        Some(Rule { triggers: triggers?, condition: condition?, actions: actions? })
    }

    fn triggers(&self) -> Option<Vec<At<Trigger>>> {
        if self.is_empty() {
            return Some(Vec::new());
        }
        match self.uri()? {
            "logical/or" => all(self.required("items")?.items(TRIGGERS_MAX)?.iter().map(Self::trigger).collect()),
            "logical/and" => self.wrong("any one trigger starts a rule: expected `logical/or`; put what must hold too into `condition`"),
            _ => Some(vec![self.trigger()?]),
        }
    }

    fn trigger(&self) -> Option<At<Trigger>> {
        let uri = self.uri()?;
        let it = match uri.strip_prefix("trigger/").unwrap_or_default().split_once('/') {
            None if uri == "trigger/timer" => self.timer()?,
            Some((of @ ("device" | "product"), "property")) => {
                let params = self.params(&["productKey", "deviceName", "propertyName", "compareType", "compareValue"])?;
                let (of, test) = (params.devices(of == "device"), params.optional_comparison());
                let property = params.get("propertyName").map(|name| name.text().map(str::to_owned));
                match (property, test?) {
                    (None, Some(_)) => return params.wrong("`compareType` needs a `propertyName`"),
                    (property, test) => Trigger::Property { of: of?, property: property.map_or(Some(None), |name| name.map(Some))?, test },
                }
            }
            Some((of @ ("device" | "product"), "event")) => {
                let params = self.params(&["productKey", "deviceName", "eventCode", "propertyName", "compareType", "compareValue"])?;
                let (of, test) = (params.devices(of == "device"), params.output_comparison());
                let event = params.get("eventCode").map_or(Some(None), |code| Some(Some(code.text()?.to_owned())));
                Trigger::Event { of: of?, event: event?, test: test? }
            }
            Some((of @ ("device" | "product"), "statusChange")) => {
                let params = self.params(&["productKey", "deviceName", "status"])?;
                let (of, status) = (params.devices(of == "device"), params.get("status").map_or(Some(None), |it| it.status().map(Some)));
                Trigger::Status { of: of?, is_online: status? }
            }
            _ => {
                return self.wrong(format!(
                    "`{uri}` is no trigger; expected trigger/timer, trigger/device/property, trigger/device/event, \
                     trigger/device/statusChange, or trigger/product/ with one of these"
                ));
            }
        };
        Some(At { place: self.place.clone(), it })
    }

    /// `missed` and `everySeconds` are ours.
    fn timer(&self) -> Option<Trigger> {
        let params = self.params(&["cron", "cronType", "timezoneID", "everySeconds", "missed"])?;
        let missed = match params.get("missed") {
            None => Missed::Skip,
            Some(missed) => match missed.text()? {
                "skip" => Missed::Skip,
                "run_once" => Missed::RunOnce,
                _ => return missed.wrong("expected `skip` or `run_once`"),
            },
        };
        if let Some(every) = params.get("everySeconds") {
            let seconds = every.json.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
            let Some(seconds @ 1..=31_536_000) = seconds else { return every.wrong("expected seconds, from 1 to 31536000") };
            return Some(Trigger::Timer { schedule: Schedule::EveryS(seconds), missed });
        }
        Some(Trigger::Timer { schedule: params.cron()?.0, missed })
    }

    fn cron(&self) -> Option<(Schedule, Parsed)> {
        if let Some(kind) = self.get("cronType")
            && kind.json != "linux"
        {
            return kind.wrong("expected `linux`, five fields; `quartz_cron` is not supported at the edge");
        }
        let (cron, zone) = (self.required("cron")?, self.zone());
        if let Some(node) = self.get("timezoneID") {
            node.noted(parse_zone(zone?))?;
        }
        let schedule = Schedule::Cron { cron: cron.text()?.to_owned(), time_zone: zone?.to_owned() };
        let parsed = cron.noted(schedule.parse())?;
        Some((schedule, parsed))
    }

    fn zone(&self) -> Option<&'a str> {
        self.get("timezoneID").map_or(Some("UTC"), |zone| zone.text())
    }

    fn thing(&self) -> Option<ThingId> {
        let name = |member: &str| {
            let node = self.required(member)?;
            let text = node.text()?;
            node.noted(check_thing(text))?;
            Some(text)
        };
        let (product, device) = (name("productKey"), name("deviceName"));
        Some(ThingId::new(product?, device?))
    }

    fn devices(&self, is_one: bool) -> Option<Devices> {
        if is_one { self.thing().map(Devices::One) } else { self.required_text("productKey").map(Devices::Product) }
    }

    fn status(&self) -> Option<bool> {
        match self.text()? {
            "online" => Some(true),
            "offline" => Some(false),
            _ => self.wrong("expected `online` or `offline`"),
        }
    }

    fn comparison(&self) -> Option<Comparison> {
        let (how, with) = (self.required("compareType")?, self.required("compareValue")?);
        self.noted(Comparison::new(how.text()?, with.json.clone()))
    }

    /// None inside where there is none.
    fn optional_comparison(&self) -> Option<Option<Comparison>> {
        if self.get("compareType").is_none() && self.get("compareValue").is_none() {
            return Some(None);
        }
        self.comparison().map(Some)
    }

    fn output_comparison(&self) -> Option<Option<(String, Comparison)>> {
        match (self.get("propertyName"), self.optional_comparison()?) {
            (None, None) => Some(None),
            (Some(name), Some(test)) => Some(Some((name.text()?.to_owned(), test))),
            _ => self.wrong("`propertyName` (of an output), `compareType` and `compareValue` go together"),
        }
    }

    fn condition(&self, depth: usize) -> Option<Condition> {
        if self.is_empty() {
            return Some(Condition::All(Vec::new()));
        }
        let uri = self.uri()?;
        if let "logical/and" | "logical/or" = uri {
            self.object(&["uri", "items"])?;
            if depth >= NESTING_MAX {
                return self.wrong(format!("conditions are nested deeper than {NESTING_MAX}"));
            }
            let items = self.required("items")?.items(CONDITIONS_MAX)?;
            let parts = all(items.iter().map(|item| item.condition(depth + 1)).collect())?;
            return Some(if uri == "logical/and" { Condition::All(parts) } else { Condition::Any(parts) });
        }
        Some(Condition::One(At { place: self.place.clone(), it: self.fact(uri)? }))
    }

    /// `condition/device/status` is ours.
    fn fact(&self, uri: &str) -> Option<Fact> {
        match uri {
            "condition/device/property" => {
                let params = self.params(&["productKey", "deviceName", "propertyName", "compareType", "compareValue"])?;
                let (thing, property, test) = (params.thing(), params.required_text("propertyName"), params.comparison());
                Some(Fact::Property { thing: thing?, property: property?, test: test? })
            }
            "condition/device/event" => {
                let params = self.params(&["productKey", "deviceName", "eventCode", "propertyName", "compareType", "compareValue"])?;
                let (thing, event, test) = (params.thing(), params.required_text("eventCode"), params.output_comparison());
                Some(Fact::Event { thing: thing?, event: event?, test: test? })
            }
            "condition/device/status" => {
                let params = self.params(&["productKey", "deviceName", "status"])?;
                let (thing, status) = (params.thing(), params.required("status").and_then(|status| status.status()));
                Some(Fact::Status { thing: thing?, is_online: status? })
            }
            "condition/timeRange" => {
                let params = self.params(&["format", "beginDate", "endDate", "timezoneID", "repeat", "cron", "cronType"])?;
                params.time_range().map(Fact::Time)
            }
            "condition/timer" => {
                let (schedule, parsed) = self.params(&["cron", "cronType", "timezoneID"])?.cron()?;
                Some(Fact::Minute { schedule, parsed })
            }
            _ => self.wrong(format!(
                "`{uri}` is no condition; expected condition/device/property, condition/device/event, condition/device/status, \
                 condition/timeRange, condition/timer, logical/and or logical/or"
            )),
        }
    }

    fn time_range(&self) -> Option<TimeRange> {
        let zone = self.zone()?;
        if let Some(cron) = self.get("cron") {
            return cron.noted(TimeRange::from_cron(cron.text()?, zone));
        }
        if let Some(format) = self.get("format")
            && format.json != "HH:mm"
        {
            return format.wrong("expected `HH:mm`");
        }
        let (begin, end) = (self.required_text("beginDate"), self.required_text("endDate"));
        let repeat = self.get("repeat").map_or(Some(None), |days| days.text().map(Some));
        self.noted(TimeRange::new(&begin?, &end?, repeat?.filter(|days| !days.is_empty()), zone))
    }

    fn action(&self) -> Option<At<Action>> {
        let uri = self.uri()?;
        let deed = match uri {
            "action/device/setProperty" => self.set_properties(),
            "action/device/invokeService" => {
                let params = self.params(&["productKey", "deviceName", "serviceName", "serviceArgs", DELAY])?;
                let (thing, service) = (params.thing(), params.required_text("serviceName"));
                let arguments = params.get("serviceArgs").map_or(Some(Map::new()), |arguments| arguments.map());
                Some(Deed::CallService { thing: thing?, service: service?, arguments: arguments? })
            }
            "action/function/invoke" => {
                let params = self.params(&["serviceName", "functionName", "event", DELAY])?;
                let (service, function) = (params.required_text("serviceName"), params.required_text("functionName"));
                let function = params.noted(FunctionName::new(&service?, &function?))?;
                Some(Deed::InvokeFunction { function, event: params.get("event").map(|event| event.json.clone()) })
            }
            "action/scene/trigger" => {
                let scene = self.params(&["sceneId", DELAY])?.required("sceneId")?;
                scene.noted(check_rule(scene.text()?))?;
                Some(Deed::TriggerRule(scene.text()?.to_owned()))
            }
            "action/mq/send" => {
                let params = self.params(&["topic", "payload", DELAY])?;
                let topic = params.required("topic")?;
                topic.noted(check_topic(topic.text()?))?;
                Some(Deed::Publish { topic: topic.text()?.to_owned(), payload: params.get("payload").map(|payload| payload.json.clone()) })
            }
            _ => self.wrong(format!(
                "`{uri}` is no action of this gateway; expected action/device/setProperty, action/device/invokeService, \
                 action/function/invoke, action/scene/trigger or action/mq/send"
            )),
        };
        let delay = self.get("params").map_or(Some(Duration::ZERO), |params| params.delay());
        Some(At { place: self.place.clone(), it: Action { delay: delay?, deed: deed? } })
    }

    /// In the original's newer form, `propertyItems`, and its older one, `propertyName` and `propertyValue`.
    fn set_properties(&self) -> Option<Deed> {
        let params = self.params(&["productKey", "deviceName", "propertyItems", "propertyName", "propertyValue", DELAY])?;
        let thing = params.thing();
        let properties = match params.get("propertyItems") {
            Some(items) => items.map()?,
            None => {
                let (name, value) = (params.required_text("propertyName")?, params.required("propertyValue")?);
                Map::from_iter([(name, value.json.clone())])
            }
        };
        if properties.is_empty() {
            return params.wrong("no property to set");
        }
        Some(Deed::SetProperties { thing: thing?, properties })
    }

    fn delay(&self) -> Option<Duration> {
        let Some(delay) = self.get(DELAY) else { return Some(Duration::ZERO) };
        let seconds = delay.json.as_u64().or_else(|| delay.json.as_str()?.parse().ok());
        match seconds.filter(|seconds| *seconds <= DELAY_S_MAX) {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => delay.wrong(format!("expected seconds, from 0 to {DELAY_S_MAX}")),
        }
    }
}

const DELAY: &str = "delayedExecutionSeconds";

/// All of them, if each was understood. Every one is looked at, so that every mistake is noted.
fn all<T>(items: Vec<Option<T>>) -> Option<Vec<T>> {
    items.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(trigger: Json, condition: Json, action: Json) -> Json {
        json!({"type": "IFTTT", "trigger": trigger, "condition": condition, "action": action})
    }

    fn send() -> Json {
        json!([{"uri": "action/mq/send", "params": {"topic": "/a", "payload": 1}}])
    }

    fn wrongs(rule: &Json) -> Vec<String> {
        parse(rule).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_trigger_condition_and_action_is_understood() {
        let of = |rest: Json| {
            let mut params = json!({"productKey": "a1", "deviceName": "d-1"});
            params.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            params
        };
        let test = json!({"propertyName": "T", "compareType": ">", "compareValue": 30});
        let event = json!({"eventCode": "alarm", "propertyName": "level", "compareType": "in", "compareValue": [1, 2]});
        let triggers = json!({"uri": "logical/or", "items": [
            {"uri": "trigger/timer", "params": {"cron": "10 8 * * *", "cronType": "linux", "timezoneID": "Asia/Shanghai"}},
            {"uri": "trigger/timer", "params": {"everySeconds": 30, "missed": "run_once"}},
            {"uri": "trigger/device/property", "params": of(test.clone())},
            {"uri": "trigger/device/property", "params": of(json!({}))},
            {"uri": "trigger/device/event", "params": of(event.clone())},
            {"uri": "trigger/device/statusChange", "params": of(json!({"status": "offline"}))},
            {"uri": "trigger/product/property", "params": {"productKey": "a1"}},
            {"uri": "trigger/product/event", "params": {"productKey": "a1"}},
            {"uri": "trigger/product/statusChange", "params": {"productKey": "a1"}},
        ]});
        let conditions = json!({"uri": "logical/and", "items": [
            {"uri": "condition/device/property", "params": of(test)},
            {"uri": "logical/or", "items": [
                {"uri": "condition/device/event", "params": of(event)},
                {"uri": "condition/device/status", "params": of(json!({"status": "online"}))},
            ]},
            {"uri": "condition/timeRange", "params": {"format": "HH:mm", "beginDate": "8:30", "endDate": "23:00",
                "timezoneID": "Asia/Shanghai", "repeat": "1,2,3"}},
            {"uri": "condition/timeRange", "params": {"cron": "0-0 6-22 * * 1,2,3", "cronType": "linux", "timezoneID": "Asia/Shanghai"}},
            {"uri": "condition/timer", "params": {"cron": "* 8 * * *"}},
        ]});
        let actions = json!([
            {"uri": "action/device/setProperty", "params": of(json!({"propertyItems": {"S": 1}, "propertyNamesItems": {}}))},
            {"uri": "action/device/setProperty", "params": of(json!({"propertyName": "S", "propertyValue": 0, "delayedExecutionSeconds": "5"}))},
            {"uri": "action/device/invokeService", "params": of(json!({"serviceName": "blink", "serviceArgs": {"n": 2}}))},
            {"uri": "action/function/invoke", "params": {"serviceName": "EdgeFC", "functionName": "f", "delayedExecutionSeconds": 86400}},
            {"uri": "action/scene/trigger", "params": {"sceneId": "night"}},
            {"uri": "action/mq/send", "params": {"topic": "/a/b", "payload": {"x": 1}}},
        ]);
        let parsed = parse(&rule(triggers, conditions, actions)).unwrap();
        assert_eq!((parsed.triggers.len(), parsed.condition.facts().len(), parsed.actions.len()), (9, 6, 6));
        assert_eq!(parsed.actions[1].it.delay, Duration::from_secs(5));
        assert_eq!((parsed.timers().count(), parsed.devices().count()), (2, 7));
        assert_eq!(parsed.triggers[2].it.to_string(), "a1/d-1 reports T > 30");
        let by_hand = parse(&rule(json!({}), json!({}), send())).unwrap();
        assert!(by_hand.triggers.is_empty() && by_hand.condition.facts().is_empty());
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let trigger = json!({"uri": "logical/or", "items": [
            {"uri": "trigger/timer", "params": {"cron": "0 0 12 * * ?", "cronType": "quartz_cron"}},
            {"uri": "trigger/device/property", "params": {"productKey": "a1", "propertyName": "T", "compareType": "=", "compareValue": 1}},
            {"uri": "trigger/device/moon", "params": {}},
        ]});
        let condition = json!({"uri": "condition/timeRange", "params": {"beginDate": "8", "endDate": "9:00"}});
        let action =
            json!([{"uri": "action/dingtalk/robot", "params": {}}, {"uri": "action/mq/send", "params": {"topic": "/a", "when": 1}}]);
        let wrongs = wrongs(&rule(trigger, condition, action));
        let expected = [
            "`trigger.items[0].params.cronType`: expected `linux`",
            "`trigger.items[1].params`: `deviceName` is missing",
            "`trigger.items[1].params`: `=` is no comparison",
            "`trigger.items[2]`: `trigger/device/moon` is no trigger",
            "`condition.params`: `8` is no time of day",
            "`action[0]`: `action/dingtalk/robot` is no action of this gateway",
            "`action[1].params.when`: is not known here",
        ];
        for expected in expected {
            assert!(wrongs.iter().any(|wrong| wrong.starts_with(expected)), "{expected}\n{wrongs:#?}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let mut deep = json!({});
        for _ in 0..10 {
            deep = json!({"uri": "logical/and", "items": [deep]});
        }
        let many: Vec<Json> = (0..11).map(|_| json!({"uri": "trigger/timer", "params": {"everySeconds": 1}})).collect();
        for wrong in [
            json!(null),
            json!([]),
            json!({}),
            json!({"type": "CA", "action": send()}),
            rule(json!({}), json!({}), json!([])),
            rule(json!({}), deep, send()),
            rule(json!({"uri": "logical/or", "items": many}), json!({}), send()),
            rule(json!({"uri": "logical/and", "items": []}), json!({}), send()),
            rule(json!("x"), json!({}), send()),
            rule(json!({}), json!({}), json!([{"uri": "action/mq/send", "params": {"topic": "/a", "delayedExecutionSeconds": 86_401}}])),
        ] {
            assert!(!wrongs(&wrong).is_empty(), "{wrong}");
        }
    }
}
