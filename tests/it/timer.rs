//! Timers: functions that are invoked by the clock.

use ledge::set::{Missed, Schedule, Timer};
use serde_json::Value as Json;

use crate::harness::command::ledge;
use crate::harness::{Setup, eventually, gateway};

fn every_second(payload: &str) -> Timer {
    Timer { name: "pulse".into(), schedule: Schedule::EveryS(1), payload: payload.into(), missed: Missed::RunOnce }
}

fn with(setup: Setup, timer: Timer) -> Setup {
    setup.with_function(|function| function.timers = vec![timer])
}

fn relay() -> Setup {
    gateway().function("relay").grants(|grants| grants.publish = vec!["#".parse().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_invokes_its_function_with_the_event_of_function_compute() {
    let gw = with(relay(), every_second("hello")).start().await;
    let mut ticks = gw.listen("/relay/relay");
    for _ in 0..2 {
        let event: Json = serde_json::from_str(&ticks.text().await).unwrap();
        assert_eq!((&event["triggerName"], &event["payload"]), (&"pulse".into(), &"hello".into()));
        assert_eq!(event["triggerTime"].as_str().unwrap().len(), "2018-02-09T05:49:00Z".len());
    }
    let listed = ledge(gw.data.path(), &["list", "timers", "--data", "."]).await;
    assert!(listed.stdout.contains("test/relay") && listed.stdout.contains("every 1 s"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_is_taken_away_ticks_no_more_and_one_that_stays_goes_on_over_a_restart() {
    let gw = with(relay(), every_second("one")).start().await;
    let mut ticks = gw.listen("/relay/relay");
    assert!(ticks.text().await.contains("one"));
    let gw = gw.restart().await;
    let mut ticks = gw.listen("/relay/relay");
    assert!(ticks.text().await.contains("one"));
    gw.deploy(with(relay(), every_second("two"))).await.unwrap();
    let said_two = async { while !ticks.text().await.contains("two") {} };
    said_two.await;
    gw.deploy(relay()).await.unwrap();
    let timers = || async { gw.admin().get_json("/ledge/v1/timers").await.unwrap().as_array().unwrap().len() };
    eventually("no timer to be there", || async { timers().await == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_none_is_refused() {
    for schedule in [Schedule::Cron { cron: "* * *".into(), time_zone: "UTC".into() }, Schedule::EveryS(0)] {
        let timer = Timer { schedule, ..every_second("") };
        let gw = gateway().start().await;
        let refused = format!("{:?}", gw.deploy(with(relay(), timer)).await.unwrap_err());
        assert!(refused.contains("timer `pulse`"), "{refused}");
    }
}
