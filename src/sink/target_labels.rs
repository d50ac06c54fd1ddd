//! Labels that a protocol gives each series of a sink, besides the series' own: `job`, `instance`, `host`.

use super::numeric::{NamedSeries, NumericSettings};
use crate::sample::Label;

/// The labels of each series of a sink.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TargetLabels(Vec<Label>);

/// A label, and where its value comes from.
#[derive(Debug)]
pub(super) struct TargetLabel<'a> {
    pub(super) name: &'static str,
    /// The value in the configuration of the sink. It wins over a tag of that name …
    pub(super) configured: Option<&'a str>,
    /// … which wins over this one.
    pub(super) default: &'a str,
}

impl TargetLabels {
    /// A label without a value is left out.
    pub(super) fn new<const N: usize>(settings: &NumericSettings, labels: [TargetLabel<'_>; N]) -> Self {
        let label = |TargetLabel { name, configured, default }: TargetLabel<'_>| {
            let tag = settings.tags.iter().find(|tag| *tag.name == *name).map(|tag| &*tag.value);
            let value = configured.or(tag).unwrap_or(default);
            (!value.is_empty()).then(|| Label { name: name.into(), value: value.into() })
        };
        Self(labels.into_iter().filter_map(label).collect())
    }

    /// All labels of a series, and one more, sorted by the bytes of their names. The series has none of these names: they are reserved.
    pub(super) fn merged<'a>(
        &'a self,
        series: &'a NamedSeries<'_>,
        another: Option<(&'a str, &'a str)>,
    ) -> Vec<(&'a str, &'a str)> {
        let own = series.flat_labels().into_iter().chain(&self.0).map(|label| (&*label.name, &*label.value));
        let mut merged: Vec<_> = own.chain(another).collect();
        merged.sort_unstable();
        merged
    }
}
