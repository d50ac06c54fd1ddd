//! The data model: what one tick yields. A sample is a map of maps, module → metric → value, and nothing else at any
//! level; this module knows its names, its keys and its values. How a sample is written out is a sink's business, and
//! where it comes from a collector's.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Deref;
use std::sync::Arc;

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

/// A named group of metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Module {
    /// See [`is_name`].
    pub name: Cow<'static, str>,
    /// In the order in which they are written; no key occurs twice.
    pub metrics: Vec<Metric>,
}

/// A name, labels and a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// See [`is_name`].
    pub name: Cow<'static, str>,
    /// In the order in which they are shown.
    pub labels: Labels,
    /// What was measured.
    pub value: Value,
}

/// The labels of a metric. Shared, since they stay the same from tick to tick; most metrics have none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Labels(Option<Arc<[Label]>>);

/// A dimension that tells apart metrics of one name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label {
    /// See [`is_label_name`].
    pub name: Cow<'static, str>,
    /// Any text.
    pub value: String,
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
    /// What identifies rather than measures. Shared, since it seldom changes.
    Text(Arc<str>),
}

/// How successive values of a metric relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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
    pub kind: Kind,
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
        Self { module, name, kind: Kind::Gauge, unit, description, source }
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
        Self { kind: Kind::Counter, ..Self::gauge(module, name, unit, description, source) }
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
        let own = self.modules.drain(..).rev().filter(|module| matches!(module.name, Cow::Borrowed(_)));
        self.spare.clear();
        self.spare.extend(own.map(|mut module| {
            module.metrics.clear();
            module
        }));
    }
}

impl Module {
    /// An empty module.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), metrics: Vec::new() }
    }

    /// Appends a metric without labels.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.push_labelled(name, &Labels::default(), value);
    }

    /// Appends a metric with labels.
    pub fn push_labelled(&mut self, name: impl Into<Cow<'static, str>>, labels: &Labels, value: impl Into<Value>) {
        self.metrics.push(Metric { name: name.into(), labels: labels.clone(), value: value.into() });
    }
}

impl<const N: usize> From<[(&'static str, &str); N]> for Labels {
    fn from(labels: [(&'static str, &str); N]) -> Self {
        labels.into_iter().map(|(name, value)| Label { name: name.into(), value: value.to_owned() }).collect()
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<T: IntoIterator<Item = Label>>(labels: T) -> Self {
        let labels: Arc<[Label]> = labels.into_iter().collect();
        Self(Some(labels).filter(|labels| !labels.is_empty()))
    }
}

impl Deref for Labels {
    type Target = [Label];

    fn deref(&self) -> &[Label] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Metric {
    /// What identifies the metric within its module: `name`, or `name{key="value",…}` with the values escaped as in the
    /// Prometheus text format. Different names and labels have different keys.
    ///
    /// ```
    /// let mut module = gauged::sample::Module::new("filesystem");
    /// module.push_labelled("free_bytes", &[("mount", "/")].into(), 4096);
    /// assert_eq!(module.metrics[0].key().to_string(), r#"free_bytes{mount="/"}"#);
    /// ```
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        Key(self)
    }
}

/// The displayable key of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a>(&'a Metric);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)?;
        if self.0.labels.is_empty() {
            return Ok(());
        }
        let mut separator = '{';
        for Label { name, value } in &*self.0.labels {
            f.write_char(separator)?;
            separator = ',';
            f.write_str(name)?;
            f.write_str("=\"")?;
            let mut rest = &**value;
            while let Some(at) = rest.find(['\\', '"', '\n']) {
                let (plain, special) = rest.split_at(at);
                f.write_str(plain)?;
                f.write_str(match special.as_bytes()[0] {
                    b'\n' => "\\n",
                    b'"' => "\\\"",
                    _ => "\\\\",
                })?;
                rest = &special[1..];
            }
            f.write_str(rest)?;
            f.write_char('"')?;
        }
        f.write_char('}')
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
        Self::Text(value.into())
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
    use crate::fuzzing::read_key;

    fn metric(name: &str, labels: &[(String, String)]) -> Metric {
        let label = |(name, value): &(String, String)| Label { name: name.clone().into(), value: value.clone() };
        let labels = labels.iter().map(label).collect();
        Metric { name: name.to_owned().into(), labels, value: Value::Null }
    }

    #[test]
    fn keys_read_as_in_the_prometheus_text_format() {
        assert_eq!(metric("free_bytes", &[]).key().to_string(), "free_bytes");
        let labels = [("mount".to_owned(), "/a \"b\"\\\n".to_owned()), ("type".to_owned(), String::new())];
        assert_eq!(metric("free_bytes", &labels).key().to_string(), r#"free_bytes{mount="/a \"b\"\\\n",type=""}"#);
    }

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
                assert!(module.name == name && module.metrics.is_empty());
                for _ in 0..size {
                    module.push("metric", 1);
                }
                places.push(module.metrics.as_ptr());
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
        fn a_key_gives_back_name_and_labels(
            name in "[A-Za-z0-9_]{1,12}",
            labels in prop::collection::vec(("[A-Za-z_][A-Za-z0-9_]{0,8}", any::<String>()), 0..4),
        ) {
            let key = metric(&name, &labels).key().to_string();
            prop_assert_eq!(read_key(&key), Some((name, labels)));
            prop_assert!(!key.contains('\n'));
        }

        #[test]
        fn label_names_are_names(text in any::<String>()) {
            prop_assert!(!is_label_name(&text) || is_name(&text));
        }
    }
}
