//! The compiler's side, in a process of its own: a component in, compiled code out. Deliberately absent: trust. What comes
//! in may be hostile, so the process takes its own rights away first, and the gateway takes only bytes and words from it.

mod bulk_memory;

use std::io::{Read, Write};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasmtime::Engine;

use super::engine::{self, Layout};
use super::inspect::{Kind, inspect};
use crate::limit::{COMPILE_CPU_S_MAX, COMPILE_MEMORY_BYTES_MAX, COMPONENT_BYTES_MAX};

/// Changes whenever something else is made of the same component, and with it the names of the files of compiled code.
pub const RECIPE: u32 = 3;
/// Open files of the compiler: its three pipes, and what the standard library looks at to count processors.
const FILES_MAX: u64 = 16;
/// A compilation gives way to calls (`setpriority`).
const NICE: i32 = 10;

/// Reads a component to its end, checks it, and writes what it uses of products and its code, as the engine of that kind wants it.
pub fn compile(kind: Kind, layout: &Layout, component: impl Read, mut code: impl Write) -> anyhow::Result<()> {
    confine().context("limiting the compiler")?;
    let mut bytes = Vec::new();
    component.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).context("reading the component")?;
    anyhow::ensure!(bytes.len() <= COMPONENT_BYTES_MAX, "it has more than {COMPONENT_BYTES_MAX} bytes");
    let uses = inspect(&bytes, kind)?;
    let engine = compiling(kind, layout).map_err(super::plain).context("starting the compiler")?;
    let bytes = bulk_memory::in_pieces(&bytes).context("making its bulk memory operations interruptible")?;
    let compiled = engine.precompile_component(&bytes).map_err(super::plain).context("compiling it")?;
    let head = super::compiler::head(&uses);
    [&head[..], &uses, &compiled]
        .iter()
        .try_for_each(|part| code.write_all(part))
        .and_then(|()| code.flush())
        .context("giving back the compiled code")
}

/// An engine that compiles as the gateway's does, and has no pool.
fn compiling(kind: Kind, layout: &Layout) -> wasmtime::Result<Engine> {
    Engine::new(&match kind {
        Kind::Function | Kind::Http => engine::for_functions(layout),
        Kind::Driver | Kind::Persistent => engine::for_drivers(layout),
    })
}

fn confine() -> std::io::Result<()> {
    // Where memory runs out, it is this process that goes, and not the gateway.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _ = rustix::process::setpriority_process(None, NICE);
    lower(Resource::Core, 0)?;
    lower(Resource::As, COMPILE_MEMORY_BYTES_MAX)?;
    // At the lower one the kernel says why it ends the process (SIGXCPU), at the higher one it says nothing.
    lower_to(Resource::Cpu, COMPILE_CPU_S_MAX, COMPILE_CPU_S_MAX + 1)?;
    lower(Resource::Fsize, 0)?;
    lower(Resource::Nofile, FILES_MAX)
}

fn lower(resource: Resource, to: u64) -> std::io::Result<()> {
    lower_to(resource, to, to)
}

fn lower_to(resource: Resource, current: u64, maximum: u64) -> std::io::Result<()> {
    let now = getrlimit(resource);
    let lowered = |limit: Option<u64>, to: u64| Some(limit.map_or(to, |limit| limit.min(to)));
    Ok(setrlimit(resource, Rlimit { current: lowered(now.current, current), maximum: lowered(now.maximum, maximum) })?)
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    #[test]
    fn the_compiler_compiles_for_the_engines_that_run() {
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        let sizes = engine::Sizes::of(engine::Machine::here());
        let layout = sizes.layout;
        let (functions, drivers) =
            (engine::functions(engine::Class::USUAL, &sizes).unwrap(), engine::drivers(512 << 10, &sizes.layout).unwrap());
        assert_eq!(hash(&compiling(Kind::Function, &layout).unwrap()), hash(&functions));
        assert_eq!(hash(&compiling(Kind::Http, &layout).unwrap()), hash(&functions));
        assert_eq!(hash(&compiling(Kind::Driver, &layout).unwrap()), hash(&drivers));
        assert_ne!(hash(&functions), hash(&drivers));
    }
}
