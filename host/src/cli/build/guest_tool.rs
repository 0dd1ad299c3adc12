//! How the Rust tools are started that build guests. The host's own build script uses this file too, so it names nothing of this crate.

use std::env;
use std::path::Path;
use std::process::Command;

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
