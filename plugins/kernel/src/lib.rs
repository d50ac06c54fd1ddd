//! The module `kernel`: system-wide counters and limits of the kernel, from `/proc/stat`, `/proc/vmstat`, `/proc/sys` and
//! `/proc/1/net/softnet_stat`, and the state of its clock. Metrics that a kernel or machine does not have are left out. CPU times and memory are the
//! agent's own modules.

mod clock;
mod softnet;

use gauged_plugin::bounds::COUNT;
use gauged_plugin::descriptor::join;
use gauged_plugin::kernel::{self, Fields, File};
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{About, Descriptor, Error, Plugin, Sample, Tick, about, percent};
use softnet::Softnet;

gauged_plugin::metrics! {
    module "kernel" since boot;
    /// Open files of all processes.
    FILES_ALLOCATED: gauge "files_allocated" in "{file}";
    /// Limit of open files.
    FILES_MAX: gauge "files_max" in "{file}";
    /// Open files left until the limit.
    FILES_LEFT: gauge "files_left" in "{file}";
    /// Inodes in kernel memory.
    INODES: gauge "inodes" in "{inode}";
    /// Unused inodes in kernel memory.
    INODES_FREE: gauge "inodes_free" in "{inode}";
    /// Context switches.
    CONTEXT_SWITCHES: counter "context_switches_total" in "{switch}";
    /// Interrupts served.
    INTERRUPTS: counter "interrupts_total" in "{interrupt}";
    /// Software interrupts run.
    SOFTIRQS: counter "softirqs_total" in "{interrupt}";
    /// Software interrupts run, by vector.
    SOFTIRQS_BY_VECTOR: counter "softirqs_by_vector_total" in "{interrupt}" by {"vector": "Kind of the interrupt, such as `net_rx`"};
    /// Processes and threads started.
    FORKS: counter "forks_total" in "{process}";
    /// Threads that run or wait for a CPU; more than CPUs means that some wait.
    RUNNING: gauge "threads_running" in "{thread}";
    /// Threads in uninterruptible sleep, as while waiting for a disk.
    BLOCKED: gauge "threads_blocked" in "{thread}";
    /// Threads of all processes.
    THREADS: gauge "threads" in "{thread}";
    /// Limit of threads.
    THREADS_MAX: gauge "threads_max" in "{thread}";
    /// Upper bound of process and thread IDs, and so a limit of their count.
    PID_MAX: gauge "pid_max" in "{thread}";
    /// Boot time, in seconds since the Unix epoch.
    BOOT_TIME: gauge "boot_time_seconds" in "s";
    /// Random bits available; always 256 bits since Linux 5.18.
    ENTROPY_AVAILABLE: gauge "entropy_available_bits" in "bit";
    /// Size of the random pool.
    ENTROPY_POOL: gauge "entropy_pool_bits" in "bit";
    /// Page faults: memory accesses for which the kernel had to find or make a page.
    PAGE_FAULTS: counter "page_faults_total" in "{fault}";
    /// Major page faults: memory accesses that waited for a read from disk.
    MAJOR_PAGE_FAULTS: counter "major_page_faults_total" in "{fault}";
    /// Bytes read from disks into memory.
    PAGED_IN: counter "paged_in_bytes_total" in "By";
    /// Bytes written from memory to disks.
    PAGED_OUT: counter "paged_out_bytes_total" in "By";
    /// Pages read back from swap: memory is short, and processes wait for them.
    SWAPPED_IN: counter "swapped_in_pages_total" in "{page}";
    /// Pages written to swap: memory is short.
    SWAPPED_OUT: counter "swapped_out_pages_total" in "{page}";
    /// Processes killed for lack of memory, in the host or a control group.
    OOM_KILLS: counter "oom_kills_total" in "{process}";
    /// Tasks found hanging: in uninterruptible sleep for longer than kernel.hung_task_timeout_secs; since Linux 6.14.
    HUNG_TASKS: counter "hung_tasks_total" in "{task}";
    /// Connections tracked by the firewall.
    CONNTRACK: gauge "conntrack_entries" in "{connection}";
    /// Limit of tracked connections; packets of further ones are dropped.
    CONNTRACK_MAX: gauge "conntrack_max" in "{connection}";
    /// Tracked connections as a share of the limit.
    CONNTRACK_PERCENT: gauge "conntrack_used_percent" in "%";
    /// Packets received from network devices.
    SOFTNET_PROCESSED: counter "softnet_processed_total" in "{packet}" by {"cpu": "Number of the CPU, with `softnet_per_cpu`"};
    /// Packets dropped because a CPU's queue was full.
    SOFTNET_DROPPED: counter "softnet_dropped_total" in "{packet}" by {"cpu": "Number of the CPU, with `softnet_per_cpu`"};
    /// Times that packets were deferred because the budget of time or packets was used up.
    SOFTNET_SQUEEZED: counter "softnet_times_squeezed_total" in "{event}" by {"cpu": "Number of the CPU, with `softnet_per_cpu`"};
    /// Times that a CPU was woken to process packets of another CPU.
    SOFTNET_RPS: counter "softnet_received_rps_total" in "{event}" by {"cpu": "Number of the CPU, with `softnet_per_cpu`"};
    /// Packets dropped because one connection filled too much of a CPU's queue.
    SOFTNET_FLOW_LIMIT: counter "softnet_flow_limit_total" in "{packet}" by {"cpu": "Number of the CPU, with `softnet_per_cpu`"};
    /// Packets waiting in the queues of CPUs.
    SOFTNET_BACKLOG: gauge "softnet_backlog" in "{packet}" by {"cpu": "Number of the CPU, with `softnet_per_cpu`"};
}

/// All metrics: those of files, then those of the clock.
const ALL_METRICS: &[Descriptor] = &join::<{ METRICS.len() + clock::METRICS.len() }>(&[METRICS, clock::METRICS]);

/// The vectors of software interrupts, in the kernel's order.
const VECTORS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu"];

/// Keys of a file, their metrics, and factors to the metrics' units.
type Keys = [(&'static str, Descriptor, u64); 7];

/// Those of `/proc/stat`. The first number of `intr` is the sum; the rest of the line may be long.
const STAT: Keys = [
    ("intr", INTERRUPTS, 1),
    ("ctxt", CONTEXT_SWITCHES, 1),
    ("btime", BOOT_TIME, 1),
    ("processes", FORKS, 1),
    ("procs_running", RUNNING, 1),
    ("procs_blocked", BLOCKED, 1),
    ("softirq", SOFTIRQS, 1),
];

/// Those of `/proc/vmstat`.
const VMSTAT: Keys = [
    ("pgpgin", PAGED_IN, 1024),
    ("pgpgout", PAGED_OUT, 1024),
    ("pswpin", SWAPPED_IN, 1),
    ("pswpout", SWAPPED_OUT, 1),
    ("pgfault", PAGE_FAULTS, 1),
    ("pgmajfault", MAJOR_PAGE_FAULTS, 1),
    ("oom_kill", OOM_KILLS, 1),
];

/// Files with one rarely changing number, and their metrics.
const LIMITS: [(&str, Descriptor); 4] = [
    ("/proc/sys/kernel/threads-max", THREADS_MAX),
    ("/proc/sys/kernel/pid_max", PID_MAX),
    ("/proc/sys/kernel/random/poolsize", ENTROPY_POOL),
    ("/proc/sys/net/netfilter/nf_conntrack_max", CONNTRACK_MAX),
];

/// The lifetime of the limits: opening a file under `/proc/sys` costs the kernel more than reading `/proc/stat`.
const LIMITS_MAX_AGE_NS: u64 = 60_000_000_000;

gauged_plugin::settings! {
    /// Whether the `softnet` metrics are per CPU, with the label `cpu`, or of all together.
    "softnet_per_cpu": "boolean" = "false";
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Whether the softnet metrics are per CPU.
    softnet_per_cpu: bool,
}

struct Kernel {
    settings: Settings,
    softnet: Softnet,
    limits: [Option<u64>; LIMITS.len()],
    /// The time of their last read.
    limits_ns: Option<u64>,
    skipped: Skipped,
}

impl Plugin for Kernel {
    const ABOUT: About = about!("Counters and limits of the kernel.", settings: SETTINGS, metrics: ALL_METRICS);
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        let (softnet, skipped) = (Softnet::default(), Skipped::default());
        Ok(Self { settings, softnet, limits: [None; LIMITS.len()], limits_ns: None, skipped })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let skipped = &mut self.skipped;
        if let Some(file) = skipped.read("/proc/stat", "interrupts, switches, forks and running threads") {
            // Every kernel has at least one of these.
            if !set_keys(&STAT, &file, sample, skipped) {
                let error = file.error("has none of the lines ctxt, intr and processes");
                skipped.lose(error, "all of its counters");
            }
        }
        if let Some(file) = skipped.read("/proc/vmstat", "page faults and swapping") {
            set_keys(&VMSTAT, &file, sample, skipped);
        }
        if let Some(file) = skipped.read("/proc/sys/fs/file-nr", "open files") {
            let mut fields = file.fields();
            let allocated = skipped.keep(fields.bounded::<u64>("open files", &COUNT), FILES_ALLOCATED.name);
            let max = fields.nth(1).and_then(kernel::Number::parse).and_then(|max: u64| COUNT.check(max));
            let max = skipped.keep(max.ok_or_else(|| file.error("has no limit of open files")), FILES_MAX.name);
            sample.set(FILES_ALLOCATED, allocated);
            sample.set(FILES_MAX, max);
            sample.set(FILES_LEFT, max.zip(allocated).map(|(max, allocated)| max.saturating_sub(allocated)));
        }
        if let Some(file) = skipped.read("/proc/sys/fs/inode-nr", "inodes") {
            let mut fields = file.fields();
            for metric in [INODES, INODES_FREE] {
                // The kernel sums these over CPUs while they change, so one can be negative for a moment.
                let number = skipped.keep(fields.number::<i64>("inodes"), metric.name);
                sample.set(metric, number.and_then(|number| u64::try_from(number).ok()));
            }
        }
        if let Some(file) = skipped.read("/proc/loadavg", THREADS.name) {
            sample.set(THREADS, skipped.keep(file.thread_counts().all, THREADS.name));
        }
        set_number("/proc/sys/kernel/random/entropy_avail", ENTROPY_AVAILABLE, sample, skipped);
        set_number("/proc/sys/kernel/hung_task_detect_count", HUNG_TASKS, sample, skipped);
        self.set_limits(tick, sample);
        let [.., conntrack_max] = self.limits;
        let skipped = &mut self.skipped;
        let conntrack = set_number("/proc/sys/net/netfilter/nf_conntrack_count", CONNTRACK, sample, skipped);
        sample.set(CONNTRACK_PERCENT, conntrack.zip(conntrack_max).and_then(|(part, whole)| percent(part, whole)));
        if let Some(file) = skipped.read("/proc/1/net/softnet_stat", "softnet") {
            self.softnet.update(&file, skipped);
            self.softnet.set_metrics(sample, self.settings.softnet_per_cpu);
        }
        clock::set_metrics(sample, skipped);
        skipped.finish(sample)
    }
}

gauged_plugin::export!(Kernel);

impl Kernel {
    fn set_limits(&mut self, tick: Tick, sample: &mut Sample) {
        if self.limits_ns.is_none_or(|read_ns| tick.monotonic_ns.saturating_sub(read_ns) >= LIMITS_MAX_AGE_NS) {
            for ((path, metric), limit) in LIMITS.iter().zip(&mut self.limits) {
                *limit = read_number(path, *metric, &mut self.skipped);
            }
            self.limits_ns = Some(tick.monotonic_ns);
        }
        for ((_, metric), limit) in LIMITS.iter().zip(self.limits) {
            sample.set(*metric, limit);
        }
    }
}

/// Sets the metrics of keys, each at the first line that has it. Returns whether there was one.
fn set_keys(keys: &Keys, file: &File, sample: &mut Sample, skipped: &mut Skipped) -> bool {
    let mut seen = keys.map(|_| false);
    for line in file.lines() {
        let (key, mut values) = line.key_values();
        let Some(at) = keys.iter().position(|(name, ..)| *name == key) else { continue };
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        let (_, metric, unit) = keys[at];
        let count = values.bounded::<u64>(key, &COUNT).and_then(|count| {
            let impossible = || line.error(format_args!("{count} is impossible ({key}): {}", COUNT.reason));
            COUNT.check(count.saturating_mul(unit)).ok_or_else(impossible)
        });
        sample.set(metric, skipped.keep(count, metric.name));
        if metric == SOFTIRQS {
            set_vectors(values, sample, skipped);
        }
        if !seen.contains(&false) {
            break;
        }
    }
    seen.contains(&true)
}

/// Sets each vector if they are the known ones.
fn set_vectors(mut values: Fields<'_>, sample: &mut Sample, skipped: &mut Skipped) {
    if values.clone().count() != VECTORS.len() {
        return;
    }
    for vector in VECTORS {
        let count = values.bounded::<u64>(vector, &COUNT);
        let count = skipped.keep(count, format_args!("{} of {vector}", SOFTIRQS_BY_VECTOR.name));
        sample.labelled(&[("vector", vector)]).set(SOFTIRQS_BY_VECTOR, count);
    }
}

/// Sets the metric of a file with a single number, and returns it.
fn set_number(path: &str, metric: Descriptor, sample: &mut Sample, skipped: &mut Skipped) -> Option<u64> {
    let number = read_number(path, metric, skipped);
    sample.set(metric, number);
    number
}

/// Reads a file with a single number that not every kernel has.
fn read_number(path: &str, metric: Descriptor, skipped: &mut Skipped) -> Option<u64> {
    let file = skipped.keep(File::read_if_exists(path), metric.name)??;
    skipped.keep(file.fields().bounded("value", &COUNT), metric.name)
}

#[cfg(test)]
mod tests;
