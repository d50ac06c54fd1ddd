//! What an agent has measured, by its file of samples, and the comparison with what a receiver has stored.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::MODULE;
use super::decode::Point;
use crate::harness::Sample;
use crate::sinks::lines;

/// The samples that may be missing after a kill: those whose tick was in this time before it.
const LOST_MS: u64 = 2000;

/// How much later than its tick a result of the plugin may be in a sample, on a busy machine.
const MAX_LATE_MS: u64 = 60_000;

/// The values of the test's plugin, by the numbers of its metrics, as bits of floats. The first one is the number of its calls.
pub type Values = BTreeMap<u32, u64>;

/// A sample with a result of the test's plugin.
#[derive(Debug, Clone)]
pub struct Measured {
    pub time_ms: u64,
    pub values: Values,
}

/// The machine's time in milliseconds.
pub fn now_ms() -> u64 {
    let now: Duration = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_millis() as u64
}

/// The time of a sample.
pub fn time_ms(sample: &Sample) -> u64 {
    let seconds = sample["agent"]["timestamp"].as_f64().expect("a time");
    (seconds * 1000.0).round() as u64
}

/// The samples in a file with a result of the plugin.
pub fn read(path: &Path) -> Vec<Measured> {
    let measured = |sample: &Sample| {
        let value = |(name, value): (&String, &serde_json::Value)| {
            Some((number(name)?, value.as_f64().expect("a number").to_bits()))
        };
        let values: Values = sample.get(MODULE)?.iter().filter_map(value).collect();
        Some(Measured { time_ms: time_ms(sample), values })
    };
    lines(path).iter().filter_map(measured).collect()
}

/// The number of a metric of the plugin, by its series in whatever naming.
pub fn metric_number(series: &str) -> Option<u32> {
    let (_, rest) = series.split_once(MODULE)?;
    number(rest.strip_prefix(['_', '.'])?)
}

fn number(metric: &str) -> Option<u32> {
    let rest = metric.strip_prefix("metric_")?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// The results of the plugin among stored points, by their times.
pub fn stored_results(points: &[Point]) -> BTreeMap<u64, Values> {
    let mut results = BTreeMap::<u64, Values>::new();
    for point in points.iter().filter(|point| !point.is_end) {
        if let Some(number) = metric_number(&point.series) {
            results.entry(point.time_ms).or_default().insert(number, point.bits);
        }
    }
    results
}

/// The comparison of stored points with what was measured, for a receiver whose points have the times of their ticks.
pub struct Comparison {
    /// The samples that are not stored.
    pub missing: Vec<Measured>,
    /// The times of stored results that were not measured, or not written to the file.
    pub unknown: Vec<u64>,
    /// How many are stored as they were measured.
    pub equal: usize,
}

/// Compares all samples. A result that was late is stored with the time of its tick, and in the file with a later sample.
pub fn compare(stored: &BTreeMap<u64, Values>, measured: &[Measured]) -> Comparison {
    let mut unknown = stored.clone();
    let mut comparison = Comparison { missing: Vec::new(), unknown: Vec::new(), equal: 0 };
    for sample in measured {
        let earliest = sample.time_ms.saturating_sub(MAX_LATE_MS);
        let same = unknown.range(earliest..=sample.time_ms).rev().find(|(_, values)| **values == sample.values);
        match same.map(|(time, _)| *time) {
            Some(time) => {
                unknown.remove(&time);
                comparison.equal += 1;
            }
            None => comparison.missing.push(sample.clone()),
        }
    }
    comparison.set_unknown(unknown, measured);
    comparison
}

/// Compares seconds: of each second in which there are samples, the receiver has stored one.
pub fn compare_seconds(stored: &BTreeMap<u64, Values>, measured: &[Measured]) -> Comparison {
    let mut unknown = stored.clone();
    let mut comparison = Comparison { missing: Vec::new(), unknown: Vec::new(), equal: 0 };
    for second in measured.chunk_by(|sample, other| sample.time_ms / 1000 == other.time_ms / 1000) {
        let time = second[0].time_ms / 1000 * 1000;
        let is_near = |sample: &&Measured| (time..time + MAX_LATE_MS).contains(&sample.time_ms);
        let is_among = |values: &Values| measured.iter().filter(is_near).any(|sample| sample.values == *values);
        match unknown.get(&time) {
            Some(values) if is_among(values) || is_superseded(time, values, measured) => {
                unknown.remove(&time);
                comparison.equal += 1;
            }
            _ => comparison.missing.push(second[0].clone()),
        }
    }
    comparison.set_unknown(unknown, measured);
    comparison
}

/// The number of the plugin's call with this result.
fn calls(values: &Values) -> Option<f64> {
    values.get(&0).copied().map(f64::from_bits)
}

/// Whether the file has a newer result in the place of this one, which was so late that both are in one sample.
fn is_superseded(time: u64, values: &Values, measured: &[Measured]) -> bool {
    let Some(own) = calls(values) else { return false };
    let numbers: Vec<f64> = measured.iter().filter_map(|sample| calls(&sample.values)).collect();
    let first = measured.partition_point(|sample| sample.time_ms < time);
    let Some(newer) = (first..numbers.len()).find(|&at| numbers[at] > own) else { return false };
    // The calls of another run begin again.
    newer == 0 || numbers[newer - 1] < own || numbers[newer - 1] >= numbers[newer]
}

impl Comparison {
    fn set_unknown(&mut self, unknown: BTreeMap<u64, Values>, measured: &[Measured]) {
        let unknown = unknown.into_iter().filter(|(time, values)| !is_superseded(*time, values, measured));
        self.unknown = unknown.map(|(time, _)| time).collect();
    }

    /// Asserts that everything was stored but for what a kill may cost, and nothing else, when the agent was killed at these times.
    pub fn assert_complete(&self, name: &str, kills_ms: &[RangeInclusive<u64>]) {
        let is_excused = |time: u64| kills_ms.iter().any(|kill| time + LOST_MS >= *kill.start() && time <= *kill.end());
        let missing: Vec<u64> =
            self.missing.iter().map(|sample| sample.time_ms).filter(|&time| !is_excused(time)).collect();
        assert!(missing.is_empty(), "{name}: {missing:?} are missing; kills {kills_ms:?}; {} are there", self.equal);
        // A sample may be delivered before it is in the file.
        let unknown: Vec<u64> = self.unknown.iter().copied().filter(|&time| !is_excused(time)).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?} were not measured; kills {kills_ms:?}");
        assert!(self.equal > 0, "{name}: nothing is stored");
    }
}

/// Asserts that the points of each series are in the order of their times, and none is there twice.
pub fn assert_ordered(name: &str, points: &[Point]) {
    assert_ordered_but(name, points, &[]);
}

/// The same, where the times are whole seconds: an agent that is killed and started again within one may have a point of it, too.
pub fn assert_ordered_but(name: &str, points: &[Point], kills_ms: &[RangeInclusive<u64>]) {
    let is_of_kill =
        |time: u64| kills_ms.iter().any(|kill| (kill.start() / 1000..=kill.end() / 1000).contains(&(time / 1000)));
    let mut last = std::collections::HashMap::<&str, u64>::new();
    for point in points {
        if let Some(before) = last.insert(&point.series, point.time_ms) {
            let is_again = before == point.time_ms && is_of_kill(before);
            assert!(
                before < point.time_ms || is_again,
                "{name}: {} at {} comes after {before}",
                point.series,
                point.time_ms
            );
        }
    }
    assert!(!last.is_empty(), "{name}: nothing is stored");
}

#[test]
fn late_results_are_those_of_their_ticks() {
    let values = |number: u64| Values::from([(0, number)]);
    let measured = |time_ms, number| Measured { time_ms, values: values(number) };
    let stored = BTreeMap::from([(1000, values(1)), (1200, values(2)), (1800, values(4))]);
    // The second result was late by a tick, and the third is not there.
    let comparison = compare(&stored, &[measured(1000, 1), measured(1400, 2), measured(1600, 3), measured(1800, 4)]);
    assert_eq!((comparison.equal, comparison.unknown.len()), (3, 0));
    assert_eq!(comparison.missing.iter().map(|sample| sample.time_ms).collect::<Vec<_>>(), [1600]);
    let comparison = compare_seconds(&stored, &[measured(1000, 5), measured(1400, 1), measured(2000, 6)]);
    assert_eq!((comparison.equal, comparison.missing.len()), (1, 1));
}

#[test]
fn superseded_results_need_not_be_in_the_file() {
    let values = |number: u32| Values::from([(0, f64::from(number).to_bits())]);
    let measured = |time_ms, number| Measured { time_ms, values: values(number) };
    let file = [measured(1000, 7), measured(1400, 9), measured(1600, 1)];
    for (time, number, expected) in
        [(1200, 8, true), (1200, 6, false), (1200, 9, false), (1500, 8, false), (1800, 2, false)]
    {
        assert_eq!(is_superseded(time, &values(number), &file), expected, "{number} at {time}");
    }
    assert!(is_superseded(1550, &values(0), &file), "of the next run");
}
