//! The command line, as processes: what it prints, and how it ends.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use crate::harness::command::{Process, command, ledge};
use crate::harness::{component, gateway};

#[tokio::test(flavor = "multi_thread")]
async fn help_says_what_a_person_needs() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", "demo", "up", "build", "deploy", "invoke", "list", "release", "new", "bindgen", "bench", "audit", "audit verify"] {
        let args: Vec<&str> = name.split_whitespace().chain(["--help"]).collect();
        let output = ledge(dir.path(), &args).await;
        assert_eq!(output.code, 0);
        insta::assert_snapshot!(if name.is_empty() { "help" } else { name }, output.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_usage_is_2_and_an_error_is_1_on_stderr() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(ledge(dir.path(), &["lst"]).await.code, 2);
    assert_eq!(ledge(dir.path(), &["list", "cats"]).await.code, 2);
    let output = ledge(dir.path(), &["list", "things"]).await;
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("no gateway runs with the data directory .ledge"), "{}", output.stderr);
    assert!(output.stderr.contains("ledge up"), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_a_manifest_is_reported_in_one_go() {
    let dir = tempfile::tempdir().unwrap();
    let manifest =
        "[project]\nnam = \"x\"\n\n[functions.\"app/f\"]\ncomponent = \"gone.wasm\"\n[functions.\"app/f\".limits]\ndeadline_ms = 0\n";
    fs::write(dir.path().join("ledge.toml"), manifest).unwrap();
    let output = ledge(dir.path(), &["up"]).await;
    assert_eq!(output.code, 1);
    for wanted in ["ledge.toml:2:1", "project.nam", "ledge.toml:5:", "gone.wasm", "ledge.toml:7:", "deadline_ms"] {
        assert!(output.stderr.contains(wanted), "nothing of {wanted} in:\n{}", output.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_tsl_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ledge.toml"), "[products.a1X]\ntsl = \"x.json\"\n").unwrap();
    fs::write(dir.path().join("x.json"), "{\n  oops\n}").unwrap();
    let output = ledge(dir.path(), &["up"]).await;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("x.json:2:"), "{}", output.stderr);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    fs::write(dir.path().join("x.json"), "{\"properties\": [{}], \"events\": 1}").unwrap();
    let output = ledge(dir.path(), &["up"]).await;
    assert_eq!(output.code, 1);
    for wanted in ["ledge.toml:2:", "properties[0]", "events"] {
        assert!(output.stderr.contains(wanted), "nothing of {wanted} in:\n{}", output.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_a_data_directory_in_use_are_one_clear_line() {
    let gw = gateway().start().await;
    let dir = tempfile::tempdir().unwrap();
    let address = gw.gateway.address.to_string();
    // Told before anything is built, or even read.
    fs::write(dir.path().join("ledge.toml"), "no manifest").unwrap();
    let others = [vec!["--listen", &address], vec!["--listen", "127.0.0.1:0", "--plain-listen", &address]];
    let url = format!("http://{address}");
    for options in others.into_iter().chain([vec!["--listen", "127.0.0.1:0", "--http-listen", &url]]) {
        let output = ledge(dir.path(), &[&["up"][..], &options[..]].concat()).await;
        assert_eq!(output.code, 1);
        let told = output.stderr.contains(&format!("{address} is in use")) && output.stderr.contains(options[options.len() - 2]);
        assert!(told && output.stderr.lines().count() == 1, "{}", output.stderr);
    }
    fs::write(dir.path().join("ledge.toml"), "").unwrap();
    let data = gw.data.path().to_str().unwrap();
    let output = ledge(dir.path(), &["up", "--listen", "127.0.0.1:0", "--data", data]).await;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("in use by another gateway") && output.stderr.lines().count() == 1, "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_others_can_write_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ledge.toml"), "").unwrap();
    fs::create_dir(dir.path().join("open")).unwrap();
    fs::set_permissions(dir.path().join("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let output = ledge(dir.path(), &["up", "--listen", "127.0.0.1:0", "--data", "open"]).await;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("can be written by others") && output.stderr.lines().count() == 1, "{}", output.stderr);
    assert_eq!(fs::read_dir(dir.path().join("open")).unwrap().count(), 0, "something was written into it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_told_to_stop_ends_though_a_client_never_finishes_its_handshake() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ledge.toml"), "").unwrap();
    let mut gateway = Process::start(command(dir.path(), &["up", "--listen", "127.0.0.1:0"]));
    let line = gateway.line_with("https://").await;
    let address = line.rsplit("https://").next().unwrap().trim();
    gateway.line_with("project").await;
    let mut half = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut half, b"\x16\x03\x01").unwrap();
    let began = std::time::Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.end().await.0, 0);
    assert!(began.elapsed().as_secs() < 4, "it waited {:?} for a client that says nothing", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_login_needs_loopback_addresses() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ledge.toml"), "").unwrap();
    for (option, address) in [("--listen", "0.0.0.0:0"), ("--plain-listen", "0.0.0.0:0"), ("--http-listen", "https://0.0.0.0:0")] {
        let mut arguments = vec!["up", "--compat-default-login", option, address];
        if option != "--listen" {
            arguments.extend(["--listen", "127.0.0.1:0"]);
        }
        let output = ledge(dir.path(), &arguments).await;
        assert_eq!(output.code, 1, "{option}");
        assert!(output.stderr.contains("loopback") && output.stderr.contains(option), "{}", output.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_is_asked_called_and_deployed_to() {
    let gw = gateway().echo_thing("echo-1").function("misbehave").start().await;
    let dir = tempfile::tempdir().unwrap();
    let data = gw.data.path().to_str().unwrap();
    let output = ledge(dir.path(), &["list", "things", "--data", data]).await;
    assert!(output.stdout.contains("a1Echo") && output.stdout.contains("online"), "{output:?}");
    for what in ["functions", "drivers", "things", "products"] {
        let output = ledge(dir.path(), &["list", what, "--json", "--data", data]).await;
        assert_eq!(serde_json::from_str::<Json>(&output.stdout).unwrap().as_array().unwrap().len(), 1, "{what}");
    }
    let output = ledge(dir.path(), &["invoke", "test/misbehave", "-d", "hello", "--data", data]).await;
    assert_eq!((output.code, output.stdout.as_str()), (0, "hello"));
    fs::write(dir.path().join("event"), b"from a file").unwrap();
    let output = ledge(dir.path(), &["invoke", "test/misbehave", "-d", "@event", "--data", data]).await;
    assert_eq!(output.stdout, "from a file");
    let output = ledge(dir.path(), &["invoke", "test/misbehave", "--async", "--data", data]).await;
    assert_eq!((output.code, output.stdout.trim().len()), (0, 36));
    let output = ledge(dir.path(), &["invoke", "test/misbehave", "-d", "error", "--data", data]).await;
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("test/misbehave") && output.stderr.contains("as asked"), "{}", output.stderr);

    fs::write(dir.path().join("count.wasm"), component("count")).unwrap();
    fs::write(dir.path().join("ledge.toml"), "[functions.\"app/count\"]\ncomponent = \"count.wasm\"\n").unwrap();
    let output = ledge(dir.path(), &["deploy", "--data", data]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("new      function app/count"), "{}", output.stdout);
    let output = ledge(dir.path(), &["invoke", "app/count", "--data", data]).await;
    assert_eq!(output.stdout, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_says_what_components_ask_for_and_what_no_grant_covers() {
    let gw = gateway().start().await;
    let dir = tempfile::tempdir().unwrap();
    let data = gw.data.path().to_str().unwrap();
    let samples = crate::harness::repository().join("sample-functions");
    let invoker = format!("[functions.\"app/invoker\"]\ncrate = {:?}\n", samples.join("invoker"));
    fs::write(dir.path().join("count.wasm"), component("count")).unwrap();
    let count = "[functions.\"app/count\"]\ncomponent = \"count.wasm\"\n";
    fs::write(dir.path().join("ledge.toml"), format!("{invoker}{count}")).unwrap();
    let output = ledge(dir.path(), &["deploy", "--dry-run", "--data", data]).await;
    assert_eq!(output.code, 0, "{output:?}");
    for wanted in [
        "function app/invoker asks for invoke.sync",
        "no grant covers `invoke.sync`: such calls are refused",
        "[functions.\"app/invoker\".grants]\n    invoke.sync = [\"SERVICE/FUNCTION\"]",
        "function app/count asks for nothing",
        "new      function app/invoker",
        "nothing is deployed; it would be: 2 new",
    ] {
        assert!(output.stdout.contains(wanted), "nothing of {wanted} in:\n{}", output.stdout);
    }
    assert!(gw.gateway.deploy.current().functions.is_empty(), "a dry run deployed something");
    assert_eq!(fs::read_dir(gw.path("components")).unwrap().count(), 0, "a dry run sent something");

    let granted = format!("{invoker}grants.invoke.sync = [\"app/count\"]\n{count}");
    fs::write(dir.path().join("ledge.toml"), granted).unwrap();
    let output = ledge(dir.path(), &["deploy", "--data", data]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output.stdout.contains("function app/invoker asks for invoke.sync\nfunction app/count asks for nothing\n"),
        "{}",
        output.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_what_the_gateway_would_refuse_is_an_error() {
    let gw = gateway().start().await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("count.wasm"), component("count")).unwrap();
    let route = "[[routes]]\nsource = { device = \"/a/b\" }\ntopic = \"property\"\ntarget = { function = \"app/gone\" }\n";
    fs::write(dir.path().join("ledge.toml"), route).unwrap();
    let output = ledge(dir.path(), &["deploy", "--dry-run", "--data", gw.data.path().to_str().unwrap()]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("app/gone"), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_elsewhere_is_reached_by_its_fingerprint_and_a_password() {
    let gw = gateway().function("misbehave").start().await;
    let dir = tempfile::tempdir().unwrap();
    let url = gw.url();
    let invoke = async |fingerprint: &str, password: &str| {
        let args = ["invoke", "test/misbehave", "-d", "far", "--gateway", &url, "--fingerprint", fingerprint];
        let mut command = command(dir.path(), &args);
        command.env("LEDGE_PASSWORD", password);
        command.output().await.unwrap()
    };
    assert_eq!(invoke(&gw.gateway.fingerprint, crate::harness::PASSWORD).await.stdout, b"far");
    let wrong_password = invoke(&gw.gateway.fingerprint, "wrong wrong wrong").await;
    assert_eq!(wrong_password.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong_password.stderr).contains("password"));
    let wrong_certificate = invoke(&"00".repeat(32), crate::harness::PASSWORD).await;
    assert_eq!(wrong_certificate.status.code(), Some(1));
    assert!(wrong_certificate.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_function_and_a_new_driver_build_and_deploy_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, name) in [("function", "hello"), ("driver", "lamp")] {
        let output = ledge(dir.path(), &["new", kind, name]).await;
        assert_eq!(output.code, 0, "{output:?}");
        assert!(output.stdout.contains(&format!("ledge up {name}")), "{}", output.stdout);
    }
    share_builds(dir.path());
    let mut gateway = Process::start(command(dir.path(), &["up", "hello", "--listen", "127.0.0.1:0", "--gateway-monitor", "never"]));
    gateway.line_with("project").await;
    let output = ledge(dir.path(), &["invoke", "app/hello", "-d", "you"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(!output.stdout.is_empty());
    let output = ledge(dir.path(), &["deploy", "lamp"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let output = ledge(dir.path(), &["list", "drivers", "--json"]).await;
    assert_eq!(serde_json::from_str::<Json>(&output.stdout).unwrap()[0]["name"], "lamp");
    gateway.signal("TERM");
    assert_eq!(gateway.end().await.0, 0);
}

/// Lets the two projects share what they compile, and later runs of the tests too.
fn share_builds(dir: &Path) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-projects");
    fs::create_dir_all(dir.join(".cargo")).unwrap();
    fs::write(dir.join(".cargo/config.toml"), format!("[build]\ntarget-dir = {target:?}\n")).unwrap();
}

/// A gateway in a process of its own, which says what came of its project.
async fn up(dir: &Path) -> (Process, String) {
    let args = ["up", ".", "--data", "data", "--key-file", "key", "--listen", "127.0.0.1:0", "--gateway-monitor", "never"];
    let mut process = Process::start(command(dir, &args));
    let said = process.line_with("project ").await;
    (process, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_puts_nothing_back_that_was_changed_on_the_gateway_unless_the_project_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("relay.wasm"), component("relay")).unwrap();
    let manifest = |payload: &str| {
        let text = "[project]\nname = \"p\"\n[functions.\"app/relay\"]\ncomponent = \"relay.wasm\"\ngrants.subscribe = [\"#\"]\n\
             [functions.\"app/relay\".timers.daily]\ncron = \"0 0 * * *\"\npayload = \"PAYLOAD\"\n\
             [[routes]]\nsource.device = \"#\"\ntopic = \"all\"\ntarget.function = \"app/relay\"\n";
        fs::write(dir.join("ledge.toml"), text.replace("PAYLOAD", payload)).unwrap();
    };
    manifest("one");
    let (gateway, said) = up(dir).await;
    assert!(said.contains("2 new"), "{said}");
    let deleted = ledge(dir, &["route", "delete", "--device", "#", "--to", "app/relay", "--data", "data"]).await;
    assert_eq!(deleted.code, 0, "{deleted:?}");
    gateway.signal("KILL");
    gateway.end().await;
    let routes = async || ledge(dir, &["list", "routes", "--json", "--data", "data"]).await.stdout;
    let (gateway, said) = up(dir).await;
    assert!(said.contains("the same as last time"), "{said}");
    assert_eq!(routes().await.trim(), "[]");
    gateway.signal("KILL");
    gateway.end().await;
    // Something is wrong with the project: what was there runs on.
    fs::write(dir.join("ledge.toml"), "[project\n").unwrap();
    let (gateway, said) = up(dir).await;
    assert!(said.contains("what was deployed before runs on"), "{said}");
    assert_eq!(ledge(dir, &["invoke", "app/relay", "--data", "data"]).await.code, 1, "it is there, and not granted to publish");
    gateway.signal("KILL");
    gateway.end().await;
    manifest("two");
    let (gateway, said) = up(dir).await;
    assert!(said.contains("1 new, 1 changed"), "{said}");
    assert!(routes().await.contains("app/relay"));
    gateway.signal("KILL");
    gateway.end().await;
}
