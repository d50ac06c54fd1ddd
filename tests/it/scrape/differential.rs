//! Expositions, as the plugin `prometheus` passes them to the agent, beside what Prometheus' own parsers for Python read in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gauged::sample::{Module, Value};
use serde_json::Value as Json;

use super::pages::{OPENMETRICS, Pages, TEXT};
use crate::first_party::built;
use crate::guest::install;
use crate::harness::{Setup, repository};
use crate::requirement::{self, Python};
use crate::results::{module, samples};

/// The module of Python's package that has the stricter parser; the other one is beside it.
const PARSER: &str = "prometheus_client.openmetrics.parser";

/// How many random expositions of each format are compared: with the real ones fewer than the plugin has targets.
const RANDOM: usize = 45;

/// A name and its labels.
type Series = (String, BTreeMap<String, String>);

/// What was read of an exposition.
#[derive(Debug, Default, PartialEq)]
struct Read {
    /// The values: a zero has no sign here, since Python's parsers read `-0` as an integer.
    values: BTreeMap<Series, String>,
    kinds: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    units: BTreeMap<String, String>,
}

impl Read {
    fn add(&mut self, name: &str, labels: impl Iterator<Item = (String, String)>, value: f64) {
        // Bounds and quantiles are numbers, whose texts are the reader's.
        let canonical = |(label, text): (String, String)| {
            let number = ["le", "quantile"].contains(&&*label).then(|| text.parse::<f64>().ok()).flatten();
            (label, number.map_or(text, |number| number.to_string()))
        };
        let series = (name.to_owned(), labels.map(canonical).collect());
        let before = self.values.insert(series, format!("{:e}", value + 0.0));
        assert_eq!(before, None, "{name} is there twice");
    }
}

fn script(python: &Python, arguments: &[&str]) -> String {
    let script = repository().join("tests/it/scrape/expositions.py");
    let output = python.command(&[&[script.to_str().expect("text")], arguments].concat()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What Python reads in files, or its error.
fn python_reads(python: &Python, files: &[PathBuf]) -> Vec<Result<Read, String>> {
    let paths: Vec<&str> = files.iter().map(|file| file.to_str().expect("text")).collect();
    let lines = script(python, &[&["read"], &paths[..]].concat());
    lines.lines().map(|line| from_json(&serde_json::from_str(line).expect("JSON"))).collect()
}

fn from_json(json: &Json) -> Result<Read, String> {
    if let Some(error) = json["error"].as_str() {
        return Err(error.to_owned());
    }
    let texts = |key: &str| {
        let members = json[key].as_object().expect("an object").iter();
        members.map(|(name, text)| (name.clone(), text.as_str().expect("text").to_owned())).collect()
    };
    let mut read = Read { kinds: texts("kinds"), helps: texts("helps"), units: texts("units"), ..Read::default() };
    for metric in json["metrics"].as_array().expect("a list") {
        let text = |value: &Json| value.as_str().expect("text").to_owned();
        let labels = metric[1].as_array().expect("a list").iter().map(|pair| (text(&pair[0]), text(&pair[1])));
        read.add(&text(&metric[0]), labels, metric[2].as_f64().expect("a number"));
    }
    read.units.values_mut().for_each(|unit| *unit = ucum(unit).to_owned());
    Ok(read)
}

fn ucum(unit: &str) -> &str {
    match unit {
        "seconds" => "s",
        "bytes" => "By",
        other => other,
    }
}

/// What the agent has of a target.
fn from_module(module: &Module) -> Read {
    let mut read = Read::default();
    for (series, metric) in module.schema().series().iter().zip(module.metrics()) {
        let value = match metric.value {
            Value::Unsigned(number) => *number as f64,
            Value::Float(number) => *number,
            Value::Null => continue,
            other => panic!("{other:?}"),
        };
        let labels = metric.labels().iter().map(|label| (label.name.to_string(), label.value.to_string()));
        read.add(metric.name(), labels, value);
        let (name, descriptor) = (series.metric_name().to_owned(), series.descriptor());
        read.kinds.insert(name.clone(), descriptor.kind.name().to_owned());
        read.helps.insert(name.clone(), descriptor.description.to_string());
        // A count has no unit.
        let is_count = ["_bucket", "_gcount"].iter().any(|end| name.ends_with(end));
        read.units.insert(name, if is_count { String::new() } else { descriptor.unit.to_string() });
    }
    read
}

/// What the agent has of files, each a target.
fn agent_reads(files: &[PathBuf]) -> Vec<Read> {
    let pages = Pages::start();
    let mut toml = format!(
        "interval = \"1s\"\n[plugins.prometheus]\ntimeout = \"30s\"\nfetch = [{:?}]\n\
         limits = {{ metrics = 100000, result = \"64MiB\" }}\n",
        pages.origin()
    );
    for (number, file) in files.iter().enumerate() {
        let is_openmetrics = file.extension().is_some_and(|extension| extension == "openmetrics");
        let path = format!("/{number}");
        pages.set(&path, if is_openmetrics { OPENMETRICS } else { TEXT }, &fs::read(file).expect("readable"));
        toml += &pages.target(&number.to_string(), &path, "labels = { instance = \"\" }");
    }
    let setup = Setup::with_config(&toml);
    install(&built("prometheus"), &setup.plugin("prometheus.wasm"));
    // It is compiled by the agent's own program.
    let (sample, log) = setup.once();
    assert!(sample.contains_key("prometheus"), "{log}");
    let samples =
        samples(&setup, |samples| samples.iter().any(|sample| module(&sample.modules, "prometheus").is_some()));
    let sample = samples.iter().find(|sample| module(&sample.modules, "prometheus").is_some()).expect("seen");
    let read = |number| module(&sample.modules, &format!("prometheus_{number}")).map(|module| from_module(module));
    (0..files.len()).map(|number| read(number).unwrap_or_default()).collect()
}

/// The files of a directory with these contents.
fn write(directory: &Path, contents: &[(&str, &str)]) -> Vec<PathBuf> {
    let write = |(number, (extension, text)): (usize, &(&str, &str))| {
        let path = directory.join(format!("{number}.{extension}"));
        fs::write(&path, text).expect("written");
        path
    };
    contents.iter().enumerate().map(write).collect()
}

#[test]
fn expositions_equal_those_of_pythons_parsers() {
    let Some(python) = requirement::python(PARSER) else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().to_str().expect("text");
    script(&python, &["write", path, "1", &RANDOM.to_string()]);
    for (name, extension) in [("node_exporter", "text"), ("prometheus", "text"), ("python", "openmetrics")] {
        let real = repository().join("plugins/prometheus/fixtures").join(name).with_extension("txt");
        fs::copy(real, directory.path().join(name).with_extension(extension)).expect("copied");
    }
    let entries = fs::read_dir(directory.path()).expect("readable");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort_unstable();
    assert_eq!(files.len(), 2 * RANDOM + 3);
    let (expected, read) = (python_reads(&python, &files), agent_reads(&files));
    let mut compared = 0;
    for ((file, expected), mut read) in files.iter().zip(expected).zip(read) {
        let mut expected = expected.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        compared += expected.values.len();
        // A metric without a finite value is in no sample.
        let names: BTreeSet<String> = read.kinds.keys().cloned().collect();
        for texts in [&mut expected.kinds, &mut expected.helps, &mut expected.units] {
            texts.retain(|name, _| names.contains(name));
        }
        let is_count = |name: &String| ["_bucket", "_gcount"].iter().any(|end| name.ends_with(end));
        expected.units.retain(|name, _| !is_count(name));
        read.units.retain(|name, _| !is_count(name));
        assert_eq!(read, expected, "{}:\n{}", file.display(), fs::read_to_string(file).expect("text"));
    }
    assert!(compared > 2000, "only {compared} values");
}

/// The format, the text, what Python reads, and what the agent has.
type Difference = (&'static str, &'static str, Option<&'static [&'static str]>, &'static [&'static str]);

/// Expositions in which Python's parsers read something else, by format: what they read, and what the agent has. Python rejects a whole
/// exposition for one line, and accepts some lines that break the formats' rules.
const DIFFERENCES: [Difference; 14] = [
    ("text", "a 1\nb one\n", None, &["a 1"]),
    ("text", "a 1\n9b 1\nb-c 1\n", None, &["a 1"]),
    ("text", "a 1\n# TYPE b rainbow\nb 1\n", None, &["a 1", "b 1"]),
    // A timestamp is a whole number, and the last word.
    ("text", "a 1\nb 1 1.5\nc 1 2 3\nd 1 # {} 2\n", Some(&["a 1", "b 1", "c 1", "d 1"]), &["a 1"]),
    // Names of other characters, as later versions of Prometheus have them.
    ("text", "a 1\n{\"b.c\"} 1\nd{e:f=\"1\"} 1\n", Some(&["a 1", "b.c 1", "d{e:f=1} 1"]), &["a 1"]),
    // Samples that their type does not have.
    ("text", "# TYPE s summary\ns 1\n# TYPE h histogram\nh 1\nb 1\n", Some(&["b 1", "h 1", "s 1"]), &["b 1"]),
    ("text", "# TYPE a counter\n# TYPE a gauge\na 1\n", Some(&["a 1"]), &["a 1"]),
    ("text", "a{__b=\"1\"} 1\nb 1\n", None, &["b 1"]),
    ("openmetrics", "a 1\n", None, &["a 1"]),
    ("openmetrics", "a 1\n# EOF\nb 2\n", None, &["a 1"]),
    ("openmetrics", "a  1\n\n# EOF\n", None, &["a 1"]),
    ("openmetrics", "# TYPE h histogram\nh_bucket{le=\"1\"} 1\n# TYPE b gauge\nb 1\n# EOF\n", None, &["b 1"]),
    ("openmetrics", "# TYPE a counter\na 1\n# TYPE b gauge\nb 1\n# EOF\n", None, &["a 1", "b 1"]),
    ("openmetrics", "# TYPE a gauge\n# TYPE a gauge\na 1\n# EOF\n", None, &["a 1"]),
];

#[test]
fn differences_from_pythons_parsers_are_known() {
    let Some(python) = requirement::python(PARSER) else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let contents: Vec<(&str, &str)> = DIFFERENCES.iter().map(|&(format, text, ..)| (format, text)).collect();
    let files = write(directory.path(), &contents);
    let (expected, read) = (python_reads(&python, &files), agent_reads(&files));
    let lines = |read: &Read| -> Vec<String> {
        let line = |((name, labels), value): (&Series, &String)| {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            format!("{name}{labels} {}", value.parse::<f64>().expect("a number"))
        };
        read.values.iter().map(line).collect()
    };
    for (((_, text, theirs, ours), expected), read) in DIFFERENCES.iter().zip(expected).zip(read) {
        assert_eq!(expected.ok().map(|read| lines(&read)).as_deref(), theirs.map(texts).as_deref(), "{text:?}");
        assert_eq!(lines(&read), texts(ours), "{text:?}");
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
