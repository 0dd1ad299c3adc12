//! `ledge compile-component`: how the gateway compiles, in a process of its own. Not for people, and so not in the help.

use std::io::Write;
use std::process::ExitCode;

use crate::runtime::{self, Kind, Layout};

#[derive(clap::Args)]
pub struct Args {
    /// `function` or `driver`.
    kind: Kind,
    /// How the gateway lays out memories, as it prints it.
    layout: Layout,
}

/// A component on stdin, its code on stdout; why there is none on stderr.
pub fn run(args: &Args) -> ExitCode {
    match runtime::compile(args.kind, &args.layout, std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::from(runtime::REFUSED)
        }
    }
}
