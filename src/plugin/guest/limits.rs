//! The resources that a guest holds, counted and limited: the bytes of all its linear memories, tables and instances, the
//! elements of all its tables, its instances. The configuration has the limits.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::config::PluginConfig;
use crate::config::limits::Limit;
use crate::plugin::accounts::Accounts;
use crate::plugin::build::footprint::{ELEMENT_BYTES, Footprint};
use crate::plugin::guest::fault::{Fault, FaultKind};
use crate::plugin::shortage::ExplainedShortage;

/// The resources of one guest. wasmtime's own `StoreLimits` limits each memory, not their sum, and no instances' state.
pub(crate) struct GuestLimits {
    /// The accounts of the plugin, which all its instances share.
    accounts: Arc<Accounts>,
    memory: Account,
    /// The part of it that the plugin's code holds, whatever instances there are.
    code_bytes: usize,
    /// The part of it that is the state which the plugin keeps.
    state_bytes: usize,
    table_elements: Account,
    /// Whether the memory of all plugins together was not enough for a growth during this call.
    was_capacity_refused: bool,
    /// The last growth, as it was counted; it may still fail.
    growth: Growth,
    instances: usize,
    tables: usize,
    memories: usize,
    /// Why the host did not grow a memory or table during this call.
    failed_growth: Option<ExplainedShortage>,
}

/// The growth of a memory or table.
#[derive(Debug, Clone, Copy, Default)]
struct Growth {
    bytes: usize,
    elements: usize,
}

/// The account of one resource.
#[derive(Debug)]
struct Account {
    limit: usize,
    held: usize,
    /// Whether a growth was refused during this call.
    was_refused: bool,
}

impl Account {
    fn new(limit: u64) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), held: 0, was_refused: false }
    }

    /// Returns whether so much more may be held.
    fn admits(&mut self, growth: usize) -> bool {
        let is_admitted = self.held.saturating_add(growth) <= self.limit;
        self.was_refused |= !is_admitted;
        is_admitted
    }
}

impl GuestLimits {
    /// The limits of a guest without instances.
    pub(crate) fn new(config: &PluginConfig, accounts: Arc<Accounts>) -> Self {
        let count = |limit| usize::try_from(config.limits[limit]).unwrap_or(usize::MAX);
        Self {
            accounts,
            memory: Account::new(config.memory_bytes),
            code_bytes: 0,
            state_bytes: 0,
            table_elements: Account::new(config.limits[Limit::TableElements]),
            was_capacity_refused: false,
            growth: Growth::default(),
            instances: count(Limit::Instances),
            tables: count(Limit::Tables),
            memories: count(Limit::Memories),
            failed_growth: None,
        }
    }

    /// Counts the instances that are about to be made, against the plugin's limit with their code.
    ///
    /// # Errors
    ///
    /// When they do not fit into the memory that the plugin, or all plugins together, may have.
    pub(crate) fn hold(&mut self, footprint: Footprint) -> Result<(), Fault> {
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        // Its code is there already, and counted.
        self.code_bytes = size(footprint.loaded_bytes());
        let code_fits = self.memory.admits(self.code_bytes);
        self.memory.held = self.memory.held.saturating_add(self.code_bytes);
        if code_fits && self.grow(Growth { bytes: size(footprint.instance_bytes), elements: 0 }) {
            self.growth = Growth::default();
            return Ok(());
        }
        Err(footprint.fault(self.fault_kind(), &self.refused_limit().unwrap_or_default()))
    }

    /// Counts the state that the plugin keeps, in place of the one before. Returns whether it fits: if not, the one before counts.
    pub(crate) fn hold_state(&mut self, bytes: usize) -> bool {
        let before = self.state_bytes;
        if let Some(more) = bytes.checked_sub(before) {
            let fits = self.memory.held.saturating_add(more) <= self.memory.limit;
            if !(fits && self.accounts.hold_memory(more as u64)) {
                return false;
            }
        } else {
            self.accounts.release_memory((before - bytes) as u64);
        }
        (self.memory.held, self.state_bytes) = (self.memory.held - before + bytes, bytes);
        true
    }

    /// Counts memory that the host holds for the guest, such as the buffers of an encrypted connection.
    ///
    /// # Errors
    ///
    /// The limit that it exceeds. That is no fault.
    pub(crate) fn hold_for_guest(&mut self, bytes: usize) -> Result<(), String> {
        if self.memory.held.saturating_add(bytes) > self.memory.limit {
            return Err(format!("the plugin's limit of {}", bytesize::ByteSize(self.memory.limit as u64)));
        }
        if !self.accounts.hold_memory(bytes as u64) {
            return Err(self.accounts.memory.limit_text());
        }
        self.memory.held += bytes;
        Ok(())
    }

    /// Counts memory that the host has held for the guest as free.
    pub(crate) fn release_for_guest(&mut self, bytes: usize) {
        self.memory.held = self.memory.held.saturating_sub(bytes);
        self.accounts.release_memory(bytes as u64);
    }

    /// Begins a call: the guest has survived earlier refusals.
    pub(crate) fn begin(&mut self) {
        self.memory.was_refused = false;
        self.table_elements.was_refused = false;
        self.was_capacity_refused = false;
        self.failed_growth = None;
    }

    /// The shortage for which a memory or table did not grow during this call: a guest that needs the growth traps.
    pub(crate) fn failed_growth(&self) -> Option<ExplainedShortage> {
        self.failed_growth.clone()
    }

    /// The bytes that it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.memory.held
    }

    /// The fault of a call in which more was refused, if that is why it failed.
    pub(crate) fn fault(&self, call: &str) -> Option<Fault> {
        let limit = self.refused_limit()?;
        let is_memory = self.memory.was_refused || self.was_capacity_refused;
        let resource = if is_memory { "memory" } else { "table elements" };
        Some(Fault { kind: self.fault_kind(), message: format!("{call} needed more {resource} than {limit}") })
    }

    fn fault_kind(&self) -> FaultKind {
        let is_own = self.memory.was_refused || self.table_elements.was_refused;
        if is_own { FaultKind::Memory } else { FaultKind::Capacity }
    }

    /// The limit for which something was refused during this call.
    fn refused_limit(&self) -> Option<String> {
        let size = |bytes| bytesize::ByteSize(bytes);
        if self.memory.was_refused {
            Some(format!("its limit of {}", size(self.memory.limit as u64)))
        } else if self.was_capacity_refused {
            Some(self.accounts.memory.limit_text())
        } else {
            self.table_elements.was_refused.then(|| format!("its limit of {}", self.table_elements.limit))
        }
    }

    /// Returns whether something may grow, and counts it as grown.
    fn grow(&mut self, growth: Growth) -> bool {
        self.growth = Growth::default();
        if !(self.table_elements.admits(growth.elements) && self.memory.admits(growth.bytes)) {
            return false;
        }
        if !self.accounts.hold_memory(growth.bytes as u64) {
            self.was_capacity_refused = true;
            return false;
        }
        self.memory.held += growth.bytes;
        self.table_elements.held += growth.elements;
        self.growth = growth;
        true
    }

    /// Reverts the last growth, which failed.
    fn revert_growth(&mut self, error: &wasmtime::Error) {
        self.failed_growth = ExplainedShortage::behind(error).or_else(|| self.failed_growth.take());
        let Growth { bytes, elements } = std::mem::take(&mut self.growth);
        self.memory.held = self.memory.held.saturating_sub(bytes);
        self.table_elements.held = self.table_elements.held.saturating_sub(elements);
        self.accounts.release_memory(bytes as u64);
    }
}

impl Drop for GuestLimits {
    fn drop(&mut self) {
        self.accounts.release_memory(self.memory.held.saturating_sub(self.code_bytes) as u64);
    }
}

/// By how much something grows; none when the guest itself has declared that it does not become so large.
fn wanted(current: usize, desired: usize, maximum: Option<usize>) -> Option<usize> {
    let is_declared = maximum.is_none_or(|maximum| desired <= maximum);
    is_declared.then(|| desired.saturating_sub(current))
}

impl ResourceLimiter for GuestLimits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = wanted(current, desired, maximum);
        Ok(bytes.is_some_and(|bytes| self.grow(Growth { bytes, elements: 0 })))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.revert_growth(&error);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let Some(elements) = wanted(current, desired, maximum) else { return Ok(false) };
        let bytes = elements.saturating_mul(usize::try_from(ELEMENT_BYTES).unwrap_or(usize::MAX));
        Ok(self.grow(Growth { bytes, elements }))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.revert_growth(&error);
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
    use std::sync::atomic::Ordering;

    use proptest::prelude::*;

    use super::*;
    use crate::config::limits::Limits;
    use crate::plugin::accounts::SharedAccounts;
    use crate::plugin::offload::pool::OffloadPool;

    fn accounts() -> Arc<Accounts> {
        static POOL: LazyLock<OffloadPool> = LazyLock::new(|| OffloadPool::start().expect("threads"));
        Arc::new(Accounts::new(&"test".into(), &Limits::default(), &SharedAccounts::default(), &POOL))
    }

    #[test]
    fn state_is_memory_of_the_instance() {
        let config = PluginConfig { memory_bytes: 100, ..PluginConfig::default() };
        let accounts = accounts();
        let mut limits = GuestLimits::new(&config, Arc::clone(&accounts));
        assert!(limits.memory_growing(0, 40, None).expect("decides"));
        for (bytes, fits, held) in [(60, true, 100), (61, false, 100), (10, true, 50), (0, true, 40), (60, true, 100)] {
            assert_eq!((limits.hold_state(bytes), limits.held_bytes()), (fits, held), "{bytes}");
            assert_eq!(accounts.counters.memory_bytes.load(Ordering::Relaxed), held as u64);
        }
        assert!(limits.fault("collect").is_none(), "a refused state is an error, not a fault");
        drop(limits);
        assert_eq!(accounts.counters.memory_bytes.load(Ordering::Relaxed), 0);
    }

    proptest! {
        /// Together the memories never hold more than the limit, however they grow.
        #[test]
        fn memories_are_limited_together(
            most in 0_u64..1000,
            steps in prop::collection::vec((0_usize..4, 0_usize..400, any::<bool>()), 1..40),
            maximum in prop::option::of(0_usize..500),
        ) {
            let config = PluginConfig { memory_bytes: most, ..PluginConfig::default() };
            let accounts = accounts();
            let mut limits = GuestLimits::new(&config, Arc::clone(&accounts));
            // The last one is the host's, for the guest.
            let mut sizes = [0_usize; 4];
            for (memory, by, fails) in steps {
                if memory == 3 {
                    let freed = if fails { std::mem::take(&mut sizes[memory]) } else { 0 };
                    limits.release_for_guest(freed);
                    if limits.hold_for_guest(by).is_ok() {
                        sizes[memory] += by;
                    }
                    prop_assert!(limits.fault("a call").is_none() || limits.memory.was_refused);
                    continue;
                }
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
