//! The module `filesystem`: how full the mounted file systems are, from `/proc/1/mountinfo` and what each of them says of
//! itself. Knows nothing of the devices below them.

mod mounts;

use gauged_plugin::files::{self, FilesystemUsage};
use gauged_plugin::kernel::File;
use gauged_plugin::select::Selection;
use gauged_plugin::{About, Error, Plugin, Sample, Tick};
use mounts::Mount;

gauged_plugin::metrics! {
    module "filesystem";
    /// All of its space.
    TOTAL: gauge "total_bytes" in "By";
    /// Space that nothing is stored in.
    FREE: gauge "free_bytes" in "By";
    /// Space that unprivileged users can still fill: free space less what is reserved for root.
    AVAILABLE: gauge "available_bytes" in "By";
    /// Space that something is stored in.
    USED: gauge "used_bytes" in "By";
    /// Used space as a share of what unprivileged users could fill if it were empty, as `df` shows it.
    USED_PERCENT: gauge "used_percent" in "%";
    /// How many files it can hold; left out where it does not limit them.
    INODES: gauge "inodes" in "{inode}";
    /// How many more files it can hold.
    FREE_INODES: gauge "free_inodes" in "{inode}";
    /// Files that it holds as a share of those that it can hold.
    INODES_USED_PERCENT: gauge "inodes_used_percent" in "%";
    /// Whether nothing can be written; true on a mount that was writable means that the kernel found errors.
    READ_ONLY: gauge "read_only" in "1";
    /// Whether it does not tell its sizes, because its device or server does not answer; the others are then missing.
    DEVICE_ERROR: gauge "device_error" in "1";
}

/// Kinds of file systems that have no space of their own, or are full by nature.
const PSEUDO: [&str; 26] = [
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

/// Mount points of the kernel, and of containers: these come and go, and their space is that of the host.
const NOT_THE_HOSTS: [&str; 9] = [
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

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    mounts: Selection,
    fstypes: Selection,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mounts: Selection::except(&NOT_THE_HOSTS), fstypes: Selection::except(&PSEUDO) }
    }
}

struct Filesystem {
    settings: Settings,
    /// The mounts that did not answer at the last tick.
    silent: Vec<String>,
}

impl Plugin for Filesystem {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "How full the mounted file systems are.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings, silent: Vec::new() })
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let file = File::read("/proc/1/mountinfo")?;
        let mounts = mounts::listed(&file, &self.settings.mounts, &self.settings.fstypes)?;
        // One that does not answer takes all the time there is: those that did not at the last tick are asked last.
        let before = std::mem::take(&mut self.silent);
        let was_silent = |mount: &Mount<'_>| before.iter().any(|point| **point == *mount.point);
        let (silent, prompt): (Vec<_>, Vec<_>) = mounts.into_iter().partition(was_silent);

        let (mut denied, mut has_time) = (None, true);
        for mount in prompt.into_iter().chain(silent) {
            let was_silent = was_silent(&mount);
            match has_time.then(|| files::usage(&mount.point)) {
                Some(Ok(usage)) => measured(sample, &mount, &usage),
                Some(Err(failure)) if failure.error == files::Error::NotFound => {}
                // Hidden below another mount; or, where all are, this kernel cannot tell that they are mounts.
                Some(Err(failure)) if matches!(failure.error, files::Error::Denied(_)) => denied = Some(failure),
                // There was no time to ask it, and nothing is known against it.
                None if !was_silent => {}
                answer => {
                    sample.labelled(&mount.labels()).set(DEVICE_ERROR, true);
                    if answer.is_none_or(|answer| answer.is_err_and(|failure| failure.error == files::Error::Timeout)) {
                        has_time &= was_silent;
                        self.silent.push(mount.point.into_owned());
                    }
                }
            }
        }
        match denied {
            Some(failure) if sample.is_empty() => Err(failure.into()),
            _ => Ok(()),
        }
    }
}

gauged_plugin::export!(Filesystem);

fn measured(sample: &mut Sample, mount: &Mount<'_>, usage: &FilesystemUsage) {
    let &FilesystemUsage { total_bytes, free_bytes, available_bytes, inodes, free_inodes, read_only } = usage;
    let used_bytes = total_bytes.saturating_sub(free_bytes);
    let labels = mount.labels();
    let mut row = sample.labelled(&labels);
    row.set(TOTAL, total_bytes).set(FREE, free_bytes).set(AVAILABLE, available_bytes).set(USED, used_bytes);
    row.set(USED_PERCENT, percent(used_bytes, used_bytes.saturating_add(available_bytes)));
    if inodes > 0 {
        row.set(INODES, inodes).set(FREE_INODES, free_inodes);
        row.set(INODES_USED_PERCENT, percent(inodes.saturating_sub(free_inodes), inodes));
    }
    row.set(READ_ONLY, read_only).set(DEVICE_ERROR, false);
}

/// None of nothing.
#[allow(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}

#[cfg(test)]
mod tests;
