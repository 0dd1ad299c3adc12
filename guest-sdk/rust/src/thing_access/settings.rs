//! A driver's settings, checked. Whatever is wrong with them is noted, so that all of it is said together.

use std::ops::RangeInclusive;

use serde_json::Value as Json;

use super::DriverConfig;

/// Settings that are being read. [`Settings::end`] says what is wrong with them.
#[derive(Debug)]
pub struct Settings<'a> {
    config: &'a DriverConfig,
    wrong: Vec<String>,
}

impl DriverConfig {
    /// Begins to read the settings. There are these; every other that the project gives is noted as wrong.
    pub fn settings(&self, names: &[&str]) -> Settings<'_> {
        let expected: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let unknown = self.names().filter(|name| !names.contains(name));
        let wrong = unknown.map(|name| format!("there is no setting `{}`; expected {}", name.escape_debug(), expected.join(", ")));
        Settings { config: self, wrong: wrong.collect() }
    }
}

impl<'a> Settings<'a> {
    /// Notes that the driver reads no files, if the project gives it some.
    pub fn no_files(&mut self) {
        if !self.config.config["fileList"].is_null() {
            self.note("the driver's `config` is `json` or `kv`: it reads no files");
        }
    }

    /// A whole number, as a number or as text, within this range. `usual` if it is not given.
    pub fn number(&mut self, name: &str, range: RangeInclusive<u64>, usual: u64) -> u64 {
        match (self.config.setting(name), self.config.setting_u64(name)) {
            (None, _) => usual,
            (Some(_), Some(number)) if range.contains(&number) => number,
            (Some(found), _) => {
                let (min, max) = range.into_inner();
                self.note(format!("the setting `{name}` is {found}; expected a whole number from {min} to {max}"));
                usual
            }
        }
    }

    /// Whatever `read` makes of a setting; `expected` says what that is. `usual` if it is not given.
    pub fn other<T>(&mut self, name: &str, expected: &str, usual: T, read: impl FnOnce(&'a Json) -> Option<T>) -> T {
        let Some(found) = self.config.setting(name) else { return usual };
        read(found).unwrap_or_else(|| {
            self.note(format!("the setting `{name}` is {found}; expected {expected}"));
            usual
        })
    }

    /// Notes something else that is wrong.
    pub fn note(&mut self, wrong: impl Into<String>) {
        self.wrong.push(wrong.into());
    }

    /// What was read, or all that is wrong with the settings.
    pub fn end<T>(self, read: T) -> Result<T, String> {
        if self.wrong.is_empty() { Ok(read) } else { Err(self.wrong.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<(u64, String), String> {
        let config: DriverConfig = format!(r#"{{"config":{config}}}"#).parse().unwrap();
        let mut settings = config.settings(&["period_ms", "host"]);
        settings.no_files();
        let period_ms = settings.number("period_ms", 1..=1_000, 20);
        let host = settings.other("host", "an address as text", "here", Json::as_str).to_owned();
        settings.end((period_ms, host))
    }

    #[test]
    fn both_forms_are_read_and_what_is_not_given_is_as_usual() {
        for (config, period_ms, host) in [
            ("{}", 20, "here"),
            (r#"{"json": {}}"#, 20, "here"),
            (r#"{"json": {"period_ms": 1, "host": "there"}}"#, 1, "there"),
            (r#"{"json": {"period_ms": "1000"}}"#, 1_000, "here"),
            (r#"{"kv": [{"key": "period_ms", "value": "500", "note": ""}, {"key": "host", "value": "there"}]}"#, 500, "there"),
        ] {
            assert_eq!(read(config), Ok((period_ms, host.to_owned())), "{config}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_all_of_it_together() {
        for (config, wanted) in [
            (r#"{"json": {"period_ms": 0}}"#, &["`period_ms` is 0; expected a whole number from 1 to 1000"][..]),
            (r#"{"json": {"period_ms": -1}}"#, &["`period_ms` is -1"]),
            (r#"{"json": {"period_ms": 1.5}}"#, &["`period_ms` is 1.5"]),
            (r#"{"json": {"period_ms": null}}"#, &["`period_ms` is null"]),
            (r#"{"json": {"period_ms": 1001}}"#, &["`period_ms` is 1001"]),
            (r#"{"kv": [{"key": "period_ms", "value": "abc"}]}"#, &["`period_ms` is \"abc\""]),
            (r#"{"json": {"host": 7}}"#, &["`host` is 7; expected an address as text"]),
            (r#"{"json": {"perod_ms": 500}}"#, &["no setting `perod_ms`; expected `period_ms`, `host`"]),
            (r#"{"json": {"perod_ms": 500, "a\nb": 1, "period_ms": 0}}"#, &["`perod_ms`", "`a\\nb`", "`period_ms` is 0"]),
            (r#"{"fileList": []}"#, &["it reads no files"]),
        ] {
            let said = read(config).unwrap_err();
            assert!(wanted.iter().all(|wanted| said.contains(wanted)), "{config}: {said}");
        }
    }
}
