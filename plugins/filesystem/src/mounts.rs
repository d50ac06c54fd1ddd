//! The list of mounts from `mountinfo`, without duplicates. Queries no file system.

use std::borrow::Cow;

use gauged_plugin::kernel::{Error, File, Line, unescape};
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::Skipped;

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount<'a> {
    /// The mount point.
    pub(crate) point: Cow<'a, str>,
    /// The mounted device.
    pub(crate) device: Cow<'a, str>,
    /// The file system type, with a subtype of FUSE, which may have any name.
    pub(crate) fstype: Cow<'a, str>,
    /// The kernel's number of the file system, which identifies it.
    number: &'a str,
    /// Whether the whole file system is mounted, not only a directory or file of it.
    is_whole: bool,
}

impl Mount<'_> {
    pub(crate) fn labels(&self) -> [(&str, &str); 3] {
        [("mount", &self.point), ("device", &self.device), ("fstype", &self.fstype)]
    }
}

/// The selected mounts, each mount point and each file system once.
pub(crate) fn find_mounts<'a>(
    file: &'a File,
    points: &Selection,
    fstypes: &Selection,
    skipped: &mut Skipped,
) -> Vec<Mount<'a>> {
    let mut mounts: Vec<Mount<'a>> = Vec::new();
    for line in file.lines() {
        let Some(mount) = skipped.keep(parse(line), "a mount") else { continue };
        // Select first: a host with containers has thousands of mounts.
        if points.includes(&mount.point) {
            // A mount hides an earlier one at the same point.
            mounts.retain(|other| other.point != mount.point);
            mounts.push(mount);
        }
    }
    mounts.retain(|mount| fstypes.includes(&mount.fstype));

    // A bind mount of a listed file system has the same sizes. Subvolumes of btrfs are kept: they correspond to partitions.
    let mut known: Vec<&str> = mounts.iter().filter(|mount| mount.is_whole).map(|mount| mount.number).collect();
    mounts.retain(|mount| {
        let is_new = mount.is_whole || mount.fstype == "btrfs" || !known.contains(&mount.number);
        known.push(mount.number);
        is_new
    });
    mounts
}

/// The device of a mount that names none, as `mount -t tmpfs "" /mnt`; the kernel writes the same where it knows none.
const NO_DEVICE: &str = "none";

/// Parses `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`, with any number of fields
/// before the hyphen. Each field ends at a single space, so the device may be empty. See `show_mountinfo` in the kernel's
/// `fs/proc_namespace.c`.
fn parse(line: Line<'_>) -> Result<Mount<'_>, Error> {
    let mut fields = line.spaced_fields();
    let mut field = |what: &str| fields.next().ok_or_else(|| line.truncated(format_args!("missing {what}")));
    let (_id, _parent, number) = (field("the mount ID")?, field("the parent ID")?, field("the device number")?);
    let is_whole = field("the mounted directory")? == "/";
    let point = unescape(field("the mount point")?);
    if !point.starts_with('/') {
        return Err(line.malformed(&point, format_args!("{point} is not a mount point")));
    }
    while field("the hyphen")? != "-" {}
    let fstype = unescape(field("the file system type")?);
    let device = unescape(field("the device")?);
    let device = if device.is_empty() { Cow::Borrowed(NO_DEVICE) } else { device };
    Ok(Mount { point, device, fstype, number, is_whole })
}
