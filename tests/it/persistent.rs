//! Persistent functions: one instance that stays, takes one call at a time, and is started again when it ends.

use std::time::Instant;

use ledge::function::{InvokeError, Outcome};
use ledge::set::Mode;

use crate::harness::command::ledge;
use crate::harness::{Setup, TestGateway, eventually, gateway, invoke_grants, unhandled};

fn stay() -> Setup {
    gateway().function("stay").with_function(|function| function.mode = Mode::Persistent)
}

fn run(setup: Setup, how: &str) -> Setup {
    setup.grants(|grants| grants.env.0 = [("RUN".to_owned(), how.to_owned())].into())
}

/// The result of a call, once the function runs again.
async fn again(gw: &TestGateway, event: &str) -> String {
    let answers = || async { matches!(gw.invoke("stay", event).await, Ok(Outcome::Done(_))) };
    eventually("the function to answer again", answers).await;
    gw.result("stay", event).await
}

#[tokio::test(flavor = "multi_thread")]
async fn its_handler_is_called_in_the_instance_whose_run_goes_on() {
    let gw = stay().start().await;
    assert_eq!((gw.result("stay", "").await, gw.result("stay", "").await), ("1".into(), "2".into()));
    let ticks: u32 = gw.result("stay", "ticks").await.parse().unwrap();
    let more = || async { gw.result("stay", "ticks").await.parse::<u32>().unwrap() > ticks };
    eventually("its run to have gone on", more).await;
    assert_eq!(gw.result("stay", "context").await, "test/stay true");
    assert_eq!(gw.invoke("stay", "error").await.unwrap(), Outcome::Handled("as asked".into()));
    let listed = ledge(gw.data.path(), &["list", "functions", "--data", "."]).await;
    assert!(listed.stdout.contains("persistent") && listed.stdout.contains("running"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reaches_the_gateway_as_other_functions_do() {
    let gw = stay()
        .grants(|grants| {
            grants.publish = vec!["/stay/#".parse().unwrap()];
            grants.invoke = invoke_grants("test/count");
        })
        .function("count")
        .start()
        .await;
    assert_eq!(gw.result("stay", "kv").await, "1");
    assert_eq!(gw.result("stay", "call").await, "1");
    let gw = gw.restart().await;
    assert!(again(&gw, "kv").await.parse::<u32>().unwrap() > 0);
    let mut started = gw.listen("/stay/started");
    assert!(matches!(gw.invoke("stay", "trap").await.unwrap(), Outcome::Unhandled(_)));
    started.next().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_are_answered_one_after_another() {
    let gw = stay().start().await;
    let answers = futures_util::future::join_all((0..20).map(|_| gw.result("stay", ""))).await;
    let mut answers: Vec<u32> = answers.iter().map(|text| text.parse().unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, (1..=20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_traps_or_hangs_is_told_and_started_again() {
    let gw = stay().limits(|limits| (limits.deadline_ms, limits.cpu_ms) = (300, 60_000)).start().await;
    for (event, limit, said) in
        [("trap", None, "as asked"), ("sleep", Some("deadline_ms"), "300 ms"), ("spin", Some("deadline_ms"), "300 ms")]
    {
        again(&gw, "").await;
        let (hit, message) = unhandled(gw.invoke("stay", event).await);
        assert!(hit == limit && message.contains(said), "{event}: {hit:?} {message}");
        assert!(again(&gw, "").await.parse::<u32>().unwrap() < 10, "it is a new instance");
    }
    gw.counted(r#"ledge_persistent_restarts{function="test/stay"} 3"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_computes_for_too_long_is_ended_by_its_cpu_limit() {
    let gw = stay().limits(|limits| limits.cpu_ms = 100).start().await;
    let (limit, message) = unhandled(gw.invoke("stay", "spin").await);
    assert_eq!(limit, Some("cpu_ms"), "{message}");
    assert_eq!(again(&gw, "context").await, "test/stay true");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_run_ends_it_and_one_that_returns_goes_on_to_answer() {
    let gw = stay().start().await;
    gw.result("stay", "end").await;
    eventually("its instance to be another", || async {
        gw.invoke("stay", "").await.is_ok_and(|outcome| outcome == Outcome::Done("1".into()))
    })
    .await;
    gw.deploy(run(stay(), "returns")).await.unwrap();
    assert_eq!((again(&gw, "context").await, gw.result("stay", "ticks").await), ("test/stay true".into(), "0".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_keeps_failing_is_quarantined_and_released() {
    let gw = run(stay(), "fails").start().await;
    let away = || async {
        matches!(gw.invoke("stay", "").await, Err(InvokeError::Away { reason, .. }) if reason.contains("quarantined") && reason.contains("run gives up"))
    };
    eventually("it to be quarantined", away).await;
    gw.counted(r#"ledge_persistent_up{function="test/stay"} 0"#).await;
    let released = ledge(gw.data.path(), &["release", "test/stay", "--data", "."]).await;
    assert_eq!(released.code, 0, "{released:?}");
    gw.audited("released").await;
    gw.deploy(run(stay(), "returns")).await.unwrap();
    assert_eq!(again(&gw, "context").await, "test/stay true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_under_way_ends_on_the_instance_that_took_it_and_callers_meanwhile_wait_for_the_new_one() {
    let gw = stay().limits(|limits| limits.deadline_ms = 2_000).start().await;
    let before = gw.result("stay", "").await;
    assert_eq!(before, "1");
    let began = Instant::now();
    gw.deploy(run(stay(), "returns")).await.unwrap();
    assert_eq!(gw.result("stay", "").await, "1", "another instance");
    assert!(began.elapsed().as_secs() < 10);
    // A deployment that does not change it leaves it alone.
    gw.deploy(run(stay(), "returns").function("count")).await.unwrap();
    assert_eq!(gw.result("stay", "").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_wait_for_an_instance_that_is_replaced_go_to_the_new_one() {
    let gw = stay().limits(|limits| limits.deadline_ms = 4_000).start().await;
    // A call from outside, whose caller gives up: the instance is held for as long as its own time.
    let held = gw.invoke("stay", "sleep 1000");
    let (held, deployed) = tokio::join!(held, async {
        gw.counted(r#"ledge_running_invocations{function="test/stay"} 1"#).await;
        let waiting = gw.invoke("stay", "");
        let (waited, ()) = tokio::join!(waiting, async {
            gw.deploy(run(stay(), "returns").limits(|limits| limits.deadline_ms = 4_000)).await.unwrap();
        });
        waited
    });
    assert_eq!(held.unwrap(), Outcome::Done("slept".into()), "it ends on the instance that took it");
    assert_eq!(deployed.unwrap(), Outcome::Done("1".into()), "and who waited is answered by the new one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_caller_has_given_up_harms_no_other() {
    let gw = stay().limits(|limits| limits.deadline_ms = 4_000).start().await;
    let call = gw.invoke("stay", "sleep 300");
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), call).await.is_err());
    assert_eq!(gw.result("stay", "").await, "2", "the same instance, once it has slept");
    gw.counted(r#"ledge_persistent_restarts{function="test/stay"} 0"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_persistent_function_is_refused_in_words() {
    let gw = gateway().start().await;
    let refused = async |setup: Setup| format!("{:?}", gw.deploy(setup).await.unwrap_err());
    let mode = |setup: Setup| setup.with_function(|function| function.mode = Mode::Persistent);
    assert!(refused(gateway().function("stay")).await.contains("mode = "));
    assert!(refused(mode(gateway().function("count"))).await.contains("ledge_sdk::persistent!"));
    assert!(refused(stay().with_function(|function| function.reuse = 5)).await.contains("`reuse`"));
}
