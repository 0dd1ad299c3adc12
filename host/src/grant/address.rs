//! Network addresses of the grants `tcp`, `udp` and `listen`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PatternError;

/// `address:port`, where the address may be a network (`192.168.1.0/24`) and the port `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressPattern {
    network: IpAddr,
    prefix_bits: u8,
    /// `None` is any port.
    port: Option<u16>,
}

impl AddressPattern {
    pub fn matches(&self, address: SocketAddr) -> bool {
        let is_in = match (self.network, address.ip().to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let outside = 32 - u32::from(self.prefix_bits);
                (u64::from(network.to_bits()) >> outside) == (u64::from(ip.to_bits()) >> outside)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => bits(network, self.prefix_bits) == bits(ip, self.prefix_bits),
            _ => false,
        };
        is_in && self.port.is_none_or(|port| port == address.port())
    }
}

/// The first `count` bits.
fn bits(ip: Ipv6Addr, count: u8) -> u128 {
    ip.to_bits().checked_shr(128 - u32::from(count)).unwrap_or(0)
}

impl FromStr for AddressPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        parse(text).ok_or_else(|| PatternError::Address(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<AddressPattern> {
    let (address, port) = text.rsplit_once(':')?;
    let port = if port == "*" { None } else { Some(port.parse().ok()?) };
    let (address, prefix) = match address.strip_prefix('[') {
        Some(rest) => {
            let (address, prefix) = rest.split_once(']')?;
            (IpAddr::V6(address.parse().ok()?), if prefix.is_empty() { None } else { Some(prefix.strip_prefix('/')?) })
        }
        None => {
            let (address, prefix) = address.split_once('/').map_or((address, None), |(address, prefix)| (address, Some(prefix)));
            (IpAddr::V4(address.parse().ok()?), prefix)
        }
    };
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let prefix_bits = prefix.map_or(Some(bits_max), |prefix| prefix.parse().ok().filter(|bits| *bits <= bits_max))?;
    Some(AddressPattern { network: address, prefix_bits, port })
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            IpAddr::V4(network) if self.prefix_bits == 32 => write!(f, "{network}")?,
            IpAddr::V4(network) => write!(f, "{network}/{}", self.prefix_bits)?,
            IpAddr::V6(network) if self.prefix_bits == 128 => write!(f, "[{network}]")?,
            IpAddr::V6(network) => write!(f, "[{network}]/{}", self.prefix_bits)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, address: &str) -> bool {
        let pattern: AddressPattern = pattern.parse().unwrap();
        assert_eq!(pattern.to_string().parse::<AddressPattern>().unwrap(), pattern);
        pattern.matches(address.parse().unwrap())
    }

    #[test]
    fn an_address_covers_what_it_names_and_no_more() {
        assert!(covers("192.168.1.20:502", "192.168.1.20:502"));
        assert!(!covers("192.168.1.20:502", "192.168.1.20:503"));
        assert!(!covers("192.168.1.20:502", "192.168.1.21:502"));
        assert!(covers("192.168.1.0/24:502", "192.168.1.255:502"));
        assert!(!covers("192.168.1.0/24:502", "192.168.2.1:502"));
        assert!(covers("0.0.0.0/0:*", "8.8.8.8:53"));
        assert!(!covers("0.0.0.0/0:*", "[::1]:53"));
        assert!(covers("[fd00::]/8:502", "[fd12::1]:502"));
        assert!(covers("[::]/0:*", "[::1]:1"));
        assert!(!covers("[fd00::1]:502", "[fd00::2]:502"));
        // The same host by another spelling.
        assert!(covers("10.0.0.1:80", "[::ffff:10.0.0.1]:80"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in
            ["", "10.0.0.1", "10.0.0.1:", "10.0.0.1:70000", "10.0.0.0/33:1", "plc.local:502", "::1:80", "[::1]", "[::1]/129:1", "*:80"]
        {
            assert!(wrong.parse::<AddressPattern>().is_err(), "{wrong}");
        }
    }
}
