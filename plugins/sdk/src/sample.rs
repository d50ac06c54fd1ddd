//! The sample of one tick: values by metric and labels, grouped by module as in the WIT.

use crate::bindings::gauged::plugin::metrics::{Label, Metric, Module};
use crate::bounds::COUNT;
use crate::skipped::Skip;
use crate::{Descriptor, Value};

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
    pub fn set(&mut self, metric: Descriptor, value: impl IntoValue) {
        self.push(&metric, &[], value.into_value());
    }

    /// A row of metrics with these labels, in this order. Name and labels together must be unique.
    pub fn labelled<'a>(&'a mut self, labels: &'a [(&'a str, &'a str)]) -> Row<'a> {
        Row { sample: self, labels }
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.modules.iter().map(|module| module.metrics.len()).sum()
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    pub(crate) fn into_modules(self) -> Vec<Module> {
        self.modules
    }

    fn push(&mut self, metric: &Descriptor, labels: &[(&str, &str)], value: Option<Value>) {
        let Some(value) = value else { return };
        if let Value::Unsigned(number) = value
            && COUNT.check(number).is_none()
        {
            // A plugin that checks what it reads reports file and line, and does not come here.
            Skip::malformed(metric.module, &number.to_string(), COUNT.reason).report(metric.name);
            return;
        }
        let labels = labels.iter().map(|&(name, value)| Label { name: name.to_owned(), value: value.to_owned() });
        let metric_of_sample = Metric { name: metric.name.to_owned(), labels: labels.collect(), value };
        // Search from the end: most plugins fill one module after the other.
        match self.modules.iter_mut().rev().find(|module| module.name == metric.module) {
            Some(module) => module.metrics.push(metric_of_sample),
            None => self.modules.push(Module { name: metric.module.to_owned(), metrics: vec![metric_of_sample] }),
        }
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
    pub fn set(&mut self, metric: Descriptor, value: impl IntoValue) -> &mut Self {
        self.sample.push(&metric, self.labels, value.into_value());
        self
    }
}

/// A type that can be the value of a metric: an integer, float, boolean or text, or an `Option` of these, where `None`
/// leaves the metric out.
pub trait IntoValue {
    #[doc(hidden)]
    fn into_value(self) -> Option<Value>;
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Option<Value> {
        self?.into_value()
    }
}

macro_rules! into_value {
    ($($from:ty as $case:ident($convert:expr),)+) => {
        $(impl IntoValue for $from {
            fn into_value(self) -> Option<Value> {
                Some(Value::$case($convert(self)))
            }
        })+
    };
}

into_value! {
    u64 as Unsigned(u64::from),
    u32 as Unsigned(u64::from),
    u16 as Unsigned(u64::from),
    usize as Unsigned(|value| value as u64),
    i64 as Signed(i64::from),
    i32 as Signed(i64::from),
    f64 as Float(f64::from),
    bool as Boolean(bool::from),
    &str as Text(str::to_owned),
    String as Text(String::from),
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::metrics! {
        module "a";
        /// First.
        FIRST: gauge "first" in "1";
        /// Second.
        SECOND: gauge "second" in "1";
        module "b";
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
        assert_eq!(values, [("first", &Value::Unsigned(1)), ("second", &Value::Boolean(true)), ("first", &text)]);
        let labels: Vec<_> = modules[0].metrics[1].labels.iter().map(|label| (&*label.name, &*label.value)).collect();
        assert_eq!(labels, [("x", "1"), ("y", "2")]);
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
