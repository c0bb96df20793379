//! The engine: one per process, with the pool that all instances live in and the ticker of its epochs.

use std::time::Duration;

use keylane_deployment::Limits;
use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::GuestError;

/// How often a computing guest is looked at: it yields its thread, and its time is checked.
pub const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Stack of a guest. Past it a guest traps.
const WASM_STACK_BYTES: usize = 512 * 1024;

/// Stack of a call: the guest's part, and what is left for the host calls that run on the same stack.
const CALL_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Core instances within one component: some language runtimes are made of many.
const CORE_INSTANCES_PER_INSTANCE: u32 = 100;

/// Linear memories within one component.
const MEMORIES_PER_INSTANCE: u32 = 2;

/// Tables within one component.
const TABLES_PER_INSTANCE: u32 = 8;

/// Memory that stays mapped in a free slot of the pool; measured: with the kernel's scan of touched pages
/// a fresh instance costs a third of what it costs without.
const KEEP_RESIDENT_BYTES: usize = 128 * 1024;

/// Frames in a trap's reason; more would not be read.
const TRACE_FRAMES: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(7);

/// What the engine and the warm pools are sized for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestOptions {
    /// Instances alive at once in this process: the sum of all handlers' `concurrency`.
    pub instances: u32,
    /// The largest linear memory that any manifest allows, in bytes.
    pub memory_bytes: usize,
    /// The largest table that any manifest allows, in elements.
    pub table_elements: usize,
    /// Events after which an instance is replaced by a fresh one, whatever it did.
    pub instance_events: u32,
    /// How long an instance may idle before it gives back its memory.
    pub instance_idle: Duration,
}

impl GuestOptions {
    /// Options that fit all of these handlers.
    pub fn for_handlers<'a>(handlers: impl IntoIterator<Item = &'a Limits>) -> Self {
        let mut options = Self {
            instances: 0,
            memory_bytes: 0,
            table_elements: 0,
            instance_events: 10_000,
            instance_idle: Duration::from_secs(60),
        };
        for limits in handlers {
            let concurrency = u32::try_from(limits.concurrency).unwrap_or(u32::MAX);
            options.instances = options.instances.saturating_add(concurrency);
            options.memory_bytes = options.memory_bytes.max(limits.memory_bytes);
            options.table_elements = options.table_elements.max(limits.table_elements);
        }
        options
    }
}

/// The engine of this process. Cheap to clone; the last clone ends its ticker.
#[derive(Clone)]
pub struct GuestEngine {
    pub(crate) engine: Engine,
    pub(crate) options: GuestOptions,
}

impl GuestEngine {
    /// Reserves the pool and starts the ticker.
    ///
    /// # Errors
    /// When the address space for the pool cannot be reserved, or no thread can be started.
    pub fn new(options: GuestOptions) -> Result<Self, GuestError> {
        let engine = Engine::new(&config(&options))
            .map_err(|error| GuestError::Engine { reason: format!("{error:#}") })?;
        tick(engine.weak())?;
        Ok(Self { engine, options })
    }
}

fn config(options: &GuestOptions) -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        .wasm_backtrace_max_frames(Some(TRACE_FRAMES))
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(options)));
    config
}

/// Memory and table slots are sized for the largest limit; a handler's own, smaller one is kept by its
/// store's limiter.
fn pool(options: &GuestOptions) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let instances = options.instances.max(1);
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_INSTANCE))
        .total_memories(instances.saturating_mul(MEMORIES_PER_INSTANCE))
        .total_tables(instances.saturating_mul(TABLES_PER_INSTANCE))
        .max_core_instances_per_component(CORE_INSTANCES_PER_INSTANCE)
        .max_memories_per_component(MEMORIES_PER_INSTANCE)
        .max_tables_per_component(TABLES_PER_INSTANCE)
        .max_memory_size(options.memory_bytes)
        .table_elements(options.table_elements)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Advances the epoch until the engine is gone. The thread owns nothing; the engine's end wakes nobody and
/// is seen within one tick.
fn tick(engine: EngineWeak) -> Result<(), GuestError> {
    std::thread::Builder::new()
        .name("keylane-epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(EPOCH_TICK);
            }
        })
        .map(drop)
        .map_err(|error| GuestError::Engine { reason: format!("no thread for its epochs: {error}") })
}
