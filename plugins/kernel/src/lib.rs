//! The module `kernel`: what the kernel as a whole counts and what its limits are, from `/proc/stat`, `/proc/vmstat`, some
//! settings under `/proc/sys`, and the queues between network cards and protocols. What of it a kernel or a machine does
//! not have is left out. Times of CPUs and sizes of memory are the agent's own to tell.

mod softnet;

use gauged_plugin::kernel::{self, Fields, File};
use gauged_plugin::{About, Descriptor, Error, Plugin, Sample, Tick, percent};
use softnet::Softnet;

gauged_plugin::metrics! {
    module "kernel";
    /// Open files of all processes together.
    FILES_ALLOCATED: gauge "files_allocated" in "{file}";
    /// How many open files there may be.
    FILES_MAX: gauge "files_max" in "{file}";
    /// How many more files can be opened.
    FILES_LEFT: gauge "files_left" in "{file}";
    /// Inodes that the kernel keeps in memory.
    INODES: gauge "inodes" in "{inode}";
    /// Of those, the ones that nobody uses.
    INODES_FREE: gauge "inodes_free" in "{inode}";
    /// Switches from one task to another.
    CONTEXT_SWITCHES: counter "context_switches_total" in "{switch}";
    /// Interrupts that were served.
    INTERRUPTS: counter "interrupts_total" in "{interrupt}";
    /// Second halves of interrupts that were run.
    SOFTIRQS: counter "softirqs_total" in "{interrupt}";
    /// Second halves of interrupts that were run, by what they were for.
    SOFTIRQS_BY_VECTOR: counter "softirqs_by_vector_total" in "{interrupt}";
    /// Processes and threads that were started.
    FORKS: counter "forks_total" in "{process}";
    /// Threads that run or wait for a CPU: more than there are CPUs means that some wait.
    RUNNING: gauge "threads_running" in "{thread}";
    /// Threads that wait for a disk or the like and cannot be interrupted.
    BLOCKED: gauge "threads_blocked" in "{thread}";
    /// Threads that there are, of all processes together.
    THREADS: gauge "threads" in "{thread}";
    /// How many threads there may be.
    THREADS_MAX: gauge "threads_max" in "{thread}";
    /// The number at which those of processes and threads begin anew, and so a limit of how many there may be.
    PID_MAX: gauge "pid_max" in "{thread}";
    /// When the host was started, in seconds since the Unix epoch.
    BOOT_TIME: gauge "boot_time_seconds" in "s";
    /// Random bits that the kernel has in store; kernels since 5.18 always have 256.
    ENTROPY_AVAILABLE: gauge "entropy_available_bits" in "bit";
    /// How many random bits it can store.
    ENTROPY_POOL: gauge "entropy_pool_bits" in "bit";
    /// Accesses to memory for which the kernel had to find or make a page.
    PAGE_FAULTS: counter "page_faults_total" in "{fault}";
    /// Accesses to memory that had to wait until a page was read from a disk.
    MAJOR_PAGE_FAULTS: counter "major_page_faults_total" in "{fault}";
    /// Bytes read from disks into memory.
    PAGED_IN: counter "paged_in_bytes_total" in "By";
    /// Bytes written from memory to disks.
    PAGED_OUT: counter "paged_out_bytes_total" in "By";
    /// Pages read back from swap: memory is short, and somebody waits for them.
    SWAPPED_IN: counter "swapped_in_pages_total" in "{page}";
    /// Pages written to swap: memory is short.
    SWAPPED_OUT: counter "swapped_out_pages_total" in "{page}";
    /// Processes killed because memory was exhausted, that of the host or of a control group.
    OOM_KILLS: counter "oom_kills_total" in "{process}";
    /// Connections that the firewall keeps track of.
    CONNTRACK: gauge "conntrack_entries" in "{connection}";
    /// How many connections it can keep track of; packets of further ones are dropped.
    CONNTRACK_MAX: gauge "conntrack_max" in "{connection}";
    /// Connections that the firewall keeps track of as a share of those that it can.
    CONNTRACK_PERCENT: gauge "conntrack_used_percent" in "%";
    /// Packets taken from network devices.
    SOFTNET_PROCESSED: counter "softnet_processed_total" in "{packet}";
    /// Packets dropped because the queue of a CPU was full.
    SOFTNET_DROPPED: counter "softnet_dropped_total" in "{packet}";
    /// Times that packets were left for later because the time or the number allowed at once was used up.
    SOFTNET_SQUEEZED: counter "softnet_times_squeezed_total" in "{event}";
    /// Times that a CPU was woken to take packets over from another one.
    SOFTNET_RPS: counter "softnet_received_rps_total" in "{event}";
    /// Packets dropped because one connection took too much of the queue of a CPU.
    SOFTNET_FLOW_LIMIT: counter "softnet_flow_limit_total" in "{packet}";
    /// Packets that wait in the queues of CPUs.
    SOFTNET_BACKLOG: gauge "softnet_backlog" in "{packet}";
}

/// Second halves of interrupts, in the kernel's order, by the names that it has for them.
const VECTORS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu"];

/// What `/proc/vmstat` calls it, which metric it is, and in which unit it is told.
const VMSTAT: [(&str, Descriptor, u64); 7] = [
    ("pgpgin", PAGED_IN, 1024),
    ("pgpgout", PAGED_OUT, 1024),
    ("pswpin", SWAPPED_IN, 1),
    ("pswpout", SWAPPED_OUT, 1),
    ("pgfault", PAGE_FAULTS, 1),
    ("pgmajfault", MAJOR_PAGE_FAULTS, 1),
    ("oom_kill", OOM_KILLS, 1),
];

/// Files that hold one number which hardly ever changes, and which metric it is.
const LIMITS: [(&str, Descriptor); 4] = [
    ("/proc/sys/kernel/threads-max", THREADS_MAX),
    ("/proc/sys/kernel/pid_max", PID_MAX),
    ("/proc/sys/kernel/random/poolsize", ENTROPY_POOL),
    ("/proc/sys/net/netfilter/nf_conntrack_max", CONNTRACK_MAX),
];

/// How long what was read of them counts: opening a file there costs the kernel more than all of `/proc/stat`.
const LIMITS_NS: u64 = 60_000_000_000;

/// The configuration.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Whether the queues of network packets are told by CPU, instead of all together.
    softnet_per_cpu: bool,
}

struct Kernel {
    settings: Settings,
    softnet: Softnet,
    limits: [Option<u64>; LIMITS.len()],
    /// When they were read.
    limits_ns: Option<u64>,
}

impl Plugin for Kernel {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "What the kernel counts, and what its limits are.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings, softnet: Softnet::default(), limits: [None; LIMITS.len()], limits_ns: None })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        stat(&File::read("/proc/stat")?, sample)?;
        if let Some(file) = File::read_if_there("/proc/vmstat")? {
            vmstat(&file, sample)?;
        }
        if let Some(file) = File::read_if_there("/proc/sys/fs/file-nr")? {
            let [allocated, _unused, max] = file.fields().numbers::<u64, 3>("open files")?;
            sample.set(FILES_ALLOCATED, allocated);
            sample.set(FILES_MAX, max);
            sample.set(FILES_LEFT, max.saturating_sub(allocated));
        }
        if let Some(file) = File::read_if_there("/proc/sys/fs/inode-nr")? {
            let [all, free] = file.fields().numbers::<u64, 2>("inodes")?;
            sample.set(INODES, all);
            sample.set(INODES_FREE, free);
        }
        if let Some(file) = File::read_if_there("/proc/loadavg")? {
            sample.set(THREADS, threads(&file)?);
        }
        sample.set(ENTROPY_AVAILABLE, number("/proc/sys/kernel/random/entropy_avail")?);
        self.limits(tick, sample)?;
        let [.., conntrack_max] = self.limits;
        let conntrack = number("/proc/sys/net/netfilter/nf_conntrack_count")?;
        sample.set(CONNTRACK, conntrack);
        sample.set(CONNTRACK_PERCENT, conntrack.zip(conntrack_max).and_then(|(part, whole)| percent(part, whole)));
        if let Some(file) = File::read_if_there("/proc/1/net/softnet_stat")? {
            self.softnet.read(&file)?;
            self.softnet.measured(sample, self.settings.softnet_per_cpu);
        }
        Ok(())
    }
}

gauged_plugin::export!(Kernel);

impl Kernel {
    fn limits(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        if self.limits_ns.is_none_or(|read_ns| tick.monotonic_ns.saturating_sub(read_ns) >= LIMITS_NS) {
            for ((path, _), limit) in LIMITS.iter().zip(&mut self.limits) {
                *limit = number(path)?;
            }
            self.limits_ns = Some(tick.monotonic_ns);
        }
        for ((_, metric), limit) in LIMITS.iter().zip(self.limits) {
            sample.set(*metric, limit);
        }
        Ok(())
    }
}

fn stat(file: &File, sample: &mut Sample) -> Result<(), kernel::Error> {
    for line in file.lines() {
        let (key, mut values) = line.keyed();
        let metric = match key {
            "ctxt" => CONTEXT_SWITCHES,
            // Only the sum is of interest, of a line that may be long.
            "intr" => INTERRUPTS,
            "processes" => FORKS,
            "procs_running" => RUNNING,
            "procs_blocked" => BLOCKED,
            "btime" => BOOT_TIME,
            "softirq" => {
                softirqs(values, sample)?;
                continue;
            }
            _ => continue,
        };
        sample.set(metric, values.number::<u64>(key)?);
    }
    // Whatever else is missing, a kernel that has no such count is none.
    if sample.is_empty() { Err(file.error("has none of the lines ctxt, intr and processes")) } else { Ok(()) }
}

/// All, then each. A kernel that knows others does not say which.
fn softirqs(mut values: Fields<'_>, sample: &mut Sample) -> Result<(), kernel::Error> {
    sample.set(SOFTIRQS, values.number::<u64>("softirq")?);
    if values.clone().count() != VECTORS.len() {
        return Ok(());
    }
    for vector in VECTORS {
        sample.labelled(&[("vector", vector)]).set(SOFTIRQS_BY_VECTOR, values.number::<u64>(vector)?);
    }
    Ok(())
}

fn vmstat(file: &File, sample: &mut Sample) -> Result<(), kernel::Error> {
    let mut left = VMSTAT.len();
    for line in file.lines() {
        let (key, mut values) = line.keyed();
        let Some((_, metric, unit)) = VMSTAT.iter().find(|(name, ..)| *name == key) else { continue };
        sample.set(*metric, values.number::<u64>(key)?.saturating_mul(*unit));
        left -= 1;
        if left == 0 {
            break;
        }
    }
    Ok(())
}

/// `0.05 0.10 0.15 2/1234 5678`: those that run, of all.
fn threads(file: &File) -> Result<u64, kernel::Error> {
    let word = file.fields().nth(3).ok_or_else(|| file.error("ends before the number of threads"))?;
    let all = word.split_once('/').and_then(|(_, all)| kernel::Number::parse(all));
    all.ok_or_else(|| file.error(format_args!("{word} is not a number of threads")))
}

fn number(path: &str) -> Result<Option<u64>, Error> {
    let Some(file) = File::read_if_there(path)? else { return Ok(None) };
    Ok(Some(file.number()?))
}

#[cfg(test)]
mod tests;
