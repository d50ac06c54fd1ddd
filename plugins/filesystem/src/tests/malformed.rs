//! Files and figures that are damaged in ways of their own, with what is still right.

use super::*;

/// A node with tens of thousands of mounts: volumes that are bind mounts of one disk, and each container's own. Right: each file system once; in a time that grows with their number, not with its square.
#[test]
fn many_mounts_are_found_in_linear_steps() {
    let mut text = String::new();
    for at in 0..30_000 {
        // A volume of the same disk, a disk of its own, and one that is mounted over.
        let _ = std::fmt::Write::write_fmt(
            &mut text,
            format_args!(
                "{a} 1 8:1 /volumes/{at} /var/lib/volume-{at} rw - ext4 /dev/sda1 rw\n\
                 {b} 1 9:{at} / /mnt/{at} rw - xfs /dev/sdb{at} rw\n\
                 {c} {b} 9:{at} / /mnt/{at} rw - xfs /dev/sdb{at} rw\n",
                a = 3 * at + 10,
                b = 3 * at + 11,
                c = 3 * at + 12,
            ),
        );
    }
    let file = gauged_plugin::kernel::File::new(MOUNTINFO, text);
    let all = gauged_plugin::select::Selection::all();
    let mounts = Host::new().run(|| mounts::find_mounts(&file, &all, &all, &mut Skipped::default()));
    assert_eq!(mounts.len(), 30_001);
    let points: std::collections::BTreeSet<_> = mounts.iter().map(|mount| &*mount.point).collect();
    assert_eq!((points.len(), mounts[0].point.as_ref()), (30_001, "/var/lib/volume-0"));
}
