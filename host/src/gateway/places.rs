//! How many connections are open, of one address and in all.
//!
//! Whoever is one too many is told so, as long as few are being told: what a refusal costs is bounded too.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limit::{ByAddress, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, Counted};
use crate::metric::ConnectionMetrics;

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
    by_address: Arc<ByAddress>,
    all: Arc<Semaphore>,
    goodbyes: Arc<Semaphore>,
    counted: ConnectionMetrics,
}

/// What a connection gets. It is given back when this is dropped.
pub enum Place {
    Served {
        _of_address: Option<Counted>,
        _of_all: OwnedSemaphorePermit,
        _open: Open,
    },
    /// It is one too many, and is told so.
    Goodbye {
        _turn: OwnedSemaphorePermit,
    },
}

/// A connection that the metrics count as open.
pub struct Open(ConnectionMetrics);

impl Open {
    fn of(counted: &ConnectionMetrics) -> Self {
        counted.open.inc();
        Self(counted.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}

impl Places {
    pub fn new(limits: ConnectionLimits, counted: ConnectionMetrics) -> Arc<Self> {
        let semaphore = |max: usize| Arc::new(Semaphore::new(max));
        let by_address = ByAddress::new(limits.per_address_max);
        Arc::new(Self { by_address, all: semaphore(limits.max as usize), goodbyes: semaphore(GOODBYES_MAX), counted })
    }

    /// A place for a client at this address; clients of the local socket have none, and count in all only. `None`: close it.
    pub fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        self.serve(address).or_else(|| Some(Place::Goodbye { _turn: self.goodbyes.clone().try_acquire_owned().ok()? }))
    }

    fn serve(&self, address: Option<IpAddr>) -> Option<Place> {
        let of_address = address.map(|address| self.by_address.take(address));
        if let Some(None) = of_address {
            self.counted.beyond_address.inc();
            return None;
        }
        let Ok(of_all) = self.all.clone().try_acquire_owned() else {
            self.counted.beyond_all.inc();
            return None;
        };
        Some(Place::Served { _of_address: of_address.flatten(), _of_all: of_all, _open: Open::of(&self.counted) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(per_address_max: u32, max: u32) -> Arc<Places> {
        Places::new(ConnectionLimits { per_address_max, max }, ConnectionMetrics::default())
    }

    fn served(places: &Arc<Places>, address: &str) -> Option<Place> {
        places.take(Some(address.parse().unwrap())).filter(|place| matches!(place, Place::Served { .. }))
    }

    #[test]
    fn whoever_is_too_many_in_all_takes_no_place_of_an_address() {
        let places = places(1, 2);
        let (first, second) = (served(&places, "10.0.0.1").unwrap(), served(&places, "10.0.0.2").unwrap());
        assert!(served(&places, "10.0.0.1").is_none() && served(&places, "10.0.0.3").is_none());
        drop(first);
        let third = served(&places, "10.0.0.3").unwrap();
        assert!(served(&places, "10.0.0.3").is_none());
        drop((second, third));
        assert!(served(&places, "10.0.0.2").is_some());
    }

    #[test]
    fn who_is_open_and_who_met_which_bound_is_counted() {
        let places = places(1, 2);
        let counts = || (places.counted.open.get(), places.counted.beyond_address.get(), places.counted.beyond_all.get());
        let first = served(&places, "10.0.0.1").unwrap();
        let told = places.take(Some("10.0.0.1".parse().unwrap()));
        assert_eq!(counts(), (1, 1, 0));
        let second = served(&places, "10.0.0.2").unwrap();
        assert!(served(&places, "10.0.0.3").is_none());
        assert_eq!(counts(), (2, 1, 1));
        drop((first, second, told));
        assert_eq!(counts(), (0, 1, 1));
    }

    #[test]
    fn the_local_socket_counts_in_all_only() {
        let places = places(1, 10);
        let local: Vec<_> = (0..10).map(|_| places.take(None).unwrap()).collect();
        assert!(local.iter().all(|place| matches!(place, Place::Served { .. })));
        assert!(matches!(places.take(None), Some(Place::Goodbye { .. })));
    }

    #[test]
    fn few_are_told_that_they_are_too_many() {
        let places = places(1, 0);
        let told: Vec<_> = (0..GOODBYES_MAX).map(|_| places.take(None).unwrap()).collect();
        assert!(places.take(None).is_none());
        drop(told);
        assert!(matches!(places.take(None), Some(Place::Goodbye { .. })));
    }
}
