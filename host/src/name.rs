//! The names of functions, things and drivers, parsed once at the edge.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// `service/function`, as in `EdgeFC/helloworld`. Cheap to clone: every call does, some times.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct FunctionName {
    text: Arc<str>,
    slash: usize,
}

/// One device: the product's key and the device's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ThingId {
    pub product_key: String,
    pub device_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name of this kind: {1}")]
pub struct NameError(pub String, pub &'static str);

const FUNCTION_RULE: &str = "expected `service/function`, each a letter and then letters, digits, `_` and `-`, 128 at most";
const ALIAS_RULE: &str = "expected a letter and then letters, digits, `_` and `-`, 128 at most, and not `LATEST`";
const ARN_RULE: &str = "expected `service:SERVICE:function:FUNCTION`, or `acs:fc:REGION:ACCOUNT:` before it";
const DRIVER_RULE: &str = "expected a letter and then letters, digits and `_`, 20 at most";
const TIMER_RULE: &str = "expected a letter and then letters, digits, `_` and `-`, 128 at most";
const RULE_RULE: &str = "expected 1 to 30 letters, digits, `_` and `-`";
const THING_RULE: &str = "expected 1 to 64 letters, digits and `_ - . @ :`";

impl FunctionName {
    /// `service` may have a qualifier, a version's number or an alias, as in `EdgeFC.2` and `EdgeFC.live`.
    pub fn new(service: &str, function: &str) -> Result<Self, NameError> {
        let (base, qualifier) = service.split_once('.').map_or((service, None), |(base, qualifier)| (base, Some(qualifier)));
        let (service, qualifier) = if qualifier == Some(LATEST) { (base, None) } else { (service, qualifier) };
        let is_known = qualifier.is_none_or(|qualifier| is_fc_name(qualifier) || is_version(qualifier));
        if !is_fc_name(base) || !is_known || !is_fc_name(function) {
            return Err(NameError(format!("{service}/{function}"), FUNCTION_RULE));
        }
        Ok(Self::of(service, function))
    }

    fn of(service: &str, function: &str) -> Self {
        Self { text: format!("{service}/{function}").into(), slash: service.len() }
    }

    /// With its qualifier, if there is one.
    pub fn service(&self) -> &str {
        &self.text[..self.slash]
    }

    pub fn function(&self) -> &str {
        &self.text[self.slash + 1..]
    }

    /// The number of a version, or an alias, if there is one.
    pub fn qualifier(&self) -> Option<&str> {
        self.service().split_once('.').map(|(_, qualifier)| qualifier)
    }

    /// The service without a qualifier.
    pub fn service_name(&self) -> &str {
        self.service().split_once('.').map_or(self.service(), |(base, _)| base)
    }

    /// The name without its qualifier.
    #[must_use]
    pub fn base(&self) -> Self {
        if self.qualifier().is_none() { self.clone() } else { Self::of(self.service_name(), self.function()) }
    }

    /// The name with this qualifier in place of its own.
    #[must_use]
    pub fn qualified(&self, qualifier: &str) -> Self {
        Self::of(&format!("{}.{qualifier}", self.service_name()), self.function())
    }

    /// Parses an ARN of the manual's Function Compute (FACTS 2.4), with or without its prefix.
    pub fn from_arn(arn: &str) -> Result<Self, NameError> {
        let wrong = || NameError(arn.to_owned(), ARN_RULE);
        let parts: Vec<&str> = arn.split(':').collect();
        let ["service", service, "function", function] = (match parts.as_slice() {
            ["acs", "fc", region, account, rest @ ..] => {
                let account_ok = account.is_empty() || (account.len() == 16 && account.bytes().all(|b| b.is_ascii_digit()));
                let region_ok = region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                if !account_ok || !region_ok {
                    return Err(wrong());
                }
                rest
            }
            rest => rest,
        }) else {
            return Err(wrong());
        };
        Self::new(service, function).map_err(|_| wrong())
    }
}

/// Checks a driver's name (FACTS 3.1).
pub fn check_driver(name: &str) -> Result<(), NameError> {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && letters && name.len() <= 20 {
        Ok(())
    } else {
        Err(NameError(name.to_owned(), DRIVER_RULE))
    }
}

/// Checks the name of a timer.
pub fn check_timer(name: &str) -> Result<(), NameError> {
    if is_fc_name(name) { Ok(()) } else { Err(NameError(name.to_owned(), TIMER_RULE)) }
}

/// Checks the name of an automation rule (FACTS 6.7), which may be Chinese.
pub fn check_rule(name: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if (1..=30).contains(&name.chars().count()) && name.chars().all(allowed) { Ok(()) } else { Err(NameError(name.to_owned(), RULE_RULE)) }
}

/// Checks a product key, a device name or a local name.
pub fn check_thing(name: &str) -> Result<(), NameError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.@:".contains(&b);
    if (1..=64).contains(&name.len()) && name.bytes().all(allowed) { Ok(()) } else { Err(NameError(name.to_owned(), THING_RULE)) }
}

/// Checks the name of an alias: as a function's, and no number, which would be a version's.
pub fn check_alias(name: &str) -> Result<(), NameError> {
    if is_fc_name(name) && name != LATEST { Ok(()) } else { Err(NameError(name.to_owned(), ALIAS_RULE)) }
}

/// What Function Compute calls the version that is deployed and not published.
pub const LATEST: &str = "LATEST";

fn is_version(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0')
}

fn is_fc_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 128
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl FromStr for FunctionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (service, function) = text.split_once('/').ok_or_else(|| NameError(text.to_owned(), FUNCTION_RULE))?;
        Self::new(service, function)
    }
}

impl TryFrom<String> for FunctionName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

/// It is written as text.
impl PartialSchema for FunctionName {
    fn schema() -> RefOr<Schema> {
        String::schema()
    }
}

impl ToSchema for FunctionName {}

impl Serialize for FunctionName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl From<FunctionName> for Arc<str> {
    fn from(name: FunctionName) -> Self {
        name.text
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ThingId {
    pub fn new(product_key: impl Into<String>, device_name: impl Into<String>) -> Self {
        Self { product_key: product_key.into(), device_name: device_name.into() }
    }
}

impl fmt::Display for ThingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.product_key, self.device_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_read_with_and_without_its_prefix() {
        let name: FunctionName = "EdgeFC/helloworld".parse().unwrap();
        assert_eq!(FunctionName::from_arn("service:EdgeFC:function:helloworld").unwrap(), name);
        assert_eq!(FunctionName::from_arn("acs:fc:::service:EdgeFC:function:helloworld").unwrap(), name);
        assert_eq!(FunctionName::from_arn("acs:fc:cn-shanghai:1234567890123456:service:EdgeFC:function:helloworld").unwrap(), name);
        for wrong in [
            "",
            "helloworld",
            "service:EdgeFC:function:",
            "acs:fc::12:service:A:function:b",
            "service:1a:function:b",
            "service:a:function:b:c",
        ] {
            assert!(FunctionName::from_arn(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_path_segment_is_an_arn_of_a_function_or_is_refused(
            arn in "(acs:fc:[a-z0-9-]{0,4}:[0-9]{0,17}:)?(service|.):.{0,8}:(function|.):.{0,8}|.{0,40}",
        ) {
            if let Ok(name) = FunctionName::from_arn(&arn) {
                proptest::prop_assert_eq!(name.to_string().parse::<FunctionName>().unwrap(), name.clone());
                let short = format!("service:{}:function:{}", name.service(), name.function());
                proptest::prop_assert!(arn.ends_with(&short));
            }
        }
    }
}
