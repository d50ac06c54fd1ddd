//! The counterparts of series: the row of a naming's table that is about a series, and the name and labels that it gives it.

use super::named::Named;
use super::row::{Equal, Others, Part, Relation, Row, Whole};
use crate::sample::{Label, Series, Text};

/// The metric there that has the same values as a series.
pub(super) enum Counterpart {
    Found(Found),
    /// There is none: the series is a sum whose parts have one.
    LeftOut,
    None,
}

/// A metric there with the same values.
pub(super) struct Found {
    pub(super) name: Text,
    pub(super) labels: Vec<Label>,
    pub(super) equal: &'static Equal,
    /// Whether ours serves only where another metric is not measured.
    pub(super) is_alternative: bool,
}

impl Found {
    /// The name of a series with this counterpart; `unit` is the one that the name ends with.
    pub(super) fn named(self, series: &Series, unit: &'static str) -> Named {
        let Self { name, labels, equal, is_alternative } = self;
        Named {
            help: equal.help(series.descriptor(), &name),
            factor: equal.factor(),
            kind: equal.kind,
            unit,
            ucum: equal.unit_code(series.descriptor()),
            is_additive: equal.is_additive,
            origin: series.descriptor().origin,
            is_alternative,
            name,
            labels,
        }
    }
}

impl Counterpart {
    /// The counterpart of a series of a module, by the rows of a table.
    pub(super) fn find(rows: impl Iterator<Item = &'static Row>, module: &str, metric: &str, labels: &[Label]) -> Self {
        // The rows about the metric: those that name it most precisely, also where none of them means a series with these labels.
        let mut precision = 0;
        let mut found = Counterpart::None;
        for row in rows {
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
        match whole {
            Whole::LeftOut => return Counterpart::LeftOut,
            Whole::OwnName => return Counterpart::None,
            Whole::Redundant => {}
        }
    }
    let Some(labels) = labels_there(row, equal, labels, &mut wildcard) else { return Counterpart::None };
    let name = if row.name.contains('*') { row.name.replacen('*', wildcard, 1).into() } else { row.name.into() };
    Counterpart::Found(Found { name, labels, equal, is_alternative })
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
    let is_left_out =
        |name: &str| equal.selected.iter().any(|&(selected, _)| selected == name) || equal.dropped.contains(&name);
    for label in labels.iter().filter(|label| !is_left_out(&label.name)) {
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
