//! The module `cgroup`: what services and containers use of CPUs, memory, disks and process numbers, as the kernel accounts
//! it by control group, in version 2, version 1 or both. Knows groups by their paths, and nothing of what runs in them.

mod accounts;
mod devices;
mod walk;

use accounts::Accounts;
use devices::Devices;
use gauged_plugin::files;
use gauged_plugin::kernel::{self, File};
use gauged_plugin::rates::Rates;
use gauged_plugin::select::Selection;
use gauged_plugin::{About, Error, Plugin, Sample, Tick, log};
use walk::Group;

gauged_plugin::metrics! {
    module "cgroup";
    /// Groups that were measured.
    GROUPS: gauge "groups" in "{group}";
    /// Groups that were found and left out because the sample is full; include fewer.
    LEFT_OUT: gauge "groups_left_out" in "{group}";
    /// CPU time that the group has used.
    CPU_USAGE: counter "cpu_usage_seconds_total" in "s";
    /// CPU time that the group has used outside the kernel.
    CPU_USER: counter "cpu_user_seconds_total" in "s";
    /// CPU time that the kernel has used for the group.
    CPU_SYSTEM: counter "cpu_system_seconds_total" in "s";
    /// CPU time of the group since the tick before, as a share of that time: 100 is one CPU.
    CPU_PERCENT: gauge "cpu_percent" in "%";
    /// Periods for which the group's CPU limit is shared out.
    CPU_PERIODS: counter "cpu_periods_total" in "{period}";
    /// Periods in which the group had used up its share before the end.
    CPU_THROTTLED_PERIODS: counter "cpu_throttled_periods_total" in "{period}";
    /// Time that the group's threads were kept from running by its CPU limit; growth means that the limit is too low.
    CPU_THROTTLED: counter "cpu_throttled_seconds_total" in "s";
    /// Memory of the group, the files that it has read and written included as far as they are cached.
    MEMORY_CURRENT: gauge "memory_current_bytes" in "By";
    /// Memory of the group without cached files that were not used lately: what counts when memory is short.
    MEMORY_WORKING_SET: gauge "memory_working_set_bytes" in "By";
    /// Memory of its processes themselves.
    MEMORY_ANON: gauge "memory_anon_bytes" in "By";
    /// Cached files, and memory that processes share by files.
    MEMORY_FILE: gauge "memory_file_bytes" in "By";
    /// Memory of the group that is swapped out.
    MEMORY_SWAP: gauge "memory_swap_bytes" in "By";
    /// The group's own memory limit; left out where it has none.
    MEMORY_MAX: gauge "memory_max_bytes" in "By";
    /// Processes of the group that were killed because memory was short.
    OOM_KILLS: counter "memory_oom_kills_total" in "{process}";
    /// Read from disks for the group.
    READ_BYTES: counter "io_read_bytes_total" in "By";
    /// Written to disks for the group.
    WRITE_BYTES: counter "io_write_bytes_total" in "By";
    /// Reads from disks for the group.
    READS: counter "io_reads_total" in "{operation}";
    /// Writes to disks for the group.
    WRITES: counter "io_writes_total" in "{operation}";
    /// Processes and threads of the group.
    PIDS: gauge "pids_current" in "{thread}";
    /// How many processes and threads the group may have; left out where that is not limited.
    PIDS_MAX: gauge "pids_max" in "{thread}";
}

/// Services, containers and virtual machines, by the names that systemd, Docker, Podman, containerd, CRI-O, Kubernetes and
/// LXC give them, with systemd or without.
const INCLUDE: [&str; 12] = [
    "*.service",
    "machine.slice/*.scope",
    "*docker-*.scope",
    "*libpod-*.scope",
    "*cri-containerd-*.scope",
    "*crio-*.scope",
    "docker/*",
    "libpod_parent/*",
    "lxc/*",
    "lxc.payload.*",
    "*kubepods*-pod*.slice",
    "*kubepods/*pod*",
];

/// Whatever runs inside of them, the services of users, and those who only watch over a container.
const EXCLUDE: [&str; 8] = [
    "*.scope/*",
    "*.service/*.service",
    "*-conmon-*.scope",
    "docker/*/*",
    "libpod_parent/*/*",
    "lxc/*/*",
    "lxc.payload.*/*",
    "*/pod*/*/*",
];

/// How long the walk is taken for good: listing hundreds of directories at each tick would cost more than all else. A group
/// that is gone is noticed at once.
const WALK_NS: u64 = 30_000_000_000;

/// What one sample has room for is 10,000 metrics, unless the operator raises that. A group that has begun is finished.
const METRICS_FULL: usize = 9_500;

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    groups: Selection,
    io: Io,
}

impl Default for Settings {
    fn default() -> Self {
        let groups = Selection::only(&INCLUDE).but(&EXCLUDE);
        Self { groups, io: Io::Summed }
    }
}

/// How reads and writes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Io {
    /// Of all disks together.
    Summed,
    /// By device.
    Device,
}

struct Cgroup {
    settings: Settings,
    groups: Vec<Group>,
    /// When they were found; none when they have to be looked for.
    walked_ns: Option<u64>,
    rates: Rates<1>,
    devices: Devices,
    /// Groups are left out because the sample is full.
    full: Once,
    /// A file of a group is not understood.
    strange: Once,
}

/// Something of which the operator is told when it is met for the first time: it is so at each tick, or of many groups.
#[derive(Debug, Default)]
struct Once {
    is_told: bool,
}

impl Once {
    fn warn(&mut self, message: impl FnOnce() -> String) {
        if !std::mem::replace(&mut self.is_told, true) {
            log::warn(&message());
        }
    }

    /// Of what is wrong with a file, and what becomes of it.
    fn warn_of(&mut self, error: &kernel::Error) {
        self.warn(|| format!("{error}; what this file tells is left out, here and wherever else it is not understood"));
    }
}

impl Plugin for Cgroup {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "What services and containers use, by their control groups.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        let (rates, devices) = (Rates::default(), Devices::default());
        let (full, strange) = (Once::default(), Once::default());
        Ok(Self { settings, groups: Vec::new(), walked_ns: None, rates, devices, full, strange })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let is_fresh = |walked_ns: &u64| tick.monotonic_ns.saturating_sub(*walked_ns) < WALK_NS;
        if self.walked_ns.as_ref().is_none_or(|walked_ns| !is_fresh(walked_ns)) {
            self.groups = walk::groups(&self.settings.groups, &mut self.strange)?;
            self.walked_ns = Some(tick.monotonic_ns);
            self.devices.forget();
        }

        let (mut measured, mut left_out) = (0_u64, 0_u64);
        for group in &self.groups {
            if sample.len() >= METRICS_FULL {
                left_out += 1;
                continue;
            }
            match read(group, &mut self.strange)? {
                Some(accounts) => {
                    measured += 1;
                    let change = accounts.cpu_usage_us.and_then(|us| self.rates.change(tick, &group.label, [us]));
                    #[allow(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
                    let percent = change.map(|change| change.by[0] as f64 / 1e6 / change.seconds * 100.0);
                    sample.labelled(&group.labels()).set(CPU_PERCENT, percent);
                    accounts.report(group, sample);
                    self.devices.report(accounts.io.as_ref(), group, self.settings.io, sample)?;
                }
                // It is gone, and another may have come.
                None => self.walked_ns = None,
            }
        }
        sample.set(GROUPS, measured);
        sample.set(LEFT_OUT, left_out);
        if left_out > 0 {
            self.full.warn(|| {
                format!(
                    "there are more groups than a sample has room for, and {left_out} are left out; choose by `groups`"
                )
            });
        }
        Ok(())
    }
}

gauged_plugin::export!(Cgroup);

/// What a group uses; none when it is gone. A file that is not understood costs what it tells, and no other group anything.
fn read(group: &Group, strange: &mut Once) -> Result<Option<Accounts>, Error> {
    let mut accounts = Accounts::default();
    let mut is_there = false;
    // Of reads and writes several files tell a part each: where one is missing, zeros would take its place.
    let mut has_all_transfers = true;
    for (kind, path) in &group.files {
        match File::read(path) {
            Ok(file) => {
                is_there = true;
                // What was read up to the error may be half of the truth.
                let mut with = accounts.clone();
                match with.take(*kind, &file) {
                    Ok(()) => accounts = with,
                    Err(error) => {
                        has_all_transfers &= !kind.is_transfer();
                        strange.warn_of(&error);
                    }
                }
            }
            // Where nothing is left, the next file would cost as much again.
            Err(failure) if failure.error == files::Error::Timeout => return Err(failure.into()),
            // Gone, or one that this kernel does not let be read: the others tell what they tell.
            Err(_) => has_all_transfers &= !kind.is_transfer(),
        }
    }
    if !has_all_transfers {
        accounts.io = None;
    }
    Ok(is_there.then_some(accounts))
}

#[cfg(test)]
mod tests;
