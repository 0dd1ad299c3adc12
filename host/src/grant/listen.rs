//! The grant `listen`: where a driver may take connections, and on what conditions.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{AddressPattern, Network, PatternError};

/// One entry: an address alone as text, or with its conditions as a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct Listen {
    pub address: AddressPattern,
    /// The gateway speaks TLS there; the driver sees what is inside.
    pub tls: bool,
    /// What it shows for it, if not its own certificate.
    pub certificate: Option<Certificate>,
    /// Who may connect. None named is anybody.
    pub from: Vec<Network>,
}

/// A certificate of the project's, with those above it, and its key: both PEM. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    pub chain: String,
    pub key: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Plain(AddressPattern),
    #[serde(rename_all = "snake_case")]
    Conditional {
        address: AddressPattern,
        #[serde(default)]
        tls: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<Certificate>,
        #[serde(default)]
        from: Vec<Network>,
    },
}

impl Listen {
    /// Whether it sets no condition, so that a socket of WASI, which can keep none, may listen there.
    pub fn is_plain(&self) -> bool {
        !self.tls && self.from.is_empty()
    }

    pub fn may_come_from(&self, ip: IpAddr) -> bool {
        self.from.is_empty() || self.from.iter().any(|network| network.contains(ip))
    }
}

impl From<AddressPattern> for Listen {
    fn from(address: AddressPattern) -> Self {
        Self { address, tls: false, certificate: None, from: Vec::new() }
    }
}

impl FromStr for Listen {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        text.parse::<AddressPattern>().map(Self::from)
    }
}

impl From<Form> for Listen {
    fn from(form: Form) -> Self {
        match form {
            Form::Plain(address) => address.into(),
            Form::Conditional { address, tls, certificate, from } => Self { address, tls, certificate, from },
        }
    }
}

impl From<Listen> for Form {
    fn from(listen: Listen) -> Self {
        if listen.is_plain() {
            return Self::Plain(listen.address);
        }
        let Listen { address, tls, certificate, from } = listen;
        Self::Conditional { address, tls, certificate, from }
    }
}

#[cfg(test)]
mod tests {
    use crate::grant::Grants;

    fn grants(json: &str) -> Grants {
        serde_json::from_str(&format!(r#"{{"listen": {json}}}"#)).unwrap()
    }

    #[test]
    fn an_entry_is_text_or_a_table_and_is_written_as_it_was_read() {
        let text = r#"["127.0.0.1:17682",{"address":"0.0.0.0:17683","tls":true,"from":["192.168.1.0/24","10.0.0.7"]}]"#;
        let read = grants(text);
        assert_eq!(serde_json::to_string(&read.listen).unwrap(), text);
        assert!(read.listen[0].is_plain() && !read.listen[1].is_plain());
        assert!(read.listen[1].may_come_from("192.168.1.9".parse().unwrap()));
        assert!(!read.listen[1].may_come_from("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn conditions_hold_whatever_else_covers_the_address() {
        let grants = grants(r#"["127.0.0.1:*",{"address":"127.0.0.1:17682","tls":true}]"#);
        let tls = |address: &str| grants.listening(address.parse().unwrap()).map(|entry| entry.tls);
        assert_eq!(tls("127.0.0.1:17682"), Some(true));
        assert_eq!(tls("127.0.0.1:80"), Some(false));
        assert_eq!(tls("127.0.0.2:80"), None);
    }
}
