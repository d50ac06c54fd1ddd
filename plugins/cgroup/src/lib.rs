//! The module `cgroup`: CPU, memory, disk and process use of services and containers, from the kernel's accounting by
//! control group, version 2, version 1 or both. Knows groups by their paths, not the processes in them.

mod devices;
mod usage;
mod walk;

use devices::Devices;
use gauged_plugin::files;
use gauged_plugin::kernel::{self, File};
use gauged_plugin::rates::Rates;
use gauged_plugin::select::Selection;
use gauged_plugin::{About, Error, Plugin, Sample, Tick, log};
use usage::GroupUsage;
use walk::Group;

gauged_plugin::metrics! {
    module "cgroup";
    /// Measured groups.
    GROUPS: gauge "groups" in "{group}";
    /// Groups left out because the sample is full; include fewer.
    LEFT_OUT: gauge "groups_left_out" in "{group}";
    /// CPU time of the group.
    CPU_USAGE: counter "cpu_usage_seconds_total" in "s";
    /// CPU time of the group in user mode.
    CPU_USER: counter "cpu_user_seconds_total" in "s";
    /// CPU time of the group in kernel mode.
    CPU_SYSTEM: counter "cpu_system_seconds_total" in "s";
    /// CPU time of the group as a share of the time since the last tick: 100 is one CPU.
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
    READ_BYTES: counter "io_read_bytes_total" in "By";
    /// Bytes written to disks for the group.
    WRITE_BYTES: counter "io_write_bytes_total" in "By";
    /// Reads from disks for the group.
    READS: counter "io_reads_total" in "{operation}";
    /// Writes to disks for the group.
    WRITES: counter "io_writes_total" in "{operation}";
    /// Processes and threads of the group.
    PIDS: gauge "pids_current" in "{thread}";
    /// Limit of processes and threads of the group; left out without a limit.
    PIDS_MAX: gauge "pids_max" in "{thread}";
}

/// Services, containers and virtual machines, by their names in systemd, Docker, Podman, containerd, CRI-O, Kubernetes and
/// LXC, with and without systemd.
const DEFAULT_INCLUDE: [&str; 12] = [
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

/// Groups inside of these, users' services, and the monitor processes of containers.
const DEFAULT_EXCLUDE: [&str; 8] = [
    "*.scope/*",
    "*.service/*.service",
    "*-conmon-*.scope",
    "docker/*/*",
    "libpod_parent/*/*",
    "lxc/*/*",
    "lxc.payload.*/*",
    "*/pod*/*/*",
];

/// The lifetime of the list of groups: listing hundreds of directories at each tick would dominate the cost. A removed
/// group is noticed at once.
const WALK_NS: u64 = 30_000_000_000;

/// The number of metrics from which on no further group is measured: the agent's default limit is 10,000, less the
/// metrics of the last group.
const MAX_METRICS: usize = 9_500;

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    groups: Selection,
    io: Io,
}

impl Default for Settings {
    fn default() -> Self {
        let groups = Selection::only(&DEFAULT_INCLUDE).except(&DEFAULT_EXCLUDE);
        Self { groups, io: Io::Summed }
    }
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
    groups: Vec<Group>,
    /// The time of the last walk; `None` if a new one is due.
    walked_ns: Option<u64>,
    rates: Rates<1>,
    devices: Devices,
    /// For groups left out because the sample is full.
    full_warning: WarnOnce,
    /// For files that cannot be parsed.
    parse_warning: WarnOnce,
}

/// A warning that is logged once, although its cause recurs at each tick or in many groups.
#[derive(Debug, Default)]
struct WarnOnce {
    has_warned: bool,
}

impl WarnOnce {
    fn warn(&mut self, message: impl FnOnce() -> String) {
        if !std::mem::replace(&mut self.has_warned, true) {
            log::warn(&message());
        }
    }

    fn warn_parse_error(&mut self, error: &kernel::Error) {
        self.warn(|| format!("{error}; its metrics are left out for each group where it cannot be parsed"));
    }
}

impl Plugin for Cgroup {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "CPU, memory, disk and process use of services and containers.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        let (rates, devices) = (Rates::default(), Devices::default());
        let (full_warning, parse_warning) = (WarnOnce::default(), WarnOnce::default());
        Ok(Self { settings, groups: Vec::new(), walked_ns: None, rates, devices, full_warning, parse_warning })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let is_fresh = |walked_ns: &u64| tick.monotonic_ns.saturating_sub(*walked_ns) < WALK_NS;
        if self.walked_ns.as_ref().is_none_or(|walked_ns| !is_fresh(walked_ns)) {
            self.groups = walk::find_groups(&self.settings.groups, &mut self.parse_warning)?;
            self.walked_ns = Some(tick.monotonic_ns);
            self.devices.forget();
        }

        let (mut measured, mut left_out) = (0_u64, 0_u64);
        for group in &self.groups {
            if sample.len() >= MAX_METRICS {
                left_out += 1;
                continue;
            }
            match read_usage(group, &mut self.parse_warning)? {
                Some(usage) => {
                    measured += 1;
                    let change = usage.cpu_usage_us.and_then(|us| self.rates.change(tick, &group.label, [us]));
                    #[allow(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
                    let percent = change.map(|change| change.by[0] as f64 / 1e6 / change.seconds * 100.0);
                    sample.labelled(&group.labels()).set(CPU_PERCENT, percent);
                    usage.report(group, sample);
                    self.devices.report(usage.io.as_ref(), group, self.settings.io, sample)?;
                }
                // The group is gone, and another may have been created.
                None => self.walked_ns = None,
            }
        }
        sample.set(GROUPS, measured);
        sample.set(LEFT_OUT, left_out);
        if left_out > 0 {
            self.full_warning.warn(|| {
                format!(
                    "{left_out} groups exceed the sample's limit of metrics and are left out; select fewer with `groups`"
                )
            });
        }
        Ok(())
    }
}

gauged_plugin::export!(Cgroup);

/// Reads the usage of a group; `None` if the group is gone. A file that cannot be parsed costs only its own metrics.
fn read_usage(group: &Group, parse_warning: &mut WarnOnce) -> Result<Option<GroupUsage>, Error> {
    let mut usage = GroupUsage::default();
    let mut exists = false;
    // In version 1 several files have a part of the reads and writes; a missing one would count as zeros.
    let mut has_all_transfers = true;
    for (kind, path) in &group.files {
        match File::read(path) {
            Ok(file) => {
                exists = true;
                // Values before the error may be incomplete: discard them.
                let mut parsed = usage.clone();
                match parsed.parse(*kind, &file) {
                    Ok(()) => usage = parsed,
                    Err(error) => {
                        has_all_transfers &= !kind.is_transfer();
                        parse_warning.warn_parse_error(&error);
                    }
                }
            }
            // The next file would time out as well.
            Err(failure) if failure.error == files::Error::Timeout => return Err(failure.into()),
            // Gone, or not readable on this kernel: use the other files.
            Err(_) => has_all_transfers &= !kind.is_transfer(),
        }
    }
    if !has_all_transfers {
        usage.io = None;
    }
    Ok(exists.then_some(usage))
}

#[cfg(test)]
mod tests;
