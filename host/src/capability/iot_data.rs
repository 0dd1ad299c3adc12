//! `iot-data`: messages and things, for functions (manual chapter 2, `IoTData`).

use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use super::Guest;
use super::values::convert;
use crate::bindings::iot_data::{self, Fault, HistoryPage, Property, Report, TaggedThing, ThingId};
use crate::bus::{Bus, Kind, Message, Source};
use crate::call_path::CallPath;
use crate::name::{self, FunctionName};
use crate::thing::{Things, fault, history};
use crate::topic;

/// What the interface needs of its gateway.
pub struct IotDataParts {
    pub things: Arc<Things>,
    pub bus: Arc<Bus>,
}

/// The interface's part of a Store.
pub struct IotData {
    pub guest: Arc<Guest>,
    pub parts: Arc<IotDataParts>,
    pub function: FunctionName,
    pub path: CallPath,
}

/// Reports that one page of a history may have.
const REPORTS_MAX: u32 = 1_000;

struct Linked;

impl HasData for Linked {
    type Data<'a> = &'a mut IotData;
}

pub fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&mut T) -> &mut IotData) -> wasmtime::Result<()> {
    iot_data::add_to_linker::<T, Linked>(linker, get)
}

impl iot_data::Host for IotData {
    async fn publish(&mut self, topic: String, payload: Vec<u8>) -> Result<(), Fault> {
        if let Err(wrong) = topic::check_topic(&topic) {
            return Err(Fault { code: fault::INVALID_PARAM, message: format!("topic `{topic}`: {wrong}") });
        }
        if !self.guest.grants.may_publish(&topic) {
            return Err(self.guest.denied("publish", &topic));
        }
        self.guest.may_publish_now()?;
        let source = Source::Function(self.function.clone());
        let published =
            self.parts.bus.publish(Message { topic, payload: payload.into(), source, kind: Kind::Message, path: self.path.clone() });
        published.kept().await.map_err(|full| Fault { code: fault::TOO_MANY, message: full })
    }

    async fn get_thing_properties(&mut self, thing: ThingId, identifiers: Vec<String>) -> Result<Vec<Property>, Fault> {
        let id = name::ThingId::from(thing);
        let all = ["*".to_owned()];
        let asked = if identifiers.is_empty() { &all[..] } else { &identifiers };
        if let Some(property) = asked.iter().find(|property| !self.guest.grants.things.may_read(&id, property)) {
            return Err(self.guest.denied("things.read", format_args!("{id}/{property}")));
        }
        Ok(convert(self.parts.things.get_properties(&id, identifiers).await?))
    }

    async fn set_thing_properties(&mut self, thing: ThingId, properties: Vec<Property>) -> Result<(), Fault> {
        let id = name::ThingId::from(thing);
        let covered = |property: &&Property| !self.guest.grants.things.may_write(&id, &property.identifier);
        if let Some(property) = properties.iter().find(covered) {
            return Err(self.guest.denied("things.write", format_args!("{id}/{}", property.identifier)));
        }
        // An empty list would otherwise tell a guest without a grant whether the thing exists.
        if properties.is_empty() {
            return Err(Fault { code: fault::INVALID_PARAM, message: format!("thing `{id}`: no property to set") });
        }
        Ok(self.parts.things.set_properties(&id, convert(properties)).await?)
    }

    async fn call_thing_service(&mut self, thing: ThingId, service: String, arguments: Vec<Property>) -> Result<Vec<Property>, Fault> {
        let id = name::ThingId::from(thing);
        if !self.guest.grants.things.may_call(&id, &service) {
            return Err(self.guest.denied("things.call", format_args!("{id}/{service}")));
        }
        Ok(convert(self.parts.things.call_service(&id, &service, convert(arguments)).await?))
    }

    async fn get_thing_history(
        &mut self,
        thing: ThingId,
        from_ms: u64,
        to_ms: u64,
        cursor: u64,
        reports_max: u32,
    ) -> Result<HistoryPage, Fault> {
        let id = name::ThingId::from(thing);
        if !self.guest.grants.things.may_read_of(&id) {
            return Err(self.guest.denied("things.read", &id));
        }
        if !(1..=REPORTS_MAX).contains(&reports_max) {
            let message = format!("thing `{id}`: a page of {reports_max} reports; it may have 1 to {REPORTS_MAX}");
            return Err(Fault { code: fault::INVALID_PARAM, message });
        }
        let (reports, next) = self.parts.things.history(&id, from_ms..=to_ms, cursor, reports_max as usize).await?;
        Ok(HistoryPage { reports: reports.into_iter().filter_map(|report| self.covered(&id, report)).collect(), next })
    }

    async fn get_things_with_tags(&mut self, tags: Vec<(String, String)>) -> Result<Vec<TaggedThing>, Fault> {
        let grants = &self.guest.grants.things;
        if grants.read.is_empty() && grants.write.is_empty() && grants.call.is_empty() {
            return Err(self.guest.denied("things.read", "things with tags"));
        }
        let found = self.parts.things.with_tags(&tags);
        let seen = found.into_iter().filter(|thing| grants.may_see(&thing.id));
        Ok(seen.map(|thing| TaggedThing { id: thing.id.clone().into(), tags: thing.row.tags.clone().into_iter().collect() }).collect())
    }
}

impl IotData {
    /// What this function may know of a report.
    fn covered(&self, id: &name::ThingId, mut report: history::Report) -> Option<Report> {
        let things = &self.guest.grants.things;
        match &report.event {
            Some(event) if !things.may_read(id, event) => return None,
            Some(_) => {}
            None => {
                report.values.retain(|property| things.may_read(id, &property.identifier));
                if report.values.is_empty() {
                    return None;
                }
            }
        }
        Some(Report { time_ms: report.time_ms, event: report.event, values: convert(report.values) })
    }
}
