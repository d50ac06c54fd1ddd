//! The naming of `node_exporter`: a series with the same values as one of `node_exporter`'s has its name, labels, type and unit, so
//! that dashboards and alerts written for it work. The table has what is equal; every other series keeps our own name.

mod row;
mod table;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod tests;

pub use self::row::{Equal, Others, Part, Relation, Row, Translation, Whole};
pub use self::table::rows;
use super::gauged;
use super::named::Named;
use crate::sample::{Column, Descriptor, Label, ModuleSource, Series, Text};

/// Ends of names, before `_total`, that are units.
const UNITS: [&str; 4] = ["seconds", "bytes", "celsius", "hertz"];

/// The name of a series; none if it is a sum whose parts have the name.
pub(super) fn name(prefix: &str, source: &ModuleSource, series: &Series) -> Option<Named> {
    // No histogram and no summary is in the table.
    if source.is_verbatim || series.column() != Column::Value {
        return Some(gauged::name(prefix, source, series));
    }
    match counterpart(&source.module, series.metric_name(), series.labels()) {
        Counterpart::LeftOut => None,
        Counterpart::None => Some(gauged::name(prefix, source, series)),
        Counterpart::Found { name, labels, equal, is_alternative } => {
            let help = help(equal, series.descriptor(), &name);
            let (kind, unit) = (equal.kind, unit(&name));
            let factor = equal.unit.map(|unit| 1.0 / unit);
            Some(Named { name, labels, factor, kind, unit, help, is_alternative })
        }
    }
}

/// The metric of `node_exporter`'s that has the same values as a series.
enum Counterpart {
    Found {
        name: Text,
        labels: Vec<Label>,
        equal: &'static Equal,
        /// Whether it serves only where another metric is not measured.
        is_alternative: bool,
    },
    /// There is none: the series is a sum whose parts have one.
    LeftOut,
    None,
}

fn counterpart(module: &str, metric: &str, labels: &[Label]) -> Counterpart {
    // The rows about the metric: those that name it most precisely, also where none of them means a series with these labels.
    let mut precision = 0;
    let mut found = Counterpart::None;
    for row in rows() {
        let Relation::Equal(equal) = &row.relation else { continue };
        for (at, pattern) in std::iter::once(&equal.metric).chain(equal.alternatives).enumerate() {
            let Some((own_module, pattern)) = pattern.split_once('.') else { continue };
            if own_module != module || pattern.len() < precision {
                continue;
            }
            let Some(text) = wildcard(pattern, metric) else { continue };
            if pattern.len() > precision {
                (precision, found) = (pattern.len(), Counterpart::None);
            }
            if matches!(found, Counterpart::None) {
                found = with_labels(row, equal, text, labels, at > 0);
            }
        }
    }
    found
}

/// The text that `*` stands for in a name, empty without a `*`; none if the pattern has another name.
#[must_use]
pub fn wildcard<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    match pattern.split_once('*') {
        None => (pattern == name).then_some(""),
        Some((before, after)) => name.strip_prefix(before)?.strip_suffix(after).filter(|text| !text.is_empty()),
    }
}

/// The counterpart of a series with these labels, by a row about its metric.
fn with_labels<'a>(
    row: &Row,
    equal: &'static Equal,
    mut wildcard: &'a str,
    labels: &'a [Label],
    is_alternative: bool,
) -> Counterpart {
    if let Some(Part { label, whole }) = equal.part
        && !labels.iter().any(|own| &*own.name == label)
    {
        return if whole == Whole::LeftOut { Counterpart::LeftOut } else { Counterpart::None };
    }
    let Some(labels) = labels_there(row, equal, labels, &mut wildcard) else { return Counterpart::None };
    let name = if row.name.contains('*') { row.name.replacen('*', wildcard, 1).into() } else { row.name.into() };
    Counterpart::Found { name, labels, equal, is_alternative }
}

/// The labels that a series with these labels has there; none if the row does not mean it. A label that is part of the name
/// there becomes the wildcard.
fn labels_there<'a>(row: &Row, equal: &Equal, labels: &'a [Label], wildcard: &mut &'a str) -> Option<Vec<Label>> {
    for &(name, selected) in equal.selected {
        let value = &*labels.iter().find(|label| &*label.name == name)?.value;
        match selected {
            "*" if is_part_of_name(value) => *wildcard = value,
            "*" => return None,
            _ if value == selected => {}
            _ => return None,
        }
    }
    let mut named = Vec::with_capacity(labels.len() + row.labels.len());
    for label in labels.iter().filter(|label| !equal.selected.iter().any(|&(name, _)| name == &*label.name)) {
        let renamed = equal.renamed.iter().find(|&&(own, _)| own == &*label.name);
        let name = renamed.map_or_else(|| label.name.clone(), |&(_, name)| name.into());
        let value = match &equal.translated {
            Some(translation) if translation.label == &*label.name => {
                match translation.values.iter().find(|&&(own, _)| own == &*label.value) {
                    Some(&(_, value)) => value.into(),
                    None if translation.others == Others::Same => label.value.clone(),
                    None => return None,
                }
            }
            _ => label.value.clone(),
        };
        named.push(Label { name, value });
    }
    named.extend(row.labels.iter().map(|&(name, value)| Label { name: name.into(), value: value.into() }));
    // A series may have more labels than the first-party plugin's.
    let is_unique = |at: usize, label: &Label| named[..at].iter().all(|other| other.name != label.name);
    named.iter().enumerate().all(|(at, label)| is_unique(at, label)).then_some(named)
}

/// Whether the value of a label can be part of a name.
fn is_part_of_name(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The meaning: the table's, otherwise our description, otherwise the name.
fn help(equal: &Equal, descriptor: &Descriptor, name: &Text) -> Text {
    match (equal.help, &descriptor.description) {
        ("", description) if description.is_empty() => name.clone(),
        ("", description) => description.clone(),
        (help, _) => help.into(),
    }
}

/// The unit with which a name ends; empty without one.
fn unit(name: &str) -> &'static str {
    let stem = name.strip_suffix("_total").unwrap_or(name);
    let last = stem.rsplit_once('_').map(|(_, last)| last);
    UNITS.into_iter().find(|&unit| last == Some(unit)).unwrap_or_default()
}
