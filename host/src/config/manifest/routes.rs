//! `[[routes]]`: which published message starts which function.
//!
//! Functions need not be declared here: a route may join what an earlier deployment brought.

use super::reader::Value;
use crate::name::check_rule;
use crate::set::{Qos, Route, RouteSource, RouteTopic, check_device_source};
use crate::topic::TopicFilter;

pub fn read(list: &Value<'_>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for item in list.array().unwrap_or_default() {
        let Some(route) = route(&item) else { continue };
        if routes.iter().any(|other| other.is_between_the_same(&route)) {
            item.error("this route is there twice; delete one of them");
        } else {
            routes.push(route);
        }
    }
    routes
}

fn route(item: &Value<'_>) -> Option<Route> {
    let table = item.table(&["source", "topic", "target", "qos"])?;
    let source = table.required("source").and_then(|value| source(&value));
    let topic = table.required("topic").and_then(|value| topic(&value));
    let target = table.required("target").and_then(|value| value.table(&["function"])?.required("function")?.parsed());
    let qos = table.optional("qos").map_or(Some(0), |value| value.integer(0..=1)).and_then(|number: u8| Qos::try_from(number).ok());
    Some(Route { source: source?, topic: topic?, target: target?, qos: qos? })
}

fn source(value: &Value<'_>) -> Option<RouteSource> {
    if value
        .raw()
        .and_then(|raw| raw.as_table())
        .is_some_and(|table| table.keys().any(|key| ["cloud", "IotHub"].contains(&&**key.get_ref())))
    {
        value.error("messages of the cloud are not here yet: there is no connection to one");
        return None;
    }
    let keys = ["device", "function", "rule"];
    let (key, value) = value.table(&keys)?.exactly_one(&keys)?;
    match key {
        "function" => return value.parsed().map(RouteSource::Function),
        "rule" => return value.checked(check_rule).map(|name| RouteSource::Rule(name.to_owned())),
        _ => {}
    }
    let text = value.checked(check_device_source)?;
    text.parse().map_err(|err| value.error(err)).ok().map(RouteSource::Device)
}

fn topic(value: &Value<'_>) -> Option<RouteTopic> {
    match value.text()? {
        "all" => Some(RouteTopic::All),
        "property" => Some(RouteTopic::Property),
        _ => value.parsed::<TopicFilter>().map(RouteTopic::Filter),
    }
}
