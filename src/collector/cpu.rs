//! The module `cpu`: the CPUs' time by mode, as percentages since the previous tick and as seconds since boot; number and
//! frequency of the CPUs; context switches and interrupts. Names and formulas are psutil's.

mod stat;

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(any(test, fuzzing))]
pub(crate) use self::stat::fuzz as fuzz_stat;
use self::stat::{Detail, GUEST, IDLE, IOWAIT, MODES, Stat, Times};
use super::slow::{CpuReadings, SlowReadings};
use super::topology::Frequency;
use super::{Collector, ReadError, percent};
use crate::config::Config;
use crate::procfs::{KeptFile, Machine};
use crate::sample::{Labels, NativeMetric, Value, Values};

const STAT: &str = "/proc/stat";
const SCALING: &str = "/sys/devices/system/cpu/cpufreq, otherwise /proc/cpuinfo";

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
        "Online cores; the hyper-threads of a core count once. A change is seen a tick later.",
        "/sys/devices/system/cpu/*/topology, otherwise /proc/cpuinfo",
    ),
    NativeMetric::gauge("cpu", "freq_current", "MHz", "Mean frequency of the CPUs, read every 10 s.", SCALING),
    NativeMetric::gauge("cpu", "freq_min", "MHz", "Mean of the lowest frequencies that the governor may set.", SCALING),
    NativeMetric::gauge(
        "cpu",
        "freq_max",
        "MHz",
        "Mean of the highest frequencies that the governor may set.",
        SCALING,
    ),
    NativeMetric::counter("cpu", "ctx_switches", "{switch}", "Context switches since boot.", STAT),
    NativeMetric::counter("cpu", "interrupts", "{interrupt}", "Interrupts since boot.", STAT),
    NativeMetric::counter("cpu", "soft_interrupts", "{interrupt}", "Soft interrupts since boot.", STAT),
];

/// Collects the module `cpu`.
pub(super) struct Cpu {
    /// Number and frequency of the CPUs.
    slow: Arc<SlowReadings>,
    file: KeptFile,
    detail: Detail,
    /// The labels of every CPU so far, by its number.
    labels: BTreeMap<u32, Labels>,
    ticks_per_second: f64,
    /// The readings of this tick and of the previous one. They swap places, so that their memory is used again.
    now: Stat,
    before: Stat,
    /// Whether `before` was read without an error.
    is_before_known: bool,
}

impl Cpu {
    /// Takes the first reading, from which the first tick's percentages are counted.
    pub(super) fn new(config: &Config, slow: &Arc<SlowReadings>) -> Self {
        let mut cpu = Self {
            slow: Arc::clone(slow),
            file: KeptFile::whole(&config.root, STAT),
            detail: if config.cpu.per_core { Detail::PerCore } else { Detail::Total },
            labels: BTreeMap::new(),
            ticks_per_second: Machine::detect(&config.root).ticks_per_second as f64,
            now: Stat::default(),
            before: Stat::default(),
            is_before_known: false,
        };
        cpu.is_before_known = cpu.read().is_ok();
        cpu
    }

    /// Reads the file into `now`; the previous reading becomes `before`.
    fn read(&mut self) -> Result<(), ReadError> {
        std::mem::swap(&mut self.now, &mut self.before);
        let (now, detail) = (&mut self.now, self.detail);
        self.file.read(|text| now.parse(text, detail))
    }

    fn push_times(&self, values: &mut Values<'_>, labels: &Labels, shares: Option<Shares>, times: Option<&Times>) {
        let mut push = |name: &'static str, value: Value| values.push_labelled(name, labels, value);
        push("percent", shares.map(|shares| shares.busy).into());
        for (mode, &(name, _)) in MODE_NAMES.iter().enumerate() {
            push(name, shares.and_then(|shares| shares.modes[mode]).into());
        }
        for (mode, &(_, name)) in MODE_NAMES.iter().enumerate() {
            let ticks = times.and_then(|times| times[mode]);
            push(name, ticks.map(|ticks| ticks as f64 / self.ticks_per_second).into());
        }
    }
}

impl Collector for Cpu {
    fn collect(&mut self, _module: &str, values: &mut Values<'_>) -> Result<(), ReadError> {
        let read = self.read();
        let is_known = read.is_ok();
        if is_known && self.is_before_known && self.now.online != self.before.online {
            self.slow.request_cores();
        }
        for &(number, _) in &self.now.cpus {
            let labels = || [("cpu", &*number.to_string())].into();
            self.labels.entry(number).or_insert_with(labels);
        }

        let now = Some(&self.now).filter(|_| is_known);
        let before = Some(&self.before).filter(|_| self.is_before_known);
        let total_shares = now.zip(before).and_then(|(now, before)| shares(&before.total, &now.total));
        self.push_times(values, &Labels::default(), total_shares, now.map(|now| &now.total));
        values.push("count_logical", now.map(|now| now.online.count).filter(|&count| count > 0));
        let CpuReadings { physical, frequency: Frequency { current, min, max } } = self.slow.cpu();
        values.push("count_physical", physical);
        values.push("freq_current", current);
        values.push("freq_min", min);
        values.push("freq_max", max);
        values.push("ctx_switches", now.and_then(|now| now.ctx_switches));
        values.push("interrupts", now.and_then(|now| now.interrupts));
        values.push("soft_interrupts", now.and_then(|now| now.soft_interrupts));
        let cpus = now.map(|now| now.cpus.as_slice()).unwrap_or_default();
        for ((number, times), labels) in cpus.iter().filter_map(|cpu| Some((cpu, self.labels.get(&cpu.0)?))) {
            // A CPU that came online during this tick has no earlier reading.
            let earlier = before.and_then(|before| before.times_of(*number));
            let shares = earlier.and_then(|earlier| shares(earlier, times));
            self.push_times(values, labels, shares, Some(times));
        }
        self.is_before_known = is_known;
        read
    }
}

/// Percentages of the time between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shares {
    busy: f64,
    modes: [Option<f64>; MODES],
}

/// The percentages of the time between two readings. A counter that fell, as idle and iowait may, counts as unchanged.
/// Steal is busy time. None if no counter grew.
fn shares(before: &Times, now: &Times) -> Option<Shares> {
    let mut spent = [None; MODES];
    for (mode, spent) in spent.iter_mut().enumerate() {
        *spent = now[mode].map(|now| now.saturating_sub(before[mode].unwrap_or(now)) as f64);
    }
    let total: f64 = spent[..GUEST].iter().flatten().sum();
    if total <= 0.0 {
        return None;
    }
    let idle = spent[IDLE].unwrap_or(0.0) + spent[IOWAIT].unwrap_or(0.0);
    Some(Shares {
        busy: percent(total - idle, total),
        modes: spent.map(|spent| spent.map(|spent| percent(spent, total))),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(columns: &[u64]) -> Times {
        let mut times = Times::default();
        for (time, &column) in times.iter_mut().zip(columns) {
            *time = Some(column);
        }
        times
    }

    #[test]
    fn guest_time_counts_once_and_steal_is_busy() {
        let before = times(&[0; 10]);
        let now = times(&[30, 10, 10, 20, 10, 5, 5, 10, 20, 5]);
        let shares = shares(&before, &now).expect("time has passed");
        assert_eq!(shares.busy, 70.0);
        let expected = [30.0, 10.0, 10.0, 20.0, 10.0, 5.0, 5.0, 10.0, 20.0, 5.0].map(Some);
        assert_eq!(shares.modes, expected);
    }

    #[test]
    fn falling_counters_count_as_unchanged() {
        let shares = shares(&times(&[100, 0, 0, 500, 300]), &times(&[150, 0, 0, 450, 350])).expect("time has passed");
        assert_eq!(shares.busy, 50.0);
        assert_eq!(shares.modes[..5], [50.0, 0.0, 0.0, 0.0, 50.0].map(Some));
        assert_eq!(shares.modes[7], None, "steal is missing in this kernel");
        assert_eq!(super::shares(&times(&[7; 10]), &times(&[7; 10])), None, "no time has passed");
    }

    proptest! {
        #[test]
        fn shares_are_percentages(
            before in prop::array::uniform10(0_u64..1 << 53),
            now in prop::array::uniform10(0_u64..1 << 53),
        ) {
            if let Some(shares) = shares(&times(&before), &times(&now)) {
                prop_assert!((0.0..=100.0).contains(&shares.busy), "{}", shares.busy);
                let sum: f64 = shares.modes[..GUEST].iter().flatten().sum();
                prop_assert!((99.0..101.0).contains(&sum), "{sum}");
            }
        }
    }
}
