//! Reports: what a device says of itself, checked, kept and put on the bus.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value as Json, json};

use super::fault::{self, Fault};
use super::value::Property;
use super::{Device, Things};
use crate::bus::{Kind, Message, Payload, Published, Source};
use crate::call_path::CallPath;
use crate::name::ThingId;

impl Things {
    /// Takes a report of properties. Where some values are refused the others count, and the fault names the refused.
    pub async fn report_properties(&self, id: &ThingId, device: &Arc<dyn Device>, properties: Vec<Property>) -> Result<(), Fault> {
        let thing = self.get(id)?;
        thing.check_reporter(device)?;
        device.is_alive();
        if properties.is_empty() {
            return Err(Fault::new(fault::INVALID_PARAM, format!("thing `{id}`: a report without a property")));
        }
        let (good, refused) = thing.product.tsl.check_report(properties);
        if !good.is_empty() {
            let time_ms = self.clock.unix_ms();
            thing.state.lock().take_properties(&good, time_ms, thing.product.row.history_bytes as usize);
            self.is_changed.store(true, Relaxed);
            let payload = Payload::made_when_asked(move || {
                let member = |it: &Property| (it.identifier.clone(), json!({"value": it.value.to_json(), "time": time_ms}));
                Json::Object(good.iter().map(member).collect())
            });
            let published = self.publish(id, "property", Kind::Properties, payload);
            kept(id, published).await?;
        }
        refused.map_or(Ok(()), |fault| Err(super::about(id, fault)))
    }

    pub async fn report_event(&self, id: &ThingId, device: &Arc<dyn Device>, event: &str, outputs: Vec<Property>) -> Result<(), Fault> {
        let thing = self.get(id)?;
        thing.check_reporter(device)?;
        device.is_alive();
        let outputs = thing.product.tsl.check_event(event, outputs).map_err(|fault| super::about(id, fault))?;
        let time_ms = self.clock.unix_ms();
        thing.state.lock().take_event(event, &outputs, time_ms, thing.product.row.history_bytes as usize);
        self.is_changed.store(true, Relaxed);
        let payload = Payload::made_when_asked(move || {
            let value: Map<String, Json> = outputs.into_iter().map(|it| (it.identifier, it.value.to_json())).collect();
            json!({"params": {"value": value, "time": time_ms}})
        });
        let published = self.publish(id, event, Kind::Event(event.to_owned()), payload);
        kept(id, published).await
    }

    /// Says on the bus that a thing came online, or went offline.
    pub(super) fn tell_status(&self, id: &ThingId, is_online: bool) {
        let ThingId { product_key, device_name } = id;
        let status = if is_online { "online" } else { "offline" };
        let payload = json!({"status": status, "productKey": product_key, "deviceName": device_name, "time": self.clock.unix_ms()});
        let topic = format!("/as/mqtt/status/{product_key}/{device_name}");
        // Nobody waits for it: the thing is where it is.
        drop(self.message(id, topic, Kind::Status { is_online }, Payload::made_when_asked(|| payload)));
    }

    fn publish(&self, id: &ThingId, what: &str, kind: Kind, payload: Payload) -> Published {
        self.message(id, format!("/sys/{}/{}/thing/event/{what}/post", id.product_key, id.device_name), kind, payload)
    }

    fn message(&self, id: &ThingId, topic: String, kind: Kind, payload: Payload) -> Published {
        self.bus.publish(Message { topic, payload, source: Source::Thing(id.clone()), kind, path: CallPath::default() })
    }
}

/// A report is taken once it is where its routes promise to keep it.
async fn kept(id: &ThingId, published: Published) -> Result<(), Fault> {
    published.kept().await.map_err(|full| super::about(id, Fault::new(fault::TOO_MANY, full)))
}
