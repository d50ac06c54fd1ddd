//! Fields of a file with a line `name: number`, or `name: number kB`, each. Pure but for the reports of what is left out.

use gauged_plugin::bounds::COUNT;
use gauged_plugin::descriptor::FoundMetric;
use gauged_plugin::kernel::{Error, Fields, File, Line};
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{Descriptor, Sample};

/// The most fields of a file; kernels have some 60. A file of something else could otherwise fill the sample.
pub(crate) const MAX_FIELDS: usize = 500;

/// The longest name of a field; with the unit it is shorter than the 128 bytes that a metric's name may have.
const MAX_NAME_BYTES: usize = 100;

/// The unit of sizes, which is 1024 bytes.
const KIB: &str = "kB";

/// The end of the name of a size.
const BYTES: &str = "_bytes";

/// The fields that are described, and the labels of their metrics.
pub(crate) struct Table<'a> {
    /// In the kernel's order; the source of each is the name of its field.
    pub(crate) metrics: &'static [Descriptor],
    pub(crate) labels: &'a [(&'a str, &'a str)],
}

/// The number of fields of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Those whose names are understood.
    pub(crate) named: usize,
    /// Those of them that are selected.
    pub(crate) selected: usize,
}

impl Table<'_> {
    /// Sets the selected fields of a file. Of two fields of one name the first one holds.
    pub(crate) fn measure(
        &self,
        file: &File,
        selection: &Selection,
        sample: &mut Sample,
        skipped: &mut Skipped,
    ) -> Counts {
        let (mut counts, mut at) = (Counts::default(), 0);
        let mut seen: Vec<&str> = Vec::new();
        let mut lines = file.lines().peekable();
        while let Some(line) = lines.next() {
            let Some((name, values)) = skipped.keep(split(line), "the field") else { continue };
            if seen.iter().any(|other| metric_letters(other).eq(metric_letters(name))) {
                continue;
            }
            if seen.len() == MAX_FIELDS {
                let why = format!("has more than the {MAX_FIELDS} fields that are measured");
                skipped.lose(file.error(why), "the other fields");
                break;
            }
            seen.push(name);
            counts.named += 1;
            if !selection.includes(name) {
                continue;
            }
            counts.selected += 1;
            // The last number of a file that was cut is another one.
            let is_cut = lines.peek().is_none() && !file.text().ends_with('\n');
            let value = if is_cut { Err(line.truncated("has no end")) } else { Value::parse(name, values, line) };
            let Some(value) = skipped.keep(value, name) else { continue };
            match self.find(name, &mut at) {
                Some(known) => {
                    if let Some(number) = skipped.keep(value.in_unit_of(known, line), name) {
                        sample.labelled(self.labels).set(*known, number);
                    }
                }
                None => self.set_found(name, value, sample),
            }
        }
        counts
    }

    /// The described metric of a field. The search begins at `at`, which is then behind it: files are in the table's order.
    fn find(&self, name: &str, at: &mut usize) -> Option<&'static Descriptor> {
        let (before, after) = self.metrics.split_at_checked(*at)?;
        let known = after.iter().chain(before).position(|metric| metric.source == name)?;
        *at = (*at + known) % self.metrics.len() + 1;
        self.metrics.get(*at - 1)
    }

    /// Sets the metric of a field that is not described, and describes it.
    fn set_found(&self, name: &str, value: Value, sample: &mut Sample) {
        let Some(Descriptor { module, .. }) = self.metrics.first() else { return };
        let (suffix, unit, number) = match value {
            Value::Bytes(bytes) => (BYTES, "By", bytes),
            Value::Count(count) => ("", "1", count),
        };
        let mut metric: String = metric_letters(name).map(char::from).collect();
        metric.push_str(suffix);
        let description =
            ["Field ", name, " of the kernel, which this version of the plugin does not describe."].concat();
        let mut found = FoundMetric::gauge(module, &metric, unit, &description);
        for &(label, _) in self.labels {
            found = found.with_label(label, "Number of the memory node");
        }
        sample.describe(&found);
        sample.labelled(self.labels).set(&found, number);
    }
}

/// The name of a field's metric, without the unit: `Active(anon)` is `Active_anon`.
fn metric_letters(field: &str) -> impl Iterator<Item = u8> {
    let letters = field.strip_suffix(BYTES).unwrap_or(field).bytes().filter(|&byte| byte != b')');
    letters.map(|byte| if byte == b'(' { b'_' } else { byte })
}

/// The name of a line's field, and the words after it.
fn split(line: Line<'_>) -> Result<(&str, Fields<'_>), Error> {
    let (key, values) = line.last_key_values().ok_or_else(|| line.error("has no field"))?;
    // In the file of a node, `Node 0` is before the name.
    let name = key.rsplit(' ').next().unwrap_or(key);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'(' | b')');
    let has_letters = name.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if !has_letters || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_name) {
        return Err(line.malformed(name, "has no name of a field"));
    }
    Ok((name, values))
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Bytes(u64),
    /// A number without a unit, as of huge pages.
    Count(u64),
}

impl Value {
    fn parse(name: &str, mut values: Fields<'_>, line: Line<'_>) -> Result<Self, Error> {
        let number: u64 = values.bounded(name, &COUNT)?;
        match values.next() {
            None => Ok(Self::Count(number)),
            Some(KIB) => {
                let bytes = number.checked_mul(1024).and_then(|bytes| COUNT.check(bytes));
                let impossible = || line.error(format_args!("{number} kB is impossible ({name}): {}", COUNT.reason));
                bytes.map(Self::Bytes).ok_or_else(impossible)
            }
            Some(unit) => Err(values.unexpected(unit, "the unit kB")),
        }
    }

    /// The number, if it is in the unit of this metric: a size without a unit is that of a line that was cut.
    fn in_unit_of(self, known: &Descriptor, line: Line<'_>) -> Result<u64, Error> {
        match (self, known.unit) {
            (Self::Bytes(number), "By") => Ok(number),
            (Self::Count(number), unit) if unit != "By" => Ok(number),
            (Self::Count(_), _) => Err(line.truncated("has no unit")),
            (Self::Bytes(_), _) => Err(line.malformed(KIB, "has a unit, although it is a number of pages")),
        }
    }
}
