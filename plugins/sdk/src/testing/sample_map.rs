//! A sample as an operator sees it: keys with labels, and values that compare with Rust's literals.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Deref;

use crate::bindings::gauged::plugin::metrics::Metric;
use crate::{Histogram, Summary, Value};

/// The values of a sample by key: `uptime.seconds`, `filesystem.free_bytes{mount="/"}`. Dereferences to a map.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SampleMap(pub(super) BTreeMap<String, Value>);

impl SampleMap {
    /// One line per metric, key and value, sorted: for comparison with a file or inline text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut lines = String::new();
        for (key, value) in &self.0 {
            let _ = match value {
                Value::Natural(value) => writeln!(lines, "{key} {value}"),
                Value::Integer(value) => writeln!(lines, "{key} {value}"),
                Value::Number(value) => writeln!(lines, "{key} {value}"),
                Value::Boolean(value) => writeln!(lines, "{key} {value}"),
                Value::Text(value) => writeln!(lines, "{key} {value:?}"),
                Value::Histogram(Histogram { bounds, counts, sum }) => {
                    writeln!(lines, "{key} bounds {bounds:?} counts {counts:?} sum {sum:?}")
                }
                Value::Summary(Summary { quantiles, sum, count }) => {
                    let quantiles: Vec<_> = quantiles.iter().map(|quantile| (quantile.share, quantile.value)).collect();
                    writeln!(lines, "{key} quantiles {quantiles:?} sum {sum:?} count {count:?}")
                }
            };
        }
        lines
    }
}

impl Deref for SampleMap {
    type Target = BTreeMap<String, Value>;

    fn deref(&self) -> &BTreeMap<String, Value> {
        &self.0
    }
}

/// The key of a metric.
pub(super) fn key(module: &str, metric: &Metric) -> String {
    let mut key = format!("{module}.{}", metric.name);
    for (at, label) in metric.labels.iter().enumerate() {
        let value = label.value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(key, "{}{}=\"{value}\"", if at == 0 { '{' } else { ',' }, label.name);
    }
    if !metric.labels.is_empty() {
        key.push('}');
    }
    key
}

impl PartialEq<u64> for Value {
    fn eq(&self, other: &u64) -> bool {
        match self {
            Self::Natural(value) => value == other,
            Self::Integer(value) => u64::try_from(*value) == Ok(*other),
            _ => false,
        }
    }
}

impl PartialEq<i64> for Value {
    fn eq(&self, other: &i64) -> bool {
        match self {
            Self::Natural(value) => i64::try_from(*value) == Ok(*other),
            Self::Integer(value) => value == other,
            _ => false,
        }
    }
}

impl PartialEq<i32> for Value {
    fn eq(&self, other: &i32) -> bool {
        *self == i64::from(*other)
    }
}

#[allow(clippy::float_cmp, reason = "tests that tolerate differences compare themselves")]
impl PartialEq<f64> for Value {
    fn eq(&self, other: &f64) -> bool {
        matches!(self, Self::Number(value) if value == other)
    }
}

impl PartialEq<bool> for Value {
    fn eq(&self, other: &bool) -> bool {
        matches!(self, Self::Boolean(value) if value == other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        matches!(self, Self::Text(value) if value == other)
    }
}
