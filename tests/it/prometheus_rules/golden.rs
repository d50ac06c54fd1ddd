//! The golden list of the naming `gauged`, with the labels that each metric can have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::harness::repository;

/// Labels that Prometheus gives each series.
pub const OF_TARGETS: [&str; 2] = ["instance", "job"];

/// Labels of metrics that fixture machines do not have: of an agent that goes on, and of plugins that need a service or a table.
const OF_OTHER_HOSTS: [(&str, &[&str]); 9] = [
    ("agent.sink_", &["sink", "reason"]),
    ("agent.http_", &["reason"]),
    ("agent.plugin_stuck_operations", &["plugin"]),
    ("agent.plugin_faults_total", &["plugin", "kind"]),
    ("http_check.", &["target", "reason"]),
    ("json.", &["source", "reason"]),
    ("nginx.", &["url", "reason"]),
    ("ports.", &["port", "protocol"]),
    ("redis.", &["server", "reason"]),
];

/// A metric of the list.
pub struct Metric {
    /// `gauge` or `counter`.
    pub kind: String,
    /// Empty if there is none.
    pub unit: String,
    pub labels: BTreeSet<String>,
}

fn lines(file: &str) -> Vec<String> {
    let path: PathBuf = repository().join("tests/it/exposition").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

/// The metrics of the naming, by their names.
pub fn names() -> BTreeMap<String, Metric> {
    let labels = labels();
    let parse = |line: String| {
        let (named, key) = line.split_once(": ").expect("a key");
        let (name, kind) = named.split_once(' ').expect("a kind");
        let (kind, unit) = kind.split_once(" in ").unwrap_or((kind, ""));
        let labels = labels.get(key).cloned().unwrap_or_default();
        (name.to_owned(), Metric { kind: kind.to_owned(), unit: unit.to_owned(), labels })
    };
    lines("gauged.txt").into_iter().map(parse).collect()
}

/// The labels of each metric, by its key in samples.
fn labels() -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in lines("json_keys.txt") {
        let (key, labels) = line.split_once('{').unwrap_or((&line, ""));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        let known = all.entry(key.to_owned()).or_default();
        known.extend(labels.map(str::to_owned));
        for (_, labels) in OF_OTHER_HOSTS.iter().filter(|(start, _)| key.starts_with(start)) {
            known.extend(labels.iter().map(|label| (*label).to_owned()));
        }
    }
    all
}
