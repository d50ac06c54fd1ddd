//! What a guest holds, counted: memory in all its linear memories together, elements in all its tables together,
//! instances. How much it may hold is the configuration's.

use wasmtime::ResourceLimiter;

use crate::config::PluginConfig;
use crate::config::limits::Limit;

/// Keeps count of what one guest holds. wasmtime's own `StoreLimits` limits each memory, and thereby not their sum.
#[derive(Debug)]
pub(super) struct Limits {
    memory: Account,
    table_elements: Account,
    instances: usize,
    tables: usize,
    memories: usize,
}

/// What is held of one thing.
#[derive(Debug)]
struct Account {
    most: usize,
    held: usize,
    /// What was allowed last, which may still fail.
    growth: usize,
    refused: bool,
}

impl Account {
    fn new(most: u64) -> Self {
        Self { most: usize::try_from(most).unwrap_or(usize::MAX), held: 0, growth: 0, refused: false }
    }

    /// Answers whether one of several may grow, and counts it as grown.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        // Beyond the maximum that the guest itself has declared it will not grow.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        let growth = desired.saturating_sub(current);
        let held = self.held.saturating_add(growth);
        if held > self.most {
            self.refused = true;
            return false;
        }
        self.held = held;
        self.growth = growth;
        true
    }

    /// What was allowed last did not come about.
    fn take_back(&mut self) {
        self.held = self.held.saturating_sub(std::mem::take(&mut self.growth));
    }
}

impl Limits {
    pub(super) fn new(config: &PluginConfig) -> Self {
        let count = |limit| usize::try_from(config.limits[limit]).unwrap_or(usize::MAX);
        Self {
            memory: Account::new(config.memory_bytes),
            table_elements: Account::new(config.limits[Limit::TableElements]),
            instances: count(Limit::Instances),
            tables: count(Limit::Tables),
            memories: count(Limit::Memories),
        }
    }

    /// Begins a call: what was refused before it has been coped with.
    pub(super) fn begin(&mut self) {
        self.memory.refused = false;
        self.table_elements.refused = false;
    }

    /// How much linear memory the guest holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.memory.held
    }

    /// What it wanted more of than it may have during this call, with how much that is.
    pub(super) fn refused(&self) -> Option<String> {
        let memory = || format!("memory than its limit of {}", bytesize::ByteSize(self.memory.most as u64));
        let elements = || format!("table elements than its limit of {}", self.table_elements.most);
        (self.memory.refused.then(memory)).or_else(|| self.table_elements.refused.then(elements))
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.memory.grow(current, desired, maximum))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.table_elements.grow(current, desired, maximum))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
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
            let mut limits = Limits::new(&PluginConfig { memory_bytes: most, ..PluginConfig::default() });
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
