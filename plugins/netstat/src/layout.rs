//! The positions of selected fields in a file. A kernel has hundreds of fields and keeps their order while it runs, so
//! positions are looked up once, and again when the names in a line change.

use gauged_plugin::bounds::COUNT;
use gauged_plugin::kernel::{File, Line};
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{Descriptor, Kind, Sample};

use crate::field_name;
use crate::transport::TCP_MAX_CONN;

/// The lines of names of a file, in order, with the fields of each.
#[derive(Debug, Default)]
pub(crate) struct Layout(Vec<Names>);

#[derive(Debug)]
struct Names {
    /// The names as in the file, to detect changes.
    text: Box<str>,
    /// The field of each value, if selected; empty if none is.
    fields: Vec<Option<Field>>,
}

/// A selected field.
#[derive(Debug, PartialEq, Eq)]
struct Field {
    metric: &'static Descriptor,
    /// The type of ICMP messages, for the fields that have it in their name: `IcmpMsg_InType3`.
    message_type: Option<Box<str>>,
}

impl Layout {
    /// Reads a file with alternating lines of names and values. A group whose names and values differ in number is left out,
    /// since nobody knows which is whose.
    pub(crate) fn read_pairs(
        &mut self,
        file: &File,
        selected: &[&'static Descriptor],
        sample: &mut Sample,
        skipped: &mut Skipped,
    ) {
        let (mut lines, mut at) = (file.lines().peekable(), 0);
        while let Some(names) = lines.next() {
            let group = names.key_values().0;
            let fields = self.fields(at, names.text(), |find| {
                names.key_values().1.map(|name| find(selected, group, name)).collect()
            });
            at += 1;
            let values = lines.next_if(|line| is_values(*line, group));
            if fields.is_empty() {
                continue;
            }
            // Sandboxes of gVisor have names without values.
            let values = values.ok_or_else(|| names.truncated(format_args!("the values of {group} are missing")));
            let values = values.and_then(|line| {
                let (expected, count) = (fields.len(), line.key_values().1.count());
                let mismatch = || line.truncated(format_args!("has {count} values for {expected} names of {group}"));
                if count == expected { Ok(line) } else { Err(mismatch()) }
            });
            let Some(line) = skipped.keep(values, group) else { continue };
            for (field, word) in fields.iter().zip(line.key_values().1) {
                if let Some(field) = field {
                    field.set(word, line, sample, skipped);
                }
            }
        }
    }

    /// Reads a file with a name and a value per line, as in `Ip6InOctets 7`; the group ends with the 6.
    pub(crate) fn read_lines(
        &mut self,
        file: &File,
        selected: &[&'static Descriptor],
        sample: &mut Sample,
        skipped: &mut Skipped,
    ) {
        for (at, line) in file.lines().enumerate() {
            let (key, mut value) = line.key_values();
            let fields = self.fields(at, key, |find| {
                let parts = key.find('6').and_then(|at| key.split_at_checked(at + 1));
                vec![parts.and_then(|(group, name)| find(selected, group, name))]
            });
            if let [Some(field)] = fields
                && let Some(word) = skipped.keep(value.word(key), field_name(field.metric))
            {
                field.set(word, line, sample, skipped);
            }
        }
    }

    /// The fields of the names at a position.
    fn fields(
        &mut self,
        at: usize,
        text: &str,
        find_fields: impl FnOnce(fn(&[&'static Descriptor], &str, &str) -> Option<Field>) -> Vec<Option<Field>>,
    ) -> &[Option<Field>] {
        if self.0.get(at).is_none_or(|names| *names.text != *text) {
            // Later lines may have moved as well.
            self.0.truncate(at);
            let mut fields = find_fields(find);
            for at in 0..fields.len() {
                let is_same = |other: &Option<Field>| other.is_some() && *other == fields[at];
                let is_known = self.0.iter().any(|names| names.fields.iter().any(is_same));
                if is_known || fields[..at].iter().any(is_same) {
                    fields[at] = None;
                }
            }
            if fields.iter().all(Option::is_none) {
                fields.clear();
            }
            self.0.push(Names { text: text.into(), fields });
        }
        self.0.get(at).map_or(&[], |names| &names.fields)
    }
}

/// Whether a line has the values of a group, of which some may be odd: any words that are not all names, or none.
fn is_values(line: Line<'_>, group: &str) -> bool {
    let (same, values) = line.key_values();
    let mut words = values.peekable();
    same == group && (words.peek().is_none() || !words.all(is_name))
}

/// Whether a word has the form of a name: `TCPFastOpenActive`.
fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The selected field with this name.
fn find(selected: &[&'static Descriptor], group: &str, name: &str) -> Option<Field> {
    let named = |name: &str| {
        let matches = |metric: &Descriptor| field_name(metric).split_once('_') == Some((group, name));
        selected.iter().copied().find(|metric| matches(metric))
    };
    let digits = name.trim_start_matches(|first: char| !first.is_ascii_digit());
    match name.strip_suffix(digits) {
        Some(kind @ ("InType" | "OutType")) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            named(kind).map(|metric| Field { metric, message_type: Some(digits.into()) })
        }
        _ => named(name).map(|metric| Field { metric, message_type: None }),
    }
}

impl Field {
    fn set(&self, word: &str, line: Line<'_>, sample: &mut Sample, skipped: &mut Skipped) {
        let (metric, field) = (*self.metric, field_name(self.metric));
        let labels: Vec<(&str, &str)> = self.message_type.iter().map(|number| ("type", &**number)).collect();
        let mut row = sample.labelled(&labels);
        let why = match word.parse::<u64>() {
            Ok(value) if COUNT.check(value).is_some() => {
                row.set(metric, value);
                return;
            }
            // The kernel sums a gauge over CPUs while they change it, so it can be negative for a moment, which reads as
            // nearly 2^64.
            Ok(_) if metric.kind == Kind::Gauge => return,
            Ok(_) => format!("{word} is impossible ({field}): {}", COUNT.reason),
            Err(_) => match word.parse::<i64>() {
                Ok(limit) if metric == TCP_MAX_CONN => {
                    row.set(metric, limit);
                    return;
                }
                _ => format!("{word} is not a number ({field})"),
            },
        };
        skipped.lose(line.malformed(word, why), field);
    }
}
