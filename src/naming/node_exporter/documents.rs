//! The documents about the table: "Coming from `node_exporter`" of plugins/README.md, and the metrics of a dashboard in
//! `docs/node_exporter.md`. Made of the table and compared with the files; `UPDATE_EXPECT=1` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use expect_test::expect_file;

use super::super::row::{Equal, Pairs, Relation, Row};
use super::wildcard;

/// The metrics that the dashboard asks for, one a line.
const DASHBOARD: &str = include_str!("dashboard_1860.txt");

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: impl AsRef<Path>) -> String {
    std::fs::read_to_string(file).expect("readable")
}

/// The documented metrics, as `module.metric`: the natives', and those of the plugins in this repository.
fn documented() -> BTreeSet<String> {
    let mut metrics = BTreeSet::new();
    let (natives, mut module) = (read(path("METRICS.md")), "");
    for line in natives.lines() {
        module = line.strip_prefix("## ").unwrap_or(module);
        let metric = line.strip_prefix("| `").and_then(|rest| rest.split_once('`'));
        metrics.extend(metric.map(|(metric, _)| format!("{module}.{metric}")));
    }
    for entry in std::fs::read_dir(path("plugins")).expect("readable") {
        let file = entry.expect("readable").path().join("README.md");
        let text = if file.exists() { read(file) } else { String::new() };
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let is_kind = |rest: &str| ["counter |", "gauge |"].iter().any(|kind| rest.starts_with(kind));
        metrics.extend(rows.filter(|(_, rest)| is_kind(rest)).map(|(metric, _)| metric.to_owned()));
    }
    metrics
}

/// A name with labels, as in an output.
fn with_labels(name: &str, labels: Pairs) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// The number of our units in one of its, and what else there is to know.
fn remark(row: &Row, equal: &Equal) -> String {
    let unit = equal.unit.map(|unit| format!("× {unit}"));
    let also: Vec<String> = equal.alternatives.iter().map(|metric| format!("`{metric}`")).collect();
    let also = (!also.is_empty()).then(|| format!("also {}", also.join(", ")));
    let parts = unit.into_iter().chain(also).chain((!row.remark.is_empty()).then(|| row.remark.to_owned()));
    parts.collect::<Vec<_>>().join("; ")
}

fn markdown() -> String {
    let mut text = "| node_exporter | gauged | |\n|---|---|---|\n".to_owned();
    for row in super::rows() {
        let theirs = with_labels(row.name, row.labels);
        let (ours, remark) = match &row.relation {
            Relation::Equal(equal) => (with_labels(equal.metric, equal.selected), remark(row, equal)),
            Relation::Similar(metric) => ((*metric).to_owned(), format!("differs: {}", row.remark)),
            Relation::Missing => (String::new(), row.remark.to_owned()),
        };
        let ours = if ours.is_empty() { "–".to_owned() } else { format!("`{ours}`") };
        let remark = if remark.is_empty() { String::new() } else { format!("{remark} ") };
        let _ = writeln!(text, "| `{theirs}` | {ours} | {remark}|");
    }
    text
}

/// The document with this text between the two marks.
fn between(document: &str, mark: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->\n"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("there is no {begin}"));
    let (_, after) = rest.split_once(&end).expect("an end");
    format!("{before}{begin}{text}{end}{after}")
}

/// Whether a row gives one of the documented metrics this name.
fn names(row: &Row, name: &str, documented: &BTreeSet<String>) -> bool {
    let (Relation::Equal(equal), Some(text)) = (&row.relation, wildcard(row.name, name)) else { return false };
    let mut metrics = std::iter::once(&equal.metric).chain(equal.alternatives);
    metrics.any(|metric| documented.contains(&metric.replace('*', text)))
}

/// The row that is about a name: the most precise one.
fn row_about(name: &str) -> Option<&'static Row> {
    let rows = super::rows().filter(|row| wildcard(row.name, name).is_some());
    rows.max_by_key(|row| if row.name.contains('*') { row.name.len() } else { usize::MAX })
}

/// The section about the dashboard.
fn dashboard() -> String {
    let documented = documented();
    let asked: Vec<&str> = DASHBOARD.lines().filter(|line| !line.starts_with('#')).collect();
    let is_named = |name: &&str| super::rows().any(|row| names(row, name, &documented));
    let (named, missing): (Vec<&str>, Vec<&str>) = asked.iter().partition(|name| is_named(name));
    let mut text = format!(
        "It asks for {} metrics. {} of them exist, {} are missing:\n\n| missing | metrics | reason |\n|---|---|---|\n",
        asked.len(),
        named.len(),
        missing.len()
    );
    let mut reasons: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for name in missing {
        let reason = match row_about(name) {
            None => ("", "node_exporter has no such metric".to_owned()),
            Some(Row { name, relation: Relation::Similar(metric), remark, .. }) => {
                (*name, format!("`{metric}` differs: {remark}"))
            }
            Some(row) => (row.name, row.remark.to_owned()),
        };
        reasons.entry(reason).or_default().push(name);
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, names)| usize::MAX - names.len());
    for ((_, reason), names) in reasons {
        let listed: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "| {} | {} | {reason} |", names.len(), listed.join(", "));
    }
    text
}

#[test]
fn readme_table_matches_the_naming() {
    let document = read(path("plugins/README.md"));
    expect_file![path("plugins/README.md")].assert_eq(&between(&document, "node_exporter", &markdown()));
}

#[test]
fn document_counts_the_dashboards_metrics() {
    let document = read(path("docs/node_exporter.md"));
    expect_file![path("docs/node_exporter.md")].assert_eq(&between(&document, "dashboard 1860", &dashboard()));
}

#[test]
fn rows_name_documented_metrics() {
    let documented = documented();
    assert!(documented.contains("cpu.percent") && documented.contains("disk.reads_total"), "{documented:?}");
    for row in super::rows() {
        let metrics = match &row.relation {
            Relation::Equal(equal) => [&[equal.metric], equal.alternatives].concat(),
            Relation::Similar(metric) => vec![*metric],
            Relation::Missing => Vec::new(),
        };
        for metric in metrics {
            let is_known = documented.iter().any(|known| wildcard(metric, known).is_some());
            assert!(is_known, "{} is mapped to {metric}, which does not exist", row.name);
        }
    }
}
