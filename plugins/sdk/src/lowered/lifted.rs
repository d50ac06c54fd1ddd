//! A sample as values, for tests on other targets.

use super::{Content, Descriptor, Metric, Optional, Pair, Pieces, Span, Value};
use crate::bindings::gauged::plugin::metrics as wire;

impl Content {
    /// The modules of a sample that is not yet returned.
    pub(crate) fn lift(&self) -> Vec<wire::Module> {
        let pieces = &self.pieces;
        let lifted = self.modules.iter().map(|module| wire::Module {
            name: module.name.clone(),
            unix_ms: module.unix_ms,
            verbatim: module.verbatim,
            metrics: module.metrics.iter().map(|metric| pieces.lift_metric(metric)).collect(),
            descriptors: module.descriptors.iter().map(|metric| pieces.lift_descriptor(metric)).collect(),
        });
        lifted.collect()
    }
}

impl Pieces {
    fn lift_metric(&self, metric: &Metric) -> wire::Metric {
        let labels = self.lift_pairs(metric.labels).map(|(name, value)| wire::Label { name, value });
        let (name, labels) = (self.lift_text(metric.name), labels.collect());
        let value = match metric.value {
            Value::Natural(number) => wire::Value::Natural(number),
            Value::Integer(number) => wire::Value::Integer(number),
            Value::Number(number) => wire::Value::Number(number),
            Value::Boolean(is_true) => wire::Value::Boolean(is_true),
            Value::Text(text) => wire::Value::Text(self.lift_text(text)),
            Value::Histogram { bounds, counts, sum } => wire::Value::Histogram(wire::Histogram {
                bounds: self.numbers[bounds.range()].iter().copied().map(f64::from_bits).collect(),
                counts: self.numbers[counts.range()].to_vec(),
                sum: sum.into(),
            }),
            Value::Summary { quantiles, sum, count } => {
                let quantiles = self.quantiles[quantiles.range()].iter();
                let quantiles =
                    quantiles.map(|it| wire::Quantile { share: it.share, value: it.value.into() }).collect();
                wire::Value::Summary(wire::Summary { quantiles, sum: sum.into(), count: count.into() })
            }
        };
        wire::Metric { name, labels, value }
    }

    fn lift_descriptor(&self, metric: &Descriptor) -> wire::Descriptor {
        let labels = self.lift_pairs(metric.labels).map(|(name, meaning)| wire::Dimension { name, meaning });
        wire::Descriptor {
            module: self.lift_text(metric.module),
            name: self.lift_text(metric.name),
            kind: metric.kind,
            counts_from: metric.counts_from,
            unit: self.lift_text(metric.unit),
            description: self.lift_text(metric.description),
            labels: labels.collect(),
        }
    }

    fn lift_text(&self, text: Span) -> String {
        self.texts[text.range()].to_owned()
    }

    fn lift_pairs(&self, pairs: Span) -> impl Iterator<Item = (String, String)> {
        self.pairs[pairs.range()].iter().map(|&Pair { name, value }| (self.lift_text(name), self.lift_text(value)))
    }
}

impl<T> From<Optional<T>> for Option<T> {
    fn from(optional: Optional<T>) -> Self {
        match optional {
            Optional::None => None,
            Optional::Some(value) => Some(value),
        }
    }
}
