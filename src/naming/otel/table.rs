//! The table: the metrics of `system.*` in the semantic conventions, and those beside them that the Collector names.

mod devices;
mod kernel;
mod missing;

use super::super::row::Row;

/// The rows, in the order of the document.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [kernel::ROWS, devices::ROWS, missing::ROWS].into_iter().flatten()
}
