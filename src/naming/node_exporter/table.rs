//! The table: the metrics of `node_exporter`'s collectors, those that it has off by default only where we have them.

mod devices;
mod kernel;
mod missing;
mod network;
mod process;
mod systemd;

use super::super::row::Row;

/// The rows, in the order of the document.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    let groups = [kernel::ROWS, devices::ROWS, network::ROWS, process::ROWS, systemd::ROWS, missing::ROWS];
    groups.into_iter().flatten()
}
