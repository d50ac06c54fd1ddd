//! The documents about the table: "Coming from `node_exporter`" of plugins/README.md, and the metrics of a dashboard in
//! `docs/node_exporter.md`. Made of the table and compared with the files; `UPDATE_EXPECT=1` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use expect_test::expect_file;

use super::super::documents::{between, check_names, documented, markdown, path, read};
use super::super::row::{Relation, Row};
use super::wildcard;

/// The metrics that the dashboard asks for, one a line.
const DASHBOARD: &str = include_str!("dashboard_1860.txt");

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
    let table = markdown(&["node_exporter"], super::rows(), |_| Vec::new());
    expect_file![path("plugins/README.md")].assert_eq(&between(&document, "node_exporter", &table));
}

#[test]
fn document_counts_the_dashboards_metrics() {
    let document = read(path("docs/node_exporter.md"));
    expect_file![path("docs/node_exporter.md")].assert_eq(&between(&document, "dashboard 1860", &dashboard()));
}

#[test]
fn rows_name_documented_metrics() {
    check_names(super::rows());
}
