//! The module `process`: how many processes there are and in which state, and what those of configured groups use. The
//! totals come from what the kernel tells of itself; the rest from the files of each process, as far as it is granted.
//! The agent's own process, which no plugin may look into, is counted, and no more.

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
    /// Processes that there are, zombies included.
    PROCESSES: gauge "processes" in "{process}";
    /// Processes in this state: many that are uninterruptible wait for a device, many zombies for a faulty parent.
    IN_STATE: gauge "processes_in_state" in "{process}";
    /// Threads of all processes, those of the kernel included.
    THREADS: gauge "threads" in "{thread}";
    /// Threads that run or would run if there were a CPU for them.
    RUNNABLE: gauge "threads_runnable" in "{thread}";
    /// How many threads the kernel allows.
    THREADS_MAX: gauge "threads_max" in "{thread}";
    /// How many numbers there are for processes and threads, which is another limit to how many there can be.
    PIDS_MAX: gauge "pids_max" in "1";
    /// Processes of the group, without zombies; zero means that it is down.
    GROUP_PROCESSES: gauge "group_processes" in "{process}";
    /// Threads of the group.
    GROUP_THREADS: gauge "group_threads" in "{thread}";
    /// CPU time that processes of the group have used, of which what those had used that were there first; it does not fall when one of them ends.
    GROUP_CPU: counter "group_cpu_seconds_total" in "s";
    /// CPU time of the group since the tick before, as a share of that time: 100 is one CPU.
    GROUP_CPU_PERCENT: gauge "group_cpu_percent" in "%";
    /// Memory that the group has in RAM; what several of its processes share counts for each.
    GROUP_RESIDENT: gauge "group_resident_bytes" in "By";
    /// Memory of the group that is swapped out.
    GROUP_SWAPPED: gauge "group_swapped_bytes" in "By";
    /// Address space of the group, used or not.
    GROUP_VIRTUAL: gauge "group_virtual_bytes" in "By";
    /// Open file descriptors of the group; one that only rises is a leak.
    GROUP_FDS: gauge "group_open_fds" in "{descriptor}";
    /// When the oldest process of the group was started, in Unix time; rises when the service restarts.
    GROUP_START: gauge "group_start_time_seconds" in "s";
}

struct Process {
    members: Members,
    /// Whether the files of processes may be read; known after the first attempt.
    may_look: bool,
}

impl Plugin for Process {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "How many processes there are, and what those of configured groups use.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { members: Members::new(settings.groups()?), may_look: true })
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::read("/proc/*/stat", "count processes by state")];
        needs.extend(self.members.needs());
        needs
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        totals(sample)?;
        if !self.may_look {
            return Ok(());
        }
        match self.processes(tick, sample) {
            // The grants stay as they are until the plugin is configured anew.
            Err(Error::Denied(_)) => {
                self.may_look = false;
                Ok(())
            }
            done => done,
        }
    }
}

gauged_plugin::export!(Process);

/// `0.10 0.20 0.30 2/345 6789`, and two limits.
fn totals(sample: &mut Sample) -> Result<(), Error> {
    let file = File::read("/proc/loadavg")?;
    let tasks = file.fields().nth(3).ok_or_else(|| file.error("ends before the number of threads"))?;
    let number = |text: &str| text.parse::<u64>().ok();
    let (runnable, threads) = tasks
        .split_once('/')
        .and_then(|(runnable, threads)| number(runnable).zip(number(threads)))
        .ok_or_else(|| file.error(format_args!("{tasks} is not how many threads of how many run")))?;
    sample.set(THREADS, threads);
    sample.set(RUNNABLE, runnable);
    for (path, metric) in [("/proc/sys/kernel/threads-max", THREADS_MAX), ("/proc/sys/kernel/pid_max", PIDS_MAX)] {
        let limit = File::read_if_there(path)?.map(|file| file.number::<u64>()).transpose()?;
        sample.set(metric, limit);
    }
    Ok(())
}

impl Process {
    fn processes(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let mut pids: Vec<u32> = files::list("/proc")?.iter().filter_map(|name| name.parse().ok()).collect();
        pids.sort_unstable();

        let mut states = [0_u64; State::ALL.len()];
        self.members.begin();
        for pid in pids {
            let state = match File::read(&format!("/proc/{pid}/stat")) {
                Ok(file) => {
                    let stat = stat::parse(&file)?;
                    self.members.see(pid, &stat);
                    stat.state
                }
                // It has ended since.
                Err(failure) if failure.error == files::Error::NotFound => continue,
                // While it asks, the agent runs.
                Err(failure) if is_agent(&failure) => State::Running,
                // Those that may be looked at are not all there are, and nothing of that changes while the agent runs.
                Err(failure) if is_hidden(&failure) => {
                    self.may_look = false;
                    log::warn(HIDDEN);
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
        self.members.end(tick, sample)
    }
}

/// Whether a file is the agent's own, which no grant opens: what is told then is not a line of configuration.
fn is_agent(failure: &Failure) -> bool {
    matches!(&failure.error, files::Error::Denied(line) if !line.starts_with("read = "))
}

/// How the host tells `EPERM` and `EACCES`.
const REFUSED: [&str; 2] = ["(os error 1)", "(os error 13)"];

/// What the operator is told where the kernel refuses.
const HIDDEN: &str = "the kernel does not let the agent look at all processes (/proc is mounted with hidepid, or a security \
                      module forbids it); therefore only the totals are measured. Run the agent as root, or in the group \
                      of the mount option gid";

/// Whether the kernel does not let the agent look at a process.
fn is_hidden(failure: &Failure) -> bool {
    matches!(&failure.error, files::Error::Io(why) if REFUSED.iter().any(|refused| why.ends_with(refused)))
}

#[cfg(test)]
mod tests;
