//! A driver's configuration (manual 1.1, `leda_get_config`), parsed once.

use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use crate::Fault;

/// What a driver is told when it starts, and again when it changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DriverConfig {
    /// The driver's own settings: an object with one of `json`, `kv` and `fileList`. `{}` if there are none.
    pub config: Json,
    /// The devices that `ledge.toml` gives to this driver.
    pub devices: Vec<DeviceInfo>,
}

/// One device of a driver.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceInfo {
    /// The product that it is of.
    pub product_key: String,
    /// Its name, unique within the product.
    pub device_name: String,
    /// The name that the driver can read off the device itself, if the project gives one.
    pub local_name: Option<String>,
    /// What the project says of this device to its driver (an address, a port), an object; `{}` if nothing.
    pub custom: Json,
}

impl DriverConfig {
    /// One setting, from the formats `json` (a member) or `kv` (an entry's value).
    pub fn setting(&self, name: &str) -> Option<&Json> {
        let entry = |entries: &'_ Json| entries.as_array()?.iter().position(|entry| entry["key"] == name);
        self.config["json"].get(name).or_else(|| self.config["kv"].get(entry(&self.config["kv"])?)?.get("value"))
    }

    /// The names of all settings that the project gives, from the formats `json` and `kv`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let json = self.config["json"].as_object().into_iter().flat_map(|object| object.keys().map(String::as_str));
        let kv = self.config["kv"].as_array().into_iter().flatten().filter_map(|entry| entry["key"].as_str());
        json.chain(kv)
    }

    /// The files of `fileList`: the driver reads them with the standard library, by these paths.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.config["fileList"].as_array().into_iter().flatten().filter_map(|entry| entry["path"].as_str())
    }

    /// A setting that is a whole number, whether it is written as a number or as text.
    pub fn setting_u64(&self, name: &str) -> Option<u64> {
        self.setting(name).and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()))
    }
}

/// What the gateway gives as the driver's own settings.
pub fn settings(text: &str) -> Result<Json, Fault> {
    serde_json::from_str(text).map_err(wrong)
}

/// What the gateway gives as the list of devices.
pub fn devices(text: &str) -> Result<Vec<DeviceInfo>, Fault> {
    format!(r#"{{"deviceList":{text}}}"#).parse().map(|config: DriverConfig| config.devices)
}

impl FromStr for DriverConfig {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let mut json = serde_json::Deserializer::from_str(text);
        let config = json.deserialize_map(Members).and_then(|config| json.end().map(|()| config));
        config.map_err(wrong)
    }
}

/// Reads the members, and the devices one by one: of thousands the JSON would take many times what is kept of them.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = DriverConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `config` and `deviceList`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<DriverConfig, A::Error> {
        let mut read = DriverConfig { config: Json::Object(serde_json::Map::new()), devices: Vec::new() };
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "config" => read.config = members.next_value()?,
                "deviceList" => read.devices = members.next_value_seed(Devices)?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(read)
    }
}

struct Devices;

impl<'de> DeserializeSeed<'de> for Devices {
    type Value = Vec<DeviceInfo>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Devices {
    type Value = Vec<DeviceInfo>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`deviceList` as a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut devices = Vec::new();
        while let Some(entry) = list.next_element::<Json>()? {
            devices.push(device(&entry).map_err(A::Error::custom)?);
        }
        Ok(devices)
    }
}

fn device(entry: &Json) -> Result<DeviceInfo, String> {
    let text = |key: &str| entry[key].as_str().map(str::to_owned);
    Ok(DeviceInfo {
        product_key: text("productKey").ok_or("a device has no text `productKey`")?,
        device_name: text("deviceName").ok_or("a device has no text `deviceName`")?,
        local_name: text("localName"),
        custom: custom(&entry["custom"])?,
    })
}

/// `custom` is JSON within a text, as the original has it; an object is taken as well.
fn custom(json: &Json) -> Result<Json, String> {
    match json {
        Json::Null => Ok(Json::Object(serde_json::Map::new())),
        Json::String(text) if text.is_empty() => Ok(Json::Object(serde_json::Map::new())),
        Json::String(text) => serde_json::from_str(text).map_err(|error| format!("`custom` of a device: {error}")),
        other => Ok(other.clone()),
    }
}

fn wrong(what: impl std::fmt::Display) -> Fault {
    Fault::new(Fault::INVALID_JSON, format!("the driver's configuration cannot be read: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manuals_configuration_is_read() {
        let config: DriverConfig = r#"{"config":{"json":{"ip":"127.0.0.1","period_ms":20}},
            "deviceList":[{"custom":"{\"port\":12345}","deviceName":"device1","productKey":"a1c"},
                          {"deviceName":"device2","productKey":"a1c","localName":"00:11"}]}"#
            .parse()
            .unwrap();
        assert_eq!(config.setting_u64("period_ms"), Some(20));
        assert_eq!(config.devices[0].custom["port"], 12345);
        assert_eq!(config.devices[1].local_name.as_deref(), Some("00:11"));
        assert_eq!(config.devices[1].custom, serde_json::json!({}));
    }

    #[test]
    fn a_setting_may_be_a_key_and_a_value() {
        let config: DriverConfig = r#"{"config":{"kv":[{"key":"period_ms","value":"20","note":""}]},"deviceList":[]}"#.parse().unwrap();
        assert_eq!(config.setting_u64("period_ms"), Some(20));
        assert_eq!(config.setting("other"), None);
    }

    #[test]
    fn files_are_listed_by_their_paths() {
        let config: DriverConfig = r#"{"config":{"fileList":[{"path":"a.json"},{"path":"maps/b.csv"}]},"deviceList":[]}"#.parse().unwrap();
        assert_eq!(config.files().collect::<Vec<_>>(), ["a.json", "maps/b.csv"]);
    }

    #[test]
    fn settings_and_devices_are_read_alone() {
        assert_eq!(settings(r#"{"json":{"a":1}}"#).unwrap()["json"]["a"], 1);
        let listed =
            devices(r#"[{"custom":{"port":1},"deviceName":"d","productKey":"p"},{"custom":"","deviceName":"e","productKey":"p"}]"#);
        let custom: Vec<Json> = listed.unwrap().into_iter().map(|device| device.custom).collect();
        assert_eq!(custom, [serde_json::json!({"port": 1}), serde_json::json!({})]);
        assert_eq!([settings("x").unwrap_err().code, devices("x").unwrap_err().code], [Fault::INVALID_JSON; 2]);
    }

    #[test]
    fn an_empty_configuration_is_one_too() {
        let config: DriverConfig = "{}".parse().unwrap();
        assert_eq!(config.setting("any"), None);
        assert!(config.devices.is_empty());
        assert_eq!("x".parse::<DriverConfig>().unwrap_err().code, Fault::INVALID_JSON);
    }
}
