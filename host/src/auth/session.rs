//! Who is logged in: credentials that were checked once and are good for a while, known here only by a hash of theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::Clock;

/// SHA-256 of a token, or a keyed hash of a Basic header.
pub type Key = [u8; 32];

pub struct Sessions {
    clock: Clock,
    entries: Mutex<HashMap<Key, Entry>>,
}

struct Entry {
    user: Arc<str>,
    since: Instant,
    used: Instant,
}

impl Sessions {
    pub fn new(clock: Clock) -> Self {
        Self { clock, entries: Mutex::default() }
    }

    /// Starts a session. Where there are too many, of the user or in all, the one of them that was idle for longest ends.
    pub fn start(&self, key: Key, user: &str) {
        let now = self.clock.monotonic();
        let mut entries = self.entries.lock();
        if entries.len() >= SESSIONS_MAX {
            entries.retain(|_, entry| entry.is_good(now));
        }
        // Whoever logs in again and again ends sessions of their own, and nobody else's.
        if entries.values().filter(|entry| &*entry.user == user).count() >= SESSIONS_PER_USER_MAX {
            end_idlest(&mut entries, |entry| &*entry.user == user);
        }
        if entries.len() >= SESSIONS_MAX {
            end_idlest(&mut entries, |_| true);
        }
        entries.insert(key, Entry { user: user.into(), since: now, used: now });
    }

    /// Whose session this is; a look counts as use.
    pub fn user(&self, key: &Key) -> Option<Arc<str>> {
        let now = self.clock.monotonic();
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(key)?;
        if !entry.is_good(now) {
            entries.remove(key);
            return None;
        }
        entry.used = now;
        Some(entry.user.clone())
    }

    /// Whether there was such a session to end.
    pub fn end(&self, key: &Key) -> bool {
        let now = self.clock.monotonic();
        self.entries.lock().remove(key).is_some_and(|entry| entry.is_good(now))
    }

    pub fn end_all_of(&self, user: &str) {
        self.entries.lock().retain(|_, entry| &*entry.user != user);
    }
}

fn end_idlest(entries: &mut HashMap<Key, Entry>, which: impl Fn(&Entry) -> bool) {
    let idlest = entries.iter().filter(|(_, entry)| which(entry)).min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
    if let Some(idlest) = idlest {
        entries.remove(&idlest);
    }
}

impl Entry {
    fn is_good(&self, now: Instant) -> bool {
        now - self.used < SESSION_IDLE_MAX && now - self.since < SESSION_AGE_MAX
    }
}

/// A session that nobody used for so long has ended.
pub const SESSION_IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// A session of this age has ended, used or not.
pub const SESSION_AGE_MAX: Duration = Duration::from_secs(8 * 60 * 60);
pub const SESSIONS_MAX: usize = 1_024;
pub const SESSIONS_PER_USER_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Hands;

    fn key(number: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn sessions() -> (Sessions, Hands) {
        let (clock, hands) = Clock::fixed(0);
        (Sessions::new(clock), hands)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_idle_session_ends() {
        let (sessions, hands) = sessions();
        sessions.start(key(1), "a");
        for _ in 0..2 {
            hands.advance(SESSION_IDLE_MAX - SECOND);
            assert_eq!(sessions.user(&key(1)).as_deref(), Some("a"));
        }
        hands.advance(SESSION_IDLE_MAX);
        assert!(!sessions.end(&key(1)));
        assert_eq!(sessions.user(&key(1)), None);
    }

    #[test]
    fn a_busy_session_ends_too_and_the_wall_clock_is_no_help() {
        let (sessions, hands) = sessions();
        sessions.start(key(1), "a");
        let step = Duration::from_secs(29 * 60);
        let mut age = Duration::ZERO;
        while age + step < SESSION_AGE_MAX {
            hands.advance(step);
            hands.set_unix_ms(0);
            age += step;
            assert!(sessions.user(&key(1)).is_some());
        }
        hands.advance(step);
        assert_eq!(sessions.user(&key(1)), None);
    }

    #[test]
    fn the_session_that_was_idle_for_longest_makes_room() {
        let (sessions, hands) = sessions();
        for number in 0..SESSIONS_MAX {
            sessions.start(key(number), &format!("user {}", number % 16));
            hands.advance(Duration::from_millis(1));
        }
        assert!(sessions.user(&key(0)).is_some());
        sessions.start(key(SESSIONS_MAX), "a");
        assert!(sessions.user(&key(1)).is_none());
        assert!(sessions.user(&key(0)).is_some() && sessions.user(&key(2)).is_some() && sessions.user(&key(SESSIONS_MAX)).is_some());
        assert_eq!(sessions.entries.lock().len(), SESSIONS_MAX);
    }

    #[test]
    fn whoever_logs_in_without_end_ends_nobody_elses_session() {
        let (sessions, hands) = sessions();
        sessions.start(key(0), "a");
        for number in 1..=10_000 {
            hands.advance(Duration::from_millis(1));
            sessions.start(key(number), "b");
        }
        assert_eq!(sessions.entries.lock().len(), 1 + SESSIONS_PER_USER_MAX);
        assert!(sessions.user(&key(0)).is_some() && sessions.user(&key(10_000)).is_some());
        assert!(sessions.user(&key(10_000 - SESSIONS_PER_USER_MAX)).is_none());
    }

    #[test]
    fn a_user_can_be_logged_out_everywhere() {
        let (sessions, _hands) = sessions();
        sessions.start(key(1), "a");
        sessions.start(key(2), "b");
        sessions.end_all_of("a");
        assert_eq!((sessions.user(&key(1)).as_deref(), sessions.user(&key(2)).as_deref()), (None, Some("b")));
    }
}
