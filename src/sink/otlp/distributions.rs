//! All histograms and summaries of a sink: the numbers of their columns are collected until the end of a module.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Age, Batch};
use super::distribution::{Buckets, ColumnHandle, Distribution, DistributionKind, Flaw};
use super::kept::{Handle, Kept};
use super::point::{FixedParts, nanoseconds};
use crate::naming::Number;
use crate::sample::{Label, Module, Schema, Text};
use crate::sink::numeric::NamedSeries;

/// How many different metrics are reported. More would be a flood, from a plugin that invents names.
const MAX_REPORTS: usize = 100;

/// The identity of a histogram or summary. Those of two modules are two, whose columns do not mix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct DistributionKey {
    module: Text,
    metric: usize,
    labels: Vec<Label>,
}

/// The histograms and summaries.
#[derive(Debug, Default)]
pub(super) struct Distributions {
    all: Kept<DistributionKey, Distribution>,
    /// The module that is being read.
    module: Option<(Duration, Arc<Schema>)>,
    /// Those with a number in it.
    touched: Vec<usize>,
    buckets: Buckets,
    /// How many series are left out of this sample, since a point needs all columns.
    left_out: usize,
    reported: HashSet<Text>,
}

/// A series that is a column.
#[derive(Debug)]
pub(super) struct ColumnOf {
    distribution: Handle,
    column: ColumnHandle,
}

impl Distributions {
    /// The column that a series is. None where its bound is no number.
    pub(super) fn column(
        &mut self,
        series: &NamedSeries<'_>,
        metric: Handle,
        kind: DistributionKind,
        start: Option<u64>,
    ) -> Option<ColumnOf> {
        let bound = match &series.column_label {
            Some(label) => label.value.parse().ok().filter(|bound: &f64| !bound.is_nan())?,
            None => 0.0,
        };
        let labels = series.named.labels.clone();
        let key = DistributionKey { module: series.source.module.clone(), metric: metric.place(), labels };
        let distribution = self.all.handle(key, |key| {
            let fixed = FixedParts::new(kind.fields(), start, &key.labels);
            Distribution::new(metric, series.named.name.clone(), kind, fixed)
        });
        let column = self.all.get_mut(distribution.place())?.column(series.series, bound);
        Some(ColumnOf { distribution, column })
    }

    /// Begins a module.
    pub(super) fn begin(&mut self, module: &Module) {
        self.module = Some((module.time, Arc::clone(module.schema())));
    }

    /// Takes the number of a column.
    pub(super) fn set(&mut self, ColumnOf { distribution: handle, column }: &ColumnOf, number: Number) {
        if let Some(distribution) = self.all.get_mut(handle.place()) {
            distribution.set(column, number);
            if !std::mem::replace(&mut distribution.is_touched, true) {
                self.touched.push(handle.place());
            }
        }
    }

    /// Ends a module: its distributions become points. `full` takes a request that has as many points as one may have.
    pub(super) fn finish(&mut self, batch: &mut Batch, mut full: impl FnMut(&mut Batch)) {
        let Some((time, schema)) = self.module.take() else { return };
        for place in self.touched.drain(..) {
            let Some(distribution) = self.all.get_mut(place) else { continue };
            if distribution.fixed.follow(batch.scope_version(&distribution.metric)) {
                end(batch, distribution, Age::Former, time);
            }
            let mut flaw = None;
            batch.add(&distribution.metric, Age::Current, time, |points| {
                flaw = distribution.put(nanoseconds(time), &schema, &mut self.buckets, points).err();
                flaw.is_none()
            });
            match flaw {
                None => distribution.is_sent = true,
                Some(flaw) => {
                    self.left_out += distribution.len();
                    report(&mut self.reported, &distribution.name, &schema.source().module, flaw);
                }
            }
            distribution.clear();
            distribution.is_touched = false;
            if batch.is_full() {
                full(batch);
            }
        }
    }

    /// A column has ended at this time.
    pub(super) fn end(&mut self, ColumnOf { distribution, .. }: &ColumnOf, time: Duration) {
        if let Some(distribution) = self.all.get_mut(distribution.place()) {
            distribution.ending = distribution.ending.max(Some(time));
        }
    }

    /// Ends a sample: distributions without a column end, too, with the last of their columns.
    pub(super) fn sweep(&mut self, batch: &mut Batch, mut full: impl FnMut(&mut Batch)) {
        for distribution in self.all.values_mut() {
            let ending = distribution.ending.take();
            if let Some(time) = ending.filter(|_| distribution.is_unused())
                && std::mem::take(&mut distribution.is_sent)
            {
                let is_former = distribution.fixed.follow(batch.scope_version(&distribution.metric));
                end(batch, distribution, if is_former { Age::Former } else { Age::Current }, time);
                if batch.is_full() {
                    full(batch);
                }
            }
            distribution.sweep();
        }
        self.all.sweep();
    }

    /// How many series were left out since this was asked for.
    pub(super) fn take_left_out(&mut self) -> usize {
        std::mem::take(&mut self.left_out)
    }
}

/// Ends a distribution.
fn end(batch: &mut Batch, distribution: &Distribution, age: Age, time: Duration) {
    batch.add(&distribution.metric, age, time, |points| {
        distribution.put_end(nanoseconds(time), points);
        true
    });
}

/// Reports a point that is left out, once for each metric.
fn report(reported: &mut HashSet<Text>, name: &Text, module: &str, flaw: Flaw) {
    if reported.len() < MAX_REPORTS && reported.insert(name.clone()) {
        let (reason, remedy) = (flaw.reason(), "select all of its series, and measure them at one moment");
        tracing::warn!(name = &**name, module, reason, remedy, "histogram or summary not sent");
    }
}
