//! What the driver says in the log: each mistake by its name, and once.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::plant::Plant;
use super::{Row, boolean, holding, int, model, unit};
use crate::harness::command::{Process, command};
use crate::harness::{PASSWORD, component, eventually};

fn project(dir: &Path, server: std::net::SocketAddr, rows: &[Row]) {
    let (tsl, tsl_ext) = model(rows);
    fs::write(dir.join("tsl.json"), tsl).unwrap();
    fs::write(dir.join("ext.json"), tsl_ext).unwrap();
    fs::write(dir.join("modbus.wasm"), component("modbus")).unwrap();
    let thing = |name: &str, custom: &str| {
        format!("[[things]]\nproduct = \"a1Modbus\"\nname = \"{name}\"\ndriver = \"modbus\"\ncustom = {custom}\n")
    };
    let manifest = [
        "[project]\nname = \"m\"\n[products.a1Modbus]\ntsl = \"tsl.json\"\ntsl_ext = \"ext.json\"\n".to_owned(),
        thing("good", &format!("{{ host = \"127.0.0.1\", port = {} }}", server.port())),
        thing("nameless", "{ port = 502 }"),
        thing("ungranted", "{ host = \"127.0.0.2\", port = 502 }"),
        format!(
            "[drivers.modbus]\ncomponent = \"modbus.wasm\"\ngrants = {{ tcp = [\"{server}\"] }}\nconfig = {{ json = {{ interval_ms = 10 }} }}\n"
        ),
    ];
    fs::write(dir.join("ledge.toml"), manifest.concat()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_named_once_and_leaves_the_others_alone() {
    let rows = [
        ("fine", "r", int(), holding(0)),
        ("wild", "r", json!({"type": "int", "specs": {"min": "0", "max": "10"}}), holding(1)),
        ("misplaced", "r", int(), json!({"area": "holding", "adress": 7})),
        ("switch", "rw", boolean(), json!({"area": "discrete", "address": 7})),
    ];
    let plant = Plant::start([(1, unit(&[5, 500]))]).await;
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), plant.address, &rows);
    let mut up = command(dir.path(), &["up", "--listen", "127.0.0.1:0"]);
    up.env("LEDGE_ADMIN_PASSWORD", PASSWORD).env("RUST_LOG", "info");
    let mut process = Process::start(up);
    process.line_with("1 compiled").await;
    // By then, what is wrong was read many times.
    let polls = std::sync::atomic::AtomicUsize::new(0);
    eventually("twenty polls", || async { polls.fetch_add(plant.take_seen().len(), std::sync::atomic::Ordering::Relaxed) > 20 }).await;
    process.signal("TERM");
    let (code, log) = process.end().await;
    assert_eq!(code, 0, "{log}");
    for wanted in [
        "property `misplaced` is left out: `customize`: there is no key `adress`",
        "property `switch` is left out: the TSL says that it can be set",
        "property `wild`: its value is dropped: 500 is not within the TSL's 0 to 10",
        "device `a1Modbus/nameless` is left out: its `custom`: `host` is missing",
        "device `a1Modbus/ungranted` is offline: 127.0.0.2:502: no connection: no grant covers 127.0.0.2:502",
        "device `a1Modbus/good` is online",
    ] {
        assert_eq!(log.matches(wanted).count(), 1, "`{wanted}` in\n{log}");
    }
}
