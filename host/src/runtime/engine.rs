//! The two engines. Every number here is a choice with a reason; wasmtime's own defaults are far looser.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::limit::{MEMORY_BYTES, STACK_BYTES};

/// Functions: fresh instances from a pool, no component-model async.
pub fn functions() -> wasmtime::Result<Engine> {
    let mut config = base();
    config.concurrency_support(false).wasm_component_model_async(false);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots())));
    Engine::new(&config)
}

/// Drivers: few and long-lived, each with its own memory.
pub fn drivers() -> wasmtime::Result<Engine> {
    let mut config = base();
    config.concurrency_support(true).wasm_component_model_async(true);
    Engine::new(&config)
}

fn base() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(STACK_BYTES)
        // Host functions run on the guest's stack, and get the other half of it.
        .async_stack_size(2 * STACK_BYTES)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_tail_call(true);
    config
}

fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES_PER_SLOT)
        .total_memories(slots)
        .total_tables(slots * 4)
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        .max_memory_size(usize::try_from(*MEMORY_BYTES.end()).unwrap_or(usize::MAX))
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_ELEMENTS * size_of::<usize>())
        .max_unused_warm_slots(WARM_SLOTS)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Instances at the same time: one for each 64 MiB of RAM, so that a pool of full instances still fits.
fn slots() -> u32 {
    let ram = rustix::system::sysinfo();
    let bytes = (ram.totalram as u64).saturating_mul(u64::from(ram.mem_unit.max(1)));
    u32::try_from(bytes / (64 << 20)).unwrap_or(u32::MAX).clamp(32, 512)
}

/// A component of wit-bindgen has one core module and two small ones that join it to its imports.
const CORE_INSTANCES_PER_SLOT: u32 = 4;
const CORE_INSTANCES_MAX: u32 = 64;
const TABLE_ELEMENTS: usize = 10_000;
/// A Rust guest touches less than this (1 MiB of stack and its heap's first pages), so that nothing has to be unmapped
/// when its slot is used again; what a bigger guest touched beyond goes back to the kernel.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;
/// Unused slots that stay mapped for the component that had them last.
const WARM_SLOTS: u32 = 64;
