//! The list of mounts from `mountinfo`, without duplicates. Queries no file system.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Whether nothing can be written to it, as its process sees it: the agent's own mounts may be read-only in its sandbox.
    pub(crate) is_read_only: bool,
}

impl Mount<'_> {
    pub(crate) fn labels(&self) -> [(&str, &str); 3] {
        [("mount", &self.point), ("device", &self.device), ("fstype", &self.fstype)]
    }

    fn is_whole(&self) -> bool {
        self.directory == "/"
    }
}

/// The selected mounts, each mount point and each file system once.
pub(crate) fn find_mounts<'a>(
    file: &'a File,
    points: &Selection,
    fstypes: &Selection,
    skipped: &mut Skipped,
) -> Vec<Mount<'a>> {
    // A host with containers has thousands of mounts: each is looked up in maps.
    let mut mounts: Vec<Option<Mount<'a>>> = Vec::new();
    let mut topmost: BTreeMap<Cow<'a, str>, usize> = BTreeMap::new();
    for line in file.lines() {
        let Some(mount) = skipped.keep(parse(line), "a mount") else { continue };
        if !points.includes(&mount.point) {
            continue;
        }
        // Of several mounts at a point each is on another, mostly on an earlier one: only the topmost is seen.
        let other = topmost.get(&mount.point).copied();
        if let Some(other) = other.and_then(|at| mounts.get_mut(at)) {
            if other.as_ref().is_some_and(|other| other.parent == mount.id) {
                continue;
            }
            *other = None;
        }
        topmost.insert(mount.point.clone(), mounts.len());
        mounts.push(Some(mount));
    }
    let mounts: Vec<Mount<'a>> = mounts.into_iter().flatten().filter(|mount| fstypes.includes(&mount.fstype)).collect();
    without_covered(mounts)
}

/// Leaves out the mounts with the sizes of another one, such as bind mounts of a listed file system. Subvolumes of btrfs correspond
/// to partitions. Of NFS, several exports may be one file system, each with its own quota.
fn without_covered(mut mounts: Vec<Mount<'_>>) -> Vec<Mount<'_>> {
    // By number of the file system: the first mount, and whether one is of all of it.
    let mut by_number: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    for (at, mount) in mounts.iter().enumerate() {
        by_number.entry(mount.number).or_insert((at, false)).1 |= mount.is_whole();
    }
    let mut seen: BTreeSet<(&str, &str, Cow<'_, str>)> = BTreeSet::new();
    let mut covered = Vec::with_capacity(mounts.len());
    for (at, mount) in mounts.iter().enumerate() {
        let is_again = !seen.insert((mount.number, mount.directory, mount.device.clone()));
        let (first, has_whole) = by_number.get(mount.number).copied().unwrap_or((at, false));
        let has_own_sizes = mount.is_whole() || mount.fstype == "btrfs";
        covered.push(if has_own_sizes { is_again } else { first < at || has_whole });
    }
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
    let options = field("the options")?;
    let mut next = options;
    while next != "-" {
        next = field("the hyphen")?;
    }
    let fstype = unescape(field("the file system type")?);
    let device = unescape(field("the device")?);
    let device = if device.is_empty() { Cow::Borrowed(NO_DEVICE) } else { device };
    // Of the mount, or of the whole file system, as after an error.
    let is_read_only =
        [options, fields.next().unwrap_or_default()].iter().any(|options| options.split(',').any(|one| one == "ro"));
    Ok(Mount { point, device, fstype, id, parent, number, directory, is_read_only })
}
