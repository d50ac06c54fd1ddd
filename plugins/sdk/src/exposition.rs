//! The formats in which Prometheus scrapes metrics, as they are read: its text format 0.0.4, and OpenMetrics 1.0. Histograms and
//! summaries become the values of the interface, with counts that are not cumulative.
//!
//! - A line that is not understood costs itself only, and is among the [skipped](Exposition::skipped) ones.
//! - Lines, labels and series are [limited](Limits).
//! - Exemplars and the moments of creation (`_created`) are left out.
//!
//! ```
//! use gauged_plugin::Sample;
//! use gauged_plugin::exposition::{Exposition, Format, Limits, Reading};
//!
//! let text = b"# HELP http_requests_total Requests.\n\
//!     ## TYPE http_requests_total counter\n\
//!     http_requests_total{code=\"200\"} 1027\n\
//!     http_requests_total{code=\"500} 3\n\
//!     ## TYPE wait_seconds histogram\n\
//!     wait_seconds_bucket{le=\"0.1\"} 5\n\
//!     wait_seconds_bucket{le=\"+Inf\"} 7\n\
//!     wait_seconds_sum 1.5\n\
//!     wait_seconds_count 7\n";
//! let exposition = Exposition::read(text, Format::Text, Limits::default());
//! let names: Vec<&str> = exposition.metrics().map(|metric| metric.name).collect();
//! assert_eq!(names, ["http_requests_total", "wait_seconds"]);
//! let Reading::Histogram(wait) = &exposition.metrics().nth(1).expect("two").reading else { panic!("no histogram") };
//! assert_eq!((&wait.bounds[..], &wait.counts[..], wait.sum), (&[0.1][..], &[5, 2][..], Some(1.5)));
//! assert_eq!((exposition.skipped()[0].line, exposition.skipped_lines()), (4, 1));
//!
//! // In a plugin: a module with the names of the exposition.
//! let mut sample = Sample::default();
//! sample.keep_names("app");
//! exposition.families().iter().flat_map(|family| family.describe("app")).for_each(|found| sample.describe(&found));
//! for metric in exposition.metrics() {
//!     let labels: Vec<_> = metric.labels.iter().map(|label| (label.name, &*label.value)).collect();
//!     sample.labelled(&labels).set(metric.in_module("app"), metric.reading);
//! }
//! assert_eq!(sample.len(), 2);
//! ```

mod line;
mod number;
mod family;
mod distribution;
mod reader;
mod descriptions;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use self::descriptions::Descriptions;
pub use self::family::{Family, FamilyKind};
use crate::descriptor::Described;
use crate::skipped::{Reason, Skip};
use crate::value::IntoValue;
use crate::{Histogram, Summary, Value};

/// The format of an exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4: `text/plain`.
    Text,
    /// OpenMetrics 1.0: `application/openmetrics-text`.
    OpenMetrics,
}

/// The limits of an exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest line in bytes. A longer one is skipped.
    pub line_bytes: usize,
    /// The most labels of a sample.
    pub labels: usize,
    /// The most samples: a line is one, and so is each bucket of a histogram. Further ones are left out, and counted.
    pub samples: usize,
    /// Whether the last line of the text format may be without its end. Over HTTP it is whole: a body that is cut is mostly recognised
    /// by its length, and Prometheus takes such a line as well. Of a file it may be cut, also within its value.
    pub takes_unended_line: bool,
}

impl Default for Limits {
    /// - A line of 64 KiB has sixteen labels of the length that the agent takes by default.
    /// - The agent takes at most 64 labels.
    /// - The agent takes at most 100,000 metrics of a plugin.
    /// - A last line without its end is skipped.
    fn default() -> Self {
        Self { line_bytes: 64 << 10, labels: 64, samples: 100_000, takes_unended_line: false }
    }
}

/// An exposition that was read. It borrows from its text.
#[derive(Debug)]
pub struct Exposition<'a> {
    families: Vec<Family<'a>>,
    labels: Vec<Label<'a>>,
    metrics: Vec<Stored<'a>>,
    skipped: Vec<SkippedLine<'a>>,
    skipped_lines: u64,
    left_out: u64,
    has_timestamps: bool,
}

/// A label of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label<'a> {
    /// The name.
    pub name: &'a str,
    /// The value without escapes.
    pub value: Cow<'a, str>,
}

/// A metric: of a histogram or summary the whole, of all else a line.
#[derive(Debug, PartialEq)]
pub struct Metric<'e, 'a> {
    /// The name: of a counter in OpenMetrics with `_total`, of an info metric with `_info`, of a histogram or summary without a suffix.
    pub name: &'a str,
    /// The family that it belongs to.
    pub family: &'e Family<'a>,
    /// The labels, without those of buckets and quantiles.
    pub labels: &'e [Label<'a>],
    /// The value.
    pub reading: &'e Reading,
}

impl<'a> Metric<'_, 'a> {
    /// The metric as one of a module, for [`Row::set`](crate::Row::set).
    #[must_use]
    #[inline]
    pub fn in_module<'m>(&self, module: &'m str) -> InModule<'m>
    where
        'a: 'm,
    {
        InModule { module, name: self.name }
    }
}

/// A metric as one of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InModule<'a> {
    module: &'a str,
    name: &'a str,
}

impl Described for InModule<'_> {
    fn module(&self) -> &str {
        self.module
    }

    fn name(&self) -> &str {
        self.name
    }
}

/// The value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A number, which may be infinite or none.
    Number(f64),
    /// A histogram.
    Histogram(Histogram),
    /// A summary.
    Summary(Summary),
}

/// A number that is not finite is left out, since samples have none.
impl IntoValue for &Reading {
    fn into_value(self) -> Option<Value> {
        match self {
            Reading::Number(number) => number.is_finite().then_some(Value::Number(*number)),
            Reading::Histogram(histogram) => Some(Value::Histogram(histogram.clone())),
            Reading::Summary(summary) => Some(Value::Summary(summary.clone())),
        }
    }
}

/// A line or a metric that was left out because it is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedLine<'a> {
    /// The number of the line, from 1; of a histogram or summary that of its first line.
    pub line: u32,
    /// The part that is not understood; may be empty.
    pub word: Cow<'a, str>,
    /// The kind of the cause.
    pub reason: Reason,
    /// The cause, as the end of a sentence that begins with the word.
    pub why: &'static str,
    /// The metric that is left out, or `its metric` where it is not known.
    pub lost: Cow<'a, str>,
}

impl SkippedLine<'_> {
    /// The line as a part of a source that was left out, for a report with [`lost`](Self::lost).
    #[must_use]
    pub fn to_skip(&self, source: &str) -> Skip {
        let word = family::beginning(&self.word, MAX_WORD_BYTES);
        Skip { line: self.line, reason: self.reason, ..Skip::malformed(source, word, self.why) }
    }
}

/// A metric as it is kept.
#[derive(Debug)]
struct Stored<'a> {
    name: &'a str,
    family: usize,
    labels: std::ops::Range<usize>,
    /// None for a histogram or summary that is left out.
    reading: Option<Reading>,
}

/// The longest part of a line that is reported: enough to find it.
const MAX_WORD_BYTES: usize = 80;

/// The most skipped lines that are kept: enough to begin to fix their source.
const MAX_SKIPPED: usize = 20;

impl<'a> Exposition<'a> {
    /// Reads an exposition. It takes time in proportion to its length.
    #[must_use]
    #[inline]
    pub fn read(text: &'a [u8], format: Format, limits: Limits) -> Self {
        reader::read(text, format, limits)
    }

    /// The families in the order of the text, those without metrics included.
    #[must_use]
    pub fn families(&self) -> &[Family<'a>] {
        &self.families
    }

    /// The metrics in the order of the text, a histogram or summary at its first line.
    #[inline]
    pub fn metrics(&self) -> impl Iterator<Item = Metric<'_, 'a>> {
        self.metrics.iter().filter_map(|stored| {
            Some(Metric {
                name: stored.name,
                family: self.families.get(stored.family)?,
                labels: self.labels.get(stored.labels.clone())?,
                reading: stored.reading.as_ref()?,
            })
        })
    }

    /// The first lines that were skipped, at most twenty.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedLine<'a>] {
        &self.skipped
    }

    /// How many lines, histograms and summaries were skipped because they are not understood.
    #[must_use]
    pub fn skipped_lines(&self) -> u64 {
        self.skipped_lines
    }

    /// How many samples were left out because there are more than the [limit](Limits::samples).
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whether a sample has a timestamp.
    #[must_use]
    pub fn has_timestamps(&self) -> bool {
        self.has_timestamps
    }

    fn skip(&mut self, skipped: SkippedLine<'a>) {
        self.skipped_lines += 1;
        if self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(skipped);
        }
    }
}
