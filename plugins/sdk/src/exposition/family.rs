//! Families: the metrics of one name, with their type, description and unit.

use std::borrow::Cow;

use super::Format;
use crate::descriptor::FoundMetric;

/// The longest description of a metric that the agent takes, in bytes.
const DESCRIPTION_BYTES: usize = 1024;

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// Not declared, or `untyped`.
    Unknown,
    /// A value that goes up and down.
    Gauge,
    /// A value that only grows.
    Counter,
    /// Numbers of observations by their size.
    Histogram,
    /// Numbers of things by their size at the moment, in OpenMetrics: gauges `_bucket`, `_gcount` and `_gsum`.
    GaugeHistogram,
    /// Quantiles of observations.
    Summary,
    /// Labels that describe something, in OpenMetrics: a gauge `_info`, which is 1.
    Info,
    /// States, in OpenMetrics: a gauge for each, which is 1 or 0.
    StateSet,
}

impl FamilyKind {
    /// The type that a word means. The text format has some of them only, and the others are unknown there.
    pub(super) fn parse(word: &str, format: Format) -> Option<Self> {
        let kind = match word {
            "gauge" => Self::Gauge,
            "counter" => Self::Counter,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            "untyped" | "unknown" => Self::Unknown,
            "gaugehistogram" => Self::GaugeHistogram,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            _ => return None,
        };
        let is_of_openmetrics = matches!(kind, Self::GaugeHistogram | Self::Info | Self::StateSet);
        Some(if format == Format::Text && is_of_openmetrics { Self::Unknown } else { kind })
    }
}

/// The metrics of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family<'a> {
    /// The name, to which its metrics may add a suffix.
    pub name: &'a str,
    /// The type.
    pub kind: FamilyKind,
    /// The description without escapes; empty without one.
    pub help: Cow<'a, str>,
    /// The unit in words, as OpenMetrics has it: `seconds`. Empty without one.
    pub unit: &'a str,
    pub(super) format: Format,
    /// Whether the type was declared.
    pub(super) is_declared: bool,
    /// Whether it has samples.
    pub(super) has_samples: bool,
}

/// The part of a sample in its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A metric by itself.
    Metric,
    /// The number of observations up to a bound.
    Bucket,
    /// A quantile.
    Quantile,
    Sum,
    Count,
    /// The moment of creation, which is left out.
    Created,
    /// A family of this type has no such sample: a metric by itself, without a type.
    Untyped,
    /// The same, of the name that the histogram of the family has.
    Foreign,
}

impl<'a> Family<'a> {
    pub(super) fn new(name: &'a str, format: Format) -> Self {
        Self {
            name,
            kind: FamilyKind::Unknown,
            help: Cow::Borrowed(""),
            unit: "",
            format,
            is_declared: false,
            has_samples: false,
        }
    }

    /// Whether there are samples of it.
    #[must_use]
    pub fn has_samples(&self) -> bool {
        self.has_samples
    }

    /// The part of a sample of this name. `None` for one of another family.
    #[inline]
    pub(super) fn role(&self, sample: &str) -> Option<Role> {
        let suffix = sample.strip_prefix(self.name)?;
        let is_openmetrics = self.format == Format::OpenMetrics;
        match (self.kind, suffix) {
            (FamilyKind::Gauge | FamilyKind::Unknown | FamilyKind::StateSet, "") => Some(Role::Metric),
            (FamilyKind::Counter, "_total") if is_openmetrics => Some(Role::Metric),
            (FamilyKind::Counter, "") => Some(if is_openmetrics { Role::Untyped } else { Role::Metric }),
            (FamilyKind::Histogram, "_bucket") => Some(Role::Bucket),
            (FamilyKind::Summary, "") => Some(Role::Quantile),
            (FamilyKind::Histogram | FamilyKind::Summary, "_sum") => Some(Role::Sum),
            (FamilyKind::Histogram | FamilyKind::Summary, "_count") => Some(Role::Count),
            (FamilyKind::GaugeHistogram, "_bucket" | "_gsum" | "_gcount") | (FamilyKind::Info, "_info") => {
                Some(Role::Metric)
            }
            (FamilyKind::Counter | FamilyKind::Histogram | FamilyKind::Summary, "_created") if is_openmetrics => {
                Some(Role::Created)
            }
            (FamilyKind::GaugeHistogram, "_created") => Some(Role::Created),
            (FamilyKind::Info | FamilyKind::GaugeHistogram, "") => Some(Role::Untyped),
            (FamilyKind::Histogram, "") => Some(Role::Foreign),
            _ => None,
        }
    }

    /// The names of its metrics.
    fn metric_names(&self) -> &'static [&'static str] {
        match (self.kind, self.format) {
            (FamilyKind::Counter, Format::OpenMetrics) => &["_total"],
            (FamilyKind::Info, _) => &["_info"],
            (FamilyKind::GaugeHistogram, _) => &["_bucket", "_gsum", "_gcount"],
            _ => &[""],
        }
    }

    /// Descriptors of its metrics in a module. A family of which nothing is known has none.
    pub fn describe(&self, module: &str) -> impl Iterator<Item = FoundMetric> {
        let is_bare = self.kind == FamilyKind::Unknown && self.help.is_empty() && self.unit.is_empty();
        let is_known = self.has_samples && !is_bare;
        let suffixes = if is_known { self.metric_names() } else { &[] };
        suffixes.iter().map(move |suffix| {
            let name = [self.name, suffix].concat();
            let describe = match self.kind {
                FamilyKind::Counter => FoundMetric::counter,
                FamilyKind::Histogram => FoundMetric::histogram,
                FamilyKind::Summary => FoundMetric::summary,
                FamilyKind::Unknown
                | FamilyKind::Gauge
                | FamilyKind::GaugeHistogram
                | FamilyKind::Info
                | FamilyKind::StateSet => FoundMetric::gauge,
            };
            // A number of observations has none.
            let unit = if matches!(*suffix, "_bucket" | "_gcount") { "" } else { ucum(self.unit) };
            describe(module, &name, unit, beginning(&self.help, DESCRIPTION_BYTES))
        })
    }
}

/// The beginning of a text, at most so many bytes.
pub(super) fn beginning(text: &str, max_bytes: usize) -> &str {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The unit in UCUM; empty for a unit that OpenMetrics does not recommend.
fn ucum(unit: &str) -> &'static str {
    match unit {
        "seconds" => "s",
        "bytes" => "By",
        "ratios" | "ratio" => "1",
        "celsius" => "Cel",
        "joules" => "J",
        "grams" => "g",
        "meters" => "m",
        "volts" => "V",
        "amperes" => "A",
        _ => "",
    }
}
