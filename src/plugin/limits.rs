//! What a guest may hold: memory in all its linear memories together, tables, instances. The numbers leave room for a
//! Python guest (33 to 64 core instances, 4 tables with 5,674 elements, 1 memory) and for nothing much larger.

use wasmtime::ResourceLimiter;

/// Core instances in one component.
const INSTANCES: usize = 64;

/// Tables in one component.
const TABLES: usize = 8;

/// Elements in one table.
const TABLE_ELEMENTS: usize = 20_000;

/// Linear memories in one component.
const MEMORIES: usize = 2;

/// What one host call or one result may bring out of the guest: a thousand metrics with their names and labels take 200
/// KiB.
pub(super) const HOSTCALL_BYTES: usize = 4 << 20;

/// Handles to the host's resources that a guest may hold at a time.
pub(super) const HANDLES: usize = 1000;

/// Keeps count of what one guest holds. wasmtime's own `StoreLimits` limits each memory, and thereby not their sum.
#[derive(Debug)]
pub(super) struct Limits {
    most_bytes: usize,
    held_bytes: usize,
    /// What was allowed last, which may still fail.
    growth_bytes: usize,
    refused: bool,
}

impl Limits {
    pub(super) fn new(memory_bytes: u64) -> Self {
        Self {
            most_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
            held_bytes: 0,
            growth_bytes: 0,
            refused: false,
        }
    }

    /// Begins a call: what was refused before it has been coped with.
    pub(super) fn begin(&mut self) {
        self.refused = false;
    }

    /// How much linear memory the guest holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// How much linear memory it may hold.
    pub(super) fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// Whether it wanted more than it may have during this call.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond the maximum that the guest itself has declared the memory will not grow.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let growth = desired.saturating_sub(current);
        let held = self.held_bytes.saturating_add(growth);
        if held > self.most_bytes {
            self.refused = true;
            return Ok(false);
        }
        self.held_bytes = held;
        self.growth_bytes = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.held_bytes = self.held_bytes.saturating_sub(std::mem::take(&mut self.growth_bytes));
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However many memories grow in whatever steps, together they never hold more than the limit.
        #[test]
        fn memories_are_limited_together(
            most in 0_u64..1000,
            steps in prop::collection::vec((0_usize..3, 0_usize..400, any::<bool>()), 1..40),
            maximum in prop::option::of(0_usize..500),
        ) {
            let mut limits = Limits::new(most);
            let mut sizes = [0_usize; 3];
            for (memory, by, fails) in steps {
                let desired = sizes[memory] + by;
                if limits.memory_growing(sizes[memory], desired, maximum).expect("decides") {
                    prop_assert!(maximum.is_none_or(|maximum| desired <= maximum));
                    if fails {
                        limits.memory_grow_failed(wasmtime::Error::msg("no memory")).expect("copes");
                    } else {
                        sizes[memory] = desired;
                    }
                }
                prop_assert_eq!(limits.held_bytes(), sizes.iter().sum::<usize>());
                prop_assert!(limits.held_bytes() as u64 <= most);
            }
        }
    }
}
