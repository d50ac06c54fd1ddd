//! The numbers of the module `agent` in a sample, by name and label.

use std::collections::BTreeMap;

use crate::sample::{AGENT, Label, Sample, Value};

/// The metrics of the agent about itself and about its parts.
#[derive(Debug, Default)]
pub(super) struct Numbers<'a> {
    /// By the name and value of the first label; both are empty for metrics without one.
    parts: BTreeMap<(&'a str, &'a str), Vec<Number<'a>>>,
}

#[derive(Debug, Clone, Copy)]
struct Number<'a> {
    name: &'a str,
    /// The value of the label after the first.
    kind: Option<&'a str>,
    value: &'a Value,
}

/// The metrics about one part.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartNumbers<'a>(&'a [Number<'a>]);

impl<'a> Numbers<'a> {
    /// The metrics of a sample.
    pub(super) fn new(sample: &'a Sample) -> Self {
        let mut parts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let agent = sample.modules.iter().find(|module| &**module.name() == AGENT);
        for metric in agent.into_iter().flat_map(|agent| agent.metrics()) {
            let mut labels = metric.labels().iter();
            let part = labels.next().map_or(("", ""), |Label { name, value }| (&**name, &**value));
            let kind = labels.next().map(|label| &*label.value);
            parts.entry(part).or_default().push(Number {
                name: metric.series.metric_name(),
                kind,
                value: metric.value,
            });
        }
        Self { parts }
    }

    /// The metrics whose first label is this one.
    pub(super) fn labelled<'n>(&'n self, label: &'n str, value: &'n str) -> PartNumbers<'n> {
        PartNumbers(self.parts.get(&(label, value)).map_or(&[], Vec::as_slice))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.labelled("", "").value(name)? {
            Value::Text(text) => Some(text.to_string()),
            _ => None,
        }
    }

    pub(super) fn float(&self, name: &str) -> Option<f64> {
        self.labelled("", "").float(name)
    }

    pub(super) fn whole(&self, name: &str) -> Option<u64> {
        self.labelled("", "").whole(name)
    }

    pub(super) fn count(&self, name: &str) -> u64 {
        self.labelled("", "").count(name)
    }
}

impl<'a> PartNumbers<'a> {
    fn value(self, name: &str) -> Option<&'a Value> {
        self.0.iter().find(|number| number.name == name && number.kind.is_none()).map(|number| number.value)
    }

    pub(super) fn float(self, name: &str) -> Option<f64> {
        match self.value(name)? {
            Value::Float(number) => Some(*number),
            Value::Unsigned(number) => Some(*number as f64),
            _ => None,
        }
    }

    pub(super) fn whole(self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    /// A counter, which begins at 0.
    pub(super) fn count(self, name: &str) -> u64 {
        self.whole(name).unwrap_or(0)
    }

    /// A counter by the label `kind`.
    pub(super) fn kinds(self, name: &str) -> BTreeMap<String, u64> {
        let kinds = self.0.iter().filter(|number| number.name == name);
        let count = |number: &Number<'_>| match (number.kind, number.value) {
            (Some(kind), Value::Unsigned(count)) => Some((kind.to_owned(), *count)),
            _ => None,
        };
        kinds.filter_map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sample::{CollectorVersion, Labels, ModuleSource, ModuleWriter, SeriesAccount};

    #[test]
    fn numbers_are_found_by_name_and_label() {
        let collector = CollectorVersion::native(AGENT);
        let source =
            ModuleSource { module: AGENT.into(), collector, step: Duration::from_secs(10), is_verbatim: false };
        let mut writer = ModuleWriter::new(source, [], &SeriesAccount::standalone());
        let labels = |pairs: &[(&'static str, &str)]| -> Labels {
            pairs.iter().map(|&(name, value)| Label { name: name.into(), value: value.into() }).collect()
        };
        let (module, ()) = writer.write(Duration::ZERO, |values| {
            values.push("series", 7_u64);
            values.push("hostname", "me");
            values.push_labelled("plugin_faults_total", &labels(&[("plugin", "a")]), 3_u64);
            values.push_labelled("plugin_faults_total", &labels(&[("plugin", "a"), ("kind", "trap")]), 3_u64);
            values.push_labelled("plugin_duration_seconds", &labels(&[("plugin", "b")]), 0.5);
        });
        let sample = Sample { modules: vec![module], ..Sample::default() };
        let numbers = Numbers::new(&sample);
        assert_eq!((numbers.whole("series"), numbers.text("hostname").as_deref()), (Some(7), Some("me")));
        assert_eq!((numbers.whole("hostname"), numbers.count("other")), (None, 0));
        let (a, b) = (numbers.labelled("plugin", "a"), numbers.labelled("plugin", "b"));
        assert_eq!((a.count("plugin_faults_total"), a.float("plugin_duration_seconds")), (3, None));
        assert_eq!(a.kinds("plugin_faults_total"), BTreeMap::from([("trap".to_owned(), 3)]));
        assert_eq!((b.float("plugin_duration_seconds"), b.kinds("plugin_faults_total").len()), (Some(0.5), 0));
    }
}
