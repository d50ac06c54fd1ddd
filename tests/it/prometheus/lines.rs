//! The lines that the agent prints, as the series of a scrape in the naming `gauged`.

use std::collections::{BTreeMap, BTreeSet};

use gauged::naming::{Naming, Number, Scale};

use super::stored::{Labels, NAME};
use crate::exposition::machines::{self, read_key, value};
use crate::harness::Sample;

/// The agent's interval, in seconds.
pub const INTERVAL: f64 = 1.0;

/// How far a tick is from a number of seconds that a server has stored.
const SAME_TICK: f64 = 1e-3;

/// The agent's lines, in their order.
pub struct Lines {
    lines: Vec<Line>,
}

/// A line.
struct Line {
    tick: f64,
    modules: BTreeMap<String, LineModule>,
    /// The plugins whose last call failed.
    failed: BTreeSet<String>,
}

/// A module of a line.
struct LineModule {
    /// The tick that it was measured at, which may be an earlier one than the line's.
    tick: f64,
    series: BTreeMap<Labels, f64>,
}

impl Lines {
    pub fn new(samples: &[Sample]) -> Self {
        Self { lines: samples.iter().map(Line::new).collect() }
    }

    /// Compares the series of a scrape, which began at this time and took so many seconds, with the latest line before it. Numbers are
    /// equal when they differ by no more than `precision` of their size.
    pub fn compare(
        &self,
        time: f64,
        took: f64,
        scraped: &BTreeMap<Labels, f64>,
        precision: f64,
    ) -> Result<(), Vec<String>> {
        let timestamp = Labels::from([(NAME.to_owned(), "gauged_agent_timestamp_seconds".to_owned())]);
        let tick = *scraped.get(&timestamp).ok_or_else(|| vec![format!("no tick in the scrape at {time}")])?;
        let is_tick = |line: &Line| (line.tick - tick).abs() < SAME_TICK;
        let at = self.lines.iter().position(is_tick).ok_or_else(|| vec![format!("no line of the tick {tick}")])?;
        let latest_before = |time: f64| self.lines.iter().rposition(|line| line.tick <= time);
        // The latest tick at the time of the scrape may not have been complete, and a later one before the response.
        let earliest = latest_before(time).map(|latest| latest.saturating_sub(1));
        let range = earliest.unwrap_or(0)..=latest_before(time + took).unwrap_or(0);
        if !range.contains(&at) {
            return Err(vec![format!("the scrape at {time} has the tick {tick}")]);
        }
        let mut problems = Vec::new();
        let printed = self.latest(at);
        let all: BTreeSet<&Labels> = scraped.keys().chain(printed.keys().copied()).collect();
        for series in all {
            let (was, is) = (printed.get(series).copied(), scraped.get(series).copied());
            let is_equal = was.zip(is).is_some_and(|(was, is)| (was - is).abs() <= precision * was.abs());
            if !is_equal {
                problems.push(format!("{series:?} at {time}: printed {was:?}, stored {is:?}"));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The series that a scrape has after the tick of a line: of each module the latest result, unless the plugin's last call failed,
    /// or its result is two intervals old.
    fn latest(&self, at: usize) -> BTreeMap<&Labels, f64> {
        let mut modules = BTreeMap::new();
        for line in &self.lines[..=at] {
            modules.extend(line.modules.iter());
        }
        let line = &self.lines[at];
        modules.retain(|name, module| {
            let is_current = line.tick - module.tick < 2.0 * INTERVAL - SAME_TICK;
            line.modules.contains_key(*name) || is_current && !line.failed.contains(*name)
        });
        modules.into_values().flat_map(|module| &module.series).map(|(series, value)| (series, *value)).collect()
    }
}

impl Line {
    fn new(sample: &Sample) -> Self {
        let agent = &sample["agent"];
        let number = |key: &str| agent.get(key).and_then(serde_json::Value::as_f64);
        let tick = number("timestamp").expect("a number");
        let failed = |key: &String| {
            let plugin = key.strip_prefix("plugin_up{plugin=\"")?.strip_suffix("\"}")?;
            (number(key) == Some(0.0)).then(|| plugin.to_owned())
        };
        let module = |(name, metrics): (&String, &BTreeMap<String, serde_json::Value>)| {
            let module = machines::module(name.clone(), |values| {
                for (key, number) in metrics {
                    let (metric, labels) = read_key(key);
                    values.push_labelled(metric, &labels, value(number));
                }
            });
            let all = module.schema().series().iter().zip(module.values());
            let named = all.filter_map(|(series, value)| {
                let named = Naming::Gauged.name("gauged", module.schema().source(), series)?;
                let number = match Scale::new(named.factor).number(value)? {
                    Number::Unsigned(number) => number as f64,
                    Number::Signed(number) => number as f64,
                    Number::Float(number) => number,
                };
                let labels = named.labels.iter().map(|label| (label.name.to_string(), label.value.to_string()));
                Some((labels.chain([(NAME.to_owned(), named.name.to_string())]).collect(), number))
            });
            let age = number(&format!("module_age_seconds{{module=\"{name}\"}}"));
            (name.clone(), LineModule { tick: tick - age.unwrap_or_default(), series: named.collect() })
        };
        Self { tick, modules: sample.iter().map(module).collect(), failed: agent.keys().filter_map(failed).collect() }
    }
}
