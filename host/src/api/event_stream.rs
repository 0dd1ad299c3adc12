//! Long answers: what things say, message by message, with heartbeats between. `/thing/device/events/get` (manual 3.4.6) has one JSON
//! text to a chunk; `later/watch.rs` is the other.
//!
//! A reader has a bounded queue. One that is too slow is told how many messages it missed, as the last thing, and holds up nobody.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use serde_json::{Map, Value as Json, json};

use super::caller::Caller;
use super::describe::v1;
use super::error::ApiError;
use super::thing::known;
use super::v1::{Params, in_any_case};
use super::{Api, spaced_json};
use crate::auth::{Auth, Rights, User};
use crate::bus::{Kind, Message, Source, Subscription};
use crate::name::ThingId;
use crate::shutdown::Shutdown;

/// How long a stream may be silent. The manual names no period; later versions of the original use one second.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Messages that may wait for one reader. A slower reader is cut.
const MESSAGES_WAITING_MAX: usize = 4_096;
/// How messages are written.
pub trait Lines: Send + 'static {
    fn heartbeat(&self) -> Bytes;
    fn message(&self, message: &Message) -> Option<Bytes>;
    fn cut(&self, missed: u64) -> Bytes;
    fn silence(&self) -> Duration;
}

/// What `wanted` picks, until the reader goes or is cut, the caller may no longer do what they might at first, or the gateway stops.
pub fn stream<W, L>(
    api: &Arc<Api>,
    caller: &Caller,
    wanted: W,
    lines: L,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<W, L>
where
    W: Fn(&Message) -> bool + Send + Sync + 'static,
    L: Lines,
{
    let messages = api.bus.subscribe(wanted, MESSAGES_WAITING_MAX);
    let (auth, user, shutdown) = (api.auth.clone(), caller.0.clone(), api.shutdown.clone());
    let reader = Reader { messages, auth, user, shutdown, lines, greeted: false, cut: false, next: None };
    futures_util::stream::unfold(reader, |mut reader| async move {
        let bytes = reader.next().await?;
        Some((Ok(bytes), reader))
    })
}

struct Reader<L> {
    messages: Subscription,
    auth: Auth,
    user: User,
    shutdown: Shutdown,
    lines: L,
    greeted: bool,
    cut: bool,
    /// It was waited for, and is not sent yet.
    next: Option<Arc<Message>>,
}

impl<L: Lines> Reader<L> {
    async fn next(&mut self) -> Option<Bytes> {
        // The first heartbeat tells the client that it is subscribed.
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(self.lines.heartbeat());
        }
        loop {
            // A stream may be open for days: rights and passwords change meanwhile.
            if self.cut || !self.auth.is_unchanged(&self.user) {
                return None;
            }
            if let Some(message) = self.next.take().or_else(|| self.messages.try_next()) {
                if let Some(bytes) = self.lines.message(&message) {
                    return Some(bytes);
                }
                continue;
            }
            // Whatever came before something was missed has been sent by now.
            if self.messages.missed() > 0 {
                self.cut = true;
                return Some(self.lines.cut(self.messages.missed()));
            }
            tokio::select! {
                message = self.messages.next() => self.next = Some(message?),
                () = tokio::time::sleep(self.lines.silence()) => return Some(self.lines.heartbeat()),
                () = self.shutdown.ordered() => return None,
            }
        }
    }
}

/// Subscribes to events (manual 3.4.6), and with `params.propertyReports` to reports of properties too. The answer does not end, and
/// a page that waits for its end shows nothing of it: subscribe with `curl -N`.
#[utoipa::path(
    post,
    path = "/thing/device/events/get",
    tag = "things (v1)",
    operation_id = "event_stream_get",
    security(("session" = ["events.read"])),
    request_body(content = v1::Request<v1::Subscription>, example = json!({"request": {"apiVer": "0.6"}, "params": {"eventInfo": [{"productKey": "a1LightSensor", "deviceName": "sensor-1", "eventIdentifier": []}], "propertyReports": true}})),
    responses((status = 200, body = v1::Message, description = "one after another, each in a chunk of its own, until the client goes")),
)]
pub async fn get(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<Response, ApiError> {
    let wishes = wishes(&api, &caller, &params)?;
    let with_reports = match params.get("propertyReports") {
        None => false,
        Some(Json::Bool(wanted)) => *wanted,
        Some(_) => return Err(ApiError::bad_request("`params.propertyReports` must be true or false")),
    };
    let rights = caller.0.rights.clone();
    let chunks = stream(&api, &caller, move |message| is_wanted(&wishes, with_reports, &rights, message), Events);
    Ok(([(CONTENT_TYPE, "application/json; charset=utf-8")], Body::from_stream(chunks)).into_response())
}

/// One wish of a subscriber: a thing, and its events by name, or all of them.
struct Wish {
    thing: ThingId,
    events: Vec<String>,
}

/// The manual spells the member both ways. An empty list wants everything.
fn wishes(api: &Api, caller: &Caller, params: &Params) -> Result<Vec<Wish>, ApiError> {
    let wrong = || ApiError::bad_request("`params.eventInfo` must be a list of {productKey, deviceName, eventIdentifier}");
    let list = params.get("eventInfo").and_then(Json::as_array).ok_or_else(wrong)?;
    let wish = |entry: &Json| {
        let entry = entry.as_object().ok_or_else(wrong)?;
        let text = |name: &str| in_any_case(entry, name).and_then(Json::as_str).ok_or_else(wrong);
        let thing = ThingId::new(text("productKey")?, text("deviceName")?);
        caller.covers(&api.audit, &thing.product_key)?;
        known(api, &thing, StatusCode::UNAUTHORIZED)?;
        let events = match in_any_case(entry, "eventIdentifier") {
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

fn is_wanted(wishes: &[Wish], with_reports: bool, rights: &Rights, message: &Message) -> bool {
    let Source::Thing(thing) = &message.source else { return false };
    let fits = |wish: &Wish| {
        wish.thing == *thing
            && match &message.kind {
                Kind::Event(event) => wish.events.is_empty() || wish.events.contains(event),
                _ => true,
            }
    };
    let is_of_kind = matches!(message.kind, Kind::Event(_)) || with_reports && message.kind == Kind::Properties;
    is_of_kind && if wishes.is_empty() { rights.covers(&thing.product_key) } else { wishes.iter().any(fits) }
}

/// One JSON text to a chunk.
struct Events;

impl Lines for Events {
    fn heartbeat(&self) -> Bytes {
        spaced_json::to_string(&json!({"code": 204, "message": "heartbeats", "data": null})).into()
    }

    /// An event in the form of the manual's sample, which is that of the original's bus (FACTS 5.1). A report has the form of an event of the
    /// name that the later API gives it.
    fn message(&self, message: &Message) -> Option<Bytes> {
        let Source::Thing(thing) = &message.source else { return None };
        let body: Json = serde_json::from_slice(message.payload.bytes()).ok()?;
        let (event, body) = match &message.kind {
            Kind::Event(event) => (event.as_str(), body),
            _ => ("propertiesChanged", as_event(&body)?),
        };
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
        let said = json!({"code": 200, "data": {"timestamp": "", "items": items}, "message": "success"});
        Some(spaced_json::to_string(&said).into())
    }

    fn cut(&self, missed: u64) -> Bytes {
        let message = format!("this reader was too slow and missed {missed} events: connect again");
        spaced_json::to_string(&json!({"code": 503, "message": message, "data": {"missed": missed}})).into()
    }

    fn silence(&self) -> Duration {
        HEARTBEAT
    }
}

/// `{"P": {"value": v, "time": t}}` as `{"params": {"value": {"P": v}, "time": t}}`.
fn as_event(report: &Json) -> Option<Json> {
    let report = report.as_object()?;
    let time = report.values().next()?["time"].clone();
    let values: Map<String, Json> = report.iter().map(|(name, it)| (name.clone(), it["value"].clone())).collect();
    Some(json!({"params": {"value": values, "time": time}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_has_the_manuals_52_bytes() {
        assert_eq!(Events.heartbeat().len(), 0x34);
    }
}
