//! Hosts of the grant `http`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PatternError;

/// `[http://|https://]host[:port]`; without a scheme it is https. A host that begins with `*.` stands for every name below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    is_tls: bool,
    /// In lower case; an IPv6 address keeps its brackets.
    host: String,
    port: u16,
}

impl HostPattern {
    /// `host` as a URL has it, in any case.
    pub fn matches(&self, is_tls: bool, host: &str, port: u16) -> bool {
        self.is_tls == is_tls && self.port == port && self.matches_host(&host.to_ascii_lowercase())
    }

    /// Whether it stands for every name below one.
    pub fn is_wildcard(&self) -> bool {
        self.host.starts_with('*')
    }

    fn matches_host(&self, host: &str) -> bool {
        match self.host.strip_prefix('*') {
            // The pattern's own dot stays: `*.a.example` covers no `ba.example`.
            Some(below) => host.len() > below.len() && host.ends_with(below),
            None => self.host == host,
        }
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        parse(text).ok_or_else(|| PatternError::Host(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<HostPattern> {
    let (is_tls, authority) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some(_) => return None,
        None => (true, text),
    };
    let port_starts = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    let (host, port) = match port_starts {
        Some(colon) => (&authority[..colon], authority[colon + 1..].parse().ok()?),
        None => (authority, if is_tls { 443 } else { 80 }),
    };
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_name = !name.is_empty()
        && name.split('.').all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    let is_ip6 = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    (is_name || (is_ip6 && name == host)).then(|| HostPattern { is_tls, host: host.to_ascii_lowercase(), port })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_covers_what_it_names_and_no_more() {
        let covers = |pattern: &str, is_tls, host, port| {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.to_string().parse::<HostPattern>().unwrap(), pattern);
            pattern.matches(is_tls, host, port)
        };
        assert!(covers("api.example.com", true, "API.example.com", 443));
        assert!(!covers("api.example.com", false, "api.example.com", 80));
        assert!(!covers("api.example.com", true, "api.example.com.evil.org", 443));
        assert!(covers("http://10.0.0.5:8080", false, "10.0.0.5", 8080));
        assert!(covers("*.example.com", true, "a.b.example.com", 443));
        assert!(!covers("*.example.com", true, "example.com", 443));
        assert!(!covers("*.example.com", true, "badexample.com", 443));
        assert!(covers("http://[::1]:80", false, "[::1]", 80));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for wrong in ["", "ftp://a", "a/b", "http://", "a:b", "*", "*.", "a..b", "[::1", "*.[::1]", "user@host", "http://a:99999"] {
            assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
        }
    }
}
