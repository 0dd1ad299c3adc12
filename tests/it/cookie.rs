//! Cookies that open nothing: made up, nearly right, or good once. The campaign tries very many of them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use ledge::auth::{SESSION_AGE_MAX, SESSION_IDLE_MAX};
use ledge::clock::{Clock, Hands};
use ledge::seal::random;
use serde_json::json;

use crate::harness::raw::{self, Http};
use crate::harness::{PASSWORD, PATIENCE, TestGateway, gateway};

/// Cookies in the usual run, or as many as `LEDGE_COOKIES` says.
const COOKIES: usize = 100_000;
/// Cookies of one request: a browser may send several of one name, and each of them would do.
const A_REQUEST: usize = 10;
const CONNECTIONS: usize = 16;

fn cookies() -> usize {
    std::env::var("LEDGE_COOKIES").map_or(COOKIES, |count| count.parse().expect("LEDGE_COOKIES is a number"))
}

struct Visitor<'gw> {
    client: Http<'gw>,
}

impl<'gw> Visitor<'gw> {
    async fn new(gw: &'gw TestGateway, at: usize) -> Self {
        Self { client: Http::connect(gw, raw::address(at)).await }
    }

    /// The token of a new session.
    async fn log_in(&mut self, user: &str, password: &str) -> String {
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let answer = self.client.send(Method::POST, "/2020-04-30/auth/cookies", &[(AUTHORIZATION, &basic)], String::new()).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().trim_start_matches("token=").to_owned()
    }

    /// The status of a request with this `Cookie` header.
    async fn with(&mut self, cookie: &str) -> u16 {
        self.client.send(Method::GET, "/ledge/v1/gateway", &[(COOKIE, cookie)], String::new()).await.status.as_u16()
    }

    async fn opens(&mut self, token: &str) -> bool {
        match self.with(&format!("token={token}")).await {
            200 => true,
            401 => false,
            other => panic!("a cookie is answered {other}"),
        }
    }
}

async fn start() -> (TestGateway, Hands) {
    let (clock, hands) = Clock::fixed(1_790_000_000_000);
    (gateway().clock(clock).start().await, hands)
}

async fn add(gw: &TestGateway, user: &str) {
    let rights = json!({"role": "viewer", "password": PASSWORD}).to_string();
    assert_eq!(gw.admin().send(Method::PUT, &format!("/ledge/v1/users/{user}"), &[], rights.into()).await.unwrap().status, 201);
}

async fn delete(gw: &TestGateway, user: &str) {
    assert_eq!(gw.admin().send(Method::DELETE, &format!("/ledge/v1/users/{user}"), &[], "".into()).await.unwrap().status, 200);
}

/// Tokens that were good once, each ended in another way. Each was good a moment before.
async fn ended(gw: &TestGateway, hands: &Hands) -> Vec<(&'static str, String)> {
    let mut visitor = Visitor::new(gw, 1).await;
    let mut all = Vec::new();
    add(gw, "eve").await;

    let token = visitor.log_in("eve", PASSWORD).await;
    assert!(visitor.opens(&token).await);
    let cookie = format!("token={token}");
    let answer = visitor.client.send(Method::POST, "/auth/logout", &[(COOKIE, &cookie)], r#"{"params": {}}"#.into()).await;
    assert_eq!(answer.status, 200);
    all.push(("logged out", token));

    let token = visitor.log_in("eve", PASSWORD).await;
    let cookie = format!("token={token}");
    let path = format!("/2020-04-30/auth/cookies/{token}");
    assert_eq!(visitor.client.send(Method::DELETE, &path, &[(COOKIE, &cookie)], String::new()).await.status, 200);
    all.push(("deleted", token));

    let token = visitor.log_in("eve", PASSWORD).await;
    let new = json!({"new": "a whole new horse"}).to_string();
    assert!(visitor.opens(&token).await);
    assert_eq!(gw.admin().send(Method::POST, "/ledge/v1/users/eve/password", &[], new.into()).await.unwrap().status, 200);
    all.push(("of the old password", token));

    let token = visitor.log_in("eve", "a whole new horse").await;
    assert!(visitor.opens(&token).await);
    delete(gw, "eve").await;
    all.push(("of a user who is gone", token));

    add(gw, "eve").await;
    let token = visitor.log_in("eve", PASSWORD).await;
    delete(gw, "eve").await;
    // Another one of that name.
    add(gw, "eve").await;
    all.push(("of a former user of the name", token));

    let token = visitor.log_in("eve", PASSWORD).await;
    hands.advance(SESSION_IDLE_MAX - Duration::from_secs(1));
    assert!(visitor.opens(&token).await);
    hands.advance(SESSION_IDLE_MAX);
    all.push(("idle", token));

    let token = visitor.log_in("eve", PASSWORD).await;
    let step = Duration::from_secs(20 * 60);
    for _ in 0..SESSION_AGE_MAX.as_secs() / step.as_secs() {
        assert!(visitor.opens(&token).await);
        hands.advance(step);
    }
    all.push(("busy for eight hours", token));

    let token = visitor.log_in("eve", PASSWORD).await;
    hands.advance(Duration::from_secs(1));
    all.push(("signed for nobody", URL_SAFE_NO_PAD.encode(random::<32>())));
    all.push(("cut", token[..token.len() - 1].to_owned()));
    for (how, token) in &all {
        assert!(!visitor.opens(token).await, "a cookie that is {how} opens the gateway");
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_ends_with_each_thing_that_ends_it() {
    let (gw, hands) = start().await;
    let all = ended(&gw, &hands).await;
    assert_eq!(all.len(), 9);
    // And with the gateway.
    let token = Visitor::new(&gw, 2).await.log_in("admin", PASSWORD).await;
    let gw = gw.restart().await;
    assert!(!Visitor::new(&gw, 2).await.opens(&token).await, "a cookie of before the restart opens the gateway");
}

/// However long it is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_ends_with_the_session_that_opened_it() {
    let (gw, hands) = start().await;
    let mut visitor = Visitor::new(&gw, 1).await;
    for ends in ["with the logout", "after eight hours"] {
        let cookie = format!("token={}", visitor.log_in("admin", PASSWORD).await);
        let mut connection = gw.stranger().connect().await.unwrap();
        let wish = r#"{"params": {"eventInfo": []}}"#;
        let answer = connection.start(Method::POST, "/thing/device/events/get", &[(COOKIE, &cookie)], wish.into()).await.unwrap();
        let mut stream = answer.into_body();
        stream.frame().await.unwrap().unwrap();
        if ends == "after eight hours" {
            hands.advance(SESSION_AGE_MAX);
        } else {
            let answer = visitor.client.send(Method::POST, "/auth/logout", &[(COOKIE, &cookie)], r#"{"params": {}}"#.into()).await;
            assert_eq!(answer.status, 200);
        }
        let rest = async {
            while let Some(frame) = stream.frame().await {
                drop(frame.unwrap())
            }
        };
        tokio::time::timeout(PATIENCE, rest).await.unwrap_or_else(|_| panic!("the stream does not end {ends}"));
    }
}

/// A cookie that is like a good one but for something, by its number; or another one.
fn forged(number: usize, good: &str, dead: &[(&'static str, String)]) -> String {
    let at = number / 16 % good.len();
    match number % 16 {
        0..=3 => format!("token={}", URL_SAFE_NO_PAD.encode(random::<32>())),
        4..=6 => {
            let mut bytes = URL_SAFE_NO_PAD.decode(good).unwrap();
            let bit = number / 16 % (8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            format!("token={}", URL_SAFE_NO_PAD.encode(bytes))
        }
        7 => format!("token={}", &good[..at]),
        8 => format!("token={}", &good[at.max(1)..]),
        9 => format!("token={good}{}", char::from(b'!' + (number / 16 % 26) as u8)),
        10 => format!("token={}", if at.is_multiple_of(2) { good.to_uppercase() } else { good.to_lowercase() }),
        11 => {
            let name = ["Token", "TOKEN", "token2", "session", "__Host-token", "toke", "token[]"][number / 16 % 7];
            format!("{name}={good}")
        }
        12 => {
            let odd = [format!("\"{good}\""), format!("admin:{good}"), format!("{good}=="), format!("%{good}"), format!("={good}")];
            format!("token={}", odd[number / 16 % 5])
        }
        13 => format!("token={}", STANDARD.encode(good)),
        _ => format!("token={}", dead[number / 16 % dead.len()].1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_forged_expired_and_used_cookies_none_is_accepted() {
    let (gw, hands) = start().await;
    let dead = ended(&gw, &hands).await;
    let good = Visitor::new(&gw, 1).await.log_in("admin", PASSWORD).await;
    let (all, mut visitors) = (cookies(), Vec::new());
    for at in 0..CONNECTIONS {
        visitors.push((at, Visitor::new(&gw, 10 + at).await));
    }
    let (dead, good) = (&dead, good.as_str());
    let tried = visitors.iter_mut().map(async |(at, visitor)| {
        let (mut tried, mut number) = (0, *at * A_REQUEST);
        while number < all {
            let cookies: Vec<String> = (number..number + A_REQUEST).map(|number| forged(number, good, dead)).collect();
            let line = cookies.join("; ");
            assert_eq!(visitor.with(&line).await, 401, "one of these is accepted, where {good} is good: {line}");
            // And this is how it is when one of them is right.
            if (number / A_REQUEST).is_multiple_of(100) {
                assert_eq!(visitor.with(&format!("{line}; token={good}")).await, 200, "the good one is refused");
            }
            tried += cookies.len();
            number += CONNECTIONS * A_REQUEST;
        }
        tried
    });
    let tried: usize = join_all(tried).await.into_iter().sum();
    println!("{tried} cookies were tried over HTTP");
    assert!(tried >= all);
}
