//! The table: the metrics of Open-Falcon's agent that are on by default, and those that its configuration asks for.

mod devices;
mod kernel;

use super::super::row::Row;

/// The rows, in the order of the document.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [kernel::ROWS, devices::ROWS].into_iter().flatten()
}
