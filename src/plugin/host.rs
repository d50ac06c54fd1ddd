//! The host's side of a guest: the imports of its world, one file per capability, and their state. Each capability checks the
//! grants, has limits of its own and returns typed errors. None waits longer than the call of the guest.

mod files;
mod http;
mod log;
mod net;
mod wasi;
mod denial;
mod dial;
mod offload;
mod resolved_path;
mod tls;

use std::time::{Duration, Instant};

pub(super) use denial::{GrantKind, ReportedDenials, grant_line};
pub(super) use files::is_usage_granted;
pub(super) use log::PluginLog;
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use net::Connection;
pub(super) use offload::Permits;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};

use super::bindings;
use super::context::PluginContext;
use super::engine::Engine;
use super::limits::GuestLimits;

/// The part of a call's time that is left to the guest when a capability runs out of time: a tenth.
const MARGIN: u32 = 10;

/// The host's side of one guest.
pub(super) struct HostState {
    pub(super) limits: GuestLimits,
    plugin: PluginContext,
    /// The open connections.
    table: ResourceTable,
    /// When the current call ends.
    deadline: Instant,
    /// When capabilities stop waiting, so that the guest can still return the error.
    patience: Instant,
}

impl HostState {
    /// The state of a guest of this plugin.
    pub(super) fn new(plugin: &PluginContext) -> Self {
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
    pub(super) fn context(&self) -> &PluginContext {
        &self.plugin
    }

    /// Begins a call with this time limit.
    pub(super) fn begin(&mut self, timeout: Duration) {
        let now = Instant::now();
        self.deadline = now + timeout;
        self.patience = now + timeout / MARGIN * (MARGIN - 1);
        self.limits.begin();
    }

    /// When an operation with this time limit stops waiting.
    fn until(&self, timeout: Option<Duration>) -> Instant {
        timeout.map_or(self.patience, |timeout| self.patience.min(Instant::now() + timeout))
    }

    /// Whether the time of the current call is over.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

impl bindings::gauged::plugin::metrics::Host for HostState {}

/// A linker with all that a component may import: the capabilities of `gauged:plugin`, and inert stubs for its imports from
/// WASI.
///
/// # Errors
///
/// When a stub is impossible.
pub(super) fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine.wasmtime());
    bindings::Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    wasi::add_to_linker(&mut linker, engine, component)?;
    Ok(linker)
}
