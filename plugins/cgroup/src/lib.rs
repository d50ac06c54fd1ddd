//! The module `cgroup`: CPU, memory, disk and process use of services and containers, from the kernel's accounting by
//! control group, version 2, version 1 or both. Knows groups by their paths, not the processes in them.

mod devices;
mod report;
mod usage;
mod walk;

use devices::Devices;
use gauged_plugin::bounds::{ALL_CPUS_PERCENT, Bound, cpus_percent};
use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::File;
use gauged_plugin::rates::Rates;
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::{Cause as _, Reason, Skipped};
use gauged_plugin::{About, Error, Plugin, Sample, Tick, about, log};
use report::InFile;
use usage::GroupUsage;
use walk::Group;

gauged_plugin::metrics! {
    module "cgroup";
    /// Measured groups.
    GROUPS: gauge "groups" in "{group}";
    /// Groups left out because the sample is full; include fewer.
    LEFT_OUT: gauge "groups_left_out" in "{group}";
    module "cgroup" by {"cgroup": "Path of the group, such as `system.slice/nginx.service`"};
    /// CPU time of the group.
    CPU_USAGE: counter "cpu_usage_seconds_total" in "s";
    /// CPU time of the group in user mode.
    CPU_USER: counter "cpu_user_seconds_total" in "s";
    /// CPU time of the group in kernel mode.
    CPU_SYSTEM: counter "cpu_system_seconds_total" in "s";
    /// CPU time of the group as a share of the time since the last tick: 100 % is one CPU.
    CPU_PERCENT: gauge "cpu_percent" in "%";
    /// Enforcement periods of the group's CPU limit.
    CPU_PERIODS: counter "cpu_periods_total" in "{period}";
    /// Enforcement periods in which the group reached its CPU limit.
    CPU_THROTTLED_PERIODS: counter "cpu_throttled_periods_total" in "{period}";
    /// Time that the group's threads were throttled; growth means that the CPU limit is too low.
    CPU_THROTTLED: counter "cpu_throttled_seconds_total" in "s";
    /// Memory of the group, including its cached files.
    MEMORY_CURRENT: gauge "memory_current_bytes" in "By";
    /// Memory of the group without inactive cached files, which the kernel reclaims first.
    MEMORY_WORKING_SET: gauge "memory_working_set_bytes" in "By";
    /// Anonymous memory of the group's processes.
    MEMORY_ANON: gauge "memory_anon_bytes" in "By";
    /// Cached files and shared memory of the group.
    MEMORY_FILE: gauge "memory_file_bytes" in "By";
    /// Swapped-out memory of the group.
    MEMORY_SWAP: gauge "memory_swap_bytes" in "By";
    /// Memory limit of the group; left out without a limit.
    MEMORY_MAX: gauge "memory_max_bytes" in "By";
    /// Processes of the group killed for lack of memory.
    OOM_KILLS: counter "memory_oom_kills_total" in "{process}";
    /// Bytes read from disks for the group.
    READ_BYTES: counter "io_read_bytes_total" in "By" by {"device": "Name of the disk, with `io` = `device`"};
    /// Bytes written to disks for the group.
    WRITE_BYTES: counter "io_write_bytes_total" in "By" by {"device": "Name of the disk, with `io` = `device`"};
    /// Reads from disks for the group.
    READS: counter "io_reads_total" in "{operation}" by {"device": "Name of the disk, with `io` = `device`"};
    /// Writes to disks for the group.
    WRITES: counter "io_writes_total" in "{operation}" by {"device": "Name of the disk, with `io` = `device`"};
    /// Processes and threads of the group.
    PIDS: gauge "pids_current" in "{thread}";
    /// Limit of processes and threads of the group; left out without a limit.
    PIDS_MAX: gauge "pids_max" in "{thread}";
}

/// Services, containers and virtual machines, by their names in systemd, Docker, Podman, containerd, CRI-O, Kubernetes,
/// Garden, libvirt, Proxmox and LXC, with and without systemd.
const DEFAULT_INCLUDE: [&str; 25] = [
    "*.service",
    "machine.slice/*.scope",
    "machine/*.libvirt-*",
    "qemu.slice/*.scope",
    "*docker-*.scope",
    "*libpod-*.scope",
    "*libpod_pod_*.slice",
    "*cri-containerd-*.scope",
    "*nerdctl-*.scope",
    "*crio-*.scope",
    // runc with a path for systemd, but without systemd: the three parts are one name.
    "*.slice:*:*",
    "docker/*",
    "moby/*",
    "k8s.io/*",
    "default/*",
    "libpod_parent/*",
    "lxc/*",
    "lxc.payload.*",
    "lxc.payload/*",
    "garden/*",
    "garden-*/*",
    "*.service/garden/*",
    "ecs/*/*",
    "*kubepods*-pod*.slice",
    "*kubepods/*pod*",
];

/// Groups inside of these, users' services, the monitor processes of containers, and Garden's groups of good and bad.
const DEFAULT_EXCLUDE: [&str; 20] = [
    "*.scope/*",
    "*.service/*.service",
    "*-conmon-*.scope",
    "*/crio-conmon-*",
    "*/libpod-conmon-*",
    "libpod_parent/conmon",
    "*.slice:*:*/*",
    "docker/*/*",
    "moby/*/*",
    "k8s.io/*/*",
    "default/*/*",
    "libpod_parent/*/*",
    "lxc/*/*",
    "lxc.payload.*/*",
    "lxc.payload/*/*",
    "garden/*/*/*",
    "*garden/good",
    "*garden/bad",
    "ecs/*/*/*",
    "*/pod*/*/*",
];

/// The lifetime of the list of groups: listing hundreds of directories at each tick would dominate the cost. A removed
/// group is noticed at once.
const WALK_NS: u64 = 30_000_000_000;

/// The number of groups whose files are read together: few calls of the agent for all, and little memory.
const GROUPS_PER_BATCH: usize = 50;

/// The number of metrics from which on no further group is measured: the agent's default limit is 20,000, less the
/// metrics of the last group.
const MAX_METRICS: usize = 19_500;

gauged_plugin::settings! {
    /// Paths of the groups to measure; `*` stands for any text, including slashes. With a table `groups` both of its defaults are gone.
    "groups.include": "list of patterns" = gauged_plugin::json_list!(DEFAULT_INCLUDE);
    /// Paths of groups to leave out; it wins over `include`.
    "groups.exclude": "list of patterns" = gauged_plugin::json_list!(DEFAULT_EXCLUDE);
    /// Reads and writes of all disks together (`summed`), or of each (`device`).
    "io": "text" = "\"summed\"";
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    groups: Selection,
    io: Io,
}

/// The setting `io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Io {
    /// Sum of all disks.
    Summed,
    /// Per device.
    Device,
}

struct Cgroup {
    settings: Settings,
    /// `None` before the first walk that found control groups.
    groups: Option<Vec<Group>>,
    /// The time of the last walk; `None` if a new one is due.
    walked_ns: Option<u64>,
    rates: Rates<1>,
    /// The bound of `cpu_percent`.
    cpus: Bound,
    devices: Devices,
    /// For groups left out because the sample is full.
    full_warning: log::Once,
    skipped: Skipped,
}

impl Plugin for Cgroup {
    const ABOUT: About = about!("CPU, memory, disk and process use of services and containers.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        let (rates, devices) = (Rates::default(), Devices::default());
        let (full_warning, skipped) = (log::Once::default(), Skipped::default());
        let cpus = ALL_CPUS_PERCENT;
        Ok(Self { settings, groups: None, walked_ns: None, rates, cpus, devices, full_warning, skipped })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let is_fresh = |walked_ns: &u64| tick.monotonic_ns.saturating_sub(*walked_ns) < WALK_NS;
        if self.walked_ns.as_ref().is_none_or(|walked_ns| !is_fresh(walked_ns)) {
            let found = walk::find_groups(&self.settings.groups, &mut self.skipped);
            // What was there before is not missing for good.
            let found = found.map_err(|error| match error {
                Error::Unsupported(why) if self.groups.is_some() => Error::Unavailable(why),
                error => error,
            });
            self.groups = Some(found?);
            let stat = self.skipped.optional(File::read("/proc/stat"), CPU_PERCENT.name);
            self.cpus = stat.map_or(ALL_CPUS_PERCENT, |stat| cpus_percent(&stat));
            self.walked_ns = Some(tick.monotonic_ns);
            self.devices.forget();
        }

        let Self { settings, groups, walked_ns, rates, cpus, devices, skipped, .. } = self;
        let groups = groups.as_deref().unwrap_or_default();
        let (mut measured, mut left_out, mut has_time) = (0_u64, 0_u64, true);
        for batch in groups.chunks(GROUPS_PER_BATCH) {
            if sample.len() >= MAX_METRICS || !has_time {
                left_out += batch.len() as u64;
                continue;
            }
            let paths: Vec<String> =
                batch.iter().flat_map(|group| &group.files).map(|(_, path)| path.clone()).collect();
            let mut files = File::read_many(&paths).into_iter();
            for group in batch {
                let files: Vec<_> = files.by_ref().take(group.files.len()).collect();
                if sample.len() >= MAX_METRICS || !has_time {
                    left_out += 1;
                    continue;
                }
                match read_usage(group, files, &mut has_time, skipped) {
                    Ok(usage) => {
                        measured += 1;
                        let change = usage.cpu_usage_us.and_then(|us| rates.change(tick, &group.label, [us]));
                        #[allow(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
                        let percent = change.map(|change| change.by[0] as f64 / 1e6 / change.seconds * 100.0);
                        let percent = percent.and_then(|percent| cpus.check(percent));
                        sample.labelled(&group.labels()).set(CPU_PERCENT, percent);
                        usage.report(group, sample);
                        devices.report(usage.io.as_ref(), group, settings.io, sample, skipped);
                    }
                    Err(Unread::Refused) => {}
                    Err(Unread::Gone) if !has_time => left_out += 1,
                    // Another group may have been created.
                    Err(Unread::Gone) => *walked_ns = None,
                }
            }
        }
        if measured == 0 && !groups.is_empty() {
            skipped.finish(sample)?;
        }
        sample.set(GROUPS, measured);
        sample.set(LEFT_OUT, left_out);
        drop(self.skipped.finish(sample));
        if left_out > 0 && has_time {
            self.full_warning.warn(format_args!(
                "{left_out} groups exceed the sample's limit of metrics and are left out; select fewer with `groups`"
            ));
        }
        Ok(())
    }
}

gauged_plugin::export!(Cgroup);

/// A group of which no file was read.
enum Unread {
    /// The agent's user may read none of its files.
    Refused,
    /// None of its files is there any more, or no time was left for them.
    Gone,
}

/// The usage of a group by its files. A file that cannot be read or parsed costs only its own metrics; one that does not respond
/// costs those after it, because the call's time is used up.
fn read_usage(
    group: &Group,
    files: Vec<Result<File, Failure>>,
    has_time: &mut bool,
    skipped: &mut Skipped,
) -> Result<GroupUsage, Unread> {
    let mut usage = GroupUsage::default();
    let (mut is_read, mut is_refused) = (false, false);
    let mut unread = Vec::new();
    for ((kind, _), read) in group.files.iter().zip(files) {
        match read {
            _ if !*has_time => {}
            Ok(file) => {
                is_read = true;
                usage.parse(*kind, &file, skipped);
                continue;
            }
            Err(failure) => {
                *has_time = failure.error != files::Error::Timeout;
                let may_not_read = failure.skip().reason == Reason::NotPermitted;
                is_refused |= may_not_read;
                // Gone, or without a device: expected.
                let is_gone = matches!(
                    failure.error,
                    files::Error::NotFound | files::Error::NotSupported(_) | files::Error::Io(_)
                );
                if may_not_read || !is_gone {
                    skipped.lose(InFile(failure), "the metrics of this file");
                }
            }
        }
        unread.push(kind.amounts());
    }
    // A part of the reads and writes would count as zeros.
    for amounts in unread {
        usage.io.iter_mut().for_each(|transfers| transfers.forget(amounts.clone()));
    }
    match (is_read, is_refused) {
        (true, _) => Ok(usage),
        (false, true) => Err(Unread::Refused),
        (false, false) => Err(Unread::Gone),
    }
}

#[cfg(test)]
mod tests;
