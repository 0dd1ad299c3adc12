//! A new project is whole, and an old one is left alone.

use std::collections::BTreeSet;

use super::*;
use crate::config::manifest::{self, Source};

#[test]
fn a_new_function_is_a_project() {
    let parent = tempfile::tempdir().unwrap();
    let dir = new_function(parent.path(), "my-function").unwrap();
    let project = manifest::load(&dir).unwrap();
    assert_eq!(project.name, "my-function");
    assert_eq!(project.set.functions[0].name.to_string(), "app/my-function");
    assert_eq!(project.set.functions[0].component, Source::Crate(dir.join(".")));
    assert!(dir.join("ledge/guest-sdk/rust/src/lib.rs").is_file());
    assert!(dir.join("ledge/wit/world.wit").is_file());
    no_placeholder_is_left(&dir, &["Cargo.toml", "ledge.toml", "src/lib.rs"]);
}

#[test]
fn a_new_driver_is_a_project_with_a_thing() {
    let parent = tempfile::tempdir().unwrap();
    let dir = new_driver(parent.path(), "my-sensor").unwrap();
    let set = manifest::load(&dir).unwrap().set;
    assert_eq!((set.drivers[0].name.as_str(), set.products[0].key.as_str()), ("my_sensor", "my-sensor"));
    assert_eq!((set.things[0].device_name.as_str(), set.things[0].driver.as_str()), ("my-sensor-1", "my_sensor"));
    no_placeholder_is_left(&dir, &["Cargo.toml", "ledge.toml", "src/lib.rs", "tsl/my-sensor.json"]);
}

fn no_placeholder_is_left(dir: &Path, files: &[&str]) {
    for file in files {
        assert!(!fs::read_to_string(dir.join(file)).unwrap().contains('@'), "{file}");
    }
}

#[test]
fn a_wrong_name_is_refused_and_nothing_is_written() {
    let parent = tempfile::tempdir().unwrap();
    for wrong in ["", "1st", "a b", "../up", "-x", "ledge-sdk", "灯"] {
        assert!(new_function(parent.path(), wrong).is_err(), "{wrong}");
    }
    let error = new_driver(parent.path(), "a-name-of-more-than-20-letters").unwrap_err().to_string();
    assert!(error.contains("20 at most"), "{error}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_holds_something_is_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    fs::create_dir(parent.path().join("empty")).unwrap();
    new_function(parent.path(), "empty").unwrap();
    let error = new_driver(parent.path(), "empty").unwrap_err().to_string();
    assert!(error.ends_with("empty` is there already and not empty; choose another name or empty it"), "{error}");
    fs::write(parent.path().join("file"), "").unwrap();
    let error = new_function(parent.path(), "file").unwrap_err().to_string();
    assert!(error.ends_with("is there already, and is no directory"), "{error}");
}

#[test]
fn the_whole_sdk_and_contract_are_embedded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut there = BTreeSet::new();
    for dir in ["guest-sdk/rust", "wit"] {
        walk(&root, Path::new(dir), &mut there);
    }
    let embedded: BTreeSet<PathBuf> = EMBEDDED.iter().map(|(path, _)| PathBuf::from(path)).collect();
    let missing: Vec<&PathBuf> = there.difference(&embedded).collect();
    assert!(missing.is_empty(), "add to host/src/cli/new/embedded.rs: {missing:?}");
}

fn walk(root: &Path, dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(root.join(dir)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let path = dir.join(&name);
        if entry.path().is_dir() {
            if name != "target" {
                walk(root, &path, found);
            }
        } else if name != "Cargo.lock" {
            found.insert(path);
        }
    }
}
