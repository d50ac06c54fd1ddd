//! The sample of one tick: values by metric and labels, grouped by module as in the WIT.

#[cfg(not(target_family = "wasm"))]
use crate::bindings::gauged::plugin::metrics as wire;
use crate::bounds::COUNT;
use crate::descriptor::{Described, FoundMetric};
use crate::lowered::{Content, Module, Span};
use crate::scan::is_same;
use crate::skipped::Skip;
use crate::value::IntoValue;
use crate::{Error, Tick, Value};

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
#[doc(alias("registry", "meter", "scrape"))]
pub struct Sample {
    content: Content,
    /// The labels of the last row.
    last_labels: Span,
}

impl Sample {
    /// Sets a metric without labels. `None` leaves it out.
    #[doc(alias("observe", "record"))]
    pub fn set(&mut self, metric: impl Described, value: impl IntoValue) {
        self.push((metric.module(), metric.name()), value.into_value(), Span::default());
    }

    /// A row of metrics with these labels, in this order. Name and labels together must be unique.
    #[doc(alias("with_label_values", "attributes"))]
    #[inline]
    pub fn labelled(&mut self, labels: &[(&str, &str)]) -> Row<'_> {
        self.row(labels.iter().copied())
    }

    /// A row of metrics with labels that were made at run time.
    ///
    /// ```
    /// use gauged_plugin::{Sample, descriptor::FoundMetric};
    ///
    /// let size = FoundMetric::gauge("app", "size_bytes", "By", "Size of the part.").with_label("part", "Name of the part");
    /// let mut sample = Sample::default();
    /// let labels = vec![("part".to_owned(), format!("part {}", 7))];
    /// sample.row(labels).set(&size, 3_u64);
    /// assert_eq!(sample.len(), 1);
    /// ```
    pub fn row<N: AsRef<str>, V: AsRef<str>>(&mut self, labels: impl IntoIterator<Item = (N, V)>) -> Row<'_> {
        let mut own = self.content.pieces.begin_labels();
        for (name, value) in labels {
            self.content.pieces.add_label(&mut own, self.last_labels, name.as_ref(), value.as_ref());
        }
        self.last_labels = own;
        Row { labels: own, sample: self }
    }

    /// Describes a metric that became known only now, such as one of a scraped exporter. The agent keeps the descriptor as long as the
    /// plugin runs, so once is enough; to repeat it costs little.
    pub fn describe(&mut self, metric: &FoundMetric) {
        let descriptor = self.content.pieces.descriptor(&metric.0);
        self.module(metric.module()).descriptors.push(descriptor);
    }

    /// Sets the moment at which the metrics of a module were measured, in milliseconds since the Unix epoch: at most an hour before
    /// the tick, and never before that of the module's last sample. A moment during this call, as of a file that is written meanwhile,
    /// counts as that of the tick.
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
        self.content.modules.iter().map(|module| module.metrics.len()).sum()
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the sample of a tick.
    pub(crate) fn finish(&mut self, tick: Tick) {
        for unix_ms in self.content.modules.iter_mut().filter_map(|module| module.unix_ms.as_mut()) {
            // The agent would refuse what was measured after the scheduled time of the tick. What is later than the next tick is an
            // error of a clock, which it has to count.
            if (tick.unix_ms..=tick.unix_ms.saturating_add(tick.interval_ms)).contains(unix_ms) {
                *unix_ms = tick.unix_ms;
            }
        }
    }

    /// The result of a call, as [`Content::lower`] has it.
    pub(crate) fn lower(&mut self, result: Result<(), Error>) -> *const u8 {
        self.content.lower(result)
    }

    /// The modules, for tests.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn modules(&self) -> Vec<wire::Module> {
        self.content.lift()
    }

    pub(crate) fn clear(&mut self) {
        self.content.clear();
        self.last_labels = Span::default();
    }

    /// Adds a metric with labels of a row, unless it is left out. One function for all types of values, which keeps plugins small.
    fn push(&mut self, (module, name): (&str, &str), value: Option<Value>, labels: Span) {
        let Some(value) = value else { return };
        if let Value::Natural(number) = value
            && COUNT.check(number).is_none()
        {
            // A plugin that checks what it reads reports file and line, and does not come here.
            Skip::malformed(module, &number.to_string(), COUNT.reason).report(name);
            return;
        }
        let at = self.module_index(module);
        let metrics = &mut self.content.modules[at].metrics;
        let metric = self.content.pieces.metric(metrics.last(), name, labels, value);
        metrics.push(metric);
    }

    /// The module with this name.
    #[inline]
    fn module(&mut self, name: &str) -> &mut Module {
        let at = self.module_index(name);
        &mut self.content.modules[at]
    }

    fn module_index(&mut self, name: &str) -> usize {
        // Search from the end: most plugins fill one module after the other.
        let known = self.content.modules.iter().rposition(|module| is_same(&module.name, name));
        known.unwrap_or_else(|| self.content.add_module(name))
    }
}

/// Metrics with the same labels, made by [`Sample::labelled`].
#[derive(Debug)]
#[doc(alias("label", "attribute", "tag"))]
pub struct Row<'a> {
    sample: &'a mut Sample,
    labels: Span,
}

impl Row<'_> {
    /// Sets a metric with the labels of this row. `None` leaves it out.
    #[doc(alias("observe", "record"))]
    pub fn set(&mut self, metric: impl Described, value: impl IntoValue) -> &mut Self {
        self.sample.push((metric.module(), metric.name()), value.into_value(), self.labels);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::wire::Module;
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

    const TICK: Tick = Tick { unix_ms: 5_000_000, monotonic_ns: 0, budget_ms: 1000, interval_ms: 10_000 };

    #[test]
    fn rows_keep_their_labels() {
        let mut sample = Sample::default();
        // The labels are copied, so that they may be temporary.
        let mut row = sample.labelled(&[("x", &*format!("{}", 1))]);
        row.set(FIRST, None::<u64>).set(FIRST, u64::MAX >> 1).set(THIRD, 2_u64).set(SECOND, 3_u64);
        sample.row([("x".to_owned(), "2".to_owned())]).set(THIRD, 4_u64);
        let modules = sample.modules();
        let labels = |module: &Module| -> Vec<String> {
            let labels = module.metrics.iter().flat_map(|metric| &metric.labels);
            labels.map(|label| [&*label.name, "=", &*label.value].concat()).collect()
        };
        assert_eq!(labels(&modules[0]), ["x=1", "x=1"]);
        assert_eq!(labels(&modules[1]), ["x=1", "x=2"]);
    }

    #[test]
    fn time_during_call_becomes_the_tick_time() {
        for (set, expected) in [
            (4_999_000, 4_999_000),
            (5_000_000, 5_000_000),
            (5_000_012, 5_000_000),
            (5_010_000, 5_000_000),
            (5_010_001, 5_010_001),
        ] {
            let mut sample = Sample::default();
            sample.set_time("a", set);
            sample.finish(TICK);
            assert_eq!(sample.modules()[0].unix_ms, Some(expected), "{set}");
        }
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
        let modules = sample.modules();
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
        let modules = sample.modules();
        assert_eq!(
            (modules[0].unix_ms, modules[0].verbatim, &modules[0].descriptors[..]),
            (Some(1000), true, &[found.0][..])
        );
        assert_eq!((modules[1].unix_ms, modules[1].verbatim, modules[1].descriptors.len()), (None, false, 0));
    }

    #[test]
    fn number_with_top_bit_set_is_left_out() {
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
