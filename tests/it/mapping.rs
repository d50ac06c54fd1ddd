//! plugins/README.md, compared with the plugins: the table of plugins, and the table that maps the metrics of `node_exporter` to ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::OnceLock;

use serde_json::Value;

use crate::harness::{Setup, repository};
use crate::plugin_command::plugin;

/// A row of a table that maps metrics of another agent to ours.
struct Row {
    /// The other agent's name, with or without labels; `*` stands for any text.
    theirs: String,
    /// Our name, as `module.name`, with or without labels; none where there is no such metric.
    ours: Option<String>,
    /// The difference between the two, or the reason why there is none of ours.
    remark: String,
}

fn readme() -> String {
    fs::read_to_string(repository().join("plugins/README.md")).expect("readable")
}

/// The cells of the table between these marks.
fn table(mark: &str) -> Vec<Vec<String>> {
    let text = readme();
    let inside = text.split(&format!("<!-- {mark} -->")).nth(1).and_then(|rest| rest.split("<!-- /").next());
    let lines = inside.unwrap_or_else(|| panic!("no table {mark}")).lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = lines.skip(2).map(|line| cells(line)[1..].to_vec()).collect();
    assert!(rows.len() > 5, "{mark} has {} rows", rows.len());
    rows
}

/// The rows of the table of another agent's metrics.
fn rows(mark: &str) -> Vec<Row> {
    let bare = |cell: &str| cell.trim_matches('`').to_owned();
    table(mark)
        .into_iter()
        .map(|cells| Row {
            theirs: bare(&cells[0]),
            ours: (cells[1] != "–").then(|| bare(&cells[1])),
            remark: cells[2].clone(),
        })
        .collect()
}

/// The report of `gauged plugin inspect` on each plugin in this repository, without a configuration.
pub fn plugins() -> &'static BTreeMap<String, Value> {
    static PLUGINS: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    PLUGINS.get_or_init(|| {
        let setup = Setup::new();
        let folders =
            fs::read_dir(repository().join("plugins")).expect("readable").map(|entry| entry.expect("readable"));
        let is_plugin = |manifest: &str| manifest.contains("crate-type = [\"cdylib\"");
        let names = folders.filter_map(|folder| {
            let manifest = fs::read_to_string(folder.path().join("Cargo.toml")).ok()?;
            is_plugin(&manifest).then(|| folder.file_name().to_str().expect("text").to_owned())
        });
        names
            .map(|name| {
                let file = repository().join("plugins").join(&name).with_extension("wasm");
                assert!(file.exists(), "{} is missing; run plugins/build.sh first", file.display());
                let output = plugin(&setup, &["inspect", file.to_str().expect("text"), "--json"]);
                (name, output.json())
            })
            .collect()
    })
}

/// Every native metric and every metric of these plugins, as `module.name`, and whether it is a counter.
pub fn metrics() -> BTreeMap<String, bool> {
    let mut metrics = BTreeMap::new();
    for metric in plugins().values().flat_map(|report| report["metrics"].as_array().expect("a list")) {
        let text = |key: &str| metric[key].as_str().expect("text");
        metrics.insert(format!("{}.{}", text("module"), text("name")), text("kind") == "counter");
    }
    // Another test compares this document with the code.
    let natives = fs::read_to_string(repository().join("METRICS.md")).expect("readable");
    let mut module = "";
    for line in natives.lines() {
        module = line.strip_prefix("## ").unwrap_or(module);
        if let Some((name, rest)) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`')) {
            metrics.insert(format!("{module}.{name}"), rest.starts_with(" | counter |"));
        }
    }
    assert!(metrics.contains_key("cpu.percent") && metrics.contains_key("disk.reads_total"), "{metrics:?}");
    metrics
}

/// Whether a name, in which `*` stands for any text, is that of a metric.
fn is_known(metrics: &BTreeMap<String, bool>, name: &str) -> bool {
    let name = name.split('{').next().unwrap_or_default();
    match name.split_once('*') {
        None => metrics.contains_key(name),
        Some((before, after)) => metrics.keys().any(|known| known.starts_with(before) && known.ends_with(after)),
    }
}

#[test]
fn descriptions_stand_alone() {
    let natives = fs::read_to_string(repository().join("METRICS.md")).expect("readable");
    let rows = natives.lines().filter(|line| line.starts_with("| `"));
    let natives = rows.filter_map(|row| Some(row.split(" | ").nth(3)?.to_owned()));
    let plugins = plugins().values().flat_map(|report| report["metrics"].as_array().expect("a list"));
    let plugins = plugins.map(|metric| metric["description"].as_str().expect("text").to_owned());
    let descriptions: Vec<String> = natives.chain(plugins).collect();
    assert!(descriptions.iter().any(|text| text.contains("averaged over five minutes")), "{descriptions:?}");
    // A scrape has each by itself, sorted by name.
    for start in
        ["The same", "Same", "Those", "These", "Its", "Their", "They", "It ", "As above", "Of these", "Of them"]
    {
        let bad: Vec<_> = descriptions.iter().filter(|text| text.starts_with(start)).collect();
        assert!(bad.is_empty(), "{bad:?}");
    }
}

#[test]
fn readme_mapping_names_existing_metrics() {
    let metrics = metrics();
    let modules: BTreeSet<&str> = metrics.keys().filter_map(|name| name.split('.').next()).collect();
    let mark = "node_exporter";
    let mut seen = BTreeSet::new();
    for row in rows(mark) {
        if let Some(ours) = &row.ours {
            assert!(is_known(&metrics, ours), "{mark}: {} is mapped to {ours}, which does not exist", row.theirs);
        } else {
            assert!(!row.remark.is_empty(), "{mark}: {} is not mapped, without a reason", row.theirs);
        }
        for word in row.remark.split('`').skip(1).step_by(2) {
            let is_metric = word.split_once('.').is_some_and(|(module, _)| modules.contains(module));
            assert!(
                !is_metric || is_known(&metrics, word),
                "{mark}: {} names {word}, which does not exist",
                row.theirs
            );
        }
        assert!(seen.insert(row.theirs.clone()), "{mark}: {} has two rows", row.theirs);
    }
}

#[test]
fn readme_plugin_table_matches_descriptions() {
    let rows: BTreeMap<String, (String, String)> = table("plugins")
        .into_iter()
        .map(|cells| {
            let name = cells[0].split(['[', ']']).nth(1).expect("a link").to_owned();
            assert_eq!(cells[0], format!("[{name}]({name})"));
            (name, (cells[1].clone(), cells[2].clone()))
        })
        .collect();
    assert_eq!(rows.keys().collect::<Vec<_>>(), plugins().keys().collect::<Vec<_>>());
    for (name, report) in plugins() {
        let (description, grants) = &rows[name];
        assert_eq!(Some(&**description), report["description"].as_str(), "{name}");
        let is_complete = report["error"].is_null() && report["configuration"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(grants.starts_with("none"), is_complete, "{name} works without a table: {is_complete}; {grants}");
    }
}
