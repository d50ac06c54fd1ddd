//! The sample of one tick: values by metric and labels, grouped by module as in the WIT.

use crate::Value;
use crate::bindings::gauged::plugin::metrics::{Label, Metric, Module};
use crate::bounds::COUNT;
use crate::descriptor::{Described, FoundMetric};
use crate::skipped::Skip;
use crate::value::IntoValue;

/// The sample of one tick. [`Plugin::collect`](crate::Plugin::collect) gets an empty one. An integer of 2^63 and more is
/// [impossible](crate::bounds::COUNT): it is left out, and reported.
///
/// ```
/// use gauged_plugin::Sample;
///
/// gauged_plugin::metrics! {
///     module "disk";
///     /// Number of disks.
///     DISKS: gauge "disks" in "1";
///     /// Completed reads.
///     READS: counter "reads_total" in "{operation}";
/// }
///
/// let mut sample = Sample::default();
/// sample.set(DISKS, 2_u64);
/// for (disk, reads) in [("sda", 100_u64), ("sdb", 7)] {
///     sample.labelled(&[("device", disk)]).set(READS, reads);
/// }
/// assert_eq!(sample.len(), 3);
/// ```
#[derive(Debug, Default)]
pub struct Sample {
    modules: Vec<Module>,
}

impl Sample {
    /// Sets a metric without labels. `None` leaves it out.
    pub fn set(&mut self, metric: impl Described, value: impl IntoValue) {
        self.push(metric.module(), metric.name(), &[], value.into_value());
    }

    /// A row of metrics with these labels, in this order. Name and labels together must be unique.
    #[inline]
    pub fn labelled<'a>(&'a mut self, labels: &'a [(&'a str, &'a str)]) -> Row<'a> {
        Row { sample: self, labels }
    }

    /// Describes a metric that became known only now, such as one of a scraped exporter. The agent keeps the descriptor as long as the
    /// plugin runs, so once is enough; to repeat it costs little.
    pub fn describe(&mut self, metric: &FoundMetric) {
        self.module(metric.module()).descriptors.push(metric.0.clone());
    }

    /// Sets the moment at which the metrics of a module were measured, in milliseconds since the Unix epoch: at most an hour before
    /// the tick, and never before that of the module's last sample.
    pub fn set_time(&mut self, module: &str, unix_ms: u64) {
        self.module(module).unix_ms = Some(unix_ms);
    }

    /// Keeps the names of a module as they are in every output, since they are somebody else's, such as a scraped exporter's. It may
    /// have metrics that nobody has described.
    pub fn keep_names(&mut self, module: &str) {
        self.module(module).verbatim = true;
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.modules.iter().map(|module| module.metrics.len()).sum()
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn into_modules(self) -> Vec<Module> {
        self.modules
    }

    #[inline]
    fn push(&mut self, module: &str, name: &str, labels: &[(&str, &str)], value: Option<Value>) {
        let Some(value) = value else { return };
        if let Value::Natural(number) = value
            && COUNT.check(number).is_none()
        {
            // A plugin that checks what it reads reports file and line, and does not come here.
            Skip::malformed(module, &number.to_string(), COUNT.reason).report(name);
            return;
        }
        let labels = labels.iter().map(|&(name, value)| Label { name: name.to_owned(), value: value.to_owned() });
        let metric = Metric { name: name.to_owned(), labels: labels.collect(), value };
        self.module(module).metrics.push(metric);
    }

    /// The module with this name.
    #[inline]
    fn module(&mut self, name: &str) -> &mut Module {
        // Search from the end: most plugins fill one module after the other.
        let known = self.modules.iter().rposition(|module| module.name == name);
        let at = known.unwrap_or_else(|| {
            let (metrics, descriptors) = (Vec::new(), Vec::new());
            self.modules.push(Module { name: name.to_owned(), unix_ms: None, verbatim: false, metrics, descriptors });
            self.modules.len() - 1
        });
        &mut self.modules[at]
    }
}

/// Metrics with the same labels, made by [`Sample::labelled`].
#[derive(Debug)]
pub struct Row<'a> {
    sample: &'a mut Sample,
    labels: &'a [(&'a str, &'a str)],
}

impl Row<'_> {
    /// Sets a metric with the labels of this row. `None` leaves it out.
    pub fn set(&mut self, metric: impl Described, value: impl IntoValue) -> &mut Self {
        self.sample.push(metric.module(), metric.name(), self.labels, value.into_value());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Quantile, Summary};

    crate::metrics! {
        module "a" by {"x": "X", "y": "Y"};
        /// First.
        FIRST: gauge "first" in "1";
        /// Second.
        SECOND: gauge "second" in "1";
        module "b" by {"x": "X"};
        /// Third.
        THIRD: gauge "third" in "1";
    }

    #[test]
    fn metrics_are_grouped_by_module() {
        let mut sample = Sample::default();
        assert!(sample.is_empty());
        sample.set(FIRST, 1_u64);
        sample.set(THIRD, -1_i64);
        sample.labelled(&[("x", "1"), ("y", "2")]).set(SECOND, true).set(FIRST, None::<f64>).set(FIRST, "text");
        sample.set(SECOND, None::<u64>);
        assert_eq!((sample.len(), METRICS.len()), (4, 3));
        let modules = sample.into_modules();
        let names: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let values: Vec<_> = modules[0].metrics.iter().map(|metric| (&*metric.name, &metric.value)).collect();
        let text = Value::Text("text".to_owned());
        assert_eq!(values, [("first", &Value::Natural(1)), ("second", &Value::Boolean(true)), ("first", &text)]);
        let labels: Vec<_> = modules[0].metrics[1].labels.iter().map(|label| (&*label.name, &*label.value)).collect();
        assert_eq!(labels, [("x", "1"), ("y", "2")]);
    }

    #[test]
    fn modules_have_times_and_descriptors() {
        let mut sample = Sample::default();
        let found = FoundMetric::summary("c", "size_bytes", "By", "Sizes.");
        sample.set_time("c", 1000);
        sample.keep_names("c");
        sample.describe(&found);
        assert!(sample.is_empty(), "there is no value yet");
        let median = Quantile { share: 0.5, value: Some(2.0) };
        sample.set(&found, Summary { quantiles: vec![median], sum: None, count: Some(3) });
        sample.set(FIRST, 1_u64);
        let modules = sample.into_modules();
        assert_eq!(
            (modules[0].unix_ms, modules[0].verbatim, &modules[0].descriptors[..]),
            (Some(1000), true, &[found.0][..])
        );
        assert_eq!((modules[1].unix_ms, modules[1].verbatim, modules[1].descriptors.len()), (None, false, 0));
    }

    #[test]
    fn number_with_its_top_bit_set_is_left_out() {
        let mut host = crate::testing::Host::new();
        let mut sample = Sample::default();
        host.run(|| {
            sample.set(FIRST, u64::MAX);
            sample.set(SECOND, u64::MAX >> 1);
            sample.labelled(&[("x", "1")]).set(THIRD, 1_u64 << 63);
        });
        assert_eq!(sample.len(), 1);
        assert_eq!(
            host.warnings(),
            [
                format!("WARN without first: a is malformed: {}", COUNT.reason),
                format!("WARN without third: b is malformed: {}", COUNT.reason),
            ]
        );
    }
}
