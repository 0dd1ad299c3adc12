//! The gateway itself as a thing: its figures, the counters of its functions, and how it comes to be there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ledge::deploy::DeployError;
use ledge::gateway::monitor::Bring;
use ledge::name::ThingId;
use ledge::set::Set;
use ledge::supervisor::Condition;
use ledge::thing::fault::{self, Fault};
use ledge::thing::value::{Property, Value};
use serde_json::{Value as Json, json};

use crate::harness::command::{Process, command, ledge};
use crate::harness::{Setup, TestGateway, eventually, gateway};

fn id() -> ThingId {
    ThingId::new("b1Gateway", "gateway")
}

/// A gateway that has brought itself.
async fn started(setup: Setup) -> TestGateway {
    let gw = setup.start().await;
    gw.gateway.bring_monitor(Bring::Once).await.unwrap().expect("a new gateway brings itself");
    gw.online(&id()).await;
    gw
}

async fn figures(gw: &TestGateway) -> BTreeMap<String, Json> {
    let read = gw.gateway.things.get_properties(&id(), vec![]).await.unwrap();
    read.into_iter().map(|property| (property.identifier, property.value.to_json())).collect()
}

async fn call(gw: &TestGateway, service: &str, name: &str, value: Value) -> Result<BTreeMap<String, Json>, Fault> {
    let outputs = gw.gateway.things.call_service(&id(), service, vec![Property::new(name, value)]).await?;
    Ok(outputs.into_iter().map(|property| (property.identifier, property.value.to_json())).collect())
}

fn named(name: &str) -> Value {
    Value::Text(name.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_figures_are_those_of_this_machine_and_its_uptime_grows() {
    let gw = gateway().start().await;
    let mut reports = gw.listen("/sys/b1Gateway/gateway/thing/event/property/post");
    gw.gateway.bring_monitor(Bring::Once).await.unwrap();
    let report: Json = serde_json::from_str(&reports.text().await).unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(report["cpu_core_number"]["value"], cores);
    let first = figures(&gw).await;
    let number = |name: &str| first[name].as_f64().unwrap_or_else(|| panic!("no {name} in {first:?}"));
    assert_eq!(number("cpu_core_number"), cores as f64);
    assert!((0.0..=100.0).contains(&number("cpu_usage")), "{first:?}");
    assert!(number("memory_total") > number("memory_used") && number("memory_used") > 0.0, "{first:?}");
    assert!(number("disk_total") >= number("disk_used") && number("disk_used") > 0.0, "{first:?}");
    assert!(number("machine_uptime") >= number("uptime"), "{first:?}");
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    eventually("the uptime to grow", || async { figures(&gw).await["uptime"].as_f64().unwrap() > number("uptime") }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_was_called_three_times_is_counted_so() {
    let setup = gateway().function("misbehave").function("relay").grants(|grants| grants.publish = vec!["#".parse().unwrap()]);
    let gw = started(setup).await;
    for _ in 0..3 {
        gw.result("misbehave", "hello").await;
    }
    let _handled = gw.invoke("misbehave", "error").await.unwrap();
    let counted = call(&gw, "function_counters", "name", named("test/misbehave")).await.unwrap();
    let wanted = [("done", 3.0), ("handled_errors", 1.0), ("unhandled_errors", 0.0), ("refused", 0.0), ("running", 0.0), ("loaded", 1.0)];
    for (name, count) in wanted {
        assert_eq!(counted[name].as_f64(), Some(count), "{name} in {counted:?}");
    }
    assert!(counted["seconds"].as_f64().unwrap() > 0.0, "{counted:?}");
    let listed = call(&gw, "list_functions", "from", Value::Int(0)).await.unwrap();
    assert_eq!(listed["total"], 2);
    let names: Vec<&Json> = listed["functions"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["test/misbehave", "test/relay"]);
    assert_eq!(listed["functions"][0]["done"].as_f64(), Some(3.0));
    let rest = call(&gw, "list_functions", "from", Value::Int(1)).await.unwrap();
    assert_eq!(rest["functions"].as_array().unwrap().len(), 1);
    for (missing, code) in [("test/nothing", fault::FUNCTION_NOT_EXIST), ("no name", fault::FUNCTION_NOT_EXIST)] {
        let refused = call(&gw, "function_counters", "name", named(missing)).await.unwrap_err();
        assert!(refused.code == code && refused.message.contains(missing), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_nothing_is_told_and_the_audit_says_who_asked() {
    let tsl = include_str!("../../drivers/gateway_monitor/tsl/b1Gateway.json");
    // No thing, so that nobody waits for it to be online.
    let gw = gateway().product("b1Gateway", tsl).driver("curious", "gateway_monitor").start().await;
    gw.audited("gateway_info true").await;
    assert!(gw.audit().contains(r#""who":"driver curious""#), "{}", gw.audit());
    let reason = || {
        let (_, condition, _) = gw.gateway.drivers.list().into_iter().next().unwrap();
        match condition {
            Condition::Waiting { reason } | Condition::Quarantined { reason } => reason,
            _ => String::new(),
        }
    };
    eventually("the driver to say why", || async { reason().contains("not granted: gateway_info") && reason().contains("110001") }).await;
    assert!(gw.metrics().await.contains(r#"ledge_denials_total{guest="driver curious",grant="gateway_info"}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_not_granted_what_only_drivers_can_ask() {
    let gw = gateway().start().await;
    let refused = gw.deploy(gateway().function("relay").grants(|grants| grants.gateway_info = true)).await;
    let Err(DeployError::Refused(problems)) = refused else { panic!("{refused:?}") };
    assert!(
        problems.join("\n").contains("function `test/relay`: it is granted `gateway_info`, which only drivers can use"),
        "{problems:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_once_and_stays_deleted_until_it_is_asked_for() {
    let gw = started(gateway()).await;
    gw.audited("the gateway itself").await;
    let gw = gw.restart().await;
    assert_eq!(gw.gateway.bring_monitor(Bring::Once).await.unwrap(), None);
    gw.online(&id()).await;
    gw.gateway.deploy.apply(Set::default(), true, "test").await.unwrap();
    let gw = gw.restart().await;
    for when in [Bring::Once, Bring::Never] {
        assert_eq!(gw.gateway.bring_monitor(when).await.unwrap(), None);
    }
    assert_eq!(gw.gateway.things.get(&id()).err().unwrap().code, fault::DEVICE_UNREGISTER);
    gw.gateway.bring_monitor(Bring::Always).await.unwrap().expect("it was not there");
    gw.online(&id()).await;
    assert_eq!(gw.gateway.bring_monitor(Bring::Always).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_made_of_it_is_left_alone() {
    let tsl = include_str!("../../drivers/gateway_monitor/tsl/b1Gateway.json");
    let own =
        gateway().product("b1Gateway", tsl).driver("gateway_monitor", "gateway_monitor").thing("b1Gateway", "mine", "gateway_monitor");
    let own = own.with_driver(|driver| {
        driver.config = Some(json!({"json": {"period_ms": 60_000}}));
        driver.grants.gateway_info = true;
    });
    let gw = own.start().await;
    let before = gw.gateway.deploy.current();
    gw.gateway.bring_monitor(Bring::Once).await.unwrap();
    assert_eq!(gw.gateway.deploy.current(), before);
    assert_eq!(gw.gateway.bring_monitor(Bring::Once).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_with_fewer_properties_takes_what_it_has() {
    let tsl = r#"{"properties": [{"identifier": "cpu_usage", "accessMode": "r", "dataType": {"type": "float"}}]}"#;
    let setup = gateway().product("b1Gateway", tsl).driver("gateway_monitor", "gateway_monitor").with_driver(|driver| {
        driver.grants.gateway_info = true;
    });
    let gw = gateway().start().await;
    let mut reports = gw.listen("/sys/b1Gateway/gateway/thing/event/property/post");
    gw.deploy(setup.thing("b1Gateway", "gateway", "gateway_monitor")).await.unwrap();
    let report: Json = serde_json::from_str(&reports.text().await).unwrap();
    assert_eq!(report.as_object().unwrap().keys().collect::<Vec<_>>(), ["cpu_usage"]);
    let read = figures(&gw).await;
    assert_eq!(read.keys().collect::<Vec<_>>(), ["cpu_usage"]);
    let (_, condition, restarts) = gw.gateway.drivers.list().into_iter().next().unwrap();
    assert!(condition == Condition::Running && restarts == 0, "{condition:?}");
}

/// What `ledge list things` says of a gateway in a process of its own.
async fn things(dir: &Path) -> Vec<Json> {
    let output = ledge(dir, &["list", "things", "--json", "--data", "data"]).await;
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn ledge_up_brings_it_by_itself_and_a_prune_takes_it_off_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("ledge.toml"), "").unwrap();
    let up = || Process::start(command(dir, &["up", ".", "--data", "data", "--listen", "127.0.0.1:0"]));
    let mut first = up();
    first.line_with("project ").await;
    let is_online = async || things(dir).await.iter().any(|thing| thing["name"] == "gateway" && thing["state"] == "online");
    eventually("the gateway itself to be online", is_online).await;
    let pruned = ledge(dir, &["deploy", "--prune", "--data", "data"]).await;
    assert!(pruned.code == 0 && pruned.stdout.contains("gateway_monitor"), "{pruned:?}");
    first.signal("TERM");
    assert_eq!(first.end().await.0, 0);
    let mut second = up();
    second.line_with("project ").await;
    assert_eq!(things(dir).await, Vec::<Json>::new());
    second.signal("TERM");
    assert_eq!(second.end().await.0, 0);
}
