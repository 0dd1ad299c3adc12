//! What of a recording was played, and what was left out.

use std::fmt;

use ledge_sdk::Fault;
use ledge_sdk::value::Properties;

#[derive(Default)]
pub struct Tally {
    pub read: u64,
    /// Whole or in part.
    pub played: u64,
    /// Those of them that lack values which were refused.
    in_part: u64,
    skipped: u64,
    /// Whether what is wrong with the recording has been said: another round need not say it again.
    pub is_said: bool,
    pub is_backwards_said: bool,
}

/// What a line lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lacks {
    Everything,
    Something,
}

/// Bad lines that are named; the others are counted.
const NAMED_MAX: u64 = 20;

impl Tally {
    /// For another time, that was asked for.
    pub fn again(&self) -> Self {
        Self { is_said: true, is_backwards_said: true, ..Self::default() }
    }

    /// Counts a line of which something was left out, and says what is to be said of it.
    pub fn left_out(&mut self, lacks: Lacks, why: &str) -> Option<String> {
        let what = match lacks {
            Lacks::Everything => {
                self.skipped += 1;
                "the line is skipped"
            }
            Lacks::Something => {
                self.in_part += 1;
                "the line's other values are reported"
            }
        };
        match self.skipped + self.in_part {
            _ if self.is_said => None,
            ..NAMED_MAX => Some(format!("{why}; {what}")),
            NAMED_MAX => Some(format!("{why}; {what}, and what else is wrong is counted only")),
            _ => None,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines", self.played)?;
        if self.in_part > 0 {
            write!(f, " ({} of them without values that were refused)", self.in_part)?;
        }
        write!(f, ", and {} skipped", self.skipped)
    }
}

/// Those of the values that were taken although others were refused; `None` where none was. A fault names the first few that it refuses
/// (`wit/thing-access.wit`), and counts the others: which of the rest were taken is not known then, and none is given.
pub fn taken(values: &Properties, fault: &Fault) -> Option<Properties> {
    let is_named = |identifier: &str| fault.message.contains(&format!("property `{identifier}`"));
    let rest: Properties = values.iter().filter(|value| !is_named(&value.identifier)).cloned().collect();
    let more = fault.message.rsplit_once("; and ").and_then(|(_, more)| more.strip_suffix(" more")?.parse().ok()).unwrap_or(0);
    // A fault that names none is about the report.
    if rest.len() == values.len() || rest.len() <= more {
        return None;
    }
    Some(if more == 0 { rest } else { Properties::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_part_are_played_and_only_whole_ones_are_skipped() {
        let mut tally = Tally { played: 6, ..Tally::default() };
        assert_eq!(tally.to_string(), "6 lines, and 0 skipped");
        assert_eq!(tally.left_out(Lacks::Everything, "is bad").unwrap(), "is bad; the line is skipped");
        assert_eq!(tally.left_out(Lacks::Something, "A is bad").unwrap(), "A is bad; the line's other values are reported");
        assert_eq!(tally.to_string(), "6 lines (1 of them without values that were refused), and 1 skipped");
        let again = tally.again();
        assert_eq!(again.to_string(), "0 lines, and 0 skipped");
    }

    #[test]
    fn after_twenty_they_are_counted_only_and_another_round_says_nothing() {
        let mut tally = Tally::default();
        let said: Vec<String> = (0..30).filter_map(|at| tally.left_out([Lacks::Everything, Lacks::Something][at % 2], "bad")).collect();
        assert_eq!(said.len(), 20);
        assert!(said[19].contains("counted only"), "{}", said[19]);
        assert_eq!(tally.to_string(), "0 lines (15 of them without values that were refused), and 15 skipped");
        assert_eq!(tally.again().left_out(Lacks::Everything, "bad"), None);
    }

    #[test]
    fn what_a_fault_does_not_name_was_taken() {
        let values = Properties::from([("A", 1), ("AB", 2), ("C", 3)]);
        let taken = |message: &str| taken(&values, &Fault::new(Fault::INVALID_TYPE, message));
        let some = taken("thing `a/b`: property `A`: expected a number; property `C`: is above 2").unwrap();
        assert_eq!(some, Properties::from([("AB", 2)]));
        assert_eq!(taken("thing `a/b`: property `A`: x; property `AB`: x; property `C`: x"), None);
        assert_eq!(taken("thing `a/b`: 300 members are given, 256 at most are allowed"), None);
        assert_eq!(taken("thing `a/b`: property `A`: x; and 1 more"), Some(Properties::new()));
        assert_eq!(taken("thing `a/b`: property `A`: x; and 2 more"), None);
    }
}
