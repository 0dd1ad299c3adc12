//! Automation rules (规则计算, FACTS 6.7): what a rule's JSON means, and whether something that happened makes it run. Any one of its
//! triggers starts it, its condition has to hold, and then its actions run, each by itself.
//!
//! Pure: nothing here waits, keeps or does anything. `trigger::rule` does.

mod compare;
mod judge;
mod parse;
mod time_range;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::name::{FunctionName, ThingId};
use crate::schedule::{Parsed, Schedule};
use crate::set::Missed;
pub use compare::Comparison;
pub use judge::{Cause, Happened, Judged, Known, Verdict};
pub use parse::{Wrong, parse};
pub use time_range::TimeRange;

/// A rule that was understood.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Any of them starts it. None: only a person or another rule does.
    pub triggers: Vec<At<Trigger>>,
    pub condition: Condition,
    pub actions: Vec<At<Action>>,
}

/// Something with its place in the rule's JSON, as in `trigger.items[1]`.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub place: String,
    pub it: T,
}

#[derive(Clone, Debug)]
pub enum Trigger {
    Timer { schedule: Schedule, missed: Missed },
    Property { of: Devices, property: Option<String>, test: Option<Comparison> },
    Event { of: Devices, event: Option<String>, test: Option<(String, Comparison)> },
    Status { of: Devices, is_online: Option<bool> },
}

/// Whose reports a trigger listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    One(ThingId),
    Product(String),
}

#[derive(Clone, Debug)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    One(At<Fact>),
}

/// What a condition asks.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The last reported value of a property.
    Property {
        thing: ThingId,
        property: String,
        test: Comparison,
    },
    /// The last event of this kind since the gateway started.
    Event {
        thing: ThingId,
        event: String,
        test: Option<(String, Comparison)>,
    },
    Status {
        thing: ThingId,
        is_online: bool,
    },
    Time(TimeRange),
    /// The minute is one in which this would tick.
    Minute {
        schedule: Schedule,
        parsed: Parsed,
    },
}

#[derive(Clone, Debug)]
pub struct Action {
    pub delay: Duration,
    pub deed: Deed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    SetProperties {
        thing: ThingId,
        properties: Map<String, Json>,
    },
    CallService {
        thing: ThingId,
        service: String,
        arguments: Map<String, Json>,
    },
    /// Without an event of its own, the function gets what happened.
    InvokeFunction {
        function: FunctionName,
        event: Option<Json>,
    },
    TriggerRule(String),
    Publish {
        topic: String,
        payload: Option<Json>,
    },
}

impl Deed {
    /// Whether somebody is told what happened.
    pub fn tells_the_cause(&self) -> bool {
        matches!(self, Self::InvokeFunction { event: None, .. } | Self::Publish { payload: None, .. })
    }
}

impl Devices {
    pub fn covers(&self, thing: &ThingId) -> bool {
        match self {
            Self::One(one) => one == thing,
            Self::Product(key) => *key == thing.product_key,
        }
    }
}

impl Condition {
    /// Every fact in it.
    pub fn facts(&self) -> Vec<&At<Fact>> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::facts).collect(),
            Self::One(fact) => vec![fact],
        }
    }
}

impl Rule {
    /// The schedules that start it, by the number of their trigger.
    pub fn timers(&self) -> impl Iterator<Item = (usize, &Schedule, Missed)> {
        self.triggers.iter().enumerate().filter_map(|(at, trigger)| match &trigger.it {
            Trigger::Timer { schedule, missed } => Some((at, schedule, *missed)),
            _ => None,
        })
    }

    /// Whose reports may start it.
    pub fn devices(&self) -> impl Iterator<Item = &Devices> {
        self.triggers.iter().filter_map(|trigger| match &trigger.it {
            Trigger::Timer { .. } => None,
            Trigger::Property { of, .. } | Trigger::Event { of, .. } | Trigger::Status { of, .. } => Some(of),
        })
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(thing) => write!(f, "{thing}"),
            Self::Product(key) => write!(f, "any thing of {key}"),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timer { schedule, .. } => write!(f, "timer {schedule}"),
            Self::Property { of, property: None, .. } => write!(f, "{of} reports a property"),
            Self::Property { of, property: Some(property), test: None } => write!(f, "{of} reports {property}"),
            Self::Property { of, property: Some(property), test: Some(test) } => write!(f, "{of} reports {property} {test}"),
            Self::Event { of, event, test } => {
                write!(f, "{of} tells {}", event.as_deref().unwrap_or("an event"))?;
                test.as_ref().map_or(Ok(()), |(output, test)| write!(f, " with {output} {test}"))
            }
            Self::Status { of, is_online } => write!(f, "{of} comes {}", is_online.map_or("online or goes offline", status)),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property { thing, property, test } => write!(f, "{property} of {thing} {test}"),
            Self::Event { thing, event, test } => {
                write!(f, "the last {event} of {thing}")?;
                test.as_ref().map_or(Ok(()), |(output, test)| write!(f, " with {output} {test}"))
            }
            Self::Status { thing, is_online } => write!(f, "{thing} is {}", status(*is_online)),
            Self::Time(range) => write!(f, "it is {range}"),
            Self::Minute { schedule, .. } => write!(f, "it is a minute of {schedule}"),
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetProperties { thing, properties } => write!(f, "set {} of {thing}", Json::from(properties.clone())),
            Self::CallService { thing, service, .. } => write!(f, "call {service} of {thing}"),
            Self::InvokeFunction { function, .. } => write!(f, "invoke {function}"),
            Self::TriggerRule(name) => write!(f, "trigger rule {name}"),
            Self::Publish { topic, .. } => write!(f, "publish to {topic}"),
        }
    }
}

fn status(is_online: bool) -> &'static str {
    if is_online { "online" } else { "offline" }
}
