//! The plugin on fixture machines.

use gauged_plugin::testing::{Harness, Host, SampleMap, assert_golden, assert_readme_metrics, expect};

use super::*;

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
    assert!(disks.tick().expect("an empty sample").is_empty());
}

#[test]
fn wrapped_time_leaves_out_only_its_own_rates() {
    // The columns with times: reads, writes, total, weighted.
    const TIMES: [usize; 4] = [3, 7, 9, 10];
    let line =
        |columns: [u64; 11]| columns.iter().fold("8 0 sda".to_owned(), |line, column| format!("{line} {column}"));
    let rate_metrics = [
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
    for (column, lost) in TIMES.into_iter().zip([
        &["await_seconds", "read_await_seconds"][..],
        &["await_seconds", "write_await_seconds"],
        &["utilisation_percent"],
        &["queue_length"],
    ]) {
        let (mut before, mut after) = ([100; 11], [200; 11]);
        (before[column], after[column]) = (u64::from(u32::MAX) - 5, 5);
        let mut host = Host::new();
        host.file("/proc/diskstats", line(before));
        let mut disks = start(host, "{}");
        disks.tick().expect("a sample");
        disks.host().file("/proc/diskstats", line(after));
        disks.allow_counter_reset();
        let sample = disks.tick().expect("a sample");
        for metric in rate_metrics {
            let is_there = sample.get(&format!("disk.{metric}{{device=\"sda\"}}")).is_some();
            assert_eq!(is_there, !lost.contains(&metric), "{metric} when column {column} wraps");
        }
        assert_eq!(sample[r#"disk.reads_per_second{device="sda"}"#], 10.0);
    }
}

#[test]
fn malformed_diskstats_is_an_internal_error() {
    for (text, why) in [
        ("8 0\n", "line 1: missing the device name"),
        ("8 zero sda 1\n", "line 1: zero is not a number (the device number)"),
        ("8 0 sda 1 2 3\n", "line 1: missing reads"),
        ("8 0 sda 1 2 3 4 5 6 7\n", "line 1: missing writes"),
        ("8 0 sda 1 2 3 4 5 6 7 8 9 x 11\n", "line 1: x is not a number (the time of all operations)"),
        ("8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12\n", "line 1: missing discards"),
        ("8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", "line 1: missing flushes"),
    ] {
        let mut host = Host::new();
        host.file("/proc/diskstats", text);
        assert_eq!(start(host, "{}").tick(), Err(Error::Internal(format!("/proc/diskstats {why}"))), "{text:?}");
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
                Value::Float(
                    0.017,
                ),
            ),
            (
                "disk.flushes_total{device=\"sda\"}",
                Value::Unsigned(
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
    host.file_fails("/proc/diskstats", files::Error::Io("Input/output error (os error 5)".to_owned()));
    assert!(matches!(start(host, "{}").tick(), Err(Error::Unavailable(_))));
}

#[test]
fn readme_lists_the_metrics() {
    assert_readme_metrics::<Disks>();
}
