//! Lines of the log that strangers cause: one a second, so that a flood of them leaves room for the others.

use std::fmt::Display;
use std::time::Duration;

#[derive(Default)]
pub struct Told {
    /// When the next line may come.
    next: Duration,
    untold: u32,
}

const PAUSE: Duration = Duration::from_secs(1);

impl Told {
    /// The line, if it may be said now; it says how many were not.
    pub fn line(&mut self, line: impl Display, now: Duration) -> Option<String> {
        if now < self.next {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.next = now + PAUSE;
        Some(match std::mem::take(&mut self.untold) {
            0 => line.to_string(),
            untold => format!("{line} (and {untold} more like this before it)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_tells_how_many_there_were() {
        let (mut told, second) = (Told::default(), Duration::from_secs(1));
        assert_eq!(told.line("a", Duration::ZERO).as_deref(), Some("a"));
        assert!((0..5).all(|_| told.line("b", second / 2).is_none()));
        assert_eq!(told.line("c", second).as_deref(), Some("c (and 5 more like this before it)"));
        assert_eq!(told.line("d", second * 2).as_deref(), Some("d"));
    }
}
