//! The module `cpu`, from the first line of `/proc/stat`: how the time of all CPUs was spent, as a percentage over the
//! time since the previous collection and as seconds since boot. Names and formulas are psutil's.

use std::path::Path;

use super::{Collector, percent};
use crate::procfs::{KeptFile, value_of};
use crate::sample::{Module, Value};

/// The modes in the kernel's order, each with the name of its counter. `guest` and `guest_nice` are contained in `user`
/// and `nice` (Documentation/filesystems/proc.rst, "1.7 Miscellaneous kernel statistics").
const MODES: [(&str, &str); 10] = [
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
const IDLE: usize = 3;
const IOWAIT: usize = 4;
const GUEST: usize = 8;

/// Clock ticks spent in each of [`MODES`]; none where the kernel is too old to count it.
type Times = [Option<u64>; MODES.len()];

/// Collects the module `cpu`.
pub(super) struct Cpu {
    stat: KeptFile,
    ticks_per_second: f64,
    previous: Option<Times>,
}

impl Cpu {
    /// Begins the first interval now.
    pub(super) fn new(root: &Path) -> Self {
        let mut stat = KeptFile::new(root, "/proc/stat");
        let previous = stat.read(parse);
        Self { stat, ticks_per_second: rustix::param::clock_ticks_per_second() as f64, previous }
    }
}

impl Collector for Cpu {
    fn collect(&mut self, modules: &mut Vec<Module>) {
        let times = self.stat.read(parse);
        let shares = times.zip(self.previous).and_then(|(now, before)| shares(&before, &now));
        let mut module = Module::new("cpu");
        module.push("percent", shares.map(|shares| shares.busy));
        for (mode, &(name, _)) in MODES.iter().enumerate() {
            module.push(name, shares.and_then(|shares| shares.modes[mode]));
        }
        for (mode, &(_, name)) in MODES.iter().enumerate() {
            let ticks = times.and_then(|times| times[mode]);
            module.push(name, ticks.map(|ticks| ticks as f64 / self.ticks_per_second).map(Value::Float));
        }
        modules.push(module);
        self.previous = times;
    }
}

fn parse(stat: &[u8]) -> Result<Times, &'static str> {
    let line = value_of(stat, "cpu").ok_or("no line begins with \"cpu\"")?;
    let mut times = Times::default();
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    for (mode, time) in times.iter_mut().enumerate() {
        let Some(word) = words.next() else {
            // Linux 2.6 counts at least as far as iowait.
            if mode <= IOWAIT {
                return Err("the line \"cpu\" has too few columns");
            }
            break;
        };
        *time = Some(str::from_utf8(word).ok().and_then(|word| word.parse().ok()).ok_or("a column is not a number")?);
    }
    Ok(times)
}

/// Percentages over an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shares {
    busy: f64,
    modes: [Option<f64>; MODES.len()],
}

/// What each mode had of the time between two readings. A counter that went backwards, as idle and iowait do, counts as
/// not having moved; steal counts as busy. None when no time at all was accounted.
fn shares(before: &Times, now: &Times) -> Option<Shares> {
    let mut spent = [None; MODES.len()];
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
    fn reads_the_first_line_of_stat() {
        let stat = b"cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n";
        assert_eq!(parse(stat), Ok(times(&[10, 20, 30, 40, 50, 60, 70, 80, 90, 100])));
        assert_eq!(parse(b"cpu 1 2 3 4 5 6 7\n"), Ok(times(&[1, 2, 3, 4, 5, 6, 7])), "before steal and guest");
        assert!(parse(b"cpu 1 2 3\n").is_err());
        assert!(parse(b"cpu 1 2 3 x 5\n").is_err());
        assert!(parse(b"intr 1\n").is_err());
        assert!(parse(b"").is_err());
    }

    #[test]
    fn guest_time_is_not_counted_twice_and_steal_is_busy() {
        let before = times(&[0; 10]);
        let now = times(&[30, 10, 10, 20, 10, 5, 5, 10, 20, 5]);
        let shares = shares(&before, &now).expect("time has passed");
        assert_eq!(shares.busy, 70.0);
        let expected = [30.0, 10.0, 10.0, 20.0, 10.0, 5.0, 5.0, 10.0, 20.0, 5.0].map(Some);
        assert_eq!(shares.modes, expected);
    }

    #[test]
    fn counters_that_fall_count_as_still() {
        let shares = shares(&times(&[100, 0, 0, 500, 300]), &times(&[150, 0, 0, 450, 350])).expect("time has passed");
        assert_eq!(shares.busy, 50.0);
        assert_eq!(shares.modes[..5], [50.0, 0.0, 0.0, 0.0, 50.0].map(Some));
        assert_eq!(shares.modes[7], None, "this kernel has no steal");
        assert_eq!(super::shares(&times(&[7; 10]), &times(&[7; 10])), None, "no time has passed");
    }

    proptest! {
        #[test]
        fn shares_are_percentages(before in prop::array::uniform10(0_u64..1 << 53), now in prop::array::uniform10(0_u64..1 << 53)) {
            if let Some(shares) = shares(&times(&before), &times(&now)) {
                prop_assert!((0.0..=100.0).contains(&shares.busy), "{}", shares.busy);
                let sum: f64 = shares.modes[..GUEST].iter().flatten().sum();
                prop_assert!((99.0..101.0).contains(&sum), "{sum}");
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }
    }
}
