//! Names and expositions of everything that the agent and the plugins in this repository measure: on each fixture machine, in
//! each naming. The names are an interface: `exposition/*.txt` has all of them.

pub mod machines;
mod dotted;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use gauged::exposition::{Exposition, ExpositionCounts, ExpositionSettings, Format};
use gauged::naming::Naming;
use gauged::sample::{MetricKind, Module, Sample, Series, is_scraped_name};

use self::machines::{described, odd, samples};
use crate::harness::repository;
use crate::requirement;

/// The namings, each with the name of its golden list.
const NAMINGS: [(&str, Naming); 2] = [("gauged", Naming::Gauged), ("node_exporter", Naming::NodeExporter)];

/// Reads the OpenMetrics texts that its arguments name, strictly, and prints how many series each has.
const STRICT_PARSER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
for path in sys.argv[1:]:
    try:
        with open(path, encoding='utf-8', newline='') as file:
            print(sum(len(family.samples) for family in parse(file.read())))
    except Exception as error:
        sys.exit(f'{path}: {error!r}')
";

fn exposition(naming: Naming) -> Exposition {
    let is_selected = Box::new(|_: &str, _: &Series| true);
    Exposition::new(ExpositionSettings {
        naming,
        prefix: "gauged".into(),
        tags: Vec::new(),
        is_selected,
        max_series: usize::MAX,
    })
}

fn rendered(naming: Naming, sample: &Sample, format: Format) -> (String, ExpositionCounts) {
    let (mut exposition, mut text) = (exposition(naming), Vec::new());
    exposition.render(sample, format, None, &mut text);
    (String::from_utf8(text).expect("text"), exposition.counts())
}

/// The series of a text, each with its labels and without its value.
fn series(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').expect("a value").0)
}

#[test]
fn series_names_are_valid_and_unique() {
    for (label, naming) in NAMINGS {
        for (machine, sample) in samples() {
            let (text, counts) = rendered(naming, sample, Format::Text);
            assert_eq!((counts.collisions, counts.left_out), (0, 0), "{label} on {machine}");
            let mut seen = BTreeSet::new();
            for series in series(&text) {
                let (name, _) = series.split_once('{').unwrap_or((series, ""));
                assert!(is_scraped_name(name), "{name} on {machine}");
                assert!(seen.insert(series), "{series} is there twice on {machine}");
            }
            assert!(seen.len() > 30, "{label} has {} series on {machine}", seen.len());
        }
    }
}

/// Compares the lines of a golden list with those of this version.
fn check_golden(file: &str, lines: &BTreeSet<String>) {
    let path = repository().join("tests/it/exposition").join(file).with_extension("txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        fs::write(&path, text).expect("written");
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    let golden: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let removed: Vec<&String> = golden.difference(lines).collect();
    assert!(
        removed.is_empty(),
        "{} has these names, and the agent does not have them any more:\n{removed:#?}\n\
         They are an interface, in dashboards and alerts: bring them back, or write the removal into CHANGELOG.md under \
         \"Removed\", and run the test with UPDATE_EXPECT=1",
        path.display(),
    );
    let added: Vec<&String> = lines.difference(&golden).collect();
    assert!(added.is_empty(), "{} lacks {added:#?}\nrun the test with UPDATE_EXPECT=1", path.display());
}

#[test]
fn names_of_each_naming_are_kept() {
    for (label, naming) in NAMINGS {
        let mut lines = BTreeSet::new();
        // A name may depend on labels, which only measured series have.
        let measured = samples().values().flat_map(|sample| &sample.modules).cloned();
        for module in described().into_iter().chain(measured) {
            // A text has no unit.
            for series in module.schema().series().iter().filter(|series| !series.descriptor().unit.is_empty()) {
                let Some(named) = naming.name("gauged", module.schema().source(), series) else { continue };
                let mut line = format!("{} {}", named.name, named.kind.map_or("untyped", MetricKind::name));
                if !named.unit.is_empty() {
                    write!(line, " in {}", named.unit).expect("a string grows");
                }
                write!(line, ": {}.{}", module.name(), series.metric_name()).expect("a string grows");
                lines.insert(line);
            }
        }
        check_golden(label, &lines);
    }
}

/// Labels that a metric has on a busy machine only: of late results and faults.
fn is_incidental(key: &str, labels: &[&str]) -> bool {
    key == "agent.module_age_seconds" || labels == ["plugin", "kind"]
}

#[test]
fn json_keys_are_kept() {
    let key = |module: &Module, series: &Series| format!("{}.{}", module.name(), series.metric_name());
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in described() {
        keys.extend(module.schema().series().iter().map(|series| (key(&module, series), BTreeSet::new())));
    }
    for module in samples().values().flat_map(|sample| &sample.modules) {
        for series in module.schema().series() {
            let labels: Vec<&str> = series.labels().iter().map(|label| &*label.name).collect();
            let key = key(module, series);
            let text = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let is_incidental = is_incidental(&key, &labels);
            keys.entry(key).or_default().extend((!is_incidental).then_some(text));
        }
    }
    let lines = keys.into_iter().flat_map(|(key, labels)| {
        let bare = labels.is_empty().then(|| key.clone());
        labels.into_iter().map(move |labels| format!("{key}{labels}")).chain(bare)
    });
    check_golden("json_keys", &lines.collect());
}

#[test]
fn descriptions_are_understood_by_themselves() {
    for module in described() {
        for series in module.schema().series() {
            let help = Naming::Gauged.name("gauged", module.schema().source(), series).expect("named").help;
            let metric = format!("{}.{}: {help}", module.name(), series.metric_name());
            for beginning in ["The same", "Those", "Its ", "As "] {
                assert!(!help.starts_with(beginning), "{metric}");
            }
            assert!(!help.contains("does not describe") && !help.contains("Converted"), "write the unit: {metric}");
        }
    }
}

/// Writes the exposition of each sample into a directory. Returns the files, each with the number of series.
fn written<'a>(
    samples: impl Iterator<Item = (&'a str, &'a Sample)>,
    naming: Naming,
    format: Format,
    directory: &Path,
) -> Vec<(PathBuf, usize)> {
    let write = |(name, sample): (&str, &Sample)| {
        let (text, _) = rendered(naming, sample, format);
        let path = directory.join(name);
        fs::write(&path, &text).expect("written");
        (path, series(&text).count())
    };
    samples.map(write).collect()
}

fn machines<'a>() -> impl Iterator<Item = (&'a str, &'a Sample)> {
    samples().iter().map(|(machine, sample)| (machine.as_str(), sample))
}

#[test]
fn promtool_accepts_our_names() {
    let Some(versions) = requirement::old_and_new("promtool") else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (path, _) in written(machines(), Naming::Gauged, Format::Text, directory.path()) {
        for promtool in &versions {
            let mut command = promtool.command();
            command.args(["check", "metrics"]).stdin(fs::File::open(&path).expect("written"));
            let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("it runs");
            let said =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
            assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
        }
    }
    // It would complain otherwise.
    let mut child = versions[0].command();
    let child = child.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(b"# TYPE x_ms gauge\nx_ms 1\n").expect("sent");
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(3));
}

#[test]
fn strict_parser_reads_openmetrics() {
    let Some(python) = requirement::python("prometheus_client.openmetrics.parser") else { return };
    for (label, naming) in NAMINGS {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (odd, format) = (odd(), Format::OpenMetrics);
        let files = written(machines().chain([("odd", &odd)]), naming, format, directory.path());
        let (paths, counts): (Vec<PathBuf>, Vec<usize>) = files.into_iter().unzip();
        let mut command = python.command(&["-c", STRICT_PARSER]);
        let output = command.args(&paths).output().expect("it runs");
        let [read, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{label}: {error}");
        let read: Vec<usize> = read.lines().map(|line| line.parse().expect("a number")).collect();
        assert_eq!(read, counts, "{label}");
    }
}
