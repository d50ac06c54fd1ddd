//! The plugin on fixture machines.

use gauged_plugin::testing::{
    Harness, Host, SampleMap, assert_damage_is_contained, assert_golden, assert_line_damage_is_contained,
    assert_lines_are_independent, assert_readme, assert_settings, expect,
};
use gauged_plugin::{Capability, OsError, Value};

use super::*;

mod malformed;
mod worlds;

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
    let left_out = Some(Value::Natural(700));
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
    let left_out = |count| Some(Value::Natural(count));
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
    host.usage_fails("/data", files::Error::Io(OsError::new("ESTALE", "Stale file handle")));
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
        host.deny(&Capability::usage(pattern));
    }
    let error = start(host, "{}").tick().expect_err("nothing is granted");
    assert!(matches!(error, Error::Denied(need) if need.capability == Capability::usage("/mnt/usb")));

    let mut host = host_with_mounts(501);
    host.deny(&Capability::usage("/*/*"));
    assert!(matches!(start(host, "{}").tick(), Err(Error::Denied(_))), "left-out mounts alone are no measurement");
}

/// The keys of one metric, with its values.
fn with_metric(sample: &SampleMap, metric: &str) -> Vec<(String, Value)> {
    let prefix = format!("filesystem.{metric}{{");
    sample.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A host with these lines of mountinfo and a file system at each of these points.
fn host_with(mountinfo: &[u8], points: &[&str]) -> Host {
    let mut host = Host::new();
    host.file("/proc/1/mountinfo", mountinfo);
    for point in points {
        host.usage(point, usage(8, 4, 0));
    }
    host
}

#[test]
fn device_may_be_empty_or_a_hyphen() {
    let mounts = b"30 22 0:30 / /mnt/bb rw - tmpfs  rw,seclabel\n31 22 0:31 / /mnt/shm rw - tmpfs - rw\n\
        32 22 8:1 / /mnt/data rw shared:1 master:2 - ext4 /dev/sda1 rw\n";
    let sample = start(host_with(mounts, &["/mnt/bb", "/mnt/shm", "/mnt/data"]), "{}").tick().expect("a sample");
    for (mount, device, fstype) in
        [("/mnt/bb", "none", "tmpfs"), ("/mnt/shm", "-", "tmpfs"), ("/mnt/data", "/dev/sda1", "ext4")]
    {
        let key = format!("filesystem.total_bytes{{mount=\"{mount}\",device=\"{device}\",fstype=\"{fstype}\"}}");
        assert!(sample.contains_key(&key), "{key}");
    }
}

/// A sandbox such as systemd's `ProtectSystem=strict` makes the agent's own mounts read-only, and not the host's.
#[test]
fn sandbox_of_the_agent_makes_nothing_read_only() {
    let mounts = b"30 22 8:1 / /written rw,relatime - ext4 /dev/sda1 rw\n31 22 8:2 / /mount ro,relatime - ext4 /dev/sda2 rw\n\
        32 22 8:3 / /failed rw,relatime shared:1 - ext4 /dev/sda3 ro,errors=remount-ro\n33 22 8:4 / /cut rw - ext4 /dev/sda4\n";
    let points = ["/written", "/mount", "/failed", "/cut"];
    let mut host = host_with(mounts, &points);
    for point in points {
        host.usage(point, FilesystemUsage { read_only: true, ..usage(8, 4, 0) });
    }
    let sample = start(host, "{}").tick().expect("a sample").render();
    for (point, is_read_only) in points.into_iter().zip([false, true, true, false]) {
        let start = format!("filesystem.read_only{{mount=\"{point}\"");
        let line = sample.lines().find(|line| line.starts_with(&start)).expect("measured");
        assert!(line.ends_with(&format!(" {is_read_only}")), "{line}");
    }
}

/// Docker Desktop in WSL 2: the options, which are not escaped, have the spaces of a Windows path.
#[test]
fn spaces_in_options_are_no_fields() {
    let mounts = br"2619 80 0:302 / /Docker/host rw,noatime - 9p drvfs rw,dirsync,aname=drvfs;path=C:\Program Files\Docker\Docker\resources;mmap
560 77 0:138 / /mnt/c rw,noatime - 9p C:\134 rw,dirsync,aname=drvfs;path=C:\;uid=0
";
    let sample = start(host_with(mounts, &["/Docker/host", "/mnt/c"]), "{}").tick().expect("a sample");
    let keys: Vec<String> = with_metric(&sample, "total_bytes").into_iter().map(|(key, _)| key).collect();
    assert_eq!(
        keys,
        [
            r#"filesystem.total_bytes{mount="/Docker/host",device="drvfs",fstype="9p"}"#,
            r#"filesystem.total_bytes{mount="/mnt/c",device="C:\\",fstype="9p"}"#,
        ]
    );
}

/// `show_mountinfo` escapes space, tab, line end, backslash and `#` in the point, the device and the subtype of FUSE.
#[test]
fn escapes_are_undone_in_every_field() {
    let mounts = br"30 22 0:30 / /mnt/a\040b\011c\012d\134e\043f rw - fuse.my\040fs my\040disk\134 rw
";
    let point = "/mnt/a b\tc\nd\\e#f";
    let sample = start(host_with(mounts, &[point]), "{}").tick().expect("a sample");
    let [(key, _)] = &with_metric(&sample, "total_bytes")[..] else { panic!("{sample:?}") };
    assert!(key.contains(r#"device="my disk\\",fstype="fuse.my fs""#), "{key}");
}

#[test]
fn mount_that_is_not_utf_8_is_reported() {
    let mounts = b"22 1 8:2 / / rw - ext4 /dev/sda2 rw\n30 22 7:0 / /mnt/cass\xe9 rw - ext2 /dev/loop0 rw\n\
        31 22 7:1 / /mnt/cass\xe8 rw - ext2 /dev/loop1 rw\n32 22 7:2 / /mnt/d rw - ext2 /dev/caf\xe9 rw\n";
    let mut filesystem = start(host_with(mounts, &["/", "/mnt/d"]), "{}");
    let sample = filesystem.tick().expect("a sample");
    assert_eq!(with_metric(&sample, "total_bytes").len(), 2, "a device may have any name");
    assert_eq!(with_metric(&sample, "device_error").len(), 2, "the devices are well");
    let messages = filesystem.host().messages();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].contains("without the sizes of /mnt/cass\u{fffd}e9: "), "{messages:?}");
}

#[test]
fn unreadable_line_costs_only_its_mount() {
    let mounts = b"28 1 8:2 / / rw\n\xff\xfe\n29 1 8:3 / relative rw - ext4 /dev/sdb rw\n32 22 7:2 / /mnt/d rw - ext2 /dev/d rw\n";
    let mut filesystem = start(host_with(mounts, &["/mnt/d"]), "{}");
    assert_eq!(with_metric(&filesystem.tick().expect("a sample"), "total_bytes").len(), 1);
    assert!(filesystem.host().messages()[0].contains("line 1 is truncated: missing the hyphen"));
    let mut empty = start(host_with(b"", &[]), "{}");
    assert_eq!(empty.tick(), Err(Error::Failed("/proc/1/mountinfo: is empty".to_owned())));
    assert!(start(host_with(b"nonsense\n", &[]), "{}").tick().is_err());
}

/// What `statvfs` reports of full, endless and confused file systems, in blocks of 4 KiB.
#[test]
fn impossible_sizes_are_left_out() {
    const NEGATIVE: u64 = u64::MAX;
    let blocks = |count: u64| count.saturating_mul(4096);
    for (name, [total, free, available], expected) in [
        // Reserved blocks exceed free ones (XFS), or an account is over its limit (rclone): nothing is left.
        ("reserved", [214_723_203, 500, NEGATIVE], [Some(214_723_203), Some(500), Some(0)]),
        ("full", [1_835_008, NEGATIVE - 2098, NEGATIVE - 2098], [Some(1_835_008), Some(0), Some(0)]),
        ("free exceeds all", [1000, 1200, 1200], [Some(1000), None, None]),
        ("endless", [1 << 52, 1 << 52, 1 << 52], [None, None, None]),
        (
            "without a limit",
            [1 << 50, (1 << 50) - 19_000_000, 1 << 50],
            [Some(1 << 50), Some((1 << 50) - 19_000_000), Some(1 << 50)],
        ),
        ("no sizes", [0, 0, 0], [None, None, None]),
        ("plain", [1000, 400, 350], [Some(1000), Some(400), Some(350)]),
    ] {
        let mut host = host_with(b"30 22 0:30 / /m rw - fuse.odd odd rw\n", &[]);
        let [total_bytes, free_bytes, available_bytes] = [total, free, available].map(blocks);
        let inodes =
            FilesystemUsage { total_bytes, free_bytes, available_bytes, inodes: 9, free_inodes: 10, read_only: false };
        host.usage("/m", inodes);
        let sample = start(host, "{}").tick().expect("a sample");
        let get = |metric: &str| with_metric(&sample, metric).first().map(|(_, value)| value.clone());
        let sizes = ["total_bytes", "free_bytes", "available_bytes"].map(get);
        assert_eq!(sizes, expected.map(|size: Option<u64>| size.map(|size| Value::Natural(size * 4096))), "{name}");
        let percent = match get("used_percent") {
            Some(Value::Number(percent)) => Some(percent),
            _ => None,
        };
        let is_right = match name {
            "reserved" | "full" => percent.is_some_and(|percent| (99.0..=100.0).contains(&percent)),
            "plain" => percent.is_some_and(|percent| (63.0..64.0).contains(&percent)),
            "without a limit" => percent.is_some_and(|percent| percent < 0.001),
            _ => percent.is_none(),
        };
        assert!(is_right, "{name}: {percent:?}");
        assert_eq!(
            (get("inodes"), get("free_inodes"), get("inodes_used_percent")),
            (Some(Value::Natural(9)), None, None)
        );
        assert_eq!(get("device_error"), Some(Value::Boolean(false)), "{name}");
    }
}

#[test]
fn full_filesystem_is_never_empty() {
    // Whatever is reported as available: with nothing free, the share is 100 or missing.
    let mut state = 1_u64;
    for _ in 0..500 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (total_bytes, available_bytes) = ((state >> 20).max(1), 0_u64.wrapping_sub(state >> 33));
        let mut host = host_with(b"30 22 0:30 / /m rw - xfs /dev/sda rw\n", &[]);
        let sizes = FilesystemUsage {
            total_bytes,
            free_bytes: 0,
            available_bytes,
            inodes: 0,
            free_inodes: 0,
            read_only: false,
        };
        host.usage("/m", sizes);
        let sample = start(host, "{}").tick().expect("a sample");
        let percents = with_metric(&sample, "used_percent");
        assert!(percents.iter().all(|(_, percent)| *percent == 100.0), "{sizes:?}: {percents:?}");
    }
}

#[test]
fn damaged_line_costs_only_its_mount() {
    let mut alive = web();
    alive.usage("/mnt/backup", usage(8, 4, 0));
    assert_damage_is_contained::<Filesystem>(&alive, "{}", |_| &["*"]);
    assert_lines_are_independent::<Filesystem>(&alive, "{}", "/proc/1/mountinfo", 0);
    assert_line_damage_is_contained::<Filesystem>(&alive, "{}", "/proc/1/mountinfo", 0, |line| {
        let point = line.split(' ').nth(4).expect("a mount point").replace("\\040", " ");
        vec![format!("*{{mount=\"{point}\",*")]
    });
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Filesystem>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Filesystem>("{}");
}
