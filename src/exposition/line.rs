//! The line of a series without its value: `name{label="value"} `. It is the same in both formats.

use std::ops::Range;
use std::sync::Arc;

use super::settings::ExpositionSettings;
use crate::naming::{Named, Scale};
use crate::sample::{Column, Label, MetricKind, ModuleSource, Series, Text};

/// A series as it is written. It is made once, and kept as long as its module has the series.
#[derive(Debug)]
pub(super) struct Line {
    /// The metric, which has one line of comments for all of its series.
    pub(super) metric: Metric,
    /// The name and the labels, up to the value.
    pub(super) text: Box<str>,
    /// The labels without that of a column, in `text`. With the metric's name they identify what the line is a part of.
    labels: Range<usize>,
    pub(super) column: Column,
    pub(super) scale: Scale,
    /// Whether it is a bucket of negative observations.
    pub(super) is_negative_bound: bool,
    /// Whether another series that measures the same may have its name and labels.
    pub(super) is_alternative: bool,
}

/// A metric's name and description in a naming.
#[derive(Debug)]
pub(super) struct Metric {
    /// The name without a column's suffix.
    pub(super) name: Text,
    /// None for a metric whose type the naming leaves open.
    pub(super) kind: Option<MetricKind>,
    /// The unit, where the name ends with it.
    pub(super) unit: &'static str,
    pub(super) help: Text,
}

impl Line {
    /// The line of a series; none where the settings leave it out. `conflict` gets the tags that the series has as labels of its own.
    pub(super) fn new(
        settings: &ExpositionSettings,
        source: &ModuleSource,
        series: &Series,
        mut conflict: impl FnMut(&Label),
    ) -> Option<Arc<Self>> {
        if !(settings.is_selected)(&source.module, series) {
            return None;
        }
        let named = settings.naming.name(&settings.prefix, source, series)?;
        let column = series.column();
        let (scale, column_label) = (named.scale(column), named.column_label(series));
        let Named { name, labels, kind, unit, help, is_alternative, .. } = named;
        // A label without a value is the same as none.
        let mut all: Vec<&Label> = labels.iter().filter(|label| !label.value.is_empty()).collect();
        for tag in settings.tags.iter().filter(|tag| !tag.value.is_empty() && !is_columns(kind, &tag.name)) {
            if labels.iter().any(|label| label.name == tag.name) {
                conflict(tag);
            } else {
                all.push(tag);
            }
        }
        // A set of labels has one text, in whatever order a collector has them.
        all.sort_unstable_by(|label, other| label.name.cmp(&other.name));
        let mut text = Labelled::new(format!("{name}{}", column.suffix()));
        for Label { name, value } in all {
            text.push(name, value);
        }
        let labels = text.labels();
        let is_negative_bound =
            column == Column::Bucket && column_label.as_ref().is_some_and(|label| label.value.starts_with('-'));
        if let Some(Label { name, value }) = &column_label {
            text.push(name, value);
        }
        let metric = Metric { name, kind, unit, help };
        Some(Arc::new(Self { metric, text: text.finish(), labels, column, scale, is_negative_bound, is_alternative }))
    }

    /// The labels that tell it from others of its metric, without that of a column.
    pub(super) fn labels(&self) -> &str {
        &self.text[self.labels.clone()]
    }
}

/// Whether a metric of this kind tells its columns apart by this label.
fn is_columns(kind: Option<MetricKind>, label: &str) -> bool {
    match kind {
        Some(MetricKind::Histogram) => label == "le",
        Some(MetricKind::Summary) => label == "quantile",
        Some(MetricKind::Gauge | MetricKind::Counter) | None => false,
    }
}

/// A name that gets labels.
struct Labelled {
    text: String,
    /// The length of the name.
    name: usize,
}

impl Labelled {
    fn new(name: String) -> Self {
        Self { name: name.len(), text: name }
    }

    fn push(&mut self, name: &str, value: &str) {
        self.text.push(if self.text.len() == self.name { '{' } else { ',' });
        self.text.push_str(name);
        self.text.push_str("=\"");
        for letter in value.chars() {
            match letter {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                _ => self.text.push(letter),
            }
        }
        self.text.push('"');
    }

    /// The place of the labels so far.
    fn labels(&self) -> Range<usize> {
        self.name..self.text.len()
    }

    fn finish(mut self) -> Box<str> {
        self.text.push_str(if self.text.len() == self.name { " " } else { "} " });
        self.text.into()
    }
}
