//! When a timer ticks: a cron expression in a time zone, or an interval.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
pub use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// As a manifest and the store have it. What is taken from outside is checked by [`Schedule::parse`] before it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Five fields: minute, hour, day of month, month, day of week.
    Cron { cron: String, time_zone: String },
    /// So many seconds from one tick to the next.
    EveryS(u32),
}

/// A schedule that can be asked.
#[derive(Clone, Debug)]
pub enum Parsed {
    Cron(Box<(Cron, TimeZone)>),
    Every(Duration),
}

impl Schedule {
    pub fn parse(&self) -> Result<Parsed, String> {
        match self {
            Self::EveryS(0) => Err("an interval has one second at least".to_owned()),
            Self::EveryS(seconds) => Ok(Parsed::Every(Duration::from_secs((*seconds).into()))),
            Self::Cron { cron, time_zone } => {
                let (parsed, zone) = (parse_cron(cron)?, parse_zone(time_zone)?);
                if next_tick(&parsed, &zone, 0).is_none() {
                    return Err(format!("`{cron}` never ticks: there is no such day"));
                }
                Ok(Parsed::Cron(Box::new((parsed, zone))))
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { cron, time_zone } => write!(f, "{cron} ({time_zone})"),
            Self::EveryS(seconds) => write!(f, "every {seconds} s"),
        }
    }
}

/// Parses a cron expression of five fields.
pub fn parse_cron(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text).map_err(|wrong| {
        format!(
            "`{text}` is no schedule ({wrong}); expected five fields: minute, hour, day of month, month, day of week, as in `0 8 * * 1-5`"
        )
    })
}

/// Looks up a time zone by its IANA name, in the table of this program: a box may have none of its own.
pub fn parse_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("`{name}` is no time zone; expected a name like `Asia/Shanghai`, `Europe/Berlin` or `UTC`"))
}

/// The first tick of a cron expression after a moment, both in milliseconds since 1970. `None`: there is none any more.
pub fn next_tick(cron: &Cron, zone: &TimeZone, after_ms: u64) -> Option<u64> {
    let after = Timestamp::from_millisecond(i64::try_from(after_ms).ok()?).ok()?.to_zoned(zone.clone());
    let next = cron.find_next_occurrence(&after, false).ok()?;
    u64::try_from(next.timestamp().as_millisecond()).ok()
}

/// What a clock on the wall shows.
pub struct Local {
    /// Days after Monday.
    pub weekday: usize,
    /// Minutes after midnight.
    pub minute: u16,
    /// As in `Wed 08:30`.
    pub text: String,
}

/// The local time of a moment. `None`: it is out of all calendars.
pub fn local(unix_ms: u64, zone: &TimeZone) -> Option<Local> {
    let local = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?.to_zoned(zone.clone());
    Some(Local {
        weekday: local.weekday().to_monday_zero_offset().unsigned_abs().into(),
        minute: u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs()),
        text: local.strftime("%a %H:%M").to_string(),
    })
}

/// Whether a moment lies in a minute at whose beginning the schedule ticks. An interval has no such minutes.
pub fn is_minute_of(schedule: &Parsed, unix_ms: u64) -> bool {
    let Parsed::Cron(cron) = schedule else { return false };
    let minute_ms = unix_ms - unix_ms % 60_000;
    next_tick(&cron.0, &cron.1, minute_ms.saturating_sub(1)) == Some(minute_ms)
}

/// The moment that a text in ISO 8601 with a zone names, in milliseconds since 1970.
pub fn moment(text: &str) -> Result<u64, String> {
    let parsed = text.parse::<Timestamp>().ok().and_then(|moment| u64::try_from(moment.as_millisecond()).ok());
    parsed.ok_or_else(|| format!("`{text}` is no moment; expected one like 2026-11-25T08:00:00+08:00"))
}

/// The moment of a header `Date`, as in `Sun, 06 Nov 1994 08:49:37 GMT`, in milliseconds since 1970.
pub fn http_date(text: &str) -> Option<u64> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    u64::try_from(zoned.timestamp().as_millisecond()).ok()
}

/// As HTTP has it in `Date`.
pub fn to_http_date(unix_ms: u64) -> String {
    timestamp(unix_ms).map_or_else(String::new, |moment| moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// As ISO 8601, in UTC.
pub fn iso(unix_ms: u64) -> String {
    timestamp(unix_ms).map_or_else(String::new, |moment| moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// The same with its milliseconds.
pub fn iso_ms(unix_ms: u64) -> String {
    timestamp(unix_ms).map_or_else(String::new, |moment| format!("{moment:.3}"))
}

fn timestamp(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}

/// A moment in Unix milliseconds, as people write one: in ISO 8601, in milliseconds, or as so long ago (`10m`, `1h 30m`).
pub fn parse_moment(text: &str, now_ms: u64) -> Result<u64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    if let Ok(ago) = text.parse::<SignedDuration>() {
        return Ok(now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(0)));
    }
    let wrong = |_| format!("`{text}` is no time; expected one like 2026-01-31T08:00:00Z, Unix milliseconds, or so long ago, as in 10m");
    let time: Timestamp = text.parse().map_err(wrong)?;
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let now_ms = 1_800_000_000_000;
        assert_eq!(parse_moment("10m", now_ms), Ok(now_ms - 600_000));
        assert_eq!(parse_moment("1h 30m", now_ms), Ok(now_ms - 5_400_000));
        assert_eq!(parse_moment("1700000000000", now_ms), Ok(1_700_000_000_000));
        assert_eq!(parse_moment("2023-11-14T22:13:20Z", now_ms), Ok(1_700_000_000_000));
        assert!(parse_moment("yesterday", now_ms).unwrap_err().starts_with("`yesterday` is no time"));
        assert_eq!(iso_ms(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
    }

    fn ticks(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let (cron, zone) = (parse_cron(cron).unwrap(), parse_zone(zone).unwrap());
        let mut at = from.parse::<Timestamp>().unwrap().as_millisecond() as u64;
        std::iter::repeat_with(|| {
            at = next_tick(&cron, &zone, at).unwrap();
            iso(at)
        })
        .take(count)
        .collect()
    }

    #[test]
    fn a_schedule_is_of_its_time_zone_over_the_change_of_the_clocks() {
        let shanghai = ticks("0 8 * * 1-5", "Asia/Shanghai", "2026-11-26T00:00:00Z", 3);
        assert_eq!(shanghai, ["2026-11-27T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"]);
        // The night in which Berlin's clocks go from 2 to 3, and the one from 3 back to 2.
        let spring = ticks("30 1 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(spring, ["2026-03-29T00:30:00Z", "2026-03-29T23:30:00Z"]);
        let autumn = ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"], "once, and not twice");
        let gone = ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(gone, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"], "a time that does not exist that day is its next");
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        for wrong in ["", "* * * *", "* * * * * *", "60 * * * *", "a b c d e"] {
            assert!(parse_cron(wrong).unwrap_err().contains("five fields"), "{wrong}");
        }
        assert!(parse_zone("Mars/Base").is_err());
        assert!(Schedule::EveryS(0).parse().is_err());
        let never = next_tick(&parse_cron("0 0 30 2 *").unwrap(), &TimeZone::UTC, 0);
        assert_eq!(never, None);
    }
}
