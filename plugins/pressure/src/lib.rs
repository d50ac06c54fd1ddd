//! The module `pressure`: the time that tasks wait for a resource, from `/proc/pressure`. Only the host as a whole, not
//! control groups.

use gauged_plugin::files;
use gauged_plugin::kernel::{File, Stall};
use gauged_plugin::rates::{Change, Rates};
use gauged_plugin::{About, Descriptor, Error, NoConfig, Plugin, Sample, Tick};

gauged_plugin::metrics! {
    module "pressure";
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

/// The operating system's error for a file whose accounting is off.
const EOPNOTSUPP: &str = "os error 95";

struct Pressure {
    /// By resource, for `some` and `full` separately.
    rates: [Rates<1>; 2],
}

impl Plugin for Pressure {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "Time that tasks wait for CPU, memory, disks and interrupts.",
        metrics: METRICS,
    };
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<Self, Error> {
        Ok(Self { rates: [Rates::default(), Rates::default()] })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        for (resource, lines) in RESOURCES {
            let Some(file) = read_pressure(&format!("/proc/pressure/{resource}"))? else { continue };
            for line in lines {
                let stall = file.stall(line.name)?;
                let stall = stall.ok_or_else(|| file.error(format_args!("missing line {}", line.name)))?;
                let rates = &mut self.rates[usize::from(line.name == FULL_LINE.name)];
                let change = rates.change(tick, resource, [stall.total_us]);
                line.set_metrics(sample, resource, stall, change.map(|change| percent(&change)));
            }
        }
        if sample.is_empty() {
            let why = "the kernel has no pressure stall information; it needs Linux 4.20 or later, and psi=1 on its \
                       command line where it is off by default";
            return Err(Error::Unsupported(why.to_owned()));
        }
        Ok(())
    }
}

gauged_plugin::export!(Pressure);

impl Line {
    #[allow(clippy::cast_precision_loss, reason = "exact for 285 years")]
    fn set_metrics(&self, sample: &mut Sample, resource: &str, stall: Stall, percent: Option<f64>) {
        let labels = [("resource", resource)];
        let mut row = sample.labelled(&labels);
        row.set(self.total, stall.total_us as f64 / 1e6).set(self.percent, percent);
        for (metric, share) in self.averages.into_iter().zip([stall.avg10, stall.avg60, stall.avg300]) {
            row.set(metric, share);
        }
    }
}

/// The percentage of the tick. It can exceed 100 slightly, because the time between two reads varies: the result is
/// capped.
fn percent(change: &Change<1>) -> f64 {
    (change.per_second()[0] / 1e4).min(100.0)
}

/// Reads a file; `None` if the kernel does not account for the resource.
fn read_pressure(path: &str) -> Result<Option<File>, files::Failure> {
    match File::read_if_exists(path) {
        Err(files::Failure { error: files::Error::Io(why), .. }) if why.contains(EOPNOTSUPP) => Ok(None),
        read => read,
    }
}

#[cfg(test)]
mod tests;
