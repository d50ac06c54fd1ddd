//! The members of groups and their resource use. A command line is read when a process is new, again one tick later
//! (because of `exec` after `fork`), and when the name changes. Other files are read only for members.

use gauged_plugin::bounds::{ALL_CPUS_PERCENT, Bound, COUNT, cpus_percent};
use gauged_plugin::rates::Rates;
use gauged_plugin::skipped::{Skip, Skipped};
use gauged_plugin::{Descriptor, Need, Sample, Tick};

use crate::process_files::{NotReadable, ProcFile, ProcessFiles, memory};
use crate::settings::Group;
use crate::stat::{Stat, State};
use crate::{
    EVERY_STAT, GROUP_CPU, GROUP_CPU_PERCENT, GROUP_FDS, GROUP_PROCESSES, GROUP_RESIDENT, GROUP_START, GROUP_SWAPPED,
    GROUP_THREADS, GROUP_VIRTUAL,
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

/// What is known of a process at a tick.
#[derive(Debug)]
pub(crate) enum Observed<'a> {
    Read(Stat<'a>),
    /// Its file is malformed, or the agent may not read it.
    Unreadable,
    /// It cannot be read, or has ended.
    Kept,
    /// The agent, whose files no plugin may read.
    Agent,
}

/// A process with what its file says.
struct Update<'s> {
    process: TrackedProcess,
    stat: Stat<'s>,
    used_ticks: Option<u64>,
    /// Whether its CPU time is back from a jump.
    is_back: bool,
    /// Whether it was there before, with the same name.
    is_same: bool,
    command: Command,
}

/// What is known of a command line before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    /// No group depends on it.
    Unneeded,
    /// There is none: kernel threads and zombies have no memory for one.
    Empty,
    Unread,
}

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

/// The amounts that are summed over the members of a group.
const AMOUNTS: [Descriptor; 5] = [GROUP_THREADS, GROUP_VIRTUAL, GROUP_RESIDENT, GROUP_SWAPPED, GROUP_FDS];

/// The resource use of a group; `None` if that of a member could not be read.
#[derive(Debug, Clone)]
struct GroupUsage {
    processes: u64,
    /// In the order of [`AMOUNTS`].
    amounts: [Option<u64>; AMOUNTS.len()],
    /// The earliest start of a member, or `u64::MAX` without members.
    oldest_ticks: Option<u64>,
    cpu: Knowledge,
    /// Whether a process with an unknown command line may be a member.
    is_incomplete: bool,
}

impl GroupUsage {
    const EMPTY: Self = Self {
        processes: 0,
        amounts: [Some(0); AMOUNTS.len()],
        oldest_ticks: Some(u64::MAX),
        cpu: Knowledge { of_total: true, of_growth: true, of_next_growth: true },
        is_incomplete: false,
    };
}

/// The groups and all processes.
#[derive(Debug, Default)]
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
    files: ProcessFiles,
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

impl Default for Machine {
    fn default() -> Self {
        Self { boot_seconds: None, cpus: ALL_CPUS_PERCENT, read_ns: 0 }
    }
}

impl Machine {
    /// Reads it, if it is old or not known.
    fn refresh(&mut self, now: Now) {
        let is_old = now.monotonic_ns.saturating_sub(self.read_ns) >= BOOT_TIME_MAX_AGE_NS;
        if self.boot_seconds.is_some() && !is_old {
            return;
        }
        let (mut skipped, lost) = (Skipped::default(), GROUP_START.name);
        *self = Self { read_ns: now.monotonic_ns, ..Self::default() };
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

/// The command line of a process, words separated by spaces; empty without one, `None` if unknown.
fn command_line(process: &mut TrackedProcess, read: Result<Option<Vec<u8>>, NotReadable>) -> Option<String> {
    let is_empty = matches!(&read, Ok(Some(bytes)) if bytes.iter().all(|&byte| byte == 0));
    // A process at its exec has an empty one for a moment; one that clears it has it for good.
    let has_failed = is_empty || matches!(read, Err(NotReadable { was_tried: true }));
    process.failed_reads += u8::from(has_failed);
    let is_unknown = is_empty && process.failed_reads < MAX_COMMAND_READS;
    let bytes = read.ok().filter(|_| !is_unknown)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    Some(text.trim_end_matches('\0').replace('\0', " "))
}

impl Members {
    pub(crate) fn new(groups: Vec<Group>) -> Self {
        let (sums, cpu_ticks) = (vec![GroupUsage::EMPTY; groups.len()], vec![0; groups.len()]);
        Self { groups, sums, cpu_ticks, ..Self::default() }
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
        self.files.begin_tick();
    }

    /// Adds processes. All calls of a tick are in the order of PIDs.
    pub(crate) fn add_processes(&mut self, processes: &[(u32, Observed<'_>)]) {
        if self.groups.is_empty() {
            return;
        }
        let updates = processes.iter().map(|(pid, process)| match process {
            Observed::Read(stat) => Some(self.update(*pid, *stat)),
            _ => None,
        });
        let updates: Vec<Option<Update<'_>>> = updates.collect();
        let unread = updates.iter().flatten().filter(|update| update.command == Command::Unread);
        let unread: Vec<u32> = unread.map(|update| update.process.pid).collect();
        let mut commands = self.files.read_many(ProcFile::Command, &unread).into_iter();
        let mut members = Vec::new();
        for ((pid, process), update) in processes.iter().zip(updates) {
            match (process, update) {
                (Observed::Read(_), Some(mut update)) => {
                    if !update.process.is_settled {
                        let command = if update.command == Command::Unread { commands.next() } else { None };
                        self.classify(&mut update, command);
                    }
                    self.add_cpu(&update);
                    if update.process.groups != 0 && update.stat.state != Some(State::Zombie) {
                        members.push((update.process.pid, update.process.groups, update.stat));
                    }
                    self.seen.push(update.process);
                }
                (Observed::Unreadable, _) => self.add_unreadable_process(*pid),
                (Observed::Kept, _) => self.keep_process(*pid),
                _ => {}
            }
        }
        self.add_members(&members);
    }

    /// A process with what its file says, before its groups are known.
    fn update<'s>(&self, pid: u32, stat: Stat<'s>) -> Update<'s> {
        let found = self.known.binary_search_by_key(&pid, |known| known.pid).ok();
        let before = found.map(|at| &self.known[at]).filter(|known| known.is_still(&stat));
        let before_cpu = before.and_then(|known| known.cpu);
        let (cpu, used_ticks) = match stat.cpu_ticks {
            Some(ticks) => self.use_cpu(ticks, before_cpu),
            None => (before_cpu, None),
        };
        let is_back = used_ticks > Some(0) && cpu.zip(before_cpu).is_some_and(|(now, before)| now.ticks < before.ticks);
        let is_same = before.is_some_and(|known| *known.name == *stat.name);
        let process = TrackedProcess {
            pid,
            start_ticks: stat.start_ticks.max(before.and_then(|known| known.start_ticks)),
            name: stat.name.into(),
            cpu,
            groups: before.map_or(0, |known| known.groups),
            is_settled: before.is_some_and(|known| is_same && known.is_settled),
            failed_reads: before.map_or(0, |known| known.failed_reads),
        };
        let by_command = |group: &Group| group.command.is_some() && group.matches_name(stat.name);
        let command = if process.is_settled || !self.groups.iter().any(by_command) {
            Command::Unneeded
        } else if stat.virtual_bytes == Some(0) {
            Command::Empty
        } else {
            Command::Unread
        };
        Update { process, stat, used_ticks, is_back, is_same, command }
    }

    /// Adds the CPU time of a process to its groups.
    fn add_cpu(&mut self, Update { process, stat, used_ticks, is_back, .. }: &Update<'_>) {
        if let Some(column) = stat.malformed.filter(|_| process.groups != 0) {
            let why = format!("/proc/{}/stat has no number, or an impossible one, for {column}", process.pid);
            Skip::malformed(EVERY_STAT, "", why).report(format_args!("{column} of groups"));
        }
        for at in (0..self.groups.len()).filter(|at| process.groups & (1 << at) != 0) {
            self.cpu_ticks[at] = self.cpu_ticks[at].saturating_add(used_ticks.unwrap_or(0));
            self.sums[at].cpu.of_total &= used_ticks.is_some();
            self.sums[at].cpu.of_next_growth &= stat.cpu_ticks.is_some();
            self.sums[at].cpu.of_growth &= used_ticks.is_some() && !is_back;
        }
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
    /// have it.
    fn add_unreadable_process(&mut self, pid: u32) {
        for sum in &mut self.sums {
            sum.is_incomplete = true;
        }
        self.keep_process(pid);
    }

    /// Keeps what is known of a process that cannot be read, or that has ended: if it is there again, its CPU time is not to be
    /// counted twice.
    fn keep_process(&mut self, pid: u32) {
        if let Ok(at) = self.known.binary_search_by_key(&pid, |known| known.pid) {
            self.seen.push(self.known[at].clone());
        }
    }

    /// Finds the groups of a process. Without a command line it has none.
    fn classify(&mut self, update: &mut Update<'_>, command: Option<Result<Option<Vec<u8>>, NotReadable>>) {
        let Update { process, stat, is_same: was_there, command: known, .. } = update;
        let groups_before = std::mem::take(&mut process.groups);
        let command = match command {
            Some(read) => command_line(process, read),
            None => Some(String::new()).filter(|_| *known == Command::Empty),
        };
        for (at, group) in self.groups.iter().enumerate().filter(|(_, group)| group.matches_name(stat.name)) {
            match (&group.command, &command) {
                (Some(pattern), Some(command)) if !pattern.matches(command) => {}
                (Some(_), None) => self.sums[at].is_incomplete = true,
                _ => process.groups |= 1 << at,
            }
        }
        // Two reads that agree.
        let is_known = command.is_some() && *was_there && process.groups == groups_before;
        process.is_settled = *known == Command::Unneeded || is_known || process.failed_reads == MAX_COMMAND_READS;
    }

    /// Adds the members of groups, each with a bit for each of them.
    fn add_members(&mut self, members: &[(u32, u64, Stat<'_>)]) {
        let pids: Vec<u32> = members.iter().map(|(pid, ..)| *pid).collect();
        let statuses = self.files.read_many(ProcFile::Memory, &pids);
        for ((pid, groups, stat), status) in members.iter().zip(statuses) {
            let (resident_bytes, swapped_bytes) = memory(*pid, status);
            let fds = self.files.descriptors(*pid);
            let amounts = [stat.threads, stat.virtual_bytes, resident_bytes, swapped_bytes, fds];
            let plus = |sum: Option<u64>, value: Option<u64>| COUNT.check(sum?.saturating_add(value?));
            for at in (0..self.groups.len()).filter(|at| groups & (1 << at) != 0) {
                let sum = &mut self.sums[at];
                sum.processes += 1;
                for (sum, amount) in sum.amounts.iter_mut().zip(amounts) {
                    *sum = plus(*sum, amount);
                }
                sum.oldest_ticks = sum.oldest_ticks.zip(stat.start_ticks).map(|(oldest, start)| oldest.min(start));
            }
        }
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
            let mut row = sample.labelled(&[("group", &*group.label)]);
            row.set(GROUP_PROCESSES, sum.processes);
            for (metric, amount) in AMOUNTS.into_iter().zip(sum.amounts) {
                row.set(metric, amount);
            }
            row.set(GROUP_CPU, sum.cpu.of_total.then_some(cpu_ticks as f64 / TICKS_PER_SECOND));
            let percent = change
                .filter(|_| sum.cpu.of_growth)
                .map(|change| change.by[0] as f64 / TICKS_PER_SECOND / change.seconds * 100.0);
            row.set(GROUP_CPU_PERCENT, percent.and_then(|percent| self.machine.cpus.check(percent)));
            let oldest = sum.oldest_ticks.filter(|_| sum.processes > 0).zip(self.machine.boot_seconds);
            let start = oldest.map(|(ticks, boot)| boot as f64 + ticks as f64 / TICKS_PER_SECOND);
            // In a container the boot time may be its own, and the start time that since the boot of the host.
            row.set(GROUP_START, start.filter(|&start| start <= self.now.unix_seconds + START_SLACK_SECONDS));
        }
    }
}
