//! `/thing/device/events/get` (manual 3.4.6): a long answer, one JSON text to a chunk, with heartbeats between.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::caller::Caller;
use super::error::ApiError;
use super::thing::known;
use super::v1::Params;
use super::{Api, spaced_json};
use crate::bus::{Kind, Message, Source, Subscription};
use crate::name::ThingId;
use crate::shutdown::Shutdown;

/// How long a stream may be silent. The manual names no period; later versions of the original use one second.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Events that may wait for one reader. A slower reader is cut.
const EVENTS_WAITING_MAX: usize = 1_024;

/// One wish of a subscriber: a thing, and its events by name, or all of them.
struct Wish {
    thing: ThingId,
    events: Vec<String>,
}

pub async fn get(State(api): State<Arc<Api>>, _: Caller, params: Params) -> Result<Response, ApiError> {
    let wishes = wishes(&api, &params)?;
    let events = api.bus.subscribe(move |message| is_wanted(&wishes, message), EVENTS_WAITING_MAX);
    let stream = Stream { events, shutdown: api.shutdown.clone(), greeted: false, cut: false };
    let chunks = futures_util::stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(chunk)), stream))
    });
    Ok(([(CONTENT_TYPE, "application/json; charset=utf-8")], Body::from_stream(chunks)).into_response())
}

/// The manual spells the member both ways. An empty list wants everything.
fn wishes(api: &Api, params: &Params) -> Result<Vec<Wish>, ApiError> {
    let wrong = || ApiError::bad_request("`params.eventInfo` must be a list of {productKey, deviceName, eventIdentifier}");
    let list = params.get("eventInfo").or_else(|| params.get("eventinfo")).and_then(Json::as_array).ok_or_else(wrong)?;
    let wish = |entry: &Json| {
        let text = |name: &str| entry.get(name).and_then(Json::as_str).ok_or_else(wrong);
        let thing = ThingId::new(text("productKey")?, text("deviceName")?);
        known(api, &thing, StatusCode::UNAUTHORIZED)?;
        let events = match entry.get("eventIdentifier") {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::Array(names)) => {
                names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        Ok(Wish { thing, events })
    };
    list.iter().map(wish).collect()
}

fn is_wanted(wishes: &[Wish], message: &Message) -> bool {
    let (Source::Thing(thing), Kind::Event(event)) = (&message.source, &message.kind) else { return false };
    let fits = |wish: &Wish| wish.thing == *thing && (wish.events.is_empty() || wish.events.contains(event));
    wishes.is_empty() || wishes.iter().any(fits)
}

struct Stream {
    events: Subscription,
    shutdown: Shutdown,
    greeted: bool,
    cut: bool,
}

impl Stream {
    /// The next chunk, or the end of the stream.
    async fn next(&mut self) -> Option<String> {
        if self.cut {
            return None;
        }
        // The first heartbeat tells the client that it is subscribed.
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(heartbeat());
        }
        if self.events.missed() > 0 {
            self.cut = true;
            let message = format!("this reader was too slow and missed {} events: connect again", self.events.missed());
            return Some(spaced_json::to_string(&json!({"code": 503, "message": message, "data": null})));
        }
        tokio::select! {
            event = self.events.next() => Some(chunk(&*event?)),
            () = tokio::time::sleep(HEARTBEAT) => Some(heartbeat()),
            () = self.shutdown.ordered() => None,
        }
    }
}

fn heartbeat() -> String {
    spaced_json::to_string(&json!({"code": 204, "message": "heartbeats", "data": null}))
}

/// An event in the form of the manual's sample, which is that of the original's bus (FACTS 5.1).
fn chunk(message: &Message) -> String {
    let (Source::Thing(thing), Kind::Event(event)) = (&message.source, &message.kind) else { return heartbeat() };
    let body: Json = serde_json::from_slice(message.payload.bytes()).unwrap_or_default();
    let items = json!({
        "productKey": thing.product_key,
        "deviceName": thing.device_name,
        "iotId": "",
        "eventBody": body,
        "eventType": event,
        "batchId": "",
        "eventName": event,
        "eventCode": "",
        "timestamp": "",
    });
    spaced_json::to_string(&json!({"code": 200, "data": {"timestamp": "", "items": items}, "message": "success"}))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_heartbeat_has_the_manuals_52_bytes() {
        assert_eq!(super::heartbeat().len(), 0x34);
    }
}
