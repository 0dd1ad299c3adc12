//! How many lines of what was refused each one may have written: so many a second, and so many an hour. The rest is counted, as are logins
//! without end of one user. What was changed is always written: nobody hides a change behind others. So who may switch and release things, but
//! deploys nothing, is kept from doing so without end ([`Rate::wait_to_change`]).
//!
//! Both files together hold some 60,000 lines. At ten a second whoever is denied something in a loop would have pushed out everything else within
//! hours. Whoever has not proved who they are, the strangers, share a bound besides, whatever their addresses, and are told apart from
//! the others here: they take nobody else's room.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::Clock;

pub struct Rate {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    known: HashMap<String, Window>,
    strangers: HashMap<String, Window>,
    of_all_strangers: Budget,
    strangers_told: Instant,
    logins: HashMap<String, Window>,
    /// Of users.
    changes: HashMap<String, Budget>,
}

struct Window {
    since: Instant,
    lines: u32,
    budget: Budget,
    suppressed: u64,
    /// When the count was last taken, or began.
    told: Instant,
}

struct Budget {
    pace: Pace,
    left: u32,
    since: Instant,
}

/// So many at once, and then one more each time that so much has passed.
#[derive(Clone, Copy)]
struct Pace {
    burst: u32,
    every: Duration,
}

/// Lines that were left out since they were last counted.
pub struct Suppressed {
    pub who: String,
    pub detail: String,
}

impl Rate {
    pub fn new(clock: Clock) -> Self {
        let now = clock.monotonic();
        let of_all_strangers = Budget::new(OF_ALL_STRANGERS, now);
        let [known, strangers, logins] = Default::default();
        let state = State { known, strangers, of_all_strangers, strangers_told: now, logins, changes: HashMap::new() };
        Self { clock, state: Mutex::new(state) }
    }

    /// Whether a line of this one may be written; counts it if not.
    pub fn allows(&self, who: &str, what: &str) -> bool {
        let is_login = LOGINS.contains(&what);
        if !is_login && !PACED.contains(&what) {
            return true;
        }
        let now = self.clock.monotonic();
        let State { known, strangers, of_all_strangers, logins, .. } = &mut *self.state.lock();
        let is_stranger = who.starts_with(STRANGER);
        let (windows, pace) = match (is_login, is_stranger) {
            (true, _) => (logins, OF_ONE),
            (false, true) => (strangers, OF_A_STRANGER),
            (false, false) => (known, OF_ONE),
        };
        // Beyond the bound, the newcomers share one window.
        let who = if windows.len() < WHO_MAX || windows.contains_key(who) { who } else { OTHERS };
        if !windows.contains_key(who) {
            windows.insert(who.to_owned(), Window::new(pace, now));
        }
        let Some(window) = windows.get_mut(who) else { return false };
        if !(window.has_room(now) && window.budget.has_room(now) && (!is_stranger || of_all_strangers.has_room(now))) {
            window.suppressed += 1;
            return false;
        }
        window.lines += 1;
        window.budget.left -= 1;
        of_all_strangers.left -= u32::from(is_stranger);
        true
    }

    /// How long a user must wait before they change something again; nothing, and it is counted, if they need not.
    pub fn wait_to_change(&self, user: &str) -> Option<Duration> {
        let now = self.clock.monotonic();
        let changes = &mut self.state.lock().changes;
        let budget = changes.entry(user.to_owned()).or_insert_with(|| Budget::new(OF_CHANGES, now));
        if !budget.has_room(now) {
            return Some(budget.pace.every);
        }
        budget.left -= 1;
        None
    }

    /// Takes the counts that are due, and forgets those who were quiet.
    pub fn sweep(&self) -> Vec<Suppressed> {
        self.taken(TOLD_EVERY)
    }

    /// Takes all counts.
    pub fn rest(&self) -> Vec<Suppressed> {
        self.taken(Duration::ZERO)
    }

    fn taken(&self, age: Duration) -> Vec<Suppressed> {
        let now = self.clock.monotonic();
        let State { known, strangers, strangers_told, logins, changes, .. } = &mut *self.state.lock();
        let mut taken = Vec::new();
        for (windows, what) in [(&mut *known, "lines"), (&mut *logins, "lines of logins")] {
            let of_each = take(windows, age, now).into_iter();
            taken.extend(of_each.map(|(who, lines)| Suppressed { who, detail: format!("{lines} {what} left out: they came too fast") }));
            windows.retain(|_, window| !window.is_quiet(now) || !window.budget.is_full(now));
        }
        changes.retain(|_, budget| !budget.is_full(now));
        // One line, however many they are.
        let is_due = now - *strangers_told >= age;
        let of_strangers = if is_due { take(strangers, Duration::ZERO, now) } else { Vec::new() };
        if let Some((loudest, most)) = of_strangers.iter().max_by_key(|(_, lines)| lines) {
            let lines: u64 = of_strangers.iter().map(|(_, lines)| lines).sum();
            let detail = format!("{lines} lines left out: they came too fast, most of them ({most}) from {loudest}");
            *strangers_told = now;
            taken.push(Suppressed { who: ALL_STRANGERS.to_owned(), detail });
        }
        // Their common bound is remembered.
        strangers.retain(|_, window| !window.is_quiet(now));
        taken
    }

    pub fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.known.is_empty() && state.strangers.is_empty() && state.logins.is_empty()
    }
}

fn take(windows: &mut HashMap<String, Window>, age: Duration, now: Instant) -> Vec<(String, u64)> {
    let due = windows.iter_mut().filter(|(_, window)| window.suppressed > 0 && now - window.told >= age);
    due.map(|(who, window)| {
        window.told = now;
        (who.clone(), std::mem::take(&mut window.suppressed))
    })
    .collect()
}

impl Window {
    fn new(pace: Pace, now: Instant) -> Self {
        Self { since: now, lines: 0, budget: Budget::new(pace, now), suppressed: 0, told: now }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if now - self.since >= SECOND {
            (self.since, self.lines) = (now, 0);
        }
        self.lines < LINES_PER_S_MAX
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.suppressed == 0 && now - self.since >= SECOND && now - self.told >= SECOND
    }
}

impl Budget {
    fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, left: pace.burst, since: now }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left > 0
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left == self.pace.burst
    }

    fn fill(&mut self, now: Instant) {
        let more = ((now - self.since).as_millis() / self.pace.every.as_millis()) as u32;
        self.left = self.left.saturating_add(more).min(self.pace.burst);
        self.since = if self.left == self.pace.burst { now } else { self.since + self.pace.every * more };
    }
}

/// How the names of those begin who have not proved who they are.
const STRANGER: &str = "client ";
const ALL_STRANGERS: &str = "clients";
/// What others set the pace of.
const PACED: [&str; 3] = ["denied", "login failed", "login throttled"];
/// Whoever may log in may do so in a loop, and log out.
const LOGINS: [&str; 2] = ["logged in", "logged out"];
const LINES_PER_S_MAX: u32 = 10;
const OF_ONE: Pace = Pace { burst: 60, every: Duration::from_secs(60) };
/// As many passwords of an address are looked at in an hour (`auth`).
const OF_A_STRANGER: Pace = Pace { burst: 20, every: Duration::from_secs(60) };
const OF_ALL_STRANGERS: Pace = Pace { burst: 60, every: Duration::from_secs(10) };
/// Both files hold those of one user of sixteen hours, and whoever runs a rule each second may.
const OF_CHANGES: Pace = Pace { burst: 2_000, every: SECOND };
/// How many are told apart.
const WHO_MAX: usize = 1_024;
const OTHERS: &str = "(others)";
const SECOND: Duration = Duration::from_secs(1);
/// Between two counts of one.
const TOLD_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(taken: Vec<Suppressed>) -> Vec<(String, u64)> {
        let count = |one: &Suppressed| one.detail.split(' ').next().unwrap().parse().unwrap();
        taken.into_iter().map(|one| (one.who.clone(), count(&one))).collect()
    }

    #[test]
    fn ever_new_names_do_not_grow_the_map() {
        let (clock, hands) = Clock::fixed(0);
        let rate = Rate::new(clock);
        let allowed = (0..5_000).filter(|number| rate.allows(&number.to_string(), "denied")).count();
        assert_eq!(allowed, WHO_MAX + LINES_PER_S_MAX as usize);
        assert_eq!(rate.state.lock().known.len(), WHO_MAX + 1);
        hands.advance(TOLD_EVERY);
        assert_eq!(counts(rate.sweep()), [(OTHERS.to_owned(), 5_000 - allowed as u64)]);
        hands.advance(OF_ONE.every * LINES_PER_S_MAX);
        rate.sweep();
        assert!(rate.is_empty());
    }

    /// What is written within some hours of lines that come this often, and how many were counted.
    fn hours(hours: u32, every: Duration, who: impl Fn(u32) -> String, what: &str) -> (u32, u64) {
        let (clock, hands) = Clock::fixed(0);
        let rate = Rate::new(clock);
        let (mut written, mut counted) = (0, 0);
        let mut count = |taken: Vec<Suppressed>| {
            let taken = counts(taken);
            counted += taken.iter().map(|(_, lines)| lines).sum::<u64>();
            taken.len() as u32
        };
        let steps = (hours * 3_600_000) / every.as_millis() as u32;
        for step in 0..steps {
            written += u32::from(rate.allows(&who(step), what));
            hands.advance(every);
            if step % 100 == 0 {
                written += count(rate.sweep());
            }
        }
        written += count(rate.rest());
        (written, counted)
    }

    #[test]
    fn whoever_is_denied_something_in_a_loop_has_a_line_and_a_count_a_minute() {
        let (written, counted) = hours(3, Duration::from_millis(10), |_| "function a/loud".to_owned(), "denied");
        assert!((60 + 2 * 175..=60 + 2 * 181).contains(&written), "{written}");
        assert_eq!(u64::from(written - 180) + counted, 3 * 360_000);
        // What was done has a line, however quickly it was done.
        let (written, counted) = hours(1, Duration::from_millis(10), |_| "user admin from 10.0.0.7".to_owned(), "user changed");
        assert_eq!((written, counted), (360_000, 0));
    }

    #[test]
    fn strangers_share_what_they_have_and_take_nobody_elses() {
        let from = |step: u32| format!("client 10.{}.{}.7", step % 256, step / 256 % 256);
        let (written, _) = hours(2, Duration::from_millis(10), from, "login failed");
        assert!(written < 60 + 2 * 360 + 2 * 61, "{written}");

        let (clock, hands) = Clock::fixed(0);
        let rate = Rate::new(clock);
        let one = (0..1_000).filter(|_| rate.allows("client 10.0.0.1", "login throttled")).count();
        assert_eq!(one, LINES_PER_S_MAX as usize);
        hands.advance(SECOND);
        let more = (0..1_000).filter(|_| rate.allows("client 10.0.0.1", "login throttled")).count();
        assert_eq!((one + more) as u32, OF_A_STRANGER.burst);
        assert!(rate.allows("client 10.0.0.2", "login failed"), "another address has no room");
        let others = (0..900).filter(|number| rate.allows(&format!("client {number}"), "login failed")).count();
        assert_eq!((one + more + 1 + others) as u32, OF_ALL_STRANGERS.burst);
        assert!(rate.allows("user admin from 10.0.0.9", "denied") && rate.allows("function a/b", "denied"));
        let told = rate.rest();
        assert_eq!(told.len(), 1);
        assert!(told[0].who == ALL_STRANGERS && told[0].detail.contains("client 10.0.0.1"), "{}", told[0].detail);
    }

    #[test]
    fn who_logs_in_without_end_pushes_out_nobody_elses_lines_and_hides_nothing_of_their_own() {
        let rate = Rate::new(Clock::system());
        let who = "user eve from 10.0.0.7";
        let written = (0..1_000).filter(|_| rate.allows(who, "logged in")).count();
        assert!((1..=60).contains(&written), "{written}");
        assert!(rate.allows(who, "denied") && rate.allows(who, "rule disabled"));
        let told = counts(rate.rest());
        assert_eq!(told, [(who.to_owned(), 1_000 - written as u64)]);
    }
}
