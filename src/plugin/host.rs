//! The host's side of a guest: the imports of its world, one file per capability, and their state. Each capability checks the
//! grants, has limits of its own and returns typed errors. None waits longer than the call of the guest.

pub(crate) mod state;
pub(crate) mod connection;
pub(crate) mod datagram_socket;
mod log;
pub(crate) mod files;
mod kernel_files;
mod stopwatch;
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
pub(crate) mod certificate;
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
    use crate::plugin::build::probe;
    use crate::plugin::guest::engine_options::{EngineOptions, Purpose, compiler};
    use crate::plugin::guest::instance::unfit;

    /// An agent of 0.2.0, with as much of the interface as its guests here use.
    mod agent {
        #![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated")]

        wasmtime::component::bindgen!({
            inline: "
                package gauged:plugin@0.2.0;
                interface files { read: func(); }
                interface collector { describe: func(); }
                world plugin { import files; export collector; }
            ",
        });
    }

    struct Host;

    impl agent::gauged::plugin0_2_0::files::Host for Host {
        fn read(&mut self) {}
    }

    /// Takes a plugin as the agent of 0.2.0 does: by its exports, then by its imports.
    fn take(version: &str, imports: &[(&str, &[&str])]) -> Result<(), String> {
        let imports = imports.iter().map(|(interface, functions)| {
            let exports = functions.iter().map(|function| format!("(export \"{function}\" (func))"));
            let exports = exports.collect::<Vec<_>>().concat();
            format!("(import \"gauged:plugin/{interface}@{version}\" (instance {exports}))")
        });
        let text = format!(
            "(component {}
               (core module $code (func (export \"describe\")))
               (core instance $code (instantiate $code))
               (func $describe (canon lift (core func $code \"describe\")))
               (instance $collector (export \"describe\" (func $describe)))
               (export \"gauged:plugin/collector@{version}\" (instance $collector)))",
            imports.collect::<Vec<_>>().concat()
        );
        let bytes = wat::parse_str(text).expect("valid WAT");
        let component = probe::to_component_for("0.2.0", &bytes)?;
        let engine = compiler(EngineOptions::detect(Purpose::Serve)).expect("this machine runs guests");
        let component = Component::from_binary(&engine, &component).expect("compiled");
        let mut linker = Linker::new(&engine);
        agent::Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Host| host).expect("new names");
        let plugin = linker.instantiate_pre(&component).and_then(agent::PluginPre::new);
        plugin.map(drop).map_err(|error| unfit(&error).text())
    }

    #[test]
    fn later_release_without_new_imports_is_taken() {
        for version in ["0.2.0", "0.2.1", "0.2.17"] {
            assert_eq!(take(version, &[("files", &["read"])]), Ok(()), "{version}");
            assert_eq!(take(version, &[]), Ok(()), "{version}");
        }
    }

    #[test]
    fn imports_of_later_release_are_refused_by_name() {
        for (imports, names) in [
            (&[("files", &["read", "stat"][..])][..], ["gauged:plugin/files@0.2.1", "`stat`"]),
            (&[("files", &["read"]), ("events", &["next"])], ["gauged:plugin/events@0.2.1", "`next`"]),
        ] {
            let why = take("0.2.1", imports).expect_err("this agent does not have it");
            assert!(names.iter().all(|name| why.contains(name)), "{why}");
            assert!(why.contains("; update the agent, or rebuild it with the WIT of this agent"), "{why}");
        }
    }

    #[test]
    fn candidates_and_other_lines_are_refused_by_version() {
        for (version, remedy) in [
            ("0.2.0-rc.4", "; rebuild it for 0.2.0"),
            ("0.2.1-rc.1", "; rebuild it for 0.2.0"),
            ("0.3.0", "; update the agent, or build the plugin for 0.2.0"),
        ] {
            let why = take(version, &[("files", &["read"])]).expect_err("it is another one");
            assert!(why.contains(&format!("gauged:plugin {version}")) && why.contains(remedy), "{why}");
        }
    }
}
