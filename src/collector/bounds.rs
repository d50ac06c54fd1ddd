//! The bounds of the native metrics, in one table: no kernel file, whatever its text, makes a collector publish a value outside
//! of them. Such a value is null, and noted. The files are wrong more often than one thinks: differences that wrapped below zero,
//! counters of one host beside totals of another, counters that jump.

#[cfg(target_os = "linux")]
use std::time::Duration;

use crate::procfs::{NOT_A_DECIMAL, Oddities};

/// The least and the greatest value of a metric, both included.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// The least value.
    pub least: f64,
    /// The greatest value.
    pub greatest: f64,
    /// The fault of a value outside, as the end of a sentence that begins with the value.
    pub reason: &'static str,
    /// Why the bound is where it is, and where that is written.
    pub source: &'static str,
}

impl Bound {
    /// Whether a value is within the bounds. A value that is not a number never is.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        (self.least..=self.greatest).contains(&value)
    }

    /// The number of a word, if it is one and within the bounds; notes the word otherwise.
    pub(super) fn keep(
        &self,
        number: Option<f64>,
        word: &[u8],
        left_out: &'static str,
        odd: &mut Oddities,
    ) -> Option<f64> {
        let kept = number.filter(|&number| self.holds(number));
        if kept.is_none() {
            odd.note(word, if number.is_some() { self.reason } else { NOT_A_DECIMAL }, left_out);
        }
        kept
    }
}

/// Percentages of a time or of a size.
pub const PERCENT: Bound = Bound {
    least: 0.0,
    greatest: 100.0,
    reason: "is no percentage",
    source: "parts of a whole that was measured beside them",
};

/// The most CPUs.
pub(super) const MAX_CPUS: u32 = 65_536;

/// Numbers of CPUs and cores.
pub const CPUS: Bound = Bound {
    least: 1.0,
    greatest: MAX_CPUS as f64,
    reason: "is more than any machine has",
    source: "at least the one that runs the agent; eight times the 8192 that Linux can be built for (`NR_CPUS`)",
};

/// The time of all CPUs since boot.
pub const CPU_SECONDS: Bound = Bound {
    least: 0.0,
    greatest: MAX_CPUS as f64 * 3.2e9,
    reason: "is more time than all CPUs have had since boot",
    source: "a hundred years of 65,536 CPUs",
};

/// Counters of events since boot.
pub const EVENTS: Bound = Bound {
    least: 0.0,
    // The largest number below 2^63 that a float can have.
    greatest: 9_223_372_036_854_774_784.0,
    reason: "is 2^63 or more",
    source: "below 2^63: a billion a second for 292 years; what is above is a difference that wrapped below zero",
};

/// Frequencies.
pub const MEGAHERTZ: Bound = Bound {
    least: 1.0,
    greatest: 20_000.0,
    reason: "is no frequency that a CPU can have",
    source: "a CPU that runs has one; twice the record of an overclocked one (9.1 GHz). Virtual machines report 0",
};

/// Numbers of tasks, and load averages.
pub const TASKS: Bound = Bound {
    least: 0.0,
    greatest: 4_194_304.0,
    reason: "is more tasks than Linux can have",
    source: "2^22 tasks (`PID_MAX_LIMIT`, `kernel.pid_max` in Documentation/admin-guide/sysctl/kernel.rst)",
};

/// The total of memory.
pub const MEMORY_TOTAL: Bound = Bound {
    least: 1024.0,
    greatest: MEMORY.greatest,
    reason: "is no size of memory that a machine can have",
    source: "as below; a host that runs has some. Containers of lxcfs have reported 0",
};

/// Parts of memory, and swap space.
pub const MEMORY: Bound = Bound {
    least: 0.0,
    greatest: (1_u64 << 56) as f64,
    reason: "is more memory than a machine can have",
    source: "2^56 bytes, the most that any processor can address (RISC-V; x86-64 and arm64 have 2^52)",
};

/// Bytes swapped since boot.
pub const SWAPPED: Bound =
    Bound { least: 0.0, greatest: EVENTS.greatest, reason: EVENTS.reason, source: "as the counters of events" };

/// Metrics that are there for their labels.
pub const INFO: Bound = Bound {
    least: 1.0,
    greatest: 1.0,
    reason: "is not 1",
    source: "a convention: such a metric can be multiplied with others",
};

/// Versions of systems.
pub const VERSION: Bound =
    Bound { least: 0.0, greatest: 1e9, reason: "is no version", source: "years, and dates as 20261126, are versions" };

/// The bounds of every native metric: module, names, bound.
pub const TABLE: &[(&str, &[&str], &Bound)] = &[
    (
        "cpu",
        &["percent", "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"],
        &PERCENT,
    ),
    (
        "cpu",
        &[
            "user_seconds_total",
            "nice_seconds_total",
            "system_seconds_total",
            "idle_seconds_total",
            "iowait_seconds_total",
            "irq_seconds_total",
            "softirq_seconds_total",
            "steal_seconds_total",
            "guest_seconds_total",
            "guest_nice_seconds_total",
        ],
        &CPU_SECONDS,
    ),
    ("cpu", &["count_logical", "count_physical"], &CPUS),
    ("cpu", &["freq_current", "freq_min", "freq_max"], &MEGAHERTZ),
    ("cpu", &["ctx_switches", "interrupts", "soft_interrupts"], &EVENTS),
    ("load", &["1min", "5min", "15min", "runnable", "tasks"], &TASKS),
    ("memory", &["percent"], &PERCENT),
    ("memory", &["total"], &MEMORY_TOTAL),
    ("memory", &["available", "used", "free", "active", "inactive", "buffers", "cached", "shared", "slab"], &MEMORY),
    ("swap", &["percent"], &PERCENT),
    ("swap", &["total", "used", "free"], &MEMORY),
    ("swap", &["sin", "sout"], &SWAPPED),
    ("host", &["uname_info", "os_info"], &INFO),
    ("host", &["os_version"], &VERSION),
];

/// Metrics that are parts of another one of their module, and never more than it where both have a value: module, parts, whole.
pub const PARTS: &[(&str, &[&str], &str)] = &[
    ("cpu", &["count_physical"], "count_logical"),
    ("memory", &["available", "used", "free", "active", "inactive", "buffers", "cached", "shared", "slab"], "total"),
    ("swap", &["used", "free"], "total"),
];

/// How much later than it passed the kernel may account a CPU's time: before Linux 5.6 one that runs without ticks (`nohz_full`,
/// `Documentation/timers/no_hz.rst`) is accounted when it enters the kernel, or at a residual tick of a second. Three of those.
#[cfg(target_os = "linux")]
const ACCOUNTING_DELAY: Duration = Duration::from_secs(3);

/// The most clock ticks by which a counter of CPUs can have grown between two readings that are so far apart. More is a jump.
#[cfg(target_os = "linux")]
pub(super) fn most_ticks(elapsed: Duration, cpus: u32, ticks_per_second: f64) -> f64 {
    (elapsed + ACCOUNTING_DELAY).as_secs_f64() * f64::from(cpus) * ticks_per_second
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::BTreeSet;

    use super::super::native::NATIVE;
    use super::*;

    #[test]
    fn native_metrics_all_have_bounds() {
        let metrics = NATIVE.iter().flat_map(|native| native.metrics).map(|metric| (metric.module, metric.name));
        let bounded = TABLE.iter().flat_map(|(module, names, _)| names.iter().map(|name| (*module, *name)));
        assert_eq!(metrics.collect::<BTreeSet<_>>(), bounded.clone().collect());
        assert_eq!(bounded.clone().count(), bounded.collect::<BTreeSet<_>>().len(), "once");
    }

    #[test]
    fn bounds_exclude_what_is_no_number() {
        for (_, _, bound) in TABLE {
            assert!(bound.least <= bound.greatest && bound.holds(bound.least) && bound.holds(bound.greatest));
            for value in [f64::NAN, f64::INFINITY, -1.0, u64::MAX as f64, (1_u64 << 63) as f64] {
                assert!(!bound.holds(value), "{value} {bound:?}");
            }
        }
    }

    #[test]
    fn time_passes_once_for_each_cpu() {
        let most = |seconds, cpus| most_ticks(Duration::from_secs(seconds), cpus, 100.0);
        assert_eq!((most(0, 1), most(1, 1), most(10, 4)), (300.0, 400.0, 5200.0));
    }
}
