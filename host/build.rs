//! Builds the driver `gateway_monitor`, which every gateway brings along, so that the host can have it in its binary
//! (`src/gateway/monitor.rs`). Nothing here runs again unless what the driver is made of has changed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

#[path = "src/cli/build/guest_tool.rs"]
mod guest_tool;

use guest_tool::{TARGET, tool};

/// What it is made of, from the root of the repository.
const SOURCES: [&str; 7] = [
    "drivers/Cargo.toml",
    "drivers/Cargo.lock",
    "drivers/gateway_monitor/Cargo.toml",
    "drivers/gateway_monitor/src",
    "guest-sdk/rust/Cargo.toml",
    "guest-sdk/rust/src",
    "wit",
];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed=../{source}");
    }
    let [root, out] = ["CARGO_MANIFEST_DIR", "OUT_DIR"].map(|name| PathBuf::from(env::var_os(name).expect("cargo sets it")));
    match build(&root.join("../drivers"), &out.join("guest")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("the driver `gateway_monitor`, which is part of the gateway, could not be built: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn build(drivers: &Path, target_dir: &Path) -> Result<(), String> {
    add_target(drivers)?;
    let mut cargo = tool("cargo", drivers);
    cargo.args(["build", "--release", "--locked", "--target", TARGET, "--package", "gateway_monitor"]);
    let built = cargo.env("CARGO_TARGET_DIR", target_dir).stdin(Stdio::null()).status();
    match built {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("cargo's messages are above".to_owned()),
        Err(error) => Err(format!("`cargo` could not be started ({error}): see that it is on the PATH")),
    }
}

/// As `ledge build` does it.
fn add_target(dir: &Path) -> Result<(), String> {
    let has_target = || {
        let said = tool("rustc", dir).args(["--print", "target-libdir", "--target", TARGET]).output();
        let said = said.map_err(|error| format!("`rustc` could not be started ({error}): see that it is on the PATH"))?;
        let libdir = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        Ok::<_, String>(said.status.success() && Path::new(&libdir).exists())
    };
    if has_target()? {
        return Ok(());
    }
    // What it says is no line of this script's.
    let added = tool("rustup", dir).args(["target", "add", TARGET]).stdout(Stdio::null()).status();
    match added {
        Ok(status) if status.success() && has_target()? => Ok(()),
        _ => Err(format!(
            "the Rust target {TARGET} is missing and rustup could not add it; type `rustup target add {TARGET}`, or install it with the package \
             manager that Rust came from"
        )),
    }
}
