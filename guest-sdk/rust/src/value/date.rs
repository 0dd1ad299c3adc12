//! A moment, as things tell it.

use std::fmt;
use std::str::FromStr;

use super::{Value, WrongType};

/// A date of the TSL: milliseconds since 1970-01-01T00:00:00Z in 13 digits, or seconds in 10. Which of the two stays as it was given:
/// a device that speaks the one would not know the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Date(String);

impl Date {
    /// Of milliseconds, up to the year 2286, where 13 digits end.
    pub fn from_unix_ms(ms: u64) -> Self {
        Self(format!("{:013}", ms.min(9_999_999_999_999)))
    }

    /// Of seconds, up to the year 2286, where 10 digits end.
    pub fn from_unix_s(s: u64) -> Self {
        Self(format!("{:010}", s.min(9_999_999_999)))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, whichever it was given in.
    pub fn unix_ms(&self) -> u64 {
        let number = self.0.parse().unwrap_or_default();
        if self.0.len() == SECONDS_DIGITS { number * 1_000 } else { number }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const SECONDS_DIGITS: usize = 10;
const MILLISECONDS_DIGITS: usize = 13;

impl FromStr for Date {
    type Err = WrongType;

    fn from_str(text: &str) -> Result<Self, WrongType> {
        let is_date = matches!(text.len(), SECONDS_DIGITS | MILLISECONDS_DIGITS) && text.bytes().all(|b| b.is_ascii_digit());
        if is_date { Ok(Self(text.to_owned())) } else { Err(WrongType::new(EXPECTED, &Value::from(text))) }
    }
}

const EXPECTED: &str = "a date of 13 or 10 digits";

impl TryFrom<&Value> for Date {
    type Error = WrongType;

    fn try_from(value: &Value) -> Result<Self, WrongType> {
        match value {
            Value::Date(text) | Value::Text(text) => text.parse(),
            // In JSON without a TSL it may be a number.
            other => i64::try_from(other).map_err(|_| WrongType::new(EXPECTED, other))?.to_string().parse(),
        }
    }
}

impl From<Date> for Value {
    fn from(date: Date) -> Self {
        Self::Date(date.0)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_keeps_its_digits_and_tells_milliseconds() {
        let seconds: Date = "1565136000".parse().unwrap();
        assert_eq!((seconds.unix_ms(), seconds.as_str()), (1_565_136_000_000, "1565136000"));
        assert_eq!(Date::from_unix_ms(1_565_136_000_000).to_string(), "1565136000000");
        assert_eq!(Date::from_unix_ms(5).unix_ms(), 5);
        assert_eq!(Date::from_unix_s(5).unix_ms(), 5_000);
        assert_eq!(Date::try_from(&Value::Double(1_565_136_000_000.0)), Ok(Date::from_unix_ms(1_565_136_000_000)));
        for wrong in ["", "156513600", "-565136000", "yesterday!"] {
            assert!(wrong.parse::<Date>().is_err(), "{wrong}");
        }
    }
}
