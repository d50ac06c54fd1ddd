//! The document about the table, `docs/opentelemetry.md`, and the conventions that the table is compared with.

use std::fmt::Write as _;

use expect_test::expect_file;

use super::super::documents::{between, check_names, markdown, path, read};
use super::super::row::{Relation, Row};
use super::wildcard;
use crate::sample::MetricKind;

/// The conventions, one a line.
const CONVENTIONS: &str = include_str!("system_1_44.txt");

/// A metric of the conventions.
struct Convention {
    name: &'static str,
    instrument: &'static str,
    unit: &'static str,
    attributes: Vec<&'static str>,
}

fn conventions() -> Vec<Convention> {
    let read = |line: &'static str| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a word");
        let (name, instrument, unit, _) = (word(), word(), word(), word());
        Convention { name, instrument, unit, attributes: words.collect() }
    };
    CONVENTIONS.lines().filter(|line| !line.starts_with('#')).map(read).collect()
}

/// The instrument of a row whose metric has a counterpart.
fn instrument(row: &Row) -> Option<(&'static str, &'static str)> {
    let Relation::Equal(equal) = &row.relation else { return None };
    let instrument = match (equal.kind?, equal.is_additive) {
        (MetricKind::Counter, _) => "counter",
        (MetricKind::Gauge, true) => "updowncounter",
        (MetricKind::Gauge, false) => "gauge",
        (MetricKind::Histogram | MetricKind::Summary, _) => return None,
    };
    Some((instrument, equal.ucum))
}

/// The word of the document for an instrument.
fn word(instrument: &str) -> &'static str {
    match instrument {
        "counter" => "sum, monotonic",
        "updowncounter" => "sum",
        _ => "gauge",
    }
}

fn table() -> String {
    markdown(&["OpenTelemetry", "kind", "unit"], super::rows(), |row| {
        let known = instrument(row).or_else(|| {
            let convention = conventions().into_iter().find(|known| known.name == row.name)?;
            Some((convention.instrument, convention.unit))
        });
        known.map_or_else(
            || vec![String::new(), String::new()],
            |(instrument, unit)| vec![word(instrument).to_owned(), format!("`{unit}`")],
        )
    })
}

/// The number of conventions that are met, and the names of the others.
fn summary() -> String {
    let conventions = conventions();
    let relation = |convention: &Convention| {
        let row = super::rows().find(|row| wildcard(row.name, convention.name).is_some());
        row.map(|row| row.relation)
    };
    let count =
        |is: fn(Relation) -> bool| conventions.iter().filter(|convention| relation(convention).is_some_and(is)).count();
    let equal = count(|relation| matches!(relation, Relation::Equal(_)));
    let similar = count(|relation| matches!(relation, Relation::Similar(_)));
    let missing = count(|relation| matches!(relation, Relation::Missing));
    let mut text = String::new();
    let _ = writeln!(
        text,
        "The conventions have {} metrics of hosts, `system.*`. There, at least in part: {equal}. Different, with gauged's name: {similar}. \
         Missing: {missing}.",
        conventions.len()
    );
    text
}

#[test]
fn document_matches_the_table() {
    let document = read(path("docs/opentelemetry.md"));
    let document = between(&between(&document, "summary", &summary()), "table", &table());
    expect_file![path("docs/opentelemetry.md")].assert_eq(&document);
}

#[test]
fn rows_name_documented_metrics() {
    check_names(super::rows());
}

#[test]
fn conventions_have_rows() {
    for convention in conventions() {
        let is_there = super::rows().any(|row| wildcard(row.name, convention.name).is_some());
        assert!(is_there, "{}", convention.name);
    }
}

#[test]
fn rows_follow_the_conventions() {
    let conventions = conventions();
    for row in super::rows() {
        let Relation::Equal(equal) = &row.relation else { continue };
        let Some(convention) = conventions.iter().find(|convention| convention.name == row.name) else {
            assert!(
                row.remark.contains("the Collector's") || row.remark == "as above",
                "{} is no convention",
                row.name
            );
            continue;
        };
        let expected = (convention.instrument, convention.unit);
        assert_eq!(instrument(row), Some(expected), "{}", row.name);
        for (attribute, _) in
            row.labels.iter().chain(&equal.renamed.iter().map(|(_, to)| (*to, "")).collect::<Vec<_>>())
        {
            assert!(convention.attributes.contains(attribute), "{} has no attribute {attribute}", row.name);
        }
    }
}
