//! How guests run: wasmtime's engines, their linkers, and the code that is loaded.
//!
//! Functions run on engines without component-model async, drivers on some with it (DESIGN, the contract).
//! Policy is elsewhere: who may call is `function`'s, when a driver starts again is `driver`'s.

mod budget;
mod cache;
mod compile;
mod compiler;
mod driver_code;
mod engine;
mod exports;
mod failure;
mod function_code;
mod http_code;
mod inspect;
mod kept;
mod meter;
mod persistent_code;
mod resident;
mod state;
mod ticker;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use anyhow::Context;
use parking_lot::Mutex;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::capability::fc::FcParts;
use crate::capability::gateway_info::GatewayInfoParts;
use crate::capability::iot_data::IotDataParts;
use crate::capability::listen::ListenParts;
use crate::seal::Seal;
use crate::set::Digest;
use crate::state::State;
use crate::thing::tsl::Uses;
use cache::Cache;
pub use compile::compile;
pub use compiler::{CompileError, Compiler, REFUSED};
use driver_code::DriverParts;
pub use driver_code::{DriverCode, DriverSpec};
pub use engine::Layout;
use engine::{Class, Image, Machine, Sizes};
use function_code::FunctionCode;
pub use function_code::{BoundCode, FunctionParts};
pub use inspect::{Kind, without_manifest};
use kept::Hoards;
pub use persistent_code::{PersistentCall, PersistentCode, PersistentSpec, UnderWay};
pub use state::FunctionState;
use state::{DriverState, PersistentState};
use ticker::Ticker;

pub struct Runtime {
    pub sizes: Sizes,
    /// One for each class of function that there is.
    functions: Mutex<HashMap<Class, Arc<World<FunctionState, FunctionCode>>>>,
    /// One for each size of stack that there is.
    drivers: Mutex<HashMap<usize, Arc<World<DriverState, DriverCode>>>>,
    /// Of persistent functions, which run on the engines of drivers.
    persistent: Mutex<HashMap<usize, Arc<World<PersistentState, PersistentCode>>>>,
    cache: Cache,
    components: Arc<dyn ComponentSource>,
    ticker: Arc<Ticker>,
    guests: tokio::runtime::Handle,
    listen: Arc<ListenParts>,
    pub function_parts: FunctionParts,
    gateway_info: Arc<GatewayInfoParts>,
}

/// What a runtime needs of the gateway.
pub struct Parts {
    /// Holds compiled code, which is trusted only with this gateway's MAC.
    pub cache_dir: PathBuf,
    /// Compiles what is not there.
    pub program: PathBuf,
    pub seal: Arc<Seal>,
    pub components: Arc<dyn ComponentSource>,
    /// Where guests run.
    pub guests: tokio::runtime::Handle,
    pub iot_data: Arc<IotDataParts>,
    pub fc: Arc<FcParts>,
    pub state: Arc<State>,
    pub gateway_info: Arc<GatewayInfoParts>,
    pub listen: Arc<ListenParts>,
}

/// Where components come from, before they are compiled.
pub trait ComponentSource: Send + Sync {
    /// The bytes of that digest, which were checked to be those.
    fn read(&self, digest: &Digest) -> anyhow::Result<Vec<u8>>;
}

/// One engine with its linker, and the code that is loaded on it.
struct World<T: 'static, C> {
    engine: Engine,
    linker: Linker<T>,
    /// Components are shared by their digest, so that two functions of one component load it once.
    loaded: Mutex<HashMap<(Digest, Kind), Weak<C>>>,
}

/// Whether a component had to be compiled or was found in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    Compiled,
    FromCache,
    AlreadyLoaded,
    /// It will be, by its first call.
    Not,
}

impl Runtime {
    pub fn new(parts: Parts) -> anyhow::Result<Self> {
        let ticker = Arc::new(Ticker::start()?);
        let (sizes, functions) = usual_functions(&ticker)?;
        Ok(Self {
            sizes,
            functions: Mutex::new(HashMap::from([(Class::USUAL, Arc::new(functions))])),
            drivers: Mutex::default(),
            persistent: Mutex::default(),
            cache: Cache::open(&parts.cache_dir, parts.seal, Compiler::new(parts.program, sizes.layout))?,
            components: parts.components,
            ticker,
            guests: parts.guests,
            listen: parts.listen,
            function_parts: FunctionParts { iot_data: parts.iot_data, fc: parts.fc, state: parts.state, hoards: Hoards::default() },
            gateway_info: parts.gateway_info,
        })
    }

    /// Deletes compiled code that has lain unused for long; `is_used` says which is used now.
    pub fn prune(&self, is_used: impl Fn(&str) -> bool) {
        self.cache.prune(is_used);
    }

    /// Makes a function's component ready to run on an engine of `class`: from memory, from the cache, or by compiling it. The
    /// image of the class does not matter: what its memory holds is only known once it is loaded.
    fn load_function(&self, digest: &Digest, kind: Kind, class: Class) -> anyhow::Result<(Arc<FunctionCode>, Loaded)> {
        let load = |class| {
            let world = self.world(class)?;
            let make = |component: &Component| FunctionCode::new(&world.linker, component);
            world.load(digest, kind, &self.cache, || self.components.read(digest), make)
        };
        let small = Class { image: Image::Small, ..class };
        let (code, how) = load(small)?;
        match code.image() {
            Image::Small => Ok((code, how)),
            image => Ok((load(Class { image, ..small })?.0, how)),
        }
    }

    /// Lets go of what is left of code that nobody holds any more.
    fn forget(&self, digest: &Digest) {
        for world in self.functions.lock().values() {
            let mut loaded = world.loaded.lock();
            for kind in [Kind::Function, Kind::Http] {
                let key = (digest.clone(), kind);
                if loaded.get(&key).is_some_and(|code| code.strong_count() == 0) {
                    loaded.remove(&key);
                }
            }
        }
    }

    /// Compiles a function's component, if there is no compiled code of it.
    pub fn compile_missing(&self, digest: &Digest, kind: Kind) -> anyhow::Result<()> {
        // What lives as long as it is deployed was loaded when it was started.
        if let Kind::Driver | Kind::Persistent = kind {
            return Ok(());
        }
        let world = self.world(Class::USUAL)?;
        if !self.cache.has(&world.engine, kind, digest) {
            self.cache.component(&world.engine, kind, digest, || self.components.read(digest))?;
        }
        Ok(())
    }

    /// What a component uses of products.
    pub fn uses(&self, digest: &Digest, kind: Kind) -> anyhow::Result<Vec<Uses>> {
        self.cache.uses(kind, digest, || self.components.read(digest))
    }

    fn world(&self, class: Class) -> anyhow::Result<Arc<World<FunctionState, FunctionCode>>> {
        found_or_made(&self.functions, class, || functions(class, &self.sizes, &self.ticker))
    }

    /// Makes a driver's component ready to run with a stack of that size.
    pub fn load_driver(&self, digest: &Digest, stack_bytes: usize) -> anyhow::Result<(Arc<DriverCode>, Loaded)> {
        let world = found_or_made(&self.drivers, stack_bytes, || drivers(stack_bytes, &self.sizes, &self.ticker))?;
        let parts = DriverParts { gateway_info: self.gateway_info.clone(), listen: self.listen.clone() };
        let make = |component: &Component| DriverCode::new(&world.linker, component, self.ticker.clone(), parts);
        world.load(digest, Kind::Driver, &self.cache, || self.components.read(digest), make)
    }

    /// The same for a persistent function's.
    pub fn load_persistent(&self, digest: &Digest, stack_bytes: usize) -> anyhow::Result<(Arc<PersistentCode>, Loaded)> {
        let world = found_or_made(&self.persistent, stack_bytes, || persistent(stack_bytes, &self.sizes, &self.ticker))?;
        let make = |component: &Component| PersistentCode::new(&world.linker, component, self.ticker.clone());
        world.load(digest, Kind::Persistent, &self.cache, || self.components.read(digest), make)
    }
}

/// The engine of usual functions, as large as the machine takes it.
fn usual_functions(ticker: &Ticker) -> anyhow::Result<(Sizes, World<FunctionState, FunctionCode>)> {
    let mut machine = Machine::here();
    loop {
        let sizes = Sizes::of(machine);
        match (functions(Class::USUAL, &sizes, ticker), machine.with_fewer_addresses()) {
            (Ok(world), _) => return Ok((sizes, world)),
            (Err(error), None) => return Err(error),
            // Some processors and kernels have fewer addresses, and nothing but a try says how many.
            (Err(_), Some(fewer)) => machine = fewer,
        }
    }
}

fn functions(class: Class, sizes: &Sizes, ticker: &Ticker) -> anyhow::Result<World<FunctionState, FunctionCode>> {
    let engine = engine::functions(class, sizes).map_err(plain).context("starting the engine of functions")?;
    let linker = state::function_linker(&engine).map_err(plain).context("linking the world of functions")?;
    ticker.add(&engine);
    Ok(World { engine, linker, loaded: Mutex::default() })
}

fn drivers(stack_bytes: usize, sizes: &Sizes, ticker: &Ticker) -> anyhow::Result<World<DriverState, DriverCode>> {
    let engine = engine::drivers(stack_bytes, &sizes.layout).map_err(plain).context("starting the engine of drivers")?;
    let linker = state::driver_linker(&engine).map_err(plain).context("linking the world of drivers")?;
    ticker.add(&engine);
    Ok(World { engine, linker, loaded: Mutex::default() })
}

fn persistent(stack_bytes: usize, sizes: &Sizes, ticker: &Ticker) -> anyhow::Result<World<PersistentState, PersistentCode>> {
    let engine = engine::drivers(stack_bytes, &sizes.layout).map_err(plain).context("starting the engine of persistent functions")?;
    let linker = state::persistent_linker(&engine).map_err(plain).context("linking the world of persistent functions")?;
    ticker.add(&engine);
    Ok(World { engine, linker, loaded: Mutex::default() })
}

fn found_or_made<K: Eq + Hash, W>(
    worlds: &Mutex<HashMap<K, Arc<W>>>,
    key: K,
    make: impl FnOnce() -> anyhow::Result<W>,
) -> anyhow::Result<Arc<W>> {
    match worlds.lock().entry(key) {
        Entry::Occupied(found) => Ok(found.get().clone()),
        Entry::Vacant(place) => Ok(place.insert(Arc::new(make()?)).clone()),
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
        kind: Kind,
        cache: &Cache,
        read: impl FnOnce() -> anyhow::Result<Vec<u8>>,
        make: impl FnOnce(&Component) -> wasmtime::Result<C>,
    ) -> anyhow::Result<(Arc<C>, Loaded)> {
        let key = (digest.clone(), kind);
        if let Some(code) = self.loaded.lock().get(&key).and_then(Weak::upgrade) {
            return Ok((code, Loaded::AlreadyLoaded));
        }
        let (compiled, how) = cache.component(&self.engine, kind, digest, read)?;
        let code = Arc::new(make(&compiled).map_err(plain).context("linking it to the contract")?);
        let mut loaded = self.loaded.lock();
        // Somebody else may have been as quick: all instances of a component shall find the places in the pool that are warm for it.
        if let Some(code) = loaded.get(&key).and_then(Weak::upgrade) {
            return Ok((code, how));
        }
        loaded.retain(|_, code| code.strong_count() > 0);
        loaded.insert(key, Arc::downgrade(&code));
        Ok((code, how))
    }
}
