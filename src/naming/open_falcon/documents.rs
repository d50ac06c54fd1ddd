//! The document about the table, `docs/open_falcon.md`, and the agent's metrics that the table is compared with.

use expect_test::expect_file;

use super::super::counterpart::wildcard;
use super::super::documents::{between, check_names, markdown, path, read};
use super::super::row::{Relation, Row};
use super::CounterType;
use crate::sample::Column;

/// The agent's metric about itself, which the sink sends: no series of ours is like it.
const ALIVE: &str = "agent.alive";

/// The agent's metrics, one a line.
const AGENT: &str = include_str!("agent.txt");

/// A metric of the agent's.
struct Theirs {
    name: &'static str,
    counter_type: &'static str,
    tags: Vec<&'static str>,
}

fn agent() -> Vec<Theirs> {
    let read = |line: &'static str| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (name, counter_type, tags) = (word(), word(), word());
        Theirs { name, counter_type, tags: tags.split(',').filter(|tag| !tag.is_empty()).collect() }
    };
    AGENT.lines().filter(|line| !line.starts_with('#')).map(read).collect()
}

/// The rows about a metric.
fn rows_about(name: &str) -> Vec<&'static Row> {
    super::rows().filter(|row| wildcard(row.name, name).is_some()).collect()
}

/// The type of a row with a counterpart.
fn counter_type(row: &Row) -> Option<&'static str> {
    match &row.relation {
        Relation::Equal(equal) => Some(CounterType::new(equal.kind, Column::Value).as_str()),
        Relation::Similar(_) | Relation::Missing => None,
    }
}

fn table() -> String {
    markdown(&["Open-Falcon", "type", "tags"], super::rows(), |row| {
        let theirs = agent().into_iter().find(|theirs| wildcard(row.name, theirs.name).is_some()).expect("a metric");
        let tags: Vec<String> = theirs.tags.iter().map(|tag| format!("`{tag}`")).collect();
        vec![counter_type(row).unwrap_or(theirs.counter_type).to_owned(), tags.join(", ")]
    })
}

fn summary() -> String {
    let mut all = agent();
    let total = all.len();
    all.retain(|theirs| theirs.name != ALIVE);
    let count = |is: fn(&Relation) -> bool| {
        all.iter().filter(|theirs| rows_about(theirs.name).iter().any(|row| is(&row.relation))).count()
    };
    let equal = count(|relation| matches!(relation, Relation::Equal(_)));
    let similar = count(|relation| matches!(relation, Relation::Similar(_)));
    let missing = count(|relation| matches!(relation, Relation::Missing));
    format!(
        "The agent has {total} metrics, some for each device. {equal} of them have the same values here, {similar} differs, \
         {missing} are missing. The sink sends `{ALIVE}`.\n"
    )
}

#[test]
fn document_matches_the_table() {
    let document = read(path("docs/open_falcon.md"));
    let document = between(&between(&document, "summary", &summary()), "table", &table());
    expect_file![path("docs/open_falcon.md")].assert_eq(&document);
}

#[test]
fn rows_name_documented_metrics() {
    check_names(super::rows());
}

#[test]
fn agent_metrics_have_rows() {
    for theirs in agent() {
        assert!(!rows_about(theirs.name).is_empty(), "{}", theirs.name);
    }
    let names: Vec<&str> = agent().iter().map(|theirs| theirs.name).collect();
    for row in super::rows() {
        assert!(names.iter().any(|name| wildcard(row.name, name).is_some()), "the agent has no {}", row.name);
    }
}

#[test]
fn rows_have_the_agents_types_and_tags() {
    for theirs in agent() {
        for row in rows_about(theirs.name) {
            let Relation::Equal(equal) = &row.relation else { continue };
            let is_same = counter_type(row) == Some(theirs.counter_type);
            assert!(is_same || row.remark.starts_with("a gauge"), "{} is a {}", row.name, theirs.counter_type);
            for (_, tag) in equal.renamed {
                assert!(theirs.tags.contains(tag), "{} has no tag {tag}", row.name);
            }
        }
    }
}
