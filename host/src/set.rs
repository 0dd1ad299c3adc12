//! A set: everything that one deployment puts on a gateway.
//!
//! `C` says what a component is at this point of its way: a `Source` in a project, a [`Digest`] once it is built.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::grant::Grants;
use crate::limit::Limits;
use crate::name::{FunctionName, check_thing};
pub use crate::schedule::Schedule;
use crate::topic::{TopicError, TopicFilter};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set<C = Digest> {
    pub products: Vec<Product>,
    pub things: Vec<Thing>,
    pub drivers: Vec<Driver<C>>,
    pub functions: Vec<Function<C>>,
    pub routes: Vec<Route>,
    #[serde(default = "Vec::new")]
    pub rules: Vec<Rule>,
}

/// Nothing.
impl<C> Default for Set<C> {
    fn default() -> Self {
        Self { products: vec![], things: vec![], drivers: vec![], functions: vec![], routes: vec![], rules: vec![] }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    pub key: String,
    /// What people call it; the key if it was not given.
    pub name: String,
    /// The TSL, as the JSON text that the project holds.
    pub tsl: String,
    /// The TSL extension (FACTS 3.2), as JSON text.
    pub tsl_ext: Option<String>,
    /// What the history of each of its things may take on disk. Within [`HISTORY_BYTES`](crate::limit::HISTORY_BYTES); 0 keeps none.
    #[serde(default = "history_bytes")]
    pub history_bytes: u32,
}

fn history_bytes() -> u32 {
    crate::limit::HISTORY_BYTES_USUAL
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thing {
    pub product_key: String,
    pub device_name: String,
    pub driver: String,
    pub local_name: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// A JSON object for the driver.
    pub custom: Option<serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver<C = Digest> {
    pub name: String,
    pub component: C,
    /// The member `config` of the driver's configuration (FACTS 3.1): an object with `json`, `kv` or `fileList`.
    pub config: Option<serde_json::Value>,
    /// The files that `config.fileList` names, which the driver can read.
    #[serde(default = "Vec::new")]
    pub files: Vec<ConfigFile<C>>,
    pub limits: Limits,
    pub grants: Grants,
}

/// A file of a driver's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile<C = Digest> {
    /// Where the driver finds it, as in `maps/device_config.json` ([`check_config_path`]).
    pub path: String,
    pub content: C,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function<C = Digest> {
    pub name: FunctionName,
    pub component: C,
    pub limits: Limits,
    /// Shared with whatever runs under them: a gateway may have a thousand functions.
    pub grants: Arc<Grants>,
    /// Calls that one instance may take, one after another. 0: each call has a fresh one.
    #[serde(default)]
    pub reuse: u32,
    /// Whether calls have instances of their own, or all one that lives as long as the function is deployed.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of its async invocations, where the manifest says so.
    #[serde(default, rename = "async")]
    pub asynchronous: Option<Arc<Asynchronous>>,
    /// What invokes it by the clock.
    #[serde(default)]
    pub timers: Vec<Timer>,
    /// How it is seen, when it is deployed, that it works.
    #[serde(default)]
    pub health: Option<Health>,
    /// What makes it answer HTTP requests, for a component that exports `wasi:http/incoming-handler`.
    #[serde(default)]
    pub http: Option<HttpTrigger>,
}

/// How a function runs (manual 2.3, 运行模式).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// An instance for each call, or for some (`reuse`).
    #[default]
    OnDemand,
    /// One instance, which is started with the gateway and takes one call at a time.
    Persistent,
}

/// What becomes of async invocations of a function that fail, and who is told how they end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asynchronous {
    /// Tries in all. Within [`ATTEMPTS`](crate::limit::ATTEMPTS).
    pub attempts: u32,
    /// Seconds before the second try, the third, and so on; the last one repeats.
    pub backoff_s: Vec<u32>,
    /// Seconds after which it is not tried any more.
    pub age_max_s: u32,
    pub on_success: Option<Destination>,
    pub on_failure: Option<Destination>,
}

impl Default for Asynchronous {
    fn default() -> Self {
        Self { attempts: 5, backoff_s: vec![1, 5, 30, 120], age_max_s: 6 * 60 * 60, on_success: None, on_failure: None }
    }
}

/// How it is seen that a function which was just deployed works. One that does not goes back to what was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What it is called with before it takes the place of the old one.
    pub event: Option<String>,
    /// The result that it must then have; without it any result does.
    pub expect: Option<String>,
    /// If all of its first calls fail, so many, it goes back. 0: it does not. At most [`FIRST_CALLS_MAX`](crate::limit::FIRST_CALLS_MAX).
    pub first_calls: u32,
}

/// Invokes a function by the clock. Its ticks are async invocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timer {
    /// Of its function's own.
    pub name: String,
    pub schedule: Schedule,
    /// For the event's member `payload`.
    pub payload: String,
    pub missed: Missed,
}

/// What becomes of ticks while the gateway was down, and of those that come while the last one still runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    Skip,
    /// The last of them runs, as soon as it can.
    #[default]
    RunOnce,
}

/// Who is told how an async invocation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    Function(FunctionName),
    Topic(String),
}

/// Requests to the HTTP listener whose path is `prefix`, or lies below it, are this function's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTrigger {
    /// Begins with a slash, and ends with none; `/` alone takes whatever no other prefix takes.
    pub prefix: String,
    pub auth: HttpAuth,
    /// The methods that it answers; with none all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
}

impl HttpTrigger {
    pub fn takes(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|own| own == method)
    }
}

/// Who may send requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HttpAuth {
    /// Users, as for invocations.
    #[default]
    User,
    Anonymous,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"source": {"device": "/a1LightSensor/sensor-1"}, "topic": "property", "target": "EdgeFC/light-monitor", "qos": 0}))]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub source: RouteSource,
    pub topic: RouteTopic,
    /// The function that is invoked.
    pub target: FunctionName,
    #[serde(default)]
    pub qos: Qos,
}

impl Route {
    /// Whether the other one joins the same, with another QoS perhaps: then it takes the place of this one.
    pub fn is_between_the_same(&self, other: &Self) -> bool {
        self.source == other.source && self.topic == other.topic && self.target == other.target
    }
}

/// What happens to a message between a route and its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Qos {
    /// It is invoked once, or not at all where the gateway ends before, or is full.
    #[default]
    AtMostOnce,
    /// It is on disk before its publisher is told that it was taken, and is invoked at least once.
    AtLeastOnce,
}

impl PartialSchema for Qos {
    fn schema() -> RefOr<Schema> {
        let numbers = ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([0, 1]));
        numbers.description(Some("0: at most once; 1: at least once, on disk before it is acknowledged")).into()
    }
}

impl ToSchema for Qos {}

impl TryFrom<u8> for Qos {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            _ => Err("QoS is 0 or 1"),
        }
    }
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteSource {
    /// `/product/thing`, `/product/+` or `#` (FACTS 4).
    Device(TopicFilter),
    Function(FunctionName),
    /// What an automation rule publishes, by the rule's name.
    Rule(String),
}

impl fmt::Display for RouteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(filter) => write!(f, "device {filter}"),
            Self::Function(name) => write!(f, "function {name}"),
            Self::Rule(name) => write!(f, "rule {name}"),
        }
    }
}

/// An automation rule (规则计算, FACTS 6.7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// 1 to 30 letters, digits, `_` and `-`.
    pub name: String,
    /// 100 characters at most.
    #[serde(default)]
    pub description: String,
    /// `{"type": "IFTTT", "trigger", "condition", "action"}`.
    pub rule: serde_json::Value,
    /// Whether it is on when it is deployed first, or when this changes. After that `ledge rule enable` and `disable` say.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What happens to its actions when the gateway ends before they ran. Those with a delay are on disk in any case.
    #[serde(default)]
    pub qos: Qos,
    /// How often it may run in a second. What is more does not run. Within [`RUNS_PER_S`](crate::limit::RUNS_PER_S).
    #[serde(default = "runs_per_s")]
    pub runs_per_s: u32,
}

fn yes() -> bool {
    true
}

fn runs_per_s() -> u32 {
    crate::limit::RUNS_PER_S_USUAL
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteTopic {
    All,
    /// Property reports only.
    Property,
    Filter(TopicFilter),
}

impl RouteTopic {
    /// Parses what people write: `all`, `property`, or a filter.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        match text {
            "all" => Ok(Self::All),
            "property" => Ok(Self::Property),
            filter => filter.parse().map(Self::Filter),
        }
    }
}

impl fmt::Display for RouteTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Property => f.write_str("property"),
            Self::Filter(filter) => f.write_str(filter.as_str()),
        }
    }
}

/// Checks the source of a route that takes messages of devices (FACTS 4).
pub fn check_device_source(text: &str) -> Result<(), String> {
    let wrong = || format!("`{text}` names no devices; expected `/product/thing`, `/product/+` or `#`");
    if text == "#" {
        return Ok(());
    }
    let (product, thing) = text.strip_prefix('/').and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
    if thing != "+" {
        check_thing(thing).map_err(|_| wrong())?;
    }
    check_thing(product).map_err(|_| wrong())
}

/// Checks the path of a file of a driver's configuration: below where the driver is, and nowhere else.
pub fn check_config_path(path: &str) -> Result<(), String> {
    let is_plain = |segment: &str| {
        let letter = |c: char| c.is_alphanumeric() || "-._ ".contains(c);
        !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(letter)
    };
    if path.len() <= CONFIG_PATH_BYTES_MAX && path.split('/').all(is_plain) {
        return Ok(());
    }
    Err(format!(
        "`{}` is no path of a configuration file; expected one like `maps/device_config.json`, below the project",
        path.escape_debug()
    ))
}

/// The longest path of a file of a driver's configuration, in bytes.
const CONFIG_PATH_BYTES_MAX: usize = 128;

/// The first segments of the API's own paths (`api::router`), which no prefix may take, so that a function is never taken for the API.
const RESERVED: [&str; 5] = ["auth", "thing", "ledge", "2020-04-30", "2016-08-15"];

/// Whether a path is one of the API's own, or would be.
pub fn is_reserved(path: &str) -> bool {
    let first = path.strip_prefix('/').and_then(|rest| rest.split('/').next()).unwrap_or_default();
    RESERVED.contains(&first)
}

/// Checks the path prefix of an HTTP trigger.
pub fn check_http_prefix(prefix: &str) -> Result<(), String> {
    if prefix == "/" {
        return Ok(());
    }
    let wrong = || {
        format!("`{prefix}` is no path prefix; expected `/`, or one like `/shop/orders`, of plain segments and without a `/` at its end")
    };
    let segments = prefix.strip_prefix('/').ok_or_else(wrong)?;
    let is_plain = |segment: &str| {
        let letter = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(letter)
    };
    if !segments.split('/').all(is_plain) || prefix.len() > HTTP_PREFIX_BYTES_MAX {
        return Err(wrong());
    }
    let first = segments.split('/').next().unwrap_or_default();
    if RESERVED.contains(&first) {
        Err(format!("`{prefix}` is a path of the gateway's own API; choose another first segment than `{first}`"))
    } else {
        Ok(())
    }
}

/// The longest prefix of an HTTP trigger, in bytes.
const HTTP_PREFIX_BYTES_MAX: usize = 128;

/// SHA-256 of a component, as 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(String);

impl Digest {
    pub fn of(component: &[u8]) -> Self {
        ring::digest::digest(&ring::digest::SHA256, component).into()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<ring::digest::Digest> for Digest {
    fn from(digest: ring::digest::Digest) -> Self {
        use std::fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in digest.as_ref() {
            write!(text, "{byte:02x}").expect("a String takes every write");
        }
        Self(text)
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // It becomes part of a path: nothing but hex may pass.
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text))
        } else {
            Err("a digest is 64 lower-case hex digits")
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_prefix_that_is_taken_is_plain_and_none_of_the_gateways_own(
            prefix in "(/[a-z0-9.~%_-]{0,6}){0,4}/?|/(ledge|thing|2020-04-30|service|gateway)(/[a-z]{0,3})?|.{0,140}",
        ) {
            if check_http_prefix(&prefix).is_ok() {
                proptest::prop_assert!(prefix == "/" || (prefix.starts_with('/') && !prefix.ends_with('/') && !prefix.contains("//")));
                let segments: Vec<&str> = prefix.split('/').skip(1).collect();
                proptest::prop_assert!(!segments.contains(&"..") && !segments.contains(&".") && !RESERVED.contains(&segments[0]));
                proptest::prop_assert!(prefix.len() <= HTTP_PREFIX_BYTES_MAX && prefix.is_ascii());
            }
        }
    }
}
