//! The module `pressure`: the time that tasks wait for a resource, from `/proc/pressure`. Only the host as a whole, not
//! control groups.

use std::time::Duration;

use gauged_plugin::bounds::{AVERAGE_PERCENT, Bound, COUNT, TICK_PERCENT};
use gauged_plugin::files;
use gauged_plugin::kernel::{self, File, Number};
use gauged_plugin::rates::{Change, Rates};
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{About, Descriptor, Error, NoConfig, Plugin, Sample, Tick, about};

gauged_plugin::metrics! {
    module "pressure" by {"resource": "`cpu`, `memory`, `io` or `irq`"} since boot;
    /// Time with at least one task waiting for the resource.
    SOME: counter "some_seconds_total" in "s";
    /// Share of the time since the last tick with at least one task waiting for the resource.
    SOME_PERCENT: gauge "some_percent" in "%";
    /// Share of the last 10 seconds with at least one task waiting, recent time weighted more.
    SOME_AVG10: gauge "some_avg10_percent" in "%";
    /// Share of the last minute with at least one task waiting, recent time weighted more.
    SOME_AVG60: gauge "some_avg60_percent" in "%";
    /// Share of the last five minutes with at least one task waiting, recent time weighted more.
    SOME_AVG300: gauge "some_avg300_percent" in "%";
    /// Time with all non-idle tasks waiting for the resource: no work was done.
    FULL: counter "full_seconds_total" in "s";
    /// Share of the time since the last tick with all tasks waiting for the resource.
    FULL_PERCENT: gauge "full_percent" in "%";
    /// Share of the last 10 seconds with all tasks waiting, recent time weighted more.
    FULL_AVG10: gauge "full_avg10_percent" in "%";
    /// Share of the last minute with all tasks waiting, recent time weighted more.
    FULL_AVG60: gauge "full_avg60_percent" in "%";
    /// Share of the last five minutes with all tasks waiting, recent time weighted more.
    FULL_AVG300: gauge "full_avg300_percent" in "%";
}

/// The resources and their lines. Newer kernels have a line `full` for the CPU as well, which is always zero: some task
/// always has the CPU.
const RESOURCES: [(&str, &[&Line]); 4] = [
    ("cpu", &[&SOME_LINE]),
    ("memory", &[&SOME_LINE, &FULL_LINE]),
    ("io", &[&SOME_LINE, &FULL_LINE]),
    ("irq", &[&FULL_LINE]),
];

/// A line of a file, with the metrics of its values.
struct Line {
    name: &'static str,
    total: Descriptor,
    percent: Descriptor,
    averages: [Descriptor; 3],
}

const SOME_LINE: Line =
    Line { name: "some", total: SOME, percent: SOME_PERCENT, averages: [SOME_AVG10, SOME_AVG60, SOME_AVG300] };
const FULL_LINE: Line =
    Line { name: "full", total: FULL, percent: FULL_PERCENT, averages: [FULL_AVG10, FULL_AVG60, FULL_AVG300] };

struct Pressure {
    /// By resource, for `some` and `full` separately.
    rates: [Rates<1>; 2],
    /// Whether there was a file before: the kernel has the accounting then.
    was_accounted: bool,
    skipped: Skipped,
}

/// The names of the averages in a line, in the order of [`Line::averages`].
const AVERAGES: [&str; 3] = ["avg10", "avg60", "avg300"];

impl Plugin for Pressure {
    const ABOUT: About = about!("Time that tasks wait for CPU, memory, disks and interrupts.", settings: &[]);
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<Self, Error> {
        Ok(Self { rates: [Rates::default(), Rates::default()], was_accounted: false, skipped: Skipped::default() })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { rates, was_accounted, skipped } = self;
        let mut is_accounted = false;
        for (resource, lines) in RESOURCES {
            let Some(read) = read_pressure(&format!("/proc/pressure/{resource}")) else { continue };
            is_accounted = true;
            let Some(file) = skipped.keep(read, resource) else { continue };
            for line in lines {
                let rates = &mut rates[usize::from(line.name == FULL_LINE.name)];
                line.measure(tick, &file, resource, rates, sample, skipped);
            }
        }
        skipped.finish(sample)?;
        if !is_accounted && *was_accounted {
            return Err(Error::Unavailable("/proc/pressure has no files any more".to_owned()));
        }
        *was_accounted |= is_accounted;
        if !is_accounted {
            let why = "the kernel has no pressure stall information; it needs Linux 4.20 or later, and psi=1 on its \
                       command line where it is off by default";
            return Err(Error::Unsupported(why.to_owned()));
        }
        Ok(())
    }
}

gauged_plugin::export!(Pressure);

impl Line {
    fn measure(
        &self,
        tick: Tick,
        file: &File,
        resource: &str,
        rates: &mut Rates<1>,
        sample: &mut Sample,
        skipped: &mut Skipped,
    ) {
        let line = file.lines().find(|line| line.key_values().0 == self.name);
        let missing = || file.truncated(format_args!("missing line {}", self.name));
        let Some(line) = skipped.keep(line.ok_or_else(missing), format_args!("{} of {resource}", self.name)) else {
            return;
        };
        let mut row = sample.labelled(&[("resource", resource)]);
        let total_us = skipped.keep(value::<u64>(line, "total", &COUNT), self.total.name);
        row.set(self.total, total_us.map(Duration::from_micros));
        row.set(self.percent, rates.change(tick, resource, [total_us]).and_then(|change| percent(&change)));
        for (metric, name) in self.averages.into_iter().zip(AVERAGES) {
            row.set(metric, skipped.keep(value::<f64>(line, name, &AVERAGE_PERCENT), metric.name));
        }
    }
}

/// The value of `name=value`.
fn value<T: Number + Copy>(line: kernel::Line<'_>, name: &str, bound: &Bound) -> Result<T, kernel::Error> {
    let value = line.named_number(name)?.ok_or_else(|| line.truncated(format_args!("missing {name}")))?;
    bound.check(value).ok_or_else(|| {
        let word = line.fields().find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
        line.malformed(word, format_args!("{word} is impossible ({name}): {}", bound.reason))
    })
}

/// The percentage of the tick. It can exceed 100 slightly, because the time between two reads varies: the result is
/// capped.
fn percent(change: &Change<1>) -> Option<f64> {
    TICK_PERCENT.check(change.per_second()[0] / 1e4).map(|percent| percent.min(100.0))
}

/// Reads a file; `None` if the kernel does not account for the resource.
fn read_pressure(path: &str) -> Option<Result<File, files::Failure>> {
    // Its accounting may be off.
    let is_off = |failure: &files::Failure| matches!(failure.error, files::Error::NotSupported(_));
    File::read_if_exists(path).transpose().filter(|read| !read.as_ref().is_err_and(is_off))
}

#[cfg(test)]
mod tests;
