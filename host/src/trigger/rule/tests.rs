//! Rules in virtual time: years of timers, delays, jumps of the clock and restarts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::Hands;
use crate::schedule;
use crate::store::writer::Writer;
use crate::thing::fault::Fault;
use crate::thing::tsl::Tsl;
use crate::thing::value::{Property, Value};
use crate::thing::{BoxFuture, Device, LostTime, Product, Turn};

/// Sunday, in Berlin too.
const START: &str = "2026-01-04T00:00:00Z";
const DAY: Duration = Duration::from_secs(86_400);

/// A lamp that notes when it was switched, and how.
struct Lamp {
    clock: Clock,
    switched: Mutex<Vec<(u64, Value)>>,
    lost_time: Arc<LostTime>,
}

impl Device for Lamp {
    fn deadline(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn was_late(&self, _: std::time::Instant, _: &str) {}

    fn is_alive(&self) {}

    fn lost_time(&self) -> &Arc<LostTime> {
        &self.lost_time
    }

    fn get_properties(&self, _: Turn, _: ThingId, _: Vec<String>) -> BoxFuture<'_, Result<Vec<Property>, Fault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn set_properties(&self, _: Turn, _: ThingId, properties: Vec<Property>) -> BoxFuture<'_, Result<(), Fault>> {
        let now_ms = self.clock.unix_ms();
        self.switched.lock().extend(properties.into_iter().map(|property| (now_ms, property.value)));
        Box::pin(async { Ok(()) })
    }

    fn call_service(&self, _: Turn, _: ThingId, _: String, _: Vec<Property>) -> BoxFuture<'_, Result<Vec<Property>, Fault>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

struct Bench {
    clock: Clock,
    hands: Hands,
    store: Arc<Store>,
    writer: Writer,
    things: Arc<Things>,
    lamp: Arc<Lamp>,
    device: Arc<dyn Device>,
    rules: Arc<Rules>,
    rows: Vec<set::Rule>,
    sink: Arc<dyn Sink>,
    bus: Arc<Bus>,
}

impl Bench {
    fn new(rows: Vec<set::Rule>) -> Self {
        let (clock, hands) = Clock::fixed(schedule::moment(START).unwrap());
        let bus = Arc::new(Bus::default());
        let things = Arc::new(Things::in_memory(bus.clone(), clock.clone()));
        let tsl = json!({"properties": [
            {"identifier": "Switch", "name": "s", "accessMode": "rw", "dataType": {"type": "bool", "specs": {"0": "off", "1": "on"}}},
            {"identifier": "Lux", "name": "l", "accessMode": "r", "dataType": {"type": "int", "specs": {"min": "0", "max": "100000"}}}
        ]})
        .to_string();
        let product = set::Product { key: "a1".into(), name: "a1".into(), tsl: tsl.clone(), tsl_ext: None, history_bytes: 0 };
        let product = Arc::new(Product { row: product, tsl: Tsl::parse(&tsl).unwrap() });
        let thing = set::Thing {
            product_key: "a1".into(),
            device_name: "lamp".into(),
            driver: "d".into(),
            local_name: None,
            tags: BTreeMap::new(),
            custom: None,
        };
        things.replace(vec![product], vec![thing]);
        let lamp = Arc::new(Lamp { clock: clock.clone(), switched: Mutex::default(), lost_time: Arc::default() });
        let device: Arc<dyn Device> = lamp.clone();
        things.register("d", &things.get(&ThingId::new("a1", "lamp")).unwrap(), device.clone()).unwrap();
        let store = Arc::new(Store::in_memory());
        let writer = Writer::start(store.clone()).unwrap();
        let rules = open(&store, &writer, &clock, &things, &bus);
        rules.replace(rows.clone());
        let sink: Arc<dyn Sink> = rules.clone();
        bus.attach(&sink);
        Self { clock, hands, store, writer, things, lamp, device, rules, rows, sink, bus }
    }

    /// What is due now, and all that follows from it.
    async fn work(&self) {
        loop {
            let mut due = Vec::new();
            self.rules.step(&mut due);
            if due.is_empty() {
                return;
            }
            for (live, waiting) in due {
                self.rules.perform(&live, waiting).await;
            }
        }
    }

    /// Lets time pass, from one moment at which something is due to the next.
    async fn pass(&self, by: Duration) {
        let until = self.clock.monotonic() + by;
        loop {
            self.work().await;
            let now = self.clock.monotonic();
            if now >= until {
                return;
            }
            let next_tick = self.rules.list().iter().filter_map(|state| state.next_ms).min();
            let next_tick = next_tick.map_or(until, |ms| now + Duration::from_millis(ms.saturating_sub(self.clock.unix_ms()).max(1)));
            let index = self.rules.table.load();
            let next_due = index.rules.values().filter_map(|live| live.state.lock().next_due()).min();
            let next = next_due.map_or(next_tick, |due| due.min(next_tick)).min(until);
            self.hands.advance(next.saturating_duration_since(now));
        }
    }

    /// As if the process had been killed once everything was on the disk.
    async fn restart(&mut self) {
        self.writer.handle().commit(Batch::new()).await.unwrap();
        self.rules = open(&self.store, &self.writer, &self.clock, &self.things, &self.bus);
        self.rules.replace(self.rows.clone());
        self.sink = self.rules.clone();
        self.bus.attach(&self.sink);
    }

    async fn lux(&self, lux: i32) -> Result<(), Fault> {
        let report = vec![Property::new("Lux", Value::Int(lux))];
        self.things.report_properties(&ThingId::new("a1", "lamp"), &self.device, report).await
    }

    /// How the lamp was switched, and when.
    fn switched(&self) -> Vec<(String, bool)> {
        let shown = |(at_ms, value): &(u64, Value)| (schedule::iso(*at_ms), *value == Value::Bool(true));
        self.lamp.switched.lock().iter().map(shown).collect()
    }
}

fn open(store: &Arc<Store>, writer: &Writer, clock: &Clock, things: &Arc<Things>, bus: &Arc<Bus>) -> Arc<Rules> {
    let queue = Queue::open(store.clone(), clock.clone(), Some(writer.handle())).unwrap();
    Rules::open(Parts {
        store: store.clone(),
        writer: writer.handle(),
        clock: clock.clone(),
        things: things.clone(),
        functions: Arc::default(),
        queue,
        bus: bus.clone(),
        audit: Audit::in_memory(),
    })
    .unwrap()
}

fn rule(name: &str, trigger: Json, condition: Json, action: Json) -> set::Rule {
    let rule = json!({"type": "IFTTT", "trigger": trigger, "condition": condition, "action": action});
    set::Rule { name: name.into(), description: String::new(), rule, enabled: true, qos: Qos::AtMostOnce, runs_per_s: 100 }
}

fn timer(cron: &str, zone: &str) -> Json {
    json!({"uri": "trigger/timer", "params": {"cron": cron, "timezoneID": zone}})
}

fn switch(on: bool, delay_s: u32) -> Json {
    json!({"uri": "action/device/setProperty", "params": {"productKey": "a1", "deviceName": "lamp",
        "propertyItems": {"Switch": on}, "delayedExecutionSeconds": delay_s}})
}

fn property(kind: &str, how: &str, value: i32) -> Json {
    json!({"uri": format!("{kind}/device/property"), "params": {"productKey": "a1", "deviceName": "lamp", "propertyName": "Lux",
        "compareType": how, "compareValue": value}})
}

#[tokio::test]
async fn a_year_of_a_rule_has_every_run_and_every_delayed_action_once_over_restarts() {
    let weekdays = json!({"uri": "condition/timeRange",
        "params": {"beginDate": "7:00", "endDate": "9:00", "timezoneID": "Europe/Berlin", "repeat": "1,2,3,4,5"}});
    let morning = rule("morning", timer("0 8 * * *", "Europe/Berlin"), weekdays, json!([switch(true, 0), switch(false, 7_200)]));
    let mut bench = Bench::new(vec![morning]);
    for day in 0..364 {
        bench.pass(DAY).await;
        if day % 30 == 0 {
            // While the lamp is on: it is to go off still.
            bench.pass(Duration::from_secs(27_000)).await;
            bench.restart().await;
            bench.pass(DAY - Duration::from_secs(27_000)).await;
        }
    }
    let switched = bench.switched();
    let days = 364 + 13;
    let weekdays = days / 7 * 5 + usize::from(u8::try_from(days % 7).unwrap()).saturating_sub(1);
    assert_eq!(switched.len(), weekdays * 2, "on and off on each weekday");
    assert!(switched.chunks(2).all(|day| day[0].1 && !day[1].1), "on, then off");
    assert_eq!(switched[0].0, "2026-01-05T07:00:00Z");
    assert_eq!(switched[1].0, "2026-01-05T09:00:00Z");
    let summer = switched.iter().find(|(at, _)| at.starts_with("2026-07-01")).unwrap();
    assert_eq!(summer.0, "2026-07-01T06:00:00Z", "it is of its time zone");
    bench.pass(Duration::from_secs(2)).await;
    bench.restart().await;
    let runs = bench.rules.runs("morning").unwrap().unwrap();
    assert_eq!(runs.len(), log::RUNS_MAX);
    assert!(runs.iter().all(|run| run.actions.iter().all(|action| action.is_ok == Some(true))), "{runs:#?}");
}

#[tokio::test]
async fn what_was_reported_is_judged_and_every_judgement_is_kept() {
    let dark = rule("dark", property("trigger", "<", 100), property("condition", ">", 10), json!([switch(true, 0)]));
    let bench = Bench::new(vec![dark]);
    for lux in [500, 50, 5] {
        bench.lux(lux).await.unwrap();
        bench.work().await;
    }
    assert_eq!(bench.switched().len(), 1);
    let events = bench.rules.events(None).unwrap();
    let outcomes: Vec<_> = events.iter().map(|(_, event)| (event.verdict.triggers[0].holds, event.verdict.conditions[0].holds)).collect();
    assert_eq!(outcomes, [(true, false), (true, true), (false, true)], "the newest first");
    assert!(matches!(events[1].1.outcome, Outcome::Ran(_)) && events[0].1.outcome == Outcome::NotMet);
}

#[tokio::test]
async fn a_rule_that_is_disabled_drops_what_waits_and_stays_so_over_restarts_and_deployments() {
    let dark = || rule("dark", property("trigger", "<", 100), json!({}), json!([switch(true, 60)]));
    let mut bench = Bench::new(vec![dark()]);
    bench.lux(1).await.unwrap();
    bench.rules.switch("dark", false, "test").await.unwrap().unwrap();
    bench.lux(2).await.unwrap();
    bench.pass(Duration::from_secs(100)).await;
    bench.restart().await;
    bench.rules.replace(bench.rows.clone());
    bench.lux(3).await.unwrap();
    bench.pass(Duration::from_secs(100)).await;
    assert_eq!(bench.switched(), []);
    assert_eq!(bench.rules.events(None).unwrap()[0].1.outcome, Outcome::Off);
    let runs = bench.rules.runs("dark").unwrap().unwrap();
    assert!(runs[0].actions[0].message.contains("disabled"), "{runs:?}");
    // A manifest that says otherwise than it did is obeyed.
    let mut off = dark();
    off.enabled = false;
    bench.rules.replace(vec![off]);
    bench.rules.replace(vec![dark()]);
    bench.lux(4).await.unwrap();
    bench.pass(Duration::from_secs(100)).await;
    assert_eq!(bench.switched().len(), 1);
}

#[tokio::test]
async fn rules_that_trigger_one_another_for_ever_are_cut() {
    let to = |other: &str| json!([{"uri": "action/scene/trigger", "params": {"sceneId": other}}]);
    let bench = Bench::new(vec![rule("a", json!({}), json!({}), to("b")), rule("b", json!({}), json!({}), to("a"))]);
    bench.rules.trigger("a", "test", &CallPath::default()).await.unwrap();
    bench.work().await;
    let runs: usize = ["a", "b"].iter().map(|name| bench.rules.runs(name).unwrap().unwrap().len()).sum();
    assert_eq!(runs, DEPTH_MAX as usize);
    let events = bench.rules.events(None).unwrap();
    assert!(matches!(&events[0].1.outcome, Outcome::Refused(reason) if reason.contains("a loop is cut")), "{:?}", events[0].1);
}

#[tokio::test]
async fn a_rule_runs_so_often_in_a_second_and_keeps_so_much_waiting_and_says_so() {
    let mut often = rule("often", property("trigger", "<", 100), json!({}), json!([switch(true, 0)]));
    often.runs_per_s = 3;
    let mut later = rule("later", property("trigger", ">", 100), json!({}), json!([switch(true, 3_600)]));
    (later.qos, later.runs_per_s) = (Qos::AtLeastOnce, 10_000);
    let bench = Bench::new(vec![often, later]);
    for _ in 0..5 {
        bench.lux(1).await.unwrap();
    }
    bench.work().await;
    assert_eq!(bench.switched().len(), 3);
    for _ in 0..waiting::WAITING_MAX {
        bench.lux(101).await.unwrap();
    }
    let refused = bench.lux(101).await.unwrap_err();
    assert!(refused.message.contains("wait already"), "whoever was promised more is told: {refused:?}");
}

#[tokio::test]
async fn an_action_that_is_due_before_its_thing_has_come_up_waits_for_it() {
    let dark = rule("dark", property("trigger", "<", 100), json!({}), json!([switch(true, 60)]));
    let mut bench = Bench::new(vec![dark]);
    bench.lux(1).await.unwrap();
    // Its log is on the disk by then.
    bench.pass(Duration::from_secs(2)).await;
    // A gateway that starts anew knows no device yet.
    let (things, id) = (Arc::new(Things::in_memory(bench.bus.clone(), bench.clock.clone())), ThingId::new("a1", "lamp"));
    let thing = bench.things.get(&id).unwrap();
    things.replace(bench.things.products(), vec![thing.row.clone()]);
    bench.things = things;
    bench.restart().await;
    bench.pass(Duration::from_secs(90)).await;
    assert_eq!(bench.switched(), []);
    bench.things.register("d", &bench.things.get(&id).unwrap(), bench.device.clone()).unwrap();
    bench.pass(Duration::from_secs(1)).await;
    assert_eq!(bench.switched().len(), 1);
    let runs = bench.rules.runs("dark").unwrap().unwrap();
    assert_eq!(runs[0].actions[0].is_ok, Some(true));
}

#[tokio::test]
async fn a_gateway_that_stops_lets_nothing_happen_and_keeps_what_is_on_the_disk() {
    let mut gone = rule(
        "gone",
        json!({"uri": "trigger/device/statusChange", "params": {"productKey": "a1", "deviceName": "lamp"}}),
        json!({}),
        json!([switch(true, 60)]),
    );
    gone.qos = Qos::AtLeastOnce;
    let mut dark = rule("dark", property("trigger", "<", 100), json!({}), json!([switch(true, 60)]));
    dark.qos = Qos::AtLeastOnce;
    let mut bench = Bench::new(vec![gone, dark]);
    bench.lux(1).await.unwrap();
    bench.rules.stop();
    bench.things.device_gone(&bench.device);
    bench.hands.advance(Duration::from_secs(100));
    bench.work().await;
    assert_eq!(bench.switched(), []);
    bench.things.register("d", &bench.things.get(&ThingId::new("a1", "lamp")).unwrap(), bench.device.clone()).unwrap();
    bench.restart().await;
    bench.pass(Duration::from_secs(1)).await;
    assert_eq!(bench.switched().len(), 1, "what was promised");
    assert_eq!(bench.rules.runs("gone").unwrap().unwrap().len(), 0);
    assert_eq!(bench.rules.runs("dark").unwrap().unwrap().len(), 1, "and its log");
}

#[tokio::test]
async fn a_deployment_that_disables_a_rule_drops_what_waits() {
    let dark = |enabled| set::Rule { enabled, ..rule("dark", property("trigger", "<", 100), json!({}), json!([switch(true, 60)])) };
    let bench = Bench::new(vec![dark(true)]);
    bench.lux(1).await.unwrap();
    bench.rules.replace(vec![dark(false)]);
    bench.pass(Duration::from_secs(100)).await;
    assert_eq!(bench.switched(), []);
}

#[tokio::test]
async fn what_is_kept_of_a_long_report_is_short() {
    let long = "x".repeat(100_000);
    let told = Cause::Event { thing: ThingId::new("a1", "lamp"), event: "e".into(), outputs: Map::from_iter([("t".into(), json!(long))]) };
    let rule = rule::parse(&json!({"type": "IFTTT", "trigger": {"uri": "trigger/product/event", "params": {"productKey": "a1"}},
        "action": [{"uri": "action/mq/send", "params": {"topic": "/a"}}]}))
    .unwrap();
    let bench = Bench::new(vec![]);
    let told = Happened::new(told, 0);
    let verdict = rule.judge(&told, &*bench.rules).unwrap();
    assert!(verdict.triggers[0].found.len() < 300 && told.shown.to_string().len() < 2_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Two weeks in which the clock is set again and again, and the gateway restarted.
    #[test]
    fn no_jump_of_the_clock_loses_a_run_or_doubles_one(
        steps in proptest::collection::vec((1..600u64, -170..170i64, any::<bool>()), 40..60),
    ) {
        let hourly = rule("hourly", timer("0 * * * *", "UTC"), json!({}), json!([switch(true, 0)]));
        let mut bench = Bench::new(vec![hourly]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let start_ms = bench.clock.unix_ms();
        let mut latest_ms = start_ms;
        for (pass_minutes, jump_minutes, restarts) in steps {
            runtime.block_on(bench.pass(Duration::from_secs(pass_minutes * 60)));
            latest_ms = latest_ms.max(bench.clock.unix_ms());
            let to_ms = bench.clock.unix_ms().checked_add_signed(jump_minutes * 60_000).unwrap();
            // Never further from what it has shown than counts as an adjustment.
            if latest_ms.saturating_sub(to_ms) <= ADJUSTED_MAX.as_millis() as u64 {
                bench.hands.set_unix_ms(to_ms);
            }
            runtime.block_on(bench.work());
            latest_ms = latest_ms.max(bench.clock.unix_ms());
            if restarts {
                runtime.block_on(bench.restart());
                runtime.block_on(bench.work());
            }
        }
        let hours = (latest_ms / 3_600_000 - start_ms / 3_600_000) as usize;
        prop_assert_eq!(bench.switched().len(), hours);
    }
}
