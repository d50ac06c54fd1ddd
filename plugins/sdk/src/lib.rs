//! Write a plugin for gauged: declare what it measures, implement [`Plugin`], and name the type in [`export!`].
//!
//! ```
//! use gauged_plugin::kernel::File;
//! use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick};
//!
//! gauged_plugin::metrics! {
//!     module "entropy";
//!     /// Random bits that the kernel has in store.
//!     AVAILABLE: gauge "available_bits" in "bit";
//! }
//!
//! struct Entropy;
//!
//! impl Plugin for Entropy {
//!     const ABOUT: About = About { version: "1.0.0", description: "The kernel's random numbers.", metrics: METRICS };
//!     type Config = NoConfig;
//!
//!     fn configure(_: NoConfig) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!
//!     fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
//!         let bits: u64 = File::read("/proc/sys/kernel/random/entropy_avail")?.number()?;
//!         sample.set(AVAILABLE, bits);
//!         Ok(())
//!     }
//! }
//!
//! gauged_plugin::export!(Entropy);
//!
//! // In a test, with a host that has what the test says:
//! use gauged_plugin::testing::{Host, Running};
//!
//! let mut host = Host::new();
//! host.file("/proc/sys/kernel/random/entropy_avail", "256\n");
//! let mut entropy = Running::<Entropy>::start(host, "{}")?;
//! assert_eq!(entropy.tick()?.render(), "entropy.available_bits 256\n");
//! # Ok::<(), Error>(())
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown`, and drop the `.wasm` file into the agent's plugins directory.
//!
//! # What there is
//!
//! | for | see |
//! |---|---|
//! | saying what is measured | [`metrics!`], [`Sample`] |
//! | settings | [`Configuration`], [`NoConfig`], [`select`] |
//! | reading what the kernel tells | [`kernel`], [`files`] |
//! | asking services | [`http`], [`net`], [`service`] |
//! | rates and shares | [`rates`], [`percent`] |
//! | telling the operator | [`Need`], [`Error`], [`log`] |
//! | tests | `testing` |
//!
//! # What goes wrong
//!
//! Each variant of [`Error`] says what the agent does next, and `?` chooses one: what is not granted becomes
//! [`Error::Denied`], what does not answer becomes [`Error::Unavailable`], a file that makes no sense becomes
//! [`Error::Internal`]. Only the plugin knows when a host will never have what it measures: it answers
//! [`Error::Unsupported`] then. A panic, too, costs no more than the tick: the agent starts the plugin afresh.
//!
//! # What it costs
//!
//! A tick costs what its calls of the host and its metrics cost: microseconds. The size of a component is memory for the
//! agent and time when it compiles: one without settings has 25 KB, one with settings 60. What Rust makes large:
//!
//! | instead of | which adds | write |
//! |---|---|---|
//! | `text.parse::<f64>()` | 19 KB | [`kernel::Number::parse`] |
//! | formatting an `f64` | 16 KB | an integer |
//! | `text.split(" ")` | 9 KB | `text.split(' ')`, or [`kernel::Line::fields`] |
//! | `{:?}` of a text | 8 KB | `{}` |
//! | `&text[at..]` | 7 KB | `text.get(at..)` |
//! | `sort`, `sort_unstable` | 6 KB, 4 KB | nothing: order is of no use to a sample |
//! | `BTreeMap`, `HashMap` | 4 KB, 5 KB | a `Vec`, where there are few |
//! | `text.find("abc")` | 3 KB | `text.find('a')`, `strip_prefix`, `split_once(':')` |
//!
//! # Tests
//!
//! On any target other than wasm the host is a script: `cargo test` needs neither an agent nor a wasm toolchain. The
//! module `testing` has the whole of it. It runs a plugin as the agent would, and holds it to the contract.

// The parts are in the order in which a plugin meets them.
pub mod descriptor;
mod sample;
mod config;
mod json;
mod need;
pub mod files;
pub mod http;
pub mod net;
pub mod log;
pub mod kernel;
pub mod rates;
mod share;
pub mod service;
pub mod select;
mod component;
mod host;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

/// The contract as generated; the names below are the ones to use.
#[doc(hidden)]
#[allow(missing_docs, clippy::pedantic, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "gauged:plugin/plugin",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "gauged_plugin::bindings",
        additional_derives: [PartialEq],
    });
}

pub use bindings::exports::gauged::plugin::collector::{Capability, Error, Invalid, Need, Tick};
pub use bindings::gauged::plugin::metrics::{Kind, Value};
pub use component::{Component, Holder};
pub use config::{Configuration, NoConfig};
pub use descriptor::Descriptor;
pub use sample::{Measured, Row, Sample};
pub use share::percent;

/// A plugin: what it is, how it is made, and what it measures.
pub trait Plugin: Sized + 'static {
    /// Who the plugin is and which metrics it has.
    const ABOUT: About;

    /// Its settings: a type that serde deserialises, or [`NoConfig`].
    type Config: Configuration;

    /// Makes the plugin. Whatever it holds is kept from one tick to the next.
    ///
    /// # Errors
    ///
    /// Whatever the plugin cannot work with; see the variants of [`Error`] for what the agent does about each, and
    /// [`Error::invalid`] for settings that are of the right type and make no sense.
    fn configure(config: Self::Config) -> Result<Self, Error>;

    /// What the plugin will touch as it is configured, beyond what all plugins may. What of it is not granted is reported
    /// to the operator, with the lines to add.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// Measures, once a tick.
    ///
    /// # Errors
    ///
    /// Why there is nothing to return this time; see the variants of [`Error`] for what the agent does about each.
    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error>;
}

/// Who a plugin is and what it measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The plugin's own version: `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// One sentence: what it measures.
    pub description: &'static str,
    /// All metrics that it can return, whatever its configuration: `METRICS` of [`metrics!`].
    pub metrics: &'static [Descriptor],
}
