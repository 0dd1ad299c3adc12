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
    network: Network,
    /// `None` is any port.
    port: Option<u16>,
}

/// An address without a port, or a network of them (`192.168.1.0/24`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl AddressPattern {
    pub fn matches(&self, address: SocketAddr) -> bool {
        self.network.contains(address.ip()) && self.port.is_none_or(|port| port == address.port())
    }
}

impl Network {
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let outside = 32 - u32::from(self.prefix_bits);
                (u64::from(network.to_bits()) >> outside) == (u64::from(ip.to_bits()) >> outside)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => bits(network, self.prefix_bits) == bits(ip, self.prefix_bits),
            _ => false,
        }
    }

    fn new(address: IpAddr, prefix: Option<&str>) -> Option<Self> {
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Some(bits_max), |prefix| prefix.parse().ok().filter(|bits| *bits <= bits_max))?;
        Some(Self { address, prefix_bits })
    }

    fn is_one_address(&self) -> bool {
        self.prefix_bits == if self.address.is_ipv4() { 32 } else { 128 }
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
    Some(AddressPattern { network: Network::new(address, prefix)?, port })
}

impl FromStr for Network {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let network = address.parse().ok().and_then(|address| Self::new(address, prefix));
        network.ok_or_else(|| PatternError::Network(text.to_owned()))
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Network { address, prefix_bits } = self.network;
        match address {
            IpAddr::V4(address) => write!(f, "{address}")?,
            IpAddr::V6(address) => write!(f, "[{address}]")?,
        }
        if !self.network.is_one_address() {
            write!(f, "/{prefix_bits}")?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.is_one_address() { Ok(()) } else { write!(f, "/{}", self.prefix_bits) }
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
    fn a_network_holds_its_addresses_however_they_are_spelled() {
        let holds = |network: &str, ip: &str| network.parse::<Network>().unwrap().contains(ip.parse().unwrap());
        assert!(holds("192.168.1.0/24", "192.168.1.7") && !holds("192.168.1.0/24", "192.168.2.7"));
        assert!(holds("10.0.0.7", "10.0.0.7") && !holds("10.0.0.7", "10.0.0.8"));
        // Who comes over IPv4 to a socket of IPv6.
        assert!(holds("10.0.0.7", "::ffff:10.0.0.7"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "10.0.0.7"));
        for text in ["10.0.0.7", "192.168.1.0/24", "fd00::/8", "::1"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        for wrong in ["", "10.0.0.7:80", "10.0.0.0/33", "plc.local", "[::1]", "10.0.0.0/"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
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
