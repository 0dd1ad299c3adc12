//! The event of a function that a route starts: a message with its topic.

use serde_json::{Map, Value as Json};

use crate::value::{Properties, Value, WrongType};
use crate::{Error, ThingId};

/// A message that a route brought here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedMessage {
    /// Where it was published, as in `/sys/<product>/<device>/thing/event/property/post`.
    pub topic: String,
    /// The message as it was published; JSON text where a thing reported something.
    pub payload: String,
}

impl RoutedMessage {
    /// Takes an event apart: `{"topic": "...", "payload": "..."}`.
    pub fn parse(event: &[u8]) -> Result<Self, Error> {
        let event: Map<String, Json> = serde_json::from_slice(event)
            .map_err(|error| format!("the event is not a routed message: {error}; is this function called by a route?"))?;
        let topic =
            event.get("topic").and_then(Json::as_str).ok_or("the event has no text `topic`; is this function called by a route?")?;
        let payload = match event.get("payload") {
            Some(Json::String(text)) => text.clone(),
            // Some older gateways nest the payload instead of quoting it.
            Some(nested @ Json::Object(_)) => nested.to_string(),
            _ => return Err(format!("the event of topic `{topic}` has no text `payload`").into()),
        };
        Ok(Self { topic: topic.to_owned(), payload })
    }

    /// Which thing this is of, and the event that it reported by its identifier; `property` where it reported properties.
    pub fn thing_event(&self) -> Result<(ThingId, &str), Error> {
        let levels: Vec<&str> = self.topic.split('/').collect();
        match levels[..] {
            ["", "sys", product_key, device_name, "thing", "event", event, "post"] => Ok((ThingId::new(product_key, device_name), event)),
            _ => Err(format!("topic `{}` is of no report and no event of a thing", self.topic).into()),
        }
    }

    /// The value of a property in a report of properties, as [`Properties::get`] gives it.
    pub fn property<T>(&self, identifier: &str) -> Result<T, Error>
    where
        T: for<'v> TryFrom<&'v Value, Error = WrongType>,
    {
        Ok(self.properties()?.get(identifier).map_err(|error| self.wrong(error))?)
    }

    /// All values of a report of properties: `{"<property>": {"value": v, "time": ms}, ...}`.
    pub fn properties(&self) -> Result<Properties, Error> {
        let report = self.json()?;
        let value = |(identifier, reported): (&String, &Json)| Some((identifier.clone(), Value::from_json(reported.get("value")?)?));
        Ok(report.iter().filter_map(value).collect())
    }

    /// When a property was reported, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn time_ms(&self, identifier: &str) -> Result<u64, Error> {
        let report = self.json()?;
        let time = report.get(identifier).and_then(|reported| reported.get("time")).and_then(Json::as_u64);
        time.ok_or_else(|| self.wrong(format!("no time of `{identifier}`")).into())
    }

    /// All outputs of an event that a thing reported: `{"params": {"value": {...}, "time": ms}}`.
    pub fn outputs(&self) -> Result<Properties, Error> {
        let event = self.json()?;
        let outputs = event.get("params").and_then(|params| params.get("value")).and_then(Json::as_object);
        Ok(outputs.map(Properties::from_json).ok_or_else(|| self.wrong("no outputs of an event"))?)
    }

    fn json(&self) -> Result<Map<String, Json>, Error> {
        Ok(serde_json::from_str(&self.payload).map_err(|error| self.wrong(format!("the payload is not a JSON object: {error}")))?)
    }

    fn wrong(&self, what: impl std::fmt::Display) -> String {
        format!("in the message of topic `{}`: {what}", self.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &[u8] = br#"{"topic":"/sys/a1LightSensor/sensor-1/thing/event/property/post",
        "payload":"{\"MeasuredIlluminance\":{\"value\":200.1,\"time\":1565136000000}}"}"#;

    #[test]
    fn a_reported_property_is_had_with_its_time() {
        let message = RoutedMessage::parse(REPORT).unwrap();
        assert_eq!(message.topic, "/sys/a1LightSensor/sensor-1/thing/event/property/post");
        assert_eq!(message.thing_event().unwrap(), (ThingId::new("a1LightSensor", "sensor-1"), "property"));
        assert_eq!(message.property::<f32>("MeasuredIlluminance").unwrap(), 200.1);
        assert_eq!(message.time_ms("MeasuredIlluminance").unwrap(), 1_565_136_000_000);
    }

    #[test]
    fn a_payload_that_is_not_quoted_is_read_too() {
        let message = RoutedMessage::parse(br#"{"topic":"t","payload":{"A":{"value":true}}}"#).unwrap();
        assert!(message.property::<bool>("A").unwrap());
        assert_eq!(message.thing_event().unwrap_err().to_string(), "topic `t` is of no report and no event of a thing");
    }

    #[test]
    fn the_outputs_of_an_event_are_had() {
        let message =
            RoutedMessage::parse(br#"{"topic":"t","payload":"{\"params\":{\"value\":{\"LightSwitch\":1},\"time\":5}}"}"#).unwrap();
        assert_eq!(message.outputs().unwrap().get::<bool>("LightSwitch"), Ok(true));
    }

    #[test]
    fn an_error_says_what_is_missing() {
        let error = |event: &[u8]| RoutedMessage::parse(event).unwrap_err().to_string();
        assert!(error(b"hello").starts_with("the event is not a routed message"));
        assert!(error(b"{}").contains("`topic`"));
        assert_eq!(error(br#"{"topic":"t"}"#), "the event of topic `t` has no text `payload`");
        let message = RoutedMessage::parse(br#"{"topic":"t","payload":"{\"Other\":{\"value\":1}}"}"#).unwrap();
        let error = message.property::<f32>("MeasuredIlluminance").unwrap_err().to_string();
        assert_eq!(error, "in the message of topic `t`: no value of `MeasuredIlluminance`: there are only Other");
        let hello = RoutedMessage::parse(br#"{"topic":"t","payload":"Hello World."}"#).unwrap();
        assert!(hello.properties().unwrap_err().to_string().contains("not a JSON object"));
    }
}
