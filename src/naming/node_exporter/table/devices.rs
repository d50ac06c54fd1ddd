//! Disks, file systems, network interfaces, sensors and cooling devices.

use super::super::super::row::{Pairs, Row, counter, gauge, missing, similar};

const MOUNT: Pairs = &[("mount", "mountpoint")];
const COOLING: Pairs = &[("device", "name")];
const ALARM: &str = "any alarm of the sensor but that of its low limit; an alarm of a limit is 0.001 there, as if it were a temperature";
const FAN_ALARM: &str = "any alarm of the fan";
const CHIP: &str = "`chip` is the driver, and `hwmon`, `label` and `disk` are in addition";

pub(super) const ROWS: &[Row] = &[
    counter("node_disk_reads_completed_total", "disk.reads_total"),
    counter("node_disk_reads_merged_total", "disk.reads_merged_total"),
    counter("node_disk_read_bytes_total", "disk.read_bytes_total"),
    counter("node_disk_read_time_seconds_total", "disk.read_time_seconds_total"),
    counter("node_disk_writes_completed_total", "disk.writes_total"),
    counter("node_disk_writes_merged_total", "disk.writes_merged_total"),
    counter("node_disk_written_bytes_total", "disk.written_bytes_total"),
    counter("node_disk_write_time_seconds_total", "disk.write_time_seconds_total"),
    gauge("node_disk_io_now", "disk.io_in_progress"),
    counter("node_disk_io_time_seconds_total", "disk.io_time_seconds_total"),
    counter("node_disk_io_time_weighted_seconds_total", "disk.io_weighted_time_seconds_total"),
    counter("node_disk_discards_completed_total", "disk.discards_total"),
    counter("node_disk_discards_merged_total", "disk.discards_merged_total"),
    counter("node_disk_discarded_sectors_total", "disk.discarded_bytes_total")
        .unit(512.0)
        .help("Sectors of 512 bytes that were discarded."),
    counter("node_disk_discard_time_seconds_total", "disk.discard_time_seconds_total"),
    counter("node_disk_flush_requests_total", "disk.flushes_total"),
    counter("node_disk_flush_requests_time_seconds_total", "disk.flush_time_seconds_total"),
    missing("node_disk_*", "not collected yet: names, models and settings of devices, from udev"),
    gauge("node_filesystem_size_bytes", "filesystem.total_bytes").rename(MOUNT),
    gauge("node_filesystem_free_bytes", "filesystem.free_bytes").rename(MOUNT),
    gauge("node_filesystem_avail_bytes", "filesystem.available_bytes")
        .rename(MOUNT)
        .remark("0 below zero, where node_exporter has a number near 2^64"),
    gauge("node_filesystem_files", "filesystem.inodes").rename(MOUNT),
    gauge("node_filesystem_files_free", "filesystem.free_inodes").rename(MOUNT),
    gauge("node_filesystem_readonly", "filesystem.read_only").rename(MOUNT),
    gauge("node_filesystem_device_error", "filesystem.device_error")
        .rename(MOUNT)
        .remark("without the label `device_error`, which has the reason in newer versions"),
    missing("node_filesystem_*", "not collected yet: device numbers and options of mounts"),
    counter("node_network_receive_bytes_total", "network.receive_bytes_total"),
    counter("node_network_receive_packets_total", "network.receive_packets_total"),
    counter("node_network_receive_errs_total", "network.receive_errors_total"),
    counter("node_network_receive_drop_total", "network.receive_dropped_total"),
    counter("node_network_receive_fifo_total", "network.receive_fifo_errors_total"),
    counter("node_network_receive_frame_total", "network.receive_frame_errors_total"),
    counter("node_network_receive_compressed_total", "network.receive_compressed_total"),
    counter("node_network_receive_multicast_total", "network.receive_multicast_total"),
    counter("node_network_transmit_bytes_total", "network.transmit_bytes_total"),
    counter("node_network_transmit_packets_total", "network.transmit_packets_total"),
    counter("node_network_transmit_errs_total", "network.transmit_errors_total"),
    counter("node_network_transmit_drop_total", "network.transmit_dropped_total"),
    counter("node_network_transmit_fifo_total", "network.transmit_fifo_errors_total"),
    counter("node_network_transmit_colls_total", "network.transmit_collisions_total"),
    counter("node_network_transmit_carrier_total", "network.transmit_carrier_errors_total"),
    counter("node_network_transmit_compressed_total", "network.transmit_compressed_total"),
    similar("node_network_up", "network.up", "true if the kernel does not know, as for `lo`"),
    gauge("node_network_carrier", "network.carrier"),
    gauge("node_network_mtu_bytes", "network.mtu_bytes"),
    gauge("node_network_speed_bytes", "network.speed_bytes_per_second")
        .remark("left out if unknown, where node_exporter has a negative value"),
    counter("node_network_carrier_changes_total", "network.carrier_changes_total"),
    missing(
        "node_network_*",
        "not collected yet: addresses, flags and settings, and the halves of `network.carrier_changes_total`",
    ),
    gauge("node_hwmon_temp_celsius", "temperature.sensor_celsius").remark(CHIP),
    gauge("node_hwmon_temp_max_celsius", "temperature.sensor_max_celsius").remark(CHIP),
    gauge("node_hwmon_temp_crit_celsius", "temperature.sensor_critical_celsius").remark(CHIP),
    gauge("node_hwmon_fan_rpm", "temperature.fan_rpm").remark(CHIP),
    similar("node_hwmon_temp_alarm", "temperature.sensor_alarm", "any alarm of the sensor but that of its low limit"),
    similar("node_hwmon_temp_max_alarm_celsius", "temperature.sensor_alarm", ALARM),
    similar("node_hwmon_temp_crit_alarm_celsius", "temperature.sensor_alarm", ALARM),
    similar("node_hwmon_temp_emergency_alarm_celsius", "temperature.sensor_alarm", ALARM),
    similar("node_hwmon_fan_alarm", "temperature.fan_alarm", FAN_ALARM),
    similar("node_hwmon_fan_min_alarm", "temperature.fan_alarm", FAN_ALARM),
    missing("node_hwmon_chip_names", "the label `chip` of each metric"),
    missing("node_hwmon_sensor_label", "the label `label` of each metric"),
    missing("node_hwmon_*", "not collected yet: voltages, currents, power, humidity, and further limits"),
    gauge("node_thermal_zone_temp", "temperature.zone_celsius"),
    gauge("node_cooling_device_cur_state", "temperature.cooling_state")
        .rename(COOLING)
        .remark("left out at -1, which is no level"),
    gauge("node_cooling_device_max_state", "temperature.cooling_max_state").rename(COOLING),
];
