//! What a rule does: its actions, one at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};

use super::waiting::Waiting;
use super::{Live, Outcome, Rules};
use crate::bus::{Kind, Message, Source};
use crate::function::Function;
use crate::name::{FunctionName, ThingId};
use crate::queue::job::Job;
use crate::rule::Deed;
use crate::store::{Batch, Table};
use crate::thing::fault::{self, Fault};
use crate::thing::value::{Property, properties_to_json};
use crate::thing::{Presence, Thing};

/// How long an action waits for the driver of a thing that was never online since the gateway started.
const NOT_YET_MAX: Duration = Duration::from_secs(60);
const NOT_YET_PAUSE: Duration = Duration::from_millis(250);

impl Rules {
    /// Runs an action, and notes what came of it.
    pub(super) async fn perform(&self, live: &Live, mut waiting: Waiting) {
        let name = &live.row.name;
        let result = self.act(name, &waiting).await;
        let now = self.parts.clock.monotonic();
        if let Err(Failed::NotYet(_)) = &result
            && *waiting.not_yet_since.get_or_insert(now) + NOT_YET_MAX > now
        {
            live.state.lock().put_back(waiting, now + NOT_YET_PAUSE);
            self.changed.notify_one();
            return;
        }
        let result = result.map_err(Failed::into_message);
        if result.is_err() && waiting.is_on_disk && self.is_stopping.load(Ordering::Relaxed) {
            // It stays on the disk, for the next start.
            return;
        }
        if let Err(error) = &result
            && let Some(others) = self.refusals.turn()
        {
            let (what, trace) = (&waiting.deed, waiting.place.trace);
            tracing::warn!("rule `{name}`, run {trace}: {what}: {error} (and {others} more such lines)");
        }
        // The row of an accepted invocation went with the commit that accepted it.
        let is_row_left = waiting.is_on_disk && !(result.is_ok() && matches!(waiting.deed, Deed::InvokeFunction { .. }));
        let mut state = live.state.lock();
        state.running -= 1;
        state.log.ended(&waiting.place, result, self.parts.clock.unix_ms());
        drop(state);
        if is_row_left {
            let mut batch = Batch::new();
            batch.delete(Table::RuleActions, waiting.key(name));
            // A crash before that repeats the action.
            drop(self.parts.writer.commit(batch));
        }
        self.changed.notify_one();
    }

    /// What came of it, in words.
    async fn act(&self, name: &str, waiting: &Waiting) -> Result<String, Failed> {
        match &waiting.deed {
            Deed::SetProperties { thing, properties } => {
                let properties = self.properties(thing, properties)?;
                let set = self.parts.things.set_properties(thing, properties).await;
                set.map(|()| "set".to_owned()).map_err(|fault| self.failed(thing, &fault))
            }
            Deed::CallService { thing, service, arguments } => {
                let arguments = self.arguments(thing, service, arguments)?;
                let answer = self.parts.things.call_service(thing, service, arguments).await.map_err(|fault| self.failed(thing, &fault))?;
                Ok(format!("answered {}", Json::from(properties_to_json(&answer))))
            }
            Deed::InvokeFunction { function, event } => Ok(self.invoke(name, waiting, function, event.as_ref()).await?),
            Deed::TriggerRule(other) => {
                let told = Box::pin(self.trigger(other, &format!("rule {name}"), &waiting.path)).await.map_err(|none| none.to_string())?;
                match told.outcome {
                    Outcome::Ran(trace) => Ok(format!("it runs, as {trace}")),
                    Outcome::NotMet => Ok("its conditions do not hold".to_owned()),
                    Outcome::Off => Err("it is disabled".to_owned().into()),
                    Outcome::Refused(reason) => Err(reason.into()),
                }
            }
            Deed::Publish { topic, payload } => {
                let payload = payload.as_ref().map_or_else(|| account(name, waiting), bytes);
                let published = self.parts.bus.publish(Message {
                    topic: topic.clone(),
                    payload: payload.into(),
                    source: Source::Rule(name.to_owned()),
                    kind: Kind::Message,
                    path: waiting.path.clone(),
                });
                Ok(published.kept().await.map(|()| "published".to_owned())?)
            }
        }
    }

    /// A thing that was never online since the gateway started may only be waiting for its driver.
    fn failed(&self, thing: &ThingId, fault: &Fault) -> Failed {
        let is_inactive = self.parts.things.get(thing).is_ok_and(|thing| thing.presence() == Presence::Inactive);
        if fault.code == fault::DEVICE_OFFLINE && is_inactive { Failed::NotYet(told(fault)) } else { Failed::For(told(fault)) }
    }

    async fn invoke(&self, name: &str, waiting: &Waiting, target: &FunctionName, event: Option<&Json>) -> Result<String, String> {
        let function = self.function(target)?;
        if let Some(cut) = function.cut(&waiting.path) {
            return Err(cut);
        }
        let event = event.map_or_else(|| account(name, waiting), bytes);
        let job = Job { path: waiting.path.clone(), ..Job::new(target.clone(), event, function.limits.concurrency) };
        // The row goes in the commit that accepts the job: it is there once, whenever the gateway ends.
        let mut rows = Batch::new();
        if waiting.is_on_disk {
            rows.delete(Table::RuleActions, waiting.key(name));
        }
        let accepted = self.parts.queue.submit_with(job, rows).map_err(|full| full.to_string())?;
        accepted.await.map(|accepted| format!("accepted as {}", accepted.id)).map_err(|lost| lost.to_string())
    }

    /// Why an action would fail now.
    pub(super) fn foreseen(&self, deed: &Deed) -> Option<String> {
        let online = |id: &ThingId| self.thing(id).and_then(|thing| thing.check_online().map_err(|fault| told(&fault)));
        let checked = match deed {
            Deed::SetProperties { thing, properties } => self.properties(thing, properties).map(drop).and_then(|()| online(thing)),
            Deed::CallService { thing, service, arguments } => {
                self.arguments(thing, service, arguments).map(drop).and_then(|()| online(thing))
            }
            Deed::InvokeFunction { function, .. } => self.function(function).map(drop),
            Deed::TriggerRule(other) => self
                .find(other)
                .map_err(|none| none.to_string())
                .and_then(|live| if live.state.lock().is_on { Ok(()) } else { Err("it is disabled".to_owned()) }),
            Deed::Publish { .. } => Ok(()),
        };
        checked.err()
    }

    fn thing(&self, id: &ThingId) -> Result<Arc<Thing>, String> {
        self.parts.things.get(id).map_err(|fault| told(&fault))
    }

    fn function(&self, name: &FunctionName) -> Result<Arc<Function>, String> {
        self.parts.functions.look_at(name).ok_or_else(|| format!("function `{name}` is not deployed"))
    }

    fn properties(&self, id: &ThingId, properties: &Map<String, Json>) -> Result<Vec<Property>, String> {
        self.thing(id)?.product.tsl.properties_from_json(properties).map_err(|fault| told(&fault))
    }

    fn arguments(&self, id: &ThingId, service: &str, arguments: &Map<String, Json>) -> Result<Vec<Property>, String> {
        self.thing(id)?.product.tsl.arguments_from_json(service, arguments).map_err(|fault| told(&fault))
    }
}

/// Why an action did not go well.
enum Failed {
    For(String),
    /// It may go well as soon as a driver has come up.
    NotYet(String),
}

impl Failed {
    fn into_message(self) -> String {
        match self {
            Self::For(message) | Self::NotYet(message) => message,
        }
    }
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self::For(message)
    }
}

fn told(fault: &Fault) -> String {
    format!("{} ({})", fault.message, fault.code)
}

/// Text as it is, and anything else as JSON.
fn bytes(json: &Json) -> Bytes {
    match json {
        Json::String(text) => text.clone().into(),
        other => other.to_string().into(),
    }
}

/// What a function is told, or a topic, where the rule does not say.
fn account(name: &str, waiting: &Waiting) -> Bytes {
    json!({"rule": name, "traceId": waiting.place.trace, "time": waiting.at_ms, "cause": waiting.cause}).to_string().into()
}
