//! The module `pressure`: for how long tasks had to wait for a resource, from `/proc/pressure`. Knows only the host as a
//! whole; control groups have pressure of their own.

use gauged_plugin::files;
use gauged_plugin::kernel::{File, Stall};
use gauged_plugin::rates::{Change, Rates};
use gauged_plugin::{About, Descriptor, Error, NoConfig, Plugin, Sample, Tick};

gauged_plugin::metrics! {
    module "pressure";
    /// Time in which at least one task had to wait for the resource.
    SOME: counter "some_seconds_total" in "s";
    /// Share of the time since the last tick in which at least one task had to wait for the resource.
    SOME_PERCENT: gauge "some_percent" in "%";
    /// Share of the last 10 seconds in which at least one task had to wait, the latest weighing most.
    SOME_AVG10: gauge "some_avg10_percent" in "%";
    /// Share of the last minute in which at least one task had to wait, the latest weighing most.
    SOME_AVG60: gauge "some_avg60_percent" in "%";
    /// Share of the last five minutes in which at least one task had to wait, the latest weighing most.
    SOME_AVG300: gauge "some_avg300_percent" in "%";
    /// Time in which all tasks that had anything to do had to wait for the resource: nothing got done.
    FULL: counter "full_seconds_total" in "s";
    /// Share of the time since the last tick in which all tasks had to wait for the resource.
    FULL_PERCENT: gauge "full_percent" in "%";
    /// Share of the last 10 seconds in which all tasks had to wait, the latest weighing most.
    FULL_AVG10: gauge "full_avg10_percent" in "%";
    /// Share of the last minute in which all tasks had to wait, the latest weighing most.
    FULL_AVG60: gauge "full_avg60_percent" in "%";
    /// Share of the last five minutes in which all tasks had to wait, the latest weighing most.
    FULL_AVG300: gauge "full_avg300_percent" in "%";
}

/// What there can be a lack of, and what the kernel tells of it. For the CPU newer ones also have a line `full`, which is
/// zero at all times: where every task waits for a CPU, there is none that has one.
const RESOURCES: [(&str, &[&Line]); 4] = [
    ("cpu", &[&SOME_LINE]),
    ("memory", &[&SOME_LINE, &FULL_LINE]),
    ("io", &[&SOME_LINE, &FULL_LINE]),
    ("irq", &[&FULL_LINE]),
];

/// A line of a file, and where its values go.
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

/// What the operating system says of a file that is there although the accounting is off.
const NOT_SUPPORTED: &str = "os error 95";

struct Pressure {
    /// By resource, `some` and `full` each on its own.
    rates: [Rates<1>; 2],
}

impl Plugin for Pressure {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "For how long tasks had to wait for CPU, memory, disks and interrupts.",
        metrics: METRICS,
    };
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<Self, Error> {
        Ok(Self { rates: [Rates::default(), Rates::default()] })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        for (resource, lines) in RESOURCES {
            let Some(file) = read(&format!("/proc/pressure/{resource}"))? else { continue };
            for line in lines {
                let stall = file.stall(line.name)?;
                let stall = stall.ok_or_else(|| file.error(format_args!("has no line {}", line.name)))?;
                let rates = &mut self.rates[usize::from(line.name == FULL_LINE.name)];
                let change = rates.change(tick, resource, [stall.total_us]);
                line.measured(sample, resource, stall, change.map(|change| share(&change)));
            }
        }
        if sample.is_empty() {
            let why = "the kernel does not account for pressure: that takes Linux 4.20, and psi=1 on its command line \
                       where it is off by default";
            return Err(Error::Unsupported(why.to_owned()));
        }
        Ok(())
    }
}

gauged_plugin::export!(Pressure);

impl Line {
    #[allow(clippy::cast_precision_loss, reason = "exact for 285 years")]
    fn measured(&self, sample: &mut Sample, resource: &str, stall: Stall, percent: Option<f64>) {
        let labels = [("resource", resource)];
        let mut row = sample.labelled(&labels);
        row.set(self.total, stall.total_us as f64 / 1e6).set(self.percent, percent);
        for (metric, share) in self.averages.into_iter().zip([stall.avg10, stall.avg60, stall.avg300]) {
            row.set(metric, share);
        }
    }
}

/// In percent. The kernel adds up to the moment of the reading, which may be later within this tick than it was within the
/// last one.
fn share(stalled_us: &Change<1>) -> f64 {
    (stalled_us.per_second()[0] / 1e4).min(100.0)
}

/// A file, unless this kernel does not account for that resource.
fn read(path: &str) -> Result<Option<File>, files::Failure> {
    match File::read_if_there(path) {
        Err(files::Failure { error: files::Error::Io(why), .. }) if why.contains(NOT_SUPPORTED) => Ok(None),
        read => read,
    }
}

#[cfg(test)]
mod tests;
