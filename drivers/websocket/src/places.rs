//! Who is let in where places are few: so many connections in all, and so many from one address. Pure.
//!
//! A connection on which a device is online keeps its place. One without may lose it to whoever comes next, the one that came first before the others:
//! a device is online within moments, and who is not has nothing to lose but the time that it has waited.

use std::net::{IpAddr, Ipv6Addr};

use crate::registry::PeerId;
use crate::settings::Settings;

/// A place that is taken, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub id: PeerId,
    pub ip: IpAddr,
    pub has_device: bool,
}

/// What becomes of one that comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Free,
    /// It takes the place of this one.
    InPlaceOf(PeerId),
    /// In these words.
    Refused(String),
}

/// Whether there is a place for one that comes from there. `taken` is in the order in which they came.
pub fn find(from: IpAddr, taken: &[Taken], settings: &Settings) -> Verdict {
    let place = source(from);
    let neighbours: Vec<Taken> = taken.iter().copied().filter(|taken| source(taken.ip) == place).collect();
    let (all_max, address_max) = (settings.connections_max, settings.connections_per_address_max);
    if neighbours.len() >= address_max {
        let full = || format!("{address_max} connections from {place} have devices online, the limit `connections_per_address_max`");
        return displaced(&neighbours).unwrap_or_else(|| Verdict::Refused(full()));
    }
    if taken.len() >= all_max {
        let full = || format!("{all_max} connections have devices online, the limit `connections_max`; try again later");
        return displaced(taken).unwrap_or_else(|| Verdict::Refused(full()));
    }
    Verdict::Free
}

fn displaced(taken: &[Taken]) -> Option<Verdict> {
    taken.iter().find(|taken| !taken.has_device).map(|first| Verdict::InPlaceOf(first.id))
}

/// What counts as one address: whoever has an IPv6 address has the 2^64 of its network.
fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Connections in the order in which they came: where from, and whether a device is online on them.
    fn taken(rows: &[(&str, bool)]) -> Vec<Taken> {
        rows.iter().enumerate().map(|(at, (from, has_device))| Taken { id: at as PeerId, ip: ip(from), has_device: *has_device }).collect()
    }

    fn settings(connections_max: usize, connections_per_address_max: usize) -> Settings {
        let usual = Settings::read(&"{}".parse().unwrap()).unwrap();
        Settings { connections_max, connections_per_address_max, ..usual }
    }

    #[test]
    fn where_all_is_taken_the_first_without_a_device_gives_way_and_none_with_one() {
        let settings = settings(3, 16);
        let idle = taken(&[("10.0.0.1", true), ("10.0.0.2", false), ("10.0.0.3", false)]);
        assert_eq!(find(ip("10.0.0.9"), &idle[..2], &settings), Verdict::Free);
        assert_eq!(find(ip("10.0.0.9"), &idle, &settings), Verdict::InPlaceOf(1));
        let busy = taken(&[("10.0.0.1", true), ("10.0.0.2", true), ("10.0.0.3", true)]);
        match find(ip("10.0.0.9"), &busy, &settings) {
            Verdict::Refused(why) => assert!(why.contains("3 connections have devices online") && why.contains("connections_max"), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_address_has_its_own_places_and_takes_none_of_others() {
        let settings = settings(200, 2);
        let rows = taken(&[("10.0.0.1", false), ("10.0.0.2", true), ("10.0.0.2", false)]);
        assert_eq!(find(ip("10.0.0.1"), &rows, &settings), Verdict::Free);
        // The first of all is somebody else's.
        assert_eq!(find(ip("10.0.0.2"), &rows, &settings), Verdict::InPlaceOf(2));
        assert_eq!(find(ip("::ffff:10.0.0.2"), &rows, &settings), Verdict::InPlaceOf(2));
        let busy = taken(&[("10.0.0.2", true), ("10.0.0.2", true), ("10.0.0.1", false)]);
        match find(ip("10.0.0.2"), &busy, &settings) {
            Verdict::Refused(why) => assert!(why.contains("10.0.0.2") && why.contains("connections_per_address_max"), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let settings = settings(200, 2);
        let rows = taken(&[("2001:db8:0:1::5", false), ("2001:db8:0:1:ffff::9", true)]);
        assert_eq!(find(ip("2001:db8:0:1::77"), &rows, &settings), Verdict::InPlaceOf(0));
        assert_eq!(find(ip("2001:db8:0:2::5"), &rows, &settings), Verdict::Free);
    }

    #[test]
    fn strangers_without_end_never_hold_more_than_there_is_and_cost_no_device_its_place() {
        let settings = settings(20, 4);
        let mut inside = taken(&[("10.0.0.1", true), ("10.0.0.1", true)]);
        for at in 0..1_000_u64 {
            let from = ip(&format!("10.1.{}.{}", at % 7, at % 11));
            match find(from, &inside, &settings) {
                Verdict::Free => {}
                Verdict::InPlaceOf(id) => inside.retain(|taken| taken.id != id),
                Verdict::Refused(why) => panic!("{why}"),
            }
            inside.push(Taken { id: 100 + at, ip: from, has_device: false });
            assert!(inside.len() <= 20 && inside.iter().filter(|taken| taken.ip == from).count() <= 4);
        }
        assert_eq!(inside.iter().filter(|taken| taken.has_device).count(), 2);
    }
}
