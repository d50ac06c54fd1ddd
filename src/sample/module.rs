//! Modules: what one collector has measured for one tick.

use std::sync::Arc;
use std::time::Duration;

use super::labels::{Labels, Text};
use super::schema::{CollectorVersion, Schema};
use super::series::{Key, Series};
use super::value::Value;

/// A named group of metrics from one collector, as of one tick. Ticks share what does not change; each has its own values.
#[derive(Debug, Clone)]
pub struct Module {
    /// The tick that it was collected for, since the Unix epoch.
    pub time: Duration,
    pub(super) schema: Arc<Schema>,
    /// A value for each series of the schema.
    pub(super) values: Vec<Value>,
}

/// A metric of a module, or one column of a histogram or summary.
#[derive(Debug, Clone, Copy)]
pub struct Metric<'a> {
    /// Its name, labels and descriptor.
    pub series: &'a Series,
    /// The measured value.
    pub value: &'a Value,
}

impl<'a> Metric<'a> {
    /// The name; see [`Series::name`].
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.series.name()
    }

    /// The labels in display order.
    #[must_use]
    pub fn labels(&self) -> &'a Labels {
        self.series.labels()
    }

    /// The name with the labels; see [`Series::key`].
    #[must_use]
    pub fn key(&self) -> Key<'a> {
        self.series.key()
    }
}

impl PartialEq for Metric<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key() && self.value == other.value
    }
}

impl Module {
    /// A module with a value for each series of a schema.
    pub(crate) fn new(time: Duration, schema: Arc<Schema>, values: Vec<Value>) -> Self {
        debug_assert_eq!(schema.series().len(), values.len(), "each series has a value");
        Self { time, schema, values }
    }

    /// The module's name; see `is_name`.
    #[must_use]
    pub fn name(&self) -> &Text {
        &self.schema.source().module
    }

    /// The collector that measured it.
    #[must_use]
    pub fn collector(&self) -> &CollectorVersion {
        &self.schema.source().collector
    }

    /// The collector's interval.
    #[must_use]
    pub fn step(&self) -> Duration {
        self.schema.source().step
    }

    /// The metrics in output order; no key occurs twice.
    #[must_use]
    pub fn metrics(&self) -> impl ExactSizeIterator<Item = Metric<'_>> {
        self.schema.series().iter().zip(&self.values).map(|(series, value)| Metric { series, value })
    }

    /// The values, in the order of the metrics.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The module's series, in the order of the metrics.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
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

/// Modules are equal when their names and metrics are, whoever measured them and when.
impl PartialEq for Module {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.metrics().eq(other.metrics())
    }
}
