//! The protocol's messages as text: requests of both sides and their replies. Pure.
//!
//! Lenient where the original's own client is: text may end in NUL characters, and replies may have no `message`.

use std::collections::BTreeSet;

use ledge_sdk::serde_json::{self, Value as Json, json};
use ledge_sdk::value::Properties;
use ledge_sdk::{Fault, ThingId};

use crate::value;

pub const VERSION: &str = "1.0";
/// What the original says where all is well.
const SUCCESS: &str = "Success";

/// What a peer sent.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// With its message id; 0 if it has none.
    Request(u32, Request),
    /// The reply to one of our requests: its payload, or the fault that it says.
    Reply(u32, Result<Json, Fault>),
    /// Nothing that can be done; its sender is to be told.
    Wrong(u32, Fault),
}

#[derive(Debug, PartialEq)]
pub enum Request {
    Online(ThingId),
    Offline(ThingId),
    /// The values, and what is wrong with those that are left out.
    Properties(ThingId, Properties, Vec<String>),
    Event(ThingId, String, Properties),
}

pub fn parse(text: &str) -> Incoming {
    let message: Json = match serde_json::from_str(text.trim_end_matches('\0')) {
        Ok(message) => message,
        Err(error) => return Incoming::Wrong(0, Fault::new(Fault::INVALID_JSON, format!("the message is not JSON: {error}"))),
    };
    let (id, is_id) = match &message["messageId"] {
        Json::Null => (0, true),
        id => id.as_u64().and_then(|id| u32::try_from(id).ok()).map_or((0, false), |id| (id, true)),
    };
    let wrong = |why: String| Incoming::Wrong(id, Fault::new(Fault::INVALID_PARAM, why));
    match (&message["method"], &message["code"]) {
        (Json::Null, Json::Null) => wrong("the message has neither a `method`, as requests have, nor a `code`, as replies have".to_owned()),
        (Json::Null, code) => Incoming::Reply(id, reply_of(code, &message)),
        _ if !is_id => wrong(format!("`messageId` is {}; expected a whole number of 32 bits", message["messageId"])),
        (Json::String(method), _) => {
            if message["version"] != VERSION {
                return wrong(format!("`version` is {}; this gateway speaks \"{VERSION}\"", message["version"]));
            }
            request_of(method, &message["payload"]).map_or_else(wrong, |request| Incoming::Request(id, request))
        }
        (method, _) => wrong(format!("`method` is {method}; expected text")),
    }
}

fn request_of(method: &str, payload: &Json) -> Result<Request, String> {
    let known = ["onlineDevice", "offlineDevice", "reportProperty", "reportEvent"];
    if !known.contains(&method) {
        return Err(format!("there is no method `{}`; a device has {}", method.escape_debug(), known.join(", ")));
    }
    let text = |name: &str| payload[name].as_str().ok_or_else(|| format!("`payload.{name}` of `{method}` is missing or no text"));
    let thing = ThingId::new(text("productKey")?, text("deviceName")?);
    match method {
        "onlineDevice" => Ok(Request::Online(thing)),
        "offlineDevice" => Ok(Request::Offline(thing)),
        "reportProperty" => {
            let (values, wrong) = value::from_list(&payload["properties"], "properties")?;
            Ok(Request::Properties(thing, values, wrong))
        }
        _ => {
            // An event without outputs may leave them out.
            let outputs = match &payload["outputData"] {
                Json::Null => (Properties::new(), Vec::new()),
                list => value::from_list(list, "outputData")?,
            };
            match outputs {
                (outputs, wrong) if wrong.is_empty() => Ok(Request::Event(thing, text("identifier")?.to_owned(), outputs)),
                (_, wrong) => Err(wrong.join("; ")),
            }
        }
    }
}

fn reply_of(code: &Json, message: &Json) -> Result<Json, Fault> {
    match code.as_u64().and_then(|code| u32::try_from(code).ok()) {
        Some(0) => Ok(message["payload"].clone()),
        Some(code) => Err(Fault::new(code, message["message"].as_str().unwrap_or("it gave no reason"))),
        None => Err(wrong_reply(format!("its `code` is {code}; expected a whole number of 32 bits"))),
    }
}

/// For whoever asked: what a device has replied is no answer.
fn wrong_reply(why: String) -> Fault {
    Fault::new(Fault::INVALID_TYPE, format!("the device's reply is wrong: {why}"))
}

/// The values of a reply, of which none may be wrong.
pub fn values(list: &Json, name: &str) -> Result<Properties, Fault> {
    match value::from_list(list, name).map_err(wrong_reply)? {
        (values, wrongs) if wrongs.is_empty() => Ok(values),
        (_, wrongs) => Err(wrong_reply(wrongs.join("; "))),
    }
}

/// What was asked for, and is not in the reply.
pub fn missing(asked: &[String], values: &Properties) -> Vec<String> {
    let there: BTreeSet<&str> = values.iter().map(|property| property.identifier.as_str()).collect();
    asked.iter().filter(|identifier| !there.contains(identifier.as_str())).cloned().collect()
}

/// For whoever asked for what is missing.
pub fn without(missing: &[String]) -> Fault {
    wrong_reply(format!("it has no value of `{}`", missing.join("`, `")))
}

/// The reply to a peer's request.
pub fn reply(id: u32, done: &Result<(), Fault>) -> String {
    let (code, message) = match done {
        Ok(()) => (0, SUCCESS),
        Err(fault) => (fault.code, &*fault.message),
    };
    json!({"code": code, "message": message, "messageId": id, "payload": {}}).to_string()
}

/// A request to a peer about one of its devices; `more` is what its payload has besides.
pub fn request(id: u32, method: &str, thing: &ThingId, more: Json) -> String {
    let mut payload = json!({"productKey": thing.product_key, "deviceName": thing.device_name});
    if let (Json::Object(payload), Json::Object(more)) = (&mut payload, more) {
        payload.extend(more);
    }
    json!({"version": VERSION, "method": method, "messageId": id, "payload": payload}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lamp() -> ThingId {
        ThingId::new("a1", "lamp")
    }

    #[track_caller]
    fn wrong(text: &str, id: u32, code: u32, said: &str) {
        match parse(text) {
            Incoming::Wrong(found, fault) => {
                assert_eq!((found, fault.code), (id, code), "{fault}");
                assert!(fault.message.contains(said), "{fault}");
            }
            other => panic!("`{text}` was taken as {other:?}"),
        }
    }

    #[test]
    fn requests_of_devices_are_read() {
        let online = r#"{"version":"1.0","method":"onlineDevice","messageId":7,"payload":{"productKey":"a1","deviceName":"lamp"}}"#;
        assert_eq!(parse(online), Incoming::Request(7, Request::Online(lamp())));
        let report = r#"{"version":"1.0","method":"reportProperty","payload":{"productKey":"a1","deviceName":"lamp",
            "properties":[{"identifier":"On","type":"bool","value":1}]}}"#;
        assert_eq!(parse(report), Incoming::Request(0, Request::Properties(lamp(), [("On", 1)].into(), vec![])));
        let event = r#"{"version":"1.0","method":"reportEvent","messageId":4294967295,
            "payload":{"productKey":"a1","deviceName":"lamp","identifier":"fell"}}"#;
        assert_eq!(parse(event), Incoming::Request(u32::MAX, Request::Event(lamp(), "fell".into(), Properties::new())));
    }

    #[test]
    fn a_reply_may_end_in_nul_and_have_no_message() {
        let sent = parse("{\"code\":0,\"messageId\":3,\"payload\":{\"properties\":[]}}\0\0");
        assert_eq!(sent, Incoming::Reply(3, Ok(json!({"properties": []}))));
        assert_eq!(parse(r#"{"code":0,"messageId":3}"#), Incoming::Reply(3, Ok(Json::Null)));
        assert_eq!(parse(r#"{"code":100006,"messageId":3}"#), Incoming::Reply(3, Err(Fault::new(100_006, "it gave no reason"))));
        for code in ["\"fine\"", "-1", "4294967296", "0.5", "{}"] {
            let Incoming::Reply(3, Err(fault)) = parse(&format!(r#"{{"code":{code},"messageId":3}}"#)) else { panic!("it was taken") };
            assert_eq!(fault.code, Fault::INVALID_TYPE);
            assert!(fault.message.starts_with("the device's reply is wrong: its `code` is "), "{fault}");
        }
    }

    #[test]
    fn a_reply_that_answers_something_else_is_told_to_whoever_asked() {
        let asked = ["Pressure".to_owned(), "Level".to_owned()];
        let number = |identifier: &str| json!({"identifier": identifier, "type": "int", "value": 1});
        for (properties, wanted) in [
            (json!([number("Level"), number("Pressure")]), &[][..]),
            (json!([number("Zzz"), number("Level")]), &asked[..1]),
            (json!([number("Zzz")]), &asked),
            (json!([]), &asked),
        ] {
            assert_eq!(missing(&asked, &values(&properties, "properties").unwrap()), wanted, "{properties}");
        }
        let fault = without(&asked);
        assert_eq!(fault, Fault::new(Fault::INVALID_TYPE, "the device's reply is wrong: it has no value of `Pressure`, `Level`"));
        for (properties, said) in [
            (Json::Null, "`properties` is missing"),
            (json!({"Level": 1}), "`properties` is no list"),
            (json!([{"identifier": "Level"}]), "`Level` has no `value`"),
        ] {
            let fault = values(&properties, "properties").unwrap_err();
            assert!(fault.code == Fault::INVALID_TYPE && fault.message.contains("the device's reply is wrong: "), "{fault}");
            assert!(fault.message.contains(said), "{fault}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let thing = r#""payload":{"productKey":"a1","deviceName":"lamp"}"#;
        wrong("{", 0, Fault::INVALID_JSON, "not JSON");
        wrong(&"[".repeat(60_000), 0, Fault::INVALID_JSON, "recursion");
        wrong("7", 0, Fault::INVALID_PARAM, "neither");
        wrong(&format!(r#"{{"version":"2.0","method":"onlineDevice","messageId":5,{thing}}}"#), 5, Fault::INVALID_PARAM, "\"2.0\"");
        wrong(&format!(r#"{{"method":"onlineDevice","messageId":5,{thing}}}"#), 5, Fault::INVALID_PARAM, "`version` is null");
        wrong(&format!(r#"{{"version":"1.0","method":"dance","messageId":5,{thing}}}"#), 5, Fault::INVALID_PARAM, "no method `dance`");
        wrong(&format!(r#"{{"version":"1.0","method":"onlineDevice","messageId":-1,{thing}}}"#), 0, Fault::INVALID_PARAM, "`messageId`");
        wrong(r#"{"version":"1.0","method":"onlineDevice","messageId":5,"payload":[]}"#, 5, Fault::INVALID_PARAM, "productKey");
        let event = r#"{"version":"1.0","method":"reportEvent","messageId":5,"payload":{"productKey":"a1","deviceName":"lamp",
            "identifier":"fell","outputData":[{"identifier":"x"}]}}"#;
        wrong(event, 5, Fault::INVALID_PARAM, "`x` has no `value`");
    }

    #[test]
    fn what_is_sent_is_as_the_original_has_it() {
        let ok: Json = serde_json::from_str(&reply(9, &Ok(()))).unwrap();
        assert_eq!(ok, json!({"code": 0, "message": "Success", "messageId": 9, "payload": {}}));
        let refused: Json = serde_json::from_str(&reply(0, &Err(Fault::new(109_001, "offline")))).unwrap();
        assert_eq!(refused, json!({"code": 109_001, "message": "offline", "messageId": 0, "payload": {}}));
        let get: Json = serde_json::from_str(&request(1, "getProperty", &lamp(), json!({"properties": ["On"]}))).unwrap();
        let payload = json!({"productKey": "a1", "deviceName": "lamp", "properties": ["On"]});
        assert_eq!(get, json!({"version": "1.0", "method": "getProperty", "messageId": 1, "payload": payload}));
    }
}
