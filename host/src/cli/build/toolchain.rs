//! The Rust tools that build guests: cargo, rustc and the target `wasm32-wasip2`.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Error, Result, bail};
use parking_lot::Mutex;

use super::guest_tool::{TARGET, tool};
use crate::config::manifest::shown;

/// Says what to do when a Rust tool could not be started.
pub fn not_started(name: &str, err: io::Error) -> Error {
    let message = match err.kind() {
        ErrorKind::NotFound => {
            format!("`{name}` was not found; crates are built with Rust: install it with rustup, and see that `{name}` is on the PATH")
        }
        _ => format!("`{name}` could not be started"),
    };
    Error::from(err).context(message)
}

/// Makes sure that the target's standard library is there, and has rustup fetch it if it is not.
pub fn ensure_target(dir: &Path) -> Result<()> {
    // Two rustups that add it at the same time undo each other's work.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    if has_target(dir)? {
        return Ok(());
    }
    eprintln!("adding the Rust target {TARGET}");
    let added = tool("rustup", dir).args(["target", "add", TARGET]).stdout(Stdio::null()).status();
    match added {
        Ok(status) if status.success() && has_target(dir)? => Ok(()),
        Ok(_) => bail!(
            "the Rust target {TARGET} is missing and rustup could not add it: see its messages above, then type `rustup target add {TARGET}`"
        ),
        Err(_) => bail!(
            "the Rust target {TARGET} is missing and there is no rustup to add it; install Rust with rustup and type \
             `rustup target add {TARGET}`, or install the target with the package manager that Rust came from"
        ),
    }
}

fn has_target(dir: &Path) -> Result<bool> {
    let output =
        tool("rustc", dir).args(["--print", "target-libdir", "--target", TARGET]).output().map_err(|err| not_started("rustc", err))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "rustc in `{}` does not know the target {TARGET}; Rust 1.82 and later do, type `rustup update`: {}",
            shown(dir).display(),
            said.trim()
        );
    }
    let libdir = String::from_utf8(output.stdout).context("rustc printed a path that is not text")?;
    Ok(Path::new(libdir.trim()).exists())
}
