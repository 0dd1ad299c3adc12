//! The condition of a time of day.

use std::fmt;

use crate::schedule::{self, TimeZone, parse_zone};

/// From one time of day to another, on some days of the week. One that ends before it begins goes over midnight, and belongs to the day on
/// which it began.
#[derive(Clone, Debug)]
pub struct TimeRange {
    /// Minutes after midnight: the first one, and the first one after it.
    from: u16,
    until: u16,
    /// Monday first.
    days: [bool; 7],
    zone: TimeZone,
    text: String,
}

impl TimeRange {
    /// `beginDate` and `endDate` as HH:mm, and `repeat` as days of the week, 1 (Monday) to 7, all of them where there is none.
    pub fn new(begin: &str, end: &str, repeat: Option<&str>, zone: &str) -> Result<Self, String> {
        let (from, until) = (minutes(begin)?, minutes(end)?);
        let days = repeat.map_or(Ok([true; 7]), |days| parse_days(days, 7))?;
        let text = format!("{begin} to {end}{} ({zone})", repeat.map_or(String::new(), |days| format!(" on days {days}")));
        Ok(Self { from, until, days, zone: parse_zone(zone)?, text })
    }

    /// The original's second form, as in `0-30 6-22 * * 1,2,3`: from 6:00 to 22:30 on these days, 0 and 7 being Sunday.
    pub fn from_cron(cron: &str, zone: &str) -> Result<Self, String> {
        let wrong = || format!("`{cron}` is no range of time; expected one like `0-0 6-22 * * 1,2,3`: minutes, hours, `*`, `*`, days");
        let [minutes, hours, "*", "*", days] = cron.split_whitespace().collect::<Vec<_>>()[..] else { return Err(wrong()) };
        let pair = |text: &str, max: u16| -> Option<(u16, u16)> {
            let (a, b) = text.split_once('-')?;
            let both: (u16, u16) = (a.parse().ok()?, b.parse().ok()?);
            (both.0 <= max && both.1 <= max).then_some(both)
        };
        let (minute, hour) = (pair(minutes, 59).ok_or_else(wrong)?, pair(hours, 23).ok_or_else(wrong)?);
        let days = if days == "*" { [true; 7] } else { parse_days(days, 0)? };
        Ok(Self {
            from: hour.0 * 60 + minute.0,
            until: hour.1 * 60 + minute.1,
            days,
            zone: parse_zone(zone)?,
            text: format!("{cron} ({zone})"),
        })
    }

    /// Whether a moment lies in it, with the local time that it was judged by.
    pub fn covers(&self, unix_ms: u64) -> (bool, String) {
        let Some(local) = schedule::local(unix_ms, &self.zone) else { return (false, "no time".to_owned()) };
        let (today, minute) = (local.weekday, local.minute);
        let yesterday = (today + 6) % 7;
        let is_in = if self.from < self.until {
            self.days[today] && (self.from..self.until).contains(&minute)
        } else {
            (self.days[today] && minute >= self.from) || (self.days[yesterday] && minute < self.until)
        };
        (is_in, local.text)
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn minutes(text: &str) -> Result<u16, String> {
    let wrong = || format!("`{text}` is no time of day; expected HH:mm, as in 08:30");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let plain = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !plain(hour) || !plain(minute) {
        return Err(wrong());
    }
    match (hour.parse::<u16>(), minute.parse::<u16>()) {
        (Ok(24), Ok(0)) => Ok(24 * 60),
        (Ok(hour @ 0..=23), Ok(minute @ 0..=59)) => Ok(hour * 60 + minute),
        _ => Err(wrong()),
    }
}

/// Days of the week with commas between, Monday being 1; Sunday is `sunday`, or 7 in any case.
fn parse_days(text: &str, sunday: u8) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for day in text.split(',') {
        match day.trim().parse::<u8>() {
            Ok(day) if day == sunday || day == 7 => days[6] = true,
            Ok(day @ 1..=6) => days[usize::from(day) - 1] = true,
            _ => return Err(format!("`{text}` names no days of the week; expected numbers like `1,2,3`, 1 being Monday and 7 Sunday")),
        }
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in(range: &TimeRange, moment: &str) -> bool {
        range.covers(schedule::moment(moment).unwrap()).0
    }

    #[test]
    fn a_range_is_of_its_zone_and_days_and_may_go_over_midnight() {
        let day = TimeRange::new("8:30", "23:00", Some("1,2,3"), "Asia/Shanghai").unwrap();
        // 2026-11-25 is a Wednesday.
        assert!(is_in(&day, "2026-11-25T00:30:00Z") && is_in(&day, "2026-11-25T14:59:00Z"));
        assert!(!is_in(&day, "2026-11-25T00:29:00Z") && !is_in(&day, "2026-11-25T15:00:00Z") && !is_in(&day, "2026-11-26T03:00:00Z"));
        let night = TimeRange::new("22:00", "06:00", Some("5"), "UTC").unwrap();
        assert!(is_in(&night, "2026-11-27T22:00:00Z") && is_in(&night, "2026-11-28T05:59:00Z"));
        assert!(!is_in(&night, "2026-11-27T05:00:00Z") && !is_in(&night, "2026-11-28T22:00:00Z"));
        let all = TimeRange::new("00:00", "24:00", None, "UTC").unwrap();
        assert!(is_in(&all, "2026-11-25T23:59:59Z") && is_in(&all, "2026-11-25T00:00:00Z"));
    }

    #[test]
    fn the_form_of_cron_says_the_same() {
        let range = TimeRange::from_cron("0-30 6-22 * * 1,2,3", "UTC").unwrap();
        assert!(is_in(&range, "2026-11-25T06:00:00Z") && is_in(&range, "2026-11-25T22:29:00Z"));
        assert!(!is_in(&range, "2026-11-25T22:30:00Z") && !is_in(&range, "2026-11-26T12:00:00Z"));
        assert!(is_in(&TimeRange::from_cron("0-0 6-22 * * 0", "UTC").unwrap(), "2026-11-29T12:00:00Z"));
    }

    #[test]
    fn nonsense_is_refused() {
        for (begin, end, days) in [("8", "9:00", None), ("08:60", "9:00", None), ("25:00", "9:00", None), ("8:00", "9:00", Some("8"))] {
            assert!(TimeRange::new(begin, end, days, "UTC").is_err(), "{begin}");
        }
        for wrong in ["* * * * *", "0-0 6-22 1 * 1", "0-60 6-22 * * 1", "0-0 6-22 * * x", ""] {
            assert!(TimeRange::from_cron(wrong, "UTC").is_err(), "{wrong}");
        }
    }
}
