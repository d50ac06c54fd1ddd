//! Names that neither a table nor somebody else gives: `<module>.<metric>`, with our labels, unit and kind.

use super::named::Named;
use super::{gauged, labels};
use crate::sample::{ModuleSource, Series, Text};

/// The name of a series. A verbatim module's metrics keep theirs.
pub(super) fn name(source: &ModuleSource, series: &Series) -> Named {
    let (descriptor, metric) = (series.descriptor(), series.metric_name());
    let name: Text =
        if source.is_verbatim { metric.to_owned().into() } else { format!("{}.{metric}", source.module).into() };
    Named {
        name,
        labels: labels::own(series).cloned().collect(),
        factor: None,
        kind: Some(descriptor.kind),
        unit: "",
        ucum: descriptor.unit.clone(),
        is_additive: false,
        origin: series.descriptor().origin,
        help: gauged::description(source, series),
        is_alternative: false,
    }
}
