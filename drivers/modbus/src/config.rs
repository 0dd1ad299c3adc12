//! What `ledge.toml` says: the driver's settings, and where each device is.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ledge_sdk::serde_json::{Map, Value as Json};
use ledge_sdk::thing_access::DriverConfig;

use crate::fields::Fields;

/// What holds for all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For a connection, and for each answer.
    pub timeout: Duration,
    /// Where a device does not say.
    pub interval: Duration,
    /// Addresses that nobody asks for and that one request may read along.
    pub gap: u16,
    /// Before a server that is down is tried again, or a device that does not answer: at first, and at most.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// A device that leaves so many requests without an answer, one after another, goes offline.
    pub offline_after: u32,
}

/// Where one device is, and how often it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub server: SocketAddr,
    pub unit: u8,
    pub interval: Option<Duration>,
}

/// From a hundred times a second to once a day.
pub const INTERVAL_MS: RangeInclusive<u64> = 10..=86_400_000;
const TIMEOUT_MS: RangeInclusive<u64> = 10..=10_000;
const BACKOFF_MS: RangeInclusive<u64> = 10..=3_600_000;
const PORT: u16 = 502;
const UNIT: u8 = 1;

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            interval: Duration::from_secs(1),
            gap: 8,
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            offline_after: 3,
        }
    }
}

impl Settings {
    pub fn read(config: &DriverConfig) -> Result<Self, String> {
        Self::from_json(&members(&config.config)?).map_err(|wrong| format!("the driver's `config`: {wrong}"))
    }

    fn from_json(json: &Json) -> Result<Self, String> {
        let fields = Fields::new(json, &["timeout_ms", "interval_ms", "gap", "backoff_min_ms", "backoff_max_ms", "offline_after"])?;
        let usual = Self::default();
        let time = |key, range, usual| Ok::<_, String>(fields.whole(key, range)?.map_or(usual, Duration::from_millis));
        let settings = Self {
            timeout: time("timeout_ms", TIMEOUT_MS, usual.timeout)?,
            interval: time("interval_ms", INTERVAL_MS, usual.interval)?,
            gap: fields.whole("gap", 0..=124)?.unwrap_or(usual.gap),
            backoff_min: time("backoff_min_ms", BACKOFF_MS, usual.backoff_min)?,
            backoff_max: time("backoff_max_ms", BACKOFF_MS, usual.backoff_max)?,
            offline_after: fields.whole("offline_after", 1..=1_000)?.unwrap_or(usual.offline_after),
        };
        if settings.backoff_min > settings.backoff_max {
            return Err("`backoff_min_ms` is above `backoff_max_ms`".into());
        }
        Ok(settings)
    }
}

/// The settings as one object, whether they were given as `json` or as `kv`.
fn members(config: &Json) -> Result<Json, String> {
    if config.get("fileList").is_some() {
        return Err("the driver's `config` is `json` or `kv`: it reads no files".into());
    }
    if let Some(entries) = config["kv"].as_array() {
        let member = |entry: &Json| Some((entry["key"].as_str()?.to_owned(), entry["value"].clone()));
        return Ok(Json::Object(entries.iter().filter_map(member).collect()));
    }
    Ok(config.get("json").cloned().unwrap_or_else(|| Json::Object(Map::new())))
}

impl Place {
    /// Whether it is the same device.
    pub fn is_where(&self, other: &Self) -> bool {
        (self.server, self.unit) == (other.server, other.unit)
    }

    /// Reads what the project says of a device in `custom`.
    pub fn read(custom: &Json) -> Result<Self, String> {
        Self::from_json(custom).map_err(|wrong| format!("its `custom`: {wrong}"))
    }

    fn from_json(custom: &Json) -> Result<Self, String> {
        let fields = Fields::new(custom, &["host", "port", "unit_id", "interval_ms"])?;
        let host = fields.text("host")?.ok_or("`host` is missing; expected the server's IP address")?;
        let host: IpAddr =
            host.parse().map_err(|_| format!("`host` is `{host}`; expected an IP address, since names are not looked up"))?;
        Ok(Self {
            server: SocketAddr::new(host, fields.whole("port", 1..=u16::MAX)?.unwrap_or(PORT)),
            unit: fields.whole("unit_id", 0..=u8::MAX)?.unwrap_or(UNIT),
            interval: fields.whole("interval_ms", INTERVAL_MS)?.map(Duration::from_millis),
        })
    }
}

#[cfg(test)]
mod tests {
    use ledge_sdk::serde_json::json;

    use super::*;

    #[test]
    fn a_device_is_where_its_custom_says() {
        let custom = json!({"host": "192.168.1.10", "port": "5020", "unit_id": "0x11", "interval_ms": 250});
        let place = Place::read(&custom).unwrap();
        assert_eq!((place.server.to_string().as_str(), place.unit), ("192.168.1.10:5020", 17));
        assert_eq!(place.interval, Some(Duration::from_millis(250)));
        let usual = Place::read(&json!({"host": "::1"})).unwrap();
        assert_eq!((usual.server.to_string().as_str(), usual.unit, usual.interval), ("[::1]:502", 1, None));
    }

    #[test]
    fn a_wrong_custom_says_why() {
        for (custom, reason) in [
            (json!({}), "`host` is missing"),
            (json!({"host": "plc.local"}), "names are not looked up"),
            (json!({"host": "10.0.0.1", "port": 0}), "from 1 to 65535"),
            (json!({"host": "10.0.0.1", "unit_id": 256}), "from 0 to 255"),
            (json!({"host": "10.0.0.1", "unit": 1}), "no key `unit`"),
            (json!(null), "no object"),
        ] {
            let said = Place::read(&custom).unwrap_err();
            assert!(said.contains(reason), "{custom}: {said}");
        }
    }

    #[test]
    fn settings_are_read_from_both_forms() {
        let read = |config: Json| Settings::read(&DriverConfig { config, devices: vec![] });
        let json = read(json!({"json": {"timeout_ms": 200, "gap": 0, "offline_after": 5}})).unwrap();
        assert_eq!((json.timeout, json.gap, json.offline_after), (Duration::from_millis(200), 0, 5));
        let kv = read(json!({"kv": [{"key": "timeout_ms", "value": "200", "note": ""}]})).unwrap();
        assert_eq!((kv.timeout, kv.gap), (Duration::from_millis(200), 8));
        assert_eq!(read(json!({})), Ok(Settings::default()));
        assert!(read(json!({"json": {"timeout": 1}})).unwrap_err().contains("no key `timeout`"));
        assert!(read(json!({"json": {"backoff_min_ms": 100, "backoff_max_ms": 50}})).unwrap_err().contains("above"));
        assert!(read(json!({"fileList": []})).unwrap_err().contains("reads no files"));
    }
}
