//! A function that calls on: its event is JSON and says whom.
//!
//! `{"path": ["S/f", "S/g"], "payload": "x"}` invokes the first of the path with the rest and returns its result; with an
//! empty path it returns the payload and its own context. With `"raw": "text"` the last of the path is called with that text. `{"async": ["S/f", ...], "payload": "x"}` invokes the
//! first asynchronously and returns the invocation's id. `{"publish": {"topic": "...", "payload": "..."}}` publishes.

use ledge_sdk::Error;
use ledge_sdk::fc::{self, Request};
use ledge_sdk::handler::Context;
use ledge_sdk::iot_data;
use ledge_sdk::serde_json::{self, Value as Json, json};

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, context: Context) -> Result<Vec<u8>, Error> {
    let event: Json = serde_json::from_slice(&event)?;
    if let Some(message) = event.get("publish") {
        let [topic, payload] = ["topic", "payload"].map(|key| message[key].as_str().unwrap_or_default());
        iot_data::publish(topic, payload)?;
        return Ok(b"published".into());
    }
    if let Some(path) = event["async"].as_array() {
        let request = next(path, &event)?.ok_or("`async` is empty")?;
        return Ok(fc::invoke_async(&request)?.into());
    }
    let path = event["path"].as_array().ok_or("the event has none of `path`, `async`, `publish`")?;
    match next(path, &event)? {
        Some(request) => fc::invoke(&request)?.into_result(),
        None => Ok(end(&event, &context).into()),
    }
}

/// The call of the first function of the path, which is told the rest of it.
fn next(path: &[Json], event: &Json) -> Result<Option<Request>, Error> {
    let Some((first, rest)) = path.split_first() else { return Ok(None) };
    let (service, function) = first.as_str().and_then(|name| name.split_once('/')).ok_or("a path consists of `service/function`")?;
    let raw = event["raw"].as_str().filter(|_| rest.is_empty());
    let payload = raw.map_or_else(|| json!({ "path": rest, "payload": event["payload"], "raw": event["raw"] }).to_string(), str::to_owned);
    Ok(Some(Request::new(service, function).payload(payload)))
}

fn end(event: &Json, context: &Context) -> String {
    json!({
        "payload": event["payload"],
        "deadline_ms": context.deadline_ms,
        "request_id": context.request_id,
        "function": format!("{}/{}", context.service, context.function),
    })
    .to_string()
}
