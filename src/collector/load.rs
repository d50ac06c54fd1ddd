//! The module `load`, from `/proc/loadavg`: the number of tasks that run, are ready to run, or wait for a disk, averaged
//! over 1, 5 and 15 minutes; and the number of tasks now.

use super::{Collector, ReadError};
use crate::config::Config;
use crate::procfs::KeptFile;
use crate::sample::{NativeMetric, Values};

const LOADAVG: &str = "/proc/loadavg";

/// The metrics of the module.
pub(super) const METRICS: &[NativeMetric] = &[
    NativeMetric::gauge(
        "load",
        "1min",
        "{task}",
        "Tasks that run, are ready to run or wait for a disk, averaged over a minute.",
        LOADAVG,
    ),
    NativeMetric::gauge("load", "5min", "{task}", "The same over five minutes.", LOADAVG),
    NativeMetric::gauge("load", "15min", "{task}", "The same over a quarter of an hour.", LOADAVG),
    NativeMetric::gauge("load", "runnable", "{task}", "Tasks that run or are ready to run now.", LOADAVG),
    NativeMetric::gauge("load", "tasks", "{task}", "All tasks; each thread counts.", LOADAVG),
];

/// Collects the module `load`.
pub(super) struct Load {
    file: KeptFile,
}

impl Load {
    /// Makes the collector. The file is opened at the first tick.
    pub(super) fn new(config: &Config) -> Self {
        Self { file: KeptFile::whole(&config.root, LOADAVG) }
    }
}

impl Collector for Load {
    fn collect(&mut self, _module: &str, values: &mut Values<'_>) -> Result<(), ReadError> {
        let read = self.file.read(Loadavg::parse);
        let loadavg = read.as_ref().ok();
        for (at, name) in ["1min", "5min", "15min"].into_iter().enumerate() {
            values.push(name, loadavg.map(|loadavg| loadavg.averages[at]));
        }
        values.push("runnable", loadavg.and_then(|loadavg| loadavg.runnable));
        values.push("tasks", loadavg.and_then(|loadavg| loadavg.tasks));
        read.map(drop)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Loadavg {
    averages: [f64; 3],
    runnable: Option<u64>,
    tasks: Option<u64>,
}

impl Loadavg {
    fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(text).map_err(|_| "not text")?;
        let mut words = text.split_ascii_whitespace();
        let mut averages = [0.0; 3];
        for average in &mut averages {
            let word = words.next().ok_or("fewer than three averages")?;
            *average =
                word.parse().ok().filter(|average: &f64| average.is_finite()).ok_or("an average is not a number")?;
        }
        let tasks = words.next().and_then(|word| word.split_once('/'));
        let number = |text: &str| text.parse().ok();
        Ok(Self {
            averages,
            runnable: tasks.and_then(|(runnable, _)| number(runnable)),
            tasks: tasks.and_then(|(_, tasks)| number(tasks)),
        })
    }
}

/// The fuzz target: a parsed value that is written out parses to the same value.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(loadavg) = Loadavg::parse(bytes) else { return };
    assert!(loadavg.averages.iter().all(|average| average.is_finite()));
    let [one, five, fifteen] = loadavg.averages;
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let written = format!("{one} {five} {fifteen} {}/{} 1", number(loadavg.runnable), number(loadavg.tasks));
    assert_eq!(Loadavg::parse(written.as_bytes()), Ok(loadavg));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn averages_and_tasks_are_parsed() {
        let expected = Loadavg { averages: [0.15, 0.1, 12.08], runnable: Some(2), tasks: Some(513) };
        assert_eq!(Loadavg::parse(b"0.15 0.10 12.08 2/513 12345\n"), Ok(expected));
        assert_eq!(Loadavg::parse(b"1 2 3").map(|loadavg| loadavg.tasks), Ok(None));
        for wrong in [&b"0.15 0.10\n"[..], b"0.15 nan 0.2 1/2 3\n", b"", b"\xff"] {
            assert!(Loadavg::parse(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in any::<Vec<u8>>()) {
            fuzz(&bytes);
        }
    }
}
