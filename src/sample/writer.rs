//! Writes the modules of the agent's own collectors, which use their memory again and again.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::builder::{ModuleBuilder, NotPushed};
use super::descriptor::{Descriptor, MetricKind, NativeMetric};
use super::histogram::{BucketBounds, Quantiles};
use super::labels::{Labels, Text};
use super::module::Module;
use super::recycler::Recycler;
#[cfg(any(test, fuzzing))]
use super::schema::CollectorVersion;
use super::schema::{ModuleSource, Schema};
use super::series::{Series, SeriesAccount};
use super::value::Value;

/// Writes a module of the agent's own, tick after tick. It allocates nothing as long as the series stay the same.
#[derive(Debug)]
pub struct ModuleWriter {
    account: Arc<SeriesAccount>,
    /// The descriptors of its metrics, sorted by name.
    descriptors: Vec<Arc<Descriptor>>,
    schema: Arc<Schema>,
    modules: Recycler<Module>,
}

impl ModuleWriter {
    /// A writer for a module whose metrics are described in a table.
    #[must_use]
    pub fn new(
        source: ModuleSource,
        metrics: impl IntoIterator<Item = &'static NativeMetric>,
        account: &Arc<SeriesAccount>,
    ) -> Self {
        let own = metrics.into_iter().filter(|metric| *metric.module == *source.module);
        let mut descriptors: Vec<_> = own.map(|metric| Arc::new(metric.descriptor())).collect();
        descriptors.sort_unstable_by_key(|descriptor: &Arc<Descriptor>| descriptor.name.clone());
        let schema = Schema::empty(source);
        Self { account: Arc::clone(account), descriptors, schema, modules: Recycler::default() }
    }

    /// The module's name.
    #[must_use]
    pub fn name(&self) -> &Text {
        &self.schema.source().module
    }

    /// Writes the module of a tick. Returns it with what `fill` returns.
    pub fn write<T>(&mut self, time: Duration, fill: impl FnOnce(&mut Values<'_>) -> T) -> (Arc<Module>, T) {
        let mut module = self.modules.take(|_| true);
        let values = module.as_mut().and_then(Arc::get_mut).map(|module| std::mem::take(&mut module.values));
        let values = values.unwrap_or_else(|| Vec::with_capacity(self.schema.series().len()));
        let (written, returned) = self.fill(time, values, fill);
        let module = Recycler::fill(module, written);
        self.modules.keep(&module);
        (module, returned)
    }

    /// Writes metrics that another writer adds to its own; `memory` is used again.
    pub(crate) fn write_part(&mut self, memory: Vec<Value>, fill: impl FnOnce(&mut Values<'_>)) -> ModulePart {
        let (Module { schema, values, .. }, ()) = self.fill(Duration::ZERO, memory, fill);
        ModulePart { schema, values }
    }

    fn fill<T>(
        &mut self,
        time: Duration,
        mut memory: Vec<Value>,
        fill: impl FnOnce(&mut Values<'_>) -> T,
    ) -> (Module, T) {
        memory.clear();
        let mut filled =
            Values { builder: ModuleBuilder::new(&self.account, &self.schema, memory), descriptors: &self.descriptors };
        let returned = fill(&mut filled);
        let written = filled.builder.finish(time);
        if !Arc::ptr_eq(&self.schema, &written.schema) {
            self.schema = Arc::clone(&written.schema);
        }
        (written, returned)
    }
}

/// A module of a test.
#[cfg(any(test, fuzzing))]
pub(crate) fn test_module(name: impl Into<Text>, fill: impl FnOnce(&mut Values<'_>)) -> Arc<Module> {
    let collector = CollectorVersion::native("test");
    let source = ModuleSource { module: name.into(), collector, step: Duration::ZERO, is_verbatim: false };
    ModuleWriter::new(source, [], &SeriesAccount::standalone()).write(Duration::ZERO, fill).0
}

fn finite(number: f64) -> Value {
    Some(number).filter(|number| number.is_finite()).into()
}

/// Metrics that one writer of a module adds to those of another.
#[derive(Debug)]
pub(crate) struct ModulePart {
    schema: Arc<Schema>,
    values: Vec<Value>,
}

impl ModulePart {
    /// The memory of the values, to be used again.
    pub(crate) fn into_memory(self) -> Vec<Value> {
        self.values
    }
}

/// The series of several metrics with the same labels, which were found at an earlier tick. Each plugin has one, so that a tick
/// compares addresses and does not read the names of a thousand plugins' metrics again.
#[derive(Debug, Default)]
pub(crate) struct SeriesRow {
    series: Box<[Arc<Series>]>,
    /// The metrics that had a value, one bit each.
    present: u32,
}

/// The values of a module that is being written. A metric that breaks the rules is left out: that is an error of the
/// collector.
#[derive(Debug)]
pub struct Values<'a> {
    builder: ModuleBuilder<'a>,
    descriptors: &'a [Arc<Descriptor>],
}

impl<'a> Values<'a> {
    /// Appends a metric without labels.
    pub fn push(&mut self, name: &str, value: impl Into<Value>) {
        self.push_labelled(name, &Labels::default(), value);
    }

    /// Appends a metric with labels.
    pub fn push_labelled(&mut self, name: &str, labels: &Labels, value: impl Into<Value>) {
        if let Err(NotPushed::Unknown(value)) = self.builder.push_known(name, labels, value.into()) {
            let descriptor = self.descriptor(name);
            // Refused series are left out.
            let _ = self.builder.push_new(name, labels, descriptor, value);
        }
    }

    /// Appends metrics with the same labels; those without a value are left out. Their names are the same at each tick.
    pub(crate) fn push_row<const N: usize>(
        &mut self,
        row: &mut SeriesRow,
        labels: &Labels,
        metrics: [(&'static str, Option<Value>); N],
    ) {
        const { assert!(N <= u32::BITS as usize, "one bit for each metric") };
        let present = metrics.iter().fold(0, |present, (_, value)| present << 1 | u32::from(value.is_some()));
        if row.present == present && self.builder.take_series(&row.series) {
            return self.builder.push_all(metrics.into_iter().filter_map(|(_, value)| value));
        }
        let length = self.builder.len();
        for (name, value) in metrics {
            if let Some(value) = value {
                self.push_labelled(name, labels, value);
            }
        }
        let series = self.builder.series_since(length);
        // Not when one was refused: then the next tick tries again.
        if series.len() == present.count_ones() as usize {
            *row = SeriesRow { series: series.into(), present };
        }
    }

    /// The number of metrics so far.
    pub(crate) fn len(&self) -> usize {
        self.builder.len()
    }

    /// Moves metrics into the module that another writer of it has written.
    pub(crate) fn push_part(&mut self, part: &mut ModulePart) {
        let ModulePart { schema, values } = part;
        self.push_series(schema.series(), values.drain(..));
    }

    /// Appends metrics of an earlier tick again.
    pub(crate) fn push_again(&mut self, module: &Module, range: Range<usize>) {
        let series = module.schema().series().get(range.clone()).unwrap_or_default();
        self.push_series(series, module.values.get(range).unwrap_or_default().iter().cloned());
    }

    fn push_series(&mut self, series: &[Arc<Series>], values: impl Iterator<Item = Value>) {
        if self.builder.take_series(series) {
            return self.builder.push_all(values);
        }
        for (series, value) in series.iter().zip(values) {
            self.push_labelled(series.name(), series.labels(), value);
        }
    }

    /// Appends a histogram: for each bound the number of observations above the bound before, one number more for those above
    /// all bounds, and the sum of all observations. The metric has a descriptor of that kind.
    ///
    /// # Errors
    ///
    /// When a metric of the module has one of its names, or it has a label `le` itself.
    pub fn push_histogram(
        &mut self,
        name: &str,
        labels: &Labels,
        bounds: &BucketBounds,
        counts: &[u64],
        sum: f64,
    ) -> Result<(), &'static str> {
        let Some(descriptor) = self.descriptor(name).filter(|descriptor| descriptor.kind == MetricKind::Histogram)
        else {
            return Err("it is not described as a histogram");
        };
        self.builder.push_histogram(name, labels, descriptor, bounds, counts, Some(finite(sum)))
    }

    /// Appends a summary: a value for each quantile, and the sum and the number of all observations. The metric has a
    /// descriptor of that kind.
    ///
    /// # Errors
    ///
    /// When a metric of the module has one of its names, or it has a label `quantile` itself.
    pub fn push_summary(
        &mut self,
        name: &str,
        labels: &Labels,
        quantiles: &Quantiles,
        values: &[Option<f64>],
        (sum, count): (f64, u64),
    ) -> Result<(), &'static str> {
        let Some(descriptor) = self.descriptor(name).filter(|descriptor| descriptor.kind == MetricKind::Summary) else {
            return Err("it is not described as a summary");
        };
        let values = values.iter().map(|value| value.map_or(Value::Null, finite));
        let (sum, count) = (Some(finite(sum)), Some(count.into()));
        self.builder.push_summary(name, labels, descriptor, quantiles, values, (sum, count))
    }

    fn descriptor(&self, name: &str) -> Option<&'a Arc<Descriptor>> {
        let at = self.descriptors.binary_search_by(|descriptor| (*descriptor.name).cmp(name)).ok()?;
        Some(&self.descriptors[at])
    }
}

#[cfg(test)]
mod tests {
    use super::super::series::{Series, SeriesTable};
    use super::super::{Sample, is_scraped_name};
    use super::*;
    use crate::sink::{Style, encode};

    const TICK: Duration = Duration::from_secs(1_700_000_000);

    const fn described(name: &'static str, kind: MetricKind) -> NativeMetric {
        NativeMetric { kind, ..NativeMetric::gauge("m", name, "s", "A description.", "a source") }
    }

    static METRICS: [NativeMetric; 3] = [
        described("wait_seconds", MetricKind::Histogram),
        described("size_bytes", MetricKind::Summary),
        described("level", MetricKind::Gauge),
    ];

    fn source(is_verbatim: bool) -> ModuleSource {
        let collector = CollectorVersion::native("test");
        ModuleSource { module: "m".into(), collector, step: Duration::from_secs(10), is_verbatim }
    }

    fn writer(account: &Arc<SeriesAccount>) -> ModuleWriter {
        ModuleWriter::new(source(false), &METRICS, account)
    }

    fn json(module: &Arc<Module>) -> serde_json::Value {
        let mut bytes = Vec::new();
        encode(&Sample { modules: vec![Arc::clone(module)], ..Sample::default() }, Style::Line, &mut bytes);
        serde_json::from_slice(&bytes).expect("JSON")
    }

    fn keys(module: &Module) -> Vec<String> {
        module.metrics().map(|metric| metric.key().to_string()).collect()
    }

    #[test]
    fn changed_bounds_are_new_series() {
        let mut writer = writer(&SeriesAccount::standalone());
        let mut write = |bounds: &[f64]| {
            let (bounds, counts) = (BucketBounds::new(bounds).expect("rising"), vec![1; bounds.len() + 1]);
            let push = |values: &mut Values<'_>| {
                values.push_histogram("wait_seconds", &Labels::default(), &bounds, &counts, 0.0)
            };
            writer.write(TICK, push).0
        };
        let (first, second) = (write(&[1.0, 2.0]), write(&[1.0, 3.0]));
        let same = |(first, second): (&Arc<Series>, &Arc<Series>)| Arc::ptr_eq(first, second);
        let same: Vec<bool> = first.schema().series().iter().zip(second.schema().series()).map(same).collect();
        assert_eq!(same, [true, false, true, true, true]);
    }

    #[test]
    fn names_of_histograms_are_reserved() {
        let (bounds, quantiles) = (BucketBounds::new(&[1.0]).expect("one"), Quantiles::new(&[0.5]).expect("one"));
        let none = Labels::default();
        let reserved = Err("a histogram or summary uses its name, or one of its labels");
        let (module, ()) = writer(&SeriesAccount::standalone()).write(TICK, |values| {
            let own = |name: &'static str| -> Labels { [(name, "1")].into() };
            assert_eq!(values.push_histogram("wait_seconds", &own("le"), &bounds, &[1, 2], 3.0), reserved);
            assert_eq!(values.push_summary("size_bytes", &own("quantile"), &quantiles, &[None], (0.0, 0)), reserved);
            assert!(values.push_histogram("level", &none, &bounds, &[1, 2], 3.0).is_err(), "it is a gauge");
            assert!(values.push_histogram("wait_seconds", &none, &bounds, &[1], 3.0).is_err(), "too few buckets");
            values.push("size_bytes_count", 1);
            assert_eq!(values.push_summary("size_bytes", &none, &quantiles, &[None], (0.0, 0)), reserved);
            assert_eq!(values.push_histogram("wait_seconds", &none, &bounds, &[1, 2], 3.0), Ok(()));
            for name in ["wait_seconds_bucket", "wait_seconds_sum", "wait_seconds_count"] {
                values.push(name, 1);
            }
            values.push("wait_seconds_other", 1);
            values.push("wait_seconds", 1);
            values.push_labelled("size_bytes", &own("quantile"), 1);
            values.push_labelled("level", &own("le"), 1);
        });
        assert_eq!(
            keys(&module),
            [
                "size_bytes_count",
                r#"wait_seconds_bucket{le="1"}"#,
                r#"wait_seconds_bucket{le="+Inf"}"#,
                "wait_seconds_sum",
                "wait_seconds_count",
                "wait_seconds_other",
                r#"level{le="1"}"#,
            ]
        );
    }

    #[test]
    fn verbatim_modules_are_metrics_like_any_other() {
        let mut writer = ModuleWriter::new(source(true), [], &SeriesAccount::standalone());
        let (module, ()) = writer.write(TICK, |values| values.push("node_load1:avg", 0.5));
        assert!(module.schema().source().is_verbatim);
        assert_eq!(json(&module), serde_json::json!({ "m": { "node_load1:avg": 0.5 } }));
        let (module, ()) = writer.write(TICK, |values| values.push("other", 1));
        assert!(module.schema().source().is_verbatim, "also when its series change");
        for (name, is_valid) in [("a:b", true), (":b", true), ("_1", true), ("1a", false), ("", false), ("a-b", false)]
        {
            assert_eq!(is_scraped_name(name), is_valid, "{name}");
        }
    }

    #[test]
    fn module_memory_is_used_again() {
        let mut writer = writer(&SeriesAccount::standalone());
        let names: Vec<String> = (0..100).map(|number| format!("metric{number}")).collect();
        let mut write = || writer.write(TICK, |values| names.iter().for_each(|name| values.push(name, 1))).0;
        // A sink has the last module, until it gets the next one.
        let mut last = write();
        let mut places = Vec::new();
        for _ in 0..6 {
            last = write();
            places.push((Arc::as_ptr(&last), last.values.as_ptr()));
        }
        assert_eq!(places[..2], places[2..4]);
        assert_eq!(places[2..4], places[4..]);
        assert_eq!(last.len(), 100);
    }

    #[test]
    fn excess_series_are_left_out() {
        let account = SeriesAccount::new(Arc::new(SeriesTable::default()), 2);
        let (module, ()) = writer(&account).write(TICK, |values| {
            for name in ["a", "b", "c"] {
                values.push(name, 1);
            }
        });
        assert_eq!(keys(&module), ["a", "b"]);
    }
}
