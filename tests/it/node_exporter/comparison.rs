//! The agent's values beside those of `node_exporter`, by the rows of the table in plugins/README.md.

use std::collections::{BTreeMap, BTreeSet};

use super::exporter::{Labels, Scrape, series};
use crate::harness::Sample;
use crate::mapping::Row;

/// One value of the agent's between two of `node_exporter`'s.
pub struct Comparison {
    /// The agent's metric, as `module.name`.
    pub metric: String,
    pub before: f64,
    pub ours: f64,
    pub after: f64,
}

impl Comparison {
    /// Whether it lies between them, with this tolerance.
    pub fn is_within(&self, off: f64) -> bool {
        (self.before.min(self.after) - off..=self.before.max(self.after) + off).contains(&self.ours)
    }
}

/// The agent's sample compared with the scrapes before and after it.
#[derive(Default)]
pub struct Round {
    /// By both names of the series.
    pub compared: BTreeMap<String, Comparison>,
    /// Rows for which `node_exporter` has no series on this machine.
    pub absent: BTreeSet<String>,
    /// Series of `node_exporter` that the agent does not have.
    pub missing: Vec<String>,
    /// Series of the agent's that `node_exporter` does not have under any name, though it has others of the metric.
    pub additional: BTreeSet<String>,
}

impl Round {
    /// Compares the metrics that these rows map, of all rows of the table.
    pub fn compare<'a>(
        rows: &[Row],
        compared: impl Iterator<Item = &'a Row>,
        before: &Scrape,
        ours: &Scrape,
        after: &Scrape,
    ) -> Self {
        let (mut round, mut matched) = (Self::default(), BTreeSet::new());
        for row in compared {
            let names = row.names_among(rows, before);
            if names.is_empty() {
                round.absent.insert(row.theirs.clone());
            }
            for name in names {
                matched.extend(round.compare_metric(row, name, before, ours, after));
            }
        }
        round.additional.retain(|key| !matched.contains(key));
        round
    }

    /// Compares one of their metrics; returns the agent's series that it has.
    fn compare_metric(&mut self, row: &Row, name: &str, before: &Scrape, ours: &Scrape, after: &Scrape) -> Vec<String> {
        let (_, selected) = series(&row.theirs);
        let here = row.name_here(name).expect("the row has one");
        let (metric, fixed) = series(&here);
        let own = ours.get(&metric).map(|own| with(own, &fixed)).unwrap_or_default();
        let [before, after] = [before, after].map(|scrape| {
            let scraped = scrape.get(name).map(|scraped| with(scraped, &selected)).unwrap_or_default();
            scraped.into_iter().filter(|(_, value)| is_known(&metric, *value)).collect::<Vec<_>>()
        });
        let (mut covered, mut matched) = (BTreeSet::new(), Vec::new());
        for (labels, value) in &own {
            let key = format!("{here} {labels:?}");
            let [theirs_before, theirs_after] = [&before, &after].map(|scrape| combined(row, scrape, labels));
            let (Some(theirs_before), Some(theirs_after)) = (theirs_before, theirs_after) else {
                self.additional.insert(key);
                continue;
            };
            covered.extend(before.iter().enumerate().filter(|(_, (of, _))| agree(of, labels)).map(|(at, _)| at));
            let (low, high) = (theirs_before * row.factor(), theirs_after * row.factor());
            let compared = Comparison { metric: metric.clone(), before: low, ours: *value, after: high };
            self.compared.insert(format!("{name} as {key}"), compared);
            matched.push(key);
        }
        for (_, (labels, _)) in before.iter().enumerate().filter(|(at, _)| !covered.contains(at)) {
            if !is_mounted_elsewhere(&metric, labels, &own) {
                self.missing.push(format!("{name} {labels:?}"));
            }
        }
        matched
    }
}

/// Whether a row maps a series of this scrape.
pub fn has_series(row: &Row, rows: &[Row], scrape: &Scrape) -> bool {
    let (_, selected) = series(&row.theirs);
    row.names_among(rows, scrape).into_iter().any(|name| !with(&scrape[name], &selected).is_empty())
}

/// The series that have these labels, returned without them.
fn with(series: &[(Labels, f64)], fixed: &Labels) -> Vec<(Labels, f64)> {
    let has = |labels: &Labels| fixed.iter().all(|(name, value)| labels.get(name) == Some(value));
    let without = |labels: &Labels| labels.clone().into_iter().filter(|(name, _)| !fixed.contains_key(name)).collect();
    series.iter().filter(|(labels, _)| has(labels)).map(|(labels, value)| (without(labels), *value)).collect()
}

/// Whether two sets of labels have no label with different values.
fn agree(one: &Labels, other: &Labels) -> bool {
    one.iter().all(|(name, value)| other.get(name).is_none_or(|others| others == value))
}

/// The sum or the mean of the `node_exporter` series for one of the agent's, which may combine several, such as CPUs.
fn combined(row: &Row, theirs: &[(Labels, f64)], ours: &Labels) -> Option<f64> {
    let matching: Vec<f64> = theirs.iter().filter(|(labels, _)| agree(labels, ours)).map(|(_, value)| *value).collect();
    let sum = matching.iter().sum::<f64>();
    (!matching.is_empty()).then(|| if row.is_mean() { sum / matching.len() as f64 } else { sum })
}

/// Whether the value is known: `node_exporter` gives an unknown speed as a negative number.
fn is_known(metric: &str, value: f64) -> bool {
    metric != "network.speed_bytes_per_second" || value > 0.0
}

/// Whether the device is listed at another mount point: `node_exporter` lists a device twice that is mounted twice.
fn is_mounted_elsewhere(metric: &str, theirs: &Labels, ours: &[(Labels, f64)]) -> bool {
    let device = theirs.get("device");
    metric.starts_with("filesystem.") && ours.iter().any(|(labels, _)| labels.get("device") == device)
}

/// A sample in the form of a scrape.
pub fn flat(sample: &Sample) -> Scrape {
    let mut scrape = Scrape::new();
    for (module, metrics) in sample {
        for (key, value) in metrics {
            let value = value.as_f64().or_else(|| value.as_bool().map(|yes| f64::from(u8::from(yes))));
            let (name, labels) = series(key);
            if let Some(value) = value {
                scrape.entry(format!("{module}.{name}")).or_default().push((labels, value));
            }
        }
    }
    scrape
}

/// The allowed difference of a gauge, in its own unit. All others are settings, sizes and states, and must be equal.
pub fn tolerance(ours: &str) -> f64 {
    match ours {
        // Other programs of the machine write files as well.
        "filesystem.free_bytes" | "filesystem.available_bytes" => 64e6,
        "filesystem.free_inodes" => 2000.0,
        "disk.io_in_progress" => 64.0,
        "kernel.threads_running" | "kernel.threads_blocked" => 16.0,
        "kernel.files_allocated" => 512.0,
        // A scrape makes connections of its own.
        "netstat.Tcp_CurrEstab" | "kernel.conntrack_entries" => 32.0,
        "netstat.sockstat_TCP_mem_pages" | "netstat.sockstat_UDP_mem_pages" => 2048.0,
        "netstat.sockstat_TCP_mem_bytes" | "netstat.sockstat_UDP_mem_bytes" => 2048.0 * 4096.0,
        // A CPU changes it many times in a second.
        "cpu.freq_current" => 5000.0,
        _ if ours.starts_with("netstat.sockstat_") => 32.0,
        _ if ours.starts_with("memory.") || ours.starts_with("swap.") => 64e6,
        _ if ours.starts_with("load.") => 0.5,
        _ if ours.starts_with("temperature.") && ours.ends_with("celsius") => 5.0,
        "temperature.fan_rpm" => 200.0,
        _ => 0.0,
    }
}
