//! Deployment: what is wrong is refused by name, and what ran before runs on.

use ledge::deploy::{Change, DeployError};

use crate::harness::{PROGRAM, Setup, TestGateway, component, gateway};

async fn refused(gw: &TestGateway, setup: Setup) -> String {
    match gw.deploy(setup).await {
        Err(DeployError::Refused(problems)) => problems.join("\n"),
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Deploys bytes as `test/wrong` beside a function that runs, which must go on.
async fn refused_component(bytes: Vec<u8>) -> String {
    let gw = gateway().function("misbehave").start().await;
    let mut wrong = gateway().function_of("test/wrong", "misbehave");
    wrong.set.functions[0].component = wrong.component(bytes);
    let message = refused(&gw, wrong).await;
    assert_eq!(gw.result("misbehave", "still here").await, "still here");
    assert!(gw.invoke("wrong", "").await.is_err());
    assert!(message.starts_with("function `test/wrong`: "), "{message}");
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_component_is_refused() {
    let message = refused_component(b"this is no component".to_vec()).await;
    assert!(message.contains("not a WebAssembly component"), "{message}");
    let message = refused_component(b"\0asm\x01\0\0\0".to_vec()).await;
    assert!(message.contains("core WebAssembly module"), "{message}");
    let mut cut = component("misbehave");
    cut.truncate(cut.len() / 2);
    let message = refused_component(cut).await;
    assert!(message.contains("not a WebAssembly component"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_outside_the_contract_is_refused_by_name_and_version() {
    let message = refused_component(component("wrong-import")).await;
    assert!(message.contains("`other:thing/api@1.0.0`"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_an_older_contract_is_refused_with_both_versions() {
    let message = refused_component(component("old-contract")).await;
    assert!(message.contains("0.0.9") && message.contains("0.1.0"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_no_known_world_is_refused_with_what_it_exports() {
    let message = refused_component(component("no-world")).await;
    assert!(message.contains("no known world") && message.contains("wasi:cli/run"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_is_no_function() {
    let message = refused_component(component("echo-thing")).await;
    assert!(message.contains("it is a driver, and the project declares it as a function"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_with_a_set_is_said_at_once() {
    let gw = gateway().start().await;
    let wrong = gateway()
        .product("a1Wrong", "{\"properties\": [{}]}")
        .thing("a1Nothing", "t", "nobody")
        .function("misbehave")
        .limits(|limits| limits.deadline_ms = 0)
        .route(ledge::set::RouteSource::Device("#".parse().unwrap()), ledge::set::RouteTopic::All, "test/nobody");
    let message = refused(&gw, wrong).await;
    for wanted in ["product `a1Wrong`", "product `a1Nothing`", "driver `nobody`", "`deadline_ms` is 0", "`test/nobody`"] {
        assert!(message.contains(wanted), "nothing of {wanted} in:\n{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_changed_is_left_alone_and_what_was_deployed_elsewhere_stays() {
    let gw = gateway().function("misbehave").start().await;
    let again = gw.deploy(gateway().function("misbehave")).await.unwrap();
    assert!(again.is_unchanged(), "{again:?}");
    let report = gw.deploy(gateway().function("count")).await.unwrap();
    let change = |name: &str| report.entries.iter().find(|entry| entry.name == name).unwrap().change;
    assert_eq!((change("test/misbehave"), change("test/count")), (Change::Unchanged, Change::New));
    assert_eq!(gw.result("misbehave", "still here").await, "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_takes_over_in_one_step() {
    let gw = gateway().function_of("test/f", "count").start().await;
    assert_eq!(gw.result("f", "echo").await, "1");
    gw.deploy(gateway().function_of("test/f", "misbehave")).await.unwrap();
    assert_eq!(gw.result("f", "echo").await, "echo");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_was_damaged_on_disk_holds_up_nothing_else_and_is_mended_by_deploying_it_again() {
    let gw = gateway().function("misbehave").function("count").compiler(PROGRAM.into()).start().await;
    let damaged = gw.path(&format!("components/{}.wasm", ledge::set::Digest::of(&component("count"))));
    std::fs::write(&damaged, "nothing").unwrap();
    // What was compiled of it is good still, and would run.
    std::fs::remove_dir_all(gw.path("cache")).unwrap();
    let gw = gw.restart().await;
    assert_eq!(gw.result("misbehave", "still here").await, "still here");
    let message = gw.invoke("count", "").await.unwrap_err().to_string();
    assert!(message.contains("test/count") && message.contains("damaged on disk") && message.contains("deploy it again"), "{message}");
    gw.deploy(gateway().function_of("test/other", "misbehave")).await.unwrap();
    assert_eq!(gw.result("other", "new").await, "new");
    gw.deploy(gateway().function("count")).await.unwrap();
    assert_eq!(gw.result("count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_cannot_start_within_its_limits_is_refused() {
    let gw = gateway().function("misbehave").start().await;
    let message = refused(&gw, gateway().function_of("test/small", "misbehave").limits(|limits| limits.memory_bytes = 1 << 20)).await;
    assert!(message.contains("test/small") && message.contains("does not start"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deployed_runs_again_after_a_restart() {
    let gw = gateway().function("misbehave").echo_thing("echo-1").start().await.restart().await;
    assert_eq!(gw.result("misbehave", "back").await, "back");
    gw.online(&ledge::name::ThingId::new("a1Echo", "echo-1")).await;
}

/// A component that is hostile before it runs: a core module around which the smallest component stands.
fn around(module: &[u8]) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    section(&mut bytes, 1, module);
    bytes
}

fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
    bytes.push(id);
    let mut length = content.len();
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_or_a_table_that_begins_larger_than_any_limit_is_refused_by_its_size() {
    // (memory 65536), (table 10000000 funcref)
    let message = refused_component(around(b"\0asm\x01\0\0\0\x05\x05\x01\0\x80\x80\x04")).await;
    assert!(message.contains("memories begins with 4294967296 bytes"), "{message}");
    let message = refused_component(around(b"\0asm\x01\0\0\0\x04\x07\x01\x70\0\x80\xad\xe2\x04")).await;
    assert!(message.contains("tables begins with 10000000 elements"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn components_inside_components_without_end_are_refused() {
    let mut nested = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..1_000 {
        let mut outer = b"\0asm\x0d\0\x01\0".to_vec();
        section(&mut outer, 4, &nested);
        nested = outer;
    }
    let message = refused_component(nested).await;
    assert!(message.contains("inside one another"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_needs_more_memory_to_compile_than_it_may_is_refused_with_the_limit() {
    let program = small_compiler();
    let gw = gateway().compiler(program.path().join("compiler")).start().await;
    let message = refused(&gw, gateway().function("misbehave")).await;
    assert!(message.contains("more than the 2048 MiB of memory"), "{message}");
}

/// Our compiler with 12 MiB more of addresses than it needs to start: its threads start too, and there is not enough for a component.
fn small_compiler() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_ledge");
    let starts = |mib: &u32| {
        let line = format!("ulimit -v {}; exec {program} --version", mib * 1_024);
        std::process::Command::new("bash").args(["-c", &line]).output().unwrap().status.success()
    };
    let needed_mib = (16..1_024).step_by(2).find(starts).unwrap();
    let script = format!("#!/bin/bash\nulimit -v {}\nexec {program} \"$@\"\n", (needed_mib + 12) * 1_024);
    let path = dir.path().join("compiler");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    dir
}
