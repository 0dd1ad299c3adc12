//! The driver `replay`: recordings that are played as things.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ledge::name::ThingId;
use ledge::set::ConfigFile;
use ledge::supervisor::Condition;
use ledge::thing::Presence;
use ledge::thing::fault::{self, Fault};
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::harness::command::{Process, command, ledge};
use crate::harness::{Listener, Setup, TestGateway, component, eventually, gateway};

const TSL: &str = r#"{
    "properties": [
        {"identifier": "Number", "accessMode": "r", "dataType": {"type": "int", "specs": {"max": "1000000"}}},
        {"identifier": "Level", "accessMode": "rw", "dataType": {"type": "float"}},
        {"identifier": "On", "accessMode": "r", "dataType": {"type": "bool"}},
        {"identifier": "Name", "accessMode": "r", "dataType": {"type": "text"}},
        {"identifier": "Place", "accessMode": "r", "dataType": {"type": "struct", "specs": [
            {"identifier": "x", "dataType": {"type": "int"}}]}}
    ],
    "events": [{"identifier": "alarm", "type": "alert", "outputData": [{"identifier": "level", "dataType": {"type": "int"}}]}],
    "services": []
}"#;
const SERVICES: &str = r#""services": [
        {"identifier": "pause", "inputData": [], "outputData": []},
        {"identifier": "resume", "inputData": [], "outputData": []},
        {"identifier": "seek", "inputData": [{"identifier": "position_s", "dataType": {"type": "double"}}], "outputData": []}
    ]"#;
const REPORTS: &str = "/sys/a1Tape/tape-1/thing/event/property/post";

fn id() -> ThingId {
    ThingId::new("a1Tape", "tape-1")
}

/// A directory with one recording.
fn recorded(name: &str, text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(name), text).unwrap();
    dir
}

/// The thing `tape-1`, which plays as `custom` says; the files of `dir` are those of its driver's configuration.
fn tape(dir: &Path, custom: Json) -> Setup {
    tape_of(TSL, dir, custom)
}

/// The same with the services that steer it.
fn steered(dir: &Path, custom: Json) -> Setup {
    tape_of(&TSL.replace(r#""services": []"#, SERVICES), dir, custom)
}

fn tape_of(tsl: &str, dir: &Path, custom: Json) -> Setup {
    let mut setup = gateway().product("a1Tape", tsl).driver("replay", "replay");
    let (mut files, mut listed) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
        let path = entry.file_name().into_string().unwrap();
        listed.push(json!({"path": path}));
        files.push(ConfigFile { path, content: setup.component(fs::read(entry.path()).unwrap()) });
    }
    let setup = setup.with_driver(|driver| (driver.config, driver.files) = (Some(json!({"fileList": listed})), files));
    setup.thing("a1Tape", "tape-1", "replay").with_thing(|thing| thing.custom = Some(custom))
}

/// Deploys it, and does not wait for the thing, which may have come and gone by then. What it reports.
async fn played(gw: &TestGateway, setup: Setup) -> Listener {
    let reports = gw.listen(REPORTS);
    for (digest, component) in &setup.components {
        gw.gateway.deploy.components().put(digest, component).unwrap();
    }
    gw.gateway.deploy.apply(setup.set, false, "test").await.unwrap();
    reports
}

/// The values of the next report.
async fn next(reports: &mut Listener) -> Json {
    let report: Json = serde_json::from_str(&reports.text().await).unwrap();
    report.as_object().unwrap().iter().map(|(name, it)| (name.clone(), it["value"].clone())).collect()
}

async fn offline(gw: &TestGateway) {
    gw.presence(&id(), Presence::Offline).await;
}

async fn call(gw: &TestGateway, service: &str, arguments: Vec<Property>) -> Result<Vec<Property>, Fault> {
    gw.gateway.things.call_service(&id(), service, arguments).await
}

fn seek(position_s: f64) -> Vec<Property> {
    vec![Property::new("position_s", Value::Double(position_s))]
}

async fn number(gw: &TestGateway) -> Option<Value> {
    let read = gw.gateway.things.get_properties(&id(), vec!["Number".into()]).await.unwrap();
    read.into_iter().next().map(|property| property.value)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_arrives_whole_and_in_order_though_the_gateway_takes_less_at_once() {
    const LINES: usize = 300;
    let lines: String = (0..LINES).map(|at| format!("{},{at},{}.5\n", 1_565_164_800 + at, at % 7)).collect();
    let dir = recorded("long.csv", &format!("time,Number,Level\n{lines}"));
    let gw = gateway().start().await;
    let tape = tape(dir.path(), json!({"file": "long.csv", "speed": 0}));
    let mut reports = played(&gw, tape.with_driver(|driver| driver.limits.publishes_per_s = 100)).await;
    for at in 0..LINES {
        assert_eq!(next(&mut reports).await, json!({"Number": at, "Level": (at % 7) as f64 + 0.5}));
    }
    offline(&gw).await;
    assert!(reports.is_silent());
    let metrics = gw.metrics().await;
    assert!(metrics.contains(r#"ledge_limit_hits_total{guest="driver replay",limit="publishes_per_s"}"#), "it was never held back");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_value_is_what_the_model_says_and_an_empty_cell_is_none() {
    let text = "time,Number,Level,On,Name,Place\n2019-08-07T08:00:00Z,7,,true,\"a, \"\"b\"\"\",\"{\"\"x\"\": 3}\"\n2019-08-07 08:00:01,,0.25,0,,\n";
    let dir = recorded("values.csv", text);
    let gw = gateway().start().await;
    let mut reports = played(&gw, tape(dir.path(), json!({"file": "values.csv", "speed": 0}))).await;
    assert_eq!(next(&mut reports).await, json!({"Number": 7, "On": 1, "Name": "a, \"b\"", "Place": {"x": 3}}));
    assert_eq!(next(&mut reports).await, json!({"Level": 0.25, "On": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_play_values_and_events() {
    let text = "{\"time\": 1, \"values\": {\"Number\": 1, \"Place\": {\"x\": 1}}}\n{\"time\": 2, \"event\": \"alarm\", \"outputs\": {\"level\": 9}}\n\
                {\"time\": 3, \"event\": \"quake\"}\n{\"time\": 4, \"values\": {\"Number\": 2, \"Unknown\": 1}}\n";
    let dir = recorded("lines.jsonl", text);
    let gw = gateway().start().await;
    let mut events = gw.listen("/sys/a1Tape/tape-1/thing/event/alarm/post");
    let mut reports = played(&gw, tape(dir.path(), json!({"file": "lines.jsonl", "speed": 0}))).await;
    assert_eq!(next(&mut reports).await, json!({"Number": 1, "Place": {"x": 1}}));
    let event: Json = serde_json::from_str(&events.text().await).unwrap();
    assert_eq!(event["params"]["value"], json!({"level": 9}));
    // What the model does not have is refused, and the rest of that line is not.
    assert_eq!(next(&mut reports).await, json!({"Number": 2}));
    offline(&gw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_as_far_apart_as_they_were_recorded() {
    let dir = recorded("slow.csv", "time,Number\n1000,1\n1000.4,2\n");
    let gw = gateway().start().await;
    let mut reports = played(&gw, tape(dir.path(), json!({"file": "slow.csv"}))).await;
    next(&mut reports).await;
    let first = Instant::now();
    assert_eq!(next(&mut reports).await, json!({"Number": 2}));
    assert!(first.elapsed() >= Duration::from_millis(300), "only {:?} lay between them", first.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_begins_again_and_is_asked_for_what_was_played_last() {
    let dir = recorded("loop.csv", "time,Number\n10,1\n20,2\n5,3\n");
    let gw = gateway().start().await;
    let mut reports = played(&gw, tape(dir.path(), json!({"file": "loop.csv", "speed": 1000, "loop": true}))).await;
    for round in 0..3 {
        for wanted in [1, 2, 3] {
            assert_eq!(next(&mut reports).await, json!({"Number": wanted}), "round {round}");
        }
    }
    assert!(matches!(number(&gw).await, Some(Value::Int(1..=3))));
    let set = vec![Property::new("Level", Value::Float(1.0))];
    let refused = gw.gateway.things.set_properties(&id(), set).await.unwrap_err();
    assert!(refused.code == fault::PROPERTY_READ_ONLY && refused.message.contains("plays a recording"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_paused_and_goes_on_and_jumps_to_where_it_is_told() {
    let dir = recorded("hours.csv", "time,Number\n0,1\n3600,2\n7200,3\n7200.1,4\n90000,5\n");
    let gw = gateway().start().await;
    let mut reports = played(&gw, steered(dir.path(), json!({"file": "hours.csv"}))).await;
    assert_eq!(next(&mut reports).await, json!({"Number": 1}));
    call(&gw, "pause", vec![]).await.unwrap();
    call(&gw, "seek", seek(7_200.0)).await.unwrap();
    call(&gw, "resume", vec![]).await.unwrap();
    assert_eq!(next(&mut reports).await, json!({"Number": 3}));
    assert_eq!(next(&mut reports).await, json!({"Number": 4}));
    assert_eq!(number(&gw).await, Some(Value::Int(4)));
    // Back again.
    call(&gw, "seek", seek(0.5)).await.unwrap();
    assert_eq!(next(&mut reports).await, json!({"Number": 2}));
    let refused = call(&gw, "seek", seek(-1.0)).await.unwrap_err();
    assert!(refused.code == fault::SERVICE_INPUT_PARAM && refused.message.contains("position_s"), "{refused:?}");
    // Behind the end there is nothing.
    call(&gw, "seek", seek(1e9)).await.unwrap();
    assert!(reports.is_silent());
}

#[tokio::test(flavor = "multi_thread")]
async fn at_its_end_it_stays_online_and_begins_again_when_it_is_told_to() {
    let dir = recorded("hour.csv", "time,Number\n0,1\n3600,2\n");
    let gw = gateway().start().await;
    let mut reports = played(&gw, steered(dir.path(), json!({"file": "hour.csv"}))).await;
    assert_eq!(next(&mut reports).await, json!({"Number": 1}));
    for _ in 0..2 {
        call(&gw, "seek", seek(3_600.0)).await.unwrap();
        assert_eq!(next(&mut reports).await, json!({"Number": 2}));
        // A line is on the bus before it is known to be the last, and before the end there is nothing to begin again.
        eventually("it to begin again", async || {
            call(&gw, "resume", vec![]).await.unwrap();
            number(&gw).await == Some(Value::Int(1))
        })
        .await;
        assert_eq!(next(&mut reports).await, json!({"Number": 1}));
    }
    assert_eq!(gw.gateway.things.get(&id()).unwrap().presence(), Presence::Online);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thing_at_speed_0_leaves_the_limit_to_one_that_plays_by_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let lines =
        |count: usize, gap_ms: usize| -> String { (0..count).map(|at| format!("{},{at}\n", 1_565_164_800_000 + at * gap_ms)).collect() };
    fs::write(dir.path().join("fast.csv"), format!("time,Number\n{}", lines(20_000, 1))).unwrap();
    fs::write(dir.path().join("timed.csv"), format!("time,Number\n{}", lines(60, 50))).unwrap();
    let gw = gateway().start().await;
    let setup = tape(dir.path(), json!({"file": "timed.csv"}))
        .thing("a1Tape", "fast", "replay")
        .with_thing(|thing| thing.custom = Some(json!({"file": "fast.csv", "speed": 0})));
    let mut reports = played(&gw, setup).await;
    next(&mut reports).await;
    let (first, mut late) = (Instant::now(), 0);
    for at in 1..60 {
        assert_eq!(next(&mut reports).await, json!({"Number": at}));
        let due = Duration::from_millis(50) * at;
        late += u32::from(first.elapsed() > due + Duration::from_millis(400));
    }
    // It was late for most of each second when all things took what they got.
    assert!(late <= 6, "{late} lines of 60 came too late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_for_as_long_as_it_lasts() {
    let dir = recorded("pause.csv", "time,Number\n0,1\n0.3,2\n");
    let gw = gateway().start().await;
    let mut reports = played(&gw, steered(dir.path(), json!({"file": "pause.csv"}))).await;
    assert_eq!(next(&mut reports).await, json!({"Number": 1}));
    call(&gw, "pause", vec![]).await.unwrap();
    let began = Instant::now();
    eventually("the second line to be overdue", async || {
        assert_eq!(number(&gw).await, Some(Value::Int(1)));
        began.elapsed() > Duration::from_millis(900)
    })
    .await;
    assert!(reports.is_silent());
    call(&gw, "resume", vec![]).await.unwrap();
    assert_eq!(next(&mut reports).await, json!({"Number": 2}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thing_with_nothing_to_play_stays_inactive_and_the_others_play() {
    let dir = recorded("good.csv", "time,Number\n0,1\n1,2\n");
    let gw = gateway().start().await;
    let setup = tape(dir.path(), json!({"file": "good.csv", "loop": true}))
        .thing("a1Tape", "gone", "replay")
        .with_thing(|thing| thing.custom = Some(json!({"file": "gone.csv"})))
        .thing("a1Tape", "wrong", "replay")
        .with_thing(|thing| thing.custom = Some(json!({"file": "good.csv", "speed": "fast"})));
    let mut reports = played(&gw, setup).await;
    assert_eq!(next(&mut reports).await, json!({"Number": 1}));
    gw.online(&id()).await;
    for name in ["gone", "wrong"] {
        assert_eq!(gw.gateway.things.get(&ThingId::new("a1Tape", name)).unwrap().presence(), Presence::Inactive, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_with_nothing_to_play_says_why() {
    let dir = recorded("head.csv", "Number,time\n1,0\n");
    let gw = gateway().start().await;
    let reason = || {
        let (_, condition, _) = gw.gateway.drivers.list().into_iter().next().unwrap();
        match condition {
            Condition::Waiting { reason } | Condition::Quarantined { reason } => reason,
            _ => String::new(),
        }
    };
    for (custom, wanted) in [
        (json!({"file": "gone.csv"}), "the recording `gone.csv`"),
        (json!({"file": "head.csv"}), "its head begins with `Number`"),
        (json!({"file": "head.txt"}), "head.txt"),
        (json!({"fiel": "head.csv"}), "`custom.fiel` is unknown"),
    ] {
        let _reports = played(&gw, tape(dir.path(), custom)).await;
        eventually(wanted, || async { reason().contains("a1Tape/tape-1") && reason().contains(wanted) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_named_and_counted_and_the_rest_plays() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let tapes = dir.join("tapes");
    fs::create_dir(&tapes).unwrap();
    fs::write(tapes.join("bad.csv"), "time,Number,Extra,Level\n1,10,x,\nlater,20,,\n3,30\n4,many,,\n5,50,,\n4,60,,\n3,70,,\n4,71,,high\n")
        .unwrap();
    fs::write(dir.join("replay.wasm"), component("replay")).unwrap();
    fs::write(dir.join("tape.json"), TSL).unwrap();
    let manifest = "[products.a1Tape]\ntsl = \"tape.json\"\n[[things]]\nproduct = \"a1Tape\"\nname = \"tape-1\"\ndriver = \"replay\"\n\
         custom = { file = \"tapes/bad.csv\", speed = 0 }\n[drivers.replay]\ncomponent = \"replay.wasm\"\n\
         config = { fileList = [{ path = \"tapes/bad.csv\" }] }\n";
    fs::write(dir.join("ledge.toml"), manifest).unwrap();
    let args = ["up", ".", "--data", "data", "--listen", "127.0.0.1:0", "--gateway-monitor", "never"];
    let mut gateway = Process::start(command(dir, &args));
    gateway.line_with("project ").await;
    let thing = async || {
        let listed: Json = serde_json::from_str(&ledge(dir, &["list", "things", "--json", "--data", "data"]).await.stdout).unwrap();
        listed[0].clone()
    };
    eventually("the recording to be over", async || thing().await["state"] == "offline").await;
    assert_eq!(thing().await["values"]["Number"]["value"], 71);
    gateway.signal("TERM");
    let (code, said) = gateway.end().await;
    assert_eq!(code, 0);
    for wanted in [
        "its column `Extra` is left out",
        "tapes/bad.csv:3: `later` is no time",
        "tapes/bad.csv:4: has 2 cells, and the head has 4",
        "tapes/bad.csv:5: ",
        "tapes/bad.csv:7: the time goes backwards",
        "tapes/bad.csv:9: thing `a1Tape/tape-1`: property `Level`: ",
        "; the line's other values are reported",
        "a1Tape/tape-1 has played `tapes/bad.csv`: 5 lines (1 of them without values that were refused), and 3 skipped",
    ] {
        assert!(said.contains(wanted), "nothing of {wanted} in\n{said}");
    }
    assert_eq!(said.matches("goes backwards").count(), 1, "{said}");
}
