//! Watching things: a long answer, one JSON text to a line, with heartbeats between.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::event_stream::{Lines, stream};
use crate::api::{Api, spaced_json};
use crate::bus::{Kind, Message, Source};
use crate::clock::Clock;
use crate::name::ThingId;

/// What of a thing is watched.
#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Watched {
    All,
    Properties,
    Events,
}

/// No wishes at all want everything that is the caller's business.
pub fn watch(api: &Arc<Api>, caller: &Caller, wishes: HashMap<ThingId, Watched>) -> Result<Response, ApiError> {
    let rights = caller.0.rights.clone();
    let is_wanted = move |message: &Message| {
        let Source::Thing(thing) = &message.source else { return false };
        let watched =
            if wishes.is_empty() { rights.covers(&thing.product_key).then_some(Watched::All) } else { wishes.get(thing).copied() };
        matches!(
            (&message.kind, watched),
            (Kind::Properties, Some(Watched::All | Watched::Properties)) | (Kind::Event(_), Some(Watched::All | Watched::Events))
        )
    };
    let lines = stream(api, caller, is_wanted, Watching { clock: api.clock.clone() });
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(lines)).into_response())
}

struct Watching {
    clock: Clock,
}

impl Lines for Watching {
    fn heartbeat(&self) -> Bytes {
        line(&json!({"Message": "heartbeat", "Data": {"Timestamp": self.clock.unix_ms()}}))
    }

    fn message(&self, message: &Message) -> Option<Bytes> {
        let Source::Thing(thing) = &message.source else { return None };
        let body: Json = serde_json::from_slice(message.payload.bytes()).ok()?;
        let (event, args, time) = match &message.kind {
            Kind::Properties => ("propertiesChanged", body.clone(), body.as_object()?.values().next()?["time"].clone()),
            Kind::Event(event) => (event.as_str(), body["params"]["value"].clone(), body["params"]["time"].clone()),
            _ => return None,
        };
        let said = json!({
            "ProductKey": thing.product_key,
            "DeviceName": thing.device_name,
            "Event": event,
            "Args": if args.as_object().is_some_and(serde_json::Map::is_empty) { json!([]) } else { args },
            "Timestamp": time,
        });
        Some(line(&json!({"Message": "success", "Data": said})))
    }

    fn cut(&self, missed: u64) -> Bytes {
        let message = format!("this reader was too slow and missed {missed} messages: connect again");
        line(&json!({"Message": message, "Data": {"Missed": missed, "Timestamp": self.clock.unix_ms()}}))
    }

    fn silence(&self) -> Duration {
        Duration::from_secs(1)
    }
}

fn line(json: &Json) -> Bytes {
    let mut text = spaced_json::to_string(json);
    text.push('\n');
    text.into()
}
