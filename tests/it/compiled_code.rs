//! Compiled code on disk: used again if this gateway made it, and never trusted otherwise.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ledge::clock::Clock;
use ledge::function::{Invocation, Outcome};
use ledge::gateway::{ConnectionLimits, Gateway, Options};
use ledge::supervisor::RestartPolicy;

use crate::harness::{Setup, component, gateway};

/// A gateway with a key and a cache of its own.
async fn start(data: &Path) -> Gateway {
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        plain_listen: None,
        http_listen: None,
        host_names: vec![],
        connections: ConnectionLimits::default(),
        data: data.into(),
        key_file: None,
        admin_password: None,
        compat_default_login: false,
        restarts: RestartPolicy::default(),
        idle: ledge::function::IDLE,
        clock: Clock::system(),
        program: env!("CARGO_BIN_EXE_ledge").into(),
    };
    Gateway::start(options).await.unwrap()
}

/// Starts a gateway where `test/a` was deployed before, calls it, and stops.
async fn called(data: &Path) {
    let gw = start(data).await;
    let functions = gw.functions.clone();
    let call = async move { functions.invoke(Invocation::new("test/a".parse().unwrap(), "")).await };
    assert_eq!(gw.guests().spawn(call).await.unwrap(), Ok(Outcome::Done("1".into())));
    gw.stop().await;
}

/// How many components had to be compiled.
async fn deploy(gw: &Gateway, setup: Setup) -> usize {
    gw.deploy.components().put(&ledge::set::Digest::of(&component("count")), &component("count")).unwrap();
    gw.deploy.apply(setup.set, false, "test").await.unwrap().compiled
}

fn compiled_files(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("cache")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|kind| kind == "cwasm")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_compiled_once_for_all_starts() {
    let data = tempfile::tempdir().unwrap();
    let gw = start(data.path()).await;
    assert_eq!(deploy(&gw, gateway().function_of("test/a", "count")).await, 1);
    gw.stop().await;
    let made = fs::metadata(&compiled_files(data.path())[0]).unwrap().modified().unwrap();
    let gw = start(data.path()).await;
    assert_eq!(deploy(&gw, gateway().function_of("test/b", "count")).await, 0);
    gw.stop().await;
    assert_eq!(fs::metadata(&compiled_files(data.path())[0]).unwrap().modified().unwrap(), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_mapped_from_its_file_both_when_it_was_compiled_and_when_it_was_found() {
    let data = tempfile::tempdir().unwrap();
    for round in ["compiled", "found"] {
        let gw = start(data.path()).await;
        // One more is loaded when it is deployed; what was there before would be when it is called.
        deploy(&gw, gateway().function_of(&format!("test/{round}"), "count")).await;
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let path = compiled_files(data.path()).remove(0);
        let code = |line: &&str| line.contains(path.to_str().unwrap()) && line.contains("r-xp");
        assert!(maps.lines().find(code).is_some(), "the code that was {round} is not mapped from {}", path.display());
        gw.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_others_may_write_is_compiled_anew() {
    let data = tempfile::tempdir().unwrap();
    let gw = start(data.path()).await;
    deploy(&gw, gateway().function_of("test/a", "count")).await;
    gw.stop().await;
    let path = compiled_files(data.path()).remove(0);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
    called(data.path()).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_was_changed_on_disk_is_compiled_anew() {
    let data = tempfile::tempdir().unwrap();
    let gw = start(data.path()).await;
    deploy(&gw, gateway().function_of("test/a", "count")).await;
    gw.stop().await;
    let path = compiled_files(data.path()).remove(0);
    let good = fs::read(&path).unwrap();
    let mut changed = good.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&path, &changed).unwrap();
    called(data.path()).await;
    assert_eq!(fs::read(&path).unwrap(), good, "the changed code was not replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_of_another_gateway_is_compiled_anew() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&data, &other] {
        let gw = start(dir.path()).await;
        deploy(&gw, gateway().function_of("test/a", "count")).await;
        gw.stop().await;
    }
    let path = compiled_files(data.path()).remove(0);
    let name = path.file_name().unwrap();
    let mac = |dir: &Path| fs::read(dir.join("cache").join(name).with_extension("mac")).unwrap();
    let own = mac(data.path());
    for file in ["cwasm", "mac"] {
        fs::copy(other.path().join("cache").join(name).with_extension(file), path.with_extension(file)).unwrap();
    }
    called(data.path()).await;
    assert_eq!(mac(data.path()), own, "the other gateway's code was not replaced by our own");
}
