//! What a guest sees of the agent: the imports of its world, one file per capability, and the state behind them. Each
//! checks the grants, has limits of its own and answers with typed errors; none of them can be made to wait longer than
//! the call that it serves.

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
pub(super) use files::may_size;
pub(super) use log::PluginLog;
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use net::Connection;
pub(super) use offload::Permits;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};

use super::bindings;
use super::context::PluginContext;
use super::engine::Engine;
use super::limits::Limits;

/// What a guest may still do when a capability of its has run out of time: a tenth of its call's time.
const MARGIN: u32 = 10;

/// The host's side of one guest.
pub(super) struct State {
    pub(super) limits: Limits,
    plugin: PluginContext,
    /// Its open connections.
    table: ResourceTable,
    /// When the current call is over.
    deadline: Instant,
    /// When the capabilities give up waiting, so that the guest can still say so.
    patience: Instant,
}

impl State {
    /// The state of a guest of this plugin.
    pub(super) fn new(plugin: &PluginContext) -> Self {
        let now = Instant::now();
        Self {
            limits: Limits::new(&plugin.config),
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

    /// When a capability that is given so long for an operation gives up.
    fn until(&self, timeout: Option<Duration>) -> Instant {
        timeout.map_or(self.patience, |timeout| self.patience.min(Instant::now() + timeout))
    }

    /// Whether the current call has had its time.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

impl bindings::gauged::plugin::metrics::Host for State {}

/// Everything that a component may import, linked: the contract's capabilities, and inert stubs for as much of WASI as
/// it asks for.
///
/// # Errors
///
/// When it imports something else.
pub(super) fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine.wasmtime());
    bindings::Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    wasi::add_to_linker(&mut linker, engine, component)?;
    Ok(linker)
}
