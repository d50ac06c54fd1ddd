//! The data model. A sample is the result of one tick: a map of maps, module → metric → value, and nothing else at any
//! level. This module has the rules for names, keys and values. Collectors make samples, sinks write them.

mod keys;

use std::sync::Arc;

use self::keys::Keys;
pub use self::keys::{Label, Labels, Text};

/// The longest module, metric or label name, in bytes. Three of them fit into the 510 bytes that Open-Falcon allows for a
/// metric and its tags.
pub(crate) const NAME_BYTES: usize = 128;

/// The result of one tick. Its timestamp is a metric of the module `agent`.
#[derive(Debug, Default)]
pub struct Sample {
    /// The modules in output order; no name occurs twice.
    pub modules: Vec<Module>,
    /// Modules of the previous tick in reverse order, whose memory is used again.
    spare: Vec<Module>,
}

/// A named group of metrics. Ticks share the list of keys; each has its own values.
#[derive(Debug, Clone)]
pub struct Module {
    /// The module's name; see `is_name`.
    pub name: Text,
    /// The keys of the metrics: at least as many as there are values.
    keys: Arc<Keys>,
    values: Vec<Value>,
}

/// A metric of a module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric<'a> {
    /// The metric's name; see `is_name`.
    pub name: &'a str,
    /// The labels in display order.
    pub labels: &'a [Label],
    /// The metric's identity within its module: `name`, or `name{label="value",…}` with the values escaped as in the
    /// Prometheus text format. Different names or labels give different keys.
    pub key: &'a str,
    /// The measured value.
    pub value: &'a Value,
}

/// A measured value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Not measurable on this host; numeric sinks omit it.
    Null,
    /// A byte or event counter, which may exceed the whole numbers that a float can hold.
    Unsigned(u64),
    /// A whole number that may be negative.
    Signed(i64),
    /// Any other number; always finite.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A text: an identity or a state.
    Text(Text),
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// The value may rise and fall.
    Gauge,
    /// The value only grows, until the counted thing restarts.
    Counter,
}

/// The description of a metric, which all its label sets share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The metric's module.
    pub module: &'static str,
    /// The metric's name.
    pub name: &'static str,
    /// The metric's kind.
    pub kind: MetricKind,
    /// The unit in UCUM: `By`, `s`, `%`, `1`.
    pub unit: &'static str,
    /// The meaning, in one sentence.
    pub description: &'static str,
    /// The source of the value, such as `/proc/stat`.
    pub source: &'static str,
}

impl Descriptor {
    /// The descriptor of a gauge.
    #[must_use]
    pub const fn gauge(
        module: &'static str,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        source: &'static str,
    ) -> Self {
        Self { module, name, kind: MetricKind::Gauge, unit, description, source }
    }

    /// The descriptor of a counter.
    #[must_use]
    pub const fn counter(
        module: &'static str,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        source: &'static str,
    ) -> Self {
        Self { kind: MetricKind::Counter, ..Self::gauge(module, name, unit, description, source) }
    }
}

impl Sample {
    /// Appends an empty module for a native collector or the agent itself.
    pub fn module(&mut self, name: &'static str) -> &mut Module {
        let module = match self.spare.pop() {
            Some(spare) => Module { name: name.into(), ..spare },
            None => Module::new(name),
        };
        self.modules.push(module);
        // The index of the module that was just pushed.
        let last = self.modules.len() - 1;
        &mut self.modules[last]
    }

    /// Removes all modules. The memory of native modules is kept for the next tick, whose modules are likely to be as large.
    /// Plugins' modules bring their own memory.
    pub fn clear(&mut self) {
        let own = self.modules.drain(..).rev().filter(|module| matches!(module.name, Text::Static(_)));
        self.spare.clear();
        self.spare.extend(own.map(|mut module| {
            module.values.clear();
            module
        }));
    }
}

impl Module {
    /// An empty module.
    pub fn new(name: impl Into<Text>) -> Self {
        Self { name: name.into(), keys: Arc::default(), values: Vec::new() }
    }

    /// An empty module with this module's name and list of keys, for the next tick.
    pub(crate) fn emptied(&self) -> Self {
        Self { name: self.name.clone(), keys: Arc::clone(&self.keys), values: Vec::new() }
    }

    /// Allocates room for more metrics.
    pub(crate) fn reserve(&mut self, metrics: usize) {
        self.values.reserve_exact(metrics);
    }

    /// Appends a metric without labels.
    pub fn push(&mut self, name: &str, value: impl Into<Value>) {
        self.push_labelled(name, &Labels::default(), value);
    }

    /// Appends a metric with labels.
    pub fn push_labelled(&mut self, name: &str, labels: &Labels, value: impl Into<Value>) {
        let at = self.values.len();
        if !self.keys.matches(at, name, labels) {
            let keys = Arc::make_mut(&mut self.keys);
            keys.truncate(at);
            keys.push(name, labels.clone());
        }
        self.values.push(value.into());
    }

    /// Name and labels of the next metric in the list of keys.
    pub(crate) fn expected(&self) -> Option<(&str, &Labels)> {
        self.keys.get(self.values.len())
    }

    /// Appends the metric that is [`expected`](Self::expected). Without one it does nothing.
    pub(crate) fn push_expected(&mut self, value: Value) {
        if self.values.len() < self.keys.len() {
            self.values.push(value);
        }
    }

    /// Whether two modules share one list of keys in memory.
    pub(crate) fn shares_keys(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
    }

    /// The metrics in output order; no key occurs twice.
    #[must_use]
    pub fn metrics(&self) -> impl ExactSizeIterator<Item = Metric<'_>> {
        let keys = self.keys.iter().zip(&self.values);
        keys.map(|((name, labels, key), value)| Metric { name, labels, key, value })
    }

    /// The number of metrics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the module has no metric.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl PartialEq for Module {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.metrics().eq(other.metrics())
    }
}

/// Whether a text is a valid name of a module or metric: ASCII letters, digits and underscores, at most [`NAME_BYTES`]. It
/// may begin with a digit (`1min` in `load`), since flat formats put the module's name before it.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a text is a valid name of a label: as [`is_name`], without a digit at its start, nor the two underscores that
/// Prometheus reserves.
pub(crate) fn is_label_name(text: &str) -> bool {
    is_name(text) && !text.as_bytes()[0].is_ascii_digit() && !text.starts_with("__")
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned().into())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_label_names_are_validated() {
        for good in ["cpu", "1min", "a_b_9", &"x".repeat(NAME_BYTES)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a-b", "a.b", "a b", "ü", "a\n", &"x".repeat(NAME_BYTES + 1)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_label_name("mode") && is_label_name("_x"));
        assert!(!is_label_name("1x") && !is_label_name("__name") && !is_label_name(""));
    }

    #[test]
    fn a_cleared_sample_keeps_native_modules_memory() {
        let mut sample = Sample::default();
        let mut places = Vec::new();
        for _ in 0..3 {
            sample.clear();
            for (name, size) in [("first", 3), ("second", 200)] {
                let module = sample.module(name);
                assert!(*module.name == *name && module.is_empty());
                for _ in 0..size {
                    module.push("metric", 1);
                }
                places.push(module.values.as_ptr());
            }
            sample.modules.push(Module::new("of_a_plugin".to_owned()));
        }
        assert_eq!(places[2..4], places[4..6], "each module has the same memory");
        assert_eq!(sample.spare.len(), 0);
        sample.clear();
        assert_eq!((sample.modules.len(), sample.spare.len()), (0, 2));
    }

    proptest! {
        #[test]
        fn label_names_are_names(text in any::<String>()) {
            prop_assert!(!is_label_name(&text) || is_name(&text));
        }
    }
}
