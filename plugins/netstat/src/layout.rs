//! Where in a file the chosen fields are. A kernel has hundreds of fields and does not change their order while it runs: what
//! is at which place is found out once, and again when a line has other names than before.

use gauged_plugin::kernel::{self, File};
use gauged_plugin::{Descriptor, Kind, Sample};

use crate::field_name;

/// The lines of names of a file, in order, and what is to be measured of each.
#[derive(Debug, Default)]
pub(crate) struct Layout(Vec<Names>);

#[derive(Debug)]
struct Names {
    /// As the kernel writes them, to see whether they are still the same.
    text: Box<str>,
    /// For each value the metric that it is, if it is chosen; none at all where none is.
    metrics: Vec<Option<&'static Descriptor>>,
}

impl Layout {
    /// A file in which lines of names and of values alternate.
    pub(crate) fn in_pairs(
        &mut self,
        file: &File,
        fields: &[&'static Descriptor],
        sample: &mut Sample,
    ) -> Result<(), kernel::Error> {
        let (mut lines, mut at) = (file.lines(), 0);
        while let Some(names) = lines.next() {
            let group = names.keyed().0;
            let line = lines.next().ok_or_else(|| names.error(format_args!("the values of {group} are missing")))?;
            let (same, mut values) = line.keyed();
            if same != group {
                return Err(line.error(format_args!("has values of {same} where those of {group} belong")));
            }
            let metrics =
                self.metrics(at, names.text(), || names.keyed().1.map(|name| find(fields, group, name)).collect());
            at += 1;
            for metric in metrics {
                match metric {
                    Some(metric) => set(sample, metric, values.number(field_name(metric))?),
                    None => drop(values.word("as many values as there are names")?),
                }
            }
            if let Some(value) = values.next().filter(|_| !metrics.is_empty()) {
                return Err(line.error(format_args!("{value} has no name")));
            }
        }
        if at == 0 { Err(file.error("is empty")) } else { Ok(()) }
    }

    /// A file in which each line has a name and a value, as in `Ip6InOctets 7`: the group ends with the 6.
    pub(crate) fn in_lines(
        &mut self,
        file: &File,
        fields: &[&'static Descriptor],
        sample: &mut Sample,
    ) -> Result<(), kernel::Error> {
        for (at, line) in file.lines().enumerate() {
            let (key, mut value) = line.keyed();
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

    /// What the values are that belong to the names at this place.
    fn metrics(
        &mut self,
        at: usize,
        text: &str,
        found: impl FnOnce() -> Vec<Option<&'static Descriptor>>,
    ) -> &[Option<&'static Descriptor>] {
        if self.0.get(at).is_none_or(|names| *names.text != *text) {
            let mut metrics = found();
            if metrics.iter().all(Option::is_none) {
                metrics.clear();
            }
            // What follows may have moved, too.
            self.0.truncate(at);
            self.0.push(Names { text: text.into(), metrics });
        }
        self.0.get(at).map_or(&[], |names| &names.metrics)
    }
}

/// The field that the kernel calls so, if it is chosen.
fn find(fields: &[&'static Descriptor], group: &str, name: &str) -> Option<&'static Descriptor> {
    let is_it = |metric: &Descriptor| field_name(metric).split_once('_') == Some((group, name));
    fields.iter().copied().find(|metric| is_it(metric))
}

fn set(sample: &mut Sample, metric: &Descriptor, value: u64) {
    // A level is added up from what each CPU has counted while they go on counting: for a moment it can be less than
    // nothing, which reads as nearly 2^64.
    let is_nothing = metric.kind == Kind::Gauge && value > u64::MAX / 2;
    if !is_nothing {
        sample.set(*metric, value);
    }
}
