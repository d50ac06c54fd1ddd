//! A series as remote write has it: its name and labels in protobuf, made once.

use std::cell::Cell;

use super::super::numeric::NamedSeries;
use super::super::target_labels::TargetLabels;
use super::protobuf;

/// The label that is the name.
const NAME: &str = "__name__";

/// A series.
#[derive(Debug, Clone)]
pub(super) struct EncodedSeries {
    /// The labels, as fields of a `TimeSeries`: sorted by name, as bytes, since a receiver searches them; unique, and none empty.
    pub(super) labels: Box<[u8]>,
    /// The time of its last point, in milliseconds since the Unix epoch: its end is later.
    last: Cell<i64>,
}

impl EncodedSeries {
    pub(super) fn new(series: &NamedSeries<'_>, target: &TargetLabels) -> Self {
        let (name, mut encoded) = (series.flat_name(), Vec::new());
        for (name, value) in target.merged(series, Some((NAME, &name))) {
            protobuf::push_label(name, value, &mut encoded);
        }
        Self { labels: encoded.into(), last: Cell::new(i64::MIN) }
    }

    /// Notes the time of a point.
    pub(super) fn note(&self, millis: i64) {
        self.last.set(self.last.get().max(millis));
    }

    /// The time of its end, which is not before this one: later than that of any of its points.
    pub(super) fn end(&self, millis: i64) -> i64 {
        millis.max(self.last.get().saturating_add(1))
    }
}
