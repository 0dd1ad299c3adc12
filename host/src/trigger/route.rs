//! Message routes: which message starts which function.
//!
//! A route never blocks its publisher: matching is done here, delivery by `queue`.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::json;

use crate::bus::{Kind, Message, Published, Receipt, Sink, Source};
use crate::function::Functions;
use crate::name::FunctionName;
use crate::queue::Queue;
use crate::queue::job::Job;
use crate::set::{Qos, Route, RouteSource, RouteTopic};
use crate::telemetry::{OncePerSecond, printable};

/// The routing table, attached to the bus.
pub struct Routes {
    table: ArcSwap<Vec<Route>>,
    functions: Arc<Functions>,
    queue: Arc<Queue>,
    drops: OncePerSecond,
}

impl Routes {
    pub fn new(functions: Arc<Functions>, queue: Arc<Queue>) -> Self {
        Self { table: ArcSwap::default(), functions, queue, drops: OncePerSecond::default() }
    }

    pub fn replace(&self, routes: Vec<Route>) {
        self.table.store(Arc::new(routes));
    }

    pub fn list(&self) -> Vec<Route> {
        self.table.load().to_vec()
    }

    /// A receipt where the route promises one.
    fn submit(&self, route: &Route, message: &Message, event: Bytes) -> Option<Receipt> {
        let (target, qos) = (&route.target, route.qos);
        let (reason, is_told) = match self.job(target, message, event) {
            Err(reason) => (reason, false),
            Ok(job) if qos == Qos::AtMostOnce => (self.queue.offer(job).err()?.to_string(), false),
            Ok(job) => match self.queue.submit(job) {
                Ok(written) => return Some(Box::pin(async { written.await.map(|_| ()).map_err(|lost| lost.to_string()) })),
                Err(full) => (full.to_string(), true),
            },
        };
        if let Some(others) = self.drops.turn() {
            let topic = printable(&message.topic);
            tracing::warn!("a message to `{topic}` is dropped: {reason} (and {others} more since the last such line)");
        }
        is_told.then(|| -> Receipt { Box::pin(std::future::ready(Err(reason))) })
    }

    fn job(&self, target: &FunctionName, message: &Message, event: Bytes) -> Result<Job, String> {
        let functions = self.functions.all_of(target);
        let function = functions.first().ok_or_else(|| format!("function `{target}` is not deployed"))?;
        if let Some(denied) = functions.iter().find(|function| !function.grants.may_subscribe(&message.topic)) {
            denied.code.denied_topic(&message.topic);
            return Err(format!("function `{}` is not granted `subscribe` of it", denied.name));
        }
        if let Some(cut) = function.cut(&message.path) {
            return Err(cut);
        }
        Ok(Job { path: message.path.clone(), ..Job::new(target.clone(), event, function.limits.concurrency) })
    }
}

impl Sink for Routes {
    /// Delivers at most once for an identical source and target (FACTS 4).
    fn deliver(&self, message: &Arc<Message>) -> Option<Receipt> {
        let table = self.table.load();
        let mut event = None;
        let (mut delivered, mut receipts) = (HashSet::new(), Vec::new());
        for route in table.iter().filter(|route| matches(route, message)) {
            if delivered.insert((route.source.to_string(), &route.target)) {
                let event = event.get_or_insert_with(|| event_of(message));
                receipts.extend(self.submit(route, message, event.clone()));
            }
        }
        let all = |receipts: Vec<Receipt>| -> Receipt { Box::pin(Published::new(receipts).kept()) };
        (!receipts.is_empty()).then(|| all(receipts))
    }
}

fn matches(route: &Route, message: &Message) -> bool {
    let from = match (&route.source, &message.source) {
        (RouteSource::Device(filter), Source::Thing(id)) => filter.matches(&format!("/{}/{}", id.product_key, id.device_name)),
        (RouteSource::Function(wanted), Source::Function(name)) => wanted == name,
        (RouteSource::Rule(wanted), Source::Rule(name)) => wanted == name,
        _ => false,
    };
    from && match &route.topic {
        // All that the device says itself: whether it is online, its gateway does, and only a filter asks for that.
        RouteTopic::All => !matches!(message.kind, Kind::Status { .. }),
        RouteTopic::Property => message.kind == Kind::Properties,
        RouteTopic::Filter(filter) => filter.matches(&message.topic),
    }
}

/// The event of a routed message (FACTS 2.2): the payload is text inside the JSON.
fn event_of(message: &Message) -> Bytes {
    json!({"topic": message.topic, "payload": String::from_utf8_lossy(message.payload.bytes())}).to_string().into()
}
