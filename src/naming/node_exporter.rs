//! The naming of `node_exporter`: a series with the same values as one of `node_exporter`'s has its name, labels, type and unit, so
//! that dashboards and alerts written for it work. The table has what is equal; every other series keeps our own name.

mod table;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod tests;

pub use self::table::rows;
use super::counterpart::Counterpart;
pub use super::counterpart::wildcard;
use super::gauged;
use super::named::Named;
pub use super::row::{Equal, Others, Part, Relation, Row, Translation, Whole};
use crate::sample::{Column, ModuleSource, Series};

/// Ends of names, before `_total`, that are units.
const UNITS: [&str; 4] = ["seconds", "bytes", "celsius", "hertz"];

/// The name of a series; none if it is a sum whose parts have the name.
pub(super) fn name(prefix: &str, source: &ModuleSource, series: &Series) -> Option<Named> {
    // No histogram and no summary is in the table.
    if source.is_verbatim || series.column() != Column::Value {
        return Some(gauged::name(prefix, source, series));
    }
    match Counterpart::find(rows(), &source.module, series.metric_name(), series.labels()) {
        Counterpart::LeftOut => None,
        Counterpart::None => Some(gauged::name(prefix, source, series)),
        Counterpart::Found(found) => {
            let unit = unit(&found.name);
            Some(found.named(series, unit))
        }
    }
}

/// The unit with which a name ends; empty without one.
fn unit(name: &str) -> &'static str {
    let stem = name.strip_suffix("_total").unwrap_or(name);
    let last = stem.rsplit_once('_').map(|(_, last)| last);
    UNITS.into_iter().find(|&unit| last == Some(unit)).unwrap_or_default()
}
