//! Which mounts there are: `mountinfo`, read and rid of what is mounted twice. Asks no file system anything.

use std::borrow::Cow;

use gauged_plugin::Error;
use gauged_plugin::kernel::{self, File, Line, unescape};

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

/// Those that `picks` takes, each mount point and each file system once.
pub(crate) fn listed<'a>(file: &'a File, picks: impl Fn(&Mount<'a>) -> bool) -> Result<Vec<Mount<'a>>, Error> {
    let mut mounts: Vec<Mount<'a>> = Vec::new();
    for line in file.lines() {
        let mount = parse(line)?;
        // What is mounted on top hides what was there.
        mounts.retain(|other| other.point != mount.point);
        mounts.push(mount);
    }
    mounts.retain(picks);
    let all: Vec<(bool, &str)> = mounts.iter().map(|mount| (mount.is_whole, mount.number)).collect();
    let mut at = 0;
    mounts.retain(|mount| {
        at += 1;
        // A directory or file of a file system that is in the list already has nothing to add. Subvolumes of btrfs are
        // what partitions are elsewhere.
        let is_known = |(other, &(is_whole, number)): (usize, &(bool, &str))| {
            number == mount.number && (is_whole || other + 1 < at)
        };
        mount.is_whole || mount.fstype == "btrfs" || !all.iter().enumerate().any(is_known)
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
