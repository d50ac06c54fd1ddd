//! The list of mounts from `mountinfo`, without duplicates. Queries no file system.

use std::borrow::Cow;

use gauged_plugin::Error;
use gauged_plugin::kernel::{self, File, Line, unescape};
use gauged_plugin::select::Selection;

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount<'a> {
    /// The mount point.
    pub(crate) point: Cow<'a, str>,
    /// The mounted device.
    pub(crate) device: Cow<'a, str>,
    /// The file system type.
    pub(crate) fstype: &'a str,
    /// The kernel's number of the file system, which identifies it.
    number: &'a str,
    /// Whether the whole file system is mounted, not only a directory or file of it.
    is_whole: bool,
}

impl Mount<'_> {
    pub(crate) fn labels(&self) -> [(&str, &str); 3] {
        [("mount", &self.point), ("device", &self.device), ("fstype", self.fstype)]
    }
}

/// The selected mounts, each mount point and each file system once.
pub(crate) fn find_mounts<'a>(
    file: &'a File,
    points: &Selection,
    fstypes: &Selection,
) -> Result<Vec<Mount<'a>>, Error> {
    let mut mounts: Vec<Mount<'a>> = Vec::new();
    for line in file.lines() {
        let mount = parse(line)?;
        // Select first: a host with containers has thousands of mounts.
        if points.includes(&mount.point) {
            // A mount hides an earlier one at the same point.
            mounts.retain(|other| other.point != mount.point);
            mounts.push(mount);
        }
    }
    mounts.retain(|mount| fstypes.includes(mount.fstype));

    // A bind mount of a listed file system has the same sizes. Subvolumes of btrfs are kept: they correspond to partitions.
    let mut known: Vec<&str> = mounts.iter().filter(|mount| mount.is_whole).map(|mount| mount.number).collect();
    mounts.retain(|mount| {
        let is_new = mount.is_whole || mount.fstype == "btrfs" || !known.contains(&mount.number);
        known.push(mount.number);
        is_new
    });
    Ok(mounts)
}

/// Parses `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`, with any number of fields
/// before the hyphen.
fn parse(line: Line<'_>) -> Result<Mount<'_>, kernel::Error> {
    let mut fields = line.fields();
    let (_id, _parent) = (fields.word("the mount ID")?, fields.word("the parent ID")?);
    let number = fields.word("the device number")?;
    let is_whole = fields.word("the mounted directory")? == "/";
    let point = unescape(fields.word("the mount point")?);
    while fields.word("the hyphen")? != "-" {}
    let fstype = fields.word("the file system type")?;
    let device = unescape(fields.word("the device")?);
    Ok(Mount { point, device, fstype, number, is_whole })
}
