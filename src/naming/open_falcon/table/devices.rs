//! File systems, disks and network interfaces.

use super::super::super::row::{Pairs, Row, counter, gauge, missing};

const INTERFACE: Pairs = &[("device", "iface")];
/// A mount point has one file system at a time.
const DEVICE: &[&str] = &["device"];
const SECTOR: f64 = 512.0;
const MILLISECOND: f64 = 1e-3;
const SECOND: &str = "over the tick, where the agent has the last second of the step";
const IN_PROGRESS: &str = "a gauge; the agent sends it as a counter by mistake";
const RATE: &str = "a gauge over the tick; the agent sends a counter, whose rate is the same";
const IDLE: &str = "as above; left out at a tick without operations, where the agent has 0";

const fn mount(name: &'static str, metric: &'static str) -> Row {
    gauge(name, metric).drop(DEVICE)
}

const fn interface(name: &'static str, metric: &'static str) -> Row {
    counter(name, metric).rename(INTERFACE)
}

pub(super) const ROWS: &[Row] = &[
    mount("df.bytes.total", "filesystem.total_bytes"),
    mount("df.bytes.used", "filesystem.used_bytes"),
    mount("df.bytes.free", "filesystem.available_bytes"),
    mount("df.bytes.used.percent", "filesystem.used_percent"),
    missing("df.bytes.free.percent", "100 less `filesystem.used_percent`"),
    mount("df.inodes.total", "filesystem.inodes"),
    missing("df.inodes.used", "`filesystem.inodes` less `filesystem.free_inodes`"),
    mount("df.inodes.free", "filesystem.free_inodes"),
    mount("df.inodes.used.percent", "filesystem.inodes_used_percent"),
    missing("df.inodes.free.percent", "100 less `filesystem.inodes_used_percent`"),
    missing("df.statistics.*", "a sum over file systems, for the reader of the metrics"),
    counter("disk.io.read_requests", "disk.reads_total"),
    counter("disk.io.read_merged", "disk.reads_merged_total"),
    counter("disk.io.read_sectors", "disk.read_bytes_total").unit(SECTOR).help("Sectors of 512 bytes that were read."),
    counter("disk.io.msec_read", "disk.read_time_seconds_total")
        .unit(MILLISECOND)
        .help("Total duration of all reads in milliseconds, including time in the queue."),
    counter("disk.io.write_requests", "disk.writes_total"),
    counter("disk.io.write_merged", "disk.writes_merged_total"),
    counter("disk.io.write_sectors", "disk.written_bytes_total")
        .unit(SECTOR)
        .help("Sectors of 512 bytes that were written."),
    counter("disk.io.msec_write", "disk.write_time_seconds_total")
        .unit(MILLISECOND)
        .help("Total duration of all writes in milliseconds, including time in the queue."),
    gauge("disk.io.ios_in_progress", "disk.io_in_progress").remark(IN_PROGRESS),
    counter("disk.io.msec_total", "disk.io_time_seconds_total")
        .unit(MILLISECOND)
        .help("Milliseconds with at least one operation in progress."),
    counter("disk.io.msec_weighted_total", "disk.io_weighted_time_seconds_total")
        .unit(MILLISECOND)
        .help("Milliseconds with operations in progress, weighted by their number."),
    gauge("disk.io.read_bytes", "disk.read_bytes_per_second").remark(SECOND),
    gauge("disk.io.write_bytes", "disk.write_bytes_per_second").remark("as above"),
    gauge("disk.io.avgrq_sz", "disk.request_bytes")
        .unit(SECTOR)
        .help("Average size of the tick's reads and writes, in sectors of 512 bytes.")
        .remark(IDLE),
    gauge("disk.io.avgqu-sz", "disk.queue_length").remark("as above"),
    gauge("disk.io.await", "disk.await_seconds")
        .unit(MILLISECOND)
        .help("Average duration of the tick's reads and writes in milliseconds, including time in the queue.")
        .remark(IDLE),
    missing("disk.io.svctm", "meaningless for devices with parallel operations; iostat has removed it"),
    gauge("disk.io.util", "disk.utilisation_percent").remark(SECOND),
    interface("net.if.in.bytes", "network.receive_bytes_total"),
    interface("net.if.in.packets", "network.receive_packets_total"),
    interface("net.if.in.errors", "network.receive_errors_total"),
    interface("net.if.in.dropped", "network.receive_dropped_total"),
    interface("net.if.in.fifo.errs", "network.receive_fifo_errors_total"),
    interface("net.if.in.frame.errs", "network.receive_frame_errors_total"),
    interface("net.if.in.compressed", "network.receive_compressed_total"),
    interface("net.if.in.multicast", "network.receive_multicast_total"),
    gauge("net.if.in.percent", "network.receive_utilisation_percent").rename(INTERFACE).remark(RATE),
    missing("net.if.in.bits", "8 × `net.if.in.bytes`"),
    interface("net.if.out.bytes", "network.transmit_bytes_total"),
    interface("net.if.out.packets", "network.transmit_packets_total"),
    interface("net.if.out.errors", "network.transmit_errors_total"),
    interface("net.if.out.dropped", "network.transmit_dropped_total"),
    interface("net.if.out.fifo.errs", "network.transmit_fifo_errors_total"),
    interface("net.if.out.collisions", "network.transmit_collisions_total"),
    interface("net.if.out.carrier.errs", "network.transmit_carrier_errors_total"),
    interface("net.if.out.compressed", "network.transmit_compressed_total"),
    gauge("net.if.out.percent", "network.transmit_utilisation_percent").rename(INTERFACE).remark(RATE),
    missing("net.if.out.bits", "8 × `net.if.out.bytes`"),
    gauge("net.if.speed.bits", "network.speed_bytes_per_second")
        .rename(INTERFACE)
        .unit(0.125)
        .help("Capacity of the link in each direction, in bits per second; left out if it has none or does not report it.")
        .remark("left out if unknown, where the agent has 0 or a negative number"),
    missing("net.if.total.*", "the sum of two directions with separate limits"),
];
