//! One attack: what its neighbour feels while it happens, what the attackers are answered, and what memory is left behind.

use std::time::Duration;

use ledge::limit::Limits;
use serde_json::Value as Json;

use super::gateway::{Answer, Gateway, Times};
use crate::harness::{self, Setup};

/// Attackers at the same time: the places of one function by default.
pub const CALLERS: usize = 8;
const HONEST_CALLERS: usize = 4 * CALLERS;
/// The same component in honest use.
const HONEST: &str = "test/honest";
pub const RSS_MIB_MAX: f64 = 8.0;
/// What others may add to a time. The short form runs on machines that are shared, and only sees whether somebody is held up;
/// the long form is for a machine of its own, and for the figures.
pub fn slack_ms(long_form: f64) -> f64 {
    if long_form_s().is_some() { long_form } else { SHORT_FORM_SLACK_MS }
}

const NEIGHBOUR_SLACK_MS: f64 = 15.0;
const SHORT_FORM_SLACK_MS: f64 = 500.0;

pub struct Attack {
    pub setup: Setup,
    pub function: &'static str,
    pub event: &'static str,
    pub callers: usize,
}

pub struct Seen {
    pub gateway: Gateway,
    pub answers: Vec<Answer>,
    pub quiet: Times,
    pub during: Times,
    /// Before the attack, after a first short one, and after all of it.
    pub rss_mib: [f64; 3],
    function: &'static str,
    event: &'static str,
}

/// A function `test/hostile`, held to limits that end it soon, and its neighbour.
pub fn against(event: &'static str, limits: impl FnOnce(&mut Limits)) -> Attack {
    let setup = harness::gateway().function("hostile").limits(|own| {
        // Callers that fail one after another are the attack: they all have to get through.
        (own.deadline_ms, own.breaker_failures) = (50, 0);
        limits(own);
    });
    let setup = setup.function_of(HONEST, "hostile").limits(|own| own.concurrency = HONEST_CALLERS as u32);
    Attack { setup: setup.function_of("test/neighbour", "count"), function: "test/hostile", event, callers: CALLERS }
}

/// How long the attack is, and half of it the quiet before it.
fn attack_time() -> Duration {
    Duration::from_secs_f64(long_form_s().unwrap_or(1.5))
}

fn long_form_s() -> Option<f64> {
    std::env::var("LEDGE_HOSTILE_S").ok()?.parse().ok()
}

impl Attack {
    pub async fn run(self) -> Seen {
        let (during, quiet) = (attack_time(), attack_time() / 2);
        let gateway = Gateway::start().await;
        gateway.deploy(&self.setup).await.unwrap();
        // The baseline is what honest use leaves: calls at once, each with some of the memory that it may have. The pool keeps
        // a part of each memory that was used, by design, so whoever uses it first pays for it. Four times as many as will attack:
        // each of the two threads that run guests has places of its own, and an attacker's next call may begin in a new one before the
        // last one has left its own.
        gateway.attack(HONEST, "use 16", HONEST_CALLERS, quiet / 4).await;
        gateway.neighbour(quiet / 4).await;
        let quiet = gateway.neighbour(quiet).await;
        let before = gateway.rss_mib();
        gateway.attack(self.function, self.event, self.callers, during / 10).await;
        let first = gateway.rss_mib_at_most(before + RSS_MIB_MAX).await;
        let attack = gateway.attack(self.function, self.event, self.callers, during);
        let (answers, felt) = tokio::join!(attack, gateway.neighbour(during));
        let after = gateway.rss_mib_at_most(before + RSS_MIB_MAX).await;
        let seen =
            Seen { gateway, answers, quiet, during: felt, rss_mib: [before, first, after], function: self.function, event: self.event };
        println!("{}", seen.row());
        seen
    }
}

impl Seen {
    /// For the table that the long form is for.
    fn row(&self) -> String {
        let [before, first, after] = self.rss_mib;
        format!(
            "| {} | {} calls, p99 {:.1} ms | neighbour p99 {:.1} -> {:.1} ms | RSS {before:.1} -> {first:.1} -> {after:.1} MiB | {} |",
            self.event,
            self.answers.len(),
            Times::of(&self.answers).p99_ms(),
            self.quiet.p99_ms(),
            self.during.p99_ms(),
            self.answers[0].text.chars().take(160).collect::<String>(),
        )
    }

    /// Every attacker was ended at this limit, which the answer, the log and the metric name.
    pub async fn ended_at(&self, limit: &str) {
        for answer in &self.answers {
            assert_eq!(answer.limit.as_deref(), Some(limit), "{}", answer.text);
        }
        let said: Json = serde_json::from_str(&self.answers[0].text).unwrap();
        let message = said["Message"].as_str().unwrap().split(';').next().unwrap();
        self.gateway.logged(&format!("function `{}` {message}", self.function)).await;
        let hits = format!("ledge_limit_hits_total{{guest=\"function {}\",limit=\"{limit}\"}}", self.function);
        let metrics = self.gateway.metrics().await;
        assert!(metrics.contains(&hits), "nothing of {hits} in:\n{metrics}");
        self.contained();
    }

    /// The neighbour felt little, and the memory came back.
    pub fn contained(&self) {
        let (quiet, during, [before, _, after]) = (self.quiet.p99_ms(), self.during.p99_ms(), self.rss_mib);
        assert!(during <= 2.0 * quiet + slack_ms(NEIGHBOUR_SLACK_MS), "the neighbour's p99 went from {quiet} ms to {during} ms");
        assert!(after <= before + RSS_MIB_MAX, "{:.1} MiB were resident before, and {after:.1} after", before);
    }
}
