//! The memory one invocation may have: all its linear memories together, and tables within what the pool has.

use wasmtime::{ResourceLimiter, Result};

use crate::engine::TABLE_ELEMENTS;

/// Counts memory as it grows. A program that wants more than it may have is ended, as the kernel would end a process.
pub struct Limits {
    most_bytes: usize,
    pub bytes: usize,
    pub exceeded: bool,
}

impl Limits {
    pub fn new(most_bytes: usize) -> Self {
        Self { most_bytes, bytes: 0, exceeded: false }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let total = self.bytes.saturating_add(desired.saturating_sub(current));
        if total > self.most_bytes {
            self.exceeded = true;
            return Err(wasmtime::format_err!("the memory of {} bytes is used up", self.most_bytes));
        }
        self.bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
