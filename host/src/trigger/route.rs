//! Message routes: which message starts which function.
//!
//! A route never blocks its publisher: matching is done here, delivery by `queue`.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::json;

use crate::bus::{Kind, Message, Sink, Source};
use crate::function::Functions;
use crate::queue::{Job, Queue};
use crate::set::{Route, RouteSource, RouteTopic};
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

    fn submit(&self, route: &Route, message: &Message, event: Bytes) {
        if let Err(reason) = self.try_submit(route, message, event)
            && let Some(others) = self.drops.turn()
        {
            let topic = printable(&message.topic);
            tracing::warn!("a message to `{topic}` is dropped: {reason} (and {others} more since the last such line)");
        }
    }

    fn try_submit(&self, route: &Route, message: &Message, event: Bytes) -> Result<(), String> {
        let target = &route.target;
        let function = self.functions.get(target).ok_or_else(|| format!("function `{target}` is not deployed"))?;
        if !function.grants.may_subscribe(&message.topic) {
            function.code.denied_topic(&message.topic);
            return Err(format!("function `{target}` is not granted `subscribe` of it"));
        }
        if message.path.depth() >= function.limits.call_depth {
            let cut = format!(
                "is not called: a loop is cut, since {} -> {target} is nested deeper than {}",
                message.path, function.limits.call_depth
            );
            function.code.tell(Some("call_depth"), &cut);
            return Err(format!("function `{target}` {cut}"));
        }
        let job = Job {
            id: uuid::Uuid::new_v4().to_string(),
            target: target.clone(),
            event,
            invoker_context: String::new(),
            path: message.path.clone(),
            concurrency: function.limits.concurrency,
        };
        self.queue.submit(job).map_err(|full| format!("function `{target}` is not called, since {full}"))
    }
}

impl Sink for Routes {
    /// Delivers at most once for an identical source and target (FACTS 4).
    fn deliver(&self, message: &Arc<Message>) {
        let table = self.table.load();
        let mut event = None;
        let mut delivered = HashSet::new();
        for route in table.iter().filter(|route| matches(route, message)) {
            if delivered.insert((route.source.to_string(), &route.target)) {
                let event = event.get_or_insert_with(|| event_of(message));
                self.submit(route, message, event.clone());
            }
        }
    }
}

fn matches(route: &Route, message: &Message) -> bool {
    let from = match (&route.source, &message.source) {
        (RouteSource::Device(filter), Source::Thing(id)) => filter.matches(&format!("/{}/{}", id.product_key, id.device_name)),
        (RouteSource::Function(wanted), Source::Function(name)) => wanted == name,
        _ => false,
    };
    from && match &route.topic {
        RouteTopic::All => true,
        RouteTopic::Property => message.kind == Kind::Properties,
        RouteTopic::Filter(filter) => filter.matches(&message.topic),
    }
}

/// The event of a routed message (FACTS 2.2): the payload is text inside the JSON.
fn event_of(message: &Message) -> Bytes {
    json!({"topic": message.topic, "payload": String::from_utf8_lossy(&message.payload)}).to_string().into()
}
