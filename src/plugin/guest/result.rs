//! Converts the result of a guest into modules. Invalid names, floats that are not finite and everything beyond a limit are
//! dropped and counted. A guest cannot make a sample that is not a map of maps.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::limits::{Limit, Limits};
use crate::escape::{is_plain, printable};
use crate::plugin::guest::bindings::exports::gauged::plugin::collector as wit;
use crate::plugin::guest::bindings::gauged::plugin::metrics;
use crate::sample::{
    CollectorVersion, Descriptor, Label, LabelSet, Labels, MetricKind, Module, ModuleBuilder, ModuleSource, NotPushed,
    Schema, SeriesAccount, SeriesError, Text, Value, is_label_name, is_name,
};

/// The most metrics that a plugin may describe, not counting labels.
const MAX_DESCRIBED: usize = 10_000;

/// The longest unit that a plugin may describe, in bytes: twice the longest in use.
const UNIT_BYTES: usize = 64;

/// The longest description of a metric, in bytes: a sentence. The agent keeps it, and hashes it with each new series.
const DESCRIPTION_BYTES: usize = 1024;

/// How many dropped metrics are reported with their reason: enough to begin to fix the plugin.
const MAX_REPORTED: usize = 20;

/// The usable part of a guest's result.
#[derive(Debug, Default, PartialEq)]
pub struct Collected {
    /// The modules for a sample.
    pub modules: Vec<Arc<Module>>,
    /// How many metrics were dropped.
    pub dropped: u64,
    /// The first of them, each with the reason.
    pub losses: Vec<String>,
}

impl Collected {
    fn drop_metrics(&mut self, metrics: usize, loss: impl FnOnce() -> String) {
        self.dropped += metrics as u64;
        if self.losses.len() < MAX_REPORTED {
            self.losses.push(printable(&loss()));
        }
    }
}

/// A version of a plugin as its modules show it, its own words about itself, and the descriptors of its metrics.
#[derive(Debug)]
pub(crate) struct Description {
    collector: Arc<CollectorVersion>,
    /// A sentence about the plugin, on one line; may be empty.
    pub(crate) summary: Text,
    /// In the plugin's order.
    pub(crate) metrics: Box<[DescribedMetric]>,
    /// Their positions, sorted by module and name.
    sorted: Box<[usize]>,
}

/// A metric that a plugin has described.
#[derive(Debug)]
pub(crate) struct DescribedMetric {
    pub(crate) module: Box<str>,
    pub(crate) descriptor: Arc<Descriptor>,
}

impl From<metrics::Descriptor> for DescribedMetric {
    fn from(metric: metrics::Descriptor) -> Self {
        let metrics::Descriptor { module, name, kind, unit, description } = metric;
        let kind = match kind {
            metrics::Kind::Gauge => MetricKind::Gauge,
            metrics::Kind::Counter => MetricKind::Counter,
        };
        let descriptor = Descriptor { name: name.into(), kind, unit: unit.into(), description: description.into() };
        Self { module: module.into(), descriptor: Arc::new(descriptor) }
    }
}

impl DescribedMetric {
    fn id(&self) -> (&str, &str) {
        (&self.module, &self.descriptor.name)
    }
}

impl Description {
    /// The description of a plugin that was not asked for one yet.
    pub(crate) fn unknown(plugin: &Arc<str>) -> Arc<Self> {
        Self::new(plugin, Text::Static(""), "", [])
    }

    /// The description of a plugin with this name, whose metrics were checked.
    pub(crate) fn new(
        plugin: &Arc<str>,
        version: Text,
        summary: &str,
        metrics: impl IntoIterator<Item = DescribedMetric>,
    ) -> Arc<Self> {
        let metrics: Box<[DescribedMetric]> = metrics.into_iter().collect();
        let mut sorted: Box<[usize]> = (0..metrics.len()).collect();
        sorted.sort_unstable_by_key(|&at| metrics[at].id());
        let collector = Arc::new(CollectorVersion { name: Text::Shared(Arc::clone(plugin)), version });
        Arc::new(Self { collector, summary: printable(summary).into(), metrics, sorted })
    }

    /// The descriptor of a metric, if the plugin has described it.
    pub(crate) fn descriptor(&self, module: &str, name: &str) -> Option<&Arc<Descriptor>> {
        let found = self.sorted.binary_search_by_key(&(module, name), |&at| self.metrics[at].id());
        found.ok().map(|at| &self.metrics[self.sorted[at]].descriptor)
    }
}

/// The labels of a guest's metric.
struct GuestLabels<'a>(&'a [metrics::Label]);

impl LabelSet for GuestLabels<'_> {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|metrics::Label { name, value }| (&**name, &**value))
    }

    fn to_labels(&self) -> Labels {
        self.pairs().map(|(name, value)| Label { name: name.to_owned().into(), value: value.into() }).collect()
    }
}

/// Converts the results of one instance, tick after tick. Most guests return the same names and labels each time: those are
/// checked and allocated once.
#[derive(Debug)]
pub(crate) struct Converter {
    description: Arc<Description>,
    account: Arc<SeriesAccount>,
    /// The plugin's interval.
    step: Duration,
    /// The schemas of the modules of the previous result.
    previous: Vec<Arc<Schema>>,
}

impl Converter {
    pub(crate) fn new(description: Arc<Description>, account: Arc<SeriesAccount>, step: Duration) -> Self {
        Self { description, account, step, previous: Vec::new() }
    }

    /// Follows another interval of the plugin.
    pub(crate) fn set_step(&mut self, step: Duration) {
        if self.step != step {
            self.step = step;
            self.previous.clear();
        }
    }

    /// Converts the result of a call for the tick `time`, within the limits, which are the same each time. Of two modules or
    /// metrics with one name the first is kept.
    pub(crate) fn convert(&mut self, returned: Vec<wit::Module>, limits: &Limits, time: Duration) -> Collected {
        let mut collected = Collected { modules: Vec::with_capacity(self.previous.len()), ..Collected::default() };
        let mut allowance = limits[Limit::Metrics];
        // The module names, as soon as one differs from the previous result.
        let mut names: Option<HashSet<String>> = None;
        for wit::Module { name, metrics } in returned {
            let at = collected.modules.len();
            let previous = self.previous.get(at).filter(|schema| names.is_none() && *schema.source().module == *name);
            let unusable = match () {
                () if at as u64 == limits[Limit::Modules] => Some("there are more than limits.modules"),
                () if previous.is_some() => None,
                () if !is_name(&name) => Some("its name breaks the rules"),
                () => {
                    let earlier = || collected.modules.iter().map(|earlier| earlier.name().to_string()).collect();
                    let is_new = names.get_or_insert_with(earlier).insert(name.clone());
                    (!is_new).then_some("it is there twice")
                }
            };
            if let Some(why) = unusable {
                collected.drop_metrics(metrics.len().max(1), || format!("the module {name}: {why}"));
                continue;
            }
            // The modules before it may have come or gone.
            let known = || self.previous.iter().find(|schema| *schema.source().module == *name);
            let schema = previous.or_else(known).cloned().unwrap_or_else(|| self.schema(name));
            let name = &*schema.source().module;
            let mut module = ModuleBuilder::new(&self.account, &schema, Vec::with_capacity(metrics.len()));
            for metric in metrics {
                let converted = self.convert_metric(&metric, name, &mut module, &mut allowance, limits);
                if let Err(why) = converted {
                    collected.drop_metrics(1, || format!("the metric {name}.{}: {why}", metric.name));
                }
            }
            collected.modules.push(Arc::new(module.finish(time)));
        }
        self.remember(&collected.modules);
        collected
    }

    /// The schema of a module that the previous result did not have.
    fn schema(&self, module: String) -> Arc<Schema> {
        let (module, collector) = (module.into(), Arc::clone(&self.description.collector));
        Schema::empty(ModuleSource { module, collector, step: self.step, is_verbatim: false })
    }

    fn remember(&mut self, modules: &[Arc<Module>]) {
        let is_same = |(schema, module): (&Arc<Schema>, &Arc<Module>)| Arc::ptr_eq(schema, module.schema());
        if self.previous.len() != modules.len() || !self.previous.iter().zip(modules).all(is_same) {
            self.previous = modules.iter().map(|module| Arc::clone(module.schema())).collect();
        }
    }

    /// Appends a metric to its module.
    ///
    /// # Errors
    ///
    /// Why it is not usable.
    fn convert_metric(
        &self,
        metric: &metrics::Metric,
        module: &str,
        to: &mut ModuleBuilder<'_>,
        allowance: &mut u64,
        limits: &Limits,
    ) -> Result<(), &'static str> {
        let metrics::Metric { name, labels, value } = metric;
        let value = match value {
            metrics::Value::Unsigned(value) => Value::Unsigned(*value),
            metrics::Value::Signed(value) => Value::Signed(*value),
            metrics::Value::Float(value) if value.is_finite() => Value::Float(*value),
            metrics::Value::Float(_) => return Err("its value is not finite"),
            metrics::Value::Boolean(value) => Value::Boolean(*value),
            metrics::Value::Text(value) if value.len() as u64 <= limits[Limit::Text] => {
                Value::Text(Text::Shared((**value).into()))
            }
            metrics::Value::Text(_) => return Err("its text is longer than limits.text"),
        };
        if *allowance == 0 {
            return Err("there are more than limits.metrics");
        }
        let guest_labels = GuestLabels(labels);
        match to.push_known(name, &guest_labels, value) {
            Ok(()) => {}
            Err(NotPushed::Refused(error)) => return Err(error.reason()),
            Err(NotPushed::Unknown(value)) => {
                check_names(name, labels, limits)?;
                let descriptor = self.description.descriptor(module, name);
                to.push_new(name, &guest_labels, descriptor, value).map_err(SeriesError::reason)?;
            }
        }
        *allowance -= 1;
        Ok(())
    }
}

fn check_names(name: &str, labels: &[metrics::Label], limits: &Limits) -> Result<(), &'static str> {
    if !is_name(name) {
        return Err("its name breaks the rules");
    }
    if labels.len() as u64 > limits[Limit::Labels] {
        return Err("it has more labels than limits.labels");
    }
    for (at, metrics::Label { name: label, value }) in labels.iter().enumerate() {
        if !is_label_name(label) {
            return Err("the name of one of its labels breaks the rules");
        }
        if labels[..at].iter().any(|earlier| earlier.name == *label) {
            return Err("it has a label twice");
        }
        if value.len() as u64 > limits[Limit::Text] {
            return Err("one of its labels is longer than limits.text");
        }
    }
    Ok(())
}

/// Checks that a plugin's description can be shown and is consistent.
///
/// # Errors
///
/// The first problem: the end of a sentence that begins with the file.
pub(crate) fn check_about(about: &wit::About) -> Result<(), String> {
    if about.version.is_empty() || about.version.len() > 64 || !about.version.chars().all(is_plain) {
        return Err("describes itself with a version that is not 1 to 64 printable characters".to_owned());
    }
    if about.metrics.len() > MAX_DESCRIBED {
        return Err(format!("describes more than {MAX_DESCRIBED} metrics"));
    }
    let mut described = HashSet::new();
    for metrics::Descriptor { module, name, unit, description, .. } in &about.metrics {
        if !is_name(module) || !is_name(name) {
            return Err(format!("describes the metric {:?}, whose name breaks the rules", format!("{module}.{name}")));
        }
        for (what, text, most) in [("unit", unit, UNIT_BYTES), ("description", description, DESCRIPTION_BYTES)] {
            if text.len() > most {
                return Err(format!("describes the metric {module}.{name} with a {what} of more than {most} bytes"));
            }
        }
        if !described.insert((module, name)) {
            return Err(format!("describes the metric {module}.{name} twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::test_module;

    const TICK: Duration = Duration::from_secs(1_700_000_000);

    fn converter() -> Converter {
        Converter::new(Description::unknown(&"test".into()), SeriesAccount::standalone(), Duration::from_secs(10))
    }

    fn convert(returned: Vec<wit::Module>, limits: &Limits) -> Collected {
        converter().convert(returned, limits, TICK)
    }

    fn metric(name: &str, labels: &[(&str, &str)], value: metrics::Value) -> metrics::Metric {
        let label = |&(name, value): &(&str, &str)| metrics::Label { name: name.to_owned(), value: value.to_owned() };
        metrics::Metric { name: name.to_owned(), labels: labels.iter().map(label).collect(), value }
    }

    fn module(name: &str, metrics: Vec<metrics::Metric>) -> wit::Module {
        wit::Module { name: name.to_owned(), metrics }
    }

    #[test]
    fn unusable_metrics_are_dropped_and_counted() {
        use metrics::Value::{Float, Text, Unsigned};
        let limits = &Limits::default();
        let text = "x".repeat(usize::try_from(limits[Limit::Text]).expect("it fits") + 1);
        let collected = convert(
            vec![
                module(
                    "disk",
                    vec![
                        metric("reads_total", &[("device", "sda")], Unsigned(1)),
                        metric("reads_total", &[("device", "sda")], Unsigned(2)),
                        metric("reads_total", &[("device", "sdb")], Unsigned(3)),
                        metric("nan", &[], Float(f64::NAN)),
                        metric("infinite", &[], Float(f64::NEG_INFINITY)),
                        metric("bad name", &[], Unsigned(4)),
                        metric("bad_label", &[("0", "x")], Unsigned(5)),
                        metric("label_twice", &[("a", "x"), ("a", "y")], Unsigned(6)),
                        metric("long", &[], Text(text)),
                    ],
                ),
                module("disk", vec![metric("again", &[], Unsigned(7))]),
                module("bad-name", vec![]),
            ],
            limits,
        );
        let expected = test_module("disk", |values| {
            values.push_labelled("reads_total", &[("device", "sda")].into(), 1);
            values.push_labelled("reads_total", &[("device", "sdb")].into(), 3);
        });
        let losses = [
            "the metric disk.reads_total: it is there twice: labels are a set, whatever their order",
            "the metric disk.nan: its value is not finite",
            "the metric disk.infinite: its value is not finite",
            "the metric disk.bad name: its name breaks the rules",
            "the metric disk.bad_label: the name of one of its labels breaks the rules",
            "the metric disk.label_twice: it has a label twice",
            "the metric disk.long: its text is longer than limits.text",
            "the module disk: it is there twice",
            "the module bad-name: its name breaks the rules",
        ];
        let losses = losses.map(str::to_owned).into();
        assert_eq!(collected, Collected { modules: vec![expected], dropped: 9, losses });
    }

    #[test]
    fn a_flood_of_metrics_is_cut() {
        let mut limits = Limits::default();
        limits.set(Limit::Metrics, 20);
        let many = (0..25).map(|at| metric(&format!("m{at}"), &[], metrics::Value::Boolean(true))).collect();
        let collected = convert(vec![module("flood", many)], &limits);
        assert_eq!((collected.modules[0].len(), collected.dropped), (20, 5));
    }

    #[test]
    fn a_flood_of_modules_is_cut() {
        let mut limits = Limits::default();
        limits.set(Limit::Modules, 10);
        let collected = convert((0..15).map(|at| module(&format!("m{at}"), vec![])).collect(), &limits);
        assert_eq!((collected.modules.len(), collected.dropped), (10, 5));
    }

    #[test]
    fn inconsistent_descriptions_are_rejected() {
        let descriptor = |module: &str, name: &str| metrics::Descriptor {
            module: module.to_owned(),
            name: name.to_owned(),
            kind: metrics::Kind::Gauge,
            unit: "s".to_owned(),
            description: String::new(),
        };
        let about =
            |version: &str, metrics| wit::About { version: version.to_owned(), description: String::new(), metrics };
        assert_eq!(check_about(&about("1.0", vec![descriptor("a", "b"), descriptor("a", "c")])), Ok(()));
        assert!(check_about(&about("", vec![])).is_err());
        assert!(check_about(&about("1\n2", vec![])).is_err());
        assert!(check_about(&about("1", vec![descriptor("a", "b"), descriptor("a", "b")])).is_err());
        assert!(check_about(&about("1", vec![descriptor("a b", "c")])).is_err());
        let long = metrics::Descriptor { description: "x".repeat(DESCRIPTION_BYTES + 1), ..descriptor("a", "b") };
        assert!(check_about(&about("1", vec![long])).is_err_and(|why| why.contains("a description of more than 1024")));
        let long = metrics::Descriptor { unit: "x".repeat(UNIT_BYTES + 1), ..descriptor("a", "b") };
        assert!(check_about(&about("1", vec![long])).is_err_and(|why| why.contains("a unit of more than 64")));
    }

    fn any_value() -> impl Strategy<Value = metrics::Value> {
        prop_oneof![
            any::<f64>().prop_map(metrics::Value::Float),
            any::<i64>().prop_map(metrics::Value::Signed),
            "[a-z]{0,3}".prop_map(metrics::Value::Text),
        ]
    }

    /// A result that is likely to overlap with another: few names, few labels, and some of each not usable.
    fn any_result() -> impl Strategy<Value = Vec<wit::Module>> {
        let label = ("[ab0]", "[xy]{0,1}|long text");
        let metric = ("[abc ]", prop::collection::vec(label, 0..3), any_value());
        let metric = metric.prop_map(|(name, labels, value)| {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            self::tests::metric(&name, &labels, value)
        });
        prop::collection::vec(("[mn-]", prop::collection::vec(metric, 0..6)), 0..4)
            .prop_map(|modules| modules.into_iter().map(|(name, metrics)| module(&name, metrics)).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Earlier results change neither the kept metrics, nor the dropped ones, nor the keys of values.
        #[test]
        fn results_do_not_depend_on_earlier_ones(
            results in prop::collection::vec(any_result(), 1..4),
            order in prop::collection::vec(any::<prop::sample::Index>(), 1..10),
        ) {
            let mut limits = Limits::default();
            for (limit, most) in [(Limit::Modules, 2), (Limit::Metrics, 7), (Limit::Labels, 2), (Limit::Text, 3)] {
                limits.set(limit, most);
            }
            let mut converter = converter();
            // A slow sink may hold earlier samples, which must not change.
            let mut held = Vec::new();
            for at in order {
                let result = at.get(&results);
                let first = convert(result.clone(), &limits);
                held.push((converter.convert(result.clone(), &limits, TICK), first));
                for (collected, first) in &held {
                    prop_assert_eq!(collected, first);
                }
            }
        }

        /// Names are valid, keys are unique, floats are finite, and every loss is counted.
        #[test]
        fn a_result_is_a_map_of_maps(
            modules in prop::collection::vec(
                ("[ab-]{1,2}", prop::collection::vec(("[ab ]{1,2}", any_value()), 0..8)),
                0..5,
            ),
        ) {
            let returned: Vec<_> = modules
                .iter()
                .map(|(name, metrics)| module(name, metrics.iter().map(|(name, value)| metric(name, &[], value.clone())).collect()))
                .collect();
            let all: usize = modules.iter().map(|(_, metrics)| metrics.len()).sum();
            let collected = convert(returned, &Limits::default());
            let names: HashSet<_> = collected.modules.iter().map(|module| module.name()).collect();
            prop_assert_eq!(names.len(), collected.modules.len());
            let mut kept = 0;
            for module in &collected.modules {
                prop_assert!(is_name(module.name()));
                let keys: HashSet<_> = module.metrics().map(|metric| metric.key().to_string()).collect();
                prop_assert_eq!(keys.len(), module.len());
                for metric in module.metrics() {
                    prop_assert!(is_name(metric.name()));
                    prop_assert!(!matches!(metric.value, Value::Float(value) if !value.is_finite()));
                }
                kept += module.len();
            }
            prop_assert!(kept as u64 + collected.dropped >= all as u64);
        }
    }
}
