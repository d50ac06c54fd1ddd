//! The host's side of one guest: its plugin, its limits, its connections, and the time of the call under way.

use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;

use crate::plugin::context::PluginContext;
use crate::plugin::guest::limits::GuestLimits;

/// The part of a call's time that is left to the guest when a capability runs out of time: a tenth.
const MARGIN: u32 = 10;

/// The host's side of one guest.
pub(crate) struct HostState {
    pub(crate) limits: GuestLimits,
    pub(crate) plugin: PluginContext,
    /// The open connections.
    pub(crate) table: ResourceTable,
    /// When the current call ends.
    deadline: Instant,
    /// When capabilities stop waiting, so that the guest can still return the error.
    pub(crate) patience: Instant,
}

impl HostState {
    /// The state of a guest of this plugin.
    pub(crate) fn new(plugin: &PluginContext) -> Self {
        let now = Instant::now();
        Self {
            limits: GuestLimits::new(&plugin.config),
            plugin: plugin.clone(),
            table: ResourceTable::new(),
            deadline: now,
            patience: now,
        }
    }

    /// The plugin that the guest is an instance of.
    pub(crate) fn context(&self) -> &PluginContext {
        &self.plugin
    }

    /// Begins a call with this time limit.
    pub(crate) fn begin(&mut self, timeout: Duration) {
        let now = Instant::now();
        self.deadline = now + timeout;
        self.patience = now + timeout / MARGIN * (MARGIN - 1);
        self.limits.begin();
    }

    /// When an operation with this time limit stops waiting.
    pub(crate) fn until(&self, timeout: Option<Duration>) -> Instant {
        timeout.map_or(self.patience, |timeout| self.patience.min(Instant::now() + timeout))
    }

    /// Whether the time of the current call is over.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}
