//! The host's side of a guest: the imports of its world, one file per capability, and their state. Each capability checks the
//! grants, has limits of its own and returns typed errors. None waits longer than the call of the guest.

pub(crate) mod state;
pub(crate) mod connection;
mod log;
pub(crate) mod files;
mod kernel_files;
mod own_view;
mod http;
mod net;
mod wasi;
pub(crate) mod output;
mod denial;
mod dial;
pub(crate) mod ration;
mod resolved_path;
mod tls;

use wasmtime::component::{Component, HasSelf, Linker};

use crate::plugin::guest::bindings;
use crate::plugin::guest::engine::Engine;
use crate::plugin::host::state::HostState;

impl bindings::gauged::plugin::metrics::Host for HostState {}

/// A linker with all that a component may import: the capabilities of `gauged:plugin`, and inert stubs for its imports from
/// WASI.
///
/// # Errors
///
/// When a stub is impossible.
pub(crate) fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine.wasmtime());
    bindings::Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    wasi::add_to_linker(&mut linker, engine, component)?;
    Ok(linker)
}
