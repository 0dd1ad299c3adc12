//! The environment of a component: what is granted, and a secret wherever it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ledge::deploy::DeployError;
use ledge::grant::Env;

use crate::harness::{Setup, gateway};

const SECRET: &str = "correct-horse-of-the-plc";

fn look(name: &str, value: &str) -> Setup {
    let env = Env(BTreeMap::from([(name.to_owned(), value.to_owned())]));
    gateway().function("look").grants(|grants| grants.env = env)
}

/// Whether a file below `dir` holds the secret.
fn holds_secret(dir: &Path) -> bool {
    let has = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
    fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { holds_secret(&path) } else { has(&path) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_sees_the_variables_that_it_was_granted_and_no_other() {
    let gw = look("PLC_PASSWORD", SECRET).function_of("test/other", "look").start().await;
    assert_eq!(gw.result("look", "env").await, format!(r#"{{"PLC_PASSWORD":"{SECRET}"}}"#));
    assert_eq!(gw.result("other", "env").await, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_values_of_variables_are_written_and_shown_nowhere_and_survive_a_restart() {
    let setup = look("PLC_PASSWORD", SECRET);
    assert!(!format!("{:?}", setup.set).contains(SECRET), "Debug shows it");
    let gw = setup.start().await;
    let report = gw.deploy(look("PLC_PASSWORD", SECRET)).await.unwrap();
    assert!(report.is_unchanged() && !format!("{report:?}").contains(SECRET), "{report:?}");
    let functions = gw.admin().get_json("/ledge/v1/functions").await.unwrap().to_string();
    assert!(functions.contains("PLC_PASSWORD") && !functions.contains(SECRET), "{functions}");
    let gw = gw.restart().await;
    assert_eq!(gw.result("look", "env").await, format!(r#"{{"PLC_PASSWORD":"{SECRET}"}}"#));
    assert!(!holds_secret(gw.data.path()), "it is in the data directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_no_environment_can_hold_is_refused_without_its_value() {
    let gw = gateway().start().await;
    match gw.deploy(look("A=B", SECRET)).await {
        Err(DeployError::Refused(problems)) => assert!(problems[0].contains("A=B") && !problems[0].contains(SECRET), "{problems:?}"),
        other => panic!("it was not refused: {other:?}"),
    }
}
