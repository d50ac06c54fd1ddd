//! The module `process`: number and states of processes, and resource use of configured groups. Totals come from
//! system-wide files, everything else from the granted files of each process. The agent's own process, whose files no
//! plugin may read, is counted only.

mod members;
mod settings;
mod stat;

use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::{self, File};
use gauged_plugin::service::{Deadline, HIDDEN_PROCESSES, LeftOut, is_not_permitted};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick};
use members::{Members, error_text};
use settings::Settings;
use stat::State;

gauged_plugin::metrics! {
    module "process";
    /// Processes, including zombies.
    PROCESSES: gauge "processes" in "{process}";
    /// Processes in this state; many uninterruptible ones wait for a device, many zombies have a faulty parent.
    IN_STATE: gauge "processes_in_state" in "{process}";
    /// Threads of all processes, including those of the kernel.
    THREADS: gauge "threads" in "{thread}";
    /// Threads that run or wait for a CPU.
    RUNNABLE: gauge "threads_runnable" in "{thread}";
    /// Limit of threads.
    THREADS_MAX: gauge "threads_max" in "{thread}";
    /// Number of process and thread IDs, another limit of their count.
    PIDS_MAX: gauge "pids_max" in "1";
    /// Processes of the group without zombies; 0 means that it is down.
    GROUP_PROCESSES: gauge "group_processes" in "{process}";
    /// Threads of the group.
    GROUP_THREADS: gauge "group_threads" in "{thread}";
    /// CPU time used by the group's processes, including ended ones.
    GROUP_CPU: counter "group_cpu_seconds_total" in "s";
    /// CPU time of the group as a share of the time since the last tick: 100 is one CPU.
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
    left_out: LeftOut,
}

/// The number of processes between two looks at the clock, which takes as long as reading two.
const PROCESSES_PER_LOOK: usize = 128;

impl Plugin for Process {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "States of processes, and resource use of configured groups.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { members: Members::new(settings.groups()?), can_read_processes: true, left_out: LeftOut::default() })
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::read("/proc/*/stat", "count processes by state")];
        needs.extend(self.members.needs());
        needs
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let totals = self.set_totals(sample);
        if self.can_read_processes {
            match self.collect_processes(tick, sample) {
                // Grants change only with a new instance.
                Err(Error::Denied(_)) => self.can_read_processes = false,
                done => done?,
            }
        }
        // Without any metric the first failure is the plugin's.
        if sample.is_empty() { totals } else { Ok(()) }
    }
}

gauged_plugin::export!(Process);

/// Reads the threads that run and all threads from `0.10 0.20 0.30 2/345 6789`.
fn read_threads() -> Result<(u64, u64), Error> {
    let file = File::read("/proc/loadavg")?;
    let tasks = file.fields().nth(3).ok_or_else(|| file.error("missing the number of threads"))?;
    let number = |text: &str| text.parse::<u64>().ok();
    let threads = tasks.split_once('/').and_then(|(runnable, threads)| number(runnable).zip(number(threads)));
    Ok(threads.ok_or_else(|| file.error(format_args!("{tasks} is not runnable/total threads")))?)
}

/// Reads a limit; `None` if the kernel does not have it.
fn read_limit(path: &str) -> Result<Option<u64>, Error> {
    let number: Option<Result<u64, kernel::Error>> = File::read_if_exists(path)?.map(|file| file.number());
    Ok(number.transpose()?)
}

/// The processes, by state.
#[derive(Debug, Default)]
struct Census {
    states: [u64; State::ALL.len()],
    /// Why not all processes were read.
    cut: Option<String>,
}

impl Process {
    /// Sets the totals: the threads, and two limits. Each has its own file. The error is that of the first that failed.
    fn set_totals(&mut self, sample: &mut Sample) -> Result<(), Error> {
        let mut first = Ok(());
        let mut fail = |path: &str, error: Error| {
            let why = [&error_text(error.clone()), "; its metrics are missing"].concat();
            self.left_out.report(path, &why);
            if first.is_ok() {
                first = Err(error);
            }
        };
        match read_threads() {
            Ok((runnable, threads)) => {
                sample.set(THREADS, threads);
                sample.set(RUNNABLE, runnable);
            }
            Err(error) => fail("/proc/loadavg", error),
        }
        for (path, metric) in [("/proc/sys/kernel/threads-max", THREADS_MAX), ("/proc/sys/kernel/pid_max", PIDS_MAX)] {
            match read_limit(path) {
                Ok(limit) => sample.set(metric, limit),
                Err(error) => fail(path, error),
            }
        }
        first
    }

    fn collect_processes(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let deadline = Deadline::new(tick);
        let names = match files::list("/proc").map_err(Error::from) {
            Ok(names) => names,
            Err(error @ Error::Denied(_)) => return Err(error),
            Err(error) => {
                self.left_out.report("/proc", &[&error_text(error), "; the processes are missing"].concat());
                return Ok(());
            }
        };
        let mut pids: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        pids.sort_unstable();
        // Each /proc has a process 1, unless it is hidden from the agent, and most others with it.
        let census = if pids.first() == Some(&1) { self.read_processes(&pids, deadline)? } else { None };
        let Some(census) = census else {
            let why =
                ["the agent may not read all processes, so only totals are measured: ", HIDDEN_PROCESSES].concat();
            self.left_out.report("hidden processes", &why);
            return Ok(());
        };
        if let Some(why) = census.cut {
            sample.set(PROCESSES, pids.len());
            let missing = "; the states of processes and the groups are missing then";
            self.left_out.report("cut", &[&why, missing].concat());
            return Ok(());
        }
        sample.set(PROCESSES, census.states.iter().sum::<u64>());
        for (state, count) in State::ALL.into_iter().zip(census.states) {
            if state != State::Unknown || count > 0 {
                sample.labelled(&[("state", state.name())]).set(IN_STATE, count);
            }
        }
        self.members.end_tick(tick, sample);
        Ok(())
    }

    /// Reads the processes, in the order of their PIDs. `None` if the agent may not read those of other users.
    fn read_processes(&mut self, pids: &[u32], deadline: Deadline) -> Result<Option<Census>, Error> {
        let mut census = Census::default();
        self.members.begin_tick();
        for (at, &pid) in pids.iter().enumerate() {
            if at % PROCESSES_PER_LOOK == PROCESSES_PER_LOOK - 1 && deadline.has_passed() {
                let count = pids.len();
                census.cut =
                    Some(format!("the time limit is too short for {count} processes; raise `timeout` and `interval`"));
                break;
            }
            let path = format!("/proc/{pid}/stat");
            let state = match files::read_text(&path) {
                Ok(text) => match stat::parse(&text) {
                    Some(stat) => {
                        self.members.add_process(pid, &stat);
                        stat.state.unwrap_or(State::Unknown)
                    }
                    // The process ended between opening and reading its file.
                    None if text.trim_ascii().is_empty() => continue,
                    None => {
                        let why = [&path, " has no name in parentheses; its process counts for no state and no group"];
                        self.left_out.report("malformed", &why.concat());
                        State::Unknown
                    }
                },
                // Process 1 never ends.
                Err(failure) if pid == 1 && (has_ended(&failure) || is_not_permitted(&failure)) => return Ok(None),
                Err(failure) if has_ended(&failure) => continue,
                // The agent is running while it reads.
                Err(failure) if is_agent(&failure) => State::Running,
                Err(failure) if failure.error == files::Error::Timeout => {
                    census.cut = Some(error_text(failure.into()));
                    break;
                }
                Err(failure) => match Error::from(failure) {
                    error @ Error::Denied(_) => return Err(error),
                    error => {
                        let why = "; the states of such processes, and the groups that they may belong to, are missing";
                        self.left_out.report("unreadable", &[&error_text(error), why].concat());
                        self.members.add_unreadable_process();
                        State::Unknown
                    }
                },
            };
            census.states[state as usize] += 1;
        }
        Ok(Some(census))
    }
}

/// Whether a process ended before its file was opened or read (`ESRCH`).
pub(crate) fn has_ended(failure: &Failure) -> bool {
    match &failure.error {
        files::Error::NotFound => true,
        files::Error::Io(why) => why.ends_with("(os error 3)"),
        _ => false,
    }
}

/// Whether a file is the agent's own, which no grant opens: the error is not a configuration line then.
fn is_agent(failure: &Failure) -> bool {
    matches!(&failure.error, files::Error::Denied(line) if !line.starts_with("read = "))
}

#[cfg(test)]
mod tests;
