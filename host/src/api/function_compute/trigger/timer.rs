//! Timers, with their schedules as Function Compute writes them.

use serde::Deserialize;

use crate::api::error::ApiError;
use crate::limit::INTERVAL_S;
use crate::schedule::{Schedule, parse_cron};
use crate::set::Timer;

const UTC: &str = "UTC";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TimerConfig {
    cron_expression: String,
    #[serde(default)]
    payload: Option<String>,
    #[serde(default = "yes")]
    enable: bool,
}

fn yes() -> bool {
    true
}

impl TimerConfig {
    pub fn apply(self, timer: &mut Timer) -> Result<(), ApiError> {
        if !self.enable {
            return Err(ApiError::bad_request("`enable` is false: a timer that is not to tick is deleted here"));
        }
        timer.schedule = schedule_of(&self.cron_expression).map_err(|wrong| ApiError::bad_request(format!("`cronExpression`: {wrong}")))?;
        timer.payload = self.payload.unwrap_or_default();
        Ok(())
    }
}

/// Parses Function Compute's expressions: `@every 5m`, and cron with seconds, which are 0 here, perhaps after `CRON_TZ=Asia/Shanghai`.
fn schedule_of(text: &str) -> Result<Schedule, String> {
    let text = text.trim();
    let expected =
        "expected `@every 5m`, or six fields: second (0), minute, hour, day of month, month, day of week, as in `0 30 8 * * 1-5`";
    if let Some(every) = text.strip_prefix("@every") {
        let seconds = seconds(every.trim()).filter(|seconds| INTERVAL_S.contains(seconds));
        return seconds.map(Schedule::EveryS).ok_or_else(|| format!("`{}`: {expected}", text.escape_debug()));
    }
    let (zone, fields) = match text.strip_prefix("CRON_TZ=").and_then(|rest| rest.split_once(char::is_whitespace)) {
        Some((zone, rest)) => (zone, rest),
        None => (UTC, text),
    };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ["0" | "00", fields @ ..] = fields.as_slice() else { return Err(format!("`{}`: {expected}", text.escape_debug())) };
    if fields.len() != 5 {
        return Err(format!("`{}`: {expected}", text.escape_debug()));
    }
    let schedule = Schedule::Cron { cron: fields.join(" "), time_zone: zone.to_owned() };
    match schedule.parse() {
        Ok(_) => Ok(schedule),
        // What is wrong with the fields is said of five.
        Err(_) if fields_are_wrong(&schedule) => Err(format!("`{}`: {expected}", text.escape_debug())),
        Err(wrong) => Err(wrong),
    }
}

fn fields_are_wrong(schedule: &Schedule) -> bool {
    matches!(schedule, Schedule::Cron { cron, .. } if parse_cron(cron).is_err())
}

/// As in `1h30m`.
fn seconds(text: &str) -> Option<u32> {
    let (mut rest, mut seconds) = (text, 0u32);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit = match tail.chars().next()? {
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u32>().ok()?.checked_mul(unit)?)?;
        rest = &tail[1..];
    }
    (seconds > 0).then_some(seconds)
}

pub fn expression(schedule: &Schedule) -> String {
    match schedule {
        Schedule::EveryS(seconds) => format!("@every {seconds}s"),
        Schedule::Cron { cron, time_zone } if time_zone == UTC => format!("0 {cron}"),
        Schedule::Cron { cron, time_zone } => format!("CRON_TZ={time_zone} 0 {cron}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_and_told_as_the_original_has_them() {
        for text in ["@every 300s", "0 30 8 * * 1-5", "CRON_TZ=Asia/Shanghai 0 0 4 * * *"] {
            assert_eq!(expression(&schedule_of(text).unwrap()), text);
        }
        assert_eq!(schedule_of("@every 1h30m"), Ok(Schedule::EveryS(5_400)));
        for wrong in [
            "",
            "@every",
            "@every 0s",
            "@every 5",
            "@every 99999999999h",
            "30 8 * * *",
            "5 30 8 * * *",
            "0 61 8 * * *",
            "CRON_TZ=Moon 0 0 4 * * *",
            "0 0 0 30 2 *",
        ] {
            assert!(schedule_of(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_expression_is_read_or_refused(text in "(@every |CRON_TZ=[A-Za-z/]{0,8} )?[0-9hms*/,? -]{0,20}|.{0,30}") {
            if let Ok(schedule) = schedule_of(&text) {
                proptest::prop_assert_eq!(schedule_of(&expression(&schedule)), Ok(schedule));
            }
        }
    }
}
