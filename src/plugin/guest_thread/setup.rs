//! The parts of the agent that every guest thread is made of, one after the other. They outlast a thread that hangs: the next one
//! continues the counters.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{AgentLimits, Config};
use crate::plugin::accounts::statistics::FaultTotals;
use crate::plugin::accounts::{Accounts, SharedAccounts};
use crate::plugin::build::ledger::Ledger;
use crate::plugin::capacity::default_memory_bytes;
use crate::plugin::client_slot::Clients;
use crate::plugin::context::PluginContext;
use crate::plugin::guest::engine::Engine;
use crate::plugin::guest::engine_options::Purpose;
use crate::plugin::guest::fault::FaultKind;
use crate::plugin::offload::pool::OffloadPool;
use crate::sample::{NativeMetric, SeriesTable, Text, Values};
use crate::state_directory::plugin_states::PluginStates;

/// The parts that guest threads share.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    pub(crate) shared: SharedAccounts,
    /// The modules of the agent's own collectors.
    pub(crate) natives: Arc<[Text]>,
    /// The agent's metrics, those about plugins among them.
    pub(crate) metrics: &'static [NativeMetric],
    pub(crate) accounts: Arc<AllAccounts>,
    pub(crate) faults: Arc<FaultTotals>,
    pub(crate) loads: Arc<LoadCounters>,
    pool: Arc<Mutex<Option<OffloadPool>>>,
    /// The engine of the last guest thread, for one that cannot start its own.
    engine: Arc<Mutex<Option<Engine>>>,
}

/// How files became code so far.
#[derive(Debug)]
pub(crate) struct LoadCounters {
    pub(crate) compilations: Arc<Ledger>,
    pub(crate) cache_hits: Arc<AtomicU64>,
}

impl LoadCounters {
    pub(crate) fn new(limits: &AgentLimits) -> Self {
        Self { compilations: Arc::new(Ledger::new(limits)), cache_hits: Arc::default() }
    }
}

/// The accounts of all plugins that there are.
#[derive(Default)]
pub(crate) struct AllAccounts {
    /// Behind a lock because a guest thread that hangs has them, too; it is held to look one up.
    accounts: Mutex<BTreeMap<Arc<str>, Arc<Accounts>>>,
}

impl Setup {
    pub(crate) fn new(
        config: Arc<Config>,
        series: Arc<SeriesTable>,
        natives: Vec<Text>,
        metrics: &'static [NativeMetric],
        states: PluginStates,
    ) -> Self {
        Self {
            shared: SharedAccounts { series, states, ..SharedAccounts::default() },
            loads: Arc::new(LoadCounters::new(&config.limits)),
            config,
            natives: natives.into(),
            metrics,
            accounts: Arc::default(),
            faults: Arc::default(),
            pool: Arc::default(),
            engine: Arc::default(),
        }
    }

    /// The same with another configuration, with which the agent has these modules of its own.
    pub(crate) fn with_config(&self, config: Arc<Config>, natives: Arc<[Text]>) -> Self {
        Self { config, natives, ..self.clone() }
    }

    /// Puts into effect what the configuration has for all plugins together: how they connect, and what they may hold, of which the
    /// host has the default. Reads files of the host.
    pub(crate) fn configure_shared(&self) {
        self.shared.client.set(Clients::new(&self.config));
        let AgentLimits { memory_bytes, series, .. } = self.config.limits;
        self.shared.memory.set_limit(memory_bytes.unwrap_or_else(default_memory_bytes));
        self.shared.series.set_limit(series);
    }

    /// A new engine. Where the host gives no thread for its epochs, the one of the thread before, which hangs.
    pub(crate) fn engine(&self) -> wasmtime::Result<Engine> {
        let mut last = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        match (Engine::new(Purpose::Serve), &*last) {
            (Ok(engine), _) => Ok(last.insert(engine).clone()),
            (Err(_), Some(last)) => Ok(last.clone()),
            (Err(error), None) => Err(error),
        }
    }

    /// The threads for operations that may wait, started when they are first asked for.
    pub(crate) fn pool(&self) -> io::Result<OffloadPool> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        match &*pool {
            Some(pool) => Ok(pool.clone()),
            None => Ok(pool.insert(OffloadPool::start()?).clone()),
        }
    }
}

impl AllAccounts {
    /// The plugin with the accounts that it has had so far, if it has any, under the limits of its configuration.
    pub(crate) fn continue_in(&self, plugin: PluginContext) -> PluginContext {
        let known = self.lock().get(&plugin.name).cloned();
        if let Some(accounts) = known {
            accounts.set_limits(&plugin.config.limits);
            return PluginContext { accounts, ..plugin };
        }
        self.lock().insert(Arc::clone(&plugin.name), Arc::clone(&plugin.accounts));
        plugin
    }

    /// Ends the accounts of a plugin that was removed.
    pub(crate) fn remove(&self, plugin: &str) {
        self.lock().remove(plugin);
    }

    /// Appends the faults of all plugins, those that no guest thread has found again after one hung included.
    pub(crate) fn append_faults(&self, totals: &FaultTotals, agent: &mut Values<'_>) {
        let accounts = self.lock();
        totals.append(accounts.values().map(|accounts| &accounts.counters.faults), agent);
    }

    /// Counts a fault of a plugin whose supervisor hangs. Never waits.
    pub(crate) fn count_fault(&self, plugin: &str, kind: FaultKind) {
        let accounts = self.accounts.try_lock();
        if let Some(accounts) = accounts.ok().and_then(|accounts| accounts.get(plugin).cloned()) {
            accounts.counters.faults.add(kind);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Accounts>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
