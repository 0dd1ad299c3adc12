//! Mutants: every component of this repository, damaged in thousands of ways, through the real way of deploying. Each is
//! refused in words, or it runs within its limits; the gateway and a neighbour go on.
//!
//! `LEDGE_MUTANTS=100000 cargo test --release mutant` is the long run (docs/testing.md).

mod mutate;

use ledge::deploy::DeployError;
use ledge::function::Invocation;
use ledge::limit::Limits;
use ledge::set::{self, Digest, HttpAuth, HttpTrigger, Set};
use mutate::{Random, mutant};

use crate::harness::http::whole;
use crate::harness::{PROGRAM, TestGateway, component, gateway};

const IN_CI: usize = 5_000;
/// Mutants of one deployment.
const AT_ONCE: usize = 64;
/// Gateways that try mutants side by side.
const LANES: usize = 2;
const FUNCTIONS: [&str; 9] =
    ["misbehave", "count", "chain", "relay", "operate", "helloworld", "invoker", "light-monitor", "thing-operations"];
const HTTP: [&str; 1] = ["http-echo"];
const DRIVERS: [&str; 3] = ["echo-thing", "light", "light_sensor"];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_mutant_of_a_component_ends_the_gateway_or_disturbs_a_neighbour() {
    let wanted = std::env::var("LEDGE_MUTANTS").map_or(IN_CI, |text| text.parse().expect("LEDGE_MUTANTS is a number"));
    let lanes = (0..LANES).map(|lane| tokio::spawn(try_all((lane..wanted).step_by(LANES).collect())));
    let mut sum = Tally::default();
    for tried in futures_util::future::join_all(lanes).await {
        let tried = tried.unwrap();
        sum = Tally {
            refused: sum.refused + tried.refused,
            accepted: sum.accepted + tried.accepted,
            answered: sum.answered + tried.answered,
        };
    }
    println!("{sum:?}");
    assert_eq!(sum.refused + sum.accepted, wanted);
    // Otherwise the mutants are too wild to show anything, or too tame.
    assert!(sum.refused > wanted / 2 && sum.accepted > wanted / 1_000, "{sum:?}");
}

#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    accepted: usize,
    /// Accepted functions that were called or asked and gave a result.
    answered: usize,
}

async fn try_all(seeds: Vec<usize>) -> Tally {
    // With the product that some of the components use.
    let neighbour = || gateway().product("a1Light", include_str!("../../sample-functions/tsl/a1Light.json")).function("misbehave");
    let gw = neighbour().compiler(PROGRAM.into()).http_listen("http://127.0.0.1:0").start().await;
    let components: Vec<Vec<u8>> = FUNCTIONS.iter().chain(&HTTP).chain(&DRIVERS).map(|name| component(name)).collect();
    let mut tally = Tally::default();
    for seeds in seeds.chunks(AT_ONCE) {
        let mut set = neighbour().set;
        for seed in seeds {
            let mut random = Random::new(*seed as u64);
            let base = random.below(components.len());
            let bytes = mutant(&components, base, &mut random);
            let digest = Digest::of(&bytes);
            gw.gateway.deploy.components().put(&digest, &bytes).unwrap();
            add(&mut set, &format!("m{seed}"), digest, base);
        }
        try_together(&gw, set, &mut tally).await;
        assert_eq!(gw.result("misbehave", "still here").await, "still here", "after the mutants {seeds:?}");
        forget(&gw);
    }
    tally
}

/// `base` is what it was made of, in the order of the lists.
fn add(set: &mut Set, name: &str, component: Digest, base: usize) {
    let limits = Limits { deadline_ms: 200, cpu_ms: 100, ..Limits::default() };
    if base >= FUNCTIONS.len() + HTTP.len() {
        set.drivers.push(set::Driver { name: name.into(), component, config: None, files: vec![], limits, grants: Default::default() });
    } else {
        let http = HttpTrigger { prefix: format!("/{name}"), auth: HttpAuth::Anonymous, methods: vec![] };
        let http = (base >= FUNCTIONS.len()).then_some(http);
        let name = format!("mutant/{name}").parse().unwrap();
        set.functions.push(set::Function {
            name,
            component,
            limits,
            grants: Default::default(),
            reuse: 0,
            mode: set::Mode::OnDemand,
            health: None,
            asynchronous: None,
            timers: vec![],
            http,
        });
    }
}

/// Deploys all of them, then those that were not refused, and calls these once.
async fn try_together(gw: &TestGateway, mut set: Set, tally: &mut Tally) {
    loop {
        match gw.gateway.deploy.apply(set.clone(), true, "test").await {
            Ok(_) => break,
            Err(DeployError::Refused(problems)) => {
                let (before, refused) = (set.functions.len() + set.drivers.len(), |who: String| {
                    problems.iter().any(|problem| problem.strip_prefix(&who).is_some_and(|why| why.len() > 10))
                });
                set.functions.retain(|row| !refused(format!("function `{}`: ", row.name)));
                set.drivers.retain(|row| !refused(format!("driver `{}`: ", row.name)));
                let gone = before - set.functions.len() - set.drivers.len();
                assert!(gone > 0, "nobody is refused by name: {problems:?}");
                tally.refused += gone;
            }
            Err(failed) => panic!("{failed}"),
        }
    }
    tally.accepted += set.functions.len() + set.drivers.len() - 1;
    for function in set.functions.iter().filter(|row| row.name.to_string().starts_with("mutant/")) {
        if let Some(http) = &function.http {
            let request = gw.request("GET", &format!("{}/status/200", http.prefix)).body(whole("")).unwrap();
            // One that breaks its answer off gives none.
            tally.answered += usize::from(gw.begin(request).await.is_ok_and(|begun| begun.answer.status() == 200));
            continue;
        }
        let (functions, call) = (gw.gateway.functions.clone(), Invocation::new(function.name.clone(), "x".to_owned()));
        let outcome = gw.gateway.guests().spawn(async move { functions.invoke(call).await }).await.unwrap();
        tally.answered += usize::from(matches!(outcome, Ok(ledge::function::Outcome::Done(_))));
    }
}

/// A long run would fill the disk. What is deployed is in memory.
fn forget(gw: &TestGateway) {
    for dir in ["components", "cache"] {
        for entry in std::fs::read_dir(gw.path(dir)).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}
