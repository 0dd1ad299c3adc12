//! How many lines each one may have written: so many a second, and the rest is counted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::Clock;

pub struct Rate {
    clock: Clock,
    windows: Mutex<HashMap<String, Window>>,
}

struct Window {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

/// Lines of one that were left out since the last sweep.
pub struct Suppressed {
    pub who: String,
    pub lines: u64,
}

impl Rate {
    pub fn new(clock: Clock) -> Self {
        Self { clock, windows: Mutex::default() }
    }

    /// Whether a line of this one may be written; counts it if not.
    pub fn allows(&self, who: &str) -> bool {
        let now = self.clock.monotonic();
        let mut windows = self.windows.lock();
        // Beyond the bound, the newcomers share one window.
        let who = if windows.len() < WHO_MAX || windows.contains_key(who) { who } else { OTHERS };
        if !windows.contains_key(who) {
            windows.insert(who.to_owned(), Window { since: now, lines: 0, suppressed: 0 });
        }
        let Some(window) = windows.get_mut(who) else { return false };
        if now - window.since >= WINDOW {
            (window.since, window.lines) = (now, 0);
        }
        if window.lines < LINES_PER_S_MAX {
            window.lines += 1;
            true
        } else {
            window.suppressed += 1;
            false
        }
    }

    /// Takes the counts, and forgets those who were quiet.
    pub fn sweep(&self) -> Vec<Suppressed> {
        let now = self.clock.monotonic();
        let mut taken = Vec::new();
        self.windows.lock().retain(|who, window| {
            let lines = std::mem::take(&mut window.suppressed);
            if lines > 0 {
                taken.push(Suppressed { who: who.clone(), lines });
            }
            now - window.since < WINDOW
        });
        taken
    }

    pub fn is_empty(&self) -> bool {
        self.windows.lock().is_empty()
    }
}

pub const LINES_PER_S_MAX: u32 = 10;
/// How many are told apart.
const WHO_MAX: usize = 1_024;
const OTHERS: &str = "(others)";
const WINDOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ever_new_names_do_not_grow_the_map() {
        let (clock, hands) = Clock::fixed(0);
        let rate = Rate::new(clock);
        let allowed = (0..5_000).filter(|number| rate.allows(&number.to_string())).count();
        assert_eq!(allowed, WHO_MAX + LINES_PER_S_MAX as usize);
        assert_eq!(rate.windows.lock().len(), WHO_MAX + 1);
        hands.advance(WINDOW);
        let taken: Vec<_> = rate.sweep().into_iter().map(|one| (one.who, one.lines)).collect();
        assert_eq!(taken, [(OTHERS.to_owned(), 5_000 - allowed as u64)]);
        assert!(rate.is_empty());
    }
}
