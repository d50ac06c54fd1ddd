//! The result of a naming.

use crate::sample::{Label, MetricKind, Text};

/// The name of a series in a naming.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The metric's name, without a column's suffix; a counter's `_total` is part of it.
    pub name: Text,
    /// The labels without those of columns (`le`, `quantile`).
    pub labels: Vec<Label>,
    /// The number by which a value is multiplied, and so are sums, quantiles and the bounds of buckets; none leaves it as it is, and
    /// an integer stays one.
    pub factor: Option<f64>,
    /// The metric's kind. None where the naming leaves it open: `untyped`, in OpenMetrics `unknown`.
    pub kind: Option<MetricKind>,
    /// The unit, where the name ends with it; empty otherwise.
    pub unit: &'static str,
    /// The meaning in one sentence, in the naming's unit; never empty.
    pub help: Text,
    /// Whether another series of ours may have the same name and labels, and measures the same: of the two, an output shows one,
    /// and nothing is lost.
    pub is_alternative: bool,
}
