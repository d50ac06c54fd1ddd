//! Fills modules from the results of plugins and of the agent's own collectors.

use std::sync::Arc;
use std::time::Duration;

use super::descriptor::Descriptor;
use super::labels::{LabelSet, Text};
use super::module::{CollectorVersion, Module};
use super::schema::{Schema, SchemaBuilder, SeriesError};
use super::series::{Column, SeriesAccount};
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
    pub(crate) fn push_known(&mut self, name: &str, labels: &impl LabelSet, value: Value) -> Result<(), KnownError> {
        match self.schema.advance(name, labels, Column::Value) {
            Ok(true) => {
                self.values.push(value);
                Ok(())
            }
            Ok(false) => Err(KnownError::Unknown(value)),
            Err(error) => Err(KnownError::Refused(error)),
        }
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

    pub(crate) fn finish(self, name: Text, collector: Arc<CollectorVersion>, time: Duration, step: Duration) -> Module {
        Module { name, collector, time, step, schema: self.schema.finish(), values: self.values }
    }
}

/// Why a metric was not appended by [`ModuleBuilder::push_known`].
#[derive(Debug)]
pub(crate) enum KnownError {
    /// The schema of the tick before does not have it there. The value.
    Unknown(Value),
    Refused(SeriesError),
}
