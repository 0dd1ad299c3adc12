//! A driver's configuration (manual 1.1, `leda_get_config`), parsed once.

use std::str::FromStr;

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
    /// What the project says of this device to its driver (an address, a port); `null` if nothing.
    pub custom: Json,
}

impl DriverConfig {
    /// One setting, from the formats `json` (a member) or `kv` (an entry's value).
    pub fn setting(&self, name: &str) -> Option<&Json> {
        let entry = |entries: &'_ Json| entries.as_array()?.iter().position(|entry| entry["key"] == name);
        self.config["json"].get(name).or_else(|| self.config["kv"].get(entry(&self.config["kv"])?)?.get("value"))
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

impl FromStr for DriverConfig {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let json: Json = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let devices = match &json["deviceList"] {
            Json::Null => Vec::new(),
            Json::Array(list) => list.iter().map(device).collect::<Result<_, _>>()?,
            _ => return Err(wrong("`deviceList` is not a list")),
        };
        let config = json.get("config").cloned().unwrap_or_else(|| Json::Object(serde_json::Map::new()));
        Ok(Self { config, devices })
    }
}

fn device(entry: &Json) -> Result<DeviceInfo, Fault> {
    let text = |key: &str| entry[key].as_str().map(str::to_owned);
    Ok(DeviceInfo {
        product_key: text("productKey").ok_or_else(|| wrong("a device has no text `productKey`"))?,
        device_name: text("deviceName").ok_or_else(|| wrong("a device has no text `deviceName`"))?,
        local_name: text("localName"),
        custom: custom(&entry["custom"])?,
    })
}

/// `custom` is JSON within a text, as the original has it; an object is taken as well.
fn custom(json: &Json) -> Result<Json, Fault> {
    match json {
        Json::String(text) if text.is_empty() => Ok(Json::Null),
        Json::String(text) => serde_json::from_str(text).map_err(|error| wrong(format!("`custom` of a device: {error}"))),
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
        assert_eq!(config.devices[1].custom, Json::Null);
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
    fn an_empty_configuration_is_one_too() {
        let config: DriverConfig = "{}".parse().unwrap();
        assert_eq!(config.setting("any"), None);
        assert!(config.devices.is_empty());
        assert_eq!("x".parse::<DriverConfig>().unwrap_err().code, Fault::INVALID_JSON);
    }
}
