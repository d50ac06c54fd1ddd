//! Which processes belong to the groups, and what they use together. A command line is read when a process is new, once
//! more a tick later, since it may have been seen before it became what it is, and when its name changes; other files only
//! of those that belong to a group.

use std::fmt::Display;

use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::File;
use gauged_plugin::rates::Rates;
use gauged_plugin::{Error, Need, Sample, Tick, log};

use crate::settings::Group;
use crate::stat::{Stat, State};
use crate::{
    GROUP_CPU, GROUP_CPU_PERCENT, GROUP_FDS, GROUP_PROCESSES, GROUP_RESIDENT, GROUP_START, GROUP_SWAPPED,
    GROUP_THREADS, GROUP_VIRTUAL,
};

/// Ticks of a CPU's time in a second: what the kernel tells programs on every machine that gauged runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long the moment of boot is taken for known: it moves only when the clock is set, and the file is long on a machine
/// of many CPUs.
const BOOT_NS: u64 = 60_000_000_000;

/// How often a process is asked for its command line that does not tell it: a lock of its own, held by a thread that waits
/// for a dead device, may keep it from that for good, or a security module.
const PATIENCE: u8 = 3;

/// A process that was seen.
#[derive(Debug)]
struct Known {
    pid: u32,
    /// With the number, tells it from any other process there ever was.
    start_ticks: u64,
    name: Box<str>,
    cpu_ticks: u64,
    /// The groups that it belongs to, a bit each.
    groups: u64,
    /// Whether its command line need not be read again.
    is_settled: bool,
    /// How often it did not tell its command line.
    silent: u8,
}

/// The files of a process that are read only of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Command,
    Memory,
    Fds,
}

impl Kind {
    fn path(self, pid: impl Display) -> String {
        let name = match self {
            Self::Command => "cmdline",
            Self::Memory => "status",
            Self::Fds => "fd",
        };
        format!("/proc/{pid}/{name}")
    }

    /// What is missing without it.
    fn loss(self) -> &'static str {
        match self {
            Self::Command => "groups that it may belong to are",
            Self::Memory => "the memory of its groups is",
            Self::Fds => "the open files of its groups are",
        }
    }
}

/// A process did not tell, or may not be asked.
#[derive(Debug)]
struct Unknown;

/// What a group uses; none where one of its processes did not tell.
#[derive(Debug, Clone)]
struct Sum {
    processes: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: Option<u64>,
    swapped_bytes: Option<u64>,
    fds: Option<u64>,
    oldest_ticks: Option<u64>,
    /// Whether a process may belong to it whose command line is not known.
    is_uncertain: bool,
}

impl Sum {
    const NOTHING: Self = Self {
        processes: 0,
        threads: 0,
        virtual_bytes: 0,
        resident_bytes: Some(0),
        swapped_bytes: Some(0),
        fds: Some(0),
        oldest_ticks: None,
        is_uncertain: false,
    };
}

/// The groups, and the processes that may belong to them.
#[derive(Debug)]
pub(crate) struct Members {
    groups: Vec<Group>,
    sums: Vec<Sum>,
    /// CPU time of each group, that of processes which have ended included.
    cpu_ticks: Vec<u64>,
    rates: Rates<1>,
    /// By number.
    known: Vec<Known>,
    /// Those of this tick.
    seen: Vec<Known>,
    /// Whether the files of processes answer in time; when one has not, the others are not asked at this tick.
    has_time: bool,
    /// The files that are not granted.
    refused: Vec<Kind>,
    /// The files of which the operator was told that one could not be read.
    told: Vec<Kind>,
    /// When the host was booted, in Unix time, and when that was read.
    boot: Option<(u64, u64)>,
}

impl Members {
    pub(crate) fn new(groups: Vec<Group>) -> Self {
        let count = groups.len();
        Self {
            groups,
            sums: vec![Sum::NOTHING; count],
            cpu_ticks: vec![0; count],
            rates: Rates::default(),
            known: Vec::new(),
            seen: Vec::new(),
            has_time: true,
            refused: Vec::new(),
            told: Vec::new(),
            boot: None,
        }
    }

    pub(crate) fn needs(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        if !self.groups.is_empty() {
            needs.push(Need::read(Kind::Memory.path('*'), "see the memory of groups"));
            needs.push(Need::read(Kind::Fds.path('*'), "count the open files of groups"));
        }
        if self.groups.iter().any(|group| group.command.is_some()) {
            needs.push(Need::read(Kind::Command.path('*'), "find the processes of groups"));
        }
        needs
    }

    pub(crate) fn begin(&mut self) {
        // A tick was given up: what was seen in it takes the place of what was known, as far as it came.
        if let Some(last) = self.seen.last().map(|known| known.pid) {
            self.known.retain(|known| known.pid > last);
            self.seen.append(&mut self.known);
            self.known = std::mem::take(&mut self.seen);
        }
        self.sums.fill(Sum::NOTHING);
        self.has_time = true;
    }

    /// Takes a process into account. They come by number.
    pub(crate) fn see(&mut self, pid: u32, stat: &Stat<'_>) {
        if self.groups.is_empty() {
            return;
        }
        let found = self.known.binary_search_by_key(&pid, |known| known.pid).ok();
        let before = found.map(|at| &self.known[at]).filter(|known| known.start_ticks == stat.start_ticks);
        let used_ticks = stat.cpu_ticks.saturating_sub(before.map_or(0, |known| known.cpu_ticks));
        let is_same = before.is_some_and(|known| *known.name == *stat.name);
        let silent = before.map_or(0, |known| known.silent);
        let mut now = Known {
            pid,
            start_ticks: stat.start_ticks,
            name: stat.name.into(),
            cpu_ticks: stat.cpu_ticks,
            groups: before.map_or(0, |known| known.groups),
            is_settled: before.is_some_and(|known| is_same && known.is_settled),
            silent,
        };
        if !now.is_settled {
            self.classify(&mut now, stat, is_same);
        }
        for at in (0..self.groups.len()).filter(|at| now.groups & (1 << at) != 0) {
            self.cpu_ticks[at] += used_ticks;
            if stat.state != State::Zombie {
                self.add(at, pid, stat);
            }
        }
        self.seen.push(now);
    }

    /// Finds the groups that a process belongs to.
    fn classify(&mut self, process: &mut Known, stat: &Stat<'_>, was_there: bool) {
        process.groups = 0;
        let takes = |group: &Group| group.takes(stat.name);
        let is_command_wanted = self.groups.iter().any(|group| takes(group) && group.command.is_some());
        let command = if is_command_wanted { self.command(process, stat) } else { None };
        for (at, group) in self.groups.iter().enumerate().filter(|(_, group)| takes(group)) {
            match (&group.command, &command) {
                (Some(pattern), Some(command)) if !pattern.matches(command) => {}
                (Some(_), None) => self.sums[at].is_uncertain = true,
                _ => process.groups |= 1 << at,
            }
        }
        let is_known = command.is_some() && was_there;
        process.is_settled = !is_command_wanted || is_known || process.silent == PATIENCE;
    }

    /// The command line of a process, its words separated by spaces; empty where it has none, none where it is not known.
    fn command(&mut self, process: &mut Known, stat: &Stat<'_>) -> Option<String> {
        // Those of the kernel, and those that have ended, have no memory to keep one in.
        if stat.virtual_bytes == 0 {
            return Some(String::new());
        }
        let had_time = self.has_time;
        let said = self.ask(Kind::Command, process.pid, |path| match files::read_text(path) {
            // Nobody writes a pattern for that.
            Err(failure) if matches!(failure.error, files::Error::TooLarge(_)) => Ok(String::new()),
            said => said,
        });
        let is_refused = self.refused.contains(&Kind::Command);
        process.silent += u8::from(said.is_err() && had_time && !is_refused);
        said.ok().map(|text| text.unwrap_or_default().trim_end_matches('\0').replace('\0', " "))
    }

    fn add(&mut self, at: usize, pid: u32, stat: &Stat<'_>) {
        let (resident_bytes, swapped_bytes) = self.memory(pid);
        let fds = self.ask(Kind::Fds, pid, |path| files::list(path).map(|names| names.len() as u64));
        let sum = &mut self.sums[at];
        sum.processes += 1;
        sum.threads += stat.threads;
        sum.virtual_bytes = sum.virtual_bytes.saturating_add(stat.virtual_bytes);
        sum.oldest_ticks = Some(sum.oldest_ticks.map_or(stat.start_ticks, |oldest| oldest.min(stat.start_ticks)));
        let plus = |sum: Option<u64>, value: Option<u64>| Some(sum?.saturating_add(value?));
        sum.resident_bytes = plus(sum.resident_bytes, resident_bytes);
        sum.swapped_bytes = plus(sum.swapped_bytes, swapped_bytes);
        sum.fds = plus(sum.fds, fds.ok().map(Option::unwrap_or_default));
    }

    /// The memory of a process, in RAM and swapped out. The file that is read anyway tells it in pages, whose size it does
    /// not tell.
    fn memory(&mut self, pid: u32) -> (Option<u64>, Option<u64>) {
        let file = match self.ask(Kind::Memory, pid, File::read) {
            Ok(Some(file)) => file,
            Ok(None) => return (Some(0), Some(0)),
            Err(Unknown) => return (None, None),
        };
        let (mut resident, mut swapped) = (None, None);
        for line in file.lines() {
            match line.keyed() {
                ("VmRSS", mut size) => resident = Some(size.bytes("resident memory").ok()),
                ("VmSwap", mut size) => swapped = Some(size.bytes("swapped memory").ok()),
                _ => {}
            }
        }
        match (resident, swapped) {
            // One of the kernel has no memory of its own.
            (None, None) => (Some(0), Some(0)),
            (resident, swapped) => (resident.flatten(), swapped.flatten()),
        }
    }

    /// What a process tells; nothing when it has ended since.
    fn ask<T>(
        &mut self,
        kind: Kind,
        pid: u32,
        ask: impl FnOnce(&str) -> Result<T, Failure>,
    ) -> Result<Option<T>, Unknown> {
        if !self.has_time || self.refused.contains(&kind) {
            return Err(Unknown);
        }
        let failure = match ask(&kind.path(pid)) {
            Ok(said) => return Ok(Some(said)),
            Err(failure) if failure.error == files::Error::NotFound => return Ok(None),
            Err(failure) => failure,
        };
        match failure.error {
            // The agent tells it, and the grants stay as they are until the plugin is configured anew.
            files::Error::Denied(_) => self.refused.push(kind),
            files::Error::Timeout => self.has_time = false,
            _ => {}
        }
        let is_told = self.refused.contains(&kind) || self.told.contains(&kind);
        if !is_told {
            self.told.push(kind);
            log::warn(&format!("{}; therefore {} missing", why(kind, failure), kind.loss()));
        }
        Err(Unknown)
    }

    /// Sets what the groups use.
    #[allow(clippy::cast_precision_loss, reason = "a hundredth of a second is exact for millions of years")]
    pub(crate) fn end(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        self.known = std::mem::take(&mut self.seen);
        if self.groups.is_empty() {
            return Ok(());
        }
        let boot_seconds = self.boot_seconds(tick)? as f64;
        for ((group, sum), &cpu_ticks) in self.groups.iter().zip(&self.sums).zip(&self.cpu_ticks) {
            let change = self.rates.change(tick, &group.label, [cpu_ticks]);
            if sum.is_uncertain {
                continue;
            }
            let labels = [("group", &*group.label)];
            let mut row = sample.labelled(&labels);
            row.set(GROUP_PROCESSES, sum.processes).set(GROUP_THREADS, sum.threads);
            row.set(GROUP_CPU, cpu_ticks as f64 / TICKS_PER_SECOND);
            let percent = change.map(|change| change.by[0] as f64 / TICKS_PER_SECOND / change.seconds * 100.0);
            row.set(GROUP_CPU_PERCENT, percent);
            row.set(GROUP_RESIDENT, sum.resident_bytes).set(GROUP_SWAPPED, sum.swapped_bytes);
            row.set(GROUP_VIRTUAL, sum.virtual_bytes).set(GROUP_FDS, sum.fds);
            row.set(GROUP_START, sum.oldest_ticks.map(|ticks| boot_seconds + ticks as f64 / TICKS_PER_SECOND));
        }
        Ok(())
    }

    fn boot_seconds(&mut self, tick: Tick) -> Result<u64, Error> {
        let now_ns = tick.monotonic_ns;
        if let Some((seconds, _)) = self.boot.filter(|(_, read_ns)| now_ns.saturating_sub(*read_ns) < BOOT_NS) {
            return Ok(seconds);
        }
        let file = File::read("/proc/stat")?;
        let (_, mut fields) = (file.lines().map(gauged_plugin::kernel::Line::keyed).find(|(key, _)| *key == "btime"))
            .ok_or_else(|| file.error("has no line btime"))?;
        let seconds = fields.number("when the host was booted")?;
        self.boot = Some((seconds, now_ns));
        Ok(seconds)
    }
}

fn why(kind: Kind, failure: Failure) -> String {
    match (kind, failure.error.clone(), Error::from(failure)) {
        (Kind::Fds, files::Error::TooLarge(names), _) => format!("a process has more than {names} open files"),
        (Kind::Fds, files::Error::Io(_), Error::Unavailable(why)) => {
            format!("{why} (to see the files of other users takes root, or CAP_SYS_PTRACE)")
        }
        (_, _, Error::Unavailable(why) | Error::Internal(why)) => why,
        _ => format!("a file {} cannot be read", kind.path('*')),
    }
}
