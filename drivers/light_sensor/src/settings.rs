//! What `config` in `ledge.toml` may say, read once. Whatever is wrong with it is said together.

use std::ops::RangeInclusive;
use std::time::Duration;

use ledge_sdk::thing_access::DriverConfig;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a step takes.
    pub period: Duration,
}

const PERIOD: &str = "period_ms";
const PERIOD_MS: RangeInclusive<u64> = 1..=86_400_000;
const PERIOD_MS_USUAL: u64 = 2_000;

impl Settings {
    /// The defaults where the configuration is silent.
    pub fn read(config: &DriverConfig) -> Result<Self, String> {
        let mut wrong: Vec<String> =
            unknown(config).map(|name| format!("there is no setting `{}`; expected `{PERIOD}`", name.escape_debug())).collect();
        if !config.config["fileList"].is_null() {
            wrong.push("the driver's `config` is `json` or `kv`: it reads no files".to_owned());
        }
        let period_ms = match (config.setting(PERIOD), config.setting_u64(PERIOD)) {
            (None, _) => PERIOD_MS_USUAL,
            (Some(_), Some(period_ms)) if PERIOD_MS.contains(&period_ms) => period_ms,
            (Some(found), _) => {
                let (min, max) = PERIOD_MS.into_inner();
                wrong.push(format!("the setting `{PERIOD}` is {found}; expected a whole number from {min} to {max}"));
                PERIOD_MS_USUAL
            }
        };
        if wrong.is_empty() { Ok(Self { period: Duration::from_millis(period_ms) }) } else { Err(wrong.join("; ")) }
    }
}

fn unknown(config: &DriverConfig) -> impl Iterator<Item = &str> {
    let json = config.config["json"].as_object().into_iter().flat_map(|object| object.keys().map(String::as_str));
    let kv = config.config["kv"].as_array().into_iter().flatten().filter_map(|entry| entry["key"].as_str());
    json.chain(kv).filter(|name| *name != PERIOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<Settings, String> {
        Settings::read(&format!(r#"{{"config":{config}}}"#).parse().unwrap())
    }

    #[test]
    fn the_period_is_read_from_both_forms_and_is_as_usual_unless_it_is_given() {
        for (config, period_ms) in [
            ("{}", PERIOD_MS_USUAL),
            (r#"{"json": {}}"#, PERIOD_MS_USUAL),
            (r#"{"json": {"period_ms": 1}}"#, 1),
            (r#"{"kv": [{"key": "period_ms", "value": "500", "note": ""}]}"#, 500),
        ] {
            assert_eq!(read(config), Ok(Settings { period: Duration::from_millis(period_ms) }), "{config}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_all_of_it_together() {
        for (config, wanted) in [
            (r#"{"json": {"period_ms": 0}}"#, &["`period_ms` is 0; expected a whole number from 1 to 86400000"][..]),
            (r#"{"json": {"period_ms": -1}}"#, &["`period_ms` is -1"]),
            (r#"{"json": {"period_ms": 1.5}}"#, &["`period_ms` is 1.5"]),
            (r#"{"json": {"period_ms": null}}"#, &["`period_ms` is null"]),
            (r#"{"json": {"period_ms": 86400001}}"#, &["`period_ms` is 86400001"]),
            (r#"{"kv": [{"key": "period_ms", "value": "abc"}]}"#, &["`period_ms` is \"abc\""]),
            (r#"{"json": {"perod_ms": 500}}"#, &["no setting `perod_ms`; expected `period_ms`"]),
            (r#"{"json": {"perod_ms": 500, "a": 1, "period_ms": 0}}"#, &["`perod_ms`", "`a`", "`period_ms` is 0"]),
            (r#"{"fileList": []}"#, &["it reads no files"]),
        ] {
            let said = read(config).unwrap_err();
            assert!(wanted.iter().all(|wanted| said.contains(wanted)), "{config}: {said}");
        }
    }
}
