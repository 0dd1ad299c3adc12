//! The Rust tools that build guests: cargo, rustc and the target `wasm32-wasip2`.

use std::env;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Error, Result, bail};
use parking_lot::Mutex;

use crate::config::manifest::shown;

/// What guests are compiled to.
pub const TARGET: &str = "wasm32-wasip2";

/// One of the Rust tools, run in `dir`, so that the `rust-toolchain.toml` and `.cargo/config.toml` there count.
pub fn tool(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(dir);
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(leaks) {
            command.env_remove(key);
        }
    }
    command
}

/// Whether a variable is about a cargo that runs us (`cargo run`, `cargo test`) or about code for this machine, or is
/// a secret that no build script has to see.
fn leaks(key: &str) -> bool {
    LEAKING.contains(&key) || LEAKING_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

const LEAKING: &[&str] = &[
    "CARGO",
    "CARGO_BIN_NAME",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_CRATE_NAME",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_DIR",
    "CARGO_TARGET_TMPDIR",
    "LEDGE_ADMIN_PASSWORD",
    "LEDGE_PASSWORD",
    "MAKEFLAGS",
    "MFLAGS",
    "OUT_DIR",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUST_RECURSION_COUNT",
];

const LEAKING_PREFIXES: &[&str] = &["CARGO_BIN_EXE_", "CARGO_CFG_", "CARGO_FEATURE_", "CARGO_PKG_", "DEP_"];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_running_cargo_sets_does_not_leak_and_what_people_set_stays() {
        for key in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_PKG_NAME", "RUSTC_WRAPPER", "OUT_DIR"] {
            assert!(leaks(key), "{key}");
        }
        for key in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_NET_OFFLINE", "CARGO_HTTP_PROXY"] {
            assert!(!leaks(key), "{key}");
        }
    }
}
