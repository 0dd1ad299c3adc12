//! Directories that are granted: read, and only read; and some that no grant opens.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ledge::deploy::DeployError;
use ledge::grant::Dir;
use tempfile::TempDir;

use crate::harness::{Setup, TestGateway, gateway};

fn look(host: &Path) -> Setup {
    let dir = Dir { host: host.to_owned(), guest: "/recipes".into() };
    gateway().function("look").grants(|grants| grants.dirs = vec![dir])
}

/// A directory with the file `bread`, and beside it the file `secret`.
fn recipes() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("recipes")).unwrap();
    fs::write(root.path().join("recipes/bread"), "flour and water").unwrap();
    fs::write(root.path().join("secret"), "a secret").unwrap();
    root
}

async fn refused(gw: &TestGateway, host: &Path) -> String {
    match gw.deploy(look(host)).await {
        Err(DeployError::Refused(problems)) => problems.join("\n"),
        other => panic!("{} was not refused: {other:?}", host.display()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_directory_is_read_and_nothing_in_it_is_changed() {
    let root = recipes();
    let host = root.path().join("recipes");
    symlink("../secret", host.join("out")).unwrap();
    symlink(root.path().join("secret"), host.join("far-out")).unwrap();
    let gw = look(&host).start().await;
    assert_eq!(gw.result("look", "list /recipes").await, "bread far-out out");
    assert_eq!(gw.result("look", "read /recipes/bread").await, "flour and water");
    for other in [
        "read /recipes/../secret",
        "read /recipes/out",
        "read /recipes/far-out",
        "read /etc/passwd",
        "write /recipes/bread",
        "write /recipes/cake",
        "make /recipes/dir",
        "remove /recipes/bread",
        "truncate /recipes/bread",
    ] {
        let answer = gw.result("look", other).await;
        assert!(answer.starts_with("error: "), "`{other}` answered {answer}");
    }
    assert_eq!(fs::read_to_string(host.join("bread")).unwrap(), "flour and water");
    assert_eq!(fs::read_dir(&host).unwrap().count(), 3);
    for refused in [
        "dirs open `../secret`",
        "dirs open `out`",
        "dirs open `far-out`",
        "dirs open `bread`",
        "dirs open `cake`",
        "dirs create-directory `dir`",
        "dirs unlink-file `bread`",
        "dirs set-size of an open file",
    ] {
        gw.audited(refused).await;
    }
    assert!(gw.metrics().await.contains(r#"ledge_denials_total{guest="function test/look",grant="dirs"} 8"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_in_a_granted_directory_holds_nobody_up() {
    let root = recipes();
    let host = root.path().join("recipes");
    assert!(std::process::Command::new("mkfifo").arg(host.join("pipe")).status().unwrap().success());
    let gw = look(&host).start().await;
    let answer = gw.result("look", "read /recipes/pipe").await;
    assert!(answer.starts_with("error: "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernels_and_the_gateways_own_directories_are_never_granted() {
    let gw = gateway().start().await;
    let data = gw.data.path();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(data, elsewhere.path().join("link")).unwrap();
    let key_dir = crate::harness::key_dir();
    for path in [
        Path::new("/"),
        Path::new("/proc"),
        Path::new("/sys/kernel"),
        Path::new("/dev/shm/.."),
        data,
        &data.join("components"),
        data.parent().unwrap(),
        &elsewhere.path().join("link"),
        &elsewhere.path().join("link/tls"),
        &key_dir,
    ] {
        let message = refused(&gw, path).await;
        assert!(message.contains("function `test/look`") && message.contains("never opened"), "{}: {message}", path.display());
    }
    let message = refused(&gw, &elsewhere.path().join("nowhere")).await;
    assert!(message.contains("nowhere") && message.contains("No such file"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_directory_that_is_swapped_for_a_closed_one_is_not_opened() {
    let root = recipes();
    let host = root.path().join("recipes");
    let gw = look(&host).start().await;
    fs::rename(&host, root.path().join("old")).unwrap();
    symlink(gw.data.path(), &host).unwrap();
    let answer = gw.result("look", "list /recipes").await;
    assert!(answer.starts_with("error: "), "{answer}");
    gw.audited("never opened").await;
    // What is put right is open again.
    fs::remove_file(&host).unwrap();
    fs::rename(root.path().join("old"), &host).unwrap();
    assert_eq!(gw.result("look", "read /recipes/bread").await, "flour and water");
}
