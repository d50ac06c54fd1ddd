//! The module `cpu`: the CPUs' time by mode, as percentages since the previous tick and as seconds since boot; number and
//! frequency of the CPUs; context switches and interrupts. Names and formulas are psutil's.

mod stat;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

#[cfg(any(test, fuzzing))]
pub(crate) use self::stat::fuzz as fuzz_stat;
use self::stat::{Detail, GUEST, IDLE, IOWAIT, MODES, Stat, Times};
use super::bounds::{CPU_SECONDS, MAX_CPUS, most_ticks};
use super::frequency::Frequency;
use super::slow::{CpuReadings, SlowReadings};
use super::{Collector, FileProblem, ReadError, percent};
use crate::config::Config;
use crate::procfs::{KeptFile, Machine, Oddity};
use crate::sample::{Labels, NativeMetric, Value, Values};

const STAT: &str = "/proc/stat";
const SCALING: &str = "/sys/devices/system/cpu/cpufreq, otherwise /proc/cpuinfo";

/// Where `/proc` is the container's and `/sys` the host's, as with lxcfs.
const FOREIGN_CORES: Oddity = Oddity {
    reason: "/sys/devices/system/cpu has more cores than this file has CPUs: one of them is another host's",
    left_out: "cpu.count_physical",
    remedy: Some("none is needed in a container; otherwise mount /proc and /sys of the same host"),
};

/// The names of each mode's metrics, percentage and counter, in the order of the kernel's columns.
const MODE_NAMES: [(&str, &str); MODES] = [
    ("user", "user_seconds_total"),
    ("nice", "nice_seconds_total"),
    ("system", "system_seconds_total"),
    ("idle", "idle_seconds_total"),
    ("iowait", "iowait_seconds_total"),
    ("irq", "irq_seconds_total"),
    ("softirq", "softirq_seconds_total"),
    ("steal", "steal_seconds_total"),
    ("guest", "guest_seconds_total"),
    ("guest_nice", "guest_nice_seconds_total"),
];

const fn share(name: &'static str, description: &'static str) -> NativeMetric {
    NativeMetric::gauge("cpu", name, "%", description, STAT)
}

const fn seconds(name: &'static str, description: &'static str) -> NativeMetric {
    NativeMetric::counter("cpu", name, "s", description, STAT)
}

/// The metrics of the module.
pub(super) const METRICS: &[NativeMetric] = &[
    share("percent", "Time in which the CPUs were not idle, over the tick; steal counts, waiting for I/O does not."),
    share("user", "Time in programs, guests included, over the tick."),
    share("nice", "Time in programs of low priority, guests included, over the tick."),
    share("system", "Time in the kernel, over the tick."),
    share("idle", "Idle time, over the tick."),
    share("iowait", "Idle time with I/O pending, over the tick."),
    share("irq", "Time in interrupt handlers, over the tick."),
    share("softirq", "Time in soft interrupts (the deferred part), over the tick."),
    share("steal", "Time that the hypervisor gave to other machines, over the tick."),
    share("guest", "Time in virtual machines of this host, over the tick."),
    share("guest_nice", "Time in virtual machines of low priority, over the tick."),
    seconds("user_seconds_total", "Time of all CPUs in programs since boot, guests included."),
    seconds("nice_seconds_total", "Time of all CPUs in programs of low priority since boot, guests included."),
    seconds("system_seconds_total", "Time of all CPUs in the kernel since boot."),
    seconds("idle_seconds_total", "Idle time of all CPUs since boot; may fall a little."),
    seconds("iowait_seconds_total", "Idle time of all CPUs with I/O pending since boot; may fall a little."),
    seconds("irq_seconds_total", "Time of all CPUs in interrupt handlers since boot."),
    seconds("softirq_seconds_total", "Time of all CPUs in soft interrupts since boot."),
    seconds("steal_seconds_total", "Time that the hypervisor gave to other machines since boot."),
    seconds("guest_seconds_total", "Time of all CPUs in virtual machines since boot."),
    seconds("guest_nice_seconds_total", "Time of all CPUs in virtual machines of low priority since boot."),
    NativeMetric::gauge("cpu", "count_logical", "{cpu}", "Online CPUs; each hyper-thread counts.", STAT),
    NativeMetric::gauge(
        "cpu",
        "count_physical",
        "{core}",
        "Online cores; the hyper-threads of a core count once. A change is seen a tick later. Null if there are more cores than CPUs, as \
         where `/sys` is another host's.",
        "/sys/devices/system/cpu/*/topology, otherwise /proc/cpuinfo",
    ),
    NativeMetric::gauge("cpu", "freq_current", "MHz", "Mean frequency of the online CPUs, read every 10 s.", SCALING),
    NativeMetric::gauge(
        "cpu",
        "freq_min",
        "MHz",
        "Mean over the online CPUs of the lowest frequency that the governor may set.",
        SCALING,
    ),
    NativeMetric::gauge(
        "cpu",
        "freq_max",
        "MHz",
        "Mean over the online CPUs of the highest frequency that the governor may set.",
        SCALING,
    ),
    NativeMetric::counter("cpu", "ctx_switches", "{switch}", "Context switches since boot.", STAT),
    NativeMetric::counter("cpu", "interrupts", "{interrupt}", "Interrupts since boot.", STAT),
    NativeMetric::counter("cpu", "soft_interrupts", "{interrupt}", "Soft interrupts since boot.", STAT),
];

/// The metrics of each CPU, beside those of all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PerCpu {
    None,
    /// The seconds in each mode, which the naming of `node_exporter` needs.
    Seconds,
    /// The percentages, too.
    All,
}

impl PerCpu {
    fn new(config: &Config) -> Self {
        match (config.cpu.per_core, config.needs_cpu_times()) {
            (true, _) => Self::All,
            (false, true) => Self::Seconds,
            (false, false) => Self::None,
        }
    }

    fn detail(self) -> Detail {
        if self == Self::None { Detail::Total } else { Detail::PerCore }
    }
}

/// Collects the module `cpu`.
pub(super) struct Cpu {
    /// Number and frequency of the CPUs.
    slow: Arc<SlowReadings>,
    file: KeptFile,
    each: PerCpu,
    /// The labels of every CPU so far, by its number.
    labels: BTreeMap<u32, Labels>,
    ticks_per_second: f64,
    /// The readings of this tick and of the previous one. They swap places, so that their memory is used again.
    now: Stat,
    before: Stat,
    /// Whether `before` was read without an error.
    is_before_known: bool,
    /// When the last reading began: it cannot have counted more than what passed since.
    read_at: Instant,
}

impl Cpu {
    /// Takes the first reading, from which the first tick's percentages are counted.
    pub(super) fn new(config: &Config, slow: &Arc<SlowReadings>) -> Self {
        Self::with(config, slow, PerCpu::new(config))
    }

    fn with(config: &Config, slow: &Arc<SlowReadings>, per_cpu: PerCpu) -> Self {
        let mut cpu = Self {
            slow: Arc::clone(slow),
            file: KeptFile::whole(&config.root, STAT),
            each: per_cpu,
            labels: BTreeMap::new(),
            ticks_per_second: Machine::detect(&config.root).ticks_per_second as f64,
            now: Stat::default(),
            before: Stat::default(),
            is_before_known: false,
            read_at: Instant::now(),
        };
        cpu.is_before_known = cpu.read().is_ok();
        cpu
    }

    /// Reads the file into `now`; the previous reading becomes `before`.
    fn read(&mut self) -> Result<(), ReadError> {
        std::mem::swap(&mut self.now, &mut self.before);
        let (now, detail) = (&mut self.now, self.each.detail());
        self.file.read_noting(|text, odd| now.parse(text, detail, odd))
    }

    /// Appends the percentages of all CPUs or of one. Returns what was left out.
    fn push_shares(values: &mut Values<'_>, labels: &Labels, shares: Result<Option<Shares>, Jumped>) -> Option<Oddity> {
        let oddity = shares.is_err().then(|| {
            let reason = "a counter grew by more than the time that has passed";
            Oddity::new(reason, "the percentages of that tick")
        });
        let shares = shares.ok().flatten();
        let mut push = |name: &'static str, value: Value| values.push_labelled(name, labels, value);
        push("percent", shares.map(|shares| shares.busy).into());
        for (mode, &(name, _)) in MODE_NAMES.iter().enumerate() {
            push(name, shares.and_then(|shares| shares.modes[mode]).into());
        }
        oddity
    }

    /// Appends the seconds of all CPUs or of one. Returns what was left out.
    fn push_seconds(&self, values: &mut Values<'_>, labels: &Labels, times: Option<&Times>) -> Option<Oddity> {
        let mut oddity = None;
        for (mode, &(_, name)) in MODE_NAMES.iter().enumerate() {
            let ticks = times.and_then(|times| times.ticks[mode]);
            let seconds = ticks.map(|ticks| ticks as f64 / self.ticks_per_second);
            let kept = seconds.filter(|&seconds| CPU_SECONDS.holds(seconds));
            if kept.is_none() && seconds.is_some() {
                oddity = Some(Oddity::new("a counter of a CPU is more than the time since boot", "its seconds"));
            }
            values.push_labelled(name, labels, kept);
        }
        oddity
    }
}

impl Collector for Cpu {
    fn collect(&mut self, _module: &str, values: &mut Values<'_>) -> Result<(), ReadError> {
        let began = Instant::now();
        let read = self.read();
        let elapsed = self.read_at.elapsed();
        self.read_at = began;
        let is_known = read.is_ok();
        let is_changed = self.now.online != self.before.online;
        if is_known && self.is_before_known && is_changed {
            self.slow.request_cores();
        }
        for &(number, _) in &self.now.cpus {
            let labels = || [("cpu", &*number.to_string())].into();
            self.labels.entry(number).or_insert_with(labels);
        }

        let now = Some(&self.now).filter(|_| is_known);
        let before = Some(&self.before).filter(|_| self.is_before_known);
        // Without a line for each CPU it is not known how many there are.
        let lines = self.now.cpu_lines.max(self.before.cpu_lines);
        let most = |cpus: u32| most_ticks(elapsed, cpus, self.ticks_per_second);
        let most_of_all = most(if lines == 0 { MAX_CPUS } else { lines });
        let total = now.and_then(|now| now.total.as_ref());
        let total_shares = total
            .zip(before.and_then(|before| before.total.as_ref()))
            .map(|(now, before)| shares(before, now, most_of_all));
        let all = Labels::default();
        let mut oddity = Self::push_shares(values, &all, total_shares.unwrap_or(Ok(None)));
        oddity = self.push_seconds(values, &all, total).or(oddity);
        let logical = now.map(|now| now.online.len() as u64).filter(|&count| count > 0);
        values.push("count_logical", logical);
        let CpuReadings { physical, frequency: Frequency { current, min, max }, .. } = self.slow.cpu();
        let own_cores = physical.filter(|&cores| logical.is_none_or(|cpus| cores <= cpus));
        values.push("count_physical", own_cores);
        values.push("freq_current", current);
        values.push("freq_min", min);
        values.push("freq_max", max);
        values.push("ctx_switches", now.and_then(|now| now.ctx_switches));
        values.push("interrupts", now.and_then(|now| now.interrupts));
        values.push("soft_interrupts", now.and_then(|now| now.soft_interrupts));
        let cpus = now.map(|now| now.cpus.as_slice()).unwrap_or_default();
        for ((number, times), labels) in cpus.iter().filter_map(|cpu| Some((cpu, self.labels.get(&cpu.0)?))) {
            if self.each == PerCpu::All {
                // A CPU that came online during this tick has no earlier reading.
                let earlier = before.and_then(|before| before.times_of(*number));
                let shares = earlier.map_or(Ok(None), |earlier| shares(earlier, times, most(1)));
                oddity = Self::push_shares(values, labels, shares).or(oddity);
            }
            oddity = self.push_seconds(values, labels, Some(times)).or(oddity);
        }
        // The cores are counted again after a change, a moment later.
        let foreign = (physical != own_cores && !is_changed).then_some(FOREIGN_CORES);
        for oddity in [oddity, foreign].into_iter().flatten() {
            self.file.note(oddity);
        }
        self.is_before_known = is_known;
        read
    }

    /// Percentages of CPUs that were not read before have no value at the first tick after that.
    fn reconfigure(&mut self, config: &Config) {
        self.each = PerCpu::new(config);
    }

    fn skipped_lines(&self) -> u64 {
        self.file.skipped_lines() + self.slow.cpu().skipped_lines
    }

    fn problem(&self) -> Option<&Arc<FileProblem>> {
        self.file.problem()
    }
}

/// Percentages of the time between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shares {
    busy: f64,
    modes: [Option<f64>; MODES],
}

/// A counter grew by more than the time between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Jumped;

/// The percentages of the time between two readings. A counter that fell, as idle and iowait may, counts as unchanged.
/// Steal is busy time. None if no counter grew, or if one of those that make up the time is not known.
fn shares(before: &Times, now: &Times, most_ticks: f64) -> Result<Option<Shares>, Jumped> {
    let mut spent = [None; MODES];
    for (mode, spent) in spent.iter_mut().enumerate() {
        *spent = now.ticks[mode].map(|now| now.saturating_sub(before.ticks[mode].unwrap_or(now)) as f64);
    }
    let has_same_modes = || (0..GUEST).all(|mode| now.ticks[mode].is_some() == before.ticks[mode].is_some());
    if !before.is_whole || !now.is_whole || !has_same_modes() {
        return Ok(None);
    }
    // Each by itself: the kernel samples some modes and measures others, so that their sum may exceed the time.
    if spent.iter().flatten().any(|&spent| spent > most_ticks) {
        return Err(Jumped);
    }
    let total: f64 = spent[..GUEST].iter().flatten().sum();
    if total <= 0.0 {
        return Ok(None);
    }
    let idle = spent[IDLE].unwrap_or(0.0) + spent[IOWAIT].unwrap_or(0.0);
    Ok(Some(Shares {
        busy: percent(total - idle, total),
        // Guest time is read a moment after the user time that it is part of.
        modes: spent.map(|spent| spent.map(|spent| percent(spent.min(total), total))),
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Overrides;
    use crate::sample::{Metric, Module, is_for_naming_only, test_module};

    /// No counter in these tests jumps, but for those that are to.
    const MOST: f64 = 1e18;

    fn times(columns: &[u64]) -> Times {
        let mut times = Times { is_whole: true, ..Times::default() };
        for (time, &column) in times.ticks.iter_mut().zip(columns) {
            *time = Some(column);
        }
        times
    }

    fn known_shares(before: &[u64], now: &[u64]) -> Shares {
        shares(&times(before), &times(now), MOST).expect("no jump").expect("time has passed")
    }

    #[test]
    fn guest_time_counts_once_and_steal_is_busy() {
        let shares = known_shares(&[0; 10], &[30, 10, 10, 20, 10, 5, 5, 10, 20, 5]);
        assert_eq!(shares.busy, 70.0);
        let expected = [30.0, 10.0, 10.0, 20.0, 10.0, 5.0, 5.0, 10.0, 20.0, 5.0].map(Some);
        assert_eq!(shares.modes, expected);
    }

    #[test]
    fn falling_counters_count_as_unchanged() {
        let shares = known_shares(&[100, 0, 0, 500, 300], &[150, 0, 0, 450, 350]);
        assert_eq!(shares.busy, 50.0);
        assert_eq!(shares.modes[..5], [50.0, 0.0, 0.0, 0.0, 50.0].map(Some));
        assert_eq!(shares.modes[7], None, "steal is missing in this kernel");
        assert_eq!(super::shares(&times(&[7; 10]), &times(&[7; 10]), MOST), Ok(None), "no time has passed");
    }

    /// The module of a fixture machine with these metrics of each CPU.
    fn machine(name: &str, per_cpu: PerCpu) -> Arc<Module> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let overrides = Overrides { root: Some(root), file: Some("/dev/null".into()), ..Overrides::default() };
        let config = Config::load(&overrides).expect("valid");
        let mut cpu = Cpu::with(&config, &SlowReadings::without_thread(&config), per_cpu);
        test_module("cpu", |values| cpu.collect("cpu", values).expect("readable"))
    }

    #[test]
    fn seconds_of_cpus_are_for_namings_only() {
        let [none, seconds, all] =
            [PerCpu::None, PerCpu::Seconds, PerCpu::All].map(|per_cpu| machine("cpus-512", per_cpu));
        let is_hidden = |metric: &Metric<'_>| is_for_naming_only("cpu", metric.series);
        let (hidden, shown): (Vec<_>, Vec<_>) = seconds.metrics().partition(is_hidden);
        assert!(shown.into_iter().eq(none.metrics()), "the others are the same");
        assert_eq!(hidden.len(), 512 * MODES);
        let names: BTreeSet<&str> = hidden.iter().map(Metric::name).collect();
        assert_eq!(names, MODE_NAMES.map(|(_, seconds)| seconds).into());
        let of_all = all.metrics().filter(|metric| is_hidden(metric) && names.contains(metric.name()));
        assert!(hidden.into_iter().eq(of_all), "with the same values");
    }

    #[test]
    fn jumping_counters_have_no_percentages() {
        let before = [1000, 0, 500, 20_000, 0, 0, 0, 194_028, 0, 0];
        let jump = |mode: usize, by: u64| {
            let mut now = before;
            (now[0], now[3]) = (1010, 20_085);
            now[mode] += by;
            super::shares(&times(&before), &times(&now), 500.0).map(|shares| shares.map(|shares| shares.busy))
        };
        for mode in 0..MODES {
            for by in [501, 1 << 32, (1 << 63) - 1, u64::MAX - 200_000] {
                assert_eq!(jump(mode, by), Err(Jumped), "{mode} by {by}");
            }
        }
        assert_eq!(jump(3, 100), Ok(Some(5.1)), "less than that may pass");
        let fallen = super::shares(&times(&[7, 0, 0, 7, 0, 0, 0, u64::MAX]), &times(&[8, 0, 0, 10, 0, 0, 0, 3]), 500.0);
        assert_eq!(fallen.map(|shares| shares.map(|shares| shares.busy)), Ok(Some(25.0)), "and back");
    }

    #[test]
    fn missing_columns_have_no_percentages() {
        let whole = times(&[1; 10]);
        let now = times(&[2; 10]);
        let partial = Times { is_whole: false, ..now };
        for (before, now) in [(&whole, &partial), (&partial, &now), (&whole, &times(&[2; 5])), (&times(&[1; 7]), &now)]
        {
            assert_eq!(shares(before, now, MOST), Ok(None), "{before:?} {now:?}");
        }
        assert!(shares(&whole, &times(&[2; 8]), MOST).expect("no jump").is_some(), "guest time is part of user time");
    }

    proptest! {
        #[test]
        fn shares_are_percentages(
            before in prop::array::uniform10(0_u64..1 << 53),
            now in prop::array::uniform10(0_u64..1 << 53),
        ) {
            if let Some(shares) = shares(&times(&before), &times(&now), MOST).expect("no jump") {
                prop_assert!((0.0..=100.0).contains(&shares.busy), "{}", shares.busy);
                prop_assert!(shares.modes.iter().flatten().all(|share| (0.0..=100.0).contains(share)));
                let sum: f64 = shares.modes[..GUEST].iter().flatten().sum();
                prop_assert!((99.0..101.0).contains(&sum), "{sum}");
            }
        }
    }
}
