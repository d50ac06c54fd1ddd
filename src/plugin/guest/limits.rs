//! The resources that a guest holds, counted and limited: the bytes of all its linear memories, the elements of all its
//! tables, its instances. The configuration has the limits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmtime::ResourceLimiter;

use crate::config::PluginConfig;
use crate::config::limits::Limit;
use crate::plugin::accounts::Accounts;

/// The resources of one guest. wasmtime's own `StoreLimits` limits each memory, not their sum.
pub(crate) struct GuestLimits {
    /// The accounts of the plugin, which all its instances share.
    accounts: Arc<Accounts>,
    memory: Account,
    table_elements: Account,
    instances: usize,
    tables: usize,
    memories: usize,
}

/// The account of one resource.
#[derive(Debug)]
struct Account {
    limit: usize,
    held: usize,
    /// The last growth that was allowed; it may still fail.
    growth: usize,
    /// Whether a growth was refused during this call.
    was_refused: bool,
}

impl Account {
    fn new(limit: u64) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), held: 0, growth: 0, was_refused: false }
    }

    /// Returns whether a memory or table may grow, and counts it as grown.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        // It does not grow beyond the maximum that the guest has declared.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        let growth = desired.saturating_sub(current);
        let held = self.held.saturating_add(growth);
        if held > self.limit {
            self.was_refused = true;
            return false;
        }
        self.held = held;
        self.growth = growth;
        true
    }

    /// Reverts the last growth, which failed.
    fn revert_growth(&mut self) {
        self.held = self.held.saturating_sub(std::mem::take(&mut self.growth));
    }
}

impl GuestLimits {
    pub(crate) fn new(config: &PluginConfig, accounts: Arc<Accounts>) -> Self {
        let count = |limit| usize::try_from(config.limits[limit]).unwrap_or(usize::MAX);
        Self {
            accounts,
            memory: Account::new(config.memory_bytes),
            table_elements: Account::new(config.limits[Limit::TableElements]),
            instances: count(Limit::Instances),
            tables: count(Limit::Tables),
            memories: count(Limit::Memories),
        }
    }

    /// Begins a call: the guest has survived earlier refusals.
    pub(crate) fn begin(&mut self) {
        self.memory.was_refused = false;
        self.table_elements.was_refused = false;
    }

    /// The size of the linear memories.
    pub(crate) fn held_bytes(&self) -> usize {
        self.memory.held
    }

    /// The resource of which more was refused during this call, with its limit.
    pub(crate) fn refused(&self) -> Option<String> {
        let memory = || format!("memory than its limit of {}", bytesize::ByteSize(self.memory.limit as u64));
        let elements = || format!("table elements than its limit of {}", self.table_elements.limit);
        (self.memory.was_refused.then(memory)).or_else(|| self.table_elements.was_refused.then(elements))
    }
}

impl Drop for GuestLimits {
    fn drop(&mut self) {
        self.accounts.counters.memory_bytes.fetch_sub(self.memory.held as u64, Ordering::Relaxed);
    }
}

impl ResourceLimiter for GuestLimits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let is_allowed = self.memory.grow(current, desired, maximum);
        if is_allowed {
            self.accounts.counters.memory_bytes.fetch_add(self.memory.growth as u64, Ordering::Relaxed);
        }
        Ok(is_allowed)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.accounts.counters.memory_bytes.fetch_sub(self.memory.growth as u64, Ordering::Relaxed);
        self.memory.revert_growth();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.table_elements.grow(current, desired, maximum))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements.revert_growth();
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
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::config::limits::Limits;
    use crate::plugin::offload::pool::OffloadPool;

    fn accounts() -> Arc<Accounts> {
        static POOL: LazyLock<OffloadPool> = LazyLock::new(|| OffloadPool::start().expect("threads"));
        Arc::new(Accounts::new(&"test".into(), &Limits::default(), &Arc::default(), &POOL))
    }

    proptest! {
        /// Together the memories never hold more than the limit, however they grow.
        #[test]
        fn memories_are_limited_together(
            most in 0_u64..1000,
            steps in prop::collection::vec((0_usize..3, 0_usize..400, any::<bool>()), 1..40),
            maximum in prop::option::of(0_usize..500),
        ) {
            let config = PluginConfig { memory_bytes: most, ..PluginConfig::default() };
            let accounts = accounts();
            let mut limits = GuestLimits::new(&config, Arc::clone(&accounts));
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
                prop_assert_eq!(accounts.counters.memory_bytes.load(Ordering::Relaxed), limits.held_bytes() as u64);
            }
            drop(limits);
            prop_assert_eq!(accounts.counters.memory_bytes.load(Ordering::Relaxed), 0);
        }
    }
}
