//! The files of `deploy/prometheus/`: Prometheus takes the configurations, each alert fires where it should and only there, and
//! alerts and dashboard ask for metrics and labels that the agent has.

pub mod dashboard;
pub mod golden;
mod promql;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use self::dashboard::Dashboard;
use self::golden::{Metric, OF_TARGETS};
use self::promql::Query;
use crate::harness::repository;
use crate::requirement::{self, Program};

/// Series that Prometheus makes of each scrape.
const OF_PROMETHEUS: [&str; 3] = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];

/// Functions of counters.
const OF_COUNTERS: [&str; 2] = ["rate", "increase"];

/// Alerts that ask whether a counter has ever moved since the agent started.
const COUNTERS_AS_THEY_ARE: [&str; 2] = ["gauged_agent_plugin_errors_total", "gauged_agent_plugin_faults_total"];

fn directory() -> PathBuf {
    repository().join("deploy/prometheus")
}

/// Runs `promtool` with these arguments, and asserts that it has nothing to complain of.
fn check(promtool: &Program, arguments: &[&str], file: &Path) {
    let mut command = promtool.command();
    command.args(arguments).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().expect("it runs");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && !said.contains("WARN"), "{}: {said}", file.display());
}

/// Copies the files, with the settings that are examples in them, and the files that these name.
pub fn copied_with_examples(named: &[(&str, String)]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(copy.path().join("targets")).expect("created");
    for file in ["prometheus.yml", "prometheus-file-sd.yml", "gauged.rules.yml", "targets/hosts.yml"] {
        let text = fs::read_to_string(directory().join(file)).expect("readable");
        let lines = text.lines().map(|line| {
            let setting =
                line.trim_start().strip_prefix('#').filter(|rest| !rest.starts_with(' ') || rest.starts_with("  "));
            setting.map_or_else(|| line.to_owned(), |_| line.replacen('#', "", 1))
        });
        fs::write(copy.path().join(file), lines.collect::<Vec<_>>().join("\n")).expect("written");
    }
    for (name, content) in named {
        fs::write(copy.path().join(name), content).expect("written");
    }
    copy
}

#[test]
fn promtool_accepts_configurations_and_rules() {
    let Some(versions) = requirement::old_and_new("promtool") else { return };
    let key = rcgen::generate_simple_self_signed(["prometheus.example".to_owned()]).expect("a certificate");
    let copy = copied_with_examples(&[
        ("gauged.token", "secret".to_owned()),
        ("gauged-ca.pem", key.cert.pem()),
        ("prometheus.pem", key.cert.pem()),
        ("prometheus.key", key.signing_key.serialize_pem()),
    ]);
    for file in ["prometheus.yml", "prometheus-file-sd.yml"] {
        let text = fs::read_to_string(copy.path().join(file)).expect("readable");
        for setting in ["\n    authorization:", "\n    scheme: https", "\n      key_file: "] {
            assert!(text.contains(setting), "{file} with its examples: {text}");
        }
    }
    for promtool in &versions {
        check(promtool, &["check", "rules"], &directory().join("gauged.rules.yml"));
        for file in ["prometheus.yml", "prometheus-file-sd.yml"] {
            check(promtool, &["check", "config"], &directory().join(file));
            check(promtool, &["check", "config"], &copy.path().join(file));
        }
    }
}

#[test]
fn vmalert_accepts_rules() {
    let Some(versions) = requirement::old_and_new("vmalert") else { return };
    for vmalert in &versions {
        let mut command = vmalert.command();
        command.arg("-dryRun").arg(format!("-rule={}", directory().join("gauged.rules.yml").display()));
        let output = command.stderr(Stdio::piped()).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn alerts_fire_where_they_should() {
    let Some(versions) = requirement::old_and_new("promtool") else { return };
    let file = repository().join("tests/it/prometheus_rules/gauged.test.yml");
    for promtool in &versions {
        check(promtool, &["test", "rules"], &file);
    }
    let tests = fs::read_to_string(&file).expect("readable");
    for rule in rules::read() {
        let is_expected = tests.contains(&format!("alertname=\"{}\"", rule.alert))
            || tests.contains(&format!("alertname: {}\n", rule.alert));
        assert!(is_expected, "{} has no test", rule.alert);
    }
}

#[test]
fn alerts_have_severity_summary_and_remedy() {
    let rules = rules::read();
    assert!(rules.len() > 30, "{rules:#?}");
    let text = fs::read_to_string(directory().join("gauged.rules.yml")).expect("readable");
    assert_eq!(rules.len(), text.matches("- alert: ").count());
    let mut names = BTreeSet::new();
    for rule in &rules {
        assert!(rule.alert.starts_with("Gauged") && names.insert(&rule.alert), "{rule:#?}");
        assert!(matches!(&*rule.severity, "critical" | "warning"), "{rule:#?}");
        assert!(rule.pending.ends_with(['m', 'h']), "{rule:#?}");
        assert!(rule.summary.ends_with('.') && rule.description.ends_with('.'), "{rule:#?}");
        // Which host it is about, unless none is there.
        assert!(rule.summary.contains("$labels.instance") || rule.alert == "GaugedAgentsMissing", "{rule:#?}");
    }
}

/// The problems of a query's names, and of labels that are taken from its result.
fn problems(expression: &str, labels: &[&str], names: &BTreeMap<String, Metric>) -> Vec<String> {
    let query = Query::parse(expression);
    let mut problems = Vec::new();
    let mut problem = |text: String| problems.push(format!("{text}: {expression}"));
    let metrics: Vec<_> = query.selectors.iter().map(|selector| (selector, names.get(&selector.metric))).collect();
    for (selector, metric) in &metrics {
        let name = &selector.metric;
        let Some(metric) = metric else {
            if !OF_PROMETHEUS.contains(&&**name) {
                problem(format!("{name} is no metric of the agent"));
            }
            continue;
        };
        let is_counter = metric.kind == "counter";
        if is_counter != OF_COUNTERS.contains(&&*selector.function) && !COUNTERS_AS_THEY_ARE.contains(&&**name) {
            problem(format!("{name} is a {}, and an argument of {:?}", metric.kind, selector.function));
        }
        for label in &selector.labels {
            if !metric.labels.contains(label) && !OF_TARGETS.contains(&&**label) {
                problem(format!("{name} has no label {label}"));
            }
        }
    }
    for label in query.grouping.iter().map(String::as_str).chain(labels.iter().copied()) {
        let has_label = |(_, metric): &(_, Option<&Metric>)| metric.is_some_and(|metric| metric.labels.contains(label));
        if !OF_TARGETS.contains(&label) && !metrics.iter().any(has_label) {
            problem(format!("no metric has the label {label}"));
        }
    }
    problems
}

/// The labels in a template, after this text and up to that one.
fn template_labels<'a>(template: &'a str, start: &'a str) -> Vec<&'a str> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let labels = template.split(start).skip(1);
    labels.map(|rest| &rest[..rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len())]).collect()
}

#[test]
fn alerts_ask_for_metrics_of_the_agent() {
    let names = golden::names();
    let problems = rules::read().into_iter().flat_map(|rule| {
        let template = format!("{} {}", rule.summary, rule.description);
        problems(&rule.expression, &template_labels(&template, "$labels."), &names)
    });
    assert_eq!(problems.collect::<Vec<_>>(), Vec::<String>::new());
    let file = fs::read_to_string(directory().join("gauged.rules.yml")).expect("readable");
    // Metrics in descriptions.
    for name in template_labels(&file, "gauged_agent_") {
        let name = format!("gauged_agent_{name}");
        assert!(names.contains_key(&name), "{name} is no metric of the agent");
    }
}

#[test]
fn dashboard_asks_for_metrics_of_the_agent() {
    let (names, dashboard) = (golden::names(), Dashboard::read());
    let queries = dashboard.queries();
    assert!(queries.len() > 50);
    let mut problems: Vec<String> = (queries.iter())
        .flat_map(|query| problems(&query.expression, &template_labels(&query.legend, "{{"), &names))
        .collect();
    for (name, variable) in dashboard.variables().filter(|(_, variable)| variable["type"] == "query") {
        let definition = variable["query"]["query"].as_str().expect("a query");
        let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).expect("labels");
        let (selector, label) = inner.rsplit_once(", ").expect("a label");
        assert_eq!((label, variable["definition"].as_str()), (name, Some(definition)));
        problems.extend(self::problems(selector, &[label], &names));
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn promtool_accepts_queries_of_the_dashboard() {
    let Some(versions) = requirement::old_and_new("promtool") else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("rules.yml");
    let rule = |(number, query): (usize, dashboard::DashboardQuery)| {
        let expression = serde_json::to_string(&query.substituted("gauged", "127.0.0.1:9101", "1m")).expect("JSON");
        format!("  - {{ record: query{number}, expr: {expression} }}\n")
    };
    let rules: String = Dashboard::read().queries().into_iter().enumerate().map(rule).collect();
    fs::write(&file, format!("groups:\n- name: dashboard\n  rules:\n{rules}")).expect("written");
    for promtool in &versions {
        check(promtool, &["check", "rules"], &file);
    }
}

#[test]
fn dashboard_panels_have_ids_places_and_sources() {
    let dashboard = Dashboard::read();
    let number = |panel: &Value, of: &str| panel["gridPos"][of].as_u64().expect("a number");
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard.panels() {
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{panel} has the id of another one");
        assert!(number(panel, "x") + number(panel, "w") <= 24, "{panel} is too wide");
        for x in number(panel, "x")..number(panel, "x") + number(panel, "w") {
            for y in number(panel, "y")..number(panel, "y") + number(panel, "h") {
                assert!(cells.insert((x, y)), "{panel} covers another one");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("a list");
        let mut references = BTreeSet::new();
        for target in std::iter::once(panel).chain(targets) {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
        }
        for target in targets {
            assert!(references.insert(target["refId"].as_str().expect("text")), "{panel}");
        }
    }
    let variables: Vec<&str> = dashboard.variables().map(|(name, _)| name).collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
    let rows: Vec<&Value> =
        dashboard.panels().iter().filter(|panel| panel["type"] == "row").map(|row| &row["title"]).collect();
    let expected =
        ["Overview", "CPU", "Load", "Memory", "Disks", "File systems", "Network", "Agent", "Plugins", "Sinks"];
    assert_eq!(rows, expected);
}
