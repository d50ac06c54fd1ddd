//! The members of groups and their resource use. A command line is read when a process is new, again one tick later
//! (because of `exec` after `fork`), and when the name changes. Other files are read only for members.

use std::fmt::Display;

use gauged_plugin::bounds::{ALL_CPUS_PERCENT, Bound, COUNT, cpus_percent};
use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::{Fields, File};
use gauged_plugin::rates::Rates;
use gauged_plugin::skipped::{Cause as _, Skip, Skipped};
use gauged_plugin::{Need, Sample, Tick};

use crate::settings::Group;
use crate::stat::{Stat, State};
use crate::{
    EVERY_STAT, GROUP_CPU, GROUP_CPU_PERCENT, GROUP_FDS, GROUP_PROCESSES, GROUP_RESIDENT, GROUP_START, GROUP_SWAPPED,
    GROUP_THREADS, GROUP_VIRTUAL, has_ended,
};

/// Ticks of CPU time per second, on every supported machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time that is always possible, however short the time: a tick of the kernel on each of many CPUs.
const CLOCK_SLACK_SECONDS: f64 = 1.0;

/// The time by which a process may have started after now: the boot time is read once a minute, and the clock is set.
const START_SLACK_SECONDS: f64 = 60.0;

/// The lifetime of the boot time: it changes only when the clock is set, and its file is long on machines with many CPUs.
const BOOT_TIME_MAX_AGE_NS: u64 = 60_000_000_000;

/// Attempts to read the command line of a process. It may be unreadable for good: because of a lock held by a thread that
/// waits for a dead device, or a security module.
const MAX_COMMAND_READS: u8 = 3;

/// A process with its state from the last tick.
#[derive(Debug, Clone)]
struct TrackedProcess {
    pid: u32,
    /// Together with the PID, identifies the process.
    start_ticks: Option<u64>,
    name: Box<str>,
    cpu: Option<CpuTime>,
    /// The groups of the process, one bit each.
    groups: u64,
    /// Whether the groups are final unless the name changes.
    is_settled: bool,
    /// Failed reads of the command line.
    failed_reads: u8,
}

impl TrackedProcess {
    /// Whether the process with its PID is the same. Another one started later; a start time that is missing, or earlier, is
    /// malformed.
    fn is_still(&self, stat: &Stat<'_>) -> bool {
        let times = stat.start_ticks.zip(self.start_ticks);
        times.is_none_or(|(start, before)| start <= before)
    }
}

/// The last known CPU time of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CpuTime {
    ticks: u64,
    /// The monotonic time of the tick.
    at_ns: u64,
    /// The time before it jumped further than the machine can use, to which it may fall back.
    jumped_from: Option<u64>,
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

/// What is known of the CPU time of all members.
#[derive(Debug, Clone, Copy)]
struct Knowledge {
    /// Whether it is known.
    of_total: bool,
    /// Whether its growth since the last tick is that of one tick.
    of_growth: bool,
    /// Whether its growth until the next tick will be.
    of_next_growth: bool,
}

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
    cpu: Knowledge,
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
        cpu: Knowledge { of_total: true, of_growth: true, of_next_growth: true },
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
    machine: Machine,
    /// The time of this tick.
    now: Now,
}

/// The time of a tick.
#[derive(Debug, Clone, Copy, Default)]
struct Now {
    monotonic_ns: u64,
    unix_seconds: f64,
}

/// What `/proc/stat` says of the machine.
#[derive(Debug)]
struct Machine {
    /// The boot time in Unix time.
    boot_seconds: Option<u64>,
    /// The bound of the CPU time of all processes.
    cpus: Bound,
    /// The monotonic time of the read.
    read_ns: u64,
}

impl Machine {
    const UNKNOWN: Self = Self { boot_seconds: None, cpus: ALL_CPUS_PERCENT, read_ns: 0 };

    /// Reads it, if it is old or not known.
    fn refresh(&mut self, now: Now) {
        let is_old = now.monotonic_ns.saturating_sub(self.read_ns) >= BOOT_TIME_MAX_AGE_NS;
        if self.boot_seconds.is_some() && !is_old {
            return;
        }
        let (mut skipped, lost) = (Skipped::default(), GROUP_START.name);
        *self = Self { read_ns: now.monotonic_ns, ..Self::UNKNOWN };
        let Some(file) = skipped.read("/proc/stat", lost) else { return };
        self.cpus = cpus_percent(&file);
        let mut lines = file.lines().map(gauged_plugin::kernel::Line::key_values);
        let line = lines.find(|(key, _)| *key == "btime").ok_or_else(|| file.error("missing line btime"));
        let Some((_, mut fields)) = skipped.keep(line, lost) else { return };
        self.boot_seconds = skipped.keep(fields.bounded("the boot time", &COUNT), lost);
    }

    /// Whether this much CPU time can have been used in a time.
    #[allow(clippy::cast_precision_loss, reason = "a share of a time")]
    fn can_use(&self, cpu_ticks: u64, seconds: f64) -> bool {
        let used = cpu_ticks as f64 / TICKS_PER_SECOND;
        // What was used within a tick of the kernel's clock is of any part of it.
        used <= CLOCK_SLACK_SECONDS || self.cpus.check(used / seconds * 100.0).is_some()
    }
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
            machine: Machine::UNKNOWN,
            now: Now::default(),
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

    #[allow(clippy::cast_precision_loss, reason = "milliseconds are exact")]
    pub(crate) fn begin_tick(&mut self, tick: Tick) {
        self.now = Now { monotonic_ns: tick.monotonic_ns, unix_seconds: tick.unix_ms as f64 / 1000.0 };
        if !self.groups.is_empty() {
            self.machine.refresh(self.now);
        }
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
        let before = found.map(|at| &self.known[at]).filter(|known| known.is_still(stat));
        let before_cpu = before.and_then(|known| known.cpu);
        let (cpu, used_ticks) = match stat.cpu_ticks {
            Some(ticks) => self.use_cpu(ticks, before_cpu),
            None => (before_cpu, None),
        };
        let is_back = used_ticks > Some(0) && cpu.zip(before_cpu).is_some_and(|(now, before)| now.ticks < before.ticks);
        let is_same = before.is_some_and(|known| *known.name == *stat.name);
        let failed_reads = before.map_or(0, |known| known.failed_reads);
        let mut now = TrackedProcess {
            pid,
            start_ticks: stat.start_ticks.max(before.and_then(|known| known.start_ticks)),
            name: stat.name.into(),
            cpu,
            groups: before.map_or(0, |known| known.groups),
            is_settled: before.is_some_and(|known| is_same && known.is_settled),
            failed_reads,
        };
        if !now.is_settled {
            self.classify(&mut now, stat, is_same);
        }
        if let Some(column) = stat.unreadable().filter(|_| now.groups != 0) {
            let why = format!("/proc/{pid}/stat has no number, or an impossible one, for {column}");
            Skip::malformed(EVERY_STAT, "", why).report(format_args!("{column} of groups"));
        }
        for at in (0..self.groups.len()).filter(|at| now.groups & (1 << at) != 0) {
            self.cpu_ticks[at] = self.cpu_ticks[at].saturating_add(used_ticks.unwrap_or(0));
            self.sums[at].cpu.of_total &= used_ticks.is_some();
            self.sums[at].cpu.of_next_growth &= stat.cpu_ticks.is_some();
            self.sums[at].cpu.of_growth &= used_ticks.is_some() && !is_back;
            if stat.state != Some(State::Zombie) {
                self.add_member(at, pid, stat);
            }
        }
        self.seen.push(now);
    }

    /// The CPU time of a process, and what it used since it was last known, or altogether; `None` if that is more than the
    /// machine has. A process that keeps the time to which it jumped is measured from there.
    #[allow(clippy::cast_precision_loss, reason = "a share of a time")]
    fn use_cpu(&self, ticks: u64, before: Option<CpuTime>) -> (Option<CpuTime>, Option<u64>) {
        let at_ns = self.now.monotonic_ns;
        let since_boot = || self.machine.boot_seconds.map(|boot| self.now.unix_seconds - boot as f64);
        let seconds = before.map_or_else(since_boot, |before| Some(at_ns.saturating_sub(before.at_ns) as f64 / 1e9));
        let is_possible = |used| seconds.is_none_or(|seconds| self.machine.can_use(used, seconds));
        let before = before.unwrap_or(CpuTime { ticks: 0, at_ns, jumped_from: None });
        match before.jumped_from {
            Some(from) if ticks < before.ticks && is_possible(ticks.saturating_sub(from)) => {
                (Some(CpuTime { ticks, at_ns, jumped_from: None }), Some(ticks.saturating_sub(from)))
            }
            jumped_from => {
                // The time of a process may fall for a moment, and is counted once.
                let used = ticks.saturating_sub(before.ticks);
                if is_possible(used) {
                    (Some(CpuTime { ticks: ticks.max(before.ticks), at_ns, jumped_from }), Some(used))
                } else {
                    (Some(CpuTime { ticks, at_ns, jumped_from: jumped_from.or(Some(before.ticks)) }), None)
                }
            }
        }
    }

    /// Adds a process of which nothing is known, because its file is malformed, or the agent may not read it: any group may
    /// have it. Calls are in the order of PIDs.
    pub(crate) fn add_unreadable_process(&mut self, pid: u32) {
        for sum in &mut self.sums {
            sum.is_incomplete = true;
        }
        self.keep_process(pid);
    }

    /// Keeps what is known of a process that cannot be read, or that has ended: if it is there again, its CPU time is not to be
    /// counted twice.
    pub(crate) fn keep_process(&mut self, pid: u32) {
        if let Ok(at) = self.known.binary_search_by_key(&pid, |known| known.pid) {
            self.seen.push(self.known[at].clone());
        }
    }

    /// Finds the groups of a process.
    fn classify(&mut self, process: &mut TrackedProcess, stat: &Stat<'_>, was_there: bool) {
        let groups_before = std::mem::take(&mut process.groups);
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
        // Two reads that agree.
        let is_known = command.is_some() && was_there && process.groups == groups_before;
        process.is_settled = !is_command_wanted || is_known || process.failed_reads == MAX_COMMAND_READS;
    }

    /// The command line of a process, words separated by spaces; empty without one, `None` if unknown.
    fn command(&mut self, process: &mut TrackedProcess, stat: &Stat<'_>) -> Option<String> {
        // Kernel threads and zombies have no memory and no command line.
        if stat.virtual_bytes == Some(0) {
            return Some(String::new());
        }
        let had_time = self.has_time;
        let mut is_empty = false;
        let command = self.read_file(ProcFile::Command, process.pid, |path| match files::read_text(path) {
            // Too long for any useful pattern.
            Err(failure) if matches!(failure.error, files::Error::TooLarge(_)) => Ok(String::new()),
            result => {
                is_empty = result.as_ref().is_ok_and(|text| text.trim_end_matches('\0').is_empty());
                result
            }
        });
        let is_denied = self.denied.contains(&ProcFile::Command);
        // A process at its exec has an empty one for a moment; one that clears it has it for good.
        process.failed_reads += u8::from((command.is_err() || is_empty) && had_time && !is_denied);
        let is_unknown = is_empty && process.failed_reads < MAX_COMMAND_READS;
        let command = command.ok().filter(|_| !is_unknown);
        command.map(|text| text.unwrap_or_default().trim_end_matches('\0').replace('\0', " "))
    }

    fn add_member(&mut self, at: usize, pid: u32, stat: &Stat<'_>) {
        let (resident_bytes, swapped_bytes) = self.memory(pid);
        let fds = self.read_file(ProcFile::Fds, pid, |path| files::list(path).map(|names| names.len() as u64));
        let sum = &mut self.sums[at];
        let plus = |sum: Option<u64>, value: Option<u64>| COUNT.check(sum?.saturating_add(value?));
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
        let read = |mut size: Fields<'_>, what: &str| {
            let bytes = size.bytes(what).and_then(|bytes| {
                COUNT
                    .check(bytes)
                    .ok_or_else(|| file.error(format_args!("{bytes} is impossible ({what}): {}", COUNT.reason)))
            });
            if let Err(error) = &bytes {
                let skip = error.skip();
                let why = format!("{} in {}", skip.why, skip.path);
                Skip { path: ProcFile::Memory.path('*'), why, ..skip }.report(format_args!("{what} of groups"));
            }
            bytes.ok()
        };
        let (mut resident, mut swapped) = (None, None);
        for line in file.lines() {
            match line.key_values() {
                ("VmRSS", size) => resident = Some(read(size, "resident memory")),
                ("VmSwap", size) => swapped = Some(read(size, "swapped memory")),
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
        for ((group, sum), &cpu_ticks) in self.groups.iter().zip(&self.sums).zip(&self.cpu_ticks) {
            let is_known = sum.cpu.of_next_growth && !sum.is_incomplete;
            let change = self.rates.change(tick, &group.label, [is_known.then_some(cpu_ticks)]);
            if sum.is_incomplete {
                continue;
            }
            let labels = [("group", &*group.label)];
            let mut row = sample.labelled(&labels);
            row.set(GROUP_PROCESSES, sum.processes).set(GROUP_THREADS, sum.threads);
            row.set(GROUP_CPU, sum.cpu.of_total.then_some(cpu_ticks as f64 / TICKS_PER_SECOND));
            let percent = change
                .filter(|_| sum.cpu.of_growth)
                .map(|change| change.by[0] as f64 / TICKS_PER_SECOND / change.seconds * 100.0);
            row.set(GROUP_CPU_PERCENT, percent.and_then(|percent| self.machine.cpus.check(percent)));
            row.set(GROUP_RESIDENT, sum.resident_bytes).set(GROUP_SWAPPED, sum.swapped_bytes);
            row.set(GROUP_VIRTUAL, sum.virtual_bytes).set(GROUP_FDS, sum.fds);
            let oldest = sum.oldest_ticks.filter(|_| sum.processes > 0).zip(self.machine.boot_seconds);
            let start = oldest.map(|(ticks, boot)| boot as f64 + ticks as f64 / TICKS_PER_SECOND);
            // In a container the boot time may be its own, and the start time that since the boot of the host.
            row.set(GROUP_START, start.filter(|&start| start <= self.now.unix_seconds + START_SLACK_SECONDS));
        }
    }
}
