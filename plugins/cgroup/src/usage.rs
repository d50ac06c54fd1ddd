//! Parsers for the accounting files of a group. Keys of versions 1 and 2 differ but never conflict, so each key is parsed
//! in any file.

use std::ops::Range;

use gauged_plugin::Sample;
use gauged_plugin::bounds::COUNT;
use gauged_plugin::kernel::{self, File};
use gauged_plugin::skipped::Skipped;

use crate::devices::{BYTES, OPERATIONS, Transfers};
use crate::report::InFile;
use crate::walk::Group;
use crate::{
    CPU_PERIODS, CPU_SYSTEM, CPU_THROTTLED, CPU_THROTTLED_PERIODS, CPU_USAGE, CPU_USER, MEMORY_ANON, MEMORY_CURRENT,
    MEMORY_FILE, MEMORY_MAX, MEMORY_SWAP, MEMORY_WORKING_SET, OOM_KILLS, PIDS, PIDS_MAX,
};

/// Microseconds in the tick that version 1 uses for user and kernel CPU time: 1/100 s on every supported machine.
const TICK_US: u64 = 10_000;

/// The value from which on a limit of version 1 means no limit; the exact value depends on the page size.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// The format and meaning of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Keys and numbers.
    Keyed,
    /// CPU time in nanoseconds.
    CpuUsage,
    Memory,
    MemoryMax,
    Swap,
    /// Reads and writes, version 2.
    Io,
    /// Reads and writes in bytes, version 1.
    IoBytes,
    /// Reads and writes in operations, version 1.
    IoOperations,
    Pids,
    PidsMax,
}

impl FileKind {
    /// All files of both versions.
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
        // Version 1, where the names differ.
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

    pub(crate) fn limit_name(self) -> &'static str {
        if self == Self::PidsMax { PIDS_MAX.name } else { MEMORY_MAX.name }
    }

    /// The amounts of reads and writes in a file of this kind.
    pub(crate) fn amounts(self) -> Range<usize> {
        match self {
            Self::Io => BYTES.start..OPERATIONS.end,
            Self::IoBytes => BYTES,
            Self::IoOperations => OPERATIONS,
            _ => 0..0,
        }
    }
}

/// The limits of a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    memory_bytes: Option<u64>,
    pids: Option<u64>,
}

impl Limits {
    pub(crate) fn parse(&mut self, kind: FileKind, file: &File) -> Result<(), kernel::Error> {
        let limit = if file.text().trim_ascii() == "max" { None } else { Some(number(file)?) };
        match kind {
            FileKind::MemoryMax => self.memory_bytes = limit.filter(|&bytes| bytes < NO_LIMIT_BYTES),
            FileKind::PidsMax => self.pids = limit,
            _ => {}
        }
        Ok(())
    }
}

/// The usage of a group; `None` for values that no file has.
#[derive(Debug, Default, Clone)]
pub(crate) struct GroupUsage {
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

impl GroupUsage {
    /// Parses a file. A line or number that is unreadable costs its own value.
    pub(crate) fn parse(&mut self, kind: FileKind, file: &File, skipped: &mut Skipped) {
        let mut keep = |lost: &str| skipped.keep(number(file).map_err(InFile), lost);
        match kind {
            FileKind::Keyed => self.parse_keys(file, skipped),
            FileKind::CpuUsage => self.cpu_usage_us = keep(CPU_USAGE.name).map(|ns| ns / 1000),
            FileKind::Memory => self.memory_bytes = keep(MEMORY_CURRENT.name),
            FileKind::Swap => self.swap_bytes = keep(MEMORY_SWAP.name),
            FileKind::Io => self.io.get_or_insert_default().parse(file, skipped),
            FileKind::IoBytes | FileKind::IoOperations => {
                self.io.get_or_insert_default().parse_v1(file, kind.amounts(), skipped);
            }
            FileKind::Pids => self.pids = keep(PIDS.name),
            FileKind::MemoryMax | FileKind::PidsMax => {}
        }
    }

    fn parse_keys(&mut self, file: &File, skipped: &mut Skipped) {
        for line in file.lines() {
            let (key, mut values) = line.key_values();
            let (account, unit) = match key {
                "usage_usec" => (&mut self.cpu_usage_us, 1),
                "user_usec" => (&mut self.cpu_user_us, 1),
                "system_usec" => (&mut self.cpu_system_us, 1),
                "nr_periods" => (&mut self.periods, 1),
                "nr_throttled" => (&mut self.throttled_periods, 1),
                "throttled_usec" => (&mut self.throttled_us, 1),
                // Version 2, and version 1 for the group and its descendants.
                "anon" | "total_rss" => (&mut self.anon_bytes, 1),
                "file" | "total_cache" => (&mut self.file_bytes, 1),
                "oom_kill" => (&mut self.oom_kills, 1),
                // Version 1 only.
                "user" => (&mut self.cpu_user_us, TICK_US),
                "system" => (&mut self.cpu_system_us, TICK_US),
                "throttled_time" => {
                    let throttled_ns = skipped.keep(values.bounded::<u64>(key, &COUNT).map_err(InFile), key);
                    self.throttled_us = throttled_ns.map(|ns| ns / 1000);
                    continue;
                }
                "total_swap" => (&mut self.swap_bytes, 1),
                // In version 1 `inactive_file` excludes descendants; `total_inactive_file` follows and replaces it.
                "inactive_file" | "total_inactive_file" => (&mut self.inactive_file_bytes, 1),
                _ => continue,
            };
            let value = skipped.keep(values.bounded::<u64>(key, &COUNT).map_err(InFile), key);
            *account = value.and_then(|value| COUNT.check(value.saturating_mul(unit)));
        }
    }

    /// Sets the metrics except reads and writes.
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

/// The number in a file with a single value.
fn number(file: &File) -> Result<u64, kernel::Error> {
    file.fields().bounded("value", &COUNT)
}
