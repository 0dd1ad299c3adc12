//! How many connections are open, of one address and in all.
//!
//! Whoever is one too many is told so, as long as few are being told: what a refusal costs is bounded too.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limit::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX};

/// Open connections, of one address (of IPv6: of one /64) and in all.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    pub per_address_max: u32,
    pub max: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { per_address_max: CONNECTIONS_PER_ADDRESS_MAX, max: CONNECTIONS_MAX }
    }
}

/// Clients that are told at the same time that they are too many. Others are only closed.
const GOODBYES_MAX: usize = 64;

pub struct Places {
    limits: ConnectionLimits,
    taken: Mutex<Taken>,
    goodbyes: Arc<Semaphore>,
}

#[derive(Default)]
struct Taken {
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// What a connection gets. It is given back when this is dropped.
pub enum Place {
    Served {
        _place: Held,
    },
    /// It is one too many, and is told so.
    Goodbye {
        _turn: OwnedSemaphorePermit,
    },
}

pub struct Held {
    places: Arc<Places>,
    address: Option<IpAddr>,
}

impl Places {
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default(), goodbyes: Arc::new(Semaphore::new(GOODBYES_MAX)) })
    }

    /// A place for a client at this address; clients of the local socket have none, and count in all only. `None`: close it.
    pub fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let address = address.map(counted);
        if self.add(address) {
            return Some(Place::Served { _place: Held { places: self.clone(), address } });
        }
        let turn = self.goodbyes.clone().try_acquire_owned().ok()?;
        Some(Place::Goodbye { _turn: turn })
    }

    fn add(&self, address: Option<IpAddr>) -> bool {
        let mut taken = self.taken.lock();
        let of_address = address.map_or(0, |address| taken.by_address.get(&address).copied().unwrap_or(0));
        if taken.all >= self.limits.max || of_address >= self.limits.per_address_max {
            return false;
        }
        taken.all += 1;
        if let Some(address) = address {
            taken.by_address.insert(address, of_address + 1);
        }
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        let Some(address) = self.address else { return };
        match taken.by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.by_address.remove(&address)),
        }
    }
}

/// One machine has a whole /64 of IPv6 addresses at will.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(places: &Arc<Places>, address: &str) -> Option<Place> {
        places.take(Some(address.parse().unwrap())).filter(|place| matches!(place, Place::Served { .. }))
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let places = Places::new(ConnectionLimits { per_address_max: 2, max: 3 });
        let first = served(&places, "10.0.0.1").unwrap();
        // The same address, as a socket of both families shows it.
        let _second = served(&places, "::ffff:10.0.0.1").unwrap();
        assert!(served(&places, "10.0.0.1").is_none());
        let third = served(&places, "10.0.0.2").unwrap();
        assert!(served(&places, "10.0.0.3").is_none(), "more than are served in all");
        drop(first);
        assert!(served(&places, "10.0.0.1").is_some());
        drop(third);
        assert_eq!(places.taken.lock().by_address.len(), 1, "an address without connections is remembered");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_the_local_socket_none() {
        let places = Places::new(ConnectionLimits { per_address_max: 1, max: 10 });
        let _one = served(&places, "2001:db8::1").unwrap();
        assert!(served(&places, "2001:db8::ffff:2").is_none());
        assert!(served(&places, "2001:db8:0:1::1").is_some());
        let local: Vec<_> = (0..5).map(|_| places.take(None).unwrap()).collect();
        assert!(local.iter().all(|place| matches!(place, Place::Served { .. })));
    }

    #[test]
    fn few_are_told_that_they_are_too_many() {
        let places = Places::new(ConnectionLimits { per_address_max: 1, max: 0 });
        let told: Vec<_> = (0..GOODBYES_MAX).map(|_| places.take(None).unwrap()).collect();
        assert!(places.take(None).is_none());
        drop(told);
        assert!(matches!(places.take(None), Some(Place::Goodbye { .. })));
    }
}
