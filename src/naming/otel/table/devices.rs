//! Disks, file systems and network interfaces.

use super::super::super::row::{Pairs, Row, amount, counter, gauge};

const DEVICE: Pairs = &[("device", "system.device")];
const INTERFACE: Pairs = &[("device", "network.interface.name")];
const MOUNT: Pairs =
    &[("mount", "system.filesystem.mountpoint"), ("device", "system.device"), ("fstype", "system.filesystem.type")];
const READ: Pairs = &[("disk.io.direction", "read")];
const WRITE: Pairs = &[("disk.io.direction", "write")];
const RECEIVE: Pairs = &[("network.io.direction", "receive")];
const TRANSMIT: Pairs = &[("network.io.direction", "transmit")];
const MODE: &str = "without `system.filesystem.mode`; `filesystem.read_only` has it";
const COLLECTOR: &str = "the Collector's; there is no convention";

const fn disk(name: &'static str, metric: &'static str, unit: &'static str) -> Row {
    counter(name, metric).rename(DEVICE).ucum(unit)
}

const fn network(name: &'static str, metric: &'static str, unit: &'static str) -> Row {
    counter(name, metric).rename(INTERFACE).ucum(unit)
}

pub(super) const ROWS: &[Row] = &[
    disk("system.disk.io", "disk.read_bytes_total", "By").labels(READ),
    disk("system.disk.io", "disk.written_bytes_total", "By").labels(WRITE),
    disk("system.disk.operations", "disk.reads_total", "{operation}").labels(READ),
    disk("system.disk.operations", "disk.writes_total", "{operation}").labels(WRITE),
    disk("system.disk.io_time", "disk.io_time_seconds_total", "s"),
    disk("system.disk.operation_time", "disk.read_time_seconds_total", "s").labels(READ),
    disk("system.disk.operation_time", "disk.write_time_seconds_total", "s").labels(WRITE),
    disk("system.disk.merged", "disk.reads_merged_total", "{operation}").labels(READ),
    disk("system.disk.merged", "disk.writes_merged_total", "{operation}").labels(WRITE),
    disk("system.disk.weighted_io_time", "disk.io_weighted_time_seconds_total", "s").remark(COLLECTOR),
    amount("system.disk.pending_operations", "disk.io_in_progress")
        .rename(DEVICE)
        .ucum("{operation}")
        .remark(COLLECTOR),
    amount("system.filesystem.usage", "filesystem.used_bytes")
        .labels(&[("system.filesystem.state", "used")])
        .rename(MOUNT)
        .ucum("By")
        .remark(MODE),
    amount("system.filesystem.usage", "filesystem.available_bytes")
        .labels(&[("system.filesystem.state", "free")])
        .rename(MOUNT)
        .ucum("By")
        .remark("the state `reserved` is `filesystem.free_bytes` less this one"),
    gauge("system.filesystem.utilization", "filesystem.used_percent")
        .labels(&[("system.filesystem.state", "used")])
        .rename(MOUNT)
        .ucum("1")
        .unit(100.0)
        .help("Used space as a share of the space for unprivileged users, as in `df`.")
        .remark("of the space for unprivileged users, as in the Collector"),
    amount("system.filesystem.limit", "filesystem.total_bytes").rename(MOUNT).ucum("By"),
    network("system.network.packet.dropped", "network.receive_dropped_total", "{packet}").labels(RECEIVE),
    network("system.network.packet.dropped", "network.transmit_dropped_total", "{packet}").labels(TRANSMIT),
    disk("system.network.packet.count", "network.receive_packets_total", "{packet}")
        .labels(RECEIVE)
        .remark("with `system.device`, as the conventions have it"),
    disk("system.network.packet.count", "network.transmit_packets_total", "{packet}").labels(TRANSMIT),
    network("system.network.errors", "network.receive_errors_total", "{error}").labels(RECEIVE),
    network("system.network.errors", "network.transmit_errors_total", "{error}").labels(TRANSMIT),
    network("system.network.io", "network.receive_bytes_total", "By").labels(RECEIVE),
    network("system.network.io", "network.transmit_bytes_total", "By").labels(TRANSMIT),
];
