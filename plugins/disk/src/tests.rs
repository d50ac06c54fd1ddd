//! The plugin on fixture machines.

use gauged_plugin::OsError;
use gauged_plugin::testing::{
    Harness, Host, SampleMap, assert_damage_is_contained, assert_golden, assert_line_damage_is_contained,
    assert_lines_are_independent, assert_readme, assert_settings, expect,
};

use super::*;

mod malformed;
mod worlds;

fn start(host: Host, config: &str) -> Harness<Disks> {
    Harness::start(host, config).expect("the configuration is right")
}

/// The devices in a sample.
fn devices(sample: &SampleMap) -> Vec<&str> {
    sample.keys().filter_map(|key| key.strip_prefix("disk.reads_total{device=\"")?.strip_suffix("\"}")).collect()
}

/// A server on Linux 6.1, and the same 10 s later with one idle, one removed and one added disk.
#[test]
fn server_matches_its_golden_files() {
    let mut disks = start(Host::from_fixture("fixtures/web-1"), "{}");
    let first = disks.tick().expect("a sample");
    assert_eq!(devices(&first), ["dm-0", "md0", "nvme0n1", "sda", "sr0"]);
    assert!(!first.keys().any(|key| key.contains("per_second")), "no previous values");
    assert_golden("fixtures/web-1/expected", &first.render());

    let later = std::fs::read_to_string("fixtures/web-1-later/proc/diskstats").expect("readable");
    disks.host().file("/proc/diskstats", later);
    assert_golden("fixtures/web-1-later/expected", &disks.tick().expect("a sample").render());
}

/// Linux 3.10: fewer columns, a disk named like a partition, and one with a negative value.
#[test]
fn old_server_matches_its_golden_file() {
    let sample = start(Host::from_fixture("fixtures/old-db"), "{}").tick().expect("a sample");
    assert_golden("fixtures/old-db/expected", &sample.render());
}

#[test]
fn settings_select_devices_and_partitions() {
    let chosen = |config| start(Host::from_fixture("fixtures/web-1"), config).tick().expect("a sample");
    assert_eq!(devices(&chosen(r#"{"devices": {"include": ["nvme*"]}}"#)), ["nvme0n1"]);
    let sample = chosen(r#"{"devices": {"include": ["nvme*"]}, "partitions": true}"#);
    assert_eq!(devices(&sample), ["nvme0n1", "nvme0n1p1", "nvme0n1p2"]);
    assert_eq!(devices(&chosen(r#"{"devices": {}}"#)).len(), 7, "all whole devices");
    let Err(Error::InvalidConfig(errors)) = Harness::<Disks>::start(Host::new(), r#"{"device": {}}"#) else {
        panic!("the key is unknown");
    };
    assert_eq!(errors[0].message, "unknown key; remove it, or use one of devices, partitions");
}

#[test]
fn counter_reset_restarts_rates() {
    let mut host = Host::new();
    let at = |host: &mut Host, reads: u64, ms: u64| {
        host.file("/proc/diskstats", format!("8 0 sda {reads} 0 {reads} {ms} 0 0 0 0 0 {ms} {ms}\n"));
    };
    at(&mut host, 100, u64::from(u32::MAX) - 5);
    let mut disks = start(host, "{}");
    let key = r#"disk.reads_per_second{device="sda"}"#;
    assert_eq!(disks.tick().expect("a sample").get(key), None);

    // Another disk with the same name.
    at(disks.host(), 20, u64::from(u32::MAX));
    disks.allow_counter_reset();
    let sample = disks.tick().expect("a sample");
    assert!(!sample.keys().any(|key| key.contains("per_second") || key.contains("utilisation")), "{sample:?}");

    // 32-bit times wrap.
    at(disks.host(), 200, 5);
    disks.allow_counter_reset();
    let sample = disks.tick().expect("a sample");
    assert_eq!(sample[r#"disk.reads_total{device="sda"}"#], 200_u64);

    at(disks.host(), 300, 1005);
    let sample = disks.tick().expect("a sample");
    assert_eq!(sample[key], 10.0);
    assert_eq!(sample[r#"disk.await_seconds{device="sda"}"#], 0.01);
    assert_eq!(sample[r#"disk.utilisation_percent{device="sda"}"#], 10.0);

    // A disk missing for a tick is new again.
    disks.host().file("/proc/diskstats", "8 16 sdb 1 2 3 4 5 6 7 8 9 10 11\n");
    assert_eq!(devices(&disks.tick().expect("a sample")), ["sdb"]);
    at(disks.host(), 400, 2005);
    assert_eq!(disks.tick().expect("a sample").get(key), None);

    disks.host().file("/proc/diskstats", "");
    assert_eq!(disks.tick(), Err(Error::Failed("/proc/diskstats: is empty".to_owned())));
    assert!(disks.host().warnings().contains(&"WARN without all disks: /proc/diskstats is truncated: is empty"));
}

/// The metrics that are made of what counters have grown by.
const RATES: [&str; 10] = [
    "await_seconds",
    "queue_length",
    "read_await_seconds",
    "read_bytes_per_second",
    "reads_per_second",
    "request_bytes",
    "utilisation_percent",
    "write_await_seconds",
    "write_bytes_per_second",
    "writes_per_second",
];

/// Asserts that these rates, and no others, are left out when the counters of a disk go from some values to others. Returns the sample.
fn assert_lost_rates(before: [u64; 11], after: [u64; 11], lost: &[&str]) -> SampleMap {
    let line = |counters: [u64; 11]| {
        counters.iter().fold("8 0 sda".to_owned(), |line, counter| format!("{line} {counter}")) + "\n"
    };
    let mut host = Host::new();
    host.file("/proc/diskstats", line(before));
    let mut disks = start(host, "{}");
    disks.tick().expect("a sample");
    disks.host().file("/proc/diskstats", line(after));
    if before.iter().zip(after).any(|(&before, after)| after < before) {
        disks.allow_counter_reset();
    }
    let sample = disks.tick().expect("a sample");
    for rate in RATES {
        let is_there = sample.get(&format!("disk.{rate}{{device=\"sda\"}}")).is_some();
        assert_eq!(is_there, !lost.contains(&rate), "{rate} from {before:?} to {after:?}");
    }
    sample
}

#[test]
fn wrapped_time_leaves_out_only_its_own_rates() {
    // The columns with times: reads, writes, total, weighted.
    const TIMES: [usize; 4] = [3, 7, 9, 10];
    for (column, lost) in TIMES.into_iter().zip([
        &["await_seconds", "read_await_seconds"][..],
        &["await_seconds", "write_await_seconds"],
        &["utilisation_percent"],
        &["queue_length"],
    ]) {
        let (mut before, mut after) = ([100; 11], [200; 11]);
        (before[column], after[column]) = (u64::from(u32::MAX) - 5, 5);
        let sample = assert_lost_rates(before, after, lost);
        assert_eq!(sample[r#"disk.reads_per_second{device="sda"}"#], 10.0);
    }
}

/// lxcfs 4.0.10 to 5.0.3 lost a column of the discards.
#[test]
fn incomplete_columns_are_left_out_as_a_group() {
    let mut host = Host::new();
    let lines = "8       0 sda 18 0 1808 0 46 0 977 34 0 2 0 0 0 0\n253       0 dm-0 18 0 1808 0 0 0 0 0 0 0 0 0 0 0\n";
    host.file("/proc/diskstats", lines);
    let mut disks = start(host, "{}");
    let sample = disks.tick().expect("a sample");
    assert_eq!(devices(&sample), ["dm-0", "sda"]);
    assert_eq!(sample[r#"disk.read_bytes_total{device="sda"}"#], 1808 * 512);
    assert_eq!(sample[r#"disk.written_bytes_total{device="sda"}"#], 977 * 512);
    assert_eq!(sample[r#"disk.io_time_seconds_total{device="sda"}"#], 0.002);
    assert!(!sample.keys().any(|key| key.contains("discard") || key.contains("flush")), "{sample:?}");
    assert!(disks.host().messages().is_empty(), "older kernels have no such columns at all");
}

#[test]
fn unreadable_column_costs_only_its_metric() {
    let healthy = "8 16 sdb 1 2 3 4 5 6 7 8 9 10 11\n";
    for (line, kept, lost, why) in [
        ("8 0 sda 1 2 3 4 5\n", "reads_total", "writes_total", "is truncated: missing the time of all operations"),
        ("8 0 sda 1 2 3 4 5 6 7\n", "reads_total", "writes_total", "missing the time of all operations"),
        (
            "8 0 sda 1 2 3 4 5 6 7 8 9 x 11\n",
            "io_weighted_time_seconds_total",
            "io_time_seconds_total",
            "column 13 of sda",
        ),
        ("8 0 sda 1 2 -3 4 5 6 7 8 9 10 11\n", "reads_total", "read_bytes_total", "column 6 of sda"),
        ("8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12\n", "reads_total", "discards_total", ""),
    ] {
        let mut host = Host::new();
        host.file("/proc/diskstats", format!("{line}{healthy}"));
        let mut disks = start(host, "{}");
        let sample = disks.tick().expect("a sample");
        assert!(sample.contains_key(&format!("disk.{kept}{{device=\"sda\"}}")), "{line}");
        assert_eq!(sample.get(&format!("disk.{lost}{{device=\"sda\"}}")), None, "{line}");
        assert_eq!(sample[r#"disk.writes_total{device="sdb"}"#], 5, "{line}");
        assert!(disks.host().messages().iter().all(|message| message.contains(why)), "{:?}", disks.host().messages());
    }
    // The third is of a row that lost its name.
    for garbage in ["8 0\n", "8 zero sda 1\n", "19092852 0 510563170 15817012 46452019 0 1546950712\n", "\0\0\0\n"] {
        let mut host = Host::new();
        host.file("/proc/diskstats", format!("{garbage}{healthy}{healthy}"));
        let sample = start(host, "{}").tick().expect("a sample");
        assert_eq!(devices(&sample), ["sdb"], "{garbage}");
    }
}

/// Before Linux 2.6.25 partitions have four columns: see the kernel's `Documentation/iostats.txt` of that time.
#[test]
fn unreadable_column_costs_only_its_rates() {
    let mut host = Host::new();
    let at = |host: &mut Host, reads: &str, writes: u64| {
        host.file("/proc/diskstats", format!("8 0 sda {reads} 0 80 9 {writes} 0 {writes} 9 0 10 20\n"));
    };
    at(&mut host, "-7", 100);
    let mut disks = start(host, "{}");
    disks.tick().expect("a sample");
    at(disks.host(), "-6", 150);
    let sample = disks.tick().expect("a sample");
    assert_eq!(sample[r#"disk.writes_per_second{device="sda"}"#], 5.0);
    assert_eq!(sample[r#"disk.read_bytes_per_second{device="sda"}"#], 0.0);
    for left_out in ["reads_per_second", "await_seconds", "request_bytes"] {
        assert!(!sample.contains_key(&format!("disk.{left_out}{{device=\"sda\"}}")), "{left_out}");
    }
}

#[test]
fn old_partition_has_operations_and_bytes() {
    let mut host = Host::new();
    host.file("/proc/diskstats", "3 0 hda 1 2 3 4 5 6 7 8 9 10 11\n3 1 hda1 5 40 6 48\n");
    let mut disks = start(host, r#"{"partitions": true}"#);
    let sample = disks.tick().expect("a sample");
    let of_partition: String =
        sample.render().lines().filter(|line| line.contains("hda1")).map(|line| line.to_owned() + "\n").collect();
    expect![[r#"
        disk.read_bytes_total{device="hda1"} 20480
        disk.reads_total{device="hda1"} 5
        disk.writes_total{device="hda1"} 6
        disk.written_bytes_total{device="hda1"} 24576
    "#]]
    .assert_eq(&of_partition);
    assert!(disks.host().messages().is_empty(), "nothing to fix");
}

#[test]
fn jumping_time_has_no_utilisation() {
    let mut host = Host::new();
    let at = |ms: u64| format!("8 0 sda 1 0 8 1 1 0 8 1 0 {ms} {ms}\n");
    host.file("/proc/diskstats", at(0));
    let mut disks = start(host, "{}");
    disks.tick().expect("a sample");
    let key = r#"disk.utilisation_percent{device="sda"}"#;
    let mut percent = |ms: u64| {
        disks.host().file("/proc/diskstats", at(ms));
        disks.tick().expect("a sample").get(key).cloned()
    };
    // A guest's clock that jumps; a read that is late.
    assert_eq!(percent(4_000_000), None);
    assert_eq!(percent(4_010_400), Some(gauged_plugin::Value::Number(100.0)));
}

#[test]
fn damaged_line_costs_only_its_disk() {
    for machine in ["web-1", "old-db"] {
        let host = Host::from_fixture(&format!("fixtures/{machine}"));
        assert_damage_is_contained::<Disks>(&host, "{}", |_| &["*"]);
        assert_lines_are_independent::<Disks>(&host, "{}", "/proc/diskstats", 0);
        assert_line_damage_is_contained::<Disks>(&host, "{}", "/proc/diskstats", 0, |line| {
            let device = line.split_ascii_whitespace().nth(2).expect("a name");
            vec![format!("*{{device=\"{device}\"}}")]
        });
    }
}

#[test]
fn additional_columns_are_ignored() {
    let mut host = Host::new();
    host.file("/proc/diskstats", "8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 later 19\n");
    let sample = start(host, r#"{"devices": {"include": ["sda"]}}"#).tick().expect("a sample");
    let flushes: Vec<_> = sample.iter().filter(|(key, _)| key.contains("flush")).collect();
    expect![[r#"
        [
            (
                "disk.flush_time_seconds_total{device=\"sda\"}",
                Value::Number(
                    0.017,
                ),
            ),
            (
                "disk.flushes_total{device=\"sda\"}",
                Value::Natural(
                    16,
                ),
            ),
        ]
    "#]]
    .assert_debug_eq(&flushes);
}

#[test]
fn kernel_without_diskstats_is_unsupported() {
    assert!(matches!(start(Host::new(), "{}").tick(), Err(Error::Unsupported(_))));
    let mut host = Host::new();
    host.file_fails("/proc/diskstats", files::Error::Io(OsError::new("EIO", "Input/output error")));
    assert!(matches!(start(host, "{}").tick(), Err(Error::Failed(_))));
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Disks>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Disks>("{}");
}
