//! The engines. Every number here is a choice with a reason; wasmtime's own defaults are far looser.
//!
//! There are two kinds: functions run on pools and without component-model async, drivers with it and with memory of their own.
//! Functions have a pool for each [`Class`] of guest; the usual class is there from the start, another comes with its first guest.
//! What changes the compiled code is in [`base`] alone and the same for every class, so that one file of compiled code serves all.

mod machine;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::limit::{MEMORY_BYTES, TABLE_ELEMENTS};
pub use machine::{Layout, Machine, Sizes};

/// What a function needs of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// One of [`crate::limit::STACK_BYTES`]: wasmtime has one stack size for each engine.
    pub stack_bytes: usize,
    pub image: Image,
    pub stacks: Stacks,
}

/// How much of its stack a function uses. What was used once stays resident, since giving it back after each call would make that of
/// a small guest cost a sixth more; and a pool uses its stacks by turns. So those who go deep have one of their own, or every stack of
/// the usual pool would become as large as theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stacks {
    Shallow,
    /// It once used all of it.
    Deep,
}

/// What a component's memory holds at its start: engines such as QuickJS and CPython bring a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Image {
    Small,
    Large,
}

impl Class {
    /// Most guests: Rust and C with the default stack.
    pub const USUAL: Self = Self { stack_bytes: 512 << 10, image: Image::Small, stacks: Stacks::Shallow };
}

impl Image {
    /// By the memory that a component asks for at its start.
    pub fn of(initial_bytes: u64) -> Self {
        if initial_bytes > LARGE_IMAGE_BYTES { Self::Large } else { Self::Small }
    }
}

/// Functions: fresh instances from a pool, no component-model async.
pub fn functions(class: Class, sizes: &Sizes) -> wasmtime::Result<Engine> {
    let mut config = for_functions(&sizes.layout);
    stack(&mut config, class.stack_bytes);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(class, sizes)));
    Engine::new(&config)
}

/// Drivers: few and long-lived, each with its own memory.
pub fn drivers(stack_bytes: usize, layout: &Layout) -> wasmtime::Result<Engine> {
    let mut config = for_drivers(layout);
    stack(&mut config, stack_bytes);
    Engine::new(&config)
}

/// Settings that compile as [`functions`] does, without its pool.
pub fn for_functions(layout: &Layout) -> Config {
    let mut config = base(layout);
    config.concurrency_support(false).wasm_component_model_async(false);
    config
}

/// The same for [`drivers`].
pub fn for_drivers(layout: &Layout) -> Config {
    let mut config = base(layout);
    config.concurrency_support(true).wasm_component_model_async(true);
    config
}

fn base(layout: &Layout) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Nobody reads them, and a guest that traps deep in a recursion would have its whole stack walked.
        .wasm_backtrace_max_frames(None)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_reservation(layout.memory_reservation_bytes)
        .memory_reservation_for_growth(0)
        .memory_guard_size(layout.memory_guard_bytes)
        // Threads, and what of GC needs a heap, are off by the features that wasmtime is built without.
        .wasm_gc(false)
        .wasm_shared_everything_threads(false)
        .wasm_stack_switching(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_tail_call(true);
    config
}

fn stack(config: &mut Config, bytes: usize) {
    // Host functions run on the guest's stack, and get the other part of it.
    config.max_wasm_stack(bytes).async_stack_size(bytes + HOST_STACK_BYTES);
}

fn pool(class: Class, sizes: &Sizes) -> PoolingAllocationConfig {
    let slots = sizes.slots(class);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES_PER_SLOT)
        .total_memories(slots)
        .total_tables(slots * TABLES_PER_SLOT)
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        .max_memory_size(usize::try_from(*MEMORY_BYTES.end()).unwrap_or(usize::MAX))
        .table_elements(*TABLE_ELEMENTS.end() as usize)
        .linear_memory_keep_resident(sizes.keep_resident_bytes(class))
        // Without it a call of a small guest costs half as much again.
        .table_keep_resident(TABLE_RESIDENT_BYTES)
        .max_unused_warm_slots(WARM_SLOTS.min(slots))
        .pagemap_scan(Enabled::Auto);
    pool
}

/// A component of wit-bindgen has one core module and two small ones that join it to its imports, and a table in two of them.
const CORE_INSTANCES_PER_SLOT: u32 = 4;
const TABLES_PER_SLOT: u32 = 4;
const CORE_INSTANCES_MAX: u32 = 64;
const TABLE_RESIDENT_BYTES: usize = 80_000;
const HOST_STACK_BYTES: usize = 512 << 10;
/// Rust guests begin with about 1.1 MiB.
const LARGE_IMAGE_BYTES: u64 = 4 << 20;
/// Unused slots that stay mapped for the component that had them last.
const WARM_SLOTS: u32 = 64;

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    fn hash(engine: &Engine) -> u64 {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn code_for_one_class_runs_on_all_and_is_what_the_compiler_makes() {
        let sizes = Sizes::of(Machine { ram_bytes: 1 << 30, address_bytes: 1 << 36, data_bytes: u64::MAX });
        let compiled = hash(&Engine::new(&for_functions(&sizes.layout)).unwrap());
        let others = [
            Class::USUAL,
            Class { stack_bytes: 128 << 10, ..Class::USUAL },
            Class { image: Image::Large, ..Class::USUAL },
            Class { stacks: Stacks::Deep, ..Class::USUAL },
        ];
        for class in others {
            assert_eq!(hash(&functions(class, &sizes).unwrap()), compiled, "{class:?}");
        }
        assert_eq!(hash(&drivers(128 << 10, &sizes.layout).unwrap()), hash(&Engine::new(&for_drivers(&sizes.layout)).unwrap()));
    }
}
