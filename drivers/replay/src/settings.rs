//! What a project says of one thing: `custom = { file = "recording.csv", speed = 10.0, loop = true }`.

use ledge_sdk::serde_json::Value as Json;
use ledge_sdk::thing_access::DriverConfig;

use crate::time::Unit;

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// As the driver sees it: a path of `fileList`, or one below a granted directory.
    pub file: String,
    /// 1 is as it was recorded, 0 as fast as the gateway takes it.
    pub speed: f64,
    pub is_looped: bool,
    pub unit: Unit,
}

const KEYS: [&str; 4] = ["file", "speed", "loop", "time_unit"];

impl Settings {
    pub fn parse(custom: &Json) -> Result<Self, String> {
        let members = custom.as_object().ok_or("expected `custom = { file = \"recording.csv\" }`")?;
        if let Some(unknown) = members.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("`custom.{}` is unknown; expected {}", unknown.escape_debug(), KEYS.join(", ")));
        }
        let file =
            custom["file"].as_str().filter(|file| !file.is_empty()).ok_or("`custom.file` is missing; expected the path of a recording")?;
        let speed = match &custom["speed"] {
            Json::Null => 1.0,
            speed => {
                speed.as_f64().filter(|speed| *speed >= 0.0).ok_or("`custom.speed` is wrong; expected 0 (as fast as can be) or more")?
            }
        };
        let is_looped = match &custom["loop"] {
            Json::Null => false,
            is_looped => is_looped.as_bool().ok_or("`custom.loop` is wrong; expected true or false")?,
        };
        let unit = match &custom["time_unit"] {
            Json::Null => Unit::Guessed,
            Json::String(unit) if unit == "s" => Unit::Seconds,
            Json::String(unit) if unit == "ms" => Unit::Milliseconds,
            _ => return Err("`custom.time_unit` is wrong; expected `s` or `ms`".to_owned()),
        };
        Ok(Self { file: file.to_owned(), speed, is_looped, unit })
    }
}

/// Names what the driver's `config` gives besides files: what there is to set is set for each thing.
pub fn of_driver(config: &DriverConfig) -> Result<(), String> {
    let given: Vec<String> = config.names().map(|name| format!("`{}`", name.escape_debug())).collect();
    if given.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the driver's `config` has only a `fileList`, and is given {}; expected {} in `custom` of a thing",
        given.join(", "),
        KEYS.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use ledge_sdk::serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_given_is_as_usual() {
        let usual = Settings { file: "a.csv".into(), speed: 1.0, is_looped: false, unit: Unit::Guessed };
        assert_eq!(Settings::parse(&json!({"file": "a.csv"})), Ok(usual));
        let all = Settings { file: "b.csv".into(), speed: 0.0, is_looped: true, unit: Unit::Milliseconds };
        assert_eq!(Settings::parse(&json!({"file": "b.csv", "speed": 0, "loop": true, "time_unit": "ms"})), Ok(all));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (custom, wanted) in [
            (Json::Null, "expected `custom"),
            (json!({}), "custom.file"),
            (json!({"file": ""}), "custom.file"),
            (json!({"file": "a", "speed": -1}), "custom.speed"),
            (json!({"file": "a", "speed": "2"}), "custom.speed"),
            (json!({"file": "a", "loop": 1}), "custom.loop"),
            (json!({"file": "a", "time_unit": "h"}), "custom.time_unit"),
            (json!({"file": "a", "sped": 1}), "custom.sped"),
        ] {
            let error = Settings::parse(&custom).unwrap_err();
            assert!(error.contains(wanted), "{custom}: {error}");
        }
    }

    #[test]
    fn a_setting_of_the_driver_is_refused_by_its_name() {
        let read = |config: Json| of_driver(&DriverConfig { config, devices: Vec::new() });
        for none in [json!({}), json!({"json": {}}), json!({"fileList": [{"path": "a.csv"}]})] {
            assert_eq!(read(none), Ok(()));
        }
        for some in [json!({"json": {"speed": 10}}), json!({"kv": [{"key": "speed", "value": "10"}]})] {
            let said = read(some).unwrap_err();
            assert!(said.contains("is given `speed`; expected file, speed"), "{said}");
        }
    }
}
