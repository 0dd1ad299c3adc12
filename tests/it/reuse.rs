//! Reuse of instances: only where it is asked for, only as often, and never after a call that did not return.

use crate::harness::{Setup, gateway, unhandled};

fn reuse(calls: u32) -> Setup {
    gateway().function("count").limits(|limits| limits.cpu_ms = 50).with_function(|function| function.reuse = calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_takes_so_many_calls_one_after_another_and_then_a_fresh_one_does() {
    let gw = reuse(3).start().await;
    let mut answers = Vec::new();
    for _ in 0..7 {
        answers.push(gw.result("count", "").await);
    }
    assert_eq!(answers, ["1", "2", "3", "1", "2", "3", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reuse_every_call_has_a_fresh_instance() {
    let gw = reuse(0).start().await;
    for _ in 0..5 {
        assert_eq!(gw.result("count", "").await, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_trapped_or_met_a_limit_takes_no_other_call() {
    let gw = reuse(100).start().await;
    for ending in ["trap", "spin"] {
        assert_eq!(gw.result("count", "").await, "1");
        assert_eq!(gw.result("count", "").await, "2");
        unhandled(gw.invoke("count", ending).await);
    }
    assert_eq!(gw.result("count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_met_its_deadline_takes_no_other_call() {
    let gw = reuse(100).limits(|limits| (limits.deadline_ms, limits.cpu_ms) = (200, 5_000)).start().await;
    for ending in ["spin", "sleep"] {
        assert_eq!(gw.result("count", "").await, "1");
        assert_eq!(gw.result("count", "").await, "2");
        let (limit, message) = unhandled(gw.invoke("count", ending).await);
        assert_eq!(limit, Some("deadline_ms"), "{message}");
    }
    assert_eq!(gw.result("count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_call_was_cancelled_takes_no_other_call() {
    let gw = reuse(100).limits(|limits| limits.cpu_ms = 5_000).start().await;
    assert_eq!(gw.result("count", "").await, "1");
    let cancelled = tokio::time::timeout(std::time::Duration::from_millis(20), {
        let functions = gw.gateway.functions.clone();
        let invocation = ledge::function::Invocation::new("test/count".parse().unwrap(), "spin".to_owned());
        async move { functions.invoke(invocation).await }
    });
    assert!(cancelled.await.is_err(), "it was not cancelled");
    assert_eq!(gw.result("count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_never_share_an_instance() {
    let gw = reuse(1_000).limits(|limits| limits.cpu_ms = 5_000).start().await;
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let (functions, guests) = (gw.gateway.functions.clone(), gw.gateway.guests());
            let invocation = ledge::function::Invocation::new("test/count".parse().unwrap(), String::new());
            guests.spawn(async move { functions.invoke(invocation).await.unwrap() })
        })
        .collect();
    let mut highest = 0;
    let mut total = 0;
    for call in calls {
        let ledge::function::Outcome::Done(count) = call.await.unwrap() else { panic!("a call failed") };
        highest = highest.max(std::str::from_utf8(&count).unwrap().parse::<u32>().unwrap());
        total += 1;
    }
    // Each count was given once by each instance, so no instance can have counted further than there were calls.
    assert!(highest <= total);
}
