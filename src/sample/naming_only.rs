//! Series that are measured for a naming and that no other output shows.

use super::series::Series;

/// Whether a series of a module is measured only because the naming of `node_exporter` needs it: the seconds of a single CPU. It is
/// in no other output, unless `cpu.per_core` asks for each CPU; then nothing is hidden, and this is not to be asked.
#[must_use]
pub fn is_for_naming_only(module: &str, series: &Series) -> bool {
    module == "cpu" && series.labels().iter().any(|label| &*label.name == "cpu")
}
