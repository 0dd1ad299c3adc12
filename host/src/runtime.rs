//! How guests run: two wasmtime engines, their linkers, and the code that is loaded.
//!
//! Functions run on an engine without component-model async, drivers on one with it (DESIGN, the contract).
//! Policy is elsewhere: who may call is `function`'s, when a driver starts again is `driver`'s.

mod cache;
mod driver_code;
mod engine;
mod failure;
mod function_code;
mod inspect;
mod state;
mod ticker;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};

use anyhow::Context;
use parking_lot::Mutex;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::capability::fc::FcParts;
use crate::capability::iot_data::IotDataParts;
use crate::seal::Seal;
use crate::set::Digest;
use cache::Cache;
pub use driver_code::{DriverCode, DriverSpec, Request};
pub use function_code::{BoundCode, FunctionCode, FunctionParts};
pub use inspect::{Kind, inspect};
use state::DriverState;
pub use state::FunctionState;
use ticker::Ticker;

pub struct Runtime {
    functions: World<FunctionState, FunctionCode>,
    drivers: World<DriverState, DriverCode>,
    cache: Cache,
    ticker: Arc<Ticker>,
    pub function_parts: Arc<FunctionParts>,
}

/// One engine with its linker, and the code that is loaded on it.
struct World<T: 'static, C> {
    engine: Engine,
    linker: Linker<T>,
    /// Components are shared by their digest, so that two functions of one component load it once.
    loaded: Mutex<HashMap<Digest, Weak<C>>>,
}

/// Whether a component had to be compiled or was found in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    Compiled,
    FromCache,
    AlreadyLoaded,
}

impl Runtime {
    /// `cache_dir` holds compiled code, which is trusted only with this gateway's MAC.
    pub fn new(cache_dir: &Path, seal: Arc<Seal>, iot_data: Arc<IotDataParts>, fc: Arc<FcParts>) -> anyhow::Result<Self> {
        let functions = engine::functions().map_err(plain).context("starting the engine of functions")?;
        let drivers = engine::drivers().map_err(plain).context("starting the engine of drivers")?;
        let ticker = Arc::new(Ticker::start(vec![functions.clone(), drivers.clone()])?);
        let function_linker = state::function_linker(&functions).map_err(plain).context("linking the world of functions")?;
        let driver_linker = state::driver_linker(&drivers).map_err(plain).context("linking the world of drivers")?;
        Ok(Self {
            functions: World { engine: functions, linker: function_linker, loaded: Mutex::default() },
            drivers: World { engine: drivers, linker: driver_linker, loaded: Mutex::default() },
            cache: Cache::open(cache_dir, seal)?,
            ticker,
            function_parts: Arc::new(FunctionParts { iot_data, fc }),
        })
    }

    /// Makes a function's component ready to run: from memory, from the cache, or by compiling it.
    pub fn load_function(&self, digest: &Digest, component: &[u8]) -> anyhow::Result<(Arc<FunctionCode>, Loaded)> {
        self.functions.load(digest, &self.cache, component, |component| {
            FunctionCode::new(&self.functions.linker, component, self.ticker.clone(), self.function_parts.clone())
        })
    }

    /// The same for a driver's component.
    pub fn load_driver(&self, digest: &Digest, component: &[u8]) -> anyhow::Result<(Arc<DriverCode>, Loaded)> {
        self.drivers.load(digest, &self.cache, component, |component| DriverCode::new(&self.drivers.linker, component, self.ticker.clone()))
    }
}

/// wasmtime's error with its causes, for people. Its own type stays inside `runtime` and `capability`.
fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

impl<T: 'static, C> World<T, C> {
    fn load(
        &self,
        digest: &Digest,
        cache: &Cache,
        component: &[u8],
        make: impl FnOnce(&wasmtime::component::Component) -> wasmtime::Result<C>,
    ) -> anyhow::Result<(Arc<C>, Loaded)> {
        if let Some(code) = self.loaded.lock().get(digest).and_then(Weak::upgrade) {
            return Ok((code, Loaded::AlreadyLoaded));
        }
        let (compiled, how) = cache.component(&self.engine, digest, component)?;
        let code = Arc::new(make(&compiled).map_err(plain).context("linking it to the contract")?);
        let mut loaded = self.loaded.lock();
        loaded.retain(|_, code| code.strong_count() > 0);
        loaded.insert(digest.clone(), Arc::downgrade(&code));
        Ok((code, how))
    }
}
