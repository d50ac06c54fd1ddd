//! The module `process`: number and states of processes, and resource use of configured groups. Totals come from
//! system-wide files, everything else from the granted files of each process. The agent's own process, whose files no
//! plugin may read, is counted only.

mod members;
mod settings;
mod stat;

use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::File;
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, log};
use members::Members;
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
    /// Whether the files of processes may be read; true until an attempt fails.
    can_read_processes: bool,
}

impl Plugin for Process {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "States of processes, and resource use of configured groups.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { members: Members::new(settings.groups()?), can_read_processes: true })
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::read("/proc/*/stat", "count processes by state")];
        needs.extend(self.members.needs());
        needs
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        set_totals(sample)?;
        if !self.can_read_processes {
            return Ok(());
        }
        match self.collect_processes(tick, sample) {
            // Grants change only with a new instance.
            Err(Error::Denied(_)) => {
                self.can_read_processes = false;
                Ok(())
            }
            done => done,
        }
    }
}

gauged_plugin::export!(Process);

/// Sets the totals: the threads in `0.10 0.20 0.30 2/345 6789`, and two limits.
fn set_totals(sample: &mut Sample) -> Result<(), Error> {
    let file = File::read("/proc/loadavg")?;
    let tasks = file.fields().nth(3).ok_or_else(|| file.error("missing the number of threads"))?;
    let number = |text: &str| text.parse::<u64>().ok();
    let (runnable, threads) = tasks
        .split_once('/')
        .and_then(|(runnable, threads)| number(runnable).zip(number(threads)))
        .ok_or_else(|| file.error(format_args!("{tasks} is not runnable/total threads")))?;
    sample.set(THREADS, threads);
    sample.set(RUNNABLE, runnable);
    for (path, metric) in [("/proc/sys/kernel/threads-max", THREADS_MAX), ("/proc/sys/kernel/pid_max", PIDS_MAX)] {
        let limit = File::read_if_exists(path)?.map(|file| file.number::<u64>()).transpose()?;
        sample.set(metric, limit);
    }
    Ok(())
}

impl Process {
    fn collect_processes(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let mut pids: Vec<u32> = files::list("/proc")?.iter().filter_map(|name| name.parse().ok()).collect();
        pids.sort_unstable();

        let mut states = [0_u64; State::ALL.len()];
        self.members.begin_tick();
        for pid in pids {
            let state = match File::read(&format!("/proc/{pid}/stat")) {
                Ok(file) => {
                    let stat = stat::parse(&file)?;
                    self.members.add_process(pid, &stat);
                    stat.state
                }
                // The process has ended.
                Err(failure) if failure.error == files::Error::NotFound => continue,
                // The agent is running while it reads.
                Err(failure) if is_agent(&failure) => State::Running,
                // The readable processes are not all, and this does not change while the agent runs.
                Err(failure) if is_hidden(&failure) => {
                    self.can_read_processes = false;
                    log::warn(HIDDEN_WARNING);
                    return Ok(());
                }
                Err(failure) => return Err(failure.into()),
            };
            states[state as usize] += 1;
        }

        sample.set(PROCESSES, states.iter().sum::<u64>());
        for (state, count) in State::ALL.into_iter().zip(states) {
            sample.labelled(&[("state", state.name())]).set(IN_STATE, count);
        }
        self.members.end_tick(tick, sample)
    }
}

/// Whether a file is the agent's own, which no grant opens: the error is not a configuration line then.
fn is_agent(failure: &Failure) -> bool {
    matches!(&failure.error, files::Error::Denied(line) if !line.starts_with("read = "))
}

/// The host's texts for `EPERM` and `EACCES`.
const PERMISSION_ERRORS: [&str; 2] = ["(os error 1)", "(os error 13)"];

/// The warning if the kernel denies access to processes.
const HIDDEN_WARNING: &str = "the agent may not read all processes (/proc is mounted with hidepid, or a security module denies it), \
                      so only totals are measured; run the agent as root, or in the group of the mount option gid";

/// Whether the kernel denies the agent access to a process.
fn is_hidden(failure: &Failure) -> bool {
    matches!(&failure.error, files::Error::Io(why) if PERMISSION_ERRORS.iter().any(|denied| why.ends_with(denied)))
}

#[cfg(test)]
mod tests;
