//! Fills modules from the results of plugins and of the agent's own collectors.

use std::sync::Arc;
use std::time::Duration;

use super::descriptor::Descriptor;
use super::histogram::{BucketBounds, Quantiles};
use super::labels::{ExtendedLabels, LabelSet};
use super::module::Module;
use super::schema::{Schema, SchemaBuilder, SeriesError, check_labels};
use super::series::{Column, Series, SeriesAccount};
use super::value::Value;

/// A module that is being filled: values, and what has changed in its schema.
#[derive(Debug)]
pub(crate) struct ModuleBuilder<'a> {
    account: &'a Arc<SeriesAccount>,
    schema: SchemaBuilder,
    values: Vec<Value>,
}

impl<'a> ModuleBuilder<'a> {
    /// Begins with the schema of the tick before; `values` is memory to use.
    pub(crate) fn new(account: &'a Arc<SeriesAccount>, previous: &Arc<Schema>, values: Vec<Value>) -> Self {
        debug_assert!(values.is_empty());
        Self { account, schema: SchemaBuilder::new(Arc::clone(previous)), values }
    }

    /// Appends a metric if the schema of the tick before has it here, or soon after. Returns the value otherwise.
    pub(crate) fn push_known(&mut self, name: &str, labels: &impl LabelSet, value: Value) -> Result<(), NotPushed> {
        match self.schema.advance(name, labels, Column::Value) {
            Ok(true) => {
                self.values.push(value);
                Ok(())
            }
            Ok(false) => Err(NotPushed::Unknown(value)),
            Err(error) => Err(NotPushed::Refused(error)),
        }
    }

    /// Takes over these series, if the schema of the tick before has just them here. Returns whether it did: then their values
    /// have to follow.
    pub(super) fn take_series(&mut self, series: &[Arc<Series>]) -> bool {
        self.schema.advance_all(series)
    }

    /// Appends the values of these series.
    pub(super) fn push_all(&mut self, values: impl Iterator<Item = Value>) {
        self.values.extend(values);
    }

    /// The number of metrics so far.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The series of the metrics from a place on.
    pub(super) fn series_since(&self, length: usize) -> &[Arc<Series>] {
        self.schema.since(length)
    }

    /// Appends any other metric; its names were checked.
    pub(crate) fn push_new(
        &mut self,
        name: &str,
        labels: &impl LabelSet,
        descriptor: Option<&Arc<Descriptor>>,
        value: Value,
    ) -> Result<(), SeriesError> {
        self.schema.insert(name, labels, Column::Value, descriptor, self.account)?;
        self.values.push(value);
        Ok(())
    }

    fn push_column(
        &mut self,
        name: &str,
        labels: &impl LabelSet,
        column: Column,
        descriptor: &Arc<Descriptor>,
        value: Value,
    ) -> Result<(), SeriesError> {
        if !self.schema.advance(name, labels, column)? {
            self.schema.insert(name, labels, column, Some(descriptor), self.account)?;
        }
        self.values.push(value);
        Ok(())
    }

    /// Appends a histogram: for each bound the number of observations above the bound before, one number more for those above all
    /// bounds, and the sum of all observations where it is known. The descriptor is of that kind.
    ///
    /// # Errors
    ///
    /// Why it was left out.
    pub(crate) fn push_histogram(
        &mut self,
        name: &str,
        labels: &impl LabelSet,
        descriptor: &Arc<Descriptor>,
        bounds: &BucketBounds,
        counts: &[u64],
        sum: Option<Value>,
    ) -> Result<(), &'static str> {
        if counts.len() != bounds.labels().len() {
            return Err("it has another number of buckets than of bounds");
        }
        let write = |builder: &mut Self| {
            check_labels(descriptor.kind, labels)?;
            let mut total = 0;
            for (bound, count) in bounds.labels().iter().zip(counts) {
                total = u64::saturating_add(total, *count);
                let labels = ExtendedLabels(labels, "le", bound);
                builder.push_column(name, &labels, Column::Bucket, descriptor, total.into())?;
            }
            if let Some(sum) = sum {
                builder.push_column(name, labels, Column::Sum, descriptor, sum)?;
            }
            builder.push_column(name, labels, Column::Count, descriptor, total.into())
        };
        self.push_whole(write).map_err(SeriesError::reason)
    }

    /// Appends a summary: a value for each quantile, and the sum and the number of all observations where they are known. The
    /// descriptor is of that kind.
    ///
    /// # Errors
    ///
    /// Why it was left out.
    pub(crate) fn push_summary(
        &mut self,
        name: &str,
        labels: &impl LabelSet,
        descriptor: &Arc<Descriptor>,
        quantiles: &Quantiles,
        values: impl ExactSizeIterator<Item = Value>,
        (sum, count): (Option<Value>, Option<Value>),
    ) -> Result<(), &'static str> {
        if values.len() != quantiles.labels().len() {
            return Err("it has another number of values than of quantiles");
        }
        let write = |builder: &mut Self| {
            check_labels(descriptor.kind, labels)?;
            for (quantile, value) in quantiles.labels().iter().zip(values) {
                let labels = ExtendedLabels(labels, "quantile", quantile);
                builder.push_column(name, &labels, Column::Quantile, descriptor, value)?;
            }
            for (column, value) in [(Column::Sum, sum), (Column::Count, count)] {
                if let Some(value) = value {
                    builder.push_column(name, labels, column, descriptor, value)?;
                }
            }
            Ok(())
        };
        self.push_whole(write).map_err(SeriesError::reason)
    }

    /// Appends a whole metric of several columns, or nothing.
    fn push_whole(&mut self, push: impl FnOnce(&mut Self) -> Result<(), SeriesError>) -> Result<(), SeriesError> {
        let length = self.schema.len();
        push(self).inspect_err(|_| {
            self.schema.truncate(length);
            self.values.truncate(length);
        })
    }

    /// The module of a tick.
    pub(crate) fn finish(self, time: Duration) -> Module {
        let (schema, values) = (self.schema.finish(), self.values);
        debug_assert_eq!(schema.series().len(), values.len(), "each series has a value");
        Module { time, schema, values }
    }
}

/// Why a metric was not appended by [`ModuleBuilder::push_known`].
#[derive(Debug)]
pub(crate) enum NotPushed {
    /// The schema of the tick before does not have it there. The value.
    Unknown(Value),
    Refused(SeriesError),
}
