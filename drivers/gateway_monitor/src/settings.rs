//! What `config` in `ledge.toml` may say, read once. Whatever is wrong with it is said together.

use std::ops::RangeInclusive;
use std::time::Duration;

use ledge_sdk::thing_access::DriverConfig;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often it reports.
    pub period: Duration,
}

const PERIOD: &str = "period_ms";
/// The gateway's figures are up to a second old.
const PERIOD_MS: RangeInclusive<u64> = 1_000..=86_400_000;
const PERIOD_MS_USUAL: u64 = 10_000;

impl Settings {
    /// The defaults where the configuration is silent.
    pub fn read(config: &DriverConfig) -> Result<Self, String> {
        let mut settings = config.settings(&[PERIOD]);
        settings.no_files();
        let period = Duration::from_millis(settings.number(PERIOD, PERIOD_MS, PERIOD_MS_USUAL));
        settings.end(Self { period })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_setting_within_its_range() {
        let read = |config: &str| Settings::read(&format!(r#"{{"config":{config}}}"#).parse().unwrap());
        assert_eq!(read("{}"), Ok(Settings { period: Duration::from_millis(PERIOD_MS_USUAL) }));
        assert_eq!(read(r#"{"json": {"period_ms": 1000}}"#), Ok(Settings { period: Duration::from_millis(1_000) }));
        for (wrong, wanted) in [
            (r#"{"json": {"period_ms": 999}}"#, "expected a whole number from 1000 to 86400000"),
            (r#"{"json": {"period_ms": 86400001}}"#, "`period_ms` is 86400001"),
            (r#"{"json": {"perod_ms": 5000}}"#, "no setting `perod_ms`; expected `period_ms`"),
            (r#"{"fileList": []}"#, "it reads no files"),
        ] {
            let said = read(wrong).unwrap_err();
            assert!(said.contains(wanted), "{wrong}: {said}");
        }
    }
}
