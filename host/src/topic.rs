//! MQTT topics and filters: `+` stands for one level, `#` for all that follow.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::limit::TOPIC_BYTES_MAX;

/// A valid MQTT topic filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicFilter(String);

/// Why a text is not a topic or not a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    #[error("a topic may not be empty")]
    Empty,
    #[error("a topic has at most {TOPIC_BYTES_MAX} bytes")]
    TooLong,
    #[error("a topic may not contain a NUL character")]
    Nul,
    #[error("`+` and `#` are for filters: a message goes to one topic")]
    Wildcard,
    #[error("`+` must stand alone between slashes")]
    Plus,
    #[error("`#` must stand alone, at the end")]
    Hash,
}

impl TopicFilter {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `topic` matches. As in MQTT, `a/#` matches `a` too, and a leading wildcard does not match `$...`.
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            match (wanted, levels.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (name, Some(level)) if name == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

/// Checks that a message may be published to `topic`.
pub fn check_topic(topic: &str) -> Result<(), TopicError> {
    check_text(topic)?;
    if topic.contains(['+', '#']) { Err(TopicError::Wildcard) } else { Ok(()) }
}

fn check_text(text: &str) -> Result<(), TopicError> {
    match text {
        "" => Err(TopicError::Empty),
        long if long.len() > TOPIC_BYTES_MAX => Err(TopicError::TooLong),
        nul if nul.contains('\0') => Err(TopicError::Nul),
        _ => Ok(()),
    }
}

impl FromStr for TopicFilter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(TopicError::Hash);
            }
            if level.contains('+') && level != "+" {
                return Err(TopicError::Plus);
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TopicFilter {
    type Error = TopicError;

    fn try_from(text: String) -> Result<Self, TopicError> {
        text.parse()
    }
}

impl From<TopicFilter> for String {
    fn from(filter: TopicFilter) -> Self {
        filter.0
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// It is written as text.
impl PartialSchema for TopicFilter {
    fn schema() -> RefOr<Schema> {
        String::schema()
    }
}

impl ToSchema for TopicFilter {}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        filter.parse::<TopicFilter>().unwrap().matches(topic)
    }

    #[test]
    fn wildcards_match_as_mqtt_says() {
        assert!(matches("a/+/c", "a/b/c"));
        assert!(matches("a/#", "a/b/c"));
        assert!(matches("a/#", "a"));
        assert!(matches("#", "/a/b"));
        assert!(matches("/+/b", "/a/b"));
        assert!(!matches("a/+", "a"));
        assert!(!matches("a/+", "a/b/c"));
        assert!(!matches("+/b", "/a/b"));
        assert!(!matches("#", "$SYS/x"));
    }

    #[test]
    fn a_wrong_filter_is_refused_with_its_reason() {
        assert_eq!("a/#/b".parse::<TopicFilter>(), Err(TopicError::Hash));
        assert_eq!("a/b#".parse::<TopicFilter>(), Err(TopicError::Hash));
        assert_eq!("a/b+/c".parse::<TopicFilter>(), Err(TopicError::Plus));
        assert_eq!("".parse::<TopicFilter>(), Err(TopicError::Empty));
        assert_eq!("x".repeat(257).parse::<TopicFilter>(), Err(TopicError::TooLong));
        assert_eq!(check_topic("a/+"), Err(TopicError::Wildcard));
    }

    /// The rules of MQTT, written as slowly as they read.
    fn reference(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            (["+", filter @ ..], [_, topic @ ..]) => reference(filter, topic),
            ([level, filter @ ..], [same, topic @ ..]) => level == same && reference(filter, topic),
            ([], []) => true,
            _ => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn a_filter_matches_what_the_rules_say(filter in "[ab+/$]{0,8}(/#)?", topic in "[ab/$]{1,8}") {
            let Ok(parsed) = filter.parse::<TopicFilter>() else { return Ok(()) };
            let (wanted, given): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), topic.split('/').collect());
            let is_hidden = topic.starts_with('$') && ["+", "#"].contains(&wanted[0]);
            proptest::prop_assert_eq!(parsed.matches(&topic), !is_hidden && reference(&wanted, &given));
        }

        #[test]
        fn any_text_is_a_filter_or_is_refused(text in ".{0,300}") {
            if let Ok(filter) = text.parse::<TopicFilter>() {
                proptest::prop_assert_eq!(filter.to_string().parse::<TopicFilter>(), Ok(filter));
            }
            let _ = check_topic(&text);
        }
    }
}
