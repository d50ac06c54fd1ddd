//! The plugin on fixture machines.

use gauged_plugin::testing::{Host, Observed, Running, expect, hold_file, hold_readme};

use super::*;

fn start(host: Host, config: &str) -> Running<Disks> {
    Running::start(host, config).expect("the configuration is right")
}

/// The devices in a sample.
fn devices(sample: &Observed) -> Vec<&str> {
    sample.keys().filter_map(|key| key.strip_prefix("disk.reads_total{device=\"")?.strip_suffix("\"}")).collect()
}

/// A server on Linux 6.1, and the same 10 s later: one of its disks rested, one was pulled out, one was plugged in.
#[test]
fn a_server_is_as_its_fixture_says() {
    let mut disks = start(Host::at("fixtures/web-1"), "{}");
    let first = disks.tick().expect("a sample");
    assert_eq!(devices(&first), ["dm-0", "md0", "nvme0n1", "sda", "sr0"]);
    assert!(!first.keys().any(|key| key.contains("per_second")), "nothing to compare with");
    hold_file("fixtures/web-1/expected", &first.render());

    let later = std::fs::read_to_string("fixtures/web-1-later/proc/diskstats").expect("readable");
    disks.host().file("/proc/diskstats", later);
    hold_file("fixtures/web-1-later/expected", &disks.tick().expect("a sample").render());
}

/// Linux 3.10 has fewer columns, a disk that is called like a partition, and one that counts below zero.
#[test]
fn an_old_server_is_as_its_fixture_says() {
    let sample = start(Host::at("fixtures/old-db"), "{}").tick().expect("a sample");
    hold_file("fixtures/old-db/expected", &sample.render());
}

#[test]
fn settings_choose() {
    let chosen = |config| start(Host::at("fixtures/web-1"), config).tick().expect("a sample");
    assert_eq!(devices(&chosen(r#"{"devices": {"include": ["nvme*"]}}"#)), ["nvme0n1"]);
    let sample = chosen(r#"{"devices": {"include": ["nvme*"]}, "partitions": true}"#);
    assert_eq!(devices(&sample), ["nvme0n1", "nvme0n1p1", "nvme0n1p2"]);
    assert_eq!(devices(&chosen(r#"{"devices": {}}"#)).len(), 7, "all whole devices");
    let Err(Error::InvalidConfig(errors)) = Running::<Disks>::start(Host::new(), r#"{"device": {}}"#) else {
        panic!("it has no such key");
    };
    assert_eq!(errors[0].message, "unknown key; remove it, or use one of devices, partitions");
}

#[test]
fn rates_begin_anew_with_the_counters() {
    let mut host = Host::new();
    let at = |host: &mut Host, reads: u64, ms: u64| {
        host.file("/proc/diskstats", format!("8 0 sda {reads} 0 {reads} {ms} 0 0 0 0 0 {ms} {ms}\n"));
    };
    at(&mut host, 100, u64::from(u32::MAX) - 5);
    let mut disks = start(host, "{}");
    let key = r#"disk.reads_per_second{device="sda"}"#;
    assert_eq!(disks.tick().expect("a sample").get(key), None);

    // Another disk has the name.
    at(disks.host(), 20, u64::from(u32::MAX));
    disks.restarted();
    let sample = disks.tick().expect("a sample");
    assert!(!sample.keys().any(|key| key.contains("per_second") || key.contains("utilisation")), "{sample:?}");

    // What the kernel counts in 32 bits begins at zero.
    at(disks.host(), 200, 5);
    disks.restarted();
    let sample = disks.tick().expect("a sample");
    assert_eq!(sample[r#"disk.reads_total{device="sda"}"#], 200_u64);

    at(disks.host(), 300, 1005);
    let sample = disks.tick().expect("a sample");
    assert_eq!(sample[key], 10.0);
    assert_eq!(sample[r#"disk.await_seconds{device="sda"}"#], 0.01);
    assert_eq!(sample[r#"disk.utilisation_percent{device="sda"}"#], 10.0);

    // Gone for a tick, it is new: what it did in between belongs to no tick.
    disks.host().file("/proc/diskstats", "8 16 sdb 1 2 3 4 5 6 7 8 9 10 11\n");
    assert_eq!(devices(&disks.tick().expect("a sample")), ["sdb"]);
    at(disks.host(), 400, 2005);
    assert_eq!(disks.tick().expect("a sample").get(key), None);

    disks.host().file("/proc/diskstats", "");
    assert!(disks.tick().expect("nothing to measure").is_empty());
}

#[test]
fn a_time_that_begins_anew_leaves_out_what_is_made_of_it_alone() {
    // Reads, writes, and the time of all: 32 bits of milliseconds each.
    const TIMES: [usize; 4] = [3, 7, 9, 10];
    let line =
        |columns: [u64; 11]| columns.iter().fold("8 0 sda".to_owned(), |line, column| format!("{line} {column}"));
    let over_the_tick = [
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
        disks.restarted();
        let sample = disks.tick().expect("a sample");
        for metric in over_the_tick {
            let is_there = sample.get(&format!("disk.{metric}{{device=\"sda\"}}")).is_some();
            assert_eq!(is_there, !lost.contains(&metric), "{metric} where column {column} begins anew");
        }
        assert_eq!(sample[r#"disk.reads_per_second{device="sda"}"#], 10.0);
    }
}

#[test]
fn what_is_no_table_is_told() {
    for (text, why) in [
        ("8 0\n", "line 1: ends before the name of the device"),
        ("8 zero sda 1\n", "line 1: zero is not a number (the number of the device)"),
        ("8 0 sda 1 2 3\n", "line 1: ends before reads"),
        ("8 0 sda 1 2 3 4 5 6 7\n", "line 1: ends before writes"),
        ("8 0 sda 1 2 3 4 5 6 7 8 9 x 11\n", "line 1: x is not a number (the time of all operations)"),
        ("8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12\n", "line 1: ends before discards"),
        ("8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", "line 1: ends before flushes"),
    ] {
        let mut host = Host::new();
        host.file("/proc/diskstats", text);
        assert_eq!(start(host, "{}").tick(), Err(Error::Internal(format!("/proc/diskstats {why}"))), "{text:?}");
    }
}

#[test]
fn what_a_later_kernel_adds_is_passed_over() {
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
fn a_kernel_without_disks_is_not_supported() {
    assert!(matches!(start(Host::new(), "{}").tick(), Err(Error::Unsupported(_))));
    let mut host = Host::new();
    host.file_fails("/proc/diskstats", files::Error::Io("Input/output error (os error 5)".to_owned()));
    assert!(matches!(start(host, "{}").tick(), Err(Error::Unavailable(_))));
}

#[test]
fn the_readme_tells_what_is_measured() {
    hold_readme::<Disks>();
}
