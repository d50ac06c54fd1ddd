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
    /// The kernel's number of the mount, and of the one that it is mounted on.
    id: &'a str,
    parent: &'a str,
    /// The kernel's number of the file system, which identifies it.
    number: &'a str,
    /// The directory or file of the file system that is mounted: `/` for all of it.
    directory: &'a str,
}

impl Mount<'_> {
    pub(crate) fn labels(&self) -> [(&str, &str); 3] {
        [("mount", &self.point), ("device", &self.device), ("fstype", &self.fstype)]
    }

    fn is_whole(&self) -> bool {
        self.directory == "/"
    }

    /// Whether another mount, listed `is_earlier` or later, has the same sizes, so that this one need not be listed. Subvolumes of
    /// btrfs correspond to partitions. Of NFS, several exports may be one file system, each with its own quota.
    fn is_covered_by(&self, other: &Self, is_earlier: bool) -> bool {
        if self.number != other.number {
            return false;
        }
        if self.is_whole() || self.fstype == "btrfs" {
            return is_earlier && self.directory == other.directory && self.device == other.device;
        }
        is_earlier || other.is_whole()
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
            // Of several mounts at a point each is on another, mostly on an earlier one: only the topmost is seen.
            let is_beneath = mounts.iter().any(|other| other.point == mount.point && other.parent == mount.id);
            if !is_beneath {
                mounts.retain(|other| other.point != mount.point);
                mounts.push(mount);
            }
        }
    }
    mounts.retain(|mount| fstypes.includes(&mount.fstype));

    // A bind mount of a listed file system has the same sizes.
    let is_covered = |at: usize| {
        let mut others = mounts.iter().enumerate();
        others.any(|(other_at, other)| other_at != at && mounts[at].is_covered_by(other, other_at < at))
    };
    let covered: Vec<bool> = (0..mounts.len()).map(is_covered).collect();
    let mut covered = covered.into_iter();
    mounts.retain(|_| covered.next() != Some(true));
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
    let (id, parent, number) = (field("the mount ID")?, field("the parent ID")?, field("the device number")?);
    let directory = field("the mounted directory")?;
    let point = unescape(field("the mount point")?);
    if !point.starts_with('/') {
        return Err(line.malformed(&point, format_args!("{point} is not a mount point")));
    }
    while field("the hyphen")? != "-" {}
    let fstype = unescape(field("the file system type")?);
    let device = unescape(field("the device")?);
    let device = if device.is_empty() { Cow::Borrowed(NO_DEVICE) } else { device };
    Ok(Mount { point, device, fstype, id, parent, number, directory })
}
