//! The module `filesystem`: space and inodes of mounted file systems, from `/proc/1/mountinfo` and the usage of each mount.
//! Knows nothing of the devices below.

mod mounts;

use gauged_plugin::bounds::{COUNT, blocks};
use gauged_plugin::files::{self, FilesystemUsage};
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::{Skip, Skipped};
use gauged_plugin::{About, Error, Plugin, Sample, Tick, about, log, percent};
use mounts::Mount;

gauged_plugin::metrics! {
    module "filesystem" by {"mount": "Mount point", "device": "Device or source", "fstype": "Type of the file system"};
    /// Size of the file system.
    TOTAL: gauge "total_bytes" in "By";
    /// Free space.
    FREE: gauge "free_bytes" in "By";
    /// Space available to unprivileged users: free space less the part reserved for root.
    AVAILABLE: gauge "available_bytes" in "By";
    /// Used space.
    USED: gauge "used_bytes" in "By";
    /// Used space as a share of the space for unprivileged users, as in `df`.
    USED_PERCENT: gauge "used_percent" in "%";
    /// Limit of files; left out without a limit.
    INODES: gauge "inodes" in "{inode}";
    /// Files left until the limit.
    FREE_INODES: gauge "free_inodes" in "{inode}";
    /// Files as a share of the limit.
    INODES_USED_PERCENT: gauge "inodes_used_percent" in "%";
    /// Whether the mount is read-only; if it was writable, the kernel found errors.
    READ_ONLY: gauge "read_only" in "1";
    /// Whether the device or server does not respond; the other metrics are then missing.
    DEVICE_ERROR: gauge "device_error" in "1";
    module "filesystem";
    /// Mounts not measured at this tick: too many, or an unresponsive one used up the time; missing if all were.
    LEFT_OUT: gauge "left_out" in "{mount}";
}

/// The most mounts measured in one tick: a network file system takes about a millisecond each, and a call has one second.
/// Their metrics fill half a sample.
const MAX_MOUNTS: usize = 500;

/// File system types without space of their own, or always full.
const DEFAULT_EXCLUDED_FSTYPES: [&str; 29] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "erofs",
    // Read-only images that a process serves: snaps in containers, and AppImages.
    "fuse.*.AppImage",
    "fuse.snapfuse",
    "fuse.squashfuse*",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

/// Mount points of the kernel and of containers. The latter come and go, and their space is the host's.
const DEFAULT_EXCLUDED_MOUNTS: [&str; 9] = [
    "/dev",
    "/dev/*",
    "/proc/*",
    "/run/credentials/*",
    "/run/containerd/*",
    "/sys/*",
    "/var/lib/containers/storage/*",
    "/var/lib/docker/*",
    "/var/lib/kubelet/*",
];

gauged_plugin::settings! {
    /// Mount points to measure, all if it is empty; `*` stands for any text. With a table `mounts` both of its defaults are gone.
    "mounts.include": "list of patterns" = "[]";
    /// Mount points to leave out; it wins over `include`.
    "mounts.exclude": "list of patterns" = gauged_plugin::json_list!(DEFAULT_EXCLUDED_MOUNTS);
    /// Types of file systems to measure, all if it is empty. With a table `fstypes` both of its defaults are gone.
    "fstypes.include": "list of patterns" = "[]";
    /// Types of file systems to leave out; it wins over `include`.
    "fstypes.exclude": "list of patterns" = gauged_plugin::json_list!(DEFAULT_EXCLUDED_FSTYPES);
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    mounts: Selection,
    fstypes: Selection,
}

struct Filesystem {
    settings: Settings,
    /// The mounts that timed out when last measured.
    unresponsive: Vec<String>,
    /// The first mount of the next tick, for the rotation of too many mounts.
    next: usize,
    /// For too many mounts.
    warning: log::Once,
    skipped: Skipped,
}

/// The list of mounts, as process 1 sees them.
const MOUNTINFO: &str = "/proc/1/mountinfo";

impl Plugin for Filesystem {
    const ABOUT: About = about!("Space and inodes of mounted file systems.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        let (warning, skipped) = (log::Once::default(), Skipped::default());
        Ok(Self { settings, unresponsive: Vec::new(), next: 0, warning, skipped })
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Some(file) = self.skipped.read(MOUNTINFO, "all mounts") else { return self.skipped.finish(sample) };
        let Settings { mounts, fstypes } = &self.settings;
        let mut mounts = mounts::find_mounts(&file, mounts, fstypes, &mut self.skipped);
        mounts.retain(has_path);
        let all = mounts.len();
        let (mounts, others) = self.next_batch(mounts);
        // An unresponsive mount uses up the call's time, so mounts that timed out before come last.
        let before = std::mem::take(&mut self.unresponsive);
        let was_unresponsive = |mount: &Mount<'_>| before.iter().any(|point| **point == *mount.point);
        let skipped = others.into_iter().filter(was_unresponsive);
        self.unresponsive.extend(skipped.map(|mount| mount.point.into_owned()));
        let (unresponsive, responsive): (Vec<_>, Vec<_>) =
            mounts.into_iter().partition(|(_, mount)| was_unresponsive(mount));

        let (mut denied, mut has_time, mut left_out) = (None, true, all.saturating_sub(MAX_MOUNTS));
        for (at, mount) in responsive.into_iter().chain(unresponsive) {
            let was_unresponsive_before = was_unresponsive(&mount);
            match has_time.then(|| files::usage(&mount.point)) {
                Some(Ok(usage)) => set_usage(sample, &mount, &usage),
                Some(Err(failure)) if failure.error == files::Error::NotFound => {}
                // Hidden below another mount; or, if all are denied, the kernel is too old to identify mounts.
                Some(Err(failure)) if matches!(failure.error, files::Error::Denied(_) | files::Error::Forbidden(_)) => {
                    denied = Some(failure);
                }
                // A directory on the way is closed to the agent, which is no error of the device.
                Some(Err(failure)) if matches!(failure.error, files::Error::NotPermitted(_)) => {
                    self.skipped.lose(failure, format_args!("the sizes of {}", mount.point));
                }
                // No time left for a mount that responded before.
                None if !was_unresponsive_before => left_out += 1,
                result => {
                    sample.labelled(&mount.labels()).set(DEVICE_ERROR, true);
                    if result.is_none_or(|result| result.is_err_and(|failure| failure.error == files::Error::Timeout)) {
                        if has_time && !was_unresponsive_before {
                            has_time = false;
                            // Without a rotation the order stays that of the table.
                            if all > MAX_MOUNTS {
                                self.next = at + 1;
                            }
                        }
                        self.unresponsive.push(mount.point.into_owned());
                    }
                }
            }
        }
        if let Some(failure) = denied
            && sample.is_empty()
        {
            return Err(failure.into());
        }
        self.skipped.finish(sample)?;
        sample.set(LEFT_OUT, (left_out > 0).then_some(left_out));
        if all > MAX_MOUNTS {
            self.warning.warn(format_args!(
                "there are {all} mounts, and only {MAX_MOUNTS} are measured per tick, in rotation; select by `mounts` and `fstypes`"
            ));
        }
        Ok(())
    }
}

gauged_plugin::export!(Filesystem);

impl Filesystem {
    /// The mounts of this tick with their positions in the table, and the remaining ones.
    fn next_batch<'a>(&mut self, mounts: Vec<Mount<'a>>) -> (Vec<(usize, Mount<'a>)>, Vec<Mount<'a>>) {
        let all = mounts.len();
        // With fewer mounts than before, restart at the beginning.
        let first = if self.next < all { self.next } else { 0 };
        self.next = if all > MAX_MOUNTS { (first + MAX_MOUNTS) % all } else { 0 };
        let mut mounts: Vec<_> = mounts.into_iter().enumerate().collect();
        mounts.rotate_left(first);
        let others = mounts.split_off(all.min(MAX_MOUNTS));
        (mounts, others.into_iter().map(|(_, mount)| mount).collect())
    }
}

/// Whether a mount can be asked for its sizes: the host takes paths of text only.
fn has_path(mount: &Mount<'_>) -> bool {
    let is_text = !mount.point.contains(char::REPLACEMENT_CHARACTER);
    if !is_text {
        let skip = Skip::malformed(MOUNTINFO, &mount.point, "a name is not UTF-8");
        skip.report(format_args!("the sizes of {}", mount.point));
    }
    is_text
}

/// Sets the sizes, as far as they are possible. A file system without blocks has none: it stores nothing itself, as that of
/// lxcfs, or it is that of another user's process, which does not reveal them. A full file system may report that less than nothing is left, which reads as
/// nearly 2^64: nothing is. One that is endless, or has more left than it has, has no share in use.
fn set_usage(sample: &mut Sample, mount: &Mount<'_>, usage: &FilesystemUsage) {
    // Whether the agent could write is not the question: its sandbox may have made all mounts read-only.
    let &FilesystemUsage { total_bytes, free_bytes, available_bytes, inodes, free_inodes, read_only: _ } = usage;
    let labels = mount.labels();
    let mut row = sample.labelled(&labels);
    if let Some(total_bytes) = COUNT.check(total_bytes).filter(|&total_bytes| total_bytes > 0) {
        let left = |bytes: u64| Some(blocks(bytes)).filter(|&bytes| bytes <= total_bytes);
        let (free_bytes, available_bytes) = (left(free_bytes), left(available_bytes));
        let used_bytes = free_bytes.map(|free_bytes| total_bytes - free_bytes);
        row.set(TOTAL, total_bytes).set(FREE, free_bytes).set(AVAILABLE, available_bytes).set(USED, used_bytes);
        let used_percent = used_bytes
            .zip(available_bytes)
            .and_then(|(used_bytes, available_bytes)| percent(used_bytes, used_bytes.saturating_add(available_bytes)));
        row.set(USED_PERCENT, used_percent);
    }
    if let Some(inodes) = COUNT.check(inodes).filter(|&inodes| inodes > 0) {
        let free_inodes = Some(blocks(free_inodes)).filter(|&free_inodes| free_inodes <= inodes);
        row.set(INODES, inodes).set(FREE_INODES, free_inodes);
        row.set(INODES_USED_PERCENT, free_inodes.and_then(|free_inodes| percent(inodes - free_inodes, inodes)));
    }
    row.set(READ_ONLY, mount.is_read_only).set(DEVICE_ERROR, false);
}

#[cfg(test)]
mod tests;
