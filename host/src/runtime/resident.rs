//! A function's code while somebody calls it. Loaded code takes some tens of kilobytes, and a gateway may have a thousand functions
//! of which few are called: one that rests is loaded again by its next call, in less than a millisecond.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use arc_swap::ArcSwapOption;

use super::engine::{Class, Image, Stacks};
use super::function_code::FunctionCode;
use super::inspect::Kind;
use super::{Loaded, Runtime};
use crate::function::{Function, REST_TURNS};
use crate::telemetry::OncePerSecond;

#[derive(Default)]
pub struct Resident {
    code: ArcSwapOption<FunctionCode>,
    /// One call loads it, and those that come meanwhile wait.
    loading: tokio::sync::Mutex<()>,
    /// Turns of [`Resident::rest`] since the last call.
    unused_turns: AtomicU8,
    has_overflowed: AtomicBool,
    failures: OncePerSecond,
}

impl Resident {
    pub fn get(&self) -> Option<Arc<FunctionCode>> {
        // Most calls find it so, and write nothing that other threads read.
        if self.unused_turns.load(Ordering::Relaxed) != 0 {
            self.unused_turns.store(0, Ordering::Relaxed);
        }
        self.code.load_full()
    }

    pub async fn load(&self, runtime: &Arc<Runtime>, function: &Function) -> anyhow::Result<(Arc<FunctionCode>, Loaded)> {
        let _turn = self.loading.lock().await;
        if let Some(code) = self.get() {
            return Ok((code, Loaded::AlreadyLoaded));
        }
        let stacks = if self.has_overflowed.load(Ordering::Relaxed) { Stacks::Deep } else { Stacks::Shallow };
        let class = Class { stack_bytes: function.limits.stack_bytes, image: Image::Small, stacks };
        let kind = if function.http.is_some() { Kind::Http } else { Kind::Function };
        let (runtime, digest) = (runtime.clone(), function.digest.clone());
        // It reads files, and compiles what is in none of them. Not where a backlog runs: others may wait for it.
        let guests = runtime.guests.clone();
        let loaded = guests.spawn_blocking(move || runtime.load_function(&digest, kind, class)).await?;
        let (code, how) = loaded.inspect_err(|error| {
            if let Some(others) = self.failures.turn() {
                let name = &function.name;
                tracing::error!(function.name = %name, "function `{name}` cannot be loaded: {error:#} (and {others} more such calls)");
            }
        })?;
        self.code.store(Some(code.clone()));
        Ok((code, how))
    }

    /// A call used all of its stack: the next ones run where others of that kind do. Whether that is new.
    pub fn overflowed(&self) -> bool {
        let is_new = !self.has_overflowed.swap(true, Ordering::Relaxed);
        if is_new {
            self.code.store(None);
        }
        is_new
    }

    /// Gives the code up after [`REST_TURNS`] without a call. Whether it did.
    pub fn rest(&self) -> bool {
        let unused_turns = self.unused_turns.fetch_add(1, Ordering::Relaxed);
        unused_turns >= REST_TURNS && self.code.swap(None).is_some()
    }

    pub fn is_loaded(&self) -> bool {
        self.code.load().is_some()
    }
}
