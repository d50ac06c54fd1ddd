//! The host's side of a guest: the imports of its world, one file per capability, and their state. Each capability checks the
//! grants, has limits of its own and returns typed errors. None waits longer than the call of the guest.

pub(crate) mod state;
pub(crate) mod connection;
pub(crate) mod datagram_socket;
mod log;
pub(crate) mod files;
mod kernel_files;
mod own_tasks;
mod own_view;
mod http;
mod net;
mod system;
mod plugin_state;
mod wasi;
pub(crate) mod output;
mod denial;
mod os_error;
mod dial;
pub(crate) mod ration;
mod resolved_path;
mod socket;
mod tls;
mod certificate;
mod server_end_point;

use wasmtime::component::{Component, HasSelf, Linker};

use crate::plugin::guest::bindings;
use crate::plugin::guest::engine::Engine;
use crate::plugin::host::state::HostState;

impl bindings::gauged::plugin::metrics::Host for HostState {}

impl bindings::gauged::plugin::types::Host for HostState {}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::guest::engine_options::{EngineOptions, Purpose, compiler};

    /// The interface grows by functions that later agents have, in the same line of versions. This is how an agent of 0.2.0 takes
    /// plugins that were built for 0.2.1.
    #[test]
    fn functions_of_a_later_version_are_refused_by_name() {
        let engine = compiler(EngineOptions::detect(Purpose::Serve)).expect("this machine runs guests");
        let mut linker = Linker::<()>::new(&engine);
        let mut files = linker.instance("gauged:plugin/files@0.2.0").expect("a new name");
        files.func_wrap("read", |_, (): ()| Ok(())).expect("a new name");
        let link = |version: &str, functions: &[&str]| {
            let exports = functions.iter().map(|function| format!("(export \"{function}\" (func))"));
            let exports = exports.collect::<Vec<_>>().concat();
            let text = format!("(component (import \"gauged:plugin/files@{version}\" (instance {exports})))");
            let bytes = wat::parse_str(text).expect("valid WAT");
            let component = Component::from_binary(&engine, &bytes).expect("compiled");
            linker.instantiate_pre(&component).map(drop).map_err(|error| format!("{error:#}"))
        };
        assert_eq!([link("0.2.0", &["read"]), link("0.2.1", &["read"])], [Ok(()), Ok(())], "it uses nothing new");
        let why = link("0.2.1", &["read", "stat"]).expect_err("there is no stat");
        assert!(why.contains("gauged:plugin/files@0.2.1") && why.contains("stat"), "{why}");
        for other in ["0.2.0-rc.4", "0.3.0"] {
            let why = link(other, &["read"]).expect_err("of another line");
            assert!(why.contains(other), "{why}");
        }
    }
}
