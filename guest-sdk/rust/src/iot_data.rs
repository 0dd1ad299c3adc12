//! Messages and things, for functions (manual 2.2.1 to 2.2.5, `IoTData`).
//!
//! Every call needs a grant in `ledge.toml`, else it answers fault 110001. Every call ends by the invocation's deadline.

use std::ops::RangeInclusive;

use crate::bindings::function::ledge::edge::iot_data as wit;
use crate::value::Properties;
use crate::{Fault, ThingId};

/// A thing and the tags that it carries, in the order of their keys.
pub use wit::TaggedThing;

/// Reports of a thing, and the cursor of what follows, if there is more.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// In the order in which they came.
    pub reports: Vec<Report>,
    /// Where the next page begins.
    pub next: Option<u64>,
}

/// What a thing said at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Unix milliseconds.
    pub time_ms: u64,
    /// The event, unless these are properties.
    pub event: Option<String>,
    /// The properties, or the event's outputs.
    pub values: Properties,
}

/// Publishes a message to the gateway's other functions and, by route, to the cloud (manual 2.2.1).
///
/// `topic` has 1 to 256 bytes and no wildcards. Success says that the gateway has the message, not that anybody has
/// seen it. Grant: `publish`. Faults: 100001 (bad topic), 110001, 110002.
pub fn publish(topic: &str, payload: impl AsRef<[u8]>) -> Result<(), Fault> {
    wit::publish(topic, payload.as_ref())
}

/// Asks the thing's driver for these properties, now (manual 2.2.2). No identifiers: every property that can be read.
///
/// Grant: `things.read`. Faults: 109000 (no such thing), 109001 (offline), 109002 (no such property),
/// 109004 (write-only), 110001, 100006 (no answer in time).
pub fn get_thing_properties(product_key: &str, device_name: &str, identifiers: &[&str]) -> Result<Properties, Fault> {
    let identifiers: Vec<String> = identifiers.iter().map(|&identifier| identifier.to_owned()).collect();
    wit::get_thing_properties(&ThingId::new(product_key, device_name), &identifiers).map(Properties::from)
}

/// Sets all these properties, or none if the TSL refuses one of them (manual 2.2.3).
///
/// Grant: `things.write`. Faults: 109000, 109001, 109002, 109003 (read-only), 100007 (out of range),
/// 109008 (wrong type), 110001, 100006.
pub fn set_thing_properties(product_key: &str, device_name: &str, properties: impl Into<Properties>) -> Result<(), Fault> {
    let properties: Vec<_> = properties.into().into();
    wit::set_thing_properties(&ThingId::new(product_key, device_name), &properties)
}

/// Calls a service of the thing and returns its output (manual 2.2.4). `()` stands for no arguments.
///
/// Grant: `things.call`. Faults: 109000, 109001, 109005 (no such service), 109006 (bad argument), 110001, 100006.
pub fn call_thing_service(
    product_key: &str,
    device_name: &str,
    service: &str,
    arguments: impl Into<Properties>,
) -> Result<Properties, Fault> {
    let arguments: Vec<_> = arguments.into().into();
    wit::call_thing_service(&ThingId::new(product_key, device_name), service, &arguments).map(Properties::from)
}

/// What the thing reported from one time to another, in the order in which it came: a page of `reports_max` reports at most (1 to 1,000),
/// from the report with the number `cursor` on. The first page begins at 0, each other one at `next` of the page before.
///
/// Values and events that no grant `things.read` covers are left out.
/// Faults: 100001, 109000 (no such thing), 110001, 100005 (the disk cannot be read).
pub fn get_thing_history(
    product_key: &str,
    device_name: &str,
    times_ms: RangeInclusive<u64>,
    cursor: u64,
    reports_max: u32,
) -> Result<HistoryPage, Fault> {
    let (from_ms, to_ms) = times_ms.into_inner();
    let page = wit::get_thing_history(&ThingId::new(product_key, device_name), from_ms, to_ms, cursor, reports_max)?;
    let report = |report: wit::Report| Report { time_ms: report.time_ms, event: report.event, values: report.values.into() };
    Ok(HistoryPage { reports: page.reports.into_iter().map(report).collect(), next: page.next })
}

/// The things that carry every one of these tags, in the order of product key and device name (manual 2.2.5).
///
/// Only things that one of the `things` grants covers are listed. Faults: 100001, 110001.
pub fn get_things_with_tags(tags: &[(&str, &str)]) -> Result<Vec<TaggedThing>, Fault> {
    let tags: Vec<(String, String)> = tags.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    wit::get_things_with_tags(&tags)
}
