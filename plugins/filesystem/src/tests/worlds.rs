//! Hosts that were reported to other agents. Each has its source, and the right values with their reason.

use gauged_plugin::testing::{assert_not_permitted, not_permitted};

use super::*;

/// Desktops and agents without privileges: `statfs` of a mount below a directory of another user is refused. Reported in
/// flatpak/xdg-desktop-portal#553, mate-desktop/mate-applets#171 and `prometheus/node_exporter#1923`. Right: no sizes and a word
/// on it, but no `device_error`, because the device is well.
#[test]
fn refused_mount_is_no_device_error() {
    let mounts = b"22 1 8:2 / / rw - ext4 /dev/sda2 rw\n\
        60 22 0:52 / /run/user/1000/doc rw - fuse.portal portal rw\n\
        61 22 0:48 / /run/user/42/gvfs rw - fuse.gvfsd-fuse gvfsd-fuse rw\n";
    let closed = ["/run/user/1000/doc", "/run/user/42/gvfs"];
    let mut host = host_with(mounts, &["/"]);
    for point in closed {
        host.usage_fails(point, not_permitted());
    }
    let mut filesystem = start(host, "{}");
    let sample = filesystem.tick().expect("a sample");
    assert_eq!(with_metric(&sample, "total_bytes").len(), 1);
    assert!(sample.keys().all(|key| key.contains("mount=\"/\"")), "{sample:?}");
    let messages = filesystem.host().messages();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages.iter().zip(closed).all(|(message, point)| message.contains(point)), "{messages:?}");

    let mut host = host_with(b"22 1 8:2 / /srv rw - ext4 /dev/sda2 rw\n", &[]);
    host.usage_fails("/srv", not_permitted());
    assert_not_permitted(&start(host, "{}").tick(), "/srv");
}

/// Containers of LXD: lxcfs and, for the agent, file systems of other users' processes report zeros (`fuse_statfs` in the
/// kernel's `fs/fuse/inode.c`). Reported in canonical/lxd#14797 and rfmoz/grafana-dashboards#56. Right: no sizes, as `df` lists
/// none: 0 bytes available would mean a full disk.
#[test]
fn filesystem_without_blocks_has_no_sizes() {
    let mut host =
        host_with(b"90 22 0:70 / /var/lib/lxcfs rw shared:9 - fuse.lxcfs lxcfs rw,user_id=0,allow_other\n", &[]);
    host.usage("/var/lib/lxcfs", usage(0, 0, 0));
    let sample = start(host, "{}").tick().expect("a sample");
    let names: Vec<&str> = sample.keys().filter_map(|key| key.split('{').next()).collect();
    assert_eq!(names, ["filesystem.device_error", "filesystem.read_only"]);
}

/// Read-only images that a process serves are always full, as squashfs is. Reported in lxc/lxc#1854 (snaps in a container) and
/// TheAssassin/AppImageLauncher#213. Right: left out unless selected.
#[test]
fn images_in_user_space_are_left_out() {
    let mounts = b"22 1 8:2 / / rw - ext4 /dev/sda2 rw\n\
        70 22 0:61 / /snap/core/3017 ro - fuse.squashfuse squashfuse ro\n\
        71 22 0:62 / /snap/lxd/14133 ro - fuse.snapfuse snapfuse ro\n\
        72 22 0:63 / /snap/core20/634 ro - fuse.squashfuse_ll squashfuse_ll ro\n\
        73 22 0:64 / /tmp/.mount_appimaqmYoUE ro - fuse.appimagelauncher-lite.AppImage appimagelauncher-lite.AppImage ro\n\
        74 22 0:65 / /mnt/nas rw - fuse.sshfs nas:/ rw\n";
    let points =
        ["/", "/snap/core/3017", "/snap/lxd/14133", "/snap/core20/634", "/tmp/.mount_appimaqmYoUE", "/mnt/nas"];
    let host = host_with(mounts, &points);
    assert_eq!(with_metric(&start(host.clone(), "{}").tick().expect("a sample"), "total_bytes").len(), 2);
    let all = start(host, r#"{"fstypes": {}}"#).tick().expect("a sample");
    assert_eq!(with_metric(&all, "total_bytes").len(), points.len());
}

/// The mount points of a sample with this mountinfo.
fn measured(mountinfo: &str) -> Vec<String> {
    let points: Vec<&str> = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let sample = start(host_with(mountinfo.as_bytes(), &points), "{}").tick().expect("a sample");
    let keys = with_metric(&sample, "total_bytes").into_iter();
    keys.filter_map(|(key, _)| Some(key.split("mount=\"").nth(1)?.split('"').next()?.to_owned())).collect()
}

/// Bind mounts: of a directory, of a whole file system, of a mount point to itself, and Android's versioned packages. Reported in
/// netdata/netdata#14666 and sysstat/sysstat#256 (five alerts for one full disk), `prometheus/node_exporter#3261`, and
/// DHD2280/Oxygen-Customizer#217. Right: each file system once.
#[test]
fn bind_mounts_are_listed_once() {
    let nixos = "22 1 8:2 / / rw - ext4 /dev/sda2 rw\n30 22 8:2 /etc/netdata /etc/netdata ro - ext4 /dev/sda2 rw\n\
        31 22 8:3 / /nix/store rw - xfs /dev/sda3 rw\n32 31 8:3 / /nix/store ro - xfs /dev/sda3 rw\n\
        33 22 8:3 / /srv/store ro - xfs /dev/sda3 rw\n";
    assert_eq!(measured(nixos), ["/", "/nix/store"]);
    let android = "40 22 7:80 / /apex/com.android.art@340090000 ro - ext4 /dev/block/loop5 ro\n\
        41 22 7:80 / /apex/com.android.art ro - ext4 /dev/block/loop5 ro\n\
        42 22 254:40 / /data rw - f2fs /dev/block/dm-40 rw\n43 22 254:40 /app /system/app rw - f2fs /dev/block/dm-40 rw\n";
    assert_eq!(measured(android), ["/apex/com.android.art@340090000", "/data"]);
}

/// Subvolumes of btrfs, datasets of ZFS with spaces in their names, and two exports of one NFS server are partitions to their
/// users: each may have a quota. Right: all of them, but none twice.
#[test]
fn subvolumes_and_exports_are_listed() {
    let mounts = "22 1 0:25 /@ / rw - btrfs /dev/sda2 rw,subvol=/@\n23 22 0:25 /@home /home rw - btrfs /dev/sda2 rw,subvol=/@home\n\
        24 22 0:25 /@home /mnt/home rw - btrfs /dev/sda2 rw,subvol=/@home\n\
        25 22 0:40 / /tank rw - zfs tank/my\\040data rw\n26 22 0:41 / /boot rw - zfs rpool/BOOT/debian-1 rw\n\
        27 22 0:50 / /a rw - nfs filer:/vol/a rw\n28 22 0:50 / /b rw - nfs filer:/vol/b rw\n";
    assert_eq!(measured(mounts), ["/", "/a", "/b", "/boot", "/home", "/tank"]);
}

/// Since Linux 6.5 a file system can be mounted beneath another (`mount --beneath`), and since 6.8 the kernel lists mounts by their numbers.
/// Derived from the kernel's Documentation/filesystems/proc.rst, whose "parent ID" is the mount below. Right: the topmost mount of a point,
/// whatever its place in the list.
#[test]
fn topmost_mount_of_a_point_is_listed() {
    let device = |mounts: &str| {
        let sample = start(host_with(mounts.as_bytes(), &["/srv"]), "{}").tick().expect("a sample");
        let [(key, _)] = &with_metric(&sample, "total_bytes")[..] else { panic!("{sample:?}") };
        key.split("device=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned)
    };
    let on_top = "30 20 8:1 / /srv rw - ext4 /dev/old rw\n31 30 8:2 / /srv rw - ext4 /dev/new rw\n";
    assert_eq!(device(on_top).as_deref(), Some("/dev/new"));
    let beneath = "30 31 8:1 / /srv rw - ext4 /dev/old rw\n31 20 8:2 / /srv rw - ext4 /dev/new rw\n";
    assert_eq!(device(beneath).as_deref(), Some("/dev/old"));
}
