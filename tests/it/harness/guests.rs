//! The guests, built once for all tests, and a key and a cache of compiled code that the tests share, so that each
//! component is compiled once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use ledge::cli::build::{Progress, build};
use ledge::config::manifest::{Project, Source};
use ledge::limit::Limits;
use ledge::set::{Function, Mode, Set};
use tempfile::TempDir;

/// The component of a guest, by the name of its crate.
pub fn component(guest: &str) -> Vec<u8> {
    let path = BUILT.get(guest).unwrap_or_else(|| panic!("there is no guest `{guest}`"));
    fs::read(path).unwrap()
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

static BUILT: LazyLock<BTreeMap<String, PathBuf>> = LazyLock::new(|| {
    let folders = ["tests/guests", "sample-functions", "drivers"].map(|folder| repository().join(folder));
    let crates: Vec<PathBuf> = folders.iter().flat_map(|folder| crates(folder)).collect();
    let function = |(at, dir): (usize, &PathBuf)| Function {
        name: format!("guest/g{at}").parse().unwrap(),
        component: Source::Crate(dir.clone()),
        limits: Limits::default(),
        grants: std::sync::Arc::default(),
        reuse: 0,
        mode: Mode::OnDemand,
        health: None,
        asynchronous: None,
        timers: vec![],
        http: None,
    };
    let functions = crates.iter().enumerate().map(function).collect();
    let set = Set { products: vec![], things: vec![], drivers: vec![], functions, routes: vec![], rules: vec![] };
    let built = build(Project { dir: repository(), name: "guests".into(), set }, Progress::Lines).unwrap();
    let name = |dir: &PathBuf| dir.file_name().unwrap().to_str().unwrap().to_owned();
    crates.iter().zip(&built.set.functions).map(|(dir, row)| (name(dir), built.components[&row.component].clone())).collect()
});

fn crates(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|dir| dir.join("Cargo.toml").is_file()).collect()
}

static SHARED: LazyLock<PathBuf> = LazyLock::new(|| {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shared");
    fs::create_dir_all(shared.join("cache")).unwrap();
    shared
});

pub fn shared_key() -> PathBuf {
    SHARED.join("key")
}

/// A data directory whose compiled code is shared with other tests.
pub fn data_dir() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(SHARED.join("cache"), data.path().join("cache")).unwrap();
    data
}
