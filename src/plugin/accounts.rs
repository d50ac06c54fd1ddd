//! The accounts of one plugin, which its instances share one after the other: neither a restart nor a new version or
//! configuration renews them.

pub(crate) mod denials;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod skips;
pub(crate) mod statistics;
pub(crate) mod times;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::log::PluginLog;
use self::memory::TotalMemory;
use self::skips::ReportedSkips;
use self::statistics::Counters;
use self::times::ModuleTimes;
use crate::config::limits::{Limit, Limits};
use crate::plugin::build::footprint::Footprint;
use crate::plugin::client_slot::ClientSlot;
use crate::plugin::guest::fault::{Fault, FaultKind};
use crate::plugin::offload::permits::Permits;
use crate::plugin::offload::pool::OffloadPool;
use crate::sample::{SeriesAccount, SeriesTable};
use crate::state_directory::plugin_states::{PluginState, PluginStates};

/// How many series a plugin may have at a time, for each metric that a result may have: those of the last samples, which sinks
/// may not have written yet, may all be different.
const SERIES_PER_METRIC: usize = 10;

/// The accounts of all plugins together, their states, and how all of them connect.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedAccounts {
    pub(crate) client: Arc<ClientSlot>,
    pub(crate) series: Arc<SeriesTable>,
    pub(crate) memory: Arc<TotalMemory>,
    /// In memory unless the agent keeps them.
    pub(crate) states: PluginStates,
}

/// The accounts of one plugin.
pub(crate) struct Accounts {
    /// The allowance of log lines.
    pub(crate) log: PluginLog,
    /// The parts that its results leave out.
    pub(crate) skips: ReportedSkips,
    /// The same, where they are absent.
    pub(crate) absences: ReportedSkips,
    /// The permits for operations that may hang.
    pub(crate) permits: Arc<Permits>,
    /// The series that its results may have.
    pub(crate) series: Arc<SeriesAccount>,
    /// The times of its modules.
    pub(crate) times: Arc<ModuleTimes>,
    /// The memory of all plugins.
    pub(crate) memory: Arc<TotalMemory>,
    /// What it keeps.
    pub(crate) state: Arc<PluginState>,
    pub(crate) counters: Counters,
}

impl Accounts {
    /// The accounts of a plugin whose operations run on this pool.
    pub(crate) fn new(plugin: &Arc<str>, limits: &Limits, shared: &SharedAccounts, pool: &OffloadPool) -> Self {
        Self {
            log: PluginLog::new(Arc::clone(plugin), limits[Limit::LogLines]),
            skips: ReportedSkips::default(),
            absences: ReportedSkips::default(),
            permits: Arc::new(Permits::new(pool.clone())),
            series: SeriesAccount::new(Arc::clone(&shared.series), series_limit(limits)),
            times: Arc::default(),
            memory: Arc::clone(&shared.memory),
            state: shared.states.state(plugin),
            counters: Counters::default(),
        }
    }

    /// Follows the limits of a new configuration.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        self.log.set_limit(limits[Limit::LogLines]);
        self.series.set_limit(series_limit(limits));
    }

    /// Returns whether an instance may hold so much more memory, and counts it.
    pub(crate) fn hold_memory(&self, bytes: u64) -> bool {
        let is_held = self.memory.hold(bytes);
        if is_held {
            self.counters.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        is_held
    }

    /// Counts memory that an instance has released.
    pub(crate) fn release_memory(&self, bytes: u64) {
        self.counters.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.memory.release(bytes);
    }
}

/// The memory that the code of a plugin may have: as much as the plugin's limit, and as is left for all plugins together.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) limit_bytes: u64,
}

impl Admission {
    /// Counts the memory of code that is about to be loaded.
    ///
    /// # Errors
    ///
    /// When that, or the start of an instance of it, would exceed a limit.
    pub(crate) fn admit(&self, footprint: Footprint) -> Result<HeldMemory, Fault> {
        let Self { accounts, limit_bytes } = self;
        if footprint.total_bytes() > *limit_bytes {
            return Err(
                footprint.fault(FaultKind::Memory, &format!("its limit of {}", bytesize::ByteSize(*limit_bytes)))
            );
        }
        let bytes = footprint.loaded_bytes();
        if !accounts.hold_memory(bytes) {
            return Err(footprint.fault(FaultKind::Capacity, &accounts.memory.limit_text()));
        }
        Ok(HeldMemory { accounts: Arc::clone(accounts), bytes })
    }
}

/// Memory that is counted for a plugin, until this is dropped.
pub(crate) struct HeldMemory {
    accounts: Arc<Accounts>,
    bytes: u64,
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.accounts.release_memory(self.bytes);
    }
}

fn series_limit(limits: &Limits) -> usize {
    usize::try_from(limits[Limit::Metrics]).unwrap_or(usize::MAX).saturating_mul(SERIES_PER_METRIC)
}
