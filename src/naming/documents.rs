//! Documents that are made of a table: what is equal, what differs, what is missing. Their tests compare them with the files;
//! `UPDATE_EXPECT=1` writes them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::counterpart::wildcard;
use super::row::{Equal, Pairs, Relation, Row};

pub(super) fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

pub(super) fn read(file: impl AsRef<Path>) -> String {
    std::fs::read_to_string(file).expect("readable")
}

/// The documented metrics, as `module.metric`: the natives', and those of the plugins in this repository.
pub(super) fn documented() -> BTreeSet<String> {
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

/// The table in Markdown. `title` is the title of its first columns; `kind` has the cells between their name and ours.
pub(super) fn markdown(
    title: &[&str],
    rows: impl Iterator<Item = &'static Row>,
    kind: impl Fn(&Row) -> Vec<String>,
) -> String {
    let mut text = format!("| {} | gauged | |\n{}|---|---|\n", title.join(" | "), "|---".repeat(title.len()));
    for row in rows {
        let mut theirs = vec![format!("`{}`", with_labels(row.name, row.labels))];
        theirs.extend(kind(row));
        let (ours, remark) = match &row.relation {
            Relation::Equal(equal) => (with_labels(equal.metric, equal.selected), remark(row, equal)),
            Relation::Similar(metric) => ((*metric).to_owned(), format!("differs: {}", row.remark)),
            Relation::Missing => (String::new(), row.remark.to_owned()),
        };
        let ours = if ours.is_empty() { "–".to_owned() } else { format!("`{ours}`") };
        let remark = if remark.is_empty() { String::new() } else { format!("{remark} ") };
        let _ = writeln!(text, "| {} | {ours} | {remark}|", theirs.join(" | "));
    }
    text
}

/// The document with this text between the two marks.
pub(super) fn between(document: &str, mark: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->\n"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("there is no {begin}"));
    let (_, after) = rest.split_once(&end).expect("an end");
    format!("{before}{begin}{text}{end}{after}")
}

/// Compares a table with the documented metrics: each name of ours in it exists, also in its remarks.
pub(super) fn check_names(rows: impl Iterator<Item = &'static Row>) {
    let documented = documented();
    assert!(documented.contains("cpu.percent") && documented.contains("disk.reads_total"), "{documented:?}");
    let modules: BTreeSet<&str> = documented.iter().filter_map(|name| name.split('.').next()).collect();
    let is_known = |metric: &str| documented.iter().any(|known| wildcard(metric, known).is_some());
    for row in rows {
        let metrics = match &row.relation {
            Relation::Equal(equal) => [&[equal.metric], equal.alternatives].concat(),
            Relation::Similar(metric) => vec![*metric],
            Relation::Missing => Vec::new(),
        };
        for metric in metrics {
            assert!(is_known(metric), "{} is mapped to {metric}, which does not exist", row.name);
        }
        assert!(!matches!(row.relation, Relation::Missing) || !row.remark.is_empty(), "{} has no reason", row.name);
        for word in row.remark.split('`').skip(1).step_by(2) {
            let bare = word.split('{').next().unwrap_or_default();
            let is_metric = bare.split_once('.').is_some_and(|(module, _)| modules.contains(module));
            assert!(!is_metric || is_known(bare), "{} names {word}, which does not exist", row.name);
        }
    }
}
