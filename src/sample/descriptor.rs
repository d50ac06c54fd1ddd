//! Descriptors: what a metric is, apart from its value. All label sets of a metric have one descriptor.

use std::hash::Hash;

use super::labels::Text;

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// The value may rise and fall.
    Gauge,
    /// The value only grows, until the counted thing restarts.
    Counter,
    /// Counts of observations up to each of several bounds, with their sum and number.
    Histogram,
    /// Quantiles of observations, with their sum and number.
    Summary,
}

impl MetricKind {
    /// The word for it in documents and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// The description of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// The metric's name, without a column's suffix.
    pub name: Text,
    /// The metric's kind.
    pub kind: MetricKind,
    /// The unit in UCUM: `By`, `s`, `%`, `1`. Empty when unknown.
    pub unit: Text,
    /// The meaning, in one sentence. Empty when unknown.
    pub description: Text,
}

/// The descriptor of a metric without one. Its name is not the metric's.
pub(super) static UNDESCRIBED: Descriptor = Descriptor {
    name: Text::Static(""),
    kind: MetricKind::Gauge,
    unit: Text::Static(""),
    description: Text::Static(""),
};

/// A metric that the agent measures itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeMetric {
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

impl NativeMetric {
    /// A gauge.
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

    /// A counter.
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

    /// Its descriptor.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        let Self { name, kind, unit, description, .. } = *self;
        Descriptor { name: name.into(), kind, unit: unit.into(), description: description.into() }
    }
}
