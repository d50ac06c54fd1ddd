//! What the files of a group say. Versions 1 and 2 call the same thing by different names, and no thing by the name of
//! another: so a key is understood whichever file it stands in.

use gauged_plugin::Sample;
use gauged_plugin::kernel::{self, File};

use crate::devices::Transfers;
use crate::walk::Group;
use crate::{
    CPU_PERIODS, CPU_SYSTEM, CPU_THROTTLED, CPU_THROTTLED_PERIODS, CPU_USAGE, CPU_USER, MEMORY_ANON, MEMORY_CURRENT,
    MEMORY_FILE, MEMORY_MAX, MEMORY_SWAP, MEMORY_WORKING_SET, OOM_KILLS, PIDS, PIDS_MAX,
};

/// Microseconds in a tick, in which version 1 tells the CPU time of programs and of the kernel: a hundredth of a second on
/// every machine that gauged runs on.
const TICK_US: u64 = 10_000;

/// From here on a limit of version 1 is none: what the kernel writes then depends on the size of its pages.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keys and numbers.
    Keyed,
    /// CPU time in nanoseconds.
    CpuUsage,
    Memory,
    MemoryMax,
    Swap,
    /// Reads and writes of version 2.
    Io,
    /// Bytes, and operations, of version 1.
    IoBytes,
    IoOperations,
    Pids,
    PidsMax,
}

impl Kind {
    /// All files that are read, of both versions.
    pub(crate) const FILES: [(&str, Self); 18] = [
        ("cpu.stat", Self::Keyed),
        ("memory.current", Self::Memory),
        ("memory.events", Self::Keyed),
        ("memory.max", Self::MemoryMax),
        ("memory.stat", Self::Keyed),
        ("memory.swap.current", Self::Swap),
        ("io.stat", Self::Io),
        ("pids.current", Self::Pids),
        ("pids.max", Self::PidsMax),
        // Version 1, where it calls them otherwise.
        ("cpuacct.usage", Self::CpuUsage),
        ("cpuacct.stat", Self::Keyed),
        ("memory.usage_in_bytes", Self::Memory),
        ("memory.limit_in_bytes", Self::MemoryMax),
        ("memory.oom_control", Self::Keyed),
        ("blkio.throttle.io_service_bytes", Self::IoBytes),
        ("blkio.throttle.io_service_bytes_recursive", Self::IoBytes),
        ("blkio.throttle.io_serviced", Self::IoOperations),
        ("blkio.throttle.io_serviced_recursive", Self::IoOperations),
    ];

    pub(crate) fn is_limit(self) -> bool {
        matches!(self, Self::MemoryMax | Self::PidsMax)
    }

    pub(crate) fn is_transfer(self) -> bool {
        matches!(self, Self::Io | Self::IoBytes | Self::IoOperations)
    }
}

/// What a group may use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    memory_bytes: Option<u64>,
    pids: Option<u64>,
}

impl Limits {
    pub(crate) fn take(&mut self, kind: Kind, file: &File) -> Result<(), kernel::Error> {
        let limit = if file.text().trim_ascii() == "max" { None } else { Some(file.number::<u64>()?) };
        match kind {
            Kind::MemoryMax => self.memory_bytes = limit.filter(|&bytes| bytes < NO_LIMIT_BYTES),
            Kind::PidsMax => self.pids = limit,
            _ => {}
        }
        Ok(())
    }
}

/// What a group uses; none where no file tells it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Accounts {
    pub(crate) cpu_usage_us: Option<u64>,
    cpu_user_us: Option<u64>,
    cpu_system_us: Option<u64>,
    periods: Option<u64>,
    throttled_periods: Option<u64>,
    throttled_us: Option<u64>,
    memory_bytes: Option<u64>,
    anon_bytes: Option<u64>,
    file_bytes: Option<u64>,
    inactive_file_bytes: Option<u64>,
    swap_bytes: Option<u64>,
    oom_kills: Option<u64>,
    pids: Option<u64>,
    pub(crate) io: Option<Transfers>,
}

impl Accounts {
    pub(crate) fn take(&mut self, kind: Kind, file: &File) -> Result<(), kernel::Error> {
        match kind {
            Kind::Keyed => self.take_keys(file)?,
            Kind::CpuUsage => self.cpu_usage_us = Some(file.number::<u64>()? / 1000),
            Kind::Memory => self.memory_bytes = Some(file.number()?),
            Kind::Swap => self.swap_bytes = Some(file.number()?),
            Kind::Io => self.io.get_or_insert_default().take(file)?,
            Kind::IoBytes => self.io.get_or_insert_default().take_bytes(file)?,
            Kind::IoOperations => self.io.get_or_insert_default().take_operations(file)?,
            Kind::Pids => self.pids = Some(file.number()?),
            Kind::MemoryMax | Kind::PidsMax => {}
        }
        Ok(())
    }

    fn take_keys(&mut self, file: &File) -> Result<(), kernel::Error> {
        for line in file.lines() {
            let (key, mut values) = line.keyed();
            let (account, unit) = match key {
                "usage_usec" => (&mut self.cpu_usage_us, 1),
                "user_usec" => (&mut self.cpu_user_us, 1),
                "system_usec" => (&mut self.cpu_system_us, 1),
                "nr_periods" => (&mut self.periods, 1),
                "nr_throttled" => (&mut self.throttled_periods, 1),
                "throttled_usec" => (&mut self.throttled_us, 1),
                // What version 2 calls it, and version 1 of the group and all below it.
                "anon" | "total_rss" => (&mut self.anon_bytes, 1),
                "file" | "total_cache" => (&mut self.file_bytes, 1),
                "oom_kill" => (&mut self.oom_kills, 1),
                // Version 1 alone.
                "user" => (&mut self.cpu_user_us, TICK_US),
                "system" => (&mut self.cpu_system_us, TICK_US),
                "throttled_time" => {
                    self.throttled_us = Some(values.number::<u64>(key)? / 1000);
                    continue;
                }
                "total_swap" => (&mut self.swap_bytes, 1),
                // Of the group alone in version 1, where that of all below it follows and takes its place.
                "inactive_file" | "total_inactive_file" => (&mut self.inactive_file_bytes, 1),
                _ => continue,
            };
            *account = Some(values.number::<u64>(key)?.saturating_mul(unit));
        }
        Ok(())
    }

    /// All but reads and writes.
    pub(crate) fn report(&self, group: &Group, sample: &mut Sample) {
        #[allow(clippy::cast_precision_loss, reason = "a microsecond is exact for hundreds of years")]
        let seconds = |us: Option<u64>| us.map(|us| us as f64 / 1e6);
        let labels = group.labels();
        let mut row = sample.labelled(&labels);
        row.set(CPU_USAGE, seconds(self.cpu_usage_us));
        row.set(CPU_USER, seconds(self.cpu_user_us)).set(CPU_SYSTEM, seconds(self.cpu_system_us));
        row.set(CPU_PERIODS, self.periods).set(CPU_THROTTLED_PERIODS, self.throttled_periods);
        row.set(CPU_THROTTLED, seconds(self.throttled_us));
        let working_set = self.memory_bytes.zip(self.inactive_file_bytes);
        row.set(MEMORY_CURRENT, self.memory_bytes);
        row.set(MEMORY_WORKING_SET, working_set.map(|(all, inactive)| all.saturating_sub(inactive)));
        row.set(MEMORY_ANON, self.anon_bytes).set(MEMORY_FILE, self.file_bytes).set(MEMORY_SWAP, self.swap_bytes);
        row.set(MEMORY_MAX, group.limits.memory_bytes).set(OOM_KILLS, self.oom_kills);
        row.set(PIDS, self.pids).set(PIDS_MAX, group.limits.pids);
    }
}
