//! The module `load`, from `/proc/loadavg`: the number of tasks that run, are ready to run, or wait for a disk, averaged
//! over 1, 5 and 15 minutes; and the number of tasks now.

use std::sync::Arc;

use super::bounds::TASKS;
use super::{Collector, FileProblem, ReadError};
use crate::config::Config;
use crate::procfs::{KeptFile, Oddities, Oddity, decimal_number, whole_number};
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
    NativeMetric::gauge(
        "load",
        "5min",
        "{task}",
        "Tasks that run, are ready to run or wait for a disk, averaged over five minutes.",
        LOADAVG,
    ),
    NativeMetric::gauge(
        "load",
        "15min",
        "{task}",
        "Tasks that run, are ready to run or wait for a disk, averaged over a quarter of an hour.",
        LOADAVG,
    ),
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
        let read = self.file.read_noting(Loadavg::parse);
        let loadavg = read.unwrap_or_default();
        for (name, average) in ["1min", "5min", "15min"].into_iter().zip(loadavg.averages) {
            values.push(name, average);
        }
        values.push("runnable", loadavg.runnable);
        values.push("tasks", loadavg.tasks);
        read.map(drop)
    }

    fn skipped_lines(&self) -> u64 {
        self.file.skipped_lines()
    }

    fn problem(&self) -> Option<&Arc<FileProblem>> {
        self.file.problem()
    }
}

/// The content of the file; none where it is missing or cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Loadavg {
    averages: [Option<f64>; 3],
    runnable: Option<u64>,
    tasks: Option<u64>,
}

impl Loadavg {
    /// Fails only if the file has nothing of it.
    fn parse(text: &[u8], odd: &mut Oddities) -> Result<Self, &'static str> {
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let mut loadavg = Self::default();
        for (average, left_out) in loadavg.averages.iter_mut().zip(["load.1min", "load.5min", "load.15min"]) {
            match words.next() {
                Some(word) => *average = TASKS.keep(decimal_number(word), word, left_out, odd),
                None => odd.note_missing(Oddity::new("has fewer than three averages", left_out)),
            }
        }
        let tasks = words.next().unwrap_or_default();
        if let Some(slash) = tasks.iter().position(|&byte| byte == b'/') {
            let (runnable, all) = (&tasks[..slash], &tasks[slash + 1..]);
            let count = |word, left_out, odd: &mut Oddities| {
                let number = whole_number(word);
                TASKS.keep(number.map(|number| number as f64), word, left_out, odd).and(number)
            };
            loadavg.runnable = count(runnable, "load.runnable", odd);
            loadavg.tasks = count(all, "load.tasks", odd);
        } else {
            odd.note_missing(Oddity::new("has no numbers of tasks", "load.runnable, load.tasks"));
        }
        if loadavg == Self::default() {
            return Err("it has no average and no number of tasks");
        }
        Ok(loadavg)
    }
}

/// The fuzz target: a parsed value that is written out parses to the same value.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let parse = |text: &[u8]| {
        let mut odd = Oddities::default();
        odd.begin_text(text);
        Loadavg::parse(text, &mut odd)
    };
    let Ok(loadavg) = parse(bytes) else { return };
    assert!(loadavg.averages.iter().flatten().all(|&average| TASKS.holds(average)));
    let [one, five, fifteen] =
        loadavg.averages.map(|average| average.map_or("x".to_owned(), |average| average.to_string()));
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let written = format!("{one} {five} {fifteen} {}/{} 1", number(loadavg.runnable), number(loadavg.tasks));
    assert_eq!(parse(written.as_bytes()), Ok(loadavg));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parsed file, and the losses that are noted.
    fn parse(text: &[u8]) -> (Result<Loadavg, &'static str>, Vec<&'static str>) {
        let (read, noted) = Oddities::noted(text, Loadavg::parse);
        (read, noted.into_iter().map(|(_, left_out)| left_out).collect())
    }

    #[test]
    fn averages_and_tasks_are_parsed() {
        let expected = Loadavg { averages: [Some(0.15), Some(0.1), Some(12.08)], runnable: Some(2), tasks: Some(513) };
        for text in ["0.15 0.10 12.08 2/513 12345\n", "0.15 0.10 12.08 2/513", "0.15\t0.10  12.08 2/513 1 2 3\r\n"] {
            assert_eq!(parse(text.as_bytes()), (Ok(expected), vec![]), "{text:?}");
            assert!(parse(text.repeat(2).as_bytes()).0.is_ok(), "{text:?}");
        }
        for wrong in [&b""[..], b"\n", b"\xff", b"nonsense", b"# a line of words"] {
            assert!(parse(wrong).0.is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn odd_words_cost_only_their_metrics() {
        let names = ["load.1min", "load.5min", "load.15min", "load.runnable", "load.tasks"];
        let good = ["1.00", "2.00", "3.00", "4", "5"];
        let values = |loadavg: Loadavg| {
            let counts = [loadavg.runnable, loadavg.tasks].map(|count| count.map(|count| count as f64));
            [loadavg.averages.as_slice(), &counts].concat()
        };
        for at in 0..names.len() {
            for word in ["-1", "nan", "inf", "1e2", "18446744073709551615", "99999999999999999999", "0,5", "\u{0}", "x"]
            {
                let mut words = good;
                words[at] = word;
                let [one, five, fifteen, runnable, tasks] = words;
                let text = format!("{one} {five} {fifteen} {runnable}/{tasks} 77\n");
                let (read, noted) = parse(text.as_bytes());
                let mut expected: Vec<Option<f64>> = (1..=5).map(f64::from).map(Some).collect();
                expected[at] = None;
                assert_eq!((values(read.expect(&text)), noted), (expected, vec![names[at]]), "{text}");
            }
        }
        let (read, noted) = parse(b"0.5 1.5\n");
        assert_eq!(read.map(|loadavg| loadavg.averages), Ok([Some(0.5), Some(1.5), None]), "it is cut");
        assert_eq!(noted, ["load.15min", "load.runnable, load.tasks"]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in any::<Vec<u8>>(), text in "[0-9./ -]{0,40}") {
            fuzz(&bytes);
            fuzz(text.as_bytes());
        }
    }
}
