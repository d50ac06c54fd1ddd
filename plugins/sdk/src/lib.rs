//! Write a plugin for gauged: implement [`Plugin`], and name the type in [`export!`].
//!
//! ```
//! use gauged_plugin::{About, Error, Metric, Module, Plugin, Tick};
//!
//! struct Answer;
//!
//! impl Plugin for Answer {
//!     fn about() -> About {
//!         About::new("1.0.0", "Knows the answer.").gauge("answer", "value", "1", "The answer to everything.")
//!     }
//!
//!     fn configure(_config: &str) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!
//!     fn collect(&mut self, _tick: Tick) -> Result<Vec<Module>, Error> {
//!         Ok(vec![Module::new("answer", [Metric::new("value", 42_u64)])])
//!     }
//! }
//!
//! gauged_plugin::export!(Answer);
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown`, and drop the `.wasm` file into the agent's plugins directory.
//!
//! Everything here but [`files`], [`http`], [`net`] and [`log`] works on any target, so what a plugin makes of what it
//! read is tested with an ordinary `cargo test`: keep reading and parsing apart. The host's functions panic outside the
//! agent.

pub mod files;
pub mod http;
pub mod log;
pub mod net;

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
pub use bindings::gauged::plugin::metrics::{Kind, Label, Metric, Module, Value};

use bindings::exports::gauged::plugin::collector;
use bindings::gauged::plugin::metrics::Descriptor;

/// A plugin: what it is, how it is made, and what it measures.
pub trait Plugin: Sized + 'static {
    /// Says who the plugin is and which metrics it has. Nothing is granted yet, and nothing may depend on the host.
    fn about() -> About;

    /// Makes the plugin from its configuration, a JSON object; `{}` when there is none.
    ///
    /// # Errors
    ///
    /// Whatever the plugin cannot work with; see the variants of [`Error`] for what the agent does about each.
    fn configure(config: &str) -> Result<Self, Error>;

    /// What the plugin will touch as it is configured. What of it is not granted is reported to the operator, with the
    /// lines to add.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// Measures, once a tick. The plugin lives from one tick to the next, so it can keep what it needs for rates.
    ///
    /// # Errors
    ///
    /// Why there is nothing to return this time; see the variants of [`Error`] for what the agent does about each.
    fn collect(&mut self, tick: Tick) -> Result<Vec<Module>, Error>;
}

/// Who a plugin is and what it measures.
#[derive(Debug, Clone, PartialEq)]
pub struct About(collector::About);

impl About {
    /// The plugin's own version, and one sentence that says what it measures.
    #[must_use]
    pub fn new(version: &str, description: &str) -> Self {
        Self(collector::About { version: version.to_owned(), description: description.to_owned(), metrics: Vec::new() })
    }

    /// Describes a metric that goes up and down, with its unit in UCUM.
    #[must_use]
    pub fn gauge(self, module: &str, name: &str, unit: &str, description: &str) -> Self {
        self.metric(Kind::Gauge, module, name, unit, description)
    }

    /// Describes a metric that only grows, with its unit in UCUM. Its name ends in `_total`.
    #[must_use]
    pub fn counter(self, module: &str, name: &str, unit: &str, description: &str) -> Self {
        self.metric(Kind::Counter, module, name, unit, description)
    }

    /// Whether a metric is described, for a plugin's tests.
    #[must_use]
    pub fn describes(&self, module: &str, name: &str) -> bool {
        self.0.metrics.iter().any(|metric| metric.module == module && metric.name == name)
    }

    fn metric(mut self, kind: Kind, module: &str, name: &str, unit: &str, description: &str) -> Self {
        self.0.metrics.push(Descriptor {
            module: module.to_owned(),
            name: name.to_owned(),
            kind,
            unit: unit.to_owned(),
            description: description.to_owned(),
        });
        self
    }
}

impl Module {
    /// A module of these metrics.
    #[must_use]
    pub fn new(name: &str, metrics: impl IntoIterator<Item = Metric>) -> Self {
        Self { name: name.to_owned(), metrics: metrics.into_iter().collect() }
    }
}

impl Metric {
    /// A metric without labels.
    #[must_use]
    pub fn new(name: &str, value: impl Into<Value>) -> Self {
        Self { name: name.to_owned(), labels: Vec::new(), value: value.into() }
    }

    /// The same with one more label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push(Label { name: name.to_owned(), value: value.to_owned() });
        self
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Signed(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// What a line of configuration grants, such as the one that an agent answers when a grant is missing: not always what
/// was asked for, since links and names may lead elsewhere.
fn granted_by(line: &str) -> Option<&str> {
    line.split_once(" = [\"")?.1.strip_suffix("\"]")
}

/// Makes the implementation of [`Plugin`] that is named the one of this component.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        const _: () = {
            type Component = $crate::Component<$plugin>;
    $crate::bindings::export_bindings!(Component with_types_in $crate::bindings);

            impl $crate::Holder for $plugin {
                fn with<T>(act: impl FnOnce(&mut Option<Self>) -> T) -> T {
                    ::std::thread_local! {
                        static PLUGIN: ::std::cell::RefCell<Option<$plugin>> =
                            const { ::std::cell::RefCell::new(None) };
                    }
                    PLUGIN.with_borrow_mut(act)
                }
            }
        };
    };
}

/// Where the one instance of a plugin is kept between calls.
#[doc(hidden)]
pub trait Holder: Plugin {
    /// Acts on the instance, if there is one.
    fn with<T>(act: impl FnOnce(&mut Option<Self>) -> T) -> T;
}

/// What [`export!`] exports.
#[doc(hidden)]
pub struct Component<P>(std::marker::PhantomData<P>);

impl<P: Holder> collector::Guest for Component<P> {
    fn describe() -> collector::About {
        P::about().0
    }

    fn configure(config: String) -> Result<Vec<Need>, Error> {
        let plugin = P::configure(&config)?;
        let needs = plugin.needs();
        P::with(|held| *held = Some(plugin));
        Ok(needs)
    }

    fn collect(tick: Tick) -> Result<Vec<Module>, Error> {
        P::with(|held| match held {
            Some(plugin) => plugin.collect(tick),
            None => Err(Error::Internal("collect was called before configure".to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(u64);

    impl Plugin for Counter {
        fn about() -> About {
            About::new("1.2.3", "Counts its calls.").counter("counter", "calls_total", "1", "How often it was called.")
        }

        fn configure(config: &str) -> Result<Self, Error> {
            let start = config.parse().map_err(|_| {
                Error::InvalidConfig(vec![Invalid { key: "start".to_owned(), message: "write a number".to_owned() }])
            })?;
            Ok(Self(start))
        }

        fn needs(&self) -> Vec<Need> {
            vec![Need { capability: Capability::Read("/proc/uptime".to_owned()), reason: "show off".to_owned() }]
        }

        fn collect(&mut self, _tick: Tick) -> Result<Vec<Module>, Error> {
            self.0 += 1;
            Ok(vec![Module::new("counter", [Metric::new("calls_total", self.0).label("by", "agent")])])
        }
    }

    impl Holder for Counter {
        fn with<T>(act: impl FnOnce(&mut Option<Self>) -> T) -> T {
            thread_local! {
                static PLUGIN: std::cell::RefCell<Option<Counter>> = const { std::cell::RefCell::new(None) };
            }
            PLUGIN.with_borrow_mut(act)
        }
    }

    #[test]
    fn a_plugin_lives_from_configure_on() {
        use collector::Guest;
        type Exported = Component<Counter>;
        let tick = Tick { unix_ms: 0, monotonic_ns: 0, budget_ms: 1000 };

        let about = Exported::describe();
        assert_eq!((about.version.as_str(), about.metrics[0].kind), ("1.2.3", Kind::Counter));
        assert!(matches!(Exported::collect(tick), Err(Error::Internal(_))));
        assert!(matches!(Exported::configure("x".to_owned()), Err(Error::InvalidConfig(_))));
        assert_eq!(Exported::configure("41".to_owned()).expect("a number").len(), 1);
        let modules = Exported::collect(tick).expect("counts");
        assert_eq!(modules[0].metrics[0].value, Value::Unsigned(42));
        assert_eq!(modules[0].metrics[0].labels[0].value, "agent");
        assert_eq!(Exported::collect(tick).expect("counts on")[0].metrics[0].value, Value::Unsigned(43));
    }
}
