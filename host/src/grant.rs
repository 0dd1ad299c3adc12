//! Grants: what a manifest lets one component do. No grant, no access.

mod address;
mod dir;
mod env;
mod host;
mod listen;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::name::{FunctionName, ThingId};
use crate::topic::TopicFilter;
pub use address::{AddressPattern, Network};
pub use dir::{ClosedDirs, Dir};
pub use env::{Env, check_variable};
pub use host::HostPattern;
pub use listen::{Certificate, Listen};

/// Everything that one function or driver was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Topics that it may publish to.
    #[schema(value_type = Vec<String>)]
    pub publish: Vec<TopicFilter>,
    /// Topics whose messages a route may hand to it.
    #[schema(value_type = Vec<String>)]
    pub subscribe: Vec<TopicFilter>,
    pub things: ThingGrants,
    pub invoke: InvokeGrants,
    /// Hosts that it may send HTTP requests to.
    #[schema(value_type = Vec<String>)]
    pub http: Vec<HostPattern>,
    /// Addresses that a driver may connect to over TCP.
    #[schema(value_type = Vec<String>)]
    pub tcp: Vec<AddressPattern>,
    /// Addresses that a driver may exchange datagrams with.
    #[schema(value_type = Vec<String>)]
    pub udp: Vec<AddressPattern>,
    /// Addresses of this gateway that a driver may take connections on.
    #[schema(value_type = Vec<String>)]
    pub listen: Vec<Listen>,
    /// Directories of this gateway that it may read.
    pub dirs: Vec<Dir>,
    /// Whether it may ask for credentials of the cloud.
    pub credentials: bool,
    /// Whether a driver may ask for figures of the gateway and its machine.
    pub gateway_info: bool,
    /// Its environment variables; of those the API shows the names only.
    #[schema(value_type = Vec<String>, default = json!([]))]
    pub env: Env,
}

/// Functions that it may invoke, by the kind of the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InvokeGrants {
    #[schema(value_type = Vec<String>)]
    pub sync: Vec<FunctionPattern>,
    #[serde(rename = "async")]
    #[schema(value_type = Vec<String>)]
    pub asynchronous: Vec<FunctionPattern>,
}

/// What it may do with things; each pattern is `product/thing/member`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ThingGrants {
    #[schema(value_type = Vec<String>)]
    pub read: Vec<ThingPattern>,
    #[schema(value_type = Vec<String>)]
    pub write: Vec<ThingPattern>,
    #[schema(value_type = Vec<String>)]
    pub call: Vec<ThingPattern>,
}

/// `product/thing/member`, where each part is a name or `*`, and parts left out at the end are `*`.
/// The member is a property's or a service's identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ThingPattern([Option<String>; 3]);

/// `service/function`, where each part is a name or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionPattern([Option<String>; 2]);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("`{0}` is not a pattern of things: expected `product/thing/property`, where `*` stands for any")]
    Thing(String),
    #[error("`{0}` is not a pattern of functions: expected `service/function`, where `*` stands for any")]
    Function(String),
    #[error(
        "`{0}` is not a host: expected `host`, `host:port` or `http://host:port`; without a scheme it is https, and `*.` stands for any name below"
    )]
    Host(String),
    #[error(
        "`{0}` is not an address: expected `address:port`, as in `192.168.1.20:502`, `192.168.1.0/24:502`, `[fd00::1]:502` or `127.0.0.1:*`"
    )]
    Address(String),
    #[error("`{0}` is not an address or a network: expected one as in `192.168.1.20`, `192.168.1.0/24` or `fd00::/8`, without a port")]
    Network(String),
}

/// A call that no grant covers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not granted: {grant} `{what}`; add it to the grants of `{who}` in ledge.toml and deploy again")]
pub struct Denied {
    pub who: String,
    /// The grant as the manifest spells it, as in `things.write`.
    pub grant: &'static str,
    pub what: String,
}

impl Grants {
    pub fn may_publish(&self, topic: &str) -> bool {
        self.publish.iter().any(|filter| filter.matches(topic))
    }

    pub fn may_subscribe(&self, topic: &str) -> bool {
        self.subscribe.iter().any(|filter| filter.matches(topic))
    }

    pub fn may_invoke(&self, name: &FunctionName) -> bool {
        self.invoke.sync.iter().any(|pattern| pattern.matches(name))
    }

    pub fn may_invoke_async(&self, name: &FunctionName) -> bool {
        self.invoke.asynchronous.iter().any(|pattern| pattern.matches(name))
    }

    /// What holds for whoever listens on this address. An entry with conditions holds where a plain one covers the address too.
    pub fn listening(&self, address: SocketAddr) -> Option<&Listen> {
        let covering = || self.listen.iter().filter(|entry| entry.address.matches(address));
        covering().find(|entry| !entry.is_plain()).or_else(|| covering().next())
    }
}

impl ThingGrants {
    pub fn may_read(&self, id: &ThingId, property: &str) -> bool {
        covers(&self.read, id, property)
    }

    /// Whether anything of the thing may be read.
    pub fn may_read_of(&self, id: &ThingId) -> bool {
        self.read.iter().any(|pattern| pattern.matches_thing(id))
    }

    pub fn may_write(&self, id: &ThingId, property: &str) -> bool {
        covers(&self.write, id, property)
    }

    pub fn may_call(&self, id: &ThingId, service: &str) -> bool {
        covers(&self.call, id, service)
    }

    /// Whether any of the grants is about this thing, so that it may be listed.
    pub fn may_see(&self, id: &ThingId) -> bool {
        [&self.read, &self.write, &self.call].into_iter().flatten().any(|pattern| pattern.matches_thing(id))
    }
}

fn covers(patterns: &[ThingPattern], id: &ThingId, member: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches_thing(id) && part(&pattern.0[2], member))
}

/// `None` is the wildcard.
fn part(pattern: &Option<String>, name: &str) -> bool {
    pattern.as_ref().is_none_or(|wanted| wanted == name)
}

impl ThingPattern {
    fn matches_thing(&self, id: &ThingId) -> bool {
        part(&self.0[0], &id.product_key) && part(&self.0[1], &id.device_name)
    }
}

impl FunctionPattern {
    fn matches(&self, name: &FunctionName) -> bool {
        part(&self.0[0], name.service_name()) && part(&self.0[1], name.function())
    }
}

fn parse_part(text: &str) -> Option<Option<String>> {
    match text {
        "*" => Some(None),
        "" => None,
        // `+` and `#` are of topics: here they would be names that nothing has.
        name if name.contains(['*', '/', '+', '#']) => None,
        name => Some(Some(name.to_owned())),
    }
}

impl FromStr for ThingPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = || PatternError::Thing(text.to_owned());
        let mut parts = text.splitn(3, '/');
        let first = parse_part(parts.next().unwrap_or_default()).ok_or_else(wrong)?;
        let mut rest = [None, None];
        for (slot, part) in rest.iter_mut().zip(parts) {
            *slot = parse_part(part).ok_or_else(wrong)?;
        }
        let [second, third] = rest;
        Ok(Self([first, second, third]))
    }
}

impl FromStr for FunctionPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = || PatternError::Function(text.to_owned());
        // Versions and aliases are not told apart: whoever may call a function may call each of them.
        let (service, function) = text.split_once('/').filter(|(service, _)| !service.contains('.')).ok_or_else(wrong)?;
        Ok(Self([parse_part(service).ok_or_else(wrong)?, parse_part(function).ok_or_else(wrong)?]))
    }
}

fn write_parts(f: &mut fmt::Formatter<'_>, parts: &[Option<String>]) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        let slash = if at == 0 { "" } else { "/" };
        write!(f, "{slash}{}", part.as_deref().unwrap_or("*"))?;
    }
    Ok(())
}

impl fmt::Display for ThingPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_parts(f, &self.0)
    }
}

impl fmt::Display for FunctionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_parts(f, &self.0)
    }
}

macro_rules! text_form {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = PatternError;

            fn try_from(text: String) -> Result<Self, PatternError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(pattern: $name) -> Self {
                pattern.to_string()
            }
        }
    )*};
}

text_form!(ThingPattern, FunctionPattern, HostPattern, AddressPattern, Network);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_names_and_no_more() {
        let lamp = ThingId::new("a1Light", "lamp-1");
        let grants =
            ThingGrants { read: vec!["a1Light/*/LightSwitch".parse().unwrap()], write: vec!["a1Light".parse().unwrap()], call: vec![] };
        assert!(grants.may_read(&lamp, "LightSwitch"));
        assert!(!grants.may_read(&lamp, "Other"));
        assert!(!grants.may_read(&ThingId::new("a1Other", "lamp-1"), "LightSwitch"));
        assert!(grants.may_write(&lamp, "Other"));
        assert!(!grants.may_call(&lamp, "turn"));
        assert!(grants.may_see(&lamp));
        assert!(!grants.may_see(&ThingId::new("a1Other", "lamp-1")));
    }

    #[test]
    fn a_wrong_pattern_is_refused() {
        for wrong in ["", "a//b", "a/b*", "a/b/c/d", "a/+/*"] {
            assert!(wrong.parse::<ThingPattern>().is_err(), "{wrong}");
        }
        for wrong in ["", "a", "a/", "a/b/c", "a*/b"] {
            assert!(wrong.parse::<FunctionPattern>().is_err(), "{wrong}");
        }
    }

    /// What is read is written so that it is read again as the same.
    fn round_trip<T: FromStr + fmt::Display + PartialEq + fmt::Debug>(text: &str) {
        if let Ok(pattern) = text.parse::<T>() {
            assert_eq!(pattern.to_string().parse::<T>().ok(), Some(pattern), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_pattern_survives_being_written_and_read(
            things in "([a-z1*]{1,3}/?){1,4}|.{0,20}",
            function in "[a-z*]{1,3}/[a-z*]{1,3}|.{0,20}",
            host in r"(https?://)?(\*\.)?[a-z0-9.]{1,12}(:[0-9]{1,6})?|(http://)?\[[0-9a-f:]{1,8}\](:[0-9]{1,5})?|.{0,20}",
            address in r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?:([0-9]{1,5}|\*)|\[[0-9a-f:]{2,9}\](/[0-9]{1,3})?:[0-9*]{1,5}|.{0,20}",
        ) {
            round_trip::<ThingPattern>(&things);
            round_trip::<FunctionPattern>(&function);
            round_trip::<HostPattern>(&host);
            round_trip::<AddressPattern>(&address);
        }
    }
}
