//! The naming of `OpenTelemetry`: a series with the values of a metric of the semantic conventions, version 1.44.0, has its name,
//! attributes, kind and unit. The table has what is equal; every other series is `<module>.<metric>` with its own labels and unit.

mod table;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod tests;

pub use self::table::rows;
use super::counterpart::Counterpart;
#[cfg(test)]
use super::counterpart::wildcard;
use super::dotted;
use super::named::Named;
use super::row::{Part, Relation, Whole};
use crate::sample::{Column, Label, ModuleSource, Series};

/// The address of the conventions' version, for what a request says of its names.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The attribute whose values are integers in the conventions; those of all others are texts.
pub const INTEGER_ATTRIBUTE: &str = "cpu.logical_number";

/// The name of a series.
pub(super) fn name(source: &ModuleSource, series: &Series) -> Named {
    // No histogram and no summary is in the table.
    if source.is_verbatim || series.column() != Column::Value {
        return dotted::name(source, series);
    }
    match Counterpart::find(rows(), &source.module, series.metric_name(), series.labels()) {
        Counterpart::None | Counterpart::LeftOut => dotted::name(source, series),
        Counterpart::Found(found) => found.named(series, ""),
    }
}

/// Whether a series is that of a whole, and its parts, if there are any, have its name.
pub(super) fn is_redundant(module: &str, series: &Series) -> bool {
    rows().any(|row| match &row.relation {
        Relation::Equal(equal) => match equal.part {
            Some(Part { label, whole: Whole::Redundant }) => {
                equal.metric.split_once('.') == Some((module, series.metric_name()))
                    && !series.labels().iter().any(|own: &Label| &*own.name == label)
            }
            _ => false,
        },
        Relation::Similar(_) | Relation::Missing => false,
    })
}
