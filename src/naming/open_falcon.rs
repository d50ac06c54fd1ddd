//! The naming of Open-Falcon's agent: a series with the same values as one of the agent's has its name and tags. The table has what
//! is equal; every other series is `<module>.<metric>` with its own labels as tags. Names and tags are [`valid()`]; how long they may be
//! depends on the tags of a sink, which [`tags()`] knows.

mod table;
mod tags;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use self::table::rows;
pub use self::tags::{tags, valid_text};
use super::counterpart::Counterpart;
use super::named::Named;
use super::{dotted, labels};
use crate::sample::{Column, Label, MetricKind, ModuleSource, Series};

/// How Open-Falcon reads the values of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterType {
    /// The value as it is.
    Gauge,
    /// The rate of the value.
    Counter,
}

impl CounterType {
    /// The type of a column of a metric of this kind: the counts and sums of histograms and summaries are counters.
    #[must_use]
    pub fn new(kind: Option<MetricKind>, column: Column) -> Self {
        match (column, kind) {
            (Column::Bucket | Column::Sum | Column::Count, _) | (Column::Value, Some(MetricKind::Counter)) => {
                Self::Counter
            }
            (Column::Value | Column::Quantile, _) => Self::Gauge,
        }
    }

    /// The word for it in a request.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "GAUGE",
            Self::Counter => "COUNTER",
        }
    }
}

/// The name of a series.
pub(super) fn name(source: &ModuleSource, series: &Series) -> Named {
    // No histogram and no summary is in the table.
    let named = if source.is_verbatim || series.column() != Column::Value {
        dotted::name(source, series)
    } else {
        match Counterpart::find(rows(), &source.module, series.metric_name(), series.labels()) {
            Counterpart::None | Counterpart::LeftOut => dotted::name(source, series),
            Counterpart::Found(found) => found.named(series, ""),
        }
    };
    valid(named)
}

/// A name that Open-Falcon takes, of any naming. The names of two series may become one: what an output does then is its own affair.
/// Of two labels whose names have become one the second gets another name.
#[must_use]
pub fn valid(named: Named) -> Named {
    let name = match valid_text(&named.name) {
        Cow::Borrowed(_) => named.name.clone(),
        Cow::Owned(name) => name.into(),
    };
    let mut labels = Vec::with_capacity(named.labels.len());
    for Label { name, value } in &named.labels {
        labels::push(&mut labels, name, valid_text(name).into_owned(), &valid_text(value));
    }
    Named { name, labels, ..named }
}
