//! Files and figures that are damaged in ways of their own, with what is still right.

use super::*;

/// A line that is unreadable for a moment, as in a kernel that tears it. Right: its partitions are no disks meanwhile, and a file
/// that is gone for a moment is no host without disks.
#[test]
fn unreadable_disk_keeps_its_partitions() {
    let of_disk =
        "8 1 sda1 1 0 8 1 1 0 8 1 0 1 1\n 8 15 sda15 1 0 8 1 1 0 8 1 0 1 1\n 8 16 sdb 1 0 8 1 1 0 8 1 0 1 1\n";
    for line in ["8 x sda 1 0 8\n", "(unknown) 0 sda 1 0 8 1 1 0 8 1 0 1 1\n", "-8 0 sda\n"] {
        let mut host = Host::new();
        host.file("/proc/diskstats", format!("{line} {of_disk}"));
        assert_eq!(devices(&start(host, "{}").tick().expect("a sample")), ["sdb"], "{line}");
    }
    let mut host = Host::new();
    host.file("/proc/diskstats", of_disk);
    let mut disks = start(host, "{}");
    disks.tick().expect("a sample");
    disks.host().file_fails("/proc/diskstats", files::Error::NotFound);
    assert_eq!(disks.tick(), Err(Error::Unavailable("/proc/diskstats does not exist".to_owned())));
    disks.host().file("/proc/diskstats", of_disk);
    disks.tick().expect("a sample");
}

/// Counters that move further than any disk can: sectors below zero, times that pass zero in 32 bits. Right: no rate, latency or
/// queue that comes of it, and all others.
#[test]
fn counters_that_jump_have_no_rates() {
    for (column, by, lost) in [
        (0, 1 << 62, &["reads_per_second", "await_seconds", "read_await_seconds", "request_bytes"][..]),
        (2, 1 << 52, &["read_bytes_per_second", "request_bytes"]),
        (3, u64::from(u32::MAX), &["read_await_seconds", "await_seconds"]),
        // Half of an hour for each of ten operations is a disk that hung.
        (7, 18_000_000, &[]),
        // Two days are none.
        (7, 1_728_000_000, &["write_await_seconds", "await_seconds"]),
        (10, u64::from(u32::MAX), &["queue_length"]),
        (10, 1 << 62, &["queue_length"]),
    ] {
        let (before, mut after) = ([100; 11], [110; 11]);
        after[column] = 100 + by;
        assert_lost_rates(before, after, lost);
    }
}
