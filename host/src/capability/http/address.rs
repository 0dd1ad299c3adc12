//! Where a granted host is. What a name resolves to is somebody else's to say, so not every address is good for a name.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;
use wasmtime_wasi_http::Error;

use super::Target;
use crate::capability::Guest;

impl Target {
    /// The addresses to try, in order.
    pub async fn addresses(&self, guest: &Guest, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let (is_literal, found) = match host.parse::<IpAddr>() {
            Ok(ip) => (true, vec![SocketAddr::new(ip, self.port)]),
            Err(_) => (false, resolve(host, self.port, limit).await?),
        };
        // Whoever wrote the grant wrote this address, or the one name that can be nothing else.
        let is_meant = self.is_named && (is_literal || host.eq_ignore_ascii_case("localhost"));
        let good: Vec<_> = found.into_iter().filter(|address| is_meant || is_elsewhere(address.ip())).collect();
        if good.is_empty() {
            let _ = guest.denied("http", format_args!("{host}:{}, which resolves to an address of this machine or its link", self.port));
            return Err(Error::DestinationIpProhibited);
        }
        Ok(good)
    }
}

async fn resolve(host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
    let found = timeout(limit, lookup_host((host, port))).await.map_err(|_| Error::DnsTimeout)?;
    let found: Vec<_> = found.map_err(|_| Error::DnsError { rcode: None, info_code: None })?.collect();
    if found.is_empty() { Err(Error::DestinationNotFound) } else { Ok(found) }
}

/// Neither this machine nor its link, where clouds keep what knows its secrets. Private networks are fine: that is where plants are.
fn is_elsewhere(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.octets()[0] == 0)
        }
        IpAddr::V6(ip) => {
            let is_metadata = ip.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() || ip.is_multicast() || is_metadata)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_anywhere_but_here() {
        for here in [
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "169.254.169.254",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
            "fd00:ec2::254",
            "224.0.0.1",
        ] {
            assert!(!is_elsewhere(here.parse().unwrap()), "{here}");
        }
        for elsewhere in ["10.0.0.5", "192.168.1.20", "8.8.8.8", "fd12::1", "2001:db8::1"] {
            assert!(is_elsewhere(elsewhere.parse().unwrap()), "{elsewhere}");
        }
    }
}
