//! The positions of selected fields in a file. A kernel has hundreds of fields and keeps their order while it runs, so
//! positions are looked up once, and again when the names in a line change.

use gauged_plugin::kernel::{self, File};
use gauged_plugin::{Descriptor, Kind, Sample};

use crate::field_name;

/// The lines of names of a file, in order, with the metrics of each.
#[derive(Debug, Default)]
pub(crate) struct Layout(Vec<Names>);

#[derive(Debug)]
struct Names {
    /// The names as in the file, to detect changes.
    text: Box<str>,
    /// The metric of each value, if selected; empty if none is.
    metrics: Vec<Option<&'static Descriptor>>,
}

impl Layout {
    /// Reads a file with alternating lines of names and values.
    pub(crate) fn read_pairs(
        &mut self,
        file: &File,
        fields: &[&'static Descriptor],
        sample: &mut Sample,
    ) -> Result<(), kernel::Error> {
        let (mut lines, mut at) = (file.lines(), 0);
        while let Some(names) = lines.next() {
            let group = names.key_values().0;
            let line = lines.next().ok_or_else(|| names.error(format_args!("the values of {group} are missing")))?;
            let (same, mut values) = line.key_values();
            if same != group {
                return Err(line.error(format_args!("has values of {same} instead of {group}")));
            }
            let metrics =
                self.metrics(at, names.text(), || names.key_values().1.map(|name| find(fields, group, name)).collect());
            at += 1;
            for metric in metrics {
                match metric {
                    Some(metric) => set(sample, metric, values.number(field_name(metric))?),
                    None => drop(values.word("values for all names")?),
                }
            }
            if let Some(value) = values.next().filter(|_| !metrics.is_empty()) {
                return Err(line.error(format_args!("value {value} has no name")));
            }
        }
        if at == 0 { Err(file.error("is empty")) } else { Ok(()) }
    }

    /// Reads a file with a name and a value per line, as in `Ip6InOctets 7`; the group ends with the 6.
    pub(crate) fn read_lines(
        &mut self,
        file: &File,
        fields: &[&'static Descriptor],
        sample: &mut Sample,
    ) -> Result<(), kernel::Error> {
        for (at, line) in file.lines().enumerate() {
            let (key, mut value) = line.key_values();
            let metrics = self.metrics(at, key, || {
                let parts = key.find('6').and_then(|at| key.split_at_checked(at + 1));
                vec![parts.and_then(|(group, name)| find(fields, group, name))]
            });
            if let [Some(metric)] = metrics {
                set(sample, metric, value.number(key)?);
            }
        }
        Ok(())
    }

    /// The metrics of the names at a position.
    fn metrics(
        &mut self,
        at: usize,
        text: &str,
        find_metrics: impl FnOnce() -> Vec<Option<&'static Descriptor>>,
    ) -> &[Option<&'static Descriptor>] {
        if self.0.get(at).is_none_or(|names| *names.text != *text) {
            let mut metrics = find_metrics();
            if metrics.iter().all(Option::is_none) {
                metrics.clear();
            }
            // Later lines may have moved as well.
            self.0.truncate(at);
            self.0.push(Names { text: text.into(), metrics });
        }
        self.0.get(at).map_or(&[], |names| &names.metrics)
    }
}

/// The selected field with this name.
fn find(fields: &[&'static Descriptor], group: &str, name: &str) -> Option<&'static Descriptor> {
    let matches = |metric: &Descriptor| field_name(metric).split_once('_') == Some((group, name));
    fields.iter().copied().find(|metric| matches(metric))
}

fn set(sample: &mut Sample, metric: &Descriptor, value: u64) {
    // The kernel sums a gauge over CPUs while they change it, so it can be negative for a moment, which reads as nearly
    // 2^64.
    let is_negative = metric.kind == Kind::Gauge && value > u64::MAX / 2;
    if !is_negative {
        sample.set(*metric, value);
    }
}
