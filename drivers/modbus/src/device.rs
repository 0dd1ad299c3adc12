//! One device: what is known of it, and what the gateway is told.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::rc::Rc;
use std::time::Duration;

use ledge_sdk::thing_access::{DeviceInfo, Thing};
use ledge_sdk::value::{Properties, Value};
use ledge_sdk::{Fault, ThingId, clock};

use crate::config::Settings;
use crate::cycle::{self, Cycle};
use crate::layout::Raw;
use crate::mapping::{Mapping, Report};
use crate::presence::{Became, Presence};

pub struct Device {
    pub id: ThingId,
    pub unit: u8,
    pub mapping: Rc<Mapping>,
    pub cycles: Vec<Cycle>,
    pub presence: Presence,
    info: DeviceInfo,
    /// Once the device has answered for the first time.
    thing: Option<Thing>,
    /// What was reported last of each point.
    reported: Vec<Option<Value>>,
    /// Whether it was said that a point has no value.
    told: Vec<bool>,
    /// What the gateway said of the last report.
    refused: Option<Fault>,
    /// Set once it is served elsewhere or no longer: from then on, what is found out here is nobody's concern.
    is_gone: Rc<Cell<bool>>,
}

/// The devices of a line, by their numbers.
#[derive(Default)]
pub struct Devices(BTreeMap<usize, Device>);

/// What was read of a point, by its number in the mapping.
pub type Found = (usize, Result<Raw, String>);

impl Device {
    pub fn new(info: DeviceInfo, unit: u8, mapping: Rc<Mapping>, interval: Duration, settings: &Settings, now: Duration) -> Self {
        let points = mapping.points.len();
        Self {
            id: ThingId::new(&info.product_key, &info.device_name),
            unit,
            cycles: cycle::cycles(&mapping.points, interval, settings.gap, now),
            presence: Presence::default(),
            mapping,
            info,
            thing: None,
            reported: vec![None; points],
            told: vec![false; points],
            refused: None,
            is_gone: Rc::default(),
        }
    }

    pub fn is_gone(&self) -> Rc<Cell<bool>> {
        self.is_gone.clone()
    }

    /// There is a connection: whom there is nothing to ask is there with its server.
    pub async fn has_server(&mut self) {
        if self.cycles.is_empty() {
            let became = self.presence.answered();
            self.became(became, "").await;
        }
    }

    /// Tells the gateway that the device came or went.
    pub async fn became(&mut self, became: Option<Became>, why: impl std::fmt::Display) {
        let told = match became {
            None => return,
            Some(_) if self.is_gone.get() => return,
            Some(Became::Online) => self.come_online().await,
            Some(Became::Offline) => {
                println!("device `{}` is offline: {why}", self.id);
                match &self.thing {
                    Some(thing) => thing.offline().await,
                    None => Ok(()),
                }
            }
        };
        if let Err(fault) = told {
            println!("device `{}`: the gateway does not take note of it: {fault}", self.id);
        }
    }

    /// When it is to be asked next, and for which cycle. Whether one that is offline is back, the first cycle finds out.
    pub fn due(&self) -> Option<(Duration, usize)> {
        if !self.presence.is_online() {
            return (!self.cycles.is_empty()).then_some((self.presence.pause_until, 0));
        }
        let due = |(at, cycle): (usize, &Cycle)| (cycle.due.max(self.presence.pause_until), at);
        self.cycles.iter().enumerate().map(due).min()
    }

    async fn come_online(&mut self) -> Result<(), Fault> {
        println!("device `{}` is online", self.id);
        // What changed meanwhile, nobody knows.
        self.reported.fill(None);
        let now = clock::now();
        self.cycles.iter_mut().for_each(|cycle| cycle.due = cycle.due.min(now));
        match &self.thing {
            Some(thing) => thing.online().await,
            None => {
                self.thing = Some(Thing::register(&self.info).await?);
                Ok(())
            }
        }
    }

    /// The values of what was read. What is no value of the TSL is said once, and then again after it was one in between.
    pub fn values(&mut self, found: Vec<Found>) -> Vec<(usize, Value)> {
        let mut values = Vec::with_capacity(found.len());
        for (at, raw) in found {
            let point = &self.mapping.points[at];
            match raw.and_then(|raw| point.model.value(&raw)) {
                Ok(value) => {
                    self.told[at] = false;
                    values.push((at, value));
                }
                Err(reason) => self.tell_once(at, &format!("its value is dropped: {reason}")),
            }
        }
        values
    }

    pub fn tell_once(&mut self, at: usize, what: &str) {
        if !std::mem::replace(&mut self.told[at], true) {
            let point = &self.mapping.points[at];
            let kind = if point.is_readable { "property" } else { "parameter" };
            println!("device `{}`, {kind} `{}`: {what}", self.id, point.identifier);
        }
    }

    /// Reports what is due: all that is periodic, and what has changed of the rest.
    pub async fn report(&mut self, values: Vec<(usize, Value)>) {
        let is_due = |(at, value): &(usize, Value)| is_due(self.mapping.points[*at].report, self.reported[*at].as_ref(), value);
        let due: Vec<(usize, Value)> = values.into_iter().filter(is_due).collect();
        let Some(thing) = self.thing.as_ref().filter(|_| self.presence.is_online() && !self.is_gone.get() && !due.is_empty()) else {
            return;
        };
        let properties: Properties = due.iter().map(|(at, value)| (self.mapping.points[*at].identifier.clone(), value.clone())).collect();
        let refused = thing.report_properties(properties).await.err();
        match &refused {
            // What is too much for the gateway now may be wanted later; what it refuses of single values, it has said.
            Some(fault) if fault.code == Fault::TOO_MANY => {}
            _ => due.into_iter().for_each(|(at, value)| self.reported[at] = Some(value)),
        }
        if let Some(fault) = refused.as_ref().filter(|fault| self.refused.as_ref().map(|last| last.code) != Some(fault.code)) {
            println!("device `{}`: the gateway refuses a report: {fault}", self.id);
        }
        self.refused = refused;
    }
}

impl Devices {
    pub async fn add(&mut self, number: usize, mut device: Device, has_server: bool) {
        if has_server {
            device.has_server().await;
        }
        self.0.insert(number, device);
    }

    /// Its handle goes with it.
    pub fn remove(&mut self, number: usize) {
        self.0.remove(&number);
    }

    pub fn contains(&self, number: usize) -> bool {
        self.0.contains_key(&number)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&usize, &Device)> {
        self.0.iter()
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Device> {
        self.0.values_mut()
    }
}

impl FromIterator<(usize, Device)> for Devices {
    fn from_iter<I: IntoIterator<Item = (usize, Device)>>(devices: I) -> Self {
        Self(devices.into_iter().collect())
    }
}

// A line has numbers from orders, which it has looked up, and from polls, which end with their device; and one that is removed is so between
// two of them.
impl Index<usize> for Devices {
    type Output = Device;

    fn index(&self, number: usize) -> &Device {
        self.0.get(&number).expect("a device of this line")
    }
}

impl IndexMut<usize> for Devices {
    fn index_mut(&mut self, number: usize) -> &mut Device {
        self.0.get_mut(&number).expect("a device of this line")
    }
}

fn is_due(report: Report, reported: Option<&Value>, value: &Value) -> bool {
    let (Report::Change { dead_band }, Some(reported)) = (report, reported) else { return true };
    match (f64::try_from(reported), f64::try_from(value)) {
        (Ok(old), Ok(new)) if dead_band > 0.0 => (new - old).abs() > dead_band,
        _ => reported != value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_reported_beyond_its_dead_band() {
        let (change, band) = (Report::Change { dead_band: 0.0 }, Report::Change { dead_band: 0.5 });
        let value = Value::Double;
        assert!(is_due(Report::Periodic, Some(&value(1.0)), &value(1.0)));
        assert!(is_due(change, None, &value(1.0)));
        assert!(!is_due(change, Some(&value(1.0)), &value(1.0)));
        assert!(is_due(change, Some(&value(1.0)), &value(1.1)));
        assert!(!is_due(band, Some(&value(1.0)), &value(1.5)));
        assert!(is_due(band, Some(&value(1.0)), &value(0.4)));
        assert!(is_due(change, Some(&Value::Text("a".into())), &Value::Text("b".into())));
    }
}
