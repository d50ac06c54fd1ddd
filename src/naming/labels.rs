//! Labels of names: what Prometheus allows and reserves.

use super::words;
use crate::sample::{Column, Label, MetricKind, Series};

/// The labels by which histograms and summaries tell their columns apart.
const COLUMN_LABELS: [&str; 2] = ["le", "quantile"];

/// The labels of a metric, without that of a column.
pub(super) fn own(series: &Series) -> impl Iterator<Item = &Label> {
    let column = match series.column() {
        Column::Bucket => "le",
        Column::Quantile => "quantile",
        Column::Value | Column::Sum | Column::Count => "",
    };
    series.labels().iter().filter(move |label| *label.name != *column)
}

/// The labels of a metric in `snake_case`, without the names that are reserved.
pub(super) fn rewritten(series: &Series) -> Vec<Label> {
    let mut labels = Vec::with_capacity(series.labels().len());
    for label in own(series) {
        let mut name = words::split(&label.name).join("_");
        if COLUMN_LABELS.contains(&&*name) {
            // As Prometheus does with labels that it has itself.
            name.insert_str(0, "exported_");
        }
        push(&mut labels, &label.name, label_name(name), &label.value);
    }
    labels
}

/// The labels of a metric with their own names, as far as those are valid.
pub(super) fn verbatim(series: &Series) -> Vec<Label> {
    let mut labels = Vec::with_capacity(series.labels().len());
    let is_whole = matches!(series.descriptor().kind, MetricKind::Histogram | MetricKind::Summary);
    for label in own(series) {
        let mut name = valid(&label.name, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_whole && COLUMN_LABELS.contains(&&*name) {
            name.insert_str(0, "exported_");
        }
        push(&mut labels, &label.name, label_name(name), &label.value);
    }
    labels
}

/// A text in which each character that is not allowed is an underscore.
pub(super) fn valid(text: &str, is_allowed: impl Fn(u8) -> bool) -> String {
    let allowed = |letter: char| u8::try_from(letter).is_ok_and(|byte| byte.is_ascii() && is_allowed(byte));
    text.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect()
}

/// A label's name that begins as one may.
fn label_name(mut name: String) -> String {
    // Two underscores are reserved.
    while name.starts_with("__") {
        name.remove(0);
    }
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// Appends a label. Of two whose names have become one the second gets another name.
pub(super) fn push(labels: &mut Vec<Label>, former: &crate::sample::Text, name: String, value: &str) {
    let is_taken = |labels: &[Label], name: &str| labels.iter().any(|other| *other.name == *name);
    let mut name = name;
    while is_taken(labels, &name) {
        // Without a second underscore, which is reserved at the start.
        name.push_str(if name.ends_with('_') { "2" } else { "_2" });
    }
    let name = if *name == **former { former.clone() } else { name.into() };
    labels.push(Label { name, value: value.into() });
}
