//! Hosts that were reported to other agents. Each has its source, and the right values with their reason.

use gauged_plugin::testing::{assert_not_permitted, not_permitted};

use super::*;

/// NVM Express with several paths: the kernel counts at the hidden path `nvme0c0n1`, which has no device number, and older ones
/// nothing at the disk itself. Reported in Atoptool/atop#157, netdata/netdata#5744 and lxc/lxcfs#667. Right: both as the kernel
/// has them, the path being no partition of a disk; and each partition is one of the disk.
#[test]
fn hidden_path_is_measured_beside_its_disk() {
    let mut host = Host::new();
    host.file(
        "/proc/diskstats",
        "   0       0 nvme0c0n1 162 2 5122 480 18918 8384 218384 118074 0 151248 169966 0 0 0 0 7740 51411\n \
         259       1 nvme0n1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n \
         259       2 nvme0n1p1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
    );
    let sample = start(host, "{}").tick().expect("a sample");
    assert_eq!(devices(&sample), ["nvme0c0n1", "nvme0n1"]);
    assert_eq!(sample[r#"disk.written_bytes_total{device="nvme0c0n1"}"#], 218_384 * 512);
    assert_eq!(sample[r#"disk.flushes_total{device="nvme0c0n1"}"#], 7740);
}

/// Containers of `OpenVZ` have no `/proc/diskstats`. Reported in influxdata/telegraf#733 and netdata/netdata#1369. Right: that is
/// not supported. A file that is there and refused, which is derived from it, is an error with its reason.
#[test]
fn refused_diskstats_are_not_absent() {
    assert!(matches!(start(Host::new(), "{}").tick(), Err(Error::Unsupported(_))));
    let mut host = Host::new();
    host.file_fails("/proc/diskstats", not_permitted());
    assert_not_permitted(&start(host, "{}").tick(), "/proc/diskstats");
}

/// Disks by the names that kernels and vendors give them, each followed by its partitions: s390x, Xen, SD cards, Synology,
/// software RAID, RAID controllers of HP, volumes of ZFS, persistent memory, and `OpenVZ`. Right: partitions by the rule of
/// `disk_name` in the kernel's block/genhd.c, which adds a `p` after a digit.
#[test]
fn disks_of_every_name_have_their_partitions() {
    let disks = [
        "dasda",
        "xvda",
        "mmcblk0",
        "mmcblk0boot0",
        "sata1",
        "sata10",
        "md_d0",
        "cciss/c0d0",
        "zd0",
        "pmem0s",
        "ploop30758",
    ];
    let line = |name: String| format!("8 0 {name} 1 0 8 1 0 0 0 0 0 1 1\n");
    let lines = disks.iter().flat_map(|disk| {
        let infix = if disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        [line((*disk).to_owned()), line(format!("{disk}{infix}1")), line(format!("{disk}{infix}15"))]
    });
    let mut host = Host::new();
    host.file("/proc/diskstats", lines.collect::<String>());
    let mut expected = disks.to_vec();
    expected.sort_unstable();
    assert_eq!(devices(&start(host.clone(), "{}").tick().expect("a sample")), expected);
    let all = start(host, r#"{"partitions": true}"#).tick().expect("a sample");
    assert_eq!(devices(&all).len(), 3 * disks.len());
}
