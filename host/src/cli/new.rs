//! `ledge new`: a directory with a project that can be built and deployed at once, on a machine without Ledge's sources.
//!
//! The SDK and the contract are in this binary and are written beside the project, so nothing but `ledge` is needed.
//! There is one way to begin a function and one to begin a driver: what else there is, the samples show.

mod embedded;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::embedded::EMBEDDED;
use crate::config::manifest::shown;
use crate::name::{FunctionName, check_driver};

/// The service of a function that `ledge new` makes; its author may choose another.
pub const SERVICE: &str = "app";

/// Makes the directory `name` in `parent`, with a project of one function, and returns its path.
pub fn new_function(parent: &Path, name: &str) -> Result<PathBuf> {
    check_name(name)?;
    FunctionName::new(SERVICE, name)?;
    let files = [
        ("Cargo.toml", include_str!("new/templates/cargo.toml")),
        ("ledge.toml", include_str!("new/templates/function.toml")),
        ("src/lib.rs", include_str!("new/templates/function.rs")),
    ];
    write_project(parent, name, files.iter().map(|&(path, text)| (path.to_owned(), filled(text, name))))
}

/// Makes the directory `name` in `parent`, with a project of one driver, a product and a thing, and returns its path.
pub fn new_driver(parent: &Path, name: &str) -> Result<PathBuf> {
    check_name(name)?;
    check_driver(&driver_name(name))?;
    let tsl = format!("tsl/{name}.json");
    let files = [
        ("Cargo.toml", include_str!("new/templates/cargo.toml")),
        ("ledge.toml", include_str!("new/templates/driver.toml")),
        ("src/lib.rs", include_str!("new/templates/driver.rs")),
        (&tsl, include_str!("new/templates/tsl.json")),
    ];
    write_project(parent, name, files.iter().map(|&(path, text)| (path.to_owned(), filled(text, name))))
}

/// A driver's name is narrower than a directory's: no `-`.
fn driver_name(name: &str) -> String {
    name.replace('-', "_")
}

fn filled(template: &str, name: &str) -> String {
    template.replace("@NAME@", name).replace("@DRIVER@", &driver_name(name)).replace("@SERVICE@", SERVICE)
}

fn check_name(name: &str) -> Result<()> {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !letters {
        bail!("`{name}` cannot be the name of a project; expected a letter and then letters, digits, `-` and `_`");
    }
    if RESERVED.contains(&name) {
        bail!("`{name}` cannot be the name of a project: Rust or the SDK uses it already; choose another");
    }
    Ok(())
}

fn write_project(parent: &Path, name: &str, files: impl Iterator<Item = (String, String)>) -> Result<PathBuf> {
    let dir = parent.join(name);
    let made = make_empty(&dir)?;
    let ignored = (".gitignore".to_owned(), "target/\n".to_owned());
    let sdk = EMBEDDED.iter().map(|&(path, text)| (format!("ledge/{path}"), text.to_owned()));
    let written = files.chain([ignored]).chain(sdk).try_for_each(|(path, text)| write(&dir.join(path), &text));
    if written.is_err() && made {
        // It was not there before and holds only what was written above: half a project helps nobody.
        let _ = fs::remove_dir_all(&dir);
    }
    written.map(|()| dir)
}

/// Makes the directory, or finds that it is there and empty. Answers whether it was made.
fn make_empty(dir: &Path) -> Result<bool> {
    let place = shown(dir);
    match fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == ErrorKind::AlreadyExists => {
            let mut inside = fs::read_dir(dir).with_context(|| format!("`{}` is there already, and is no directory", place.display()))?;
            if inside.next().is_some() {
                bail!("the directory `{}` is there already and not empty; choose another name or empty it", place.display());
            }
            Ok(false)
        }
        Err(err) => Err(err).with_context(|| format!("making the directory `{}`", place.display())),
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    let writing = || format!("writing `{}`", shown(file).display());
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(writing)?;
    }
    fs::write(file, text).with_context(writing)
}

/// Names that a crate beside the SDK cannot have.
const RESERVED: &[&str] = &["ledge-sdk", "ledge_sdk"];

#[cfg(test)]
mod tests;
