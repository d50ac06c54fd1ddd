//! Descriptors: what a metric is, apart from its value. All label sets of a metric have one descriptor.

use std::hash::Hash;
use std::time::Duration;

use super::labels::Text;

/// The name of the module with the agent's own metrics.
pub(crate) const AGENT: &str = "agent";

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

/// The moment at which a counter was 0 and began to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CounterOrigin {
    /// The boot of the host: the kernel's counters. Those of a device that was added later began then.
    Boot,
    /// The start of the agent: its counters of its own work.
    Agent,
    /// This moment, since the Unix epoch: the start of a plugin that counts itself.
    Moment(Duration),
    /// Unknown: the counters of services, which restart at any time, and of plugins that do not say.
    Unknown,
}

/// The description of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// The metric's name, without a column's suffix.
    pub name: Text,
    /// The metric's kind.
    pub kind: MetricKind,
    /// The moment from which the counts of a counter, histogram or summary are.
    pub origin: CounterOrigin,
    /// The unit in UCUM: `By`, `s`, `%`, `1`. Empty when unknown.
    pub unit: Text,
    /// The meaning, in one sentence. Empty when unknown.
    pub description: Text,
}

/// The descriptor of a metric without one. Its name is not the metric's.
pub(super) static UNDESCRIBED: Descriptor = Descriptor {
    name: Text::Static(""),
    kind: MetricKind::Gauge,
    origin: CounterOrigin::Unknown,
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
    /// From when its counts are; those of the agent itself are from its start.
    pub origin: CounterOrigin,
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
        Self { module, name, kind: MetricKind::Gauge, origin: CounterOrigin::Boot, unit, description, source }
    }

    /// A counter of the kernel, or of the agent itself.
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
        let Self { module, name, kind, unit, description, .. } = *self;
        let origin = if module == AGENT { CounterOrigin::Agent } else { self.origin };
        Descriptor { name: name.into(), kind, origin, unit: unit.into(), description: description.into() }
    }
}
