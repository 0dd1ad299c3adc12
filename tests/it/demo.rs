//! The demo, as the README starts it: a process of its own, with curl as its client.

use std::fs;

use serde_json::Value as Json;

use crate::harness::command::{self, Process};
use crate::harness::eventually;

fn demo(data: &std::path::Path) -> Process {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Process::start(command::command(&repository, &["demo", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()]))
}

/// Waits until it runs, and gives what it printed until then.
async fn running(process: &mut Process) -> String {
    process.line_with("What happens").await;
    process.said.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_five_curl_lines_work_when_pasted_and_it_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut first = demo(&data);
    let said = running(&mut first).await;
    assert!(said.contains("https://127.0.0.1:") && !said.contains("https://127.0.0.1:0"), "{said}");
    assert!(said.contains("(shown this once)") && said.contains("fingerprint"), "{said}");
    let curls: Vec<&str> = said.lines().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(curls.len(), 5, "{said}");
    for curl in &curls[..4] {
        let output = command::shell(curl, dir.path(), &[]).await;
        let answer: Json = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{curl}\n{output:?}"));
        assert_eq!(answer["code"], 200, "{curl}\n{output:?}");
    }
    assert_eq!(command::shell(curls[4], dir.path(), &[]).await.stdout, "Message from helloworld");
    first.line_with("a1LightSensor/sensor-1 reports MeasuredIlluminance").await;
    // The demo's seven, and the gateway itself, which comes behind.
    eventually("eight components to be compiled", || async { compiled_files(&data).len() == 8 }).await;
    first.signal("INT");
    assert_eq!(first.end().await.0, 0);

    // The second start: the same data, nothing compiled again, the password not shown again.
    let compiled = compiled_files(&data);
    let mut second = demo(&data);
    let said = running(&mut second).await;
    assert!(said.contains("with the password of the first start"), "{said}");
    assert!(said.contains("the same as last time"), "{said}");
    second.signal("TERM");
    assert_eq!(second.end().await.0, 0);
    assert_eq!(compiled_files(&data), compiled);
}

/// The names and the times of the compiled files.
fn compiled_files(data: &std::path::Path) -> Vec<(String, std::time::SystemTime)> {
    let entries = fs::read_dir(data.join("cache")).unwrap().map(|entry| entry.unwrap());
    let compiled = entries.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "cwasm"));
    let mut files: Vec<_> =
        compiled.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().modified().unwrap())).collect();
    files.sort();
    files
}
