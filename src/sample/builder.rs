//! Fills modules from the results of plugins and of the agent's own collectors.

use std::sync::Arc;
use std::time::Duration;

use super::descriptor::Descriptor;
use super::labels::LabelSet;
use super::module::Module;
use super::schema::{Schema, SchemaBuilder, SeriesError};
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

    pub(super) fn push_column(
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

    /// Appends a whole metric of several columns, or nothing.
    pub(super) fn push_whole(
        &mut self,
        push: impl FnOnce(&mut Self) -> Result<(), SeriesError>,
    ) -> Result<(), SeriesError> {
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
