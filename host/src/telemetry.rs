//! What keeps the log readable and bounded, whoever chooses what is in it or how often.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Text that a guest or a client chose, fit for one line of a log: control characters and those that turn the direction of writing are replaced,
/// and the end is cut.
pub fn printable(text: &str) -> String {
    let end = text.floor_char_boundary(LINE_BYTES_MAX);
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}');
    let shown = |c: char| if c.is_control() && c != '\t' || turns(c) { '\u{fffd}' } else { c };
    let mut line: String = text[..end].chars().map(shown).collect();
    if end < text.len() {
        line.push_str(" ...");
    }
    line
}

/// The longest text of [`printable`], in bytes.
pub const LINE_BYTES_MAX: usize = 4_096;

/// A log line that somebody else sets the pace of: at most one a second, with the number of those left out.
#[derive(Default)]
pub struct OncePerSecond(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl OncePerSecond {
    /// Whether to write a line now, and how many were left out since the last one.
    pub fn turn(&self) -> Option<u64> {
        let mut state = self.0.lock();
        if state.last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(Instant::now());
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_begin_a_line_of_its_own_nor_write_a_long_one() {
        assert_eq!(printable("a\nINFO b\u{1b}[31m"), "a\u{fffd}INFO b\u{fffd}[31m");
        assert!(printable(&"ä".repeat(5_000)).len() < LINE_BYTES_MAX + 8);
    }

    #[test]
    fn one_line_a_second_is_written_and_the_others_are_counted() {
        let line = OncePerSecond::default();
        assert_eq!(line.turn(), Some(0));
        assert_eq!((line.turn(), line.turn()), (None, None));
        line.0.lock().last = None;
        assert_eq!(line.turn(), Some(2));
    }
}
