//! So many at the same time from one address, whatever they are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts what is under way by where it comes from.
#[derive(Debug)]
pub struct ByAddress {
    max: u32,
    taken: Mutex<HashMap<IpAddr, u32>>,
}

/// One of them; it has ended when this is dropped.
#[derive(Debug)]
pub struct Counted {
    by_address: Arc<ByAddress>,
    client: IpAddr,
}

impl ByAddress {
    pub fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default() })
    }

    pub fn max(&self) -> u32 {
        self.max
    }

    /// `None`: this address has as many as it may.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let client = client_of(address);
        let mut taken = self.taken.lock();
        let count = taken.get(&client).copied().unwrap_or(0);
        if count >= self.max {
            return None;
        }
        taken.insert(client, count + 1);
        Some(Counted { by_address: self.clone(), client })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut taken = self.by_address.taken.lock();
        match taken.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.client)),
        }
    }
}

/// Whom an address stands for: itself, or the /64 that it is of, since one machine has a whole one of IPv6 at will.
pub fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(by_address: &Arc<ByAddress>, address: &str) -> Option<Counted> {
        by_address.take(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_so_many_and_gets_them_back_and_is_forgotten() {
        let by_address = ByAddress::new(2);
        let first = take(&by_address, "10.0.0.1").unwrap();
        // The same address, as a socket of both families shows it.
        let second = take(&by_address, "::ffff:10.0.0.1").unwrap();
        assert!(take(&by_address, "10.0.0.1").is_none());
        let other = take(&by_address, "10.0.0.2").unwrap();
        drop(first);
        let third = take(&by_address, "10.0.0.1").unwrap();
        assert!(take(&by_address, "10.0.0.1").is_none());
        drop((second, third, other));
        assert!(by_address.taken.lock().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let by_address = ByAddress::new(1);
        let _one = take(&by_address, "2001:db8::1").unwrap();
        assert!(take(&by_address, "2001:db8::ffff:2").is_none());
        assert!(take(&by_address, "2001:db8:0:1::1").is_some());
    }
}
