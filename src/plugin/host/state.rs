//! The host's side of one guest: its plugin, its limits, its connections, and the time of the call under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;

use crate::plugin::context::PluginContext;
use crate::plugin::guest::call_time::CallTime;
use crate::plugin::guest::limits::GuestLimits;
use crate::plugin::host::ration::Ration;

/// The host's side of one guest.
pub(crate) struct HostState {
    pub(crate) limits: GuestLimits,
    pub(crate) plugin: PluginContext,
    /// The open connections.
    pub(crate) table: ResourceTable,
    /// The bytes that they may still pass in this poll.
    pub(crate) ration: Ration,
    pub(crate) time: CallTime,
}

impl HostState {
    /// The state of a guest of this plugin.
    pub(crate) fn new(plugin: &PluginContext) -> Self {
        Self {
            limits: GuestLimits::new(&plugin.config, Arc::clone(&plugin.accounts)),
            plugin: plugin.clone(),
            table: ResourceTable::new(),
            ration: Ration::default(),
            time: CallTime::new(),
        }
    }

    /// The plugin that the guest is an instance of.
    pub(crate) fn context(&self) -> &PluginContext {
        &self.plugin
    }

    /// Begins a call with this time limit.
    pub(crate) fn begin(&mut self, timeout: Duration) {
        self.time.begin(timeout);
        self.limits.begin();
    }

    /// When an operation with this time limit stops waiting.
    pub(crate) fn until(&self, timeout: Option<Duration>) -> Instant {
        let patience = self.time.patience();
        timeout.map_or(patience, |timeout| patience.min(Instant::now() + timeout))
    }
}
