//! The members of groups and their resource use. A command line is read when a process is new, again one tick later
//! (because of `exec` after `fork`), and when the name changes. Other files are read only for members.

use std::fmt::Display;

use gauged_plugin::bounds::ALL_CPUS_PERCENT;
use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::File;
use gauged_plugin::rates::Rates;
use gauged_plugin::skipped::{Cause as _, Skip, Skipped};
use gauged_plugin::{Need, Sample, Tick};

use crate::settings::Group;
use crate::stat::{Stat, State};
use crate::{
    GROUP_CPU, GROUP_CPU_PERCENT, GROUP_FDS, GROUP_PROCESSES, GROUP_RESIDENT, GROUP_START, GROUP_SWAPPED,
    GROUP_THREADS, GROUP_VIRTUAL, has_ended,
};

/// Ticks of CPU time per second, on every supported machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// The lifetime of the boot time: it changes only when the clock is set, and its file is long on machines with many CPUs.
const BOOT_TIME_MAX_AGE_NS: u64 = 60_000_000_000;

/// Attempts to read the command line of a process. It may be unreadable for good: because of a lock held by a thread that
/// waits for a dead device, or a security module.
const MAX_COMMAND_READS: u8 = 3;

/// A process with its state from the last tick.
#[derive(Debug)]
struct TrackedProcess {
    pid: u32,
    /// Together with the PID, identifies the process.
    start_ticks: Option<u64>,
    name: Box<str>,
    cpu_ticks: u64,
    /// The groups of the process, one bit each.
    groups: u64,
    /// Whether the groups are final unless the name changes.
    is_settled: bool,
    /// Failed reads of the command line.
    failed_reads: u8,
}

/// The files read only for some processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProcFile {
    Command,
    Memory,
    Fds,
}

impl ProcFile {
    fn path(self, pid: impl Display) -> String {
        let name = match self {
            Self::Command => "cmdline",
            Self::Memory => "status",
            Self::Fds => "fd",
        };
        format!("/proc/{pid}/{name}")
    }

    /// The metrics that are missing without the file, for a report.
    fn missing_metrics(self) -> &'static str {
        match self {
            Self::Command => "the groups that a process may belong to",
            Self::Memory => "the memory of its groups",
            Self::Fds => "the open files of its groups",
        }
    }
}

/// A file that could not be read.
#[derive(Debug)]
struct NotReadable;

/// The resource use of a group; `None` if that of a member could not be read.
#[derive(Debug, Clone)]
struct GroupUsage {
    processes: u64,
    threads: Option<u64>,
    virtual_bytes: Option<u64>,
    resident_bytes: Option<u64>,
    swapped_bytes: Option<u64>,
    fds: Option<u64>,
    /// The earliest start of a member, or `u64::MAX` without members.
    oldest_ticks: Option<u64>,
    /// Whether the CPU time of all members is known.
    has_cpu: bool,
    /// Whether a process with an unknown command line may be a member.
    is_incomplete: bool,
}

impl GroupUsage {
    const EMPTY: Self = Self {
        processes: 0,
        threads: Some(0),
        virtual_bytes: Some(0),
        resident_bytes: Some(0),
        swapped_bytes: Some(0),
        fds: Some(0),
        oldest_ticks: Some(u64::MAX),
        has_cpu: true,
        is_incomplete: false,
    };
}

/// The groups and all processes.
#[derive(Debug)]
pub(crate) struct Members {
    groups: Vec<Group>,
    sums: Vec<GroupUsage>,
    /// CPU time of each group, including ended processes.
    cpu_ticks: Vec<u64>,
    rates: Rates<1>,
    /// The processes of the last tick, sorted by PID.
    known: Vec<TrackedProcess>,
    /// The processes of this tick.
    seen: Vec<TrackedProcess>,
    /// False after a timeout, for the rest of the tick.
    has_time: bool,
    /// The files without a grant.
    denied: Vec<ProcFile>,
    /// The boot time in Unix time, and the time of its read.
    boot: Option<(u64, u64)>,
}

impl Members {
    pub(crate) fn new(groups: Vec<Group>) -> Self {
        let count = groups.len();
        Self {
            groups,
            sums: vec![GroupUsage::EMPTY; count],
            cpu_ticks: vec![0; count],
            rates: Rates::default(),
            known: Vec::new(),
            seen: Vec::new(),
            has_time: true,
            denied: Vec::new(),
            boot: None,
        }
    }

    pub(crate) fn needs(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        if !self.groups.is_empty() {
            needs.push(Need::read(ProcFile::Memory.path('*'), "measure the memory of groups"));
            needs.push(Need::read(ProcFile::Fds.path('*'), "count the open files of groups"));
        }
        if self.groups.iter().any(|group| group.command.is_some()) {
            needs.push(Need::read(ProcFile::Command.path('*'), "match processes by command line"));
        }
        needs
    }

    pub(crate) fn begin_tick(&mut self) {
        // The last tick was aborted: merge its part into the known processes.
        if let Some(last) = self.seen.last().map(|known| known.pid) {
            self.known.retain(|known| known.pid > last);
            self.seen.append(&mut self.known);
            self.known = std::mem::take(&mut self.seen);
        }
        self.sums.fill(GroupUsage::EMPTY);
        self.has_time = true;
    }

    /// Adds a process. Calls are in the order of PIDs.
    pub(crate) fn add_process(&mut self, pid: u32, stat: &Stat<'_>) {
        if self.groups.is_empty() {
            return;
        }
        let found = self.known.binary_search_by_key(&pid, |known| known.pid).ok();
        let before = found.map(|at| &self.known[at]).filter(|known| known.start_ticks == stat.start_ticks);
        let before_ticks = before.map_or(0, |known| known.cpu_ticks);
        // The time of a process may fall for a moment, and is counted once.
        let cpu_ticks = stat.cpu_ticks.map_or(before_ticks, |ticks| ticks.max(before_ticks));
        let is_same = before.is_some_and(|known| *known.name == *stat.name);
        let failed_reads = before.map_or(0, |known| known.failed_reads);
        let mut now = TrackedProcess {
            pid,
            start_ticks: stat.start_ticks,
            name: stat.name.into(),
            cpu_ticks,
            groups: before.map_or(0, |known| known.groups),
            is_settled: before.is_some_and(|known| is_same && known.is_settled),
            failed_reads,
        };
        if !now.is_settled {
            self.classify(&mut now, stat, is_same);
        }
        for at in (0..self.groups.len()).filter(|at| now.groups & (1 << at) != 0) {
            self.cpu_ticks[at] = self.cpu_ticks[at].saturating_add(cpu_ticks - before_ticks);
            self.sums[at].has_cpu &= stat.cpu_ticks.is_some();
            if stat.state != Some(State::Zombie) {
                self.add_member(at, pid, stat);
            }
        }
        self.seen.push(now);
    }

    /// Adds a process of which nothing is known, because the agent may not read its files: any group may have it.
    pub(crate) fn add_unreadable_process(&mut self) {
        for sum in &mut self.sums {
            sum.is_incomplete = true;
        }
    }

    /// Finds the groups of a process.
    fn classify(&mut self, process: &mut TrackedProcess, stat: &Stat<'_>, was_there: bool) {
        process.groups = 0;
        let matches_name = |group: &Group| group.matches_name(stat.name);
        let is_command_wanted = self.groups.iter().any(|group| matches_name(group) && group.command.is_some());
        let command = if is_command_wanted { self.command(process, stat) } else { None };
        for (at, group) in self.groups.iter().enumerate().filter(|(_, group)| matches_name(group)) {
            match (&group.command, &command) {
                (Some(pattern), Some(command)) if !pattern.matches(command) => {}
                (Some(_), None) => self.sums[at].is_incomplete = true,
                _ => process.groups |= 1 << at,
            }
        }
        let is_known = command.is_some() && was_there;
        process.is_settled = !is_command_wanted || is_known || process.failed_reads == MAX_COMMAND_READS;
    }

    /// The command line of a process, words separated by spaces; empty without one, `None` if unknown.
    fn command(&mut self, process: &mut TrackedProcess, stat: &Stat<'_>) -> Option<String> {
        // Kernel threads and zombies have no memory and no command line.
        if stat.virtual_bytes == Some(0) {
            return Some(String::new());
        }
        let had_time = self.has_time;
        let command = self.read_file(ProcFile::Command, process.pid, |path| match files::read_text(path) {
            // Too long for any useful pattern.
            Err(failure) if matches!(failure.error, files::Error::TooLarge(_)) => Ok(String::new()),
            result => result,
        });
        let is_denied = self.denied.contains(&ProcFile::Command);
        process.failed_reads += u8::from(command.is_err() && had_time && !is_denied);
        command.ok().map(|text| text.unwrap_or_default().trim_end_matches('\0').replace('\0', " "))
    }

    fn add_member(&mut self, at: usize, pid: u32, stat: &Stat<'_>) {
        let (resident_bytes, swapped_bytes) = self.memory(pid);
        let fds = self.read_file(ProcFile::Fds, pid, |path| files::list(path).map(|names| names.len() as u64));
        let sum = &mut self.sums[at];
        let plus = |sum: Option<u64>, value: Option<u64>| Some(sum?.saturating_add(value?));
        sum.processes += 1;
        sum.threads = plus(sum.threads, stat.threads);
        sum.virtual_bytes = plus(sum.virtual_bytes, stat.virtual_bytes);
        sum.oldest_ticks = sum.oldest_ticks.zip(stat.start_ticks).map(|(oldest, start)| oldest.min(start));
        sum.resident_bytes = plus(sum.resident_bytes, resident_bytes);
        sum.swapped_bytes = plus(sum.swapped_bytes, swapped_bytes);
        sum.fds = plus(sum.fds, fds.ok().map(Option::unwrap_or_default));
    }

    /// The resident and swapped memory of a process. `stat` has the former too, but in pages of unknown size.
    fn memory(&mut self, pid: u32) -> (Option<u64>, Option<u64>) {
        let file = match self.read_file(ProcFile::Memory, pid, File::read) {
            Ok(Some(file)) => file,
            Ok(None) => return (Some(0), Some(0)),
            Err(NotReadable) => return (None, None),
        };
        let (mut resident, mut swapped) = (None, None);
        for line in file.lines() {
            match line.key_values() {
                ("VmRSS", mut size) => resident = Some(size.bytes("resident memory").ok()),
                ("VmSwap", mut size) => swapped = Some(size.bytes("swapped memory").ok()),
                _ => {}
            }
        }
        match (resident, swapped) {
            // Kernel threads have no memory of their own.
            (None, None) => (Some(0), Some(0)),
            (resident, swapped) => (resident.flatten(), swapped.flatten()),
        }
    }

    /// Reads a file of a process; `None` if the process has ended.
    fn read_file<T>(
        &mut self,
        kind: ProcFile,
        pid: u32,
        read: impl FnOnce(&str) -> Result<T, Failure>,
    ) -> Result<Option<T>, NotReadable> {
        if !self.has_time || self.denied.contains(&kind) {
            return Err(NotReadable);
        }
        let failure = match read(&kind.path(pid)) {
            Ok(content) => return Ok(Some(content)),
            Err(failure) if has_ended(&failure) => return Ok(None),
            Err(failure) => failure,
        };
        match &failure.error {
            // The agent reports it, and grants change only with a new instance.
            files::Error::Denied(_) => self.denied.push(kind),
            files::Error::Timeout => self.has_time = false,
            _ => {}
        }
        if !self.denied.contains(&kind) {
            Skip { path: kind.path('*'), ..failure.skip() }.report(kind.missing_metrics());
        }
        Err(NotReadable)
    }

    /// Ends the tick: sets the metrics of the groups.
    #[allow(clippy::cast_precision_loss, reason = "a hundredth of a second is exact for millions of years")]
    pub(crate) fn end_tick(&mut self, tick: Tick, sample: &mut Sample) {
        self.known = std::mem::take(&mut self.seen);
        if self.groups.is_empty() {
            return;
        }
        let boot_seconds = self.boot_seconds(tick);
        for ((group, sum), &cpu_ticks) in self.groups.iter().zip(&self.sums).zip(&self.cpu_ticks) {
            let change = self.rates.change(tick, &group.label, [cpu_ticks]);
            if sum.is_incomplete {
                continue;
            }
            let labels = [("group", &*group.label)];
            let mut row = sample.labelled(&labels);
            row.set(GROUP_PROCESSES, sum.processes).set(GROUP_THREADS, sum.threads);
            row.set(GROUP_CPU, sum.has_cpu.then_some(cpu_ticks as f64 / TICKS_PER_SECOND));
            let percent = change
                .filter(|_| sum.has_cpu)
                .map(|change| change.by[0] as f64 / TICKS_PER_SECOND / change.seconds * 100.0);
            row.set(GROUP_CPU_PERCENT, percent.and_then(|percent| ALL_CPUS_PERCENT.check(percent)));
            row.set(GROUP_RESIDENT, sum.resident_bytes).set(GROUP_SWAPPED, sum.swapped_bytes);
            row.set(GROUP_VIRTUAL, sum.virtual_bytes).set(GROUP_FDS, sum.fds);
            let oldest = sum.oldest_ticks.filter(|_| sum.processes > 0).zip(boot_seconds);
            row.set(GROUP_START, oldest.map(|(ticks, boot)| boot as f64 + ticks as f64 / TICKS_PER_SECOND));
        }
    }

    /// The boot time in Unix time, if it is known.
    fn boot_seconds(&mut self, tick: Tick) -> Option<u64> {
        let now_ns = tick.monotonic_ns;
        let is_old = |(_, read_ns): (u64, u64)| now_ns.saturating_sub(read_ns) >= BOOT_TIME_MAX_AGE_NS;
        if self.boot.is_none_or(is_old) {
            self.boot = read_boot_seconds().map(|seconds| (seconds, now_ns));
        }
        self.boot.map(|(seconds, _)| seconds)
    }
}

fn read_boot_seconds() -> Option<u64> {
    let (mut skipped, lost) = (Skipped::default(), GROUP_START.name);
    let file = skipped.read("/proc/stat", lost)?;
    let mut lines = file.lines().map(gauged_plugin::kernel::Line::key_values);
    let line = lines.find(|(key, _)| *key == "btime").ok_or_else(|| file.error("missing line btime"));
    let (_, mut fields) = skipped.keep(line, lost)?;
    skipped.keep(fields.number("the boot time"), lost)
}
