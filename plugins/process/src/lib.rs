//! The module `process`: number and states of processes, and resource use of configured groups. Totals come from
//! system-wide files, everything else from the granted files of each process. The agent's own process, whose files no
//! plugin may read, is counted only.

mod members;
mod process_files;
mod settings;
mod stat;

use gauged_plugin::bounds::COUNT;
use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::ThreadCounts;
use gauged_plugin::service::Deadline;
use gauged_plugin::skipped::{Cause as _, Reason, Skip, Skipped};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, about};
use members::{Members, Observed};
use settings::{SETTINGS, Settings};
use stat::{STATES, State};

gauged_plugin::metrics! {
    module "process";
    /// Processes, including zombies.
    PROCESSES: gauge "processes" in "{process}";
    /// Processes in this state; many uninterruptible ones wait for a device, many zombies have a faulty parent.
    IN_STATE: gauge "processes_in_state" in "{process}" by {"state": "`running`, `sleeping`, `uninterruptible`, `stopped`, `traced`, `zombie`, `idle`, `other` or `unknown`"};
    /// Threads of all processes, including those of the kernel.
    THREADS: gauge "threads" in "{thread}";
    /// Threads that run or wait for a CPU.
    RUNNABLE: gauge "threads_runnable" in "{thread}";
    /// Limit of threads.
    THREADS_MAX: gauge "threads_max" in "{thread}";
    /// Number of process and thread IDs, another limit of their count.
    PIDS_MAX: gauge "pids_max" in "1";
    module "process" by {"group": "Name of the group"};
    /// Processes of the group without zombies; 0 means that it is down.
    GROUP_PROCESSES: gauge "group_processes" in "{process}";
    /// Threads of the group.
    GROUP_THREADS: gauge "group_threads" in "{thread}";
    /// CPU time used by the group's processes, including ended ones.
    GROUP_CPU: counter "group_cpu_seconds_total" in "s";
    /// CPU time of the group as a share of the time since the last tick: 100 % is one CPU.
    GROUP_CPU_PERCENT: gauge "group_cpu_percent" in "%";
    /// Resident memory of the group; memory shared by several of its processes counts for each.
    GROUP_RESIDENT: gauge "group_resident_bytes" in "By";
    /// Swapped-out memory of the group.
    GROUP_SWAPPED: gauge "group_swapped_bytes" in "By";
    /// Address space of the group, used or not.
    GROUP_VIRTUAL: gauge "group_virtual_bytes" in "By";
    /// Open file descriptors of the group; a steady rise is a leak.
    GROUP_FDS: gauge "group_open_fds" in "{descriptor}";
    /// Start time of the oldest process of the group, in Unix time; rises when the service restarts.
    GROUP_START: gauge "group_start_time_seconds" in "s";
}

struct Process {
    members: Members,
    /// Whether the files of processes are granted; true until an attempt is denied.
    can_read_processes: bool,
    skipped: Skipped,
}

/// The process that every host has.
const FIRST_PID: u32 = 1;

/// The files of all processes, for reports.
pub(crate) const EVERY_STAT: &str = "/proc/*/stat";

/// What is left out if not all processes were read.
const ALL_BUT_TOTALS: &str = "the states of processes, and the groups";

/// What is left out with a process of which nothing is known.
const LOST_OF_PROCESS: &str = "the states of such processes, and the groups that they may belong to";

/// The most bytes of such a file: 52 numbers, and a name of at most 64 bytes.
const MAX_STAT_BYTES: u32 = 4 << 10;

/// The file with the numbers of threads.
const LOADAVG: &str = "/proc/loadavg";

/// The number of processes that are read together, between two looks at the clock: few calls of the agent for all, and little
/// memory.
const PROCESSES_PER_BATCH: usize = 256;

impl Plugin for Process {
    const ABOUT: About = about!("States of processes, and resource use of configured groups.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { members: Members::new(settings.groups()?), can_read_processes: true, skipped: Skipped::default() })
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::read("/proc/*/stat", "count processes by state")];
        needs.extend(self.members.needs());
        needs
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        self.set_totals(sample);
        if self.can_read_processes {
            match self.collect_processes(tick, sample) {
                // Grants change only with a new instance.
                Err(Error::Denied(_)) => self.can_read_processes = false,
                done => done?,
            }
        }
        self.skipped.finish(sample)
    }
}

gauged_plugin::export!(Process);

/// The processes, by state.
#[derive(Debug, Default)]
struct Census {
    states: [u64; STATES.len()],
    /// Whether the reading ended before all processes were read.
    is_cut: bool,
}

impl Process {
    /// Sets the totals: the threads, and two limits. Each has its own file.
    fn set_totals(&mut self, sample: &mut Sample) {
        let skipped = &mut self.skipped;
        if let Some(file) = skipped.read(LOADAVG, "threads and threads_runnable") {
            let ThreadCounts { runnable, all } = file.thread_counts();
            for (metric, count) in [(THREADS, all), (RUNNABLE, runnable)] {
                sample.set(metric, skipped.keep(count, metric.name));
            }
        }
        for (path, metric) in [("/proc/sys/kernel/threads-max", THREADS_MAX), ("/proc/sys/kernel/pid_max", PIDS_MAX)] {
            let file = skipped.read(path, metric.name);
            let number = file.and_then(|file| skipped.keep(file.fields().bounded::<u64>("value", &COUNT), metric.name));
            sample.set(metric, number);
        }
    }

    fn collect_processes(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let deadline = Deadline::new(tick);
        let names = match files::list("/proc") {
            Ok(names) => names,
            Err(failure) if matches!(failure.error, files::Error::Denied(_)) => return Err(failure.into()),
            Err(failure) => {
                failure.skip().report("the processes");
                return Ok(());
            }
        };
        let mut pids: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        pids.sort_unstable();
        // Each /proc has a process 1, unless it is hidden from the agent, and most others with it.
        if pids.first() != Some(&FIRST_PID) {
            pids.insert(0, FIRST_PID);
        }
        let census = match self.read_processes(&pids, tick, deadline)? {
            Ok(census) => census,
            // One line is enough where nothing else is measured.
            Err(hidden) if sample.is_empty() => {
                drop(self.skipped.finish(sample));
                return Err(Error::Unavailable(format!("{}: {}", hidden.path, hidden.why)));
            }
            Err(hidden) => {
                hidden.report(ALL_BUT_TOTALS);
                return Ok(());
            }
        };
        if census.is_cut {
            sample.set(PROCESSES, pids.len());
            return Ok(());
        }
        sample.set(PROCESSES, census.states.iter().sum::<u64>());
        for ((state, _, name), count) in STATES.into_iter().zip(census.states) {
            if state != State::Unknown || count > 0 {
                sample.labelled(&[("state", name)]).set(IN_STATE, count);
            }
        }
        self.members.end_tick(tick, sample);
        Ok(())
    }

    /// Reads the processes, in the order of their PIDs; or the part that is left out if the agent may not read those of other
    /// users.
    fn read_processes(&mut self, pids: &[u32], tick: Tick, deadline: Deadline) -> Result<Result<Census, Skip>, Error> {
        let mut census = Census::default();
        self.members.begin_tick(tick);
        for batch in pids.chunks(PROCESSES_PER_BATCH) {
            if batch.first() != pids.first() && deadline.has_passed() {
                let why = "there is too little time for so many processes";
                let skip = Skip { reason: Reason::Truncated, ..Skip::malformed("/proc", "", why) };
                skip.with_remedy("raise `timeout` and `interval`").report(ALL_BUT_TOTALS);
                census.is_cut = true;
                break;
            }
            let paths: Vec<String> = batch.iter().map(|pid| format!("/proc/{pid}/stat")).collect();
            let contents = files::read_many(&paths, MAX_STAT_BYTES);
            let texts: Vec<_> = contents.iter().map(|read| read.as_ref().map(|bytes| files::text(bytes))).collect();
            let mut processes = Vec::with_capacity(batch.len());
            for (&pid, text) in batch.iter().zip(&texts) {
                let (state, process) = match text {
                    Ok(text) => match stat::parse(text) {
                        Some(stat) => (Some(stat.state.unwrap_or(State::Unknown)), Observed::Read(stat)),
                        // The process ended between opening and reading its file.
                        None if text.trim_ascii().is_empty() => (None, Observed::Kept),
                        None => {
                            let why = format!("/proc/{pid}/stat has no name in parentheses");
                            Skip::malformed(EVERY_STAT, "", why).report(LOST_OF_PROCESS);
                            (Some(State::Unknown), Observed::Unreadable)
                        }
                    },
                    // Process 1 never ends.
                    Err(failure) if pid == FIRST_PID && is_hidden(failure) => {
                        return Ok(Err(match &failure.error {
                            files::Error::NotPermitted(error) => {
                                Skip::not_permitted("/proc", &error.text, &error.remedy)
                            }
                            _ => Skip::not_permitted("/proc", "has no process 1", ""),
                        }));
                    }
                    Err(failure) if has_ended(failure) => (None, Observed::Kept),
                    // The agent is running while it reads.
                    Err(failure) if matches!(failure.error, files::Error::Forbidden(_)) => {
                        (Some(State::Running), Observed::Agent)
                    }
                    Err(failure) if failure.error == files::Error::Timeout => {
                        Skip { path: EVERY_STAT.to_owned(), ..failure.skip() }.report(ALL_BUT_TOTALS);
                        census.is_cut = true;
                        break;
                    }
                    Err(failure) if matches!(failure.error, files::Error::Denied(_)) => {
                        return Err((*failure).clone().into());
                    }
                    Err(failure) => {
                        Skip { path: EVERY_STAT.to_owned(), ..failure.skip() }.report(LOST_OF_PROCESS);
                        (Some(State::Unknown), Observed::Unreadable)
                    }
                };
                if let Some(state) = state {
                    census.states[state as usize] += 1;
                }
                processes.push((pid, process));
            }
            self.members.add_processes(&processes);
            if census.is_cut {
                break;
            }
        }
        Ok(Ok(census))
    }
}

/// Whether a process ended before its file was opened or read.
pub(crate) fn has_ended(failure: &Failure) -> bool {
    failure.error == files::Error::NotFound
}

/// Whether the kernel hides a process from the agent.
fn is_hidden(failure: &Failure) -> bool {
    matches!(failure.error, files::Error::NotFound | files::Error::NotPermitted(_))
}

#[cfg(test)]
mod tests;
