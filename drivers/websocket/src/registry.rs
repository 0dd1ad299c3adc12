//! Which devices there may be, and which connection each is online on. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ledge_sdk::thing_access::DeviceInfo;
use ledge_sdk::{Fault, ThingId};

/// A connection, by its number.
pub type PeerId = u64;

#[derive(Default)]
pub struct Registry {
    devices: BTreeMap<ThingId, Device>,
}

struct Device {
    /// The address that it has to come from, if the project says one.
    ip: Option<IpAddr>,
    online_on: Option<PeerId>,
}

impl Registry {
    /// The devices that the project declares for this driver.
    pub fn new(devices: &[DeviceInfo]) -> Result<Self, String> {
        let device = |info: &DeviceInfo| {
            let thing = ThingId::new(&info.product_key, &info.device_name);
            let ip = match info.custom.get("ip").map(|ip| (ip, ip.as_str().and_then(|ip| ip.parse::<IpAddr>().ok()))) {
                None => None,
                Some((_, Some(ip))) => Some(ip.to_canonical()),
                Some((ip, None)) => return Err(format!("`custom.ip` of `{thing}` is {ip}; expected an IP address as text")),
            };
            Ok((thing, Device { ip, online_on: None }))
        };
        Ok(Self { devices: devices.iter().map(device).collect::<Result<_, _>>()? })
    }

    /// Whether this device may be brought online from there.
    pub fn may_come(&self, thing: &ThingId, from: IpAddr) -> Result<(), Fault> {
        let device = self.devices.get(thing).ok_or_else(|| {
            let message = format!("device `{thing}` is not declared for this driver; declare it in ledge.toml");
            Fault::new(Fault::DEVICE_UNREGISTER, message)
        })?;
        match device.ip {
            Some(ip) if ip != from => {
                let message =
                    format!("device `{thing}` has to come from {ip} (`custom.ip` in ledge.toml), and this connection is from {from}");
                Err(Fault::new(Fault::NOT_GRANTED, message))
            }
            _ => Ok(()),
        }
    }

    /// Brings it online on this connection, and gives the one that it was online on before, if that is another.
    pub fn claim(&mut self, thing: &ThingId, peer: PeerId) -> Option<PeerId> {
        let before = self.devices.get_mut(thing)?.online_on.replace(peer);
        before.filter(|before| *before != peer)
    }

    /// The connection that it is online on.
    pub fn peer_of(&self, thing: &ThingId) -> Option<PeerId> {
        self.devices.get(thing)?.online_on
    }

    /// Whether it is online on this connection, as it has to be for whatever comes on it.
    pub fn check(&self, thing: &ThingId, peer: PeerId) -> Result<(), Fault> {
        match self.devices.get(thing).map(|device| device.online_on) {
            Some(Some(on)) if on == peer => Ok(()),
            Some(Some(_)) => Err(Fault::new(
                Fault::DEVICE_OFFLINE,
                format!("device `{thing}` was taken over: it is online on another connection now; send `onlineDevice` to take it back"),
            )),
            Some(None) => Err(Fault::new(
                Fault::DEVICE_OFFLINE,
                format!("device `{thing}` is not online on this connection; send `onlineDevice` first"),
            )),
            None => Err(Fault::new(Fault::DEVICE_UNREGISTER, format!("device `{thing}` is not declared for this driver"))),
        }
    }

    /// Takes it offline.
    pub fn release(&mut self, thing: &ThingId) {
        if let Some(device) = self.devices.get_mut(thing) {
            device.online_on = None;
        }
    }

    /// What is online on this connection.
    pub fn on(&self, peer: PeerId) -> Vec<ThingId> {
        self.devices.iter().filter(|(_, device)| device.online_on == Some(peer)).map(|(thing, _)| thing.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use ledge_sdk::serde_json::{Value as Json, json};

    use super::*;

    fn device(name: &str, custom: Json) -> DeviceInfo {
        DeviceInfo { product_key: "a1".into(), device_name: name.into(), local_name: None, custom }
    }

    fn id(name: &str) -> ThingId {
        ThingId::new("a1", name)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_is_declared_comes_and_only_from_its_address() {
        let registry = Registry::new(&[device("any", Json::Null), device("pinned", json!({"ip": "192.168.1.5"}))]).unwrap();
        assert_eq!(registry.may_come(&id("any"), ip("10.0.0.1")), Ok(()));
        assert_eq!(registry.may_come(&id("pinned"), ip("192.168.1.5")), Ok(()));
        let refused = registry.may_come(&id("pinned"), ip("192.168.1.6")).unwrap_err();
        assert_eq!(refused.code, Fault::NOT_GRANTED);
        assert!(refused.message.contains("192.168.1.5") && refused.message.contains("192.168.1.6"), "{refused}");
        assert_eq!(registry.may_come(&id("stranger"), ip("10.0.0.1")).unwrap_err().code, Fault::DEVICE_UNREGISTER);
        for wrong in [json!({"ip": "plc.local"}), json!({"ip": 5})] {
            assert!(Registry::new(&[device("wrong", wrong)]).is_err());
        }
    }

    #[test]
    fn the_last_connection_to_claim_a_device_has_it() {
        let mut registry = Registry::new(&[device("a", Json::Null), device("b", Json::Null)]).unwrap();
        assert_eq!(registry.check(&id("a"), 1).unwrap_err().code, Fault::DEVICE_OFFLINE);
        assert_eq!((registry.claim(&id("a"), 1), registry.claim(&id("a"), 1), registry.claim(&id("b"), 1)), (None, None, None));
        assert_eq!(registry.claim(&id("a"), 2), Some(1));
        assert_eq!((registry.on(1), registry.on(2)), (vec![id("b")], vec![id("a")]));
        let lost = registry.check(&id("a"), 1).unwrap_err();
        assert!(lost.code == Fault::DEVICE_OFFLINE && lost.message.contains("taken over"), "{lost}");
        assert_eq!(registry.check(&id("a"), 2), Ok(()));
        registry.release(&id("a"));
        assert_eq!((registry.peer_of(&id("a")), registry.peer_of(&id("b"))), (None, Some(1)));
    }
}
