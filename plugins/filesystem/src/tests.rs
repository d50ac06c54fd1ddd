//! The plugin on fixture machines.

use gauged_plugin::testing::{Harness, Host, assert_golden, assert_readme_metrics, expect};
use gauged_plugin::{Capability, Value};

use super::*;

const GIB: u64 = 1 << 30;

fn usage(total_gib: u64, free_gib: u64, inodes: u64) -> FilesystemUsage {
    let (total_bytes, free_bytes) = (total_gib * GIB, free_gib * GIB);
    let available_bytes = free_bytes - total_bytes / 20;
    FilesystemUsage { total_bytes, free_bytes, available_bytes, inodes, free_inodes: inodes / 4, read_only: false }
}

/// A server with many mounts, one of a dead NFS server.
fn web() -> Host {
    let mut host = Host::from_fixture("fixtures/web-1");
    for point in ["/run", "/home", "/srv", "/mnt/usb"] {
        host.usage(point, usage(8, 4, 0));
    }
    host.usage("/", usage(100, 30, 6_553_600)).usage("/data", usage(2000, 500, 1_000_000));
    host.usage("/mnt/old disk", FilesystemUsage { read_only: true, ..usage(10, 1, 1000) });
    host.usage_fails("/mnt/backup", files::Error::Timeout);
    host
}

fn start(host: Host, config: &str) -> Harness<Filesystem> {
    Harness::start(host, config).expect("the configuration is right")
}

#[test]
fn server_matches_its_golden_file() {
    let mut filesystem = start(web(), "{}");
    filesystem.tick().expect("a sample without the mounts after the dead one");
    let sample = filesystem.tick().expect("a sample");
    assert_golden("fixtures/web-1/expected", &sample.render());
}

#[test]
fn container_with_bind_mounted_files_has_a_filesystem() {
    let mut host = Host::from_fixture("fixtures/container");
    host.usage("/etc/resolv.conf", usage(100, 30, 0));
    let sample = start(host, r#"{"mounts": {"include": ["*"]}}"#).tick().expect("a sample");
    expect![[r#"
        filesystem.available_bytes{mount="/etc/resolv.conf",device="/dev/sda2",fstype="ext4"} 26843545600
        filesystem.device_error{mount="/etc/resolv.conf",device="/dev/sda2",fstype="ext4"} false
        filesystem.free_bytes{mount="/etc/resolv.conf",device="/dev/sda2",fstype="ext4"} 32212254720
        filesystem.read_only{mount="/etc/resolv.conf",device="/dev/sda2",fstype="ext4"} false
        filesystem.total_bytes{mount="/etc/resolv.conf",device="/dev/sda2",fstype="ext4"} 107374182400
        filesystem.used_bytes{mount="/etc/resolv.conf",device="/dev/sda2",fstype="ext4"} 75161927680
        filesystem.used_percent{mount="/etc/resolv.conf",device="/dev/sda2",fstype="ext4"} 73.68421052631578
    "#]]
    .assert_eq(&sample.render());
}

#[test]
fn settings_select_mounts_and_types() {
    let sample = start(web(), r#"{"mounts": {"include": ["/data", "/mnt/*"]}, "fstypes": {"include": ["xfs"]}}"#)
        .tick()
        .expect("a sample");
    assert!(sample.keys().all(|key| key.contains("mount=\"/data\"")), "{sample:?}");
    assert_eq!(sample.len(), 10);
    let Err(Error::InvalidConfig(errors)) = Harness::<Filesystem>::start(web(), r#"{"mounts": {"ignore": []}}"#) else {
        panic!("the key is unknown");
    };
    assert_eq!(errors[0].key, "mounts.ignore");
    assert_eq!(errors[0].message, "unknown key; remove it, or use one of include, exclude");
}

#[test]
fn unresponsive_mount_affects_others_for_one_tick() {
    let error = |mount: &str, device: &str, fstype: &str| {
        format!("filesystem.device_error{{mount=\"{mount}\",device=\"{device}\",fstype=\"{fstype}\"}}")
    };
    let (backup, usb) = (error("/mnt/backup", "nas:/backup", "nfs4"), error("/mnt/usb", "/dev/sdd2", "ext4"));
    let mut filesystem = start(web(), "{}");

    // The first timeout leaves out the mounts after it.
    let sample = filesystem.tick().expect("a sample");
    assert_eq!((&sample[&backup], sample.get(&usb)), (&Value::Boolean(true), None));
    // From then on the mount comes last.
    let sample = filesystem.tick().expect("a sample");
    assert_eq!((&sample[&backup], &sample[&usb]), (&Value::Boolean(true), &Value::Boolean(false)));
    // Without time left its state is kept.
    filesystem.host().usage_fails("/data", files::Error::Timeout);
    let sample = filesystem.tick().expect("a sample");
    assert_eq!((&sample[&backup], sample.get(&usb)), (&Value::Boolean(true), None));
    // It recovers once it responds.
    filesystem.host().usage("/mnt/backup", usage(1000, 500, 0));
    let sample = filesystem.tick().expect("a sample");
    assert_eq!((&sample[&backup], &sample[&usb]), (&Value::Boolean(false), &Value::Boolean(false)));
    assert_eq!(sample[&error("/data", "/dev/sdb1", "xfs")], true);
}

/// A host with `count` responsive mounts.
fn host_with_mounts(count: usize) -> Host {
    let mut host = Host::new();
    let line = |at: usize| format!("{at} 1 0:{at} / /m/{at} rw - nfs4 nas:/{at} rw\n");
    host.file("/proc/1/mountinfo", (0..count).map(line).collect::<String>());
    for at in 0..count {
        host.usage(&format!("/m/{at}"), usage(8, 4, 0));
    }
    host
}

/// The mounts with a metric in the next sample, and the value of `left_out`.
fn metrics_by_mount(filesystem: &mut Harness<Filesystem>, metric: &str) -> (Vec<usize>, Option<Value>) {
    let sample = filesystem.tick().expect("a sample");
    let prefix = format!("filesystem.{metric}{{mount=\"/m/");
    let numbers = sample.keys().filter_map(|key| key.strip_prefix(&prefix)?.split('"').next()?.parse().ok());
    let mut numbers: Vec<usize> = numbers.collect();
    numbers.sort_unstable();
    (numbers, sample.get("filesystem.left_out").cloned())
}

#[test]
fn excess_mounts_are_measured_in_rotation() {
    let mut filesystem = start(host_with_mounts(1200), "{}");
    let left_out = Some(Value::Unsigned(700));
    assert_eq!(metrics_by_mount(&mut filesystem, "total_bytes"), ((0..500).collect(), left_out.clone()));
    assert_eq!(metrics_by_mount(&mut filesystem, "total_bytes"), ((500..1000).collect(), left_out.clone()));
    assert_eq!(metrics_by_mount(&mut filesystem, "total_bytes"), ((0..300).chain(1000..1200).collect(), left_out));
    let messages = filesystem.host().messages();
    assert!(messages.len() == 1 && messages[0].contains("there are 1200 mounts"), "{messages:?}");

    let mut filesystem = start(host_with_mounts(500), "{}");
    for _ in 0..2 {
        assert_eq!(metrics_by_mount(&mut filesystem, "total_bytes"), ((0..500).collect(), None));
    }
    assert!(filesystem.host().messages().is_empty());
}

#[test]
fn unresponsive_mount_delays_the_rotation_once() {
    let mut host = host_with_mounts(600);
    host.usage_fails("/m/10", files::Error::Timeout);
    let mut filesystem = start(host, "{}");
    let left_out = |count| Some(Value::Unsigned(count));
    // The next tick starts after the unresponsive mount.
    assert_eq!(metrics_by_mount(&mut filesystem, "total_bytes"), ((0..10).collect(), left_out(589)));
    assert_eq!(metrics_by_mount(&mut filesystem, "total_bytes"), ((11..511).collect(), left_out(100)));
    // It stays known as unresponsive and comes last in its next batch.
    let (measured, left) = metrics_by_mount(&mut filesystem, "total_bytes");
    assert_eq!((measured.len(), measured.contains(&10), left), (499, false, left_out(100)));
}

#[test]
fn immediate_failure_does_not_end_the_tick() {
    let mut host = web();
    host.usage_fails("/data", files::Error::Io("Stale file handle (os error 116)".to_owned()));
    host.usage_fails("/home", files::Error::NotFound);
    let sample = start(host, r#"{"mounts": {"include": ["/data", "/home", "/run"]}}"#).tick().expect("a sample");
    let failed = sample.iter().filter(|(key, value)| key.contains("device_error") && **value == true);
    let failed: Vec<_> = failed.map(|(key, _)| key.as_str()).collect();
    assert_eq!(failed, [r#"filesystem.device_error{mount="/data",device="/dev/sdb1",fstype="xfs"}"#]);
    assert!(sample.keys().any(|key| key.contains("/run")) && !sample.keys().any(|key| key.contains("/home")));
}

#[test]
fn denied_usage_of_all_mounts_names_the_grant() {
    let mut host = web();
    for pattern in ["/", "/*", "/*/*"] {
        host.deny(&Capability::Usage(pattern.to_owned()));
    }
    let error = start(host, "{}").tick().expect_err("nothing is granted");
    assert!(matches!(error, Error::Denied(need) if need.capability == Capability::Usage("/mnt/usb".to_owned())));

    let mut host = host_with_mounts(501);
    host.deny(&Capability::Usage("/*/*".to_owned()));
    assert!(matches!(start(host, "{}").tick(), Err(Error::Denied(_))), "left-out mounts alone are no measurement");
}

#[test]
fn malformed_mountinfo_is_an_internal_error() {
    let mut host = Host::new();
    host.file("/proc/1/mountinfo", "28 1 8:2 / / rw\n");
    let why = "/proc/1/mountinfo line 1: missing the hyphen".to_owned();
    assert_eq!(start(host, "{}").tick(), Err(Error::Internal(why)));
}

#[test]
fn readme_lists_the_metrics() {
    assert_readme_metrics::<Filesystem>();
}
