//! A series of a sink, with its name and labels.

use std::sync::Arc;

use super::reserved;
use super::settings::NumericSettings;
use crate::naming::Named;
use crate::sample::{Label, MetricKind, ModuleSource, Series};

/// The rules of a protocol for names.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::sink) struct NameRules {
    /// The names of the labels that the protocol adds to each series. No series and no tag has one of them.
    pub(in crate::sink) reserved: &'static [&'static str],
    /// Makes a name one that receivers take; none where they take all. Two series with one name afterwards are two with one name.
    pub(in crate::sink) valid: Option<fn(Named) -> Named>,
}

/// A series with its name in the naming of the sink.
#[derive(Debug)]
pub(in crate::sink) struct NamedSeries<'a> {
    pub(in crate::sink) source: &'a ModuleSource,
    pub(in crate::sink) series: &'a Arc<Series>,
    /// Its labels are sorted, unique and not empty, and the tags are among them. That of a column is not.
    pub(in crate::sink) named: Named,
    /// The label that tells the columns of its metric apart.
    pub(in crate::sink) column_label: Option<Label>,
}

impl NamedSeries<'_> {
    pub(super) fn new<'a>(
        settings: &NumericSettings,
        rules: &NameRules,
        source: &'a ModuleSource,
        series: &'a Arc<Series>,
    ) -> Option<NamedSeries<'a>> {
        let NameRules { reserved, valid } = rules;
        let named = settings.naming.name(&settings.prefix, source, series)?;
        let mut named = match valid {
            Some(valid) => valid(named),
            None => named,
        };
        let column_label = named.column_label(series);
        named.labels.retain(|label| !label.value.is_empty());
        reserved::rename(&mut named.labels, reserved);
        let is_free = |tag: &&Label| {
            let is_taken = |label: &Label| label.name == tag.name;
            !tag.value.is_empty()
                && !reserved.contains(&&*tag.name)
                && !named.labels.iter().any(is_taken)
                && !column_names(named.kind).contains(&&*tag.name)
        };
        let tags: Vec<Label> = settings.tags.iter().filter(is_free).cloned().collect();
        named.labels.extend(tags);
        named.labels.sort_unstable_by(|label, other| label.name.cmp(&other.name));
        Some(NamedSeries { source, series, named, column_label })
    }

    /// The name with a column's suffix, for protocols that have a series for each column.
    pub(in crate::sink) fn flat_name(&self) -> String {
        format!("{}{}", self.named.name, self.series.column().suffix())
    }

    /// The labels with that of a column, sorted.
    pub(in crate::sink) fn flat_labels(&self) -> Vec<&Label> {
        let mut labels: Vec<&Label> = self.named.labels.iter().chain(&self.column_label).collect();
        labels.sort_unstable_by(|label, other| label.name.cmp(&other.name));
        labels
    }
}

/// The labels by which a metric of this kind tells its columns apart.
fn column_names(kind: Option<MetricKind>) -> &'static [&'static str] {
    match kind {
        Some(MetricKind::Histogram) => &["le"],
        Some(MetricKind::Summary) => &["quantile"],
        Some(MetricKind::Gauge | MetricKind::Counter) | None => &[],
    }
}
