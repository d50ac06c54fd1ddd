//! The table `[limits]`: limits of the agent as a whole. Those of one plugin are in `limits` and `plugin`.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::duration::parse_duration;
use super::problem_list::ProblemList;
use super::size::parse_size;

/// The default of `compile_cpu`: a Python guest of 18 MB takes 9 to 19 s on fast machines, and this on one six times slower.
pub(super) const DEFAULT_COMPILE_CPU: Duration = Duration::from_secs(2 * 60);

/// The least: below it a Rust guest is not compiled on a slow machine.
pub(super) const MIN_COMPILE_CPU: Duration = Duration::from_secs(1);

/// The most: what takes longer than thirty Python guests is made to.
pub(super) const MAX_COMPILE_CPU: Duration = Duration::from_secs(10 * 60);

/// The default of `compile_cpu_per_hour`: a third of a core. Sixty Python guests are compiled at once on a fast machine, ten on
/// a slow one.
pub(super) const DEFAULT_COMPILE_CPU_PER_HOUR: Duration = Duration::from_secs(20 * 60);

/// The least: a few plugins in Rust.
pub(super) const MIN_COMPILE_CPU_PER_HOUR: Duration = Duration::from_secs(1);

/// The most: two files are compiled at a time, so there is no limit then.
pub(super) const MAX_COMPILE_CPU_PER_HOUR: Duration = Duration::from_secs(2 * 60 * 60);

/// The least of `memory`: a few plugins in Rust.
pub(super) const MIN_TOTAL_MEMORY_BYTES: u64 = 1 << 20;

/// The most of `memory`: a tebibyte is no limit.
pub(super) const MAX_TOTAL_MEMORY_BYTES: u64 = 1 << 40;

/// The default of `series`: 200 to 300 MB. A large host with all plugins has ten thousand.
pub(super) const DEFAULT_SERIES: usize = 1_000_000;

/// The least: the metrics of a small host.
pub(super) const MIN_SERIES: usize = 100;

/// The most: several gigabytes.
pub(super) const MAX_SERIES: usize = 10_000_000;

/// The limits of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentLimits {
    /// The processor time in which one file has to be compiled, in whole seconds.
    pub compile_cpu: Duration,
    /// The processor time in an hour for compiling all files. None for a run that ends by itself, which has no limit.
    pub compile_cpu_per_hour: Option<Duration>,
    /// The memory that all plugins together may hold. None for a share of the host's.
    pub memory_bytes: Option<u64>,
    /// How many series there may be before plugins get no more of them.
    pub series: usize,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self {
            compile_cpu: DEFAULT_COMPILE_CPU,
            compile_cpu_per_hour: Some(DEFAULT_COMPILE_CPU_PER_HOUR),
            memory_bytes: None,
            series: DEFAULT_SERIES,
        }
    }
}

impl AgentLimits {
    /// Parses the table, which has these keys.
    pub(super) fn parse(problems: &mut ProblemList<'_>, value: Spanned<DeValue<'_>>, known_keys: &str) -> Self {
        let mut limits = Self::default();
        for (name, value) in problems.table("limits", value).unwrap_or_default() {
            let key = format!("limits.{}", name.get_ref());
            match &**name.get_ref() {
                "compile_cpu" => {
                    limits.compile_cpu = problems.parsed(&key, value, parse_compile_cpu).unwrap_or(limits.compile_cpu);
                }
                "compile_cpu_per_hour" => {
                    let bounded = |text: &str| parse_duration(text, MIN_COMPILE_CPU_PER_HOUR, MAX_COMPILE_CPU_PER_HOUR);
                    limits.compile_cpu_per_hour = problems.parsed(&key, value, bounded).or(limits.compile_cpu_per_hour);
                }
                "memory" => {
                    let bounded = |text: &str| parse_size(text, MIN_TOTAL_MEMORY_BYTES, MAX_TOTAL_MEMORY_BYTES);
                    limits.memory_bytes = problems.parsed(&key, value, bounded).or(limits.memory_bytes);
                }
                "series" => limits.series = problems.parsed(&key, value, parse_series).unwrap_or(limits.series),
                _ => problems.unknown(name.span(), &key, known_keys),
            }
        }
        limits
    }

    /// Whether `compile_cpu` may not be raised any more.
    pub(crate) fn has_most_compile_cpu(&self) -> bool {
        self.compile_cpu >= MAX_COMPILE_CPU
    }
}

/// The kernel counts this limit in seconds.
fn parse_compile_cpu(text: &str) -> Result<Duration, String> {
    let limit = parse_duration(text, MIN_COMPILE_CPU, MAX_COMPILE_CPU)?;
    if limit.subsec_nanos() > 0 {
        return Err(format!("{text:?} is finer than a second; write whole seconds"));
    }
    Ok(limit)
}

fn parse_series(text: &str) -> Result<usize, String> {
    let bounds = format!("{MIN_SERIES} to {MAX_SERIES}");
    let count = text.parse().map_err(|_| format!("{text:?} is not a number; write one from {bounds}"))?;
    if !(MIN_SERIES..=MAX_SERIES).contains(&count) {
        return Err(format!("{text:?} is out of bounds; it has to be from {bounds}"));
    }
    Ok(count)
}
