//! The two engines. Every number here is a choice with a reason; wasmtime's own defaults are far looser.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::limit::MEMORY_BYTES;

/// Functions: fresh instances from a pool, no component-model async.
pub fn functions() -> wasmtime::Result<Engine> {
    let mut config = base();
    config.concurrency_support(false).wasm_component_model_async(false);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(ram_bytes())));
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

fn pool(ram_bytes: u64) -> PoolingAllocationConfig {
    let slots = slots(ram_bytes);
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
        .linear_memory_keep_resident(keep_resident_bytes(ram_bytes, slots))
        // Without it a call of a small guest costs half as much again.
        .table_keep_resident(TABLE_ELEMENTS * size_of::<usize>())
        .max_unused_warm_slots(WARM_SLOTS)
        .pagemap_scan(Enabled::Auto);
    pool
}

fn ram_bytes() -> u64 {
    let ram = rustix::system::sysinfo();
    (ram.totalram as u64).saturating_mul(u64::from(ram.mem_unit.max(1)))
}

/// Instances at the same time: one for each 64 MiB of RAM, so that a pool of full instances still fits.
fn slots(ram_bytes: u64) -> u32 {
    u32::try_from(ram_bytes / (64 << 20)).unwrap_or(u32::MAX).clamp(32, 512)
}

/// What the pool keeps of a memory that is no longer used, zeroed, so that the next instance need not fault it in again. All
/// of them together keep an eighth of the RAM at most.
fn keep_resident_bytes(ram_bytes: u64, slots: u32) -> usize {
    let memories = u64::from(slots * MEMORIES_PER_SLOT);
    usize::try_from(ram_bytes / 8 / memories).unwrap_or(usize::MAX).min(KEEP_RESIDENT_BYTES_MAX)
}

/// A component of wit-bindgen has one core module and two small ones that join it to its imports.
const STACK_BYTES: usize = 512 << 10;
const CORE_INSTANCES_PER_SLOT: u32 = 4;
const CORE_INSTANCES_MAX: u32 = 64;
const MEMORIES_PER_SLOT: u32 = 2;
const TABLE_ELEMENTS: usize = 10_000;
/// A call of a small Rust guest costs 9 us from 512 KiB on, and 17 us if nothing is kept; one that fills 4 MiB costs 0.34 ms
/// with 4 or 64 MiB, 1.25 ms with 2 and 2.3 ms with none (`docs/performance.md`). More is for guests with large images, and
/// each slot that was ever used would hold it.
const KEEP_RESIDENT_BYTES_MAX: usize = 4 << 20;
/// Unused slots that stay mapped for the component that had them last.
const WARM_SLOTS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_memories_keep_an_eighth_of_the_ram_at_most() {
        for mib in [64, 256, 1_024, 2_048, 16_384, 1 << 20] {
            let ram_bytes = mib << 20;
            let slots = slots(ram_bytes);
            let kept = keep_resident_bytes(ram_bytes, slots);
            let memories = u64::from(slots * MEMORIES_PER_SLOT);
            assert!(kept as u64 * memories <= ram_bytes / 8, "{mib} MiB of RAM: {memories} memories keep {kept} bytes each");
            assert!(kept <= KEEP_RESIDENT_BYTES_MAX);
        }
    }
}
