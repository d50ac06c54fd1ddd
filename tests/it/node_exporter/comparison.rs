//! The agent's series, under `node_exporter`'s names, beside those of `node_exporter`.

use std::collections::{BTreeMap, BTreeSet};

use gauged::naming::node_exporter::{Relation, Row, rows, wildcard};

use super::exporter::{Labels, Scrape, Series};
use super::named::Named;

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
    /// The series that both have.
    pub compared: BTreeMap<Series, Comparison>,
    /// Metrics that have another type here.
    pub other_types: BTreeSet<String>,
    /// Series of `node_exporter` that the agent does not have, of metrics that a row calls equal.
    pub missing: Vec<Series>,
    /// Series of the agent's that `node_exporter` does not have.
    pub additional: Vec<Series>,
}

impl Round {
    pub fn compare(before: &Scrape, ours: &Named, after: &Scrape) -> Self {
        let mut round = Self::default();
        for (series, value) in ours.scrape.series.iter().filter(|((name, _), _)| is_theirs(name)) {
            // A mount or an interface may come or go meanwhile.
            let (low, high) = match (before.series.get(series), after.series.get(series)) {
                (Some(low), Some(high)) => (low, high),
                (None, None) => {
                    round.additional.push(series.clone());
                    continue;
                }
                _ => continue,
            };
            let [kind, theirs] = [&ours.scrape.types[&series.0], &after.types[&series.0]];
            if kind != theirs {
                round.other_types.insert(format!("{} is a {theirs}, not {kind}", series.0));
            }
            let metric = ours.metrics[series].clone();
            let compared = Comparison { metric, before: *low, ours: *value, after: *high };
            round.compared.insert(series.clone(), compared);
        }
        for ((name, labels), value) in &before.series {
            let is_equal = matches!(row_about(name), Some(Row { relation: Relation::Equal(_), .. }));
            let series = (name.clone(), labels.clone());
            let is_there = ours.scrape.series.contains_key(&series) || !after.series.contains_key(&series);
            if is_theirs(name) && is_equal && !is_there && !is_left_out(name, labels, *value, ours) {
                round.missing.push(series);
            }
        }
        round
    }
}

/// Whether a name is that of a metric about the host. Those about itself each agent has of its own.
fn is_theirs(name: &str) -> bool {
    name.starts_with("node_") && !name.starts_with("node_scrape_") && !name.starts_with("node_exporter_")
}

/// The row about one of their names: the most precise one.
pub fn row_about(name: &str) -> Option<&'static Row> {
    let about = rows().filter(|row| matches(row.name, name));
    about.max_by_key(|row| if row.name.contains('*') { row.name.len() } else { usize::MAX })
}

/// Whether a pattern, in which `*` stands for any text, is that of a name.
pub fn matches(pattern: &str, name: &str) -> bool {
    wildcard(pattern, name).is_some()
}

/// Whether the agent leaves out a series, as plugins/README.md says.
fn is_left_out(name: &str, labels: &Labels, value: f64, ours: &Named) -> bool {
    // A speed that is not known is a negative number there.
    let is_unknown = name == "node_network_speed_bytes" && value <= 0.0;
    // It lists a device twice that is mounted twice.
    let device = labels.get("device");
    let is_mounted = |(other, labels): &Series| other == name && labels.get("device") == device;
    is_unknown || name.starts_with("node_filesystem_") && ours.scrape.series.keys().any(is_mounted)
}

/// The allowed difference of a gauge, in its own unit. All others are settings, sizes and states, and must be equal.
pub fn tolerance(ours: &str) -> f64 {
    match ours {
        // Other programs of the machine write files as well.
        "filesystem.free_bytes" | "filesystem.available_bytes" => 64e6,
        "filesystem.free_inodes" => 2000.0,
        "disk.io_in_progress" => 64.0,
        "kernel.threads_running" | "kernel.threads_blocked" => 16.0,
        "kernel.threads" | "process.processes" | "process.processes_in_state" => 128.0,
        "kernel.files_allocated" => 512.0,
        // A scrape makes connections of its own.
        "netstat.Tcp_CurrEstab" | "kernel.conntrack_entries" => 32.0,
        "netstat.sockstat_TCP_mem_pages" | "netstat.sockstat_UDP_mem_pages" => 2048.0,
        "netstat.sockstat_TCP_mem_bytes" | "netstat.sockstat_UDP_mem_bytes" => 2048.0 * 4096.0,
        _ if ours.starts_with("netstat.sockstat_") => 32.0,
        // Writes of other programs wait in memory, and each program that starts is promised some.
        _ if ours.starts_with("meminfo.") => 256e6,
        _ if ours.starts_with("memory.") || ours.starts_with("swap.") => 64e6,
        _ if ours.starts_with("load.") => 0.5,
        _ if ours.starts_with("temperature.") && ours.ends_with("celsius") => 5.0,
        "temperature.fan_rpm" => 200.0,
        _ => 0.0,
    }
}
