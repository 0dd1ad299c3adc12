//! The times of a recording: numbers since an epoch, and ISO 8601.
//!
//! Only the space between them counts, so any epoch will do, and a time without a zone is taken as UTC.

use std::fmt;

/// What the numbers of a recording are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds from 100,000,000,000 on (March 1973), seconds below.
    #[default]
    Guessed,
    Seconds,
    Milliseconds,
}

/// Numbers from here on are milliseconds: as seconds they would be in the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;

/// A text that is no time.
#[derive(Debug, PartialEq)]
pub struct NoTime(String);

impl fmt::Display for NoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no time; expected seconds or milliseconds as a number, or one like 2019-08-07T12:30:00.250+08:00",
            self.0.escape_debug()
        )
    }
}

/// A time in milliseconds.
pub fn parse(text: &str, unit: Unit) -> Result<f64, NoTime> {
    let text = text.trim();
    let number = text.parse::<f64>().ok().and_then(|number| from_number(number, unit));
    number.or_else(|| from_iso(text)).ok_or_else(|| NoTime(text.chars().take(40).collect()))
}

pub fn from_number(number: f64, unit: Unit) -> Option<f64> {
    let is_seconds = match unit {
        Unit::Guessed => number.abs() < MILLISECONDS_FROM,
        Unit::Seconds => true,
        Unit::Milliseconds => false,
    };
    let ms = if is_seconds { number * 1_000.0 } else { number };
    ms.is_finite().then_some(ms)
}

/// `2019-08-07T12:30:00`, with a space in place of the `T`, with a fraction, with `Z` or an offset as in `+08:00`.
fn from_iso(text: &str) -> Option<f64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let (time, offset_min) = zone(time)?;
    let mut parts = time.splitn(3, ':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let (second, fraction) = parts.next().map_or(Some((0, 0.0)), seconds)?;
    let is_there = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_min;
    is_there.then(|| (minutes * 60 + second) as f64 * 1_000.0 + fraction * 1_000.0)
}

/// The time of day without its zone, and the zone in minutes east.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (time, offset) = time.split_at(at);
    let (hours, minutes) = offset[1..].split_once(':').or_else(|| offset[1..].split_at_checked(2))?;
    let (hours, minutes) = (digits(hours, 2)?, if minutes.is_empty() { 0 } else { digits(minutes, 2)? });
    let minutes = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
    Some((time, if offset.starts_with('-') { -minutes } else { minutes }))
}

/// `SS` or `SS.fff`: whole seconds, and their fraction.
fn seconds(text: &str) -> Option<(i64, f64)> {
    let Some((whole, fraction)) = text.split_once(['.', ',']) else { return Some((digits(text, 2)?, 0.0)) };
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    let fraction = is_fraction.then(|| format!("0.{fraction}").parse().ok())??;
    Some((digits(whole, 2)?, fraction))
}

fn digits(text: &str, length: usize) -> Option<i64> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let leap_days_before = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years = (year - 1970) * 365 + leap_days_before(year) - leap_days_before(1970);
    years + (1..month).map(|month| days_in(year, month)).sum::<i64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<f64> {
        parse(text, Unit::Guessed).ok()
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds_by_their_size_or_as_is_said() {
        assert_eq!(ms("1565181000"), Some(1_565_181_000_000.0));
        assert_eq!(ms("1565181000.25"), Some(1_565_181_000_250.0));
        assert_eq!(ms("1565181000250"), Some(1_565_181_000_250.0));
        assert_eq!(ms(" 1.5 "), Some(1_500.0));
        assert_eq!(parse("1500", Unit::Milliseconds), Ok(1_500.0));
        assert_eq!(parse("1565181000250", Unit::Seconds), Ok(1_565_181_000_250_000.0));
    }

    #[test]
    fn iso_times_are_read_with_and_without_a_zone() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", 0.0),
            ("2019-08-07T12:30:00Z", 1_565_181_000_000.0),
            ("2019-08-07 12:30", 1_565_181_000_000.0),
            ("2019-08-07T12:30:00.250", 1_565_181_000_250.0),
            ("2019-08-07T20:30:00+08:00", 1_565_181_000_000.0),
            ("2019-08-07T20:30:00+0800", 1_565_181_000_000.0),
            ("2019-08-07T04:00:00-08:30", 1_565_181_000_000.0),
            ("2000-02-29T00:00:00Z", 951_782_400_000.0),
            ("1969-12-31T23:59:59Z", -1_000.0),
        ] {
            assert_eq!(ms(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            "",
            "now",
            "inf",
            "nan",
            "2019-08-07",
            "2019-13-07T00:00:00",
            "2019-02-29T00:00:00",
            "2019-08-07T24:00:00",
            "2019-08-07T12:30:00.",
            "2019-08-07T12:30:00+8",
            "+2019-08-07T00:00",
            "12:30:00",
            "2019-08-07Té2:30",
            "2019-08-07T12:30:00+é1",
        ] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
        assert!(parse("\u{7}", Unit::Guessed).unwrap_err().to_string().starts_with("`\\u{7}` is no time"));
    }
}
