//! The lines of a file sink: what the agent has measured, in any naming.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gauged::naming::Naming;
use gauged::sample::{CollectorVersion, Label, Module, ModuleSource, ModuleWriter, NativeMetric, SeriesAccount};

use super::plugins::DESCRIBED;
use super::points::{Labels, NAME, Points};
use crate::exposition::machines::{self, read_key, value};
use crate::harness::{Sample, parse};

/// The beginning of the names of modules with pushed points, which keep their names in each naming.
const PUSHED: &str = "push_";

/// The module that is never late.
const AGENT: &str = "agent";

/// Everything that was measured, with the time of each module.
pub struct Truth {
    modules: Vec<Arc<Module>>,
    /// The times of the modules' results, and those of the lines, in milliseconds since the Unix epoch.
    results: HashSet<(String, i64)>,
    ticks: HashSet<i64>,
    /// The number of lines.
    pub samples: usize,
    /// When the agent started, in seconds since the Unix epoch.
    start: f64,
}

/// The labels that a protocol gives each series.
pub struct Target<'a> {
    /// Its own: a metric's own label of such a name is called `exported_…`.
    pub own: &'a [(&'a str, &'a str)],
    /// Tags, where a series has no label of that name.
    pub tags: &'a [(&'a str, &'a str)],
}

impl Truth {
    /// Reads the file of a sink.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("readable");
        let account = SeriesAccount::standalone();
        let metrics = || machines::metrics().iter().chain(&DESCRIBED);
        let (mut writers, mut modules) = (HashMap::<String, ModuleWriter>::new(), Vec::new());
        let (mut samples, mut start) = (0, 0.0);
        let (mut results, mut ticks) = (HashSet::new(), HashSet::new());
        for line in text.lines() {
            let sample: Sample = parse(line);
            samples += 1;
            ticks.insert(module_time(&sample, AGENT).as_millis() as i64);
            start = sample["agent"]["start_time_seconds"].as_f64().expect("a number");
            for (name, values) in &sample {
                let time = module_time(&sample, name);
                let writer = writers.entry(name.clone()).or_insert_with(|| writer(name, metrics(), &account));
                let fill = |module: &mut gauged::sample::Values<'_>| {
                    for (key, number) in values {
                        let (metric, labels) = read_key(key);
                        module.push_labelled(metric, &labels, value(number));
                    }
                };
                results.insert((name.clone(), time.as_millis() as i64));
                modules.push(writer.write(time, fill).0);
            }
        }
        Self { modules, results, ticks, samples, start }
    }

    /// When the agent started, in nanoseconds since the Unix epoch.
    pub fn start_nanoseconds(&self) -> u64 {
        (self.start * 1e9) as u64
    }

    /// Whether a result of a module may have come with a newer one: lines have the newer one only. On a busy host any plugin may be late.
    pub fn is_superseded(&self, module: &str, millis: i64) -> bool {
        let is_plugins = !self.results.contains(&(module.to_owned(), millis)) && module != AGENT;
        is_plugins && self.ticks.contains(&millis)
    }

    /// The points of a sink, with the labels of its protocol.
    pub fn points(&self, naming: Naming, target: &Target<'_>) -> Points {
        let mut points = Points::default();
        for module in &self.modules {
            add(module, naming, target, &mut points);
        }
        points
    }
}

/// Adds the points of a module, as a sink has them. Histograms and summaries are several series.
pub fn add(module: &Module, naming: Naming, target: &Target<'_>, to: &mut Points) {
    let source = module.schema().source();
    for (series, value) in module.schema().series().iter().zip(module.values()) {
        // Each CPU is measured for all sinks.
        if naming.hides(true, &source.module, series) {
            continue;
        }
        let Some(named) = naming.name("gauged", source, series) else { continue };
        let Some(number) = named.scale(series.column()).number(value) else { continue };
        let mut labels = target.labels(&named.labels);
        labels.extend(named.column_label(series).map(|label| (label.name.to_string(), label.value.to_string())));
        labels.insert(NAME.to_owned(), format!("{}{}", named.name, series.column().suffix()));
        let millis = i64::try_from(module.time.as_millis()).expect("small");
        to.expect(&source.module, labels, millis, number.float(), named.is_alternative);
    }
}

impl Target<'_> {
    /// All labels of a series with these.
    pub fn labels(&self, labels: &[Label]) -> Labels {
        let named = |name: &str| self.own.iter().any(|(own, _)| *own == name);
        let of_series = labels.iter().filter(|label| !label.value.is_empty()).map(|label| {
            let name = if named(&label.name) { format!("exported_{}", label.name) } else { label.name.to_string() };
            (name, label.value.to_string())
        });
        let mut all: Labels = of_series.collect();
        for (name, value) in self.tags.iter().chain(self.own) {
            all.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
        }
        all
    }
}

fn writer(
    module: &str,
    metrics: impl Iterator<Item = &'static NativeMetric>,
    account: &Arc<SeriesAccount>,
) -> ModuleWriter {
    let collector = CollectorVersion::native("test");
    let is_verbatim = module.starts_with(PUSHED);
    let source = ModuleSource { module: module.to_owned().into(), collector, step: Duration::ZERO, is_verbatim };
    ModuleWriter::new(source, metrics, account)
}

/// The tick that a module of a line was collected for.
fn module_time(sample: &Sample, module: &str) -> Duration {
    let agent = &sample["agent"];
    let number = |key: &str| agent.get(key).and_then(serde_json::Value::as_f64);
    let tick = number("timestamp").expect("a number");
    let age = number(&format!("module_age_seconds{{module=\"{module}\"}}")).unwrap_or_default();
    Duration::from_millis(((tick - age) * 1000.0).round() as u64)
}
