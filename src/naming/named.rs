//! The result of a naming.

use super::bound;
use super::scale::Scale;
use crate::sample::{Column, CounterOrigin, Label, MetricKind, Series, Text};

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
    /// The unit of the values in UCUM, as metadata: after the factor. Empty where it is unknown.
    pub ucum: Text,
    /// Whether the values of a gauge add up over its labels, as the states of memory do, and temperatures do not. `OpenTelemetry` has
    /// such a gauge as a sum that is not monotonic.
    pub is_additive: bool,
    /// The moment from which the counts of a counter, histogram or summary are.
    pub origin: CounterOrigin,
    /// The meaning in one sentence, in the naming's unit; never empty.
    pub help: Text,
    /// Whether another series of ours may have the same name and labels, and measures the same: of the two, an output shows one,
    /// and nothing is lost.
    pub is_alternative: bool,
}

impl Named {
    /// The way from the values of a series with this name to the naming's unit. Numbers of observations have none, and neither have
    /// quantiles' own labels.
    #[must_use]
    pub fn scale(&self, column: Column) -> Scale {
        match column {
            Column::Bucket | Column::Count => Scale::Unchanged,
            Column::Value | Column::Quantile | Column::Sum => Scale::new(self.factor),
        }
    }

    /// The label of a series with this name that tells the columns of its metric apart: `le` in the naming's unit, or `quantile`.
    #[must_use]
    pub fn column_label(&self, series: &Series) -> Option<Label> {
        let name = series.column().label()?;
        let scale = if series.column() == Column::Bucket { Scale::new(self.factor) } else { Scale::Unchanged };
        let label = series.labels().iter().find(|label| *label.name == *name)?;
        Some(Label { name: label.name.clone(), value: bound::canonical(&label.value, scale).into() })
    }
}
