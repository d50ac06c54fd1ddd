//! Which mounts there are: `mountinfo`, read and rid of what is mounted twice. Asks no file system anything.

use std::borrow::Cow;

use gauged_plugin::Error;
use gauged_plugin::kernel::{self, File, Line, unescape};
use gauged_plugin::select::Selection;

/// A mount, as the kernel tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount<'a> {
    /// Where it is.
    pub(crate) point: Cow<'a, str>,
    /// What is mounted.
    pub(crate) device: Cow<'a, str>,
    /// The kind of file system.
    pub(crate) fstype: &'a str,
    /// Which file system it is, whatever it is called: the kernel's number of it.
    number: &'a str,
    /// Whether all of it is mounted, and not only a directory or a file of it.
    is_whole: bool,
}

impl Mount<'_> {
    pub(crate) fn labels(&self) -> [(&str, &str); 3] {
        [("mount", &self.point), ("device", &self.device), ("fstype", self.fstype)]
    }
}

/// Those at these mount points and of these kinds, each mount point and each file system once.
pub(crate) fn listed<'a>(file: &'a File, points: &Selection, fstypes: &Selection) -> Result<Vec<Mount<'a>>, Error> {
    let mut mounts: Vec<Mount<'a>> = Vec::new();
    for line in file.lines() {
        let mount = parse(line)?;
        // First of all, since a host of containers has thousands.
        if points.picks(&mount.point) {
            // What is mounted on top hides what was there, of whatever kind it is.
            mounts.retain(|other| other.point != mount.point);
            mounts.push(mount);
        }
    }
    mounts.retain(|mount| fstypes.picks(mount.fstype));

    // A directory or a file of a file system that is in the list already has nothing to add. Subvolumes of btrfs are what
    // partitions are elsewhere.
    let mut known: Vec<&str> = mounts.iter().filter(|mount| mount.is_whole).map(|mount| mount.number).collect();
    mounts.retain(|mount| {
        let is_new = mount.is_whole || mount.fstype == "btrfs" || !known.contains(&mount.number);
        known.push(mount.number);
        is_new
    });
    Ok(mounts)
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`; before the hyphen there are any
/// number of fields.
fn parse(line: Line<'_>) -> Result<Mount<'_>, kernel::Error> {
    let mut fields = line.fields();
    let (_id, _parent) = (fields.word("the mount's number")?, fields.word("its parent's number")?);
    let number = fields.word("the file system's number")?;
    let is_whole = fields.word("the mounted directory")? == "/";
    let point = unescape(fields.word("the mount point")?);
    while fields.word("the hyphen")? != "-" {}
    let fstype = fields.word("the kind of file system")?;
    let device = unescape(fields.word("the device")?);
    Ok(Mount { point, device, fstype, number, is_whole })
}
