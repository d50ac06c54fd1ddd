//! The data model: what one tick yields. A sample is a map of maps, module → metric → value, and nothing else at any
//! level; this module knows its names, its keys and its values. How a sample is written out is a sink's business, and
//! where it comes from a collector's.

mod keys;

use std::sync::Arc;

use self::keys::Keys;
pub use self::keys::{Label, Labels, Text};

/// The longest module, metric or label name, in bytes: three of them still fit into the 510 bytes that Open-Falcon
/// allows for a metric and its tags.
pub const NAME_BYTES: usize = 128;

/// All that one tick yielded. It carries no timestamp of its own: that is a metric of the module `agent`.
#[derive(Debug, Default)]
pub struct Sample {
    /// In the order in which they are written; no name occurs twice.
    pub modules: Vec<Module>,
    /// Modules of an earlier tick, the one that is needed next being the last: their memory serves again.
    spare: Vec<Module>,
}

/// A named group of metrics: what they are called, which is shared with the ticks before and after, and what they are
/// now.
#[derive(Debug, Clone)]
pub struct Module {
    /// See [`is_name`].
    pub name: Text,
    /// At least as many as there are values.
    keys: Arc<Keys>,
    values: Vec<Value>,
}

/// A name, labels and a value, as they are found in a module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric<'a> {
    /// See [`is_name`].
    pub name: &'a str,
    /// In the order in which they are shown.
    pub labels: &'a [Label],
    /// What identifies the metric within its module: `name`, or `name{key="value",…}` with the values escaped as in the
    /// Prometheus text format. Different names and labels have different keys.
    pub key: &'a str,
    /// What was measured.
    pub value: &'a Value,
}

/// One measured value. Floats are finite: who makes one sees to that.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// This host can't measure it; sinks of numbers leave it out.
    Null,
    /// Byte and event counters, which exceed what a float holds exactly.
    Unsigned(u64),
    /// Whole numbers that may be negative.
    Signed(i64),
    /// Everything else that is a number.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// What identifies rather than measures.
    Text(Text),
}

/// How successive values of a metric relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only grows, until what it counts restarts.
    Counter,
}

/// Static facts about a metric, whatever its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The module it belongs to.
    pub module: &'static str,
    /// The metric's name.
    pub name: &'static str,
    /// How successive values relate.
    pub kind: MetricKind,
    /// In UCUM: `By`, `s`, `%`, `1`.
    pub unit: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// Where the numbers come from.
    pub source: &'static str,
}

impl Descriptor {
    /// Describes a gauge: module, name, unit, description, source.
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

    /// Describes a counter: module, name, unit, description, source.
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
    /// Appends an empty module of the agent's own.
    pub fn module(&mut self, name: &'static str) -> &mut Module {
        let module = match self.spare.pop() {
            Some(spare) => Module { name: name.into(), ..spare },
            None => Module::new(name),
        };
        self.modules.push(module);
        // It was pushed just now.
        let last = self.modules.len() - 1;
        &mut self.modules[last]
    }

    /// Makes room for the next tick's modules, which are likely to be as large as these. Nothing is kept of plugins',
    /// which bring memory of their own.
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

    /// An empty module of this one's name, which is likely to get the same metrics.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self { name: self.name.clone(), keys: Arc::clone(&self.keys), values: Vec::new() }
    }

    /// Makes room for so many metrics more.
    pub fn reserve(&mut self, metrics: usize) {
        self.values.reserve_exact(metrics);
    }

    /// Appends a metric without labels.
    pub fn push(&mut self, name: &str, value: impl Into<Value>) {
        self.push_labelled(name, &Labels::default(), value);
    }

    /// Appends a metric with labels.
    ///
    /// ```
    /// let mut module = gauged::sample::Module::new("filesystem");
    /// module.push_labelled("free_bytes", &[("mount", "/")].into(), 4096);
    /// let metric = module.metrics().next().expect("it was pushed");
    /// assert_eq!((metric.name, metric.key), ("free_bytes", r#"free_bytes{mount="/"}"#));
    /// ```
    pub fn push_labelled(&mut self, name: &str, labels: &Labels, value: impl Into<Value>) {
        let at = self.values.len();
        if !self.keys.is(at, name, labels) {
            let keys = Arc::make_mut(&mut self.keys);
            keys.truncate(at);
            keys.push(name, labels.clone());
        }
        self.values.push(value.into());
    }

    /// Name and labels of the metric that came next when this module's keys were made.
    pub(crate) fn expected(&self) -> Option<(&str, &Labels)> {
        self.keys.get(self.values.len())
    }

    /// Appends the metric that is [`expected`](Self::expected), if there is one.
    pub(crate) fn push_expected(&mut self, value: Value) {
        if self.values.len() < self.keys.len() {
            self.values.push(value);
        }
    }

    /// Whether another module has the very list of keys that this one has.
    pub(crate) fn shares_keys(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
    }

    /// The metrics, in the order in which they are written; no key occurs twice.
    #[must_use]
    pub fn metrics(&self) -> impl ExactSizeIterator<Item = Metric<'_>> {
        let keys = self.keys.iter().zip(&self.values);
        keys.map(|((name, labels, key), value)| Metric { name, labels, key, value })
    }

    /// How many metrics there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
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

/// Whether a text can name a module or a metric: ASCII letters, digits and underscores, at most [`NAME_BYTES`]. A digit
/// may come first (`load` has a `1min`), since every flat form puts the module's name before it.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a text can name a label: as [`is_name`], not beginning with a digit, and not with the two underscores that
/// Prometheus keeps for itself.
#[must_use]
pub fn is_label_name(text: &str) -> bool {
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
    fn names_follow_their_rules() {
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
    fn a_cleared_sample_keeps_the_memory_of_the_agents_own_modules() {
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
        assert_eq!(places[2..4], places[4..6], "each at the place that it had");
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
