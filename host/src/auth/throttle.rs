//! How often passwords may be guessed.
//!
//! Each pair of a name and an address has five attempts that may fail. Then each failure makes it wait, a second at first and twice as long each
//! time, 15 minutes at most; and an address, whatever names it tries, has twenty failures an hour. An attempt that has to wait is not
//! evaluated, so it tells nothing. Nobody else waits for that: the owner of the name comes from another address. A name that no user has is
//! treated like any other. An address checks one password at a time, so that many addresses share the hasher; and of the addresses that failed
//! within the hour one does, so that whoever did not fail waits for one of them at most.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::limit::client_of;

pub struct Throttle {
    clock: Clock,
    state: Mutex<State>,
    suspects: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    pairs: HashMap<(String, Source), Failures>,
    sources: HashMap<Source, Failed>,
}

/// An IPv4 address, or the network of an IPv6 one, which whoever has one has all of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

struct Failures {
    count: u32,
    last: Instant,
}

struct Failed {
    /// When attempts failed within the last hour, at most [`FAILURES_AN_HOUR`].
    at: VecDeque<Instant>,
    turns: Arc<Semaphore>,
    used: Instant,
}

/// The right to have a password evaluated. Dropped without a word about the outcome, it counts for nothing.
pub struct Attempt {
    pair: (String, Source),
    _turn: OwnedSemaphorePermit,
    _of_suspects: Option<OwnedSemaphorePermit>,
}

/// Why a password is not evaluated now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

/// Attempts that may fail before one has to wait.
pub const FREE_FAILURES: u32 = 5;
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
pub const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Of one address, whatever names it tries.
pub const FAILURES_AN_HOUR: usize = 20;
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Attempts of one address that may wait for the one that is evaluated.
const WAITING_MAX: usize = 4;
/// Attempts from addresses that failed within the hour that may wait for one another.
const SUSPECTS_WAITING_MAX: usize = 56;
/// Names are remembered up to this length: longer ones are nobody's.
const NAME_BYTES_MAX: usize = 64;
/// Names and addresses that are remembered. Beyond, the one that was quiet for longest is forgotten.
const REMEMBERED_MAX: usize = 10_000;

impl Source {
    /// The same for two that are the same, and of one length.
    pub fn bytes(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        }
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(client_of(address))
    }
}

impl Throttle {
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), suspects: Arc::new(Semaphore::new(1)) }
    }

    /// Waits for the turn of this address, and says how long to wait instead where the name or the address failed too often.
    pub async fn admit(&self, user: &str, source: Source) -> Result<Attempt, Wait> {
        let pair = (user[..user.floor_char_boundary(NAME_BYTES_MAX)].to_owned(), source);
        let turns = {
            let mut state = self.state.lock();
            let now = self.clock.monotonic();
            state.check(&pair, now)?;
            make_room(&mut state.sources, |failed| failed.used);
            let failed = state.sources.entry(source).or_insert_with(|| Failed {
                at: VecDeque::new(),
                turns: Arc::new(Semaphore::new(1)),
                used: now,
            });
            failed.used = now;
            // One is evaluated, and each of the others that wait holds the semaphore too.
            if Arc::strong_count(&failed.turns) > WAITING_MAX + 1 {
                return Err(Wait(FIRST_WAIT));
            }
            failed.turns.clone()
        };
        let turn = turns.acquire_owned().await.map_err(|_| Wait(FIRST_WAIT))?;
        let is_suspect = {
            let mut state = self.state.lock();
            // The one before may have failed meanwhile.
            state.check(&pair, self.clock.monotonic())?;
            state.sources.get(&source).is_some_and(|failed| !failed.at.is_empty())
        };
        let of_suspects = if is_suspect { Some(self.turn_of_suspects().await?) } else { None };
        Ok(Attempt { pair, _turn: turn, _of_suspects: of_suspects })
    }

    async fn turn_of_suspects(&self) -> Result<OwnedSemaphorePermit, Wait> {
        // This one, that of whoever is evaluated, and one for each that waits.
        if Arc::strong_count(&self.suspects) > SUSPECTS_WAITING_MAX + 1 {
            return Err(Wait(FIRST_WAIT));
        }
        self.suspects.clone().acquire_owned().await.map_err(|_| Wait(FIRST_WAIT))
    }

    pub fn failed(&self, attempt: Attempt) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if let Some(failed) = state.sources.get_mut(&attempt.pair.1) {
            failed.at.push_back(now);
        }
        make_room(&mut state.pairs, |failures| failures.last);
        let failures = state.pairs.entry(attempt.pair).or_insert(Failures { count: 0, last: now });
        failures.count += 1;
        failures.last = now;
    }

    pub fn succeeded(&self, attempt: Attempt) {
        self.state.lock().pairs.remove(&attempt.pair);
    }
}

impl State {
    fn check(&mut self, pair: &(String, Source), now: Instant) -> Result<(), Wait> {
        let of_pair = self.pairs.get(pair).map_or(Duration::ZERO, |failures| failures.wait(now));
        let of_source = self.sources.get_mut(&pair.1).map_or(Duration::ZERO, |failed| failed.wait(now));
        match of_pair.max(of_source) {
            Duration::ZERO => Ok(()),
            wait => Err(Wait(wait)),
        }
    }
}

impl Failures {
    fn wait(&self, now: Instant) -> Duration {
        let Some(too_many) = self.count.checked_sub(FREE_FAILURES) else { return Duration::ZERO };
        let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(too_many)).min(WAIT_MAX);
        wait.saturating_sub(now - self.last)
    }
}

impl Failed {
    fn wait(&mut self, now: Instant) -> Duration {
        while self.at.front().is_some_and(|first| now - *first >= HOUR) {
            self.at.pop_front();
        }
        match self.at.front() {
            Some(first) if self.at.len() >= FAILURES_AN_HOUR => HOUR - (now - *first),
            _ => Duration::ZERO,
        }
    }
}

/// For one more.
fn make_room<K: Clone + Eq + Hash, V>(entries: &mut HashMap<K, V>, used: impl Fn(&V) -> Instant) {
    if entries.len() < REMEMBERED_MAX {
        return;
    }
    if let Some(quietest) = entries.iter().min_by_key(|(_, entry)| used(entry)).map(|(key, _)| key.clone()) {
        entries.remove(&quietest);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock::Hands;

    fn source(last: u8) -> Source {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)).into()
    }

    fn throttle() -> (Throttle, Hands) {
        let (clock, hands) = Clock::fixed(0);
        (Throttle::new(clock), hands)
    }

    async fn fail(throttle: &Throttle, user: &str, source: Source) -> Result<(), Wait> {
        throttle.failed(throttle.admit(user, source).await?);
        Ok(())
    }

    #[tokio::test]
    async fn five_are_free_and_then_each_wait_is_twice_the_one_before() {
        let (throttle, hands) = throttle();
        for _ in 0..FREE_FAILURES {
            fail(&throttle, "admin", source(1)).await.unwrap();
        }
        let mut waits = Vec::new();
        for _ in 0..12 {
            let Err(Wait(wait)) = fail(&throttle, "admin", source(1)).await else { panic!("it did not have to wait") };
            waits.push(wait.as_secs());
            hands.advance(wait);
            fail(&throttle, "admin", source(1)).await.unwrap();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        // Somebody else, and the same name from elsewhere.
        assert!(throttle.admit("eve", source(1)).await.is_ok());
        assert!(throttle.admit("admin", source(2)).await.is_ok());
    }

    #[tokio::test]
    async fn a_success_forgets_the_failures() {
        let (throttle, _hands) = throttle();
        for _ in 0..3 {
            for _ in 0..4 {
                fail(&throttle, "admin", source(1)).await.unwrap();
            }
            let attempt = throttle.admit("admin", source(1)).await.unwrap();
            throttle.succeeded(attempt);
        }
    }

    #[tokio::test]
    async fn an_address_has_twenty_an_hour_whatever_names_it_tries() {
        let (throttle, hands) = throttle();
        let mut evaluated = 0;
        for second in 0..3_599 {
            for name in ["a", "b"] {
                if fail(&throttle, &format!("{name}{second}"), source(1)).await.is_ok() {
                    evaluated += 1;
                }
            }
            hands.advance(Duration::from_secs(1));
        }
        assert_eq!(evaluated, FAILURES_AN_HOUR);
        hands.advance(HOUR);
        assert!(fail(&throttle, "a", source(1)).await.is_ok());
    }

    #[tokio::test]
    async fn an_address_has_one_evaluated_and_four_waiting() {
        let (throttle, _hands) = throttle();
        let throttle = Arc::new(throttle);
        let first = throttle.admit("a", source(1)).await.unwrap();
        let mut others: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(throttle.admit("a", source(1)))).collect();
        for other in &mut others {
            assert!(futures_util::poll!(other).is_pending());
        }
        assert_eq!(throttle.admit("a", source(1)).await.err(), Some(Wait(FIRST_WAIT)));
        assert!(throttle.admit("a", source(2)).await.is_ok());
        throttle.failed(first);
        for other in others {
            throttle.succeeded(other.await.unwrap());
        }
    }

    #[tokio::test]
    async fn who_did_not_fail_waits_for_none_of_those_who_did() {
        let (throttle, hands) = throttle();
        for last in 1..=60 {
            fail(&throttle, "admin", source(last)).await.unwrap();
        }
        let mut suspects: Vec<_> = (1..=60).map(|last| Box::pin(throttle.admit("admin", source(last)))).collect();
        let mut polled = Vec::new();
        for suspect in &mut suspects {
            polled.push(futures_util::poll!(suspect));
        }
        let pending = polled.iter().filter(|polled| polled.is_pending()).count();
        let admitted = polled.iter().filter(|polled| matches!(polled, std::task::Poll::Ready(Ok(_)))).count();
        assert_eq!((admitted, pending), (1, SUSPECTS_WAITING_MAX));
        assert!(futures_util::poll!(Box::pin(throttle.admit("admin", source(100)))).is_ready());
        // Each has its turn, and an hour makes them like the others.
        drop(polled);
        drop(suspects.split_off(1 + SUSPECTS_WAITING_MAX));
        for suspect in suspects.split_off(1) {
            drop(suspect.await.unwrap());
        }
        hands.advance(HOUR);
        let _one = throttle.admit("admin", source(1)).await.unwrap();
        assert!(futures_util::poll!(Box::pin(throttle.admit("admin", source(2)))).is_ready());
    }

    #[test]
    fn one_network_of_ipv6_is_one_source_and_a_mapped_address_is_ipv4() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
    }
}
