//! How Wasmtime is set up: what programs may use, how instances get their memory, and the ticks that let others have a turn.

use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Programs that run at the same time; Lambda's default concurrency of an account, and some room.
const INSTANCES: u32 = 1100;
/// What a 32-bit memory can come to. Only address space is taken for it.
const MEMORY_RESERVED: u64 = 4 << 30;
const GUARD: u64 = 32 << 20;
const STACK: usize = 1 << 20;
const STACK_WITH_HOST: usize = 2 << 20;
pub const TABLE_ELEMENTS: usize = 1 << 17;
/// A program that computes gives way to others after this long.
const TICK: Duration = Duration::from_millis(2);

/// What compiled code depends on: the same for whoever compiles and whoever runs.
fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK).async_stack_size(STACK_WITH_HOST);
    config.memory_reservation(MEMORY_RESERVED).memory_guard_size(GUARD);
    config.wasm_memory64(false);
    config
}

/// An engine that only compiles.
pub fn compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// An engine that runs: from a pool of memories prepared once, or one by one where the machine does not grant the address space.
pub fn running() -> wasmtime::Result<Engine> {
    let mut pooled = config();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    Engine::new(&pooled).or_else(|_| Engine::new(&config()))
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 16)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES * 4)
        .total_stacks(INSTANCES)
        .max_memory_size(MEMORY_RESERVED as usize)
        .table_elements(TABLE_ELEMENTS)
        // Composed components bring many small modules.
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        .max_tables_per_module(8)
        .max_memories_per_module(2)
        .max_unused_warm_slots(64);
    pool
}

/// Counts programs that run and ticks while there are any; sleeps otherwise.
pub struct Ticker {
    shared: Arc<Mutex<Ticking>>,
    thread: Thread,
}

#[derive(Default)]
struct Ticking {
    running: usize,
    stopped: bool,
}

/// A program that runs. Dropped when it has ended.
pub struct Running(Arc<Mutex<Ticking>>);

impl Ticker {
    pub fn new(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Mutex::new(Ticking::default()));
        let (seen, engine) = (shared.clone(), engine.clone());
        let thread = std::thread::Builder::new().name("wasm-ticks".into()).spawn(move || {
            loop {
                let (running, stopped) = {
                    let seen = seen.lock();
                    (seen.running, seen.stopped)
                };
                match (stopped, running) {
                    (true, _) => return,
                    (false, 0) => std::thread::park(),
                    _ => {
                        std::thread::sleep(TICK);
                        engine.increment_epoch();
                    }
                }
            }
        })?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    pub fn begin(&self) -> Running {
        let first = {
            let mut shared = self.shared.lock();
            shared.running += 1;
            shared.running == 1
        };
        if first {
            self.thread.unpark();
        }
        Running(self.shared.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.thread.unpark();
    }
}
