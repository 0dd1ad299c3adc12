//! Guesses of passwords: many, from many addresses, at users that there are and that there are not, while the owner logs in.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use hyper::Method;
use hyper::header::{AUTHORIZATION, RETRY_AFTER, SET_COOKIE};
use ledge::cli::client::{Answer, Client};
use ledge::clock::Clock;
use serde_json::json;

use crate::harness::raw::{self, Http};
use crate::harness::{PASSWORD, TestGateway, gateway};

/// In the usual run, and where `LEDGE_LOGIN=long`.
fn count(usual: usize, long: usize) -> usize {
    if std::env::var("LEDGE_LOGIN").is_ok_and(|form| form == "long") { long } else { usual }
}

/// Where a password may be sent to.
#[derive(Clone, Copy, Debug)]
enum Way {
    V1,
    Cookies,
    Basic,
}

const WAYS: [Way; 3] = [Way::V1, Way::Cookies, Way::Basic];
/// Who is there, and who is not. Their names are as long as one another, so that answers that repeat them are too.
const KNOWN: [&str; 2] = ["admin", "night"];
const UNKNOWN: [&str; 2] = ["guest", "route"];
const FAILURES_AN_HOUR: u64 = 20;
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn attempt(client: &mut Http<'_>, way: Way, user: &str, password: &str) -> Answer {
    let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let headers = [(AUTHORIZATION, basic.as_str())];
    match way {
        Way::V1 => {
            let body = json!({"params": {"UserName": user, "Password": password}}).to_string();
            client.send(Method::POST, "/auth/login", &[], body).await
        }
        Way::Cookies => client.send(Method::POST, "/2020-04-30/auth/cookies", &headers, String::new()).await,
        Way::Basic => client.send(Method::GET, "/2020-04-30/things", &headers, String::new()).await,
    }
}

/// What a guess was told, without what differs from one second to the next: the name that was tried, and for how long to wait.
fn told(answer: &Answer, user: &str) -> String {
    let mut headers: Vec<_> = answer.headers.iter().filter(|(name, _)| *name != RETRY_AFTER && *name != "date").collect();
    headers.sort_by_key(|(name, _)| name.as_str());
    // How long the text of a number is says as little.
    headers.retain(|(name, _)| *name != "content-length" || !answer.headers.contains_key(RETRY_AFTER));
    let body = String::from_utf8_lossy(&answer.body).replace(user, "NAME");
    let body: String = body.chars().filter(|it| !it.is_ascii_digit()).collect();
    format!("{} {headers:?} {body}", answer.status)
}

/// Whether the password was looked at.
fn is_evaluated(way: Way, answer: &Answer) -> bool {
    let has_to_wait = answer.headers.contains_key(RETRY_AFTER);
    assert!(!answer.headers.contains_key(SET_COOKIE));
    match (way, answer.status.as_u16()) {
        (Way::V1, 400) | (Way::Cookies | Way::Basic, 401) if !has_to_wait => true,
        (Way::V1, 503) | (Way::Cookies | Way::Basic, 401) if has_to_wait => false,
        (_, other) => panic!("a guess is answered {other}: {:?}", answer.body),
    }
}

async fn hashes(gw: &TestGateway) -> u64 {
    // Over the socket of the administrator, who sends no password.
    let answer = Client::local(gw.data.path()).send(Method::GET, "/metrics", &[], "".into()).await.unwrap();
    let metrics = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("ledge_password_hashes_total "));
    line.expect("hashes are not counted").parse().unwrap()
}

async fn with_users(clock: Clock) -> TestGateway {
    let gw = gateway().clock(clock).start().await;
    let rights = json!({"role": "viewer", "password": PASSWORD}).to_string();
    assert_eq!(gw.admin().send(Method::PUT, "/ledge/v1/users/night", &[], rights.into()).await.unwrap().status, 201);
    gw
}

/// Logs in by the name that is under attack and by another one, until the attack is over; gives how long each took.
async fn owner(gw: &TestGateway, is_over: &AtomicBool) -> Vec<Duration> {
    let mut client = Http::connect(gw, Ipv4Addr::new(127, 2, 0, 1).into()).await;
    let mut took = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        for (way, user) in [(Way::V1, "admin"), (Way::Cookies, "night")] {
            let began = Instant::now();
            let answer = attempt(&mut client, way, user, PASSWORD).await;
            took.push(began.elapsed());
            assert!(answer.headers.contains_key(SET_COOKIE), "the owner is answered {}: {:?}", answer.status, answer.body);
        }
        // Not a wait for something: a person does not log in all the time.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_guesses_few_are_looked_at_and_the_owner_gets_in_meanwhile() {
    let (clock, hands) = Clock::fixed(1_790_000_000_000);
    let gw = with_users(clock).await;
    let (addresses, rounds) = (count(10, 50), count(100, 200));
    let mut guessers = Vec::new();
    for at in 0..addresses {
        guessers.push((raw::address(at + 1), Http::connect(&gw, raw::address(at + 1)).await, 0_u64));
    }
    let before = hashes(&gw).await;
    let is_over = AtomicBool::new(false);
    let attack = async {
        let mut texts = std::collections::BTreeMap::new();
        for round in 0..rounds {
            let guesses = guessers.iter_mut().map(async |(from, client, evaluated): &mut (IpAddr, Http<'_>, u64)| {
                let way = WAYS[round % 3];
                let (names, is_known) = if round / 3 % 2 == 0 { (KNOWN, true) } else { (UNKNOWN, false) };
                let user = names[round / 6 % 2];
                let answer = attempt(client, way, user, &format!("guess {round} from {from}")).await;
                let is_looked_at = is_evaluated(way, &answer);
                *evaluated += u64::from(is_looked_at);
                (format!("{way:?} {is_looked_at}"), is_known, told(&answer, user))
            });
            for (case, is_known, text) in join_all(guesses).await {
                texts.entry((case, is_known)).or_insert_with(std::collections::BTreeSet::new).insert(text);
            }
            // All of it within an hour.
            hands.advance((HOUR - Duration::from_secs(1)) / rounds as u32);
        }
        is_over.store(true, Ordering::Relaxed);
        texts
    };
    let (texts, owner) = tokio::join!(attack, owner(&gw, &is_over));
    let evaluated: Vec<u64> = guessers.iter().map(|(_, _, evaluated)| *evaluated).collect();
    let slowest = owner.iter().max().unwrap();
    println!(
        "{} guesses from {addresses} addresses: {} were looked at; the owner logged in {} times, in {slowest:?} at most",
        addresses * rounds,
        evaluated.iter().sum::<u64>(),
        owner.len()
    );
    assert!(evaluated.iter().all(|count| *count == FAILURES_AN_HOUR), "{evaluated:?}");
    // What the answers say is what was done.
    assert_eq!(hashes(&gw).await - before, evaluated.iter().sum::<u64>() + owner.len() as u64);
    // Other tests want the machine too, in the usual run.
    assert!(*slowest < Duration::from_secs(count(5, 2) as u64), "{slowest:?}");
    // Each case is told one thing, whether there is such a user or not.
    for ((case, is_known), said) in &texts {
        assert_eq!(said.len(), 1, "{case} (known: {is_known}): {said:#?}");
        assert_eq!(Some(said), texts.get(&(case.clone(), !is_known)), "{case}");
    }
    assert_eq!(texts.len(), 12, "{:?}", texts.keys());
}

/// A name that nobody has costs a hash all the same. The quickest of several is held against the quickest, whatever else the machine does;
/// without the hash it would be a tenth, and less.
#[tokio::test(flavor = "multi_thread")]
async fn a_guess_takes_as_long_whether_there_is_such_a_user_or_not() {
    let (clock, hands) = Clock::fixed(1_790_000_000_000);
    let gw = with_users(clock).await;
    let mut client = Http::connect(&gw, raw::address(1)).await;
    for way in WAYS {
        let mut quickest = [Duration::MAX; 2];
        for number in 0..count(12, 100) {
            for (at, user) in [(0, "night"), (1, "guest")] {
                hands.advance(HOUR);
                let began = Instant::now();
                let answer = attempt(&mut client, way, user, &format!("another guess {number}")).await;
                quickest[at] = quickest[at].min(began.elapsed());
                assert!(is_evaluated(way, &answer));
            }
        }
        let [known, unknown] = quickest;
        println!("{way:?}: {known:?} for a user, {unknown:?} for nobody");
        let slack = count(300, 125) as u32;
        let is_alike = |one: Duration, other: Duration| one <= other * slack / 100;
        assert!(is_alike(known, unknown) && is_alike(unknown, known), "{way:?}: {known:?} for a user, {unknown:?} for nobody");
    }
}

/// A header that was right is remembered for where it came from: elsewhere it is a guess like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_was_right_elsewhere_is_a_guess_like_any_other() {
    let (clock, _hands) = Clock::fixed(1_790_000_000_000);
    let gw = with_users(clock).await;
    let (mut owner, mut guesser) = (Http::connect(&gw, raw::address(1)).await, Http::connect(&gw, raw::address(2)).await);
    assert_eq!(attempt(&mut owner, Way::Basic, "admin", PASSWORD).await.status, 200);
    for number in 0..10 {
        assert_eq!(attempt(&mut guesser, Way::Basic, "admin", &format!("another guess {number}")).await.status, 401);
    }
    let answer = attempt(&mut guesser, Way::Basic, "admin", PASSWORD).await;
    assert!(answer.status == 401 && answer.headers.contains_key(RETRY_AFTER), "{}", answer.status);
    assert_eq!(attempt(&mut owner, Way::Basic, "admin", PASSWORD).await.status, 200);
}
