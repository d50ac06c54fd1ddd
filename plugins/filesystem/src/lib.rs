//! The module `filesystem`: how full the mounted file systems are, from `/proc/1/mountinfo` and what each of them says of
//! itself. Knows nothing of the devices below them.

mod mounts;

use gauged_plugin::files::{self, FilesystemUsage};
use gauged_plugin::kernel::File;
use gauged_plugin::select::Selection;
use gauged_plugin::{About, Error, Plugin, Sample, Tick, log, percent};
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
    /// Mounts that were not asked at this tick, because there are too many or a dead one took the time; they are at one of
    /// the next. Missing where all were.
    LEFT_OUT: gauge "left_out" in "{mount}";
}

/// How many mounts are asked at one tick: a server on the network takes a millisecond to answer for one, and a call has a
/// second. Their metrics are half of what a sample has room for.
const MOUNTS: usize = 500;

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
    /// The mounts that did not answer when they were last asked.
    silent: Vec<String>,
    /// Which of the table is asked first at the next tick: where there are too many, each has its turn.
    next: usize,
    /// Whether the operator was told that there are too many.
    is_told: bool,
}

impl Plugin for Filesystem {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "How full the mounted file systems are.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings, silent: Vec::new(), next: 0, is_told: false })
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let file = File::read("/proc/1/mountinfo")?;
        let mounts = mounts::listed(&file, &self.settings.mounts, &self.settings.fstypes)?;
        let all = mounts.len();
        let (mounts, others) = self.turn(mounts);
        // One that does not answer takes all the time there is: those that did not when they were last asked are asked last.
        let before = std::mem::take(&mut self.silent);
        let is_silent = |mount: &Mount<'_>| before.iter().any(|point| **point == *mount.point);
        let waiting = others.into_iter().filter(is_silent);
        self.silent.extend(waiting.map(|mount| mount.point.into_owned()));
        let (silent, prompt): (Vec<_>, Vec<_>) = mounts.into_iter().partition(|(_, mount)| is_silent(mount));

        let (mut denied, mut has_time, mut left_out) = (None, true, all.saturating_sub(MOUNTS));
        for (at, mount) in prompt.into_iter().chain(silent) {
            let was_silent = is_silent(&mount);
            match has_time.then(|| files::usage(&mount.point)) {
                Some(Ok(usage)) => measured(sample, &mount, &usage),
                Some(Err(failure)) if failure.error == files::Error::NotFound => {}
                // Hidden below another mount; or, where all are, this kernel cannot tell that they are mounts.
                Some(Err(failure)) if matches!(failure.error, files::Error::Denied(_)) => denied = Some(failure),
                // There was no time to ask it, and nothing is known against it.
                None if !was_silent => left_out += 1,
                answer => {
                    sample.labelled(&mount.labels()).set(DEVICE_ERROR, true);
                    if answer.is_none_or(|answer| answer.is_err_and(|failure| failure.error == files::Error::Timeout)) {
                        if has_time && !was_silent {
                            has_time = false;
                            // Where there is no turn to lose, those that are listed before it stay before it.
                            if all > MOUNTS {
                                self.next = at + 1;
                            }
                        }
                        self.silent.push(mount.point.into_owned());
                    }
                }
            }
        }
        if let Some(failure) = denied
            && sample.is_empty()
        {
            return Err(failure.into());
        }
        sample.set(LEFT_OUT, (left_out > 0).then_some(left_out));
        if all > MOUNTS && !self.is_told {
            self.is_told = true;
            log::warn(&format!(
                "there are {all} mounts, and only {MOUNTS} are asked at a tick, in turn; choose by `mounts` and `fstypes`"
            ));
        }
        Ok(())
    }
}

gauged_plugin::export!(Filesystem);

impl Filesystem {
    /// Those whose turn it is, with their places in the table, and those that have to wait.
    fn turn<'a>(&mut self, mounts: Vec<Mount<'a>>) -> (Vec<(usize, Mount<'a>)>, Vec<Mount<'a>>) {
        let all = mounts.len();
        // Fewer than at the tick before: whoever is at the beginning has waited for longest.
        let first = if self.next < all { self.next } else { 0 };
        self.next = if all > MOUNTS { (first + MOUNTS) % all } else { 0 };
        let mut mounts: Vec<_> = mounts.into_iter().enumerate().collect();
        mounts.rotate_left(first);
        let others = mounts.split_off(all.min(MOUNTS));
        (mounts, others.into_iter().map(|(_, mount)| mount).collect())
    }
}

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

#[cfg(test)]
mod tests;
