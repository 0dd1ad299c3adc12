//! Real builds of the smallest crates that there can be, without any dependency.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::manifest;

const LIBRARY: &str = "[lib]\ncrate-type = ['cdylib']\n";

/// A project with the crates `good` and `odd` in one workspace.
fn project(lib_of_odd: &str, code_of_odd: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let package = |name: &str, lib: &str| format!("[package]\nname = '{name}'\nversion = '0.0.0'\nedition = '2024'\n{lib}");
    let manifest = "[functions.'s/good']\ncrate = 'good'\n[functions.'s/same']\ncrate = './good'\n[functions.'s/odd']\ncrate = 'odd'\n[drivers.d]\ncomponent = 'd.wasm'\n";
    for (file, text) in [
        ("ledge.toml", manifest),
        ("d.wasm", "anything"),
        ("Cargo.toml", "[workspace]\nresolver = '3'\nmembers = ['good', 'odd']\n"),
        ("good/Cargo.toml", &package("good", LIBRARY)),
        ("good/src/lib.rs", ""),
        ("odd/Cargo.toml", &package("odd", lib_of_odd)),
        ("odd/src/lib.rs", code_of_odd),
    ] {
        let file = dir.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    dir
}

fn build_in(dir: &TempDir) -> Result<Built> {
    build(manifest::load(dir.path()).unwrap(), Progress::Lines)
}

#[test]
fn crates_of_one_workspace_and_ready_components_become_digests() {
    let dir = project(LIBRARY, "#[unsafe(no_mangle)] pub extern \"C\" fn odd() -> i32 { 1 }");
    let built = build_in(&dir).unwrap();
    let names: Vec<String> = built.set.functions.iter().map(|function| function.name.to_string()).collect();
    assert_eq!(names, ["s/good", "s/same", "s/odd"]);
    assert_eq!(built.set.functions[0].component, built.set.functions[1].component);
    assert_ne!(built.set.functions[0].component, built.set.functions[2].component);
    assert_eq!(built.set.drivers[0].component, Digest::of(b"anything"));
    for (digest, file) in &built.components {
        assert_eq!(digest, &Digest::of(&fs::read(file).unwrap()));
    }
    assert_eq!(built.components.len(), 3);
}

#[test]
fn a_crate_that_is_no_cdylib_is_told_so() {
    let error = build_in(&project("", "")).unwrap_err().to_string();
    assert!(error.starts_with("the crate `odd` gives no component: `crate-type = [\"cdylib\"]` is missing"), "{error}");
}

#[test]
fn the_crate_that_does_not_compile_is_named() {
    let error = build_in(&project(LIBRARY, "fn")).unwrap_err().to_string();
    assert!(error.starts_with("`odd` (") && error.ends_with("odd) did not build; cargo's messages are above"), "{error}");
    let error = build_in(&project("[lib", "")).unwrap_err().to_string();
    assert!(error.starts_with("cargo does not take the crate"), "{error}");
}

#[test]
fn a_component_that_is_too_large_is_refused_with_its_size() {
    let dir = project(LIBRARY, "");
    fs::File::options().write(true).open(dir.path().join("d.wasm")).unwrap().set_len(COMPONENT_BYTES_MAX as u64 + 1).unwrap();
    let error = build_in(&dir).unwrap_err().to_string();
    assert!(error.contains("d.wasm` has 33554433 bytes, and 33554432 can be deployed"), "{error}");
}
