//! Samples for tests of protocols, and the points that a protocol is to send of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::numeric::NumericSettings;
use crate::naming::Naming;
use crate::sample::{
    CollectorVersion, Label, Labels, Module, ModuleSource, ModuleWriter, NativeMetric, Sample, SeriesAccount, Value,
    Values,
};

/// The time that samples begin with, in seconds since the Unix epoch.
pub(super) const START: u64 = 1_795_000_000;

/// Collectors with an interval of ten seconds.
#[derive(Default)]
pub(super) struct Machine {
    writers: BTreeMap<String, ModuleWriter>,
    metrics: &'static [NativeMetric],
}

impl Machine {
    /// Collectors with these metrics.
    pub(super) fn with_metrics(metrics: &'static [NativeMetric]) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// The result of a collector, so many milliseconds after the start.
    pub(super) fn module(&mut self, name: &str, millis: u64, fill: impl FnOnce(&mut Values<'_>)) -> Arc<Module> {
        let writer = self.writers.entry(name.to_owned()).or_insert_with(|| {
            let (collector, step) = (CollectorVersion::native("test"), Duration::from_secs(10));
            let source = ModuleSource { module: name.to_owned().into(), collector, step, is_verbatim: false };
            ModuleWriter::new(source, self.metrics, &SeriesAccount::standalone())
        });
        writer.write(time(millis), fill).0
    }

    /// The result of a collector whose metrics are all 1.
    pub(super) fn plain_module(&mut self, name: &str, millis: u64, metrics: &[&str]) -> Arc<Module> {
        self.module(name, millis, |values| metrics.iter().for_each(|metric| values.push(metric, 1_u64)))
    }
}

/// A moment, so many milliseconds after the start.
pub(super) fn time(millis: u64) -> Duration {
    Duration::from_millis(START * 1000 + millis)
}

/// The sample of a tick.
pub(super) fn sample(millis: u64, modules: &[Arc<Module>]) -> Sample {
    Sample { tick: time(millis), modules: modules.into(), ..Sample::default() }
}

/// Settings with our own names, for the host `web-1`.
pub(super) fn settings() -> NumericSettings {
    NumericSettings {
        series: Arc::default(),
        naming: Naming::Gauged,
        prefix: "gauged".into(),
        tags: Arc::default(),
        host: "web-1".into(),
    }
}

pub(super) fn tags<const N: usize>(tags: [(&'static str, &str); N]) -> Arc<[Label]> {
    tags.map(|(name, value)| Label { name: name.into(), value: value.into() }).into()
}

/// A point that a protocol sends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) time: Duration,
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
    /// Whether it is expected: no other series has its name and labels.
    pub(super) is_certain: bool,
}

/// Any results of some collectors, with labels and values that are hard to write.
pub(super) fn results() -> impl Strategy<Value = Vec<Arc<Module>>> {
    let reserved = prop::sample::select(vec!["job", "instance", "host", "time", "exported_job", "exported_host"]);
    let label = prop_oneof!["[a-zA-Z][a-zA-Z0-9]{0,3}", reserved.prop_map(str::to_owned)];
    let text = prop_oneof!["[a-b]?", any::<String>(), r#"[\\ ,="\n\ré]{0,4}"#];
    let value = prop_oneof![
        any::<u64>().prop_map(Value::Unsigned),
        any::<i64>().prop_map(Value::Signed),
        (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO).prop_map(Value::Float),
        any::<bool>().prop_map(Value::Boolean),
        Just(Value::Null),
        Just(Value::from("text")),
        Just(Value::Unsigned(0)),
    ];
    let metric = ("[a-c_]{1,3}|value|time", prop::collection::btree_map(label, text, 0..4), value);
    let modules = prop::collection::btree_map((0_u64..3, "[a-c]{1,2}|m_m"), prop::collection::vec(metric, 0..12), 0..5);
    modules.prop_map(|modules| {
        let mut machine = Machine::default();
        let written = modules.into_iter().map(|((seconds, name), metrics)| {
            machine.module(&name, seconds * 1000, |values| {
                for (metric, labels, value) in metrics {
                    let label = |(name, value): (String, String)| Label { name: name.into(), value: value.into() };
                    values.push_labelled(&metric, &labels.into_iter().map(label).collect::<Labels>(), value);
                }
            })
        });
        written.collect()
    })
}

/// The points of these results, by time, name and labels. `added` are labels of the protocol, and `reserved` the names that only it
/// gives. Of several series that have one name, any may be the one that is sent: such a point may be missing.
pub(super) fn points(
    modules: &[Arc<Module>],
    settings: &NumericSettings,
    added: &[(&str, &str)],
    reserved: &[&str],
) -> Vec<Point> {
    let mut points = Vec::new();
    let mut sources: BTreeMap<(String, BTreeMap<String, String>), BTreeSet<String>> = BTreeMap::new();
    for module in modules {
        for (series, value) in module.schema().series().iter().zip(module.values()) {
            let named = settings.naming.name(&settings.prefix, module.schema().source(), series).expect("a name");
            let mut labels: BTreeMap<String, String> =
                added.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let own: Vec<&Label> = named.labels.iter().filter(|label| !label.value.is_empty()).collect();
            let own_names: Vec<&str> = own.iter().map(|label| &*label.name).collect();
            for label in &own {
                let mut name = label.name.to_string();
                let is_taken =
                    |name: &str| reserved.contains(&name) || labels.contains_key(name) || own_names.contains(&name);
                if reserved.contains(&&*name) {
                    while is_taken(&name) {
                        name = format!("exported_{name}");
                    }
                }
                labels.insert(name, label.value.to_string());
            }
            let key = (named.name.to_string(), labels.clone());
            sources.entry(key).or_default().insert(format!("{} {}", module.name(), series.key()));
            let number = named.scale(series.column()).number(value);
            points.extend(number.map(|number| Point {
                time: module.time,
                name: named.name.to_string(),
                labels,
                value: number.float(),
                is_certain: false,
            }));
        }
    }
    for point in &mut points {
        point.is_certain = sources[&(point.name.clone(), point.labels.clone())].len() == 1;
    }
    points
}

/// Asserts that what was sent is what is expected, each point once.
pub(super) fn check(sent: &[Point], expected: &[Point]) {
    let key = |point: &Point| (point.time, point.name.clone(), point.labels.clone(), point.value.to_bits());
    let possible: BTreeSet<_> = expected.iter().map(key).collect();
    let keys: BTreeSet<_> = sent.iter().map(key).collect();
    assert!(keys.is_subset(&possible), "{:#?}", keys.difference(&possible));
    assert_eq!(keys.len(), sent.len(), "a point is sent twice");
    let missing: Vec<_> = expected.iter().filter(|point| point.is_certain && !keys.contains(&key(point))).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
