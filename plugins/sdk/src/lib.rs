//! The SDK for gauged plugins: declare the metrics, implement [`Plugin`], and export the type with [`export!`].
//!
//! ```
//! use gauged_plugin::kernel::File;
//! use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick, about};
//!
//! gauged_plugin::metrics! {
//!     module "entropy";
//!     /// Random bits available in the kernel's pool.
//!     AVAILABLE: gauge "available_bits" in "bit";
//! }
//!
//! struct Entropy;
//!
//! impl Plugin for Entropy {
//!     const ABOUT: About = about!("The kernel's random numbers.", settings: &[]);
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
//! // In a test, on a scripted host:
//! use gauged_plugin::testing::{Harness, Host};
//!
//! let mut host = Host::new();
//! host.file("/proc/sys/kernel/random/entropy_avail", "256\n");
//! let mut entropy = Harness::<Entropy>::start(host, "{}")?;
//! assert_eq!(entropy.tick()?.render(), "entropy.available_bits 256\n");
//! # Ok::<(), Error>(())
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown`, and drop the `.wasm` file into the agent's plugins directory.
//!
//! # Contents
//!
//! | task | see |
//! |---|---|
//! | metrics and samples | [`metrics!`], [`Sample`] |
//! | histograms and summaries | [`Histogram`], [`Summary`] |
//! | metrics that are known at run time only | [`descriptor::FoundMetric`] |
//! | settings | [`Configuration`], [`NoConfig`], [`settings!`], [`select`], [`Texts`], [`parse_setting`] |
//! | files of the kernel and other files | [`kernel`], [`files`] |
//! | services | [`http`], [`net`], [`json`], [`service`] |
//! | metrics in Prometheus' formats | [`exposition`] |
//! | sockets, the clock, links of interfaces | [`system`] |
//! | what outlasts the instance | [`state`] |
//! | rates and percentages | [`rates`], [`percent()`] |
//! | unreadable parts and impossible values | [`skipped`], [`bounds`] |
//! | reports to the operator | [`Need`], [`Error`], [`log`] |
//! | tests | `testing` |
//!
//! # Errors
//!
//! Each variant of [`Error`] defines the agent's next step. `?` converts the SDK's failures:
//!
//! | failure | becomes |
//! |---|---|
//! | a missing grant | [`Error::Denied`] |
//! | no response, no such file | [`Error::Unavailable`] |
//! | a file that cannot be parsed | [`Error::Failed`] |
//!
//! A part that cannot be read or parsed should cost only its own metrics: [`skipped::Skipped`] reports it, and turns it into
//! an error only if nothing at all was measured.
//!
//! Return [`Error::Unsupported`] yourself when this host will never have the metrics. A panic costs one tick: the agent
//! restarts the plugin. Its message and place are in the log, and in the output of `gauged plugin test`.
//!
//! # Cost
//!
//! A tick costs microseconds: its host calls and its metrics. The size of a component is memory and compile time in the
//! agent: 60 KB for the plugin `hello`, which has a setting. Large parts of Rust, and smaller replacements:
//!
//! | instead of | adds | write |
//! |---|---|---|
//! | `text.parse::<f64>()` | 19 KB | [`kernel::Number::parse`] |
//! | formatting an `f64` | 16 KB | an integer |
//! | `text.split(" ")` | 9 KB | `text.split(' ')`, or [`kernel::Line::fields`] |
//! | `{:?}` of a text | 8 KB | `{}` |
//! | `&text[at..]` | 7 KB | `text.get(at..)` |
//! | `sort`, `sort_unstable` | 6 KB, 4 KB | nothing: samples need no order |
//! | `BTreeMap`, `HashMap` | 4 KB, 5 KB | a `Vec`, for few entries |
//! | `text.find("abc")` | 3 KB | `text.find('a')`, `strip_prefix`, `split_once(':')` |
//!
//! # Tests
//!
//! On targets other than wasm the host is scripted, so `cargo test` needs neither an agent nor a wasm toolchain. The
//! module `testing` runs a plugin as the agent would and checks the SDK rules.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// In suggested reading order.
pub mod descriptor;
mod sample;
mod lowered;
mod value;
mod config;
#[doc(hidden)]
pub mod setting;
mod need;
mod os_error;
pub mod files;
pub mod http;
pub mod net;
pub mod json;
pub mod exposition;
pub mod system;
pub mod state;
pub mod log;
pub mod kernel;
pub mod skipped;
pub mod bounds;
pub mod rates;
mod percent;
mod scan;
pub mod service;
pub mod select;
mod component;
mod host;
#[doc(hidden)]
#[rustfmt::skip]
#[allow(missing_docs, clippy::pedantic, reason = "generated")]
pub mod bindings;
mod bindings_runtime;
// On other targets a test shows a panic by itself.
#[cfg(target_family = "wasm")]
mod panic;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use bindings::exports::gauged::plugin::collector::{Error, Invalid, Need, Tick};
#[doc(alias("bucket", "observe", "distribution"))]
pub use bindings::gauged::plugin::metrics::Histogram;
#[doc(alias("metric_type", "gauge", "counter", "instrument"))]
pub use bindings::gauged::plugin::metrics::Kind;
#[doc(alias("created", "start_time", "temporality"))]
pub use bindings::gauged::plugin::metrics::Origin;
#[doc(alias("quantile", "percentile"))]
pub use bindings::gauged::plugin::metrics::Summary;
pub use bindings::gauged::plugin::metrics::{Quantile, Value};
pub use bindings::gauged::plugin::types::{Capability, Certificate, OsError, PermissionError, TlsSession};
pub use component::{Component, InstanceCell};
pub use config::{Configuration, NoConfig, Texts, parse_setting};
use descriptor::FoundMetric;
pub use descriptor::{Descriptor, Dimension};
pub use percent::percent;
pub use sample::{Row, Sample};
pub use setting::Setting;
pub use value::IntoValue;

/// A plugin. The agent creates one instance per loaded file and calls it once per tick.
#[doc(alias("collector", "exporter", "input", "receiver"))]
pub trait Plugin: Sized + 'static {
    /// Version, description and metrics.
    const ABOUT: About;

    /// The settings: a type that serde deserialises, or [`NoConfig`].
    type Config: Configuration;

    /// Creates the plugin. Its fields are kept from tick to tick.
    ///
    /// # Errors
    ///
    /// See the variants of [`Error`] for the agent's reaction to each. [`Error::invalid`] is for settings of the right
    /// type with an invalid value.
    fn configure(config: Self::Config) -> Result<Self, Error>;

    /// The grants that the plugin needs as configured, beyond those that every plugin has. The agent reports missing ones
    /// to the operator, with the lines to add. Of several needs of one capability the first counts.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// The metrics that depend on the settings, beside those in [`ABOUT`](Self::ABOUT), which may have any settings.
    fn metrics(&self) -> Vec<FoundMetric> {
        Vec::new()
    }

    /// Measures, once per tick.
    #[doc(alias("scrape", "observe", "gather", "callback"))]
    ///
    /// # Errors
    ///
    /// See the variants of [`Error`] for the agent's reaction to each.
    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error>;
}

/// Makes an [`About`] of a description, with the version of the package and the metrics and settings that
/// [`metrics!`] and [`settings!`] declare, `METRICS` and `SETTINGS`, or with those that are named.
///
/// ```
/// use gauged_plugin::{About, about};
///
/// gauged_plugin::metrics! {
///     module "disk";
///     /// Completed reads.
///     READS: counter "reads_total" in "{operation}";
/// }
/// gauged_plugin::settings! {
///     /// Whether partitions are measured.
///     "partitions": "boolean" = "false";
/// }
///
/// const ABOUT: About = about!("Operations of disks.");
/// assert_eq!((ABOUT.metrics.len(), ABOUT.settings.len()), (1, 1));
/// const WITHOUT: About = about!("Operations of disks.", settings: &[]);
/// assert_eq!((WITHOUT.metrics.len(), WITHOUT.settings.len()), (1, 0));
/// ```
#[macro_export]
macro_rules! about {
    ($description:literal) => {
        $crate::about!($description, settings: SETTINGS)
    };
    ($description:literal, settings: $settings:expr) => {
        $crate::about!($description, settings: $settings, metrics: METRICS)
    };
    ($description:literal, settings: $settings:expr, metrics: $metrics:expr) => {
        $crate::About {
            version: ::core::env!("CARGO_PKG_VERSION"),
            description: $description,
            settings: $settings,
            metrics: $metrics,
        }
    };
}

/// Static facts about a plugin: shown to operators and checked against its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The plugin's own version: `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// One sentence on the subject of the metrics.
    pub description: &'static str,
    /// All settings: `SETTINGS` of [`settings!`].
    pub settings: &'static [Setting],
    /// The metrics that any configuration can return: `METRICS` of [`metrics!`].
    pub metrics: &'static [Descriptor],
}
