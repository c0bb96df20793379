//! Limits on what an instance may allocate: linear memory, tables, and their counts.

use wasmtime::ResourceLimiter;

/// Core instances inside one component instance. Components of Python and the like have dozens.
const INSTANCES_MAX: usize = 200;
/// Tables inside one component instance.
const TABLES_MAX: usize = 100;
/// Linear memories inside one component instance.
const MEMORIES_MAX: usize = 16;

/// Counts the memory and tables of one instance and refuses what passes its limits.
#[derive(Debug)]
pub(crate) struct MemoryLimits {
    memory_bytes_max: usize,
    table_elements_max: usize,
    memory_bytes: usize,
    table_elements: usize,
    refused: bool,
}

impl MemoryLimits {
    pub(crate) fn new(memory_bytes_max: usize, table_elements_max: usize) -> Self {
        Self { memory_bytes_max, table_elements_max, memory_bytes: 0, table_elements: 0, refused: false }
    }

    /// Whether something was refused since the last [`Self::forget`].
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    /// A new event begins: what an earlier one was refused is not its concern.
    pub(crate) fn forget(&mut self) {
        self.refused = false;
    }
}

/// The new sum if it is within the limit.
fn grown(sum: usize, current: usize, desired: usize, max: usize) -> Option<usize> {
    sum.checked_add(desired.saturating_sub(current)).filter(|grown| *grown <= max)
}

impl ResourceLimiter for MemoryLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = grown(self.memory_bytes, current, desired, self.memory_bytes_max);
        self.memory_bytes = grown.unwrap_or(self.memory_bytes);
        self.refused |= grown.is_none();
        Ok(grown.is_some())
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = grown(self.table_elements, current, desired, self.table_elements_max);
        self.table_elements = grown.unwrap_or(self.table_elements);
        self.refused |= grown.is_none();
        Ok(grown.is_some())
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_an_instance_count_together() {
        let mut limits = MemoryLimits::new(300, 10);
        assert!(limits.memory_growing(0, 100, None).unwrap());
        assert!(limits.memory_growing(0, 150, None).unwrap());
        assert!(limits.memory_growing(100, 150, None).unwrap());
        assert!(!limits.refused());
        assert!(!limits.memory_growing(150, 151, None).unwrap());
        assert!(limits.refused());
    }

    #[test]
    fn a_refused_table_is_remembered_until_the_next_event() {
        let mut limits = MemoryLimits::new(300, 10);
        assert!(!limits.table_growing(0, 11, None).unwrap());
        assert!(limits.refused());
        limits.forget();
        assert!(limits.table_growing(0, 10, None).unwrap());
        assert!(!limits.refused());
    }
}
