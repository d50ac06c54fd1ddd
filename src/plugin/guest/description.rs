//! The descriptions of plugins: a version's own words about itself, its settings, and the descriptors of its metrics. An instance
//! adds the descriptors that depend on its settings, or that it learns while it measures.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::escape::{is_plain, printable};
use crate::plugin::guest::bindings::exports::gauged::plugin::collector as wit;
use crate::plugin::guest::bindings::gauged::plugin::metrics;
use crate::plugin::guest::setting::{Setting, check_settings};
use crate::sample::{
    CollectorVersion, CounterOrigin, Descriptor, MetricKind, Text, is_label_name, is_name, is_scraped_name,
};

/// The most metrics that a plugin may describe, not counting labels.
pub(super) const MAX_DESCRIBED: usize = 10_000;

/// The longest unit that a plugin may describe, in bytes: twice the longest in use.
const UNIT_BYTES: usize = 64;

/// The longest description of a metric, in bytes: a sentence. The agent keeps it, and hashes it with each new series.
const DESCRIPTION_BYTES: usize = 1024;

/// The most labels that a metric may describe: more than a result may have by default.
const MAX_DIMENSIONS: usize = 64;

/// The longest name of a metric in a verbatim module, in bytes: longer than those of all exporters.
pub(super) const VERBATIM_NAME_BYTES: usize = 512;

/// A version of a plugin as its modules show it, its own words about itself, and the descriptors of its metrics.
#[derive(Debug)]
pub(crate) struct Description {
    pub(super) collector: Arc<CollectorVersion>,
    /// A sentence about the plugin, on one line; may be empty.
    pub(crate) summary: Text,
    /// In the plugin's order.
    pub(crate) settings: Arc<[Setting]>,
    /// In the plugin's order, those that it has added last.
    pub(crate) metrics: Box<[DescribedMetric]>,
    /// Their positions, sorted by module and name.
    sorted: Box<[usize]>,
}

/// A metric that a plugin has described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedMetric {
    pub(crate) module: Text,
    pub(crate) descriptor: Arc<Descriptor>,
    /// Whether its counts are from the start of the instance.
    counts_itself: bool,
    /// All labels that it may have.
    pub(crate) labels: Arc<[Dimension]>,
}

/// A label that a plugin has described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dimension {
    pub(crate) name: Box<str>,
    pub(crate) meaning: Box<str>,
}

impl DescribedMetric {
    /// A metric that was checked; `started` is the start of the instance, where there is one.
    pub(super) fn new(metric: metrics::Descriptor, started: Option<Duration>) -> Self {
        let metrics::Descriptor { module, name, kind, counts_from, unit, description, labels } = metric;
        let kind = match kind {
            metrics::Kind::Gauge => MetricKind::Gauge,
            metrics::Kind::Counter => MetricKind::Counter,
            metrics::Kind::Histogram => MetricKind::Histogram,
            metrics::Kind::Summary => MetricKind::Summary,
        };
        let origin = match (counts_from, started) {
            (metrics::Origin::Boot, _) => CounterOrigin::Boot,
            (metrics::Origin::Plugin, Some(started)) => CounterOrigin::Moment(started),
            (metrics::Origin::Plugin, None) | (metrics::Origin::Unknown, _) => CounterOrigin::Unknown,
        };
        let dimension = |metrics::Dimension { name, meaning }| Dimension { name: name.into(), meaning: meaning.into() };
        Self {
            module: module.into(),
            descriptor: Arc::new(Descriptor {
                name: name.into(),
                kind,
                origin,
                unit: unit.into(),
                description: description.into(),
            }),
            counts_itself: counts_from == metrics::Origin::Plugin,
            labels: labels.into_iter().map(dimension).collect(),
        }
    }

    /// The same metric of an instance that started at this moment.
    fn started_at(&self, started: Duration) -> Self {
        if !self.counts_itself {
            return self.clone();
        }
        let descriptor = Descriptor { origin: CounterOrigin::Moment(started), ..(*self.descriptor).clone() };
        Self { descriptor: Arc::new(descriptor), ..self.clone() }
    }

    /// A metric with these labels.
    #[cfg(test)]
    pub(crate) fn test_metric(module: &'static str, descriptor: Descriptor, labels: &[&str]) -> Self {
        let labels = labels.iter().map(|&name| Dimension { name: name.into(), meaning: "".into() }).collect();
        Self { module: module.into(), descriptor: Arc::new(descriptor), counts_itself: false, labels }
    }

    fn id(&self) -> (&str, &str) {
        (&self.module, &self.descriptor.name)
    }

    /// From when its counts are, in the words of the WIT; none for a gauge.
    pub(crate) fn counts_from(&self) -> Option<&'static str> {
        match (self.descriptor.kind, self.counts_itself, self.descriptor.origin) {
            (MetricKind::Gauge, ..) => None,
            (_, true, _) => Some("plugin"),
            (_, false, CounterOrigin::Boot) => Some("boot"),
            (_, false, _) => Some("unknown"),
        }
    }
}

impl Description {
    /// The description of a plugin that was not asked for one yet.
    pub(crate) fn unknown(plugin: &Arc<str>) -> Arc<Self> {
        Self::new(plugin, Text::Static(""), "", Arc::default(), [])
    }

    /// The description of a plugin with this name, from what it says of itself, which was checked.
    pub(crate) fn told(plugin: &Arc<str>, about: wit::About) -> Arc<Self> {
        let wit::About { version, description, settings, metrics } = about;
        let settings = settings.into_iter().map(Setting::from).collect();
        let metrics = metrics.into_iter().map(|metric| DescribedMetric::new(metric, None));
        Self::new(plugin, version.into(), &description, settings, metrics)
    }

    pub(crate) fn new(
        plugin: &Arc<str>,
        version: Text,
        summary: &str,
        settings: Arc<[Setting]>,
        metrics: impl IntoIterator<Item = DescribedMetric>,
    ) -> Arc<Self> {
        let collector = Arc::new(CollectorVersion { name: Text::Shared(Arc::clone(plugin)), version });
        Self::sorted(collector, printable(summary).into(), settings, metrics.into_iter().collect())
    }

    fn sorted(
        collector: Arc<CollectorVersion>,
        summary: Text,
        settings: Arc<[Setting]>,
        metrics: Box<[DescribedMetric]>,
    ) -> Arc<Self> {
        let mut sorted: Box<[usize]> = (0..metrics.len()).collect();
        sorted.sort_unstable_by_key(|&at| metrics[at].id());
        Arc::new(Self { collector, summary, settings, metrics, sorted })
    }

    /// The description of an instance that started at this moment.
    pub(crate) fn started_at(self: &Arc<Self>, started: Duration) -> Arc<Self> {
        if !self.metrics.iter().any(|metric| metric.counts_itself) {
            return Arc::clone(self);
        }
        let metrics = self.metrics.iter().map(|metric| metric.started_at(started)).collect();
        Self::sorted(Arc::clone(&self.collector), self.summary.clone(), Arc::clone(&self.settings), metrics)
    }

    /// The same with more metrics, none of them twice. One that it has already gets the new descriptor.
    pub(crate) fn with(self: &Arc<Self>, more: Vec<DescribedMetric>) -> Arc<Self> {
        if more.is_empty() {
            return Arc::clone(self);
        }
        let mut metrics = self.metrics.to_vec();
        for metric in more {
            match self.position(metric.id()) {
                Some(known) => metrics[known] = metric,
                None => metrics.push(metric),
            }
        }
        let metrics = metrics.into();
        Self::sorted(Arc::clone(&self.collector), self.summary.clone(), Arc::clone(&self.settings), metrics)
    }

    fn position(&self, id: (&str, &str)) -> Option<usize> {
        let found = self.sorted.binary_search_by_key(&id, |&at| self.metrics[at].id());
        found.ok().map(|at| self.sorted[at])
    }

    /// The metric, if the plugin has described it.
    pub(crate) fn metric(&self, module: &str, name: &str) -> Option<&DescribedMetric> {
        self.position((module, name)).map(|at| &self.metrics[at])
    }

    /// The descriptor of a metric, if the plugin has described it.
    pub(crate) fn descriptor(&self, module: &str, name: &str) -> Option<&Arc<Descriptor>> {
        self.metric(module, name).map(|metric| &metric.descriptor)
    }
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
    check_settings(&about.settings)?;
    check_metrics(&about.metrics)
}

/// Checks a list of descriptors.
///
/// # Errors
///
/// The first problem: the end of a sentence that begins with the file.
pub(crate) fn check_metrics(metrics: &[metrics::Descriptor]) -> Result<(), String> {
    if metrics.len() > MAX_DESCRIBED {
        return Err(format!("describes more than {MAX_DESCRIBED} metrics"));
    }
    let mut described = HashSet::new();
    for metric in metrics {
        check_metric(metric, true)?;
        if !described.insert((&metric.module, &metric.name)) {
            return Err(format!("describes the metric {}.{} twice", metric.module, metric.name));
        }
    }
    Ok(())
}

/// Checks a descriptor of a metric, which may be in a verbatim module.
///
/// # Errors
///
/// The problem: the end of a sentence that begins with the file.
pub(super) fn check_metric(metric: &metrics::Descriptor, may_be_verbatim: bool) -> Result<(), String> {
    let metrics::Descriptor { module, name, kind, unit, description, labels, .. } = metric;
    if !is_name(module) || !(is_name(name) || may_be_verbatim && is_verbatim_name(name)) {
        return Err(format!("describes the metric {:?}, whose name breaks the rules", format!("{module}.{name}")));
    }
    let fail = |why: &str| Err(format!("describes the metric {module}.{name} with {why}"));
    for (what, text, most) in [("unit", unit, UNIT_BYTES), ("description", description, DESCRIPTION_BYTES)] {
        if text.len() > most {
            return fail(&format!("a {what} of more than {most} bytes"));
        }
    }
    if labels.len() > MAX_DIMENSIONS {
        return fail(&format!("more than {MAX_DIMENSIONS} labels"));
    }
    let reserved = match kind {
        metrics::Kind::Gauge | metrics::Kind::Counter => None,
        metrics::Kind::Histogram => Some("le"),
        metrics::Kind::Summary => Some("quantile"),
    };
    for (at, metrics::Dimension { name: label, meaning }) in labels.iter().enumerate() {
        if !is_label_name(label) {
            return fail(&format!("the label {label:?}, whose name breaks the rules"));
        }
        if reserved == Some(&**label) {
            return fail(&format!("the label {label}, which histograms and summaries use themselves"));
        }
        if labels[..at].iter().any(|earlier| earlier.name == *label) {
            return fail(&format!("the label {label} twice"));
        }
        if meaning.len() > DESCRIPTION_BYTES {
            return fail(&format!("a meaning of the label {label} of more than {DESCRIPTION_BYTES} bytes"));
        }
    }
    Ok(())
}

/// Whether a text may name a metric of a verbatim module.
pub(super) fn is_verbatim_name(text: &str) -> bool {
    text.len() <= VERBATIM_NAME_BYTES && is_scraped_name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(module: &str, name: &str) -> metrics::Descriptor {
        metrics::Descriptor {
            module: module.to_owned(),
            name: name.to_owned(),
            kind: metrics::Kind::Gauge,
            counts_from: metrics::Origin::Unknown,
            unit: "s".to_owned(),
            description: String::new(),
            labels: Vec::new(),
        }
    }

    fn about(version: &str, metrics: Vec<metrics::Descriptor>) -> wit::About {
        wit::About { version: version.to_owned(), description: String::new(), settings: Vec::new(), metrics }
    }

    fn labelled(kind: metrics::Kind, labels: &[&str]) -> metrics::Descriptor {
        let label = |name: &&str| metrics::Dimension { name: (*name).to_owned(), meaning: "It.".to_owned() };
        metrics::Descriptor { kind, labels: labels.iter().map(label).collect(), ..descriptor("a", "b") }
    }

    #[test]
    fn inconsistent_descriptions_are_rejected() {
        use metrics::Kind::{Gauge, Histogram, Summary};
        assert_eq!(check_about(&about("1.0", vec![descriptor("a", "b"), descriptor("a", "c")])), Ok(()));
        assert_eq!(check_about(&about("1.0", vec![descriptor("a", "node:b")])), Ok(()));
        assert_eq!(check_about(&about("1.0", vec![labelled(Gauge, &["le", "quantile"])])), Ok(()));
        let why = |version: &str, metrics| check_about(&about(version, metrics)).expect_err("inconsistent");
        assert!(why("", vec![]).contains("a version that is not 1 to 64"));
        assert!(why("1\n2", vec![]).contains("a version that is not 1 to 64"));
        assert!(why("1", vec![descriptor("a", "b"), descriptor("a", "b")]).ends_with("the metric a.b twice"));
        assert!(why("1", vec![descriptor("a b", "c")]).contains("whose name breaks the rules"));
        let long = metrics::Descriptor { description: "x".repeat(DESCRIPTION_BYTES + 1), ..descriptor("a", "b") };
        assert!(why("1", vec![long]).contains("a description of more than 1024"));
        let long = metrics::Descriptor { unit: "x".repeat(UNIT_BYTES + 1), ..descriptor("a", "b") };
        assert!(why("1", vec![long]).contains("a unit of more than 64"));
        assert!(why("1", vec![labelled(Gauge, &["a", "a"])]).ends_with("the label a twice"));
        assert!(why("1", vec![labelled(Gauge, &["a b"])]).contains("the label \"a b\", whose name"));
        assert!(why("1", vec![labelled(Histogram, &["le"])]).contains("the label le, which histograms"));
        assert!(why("1", vec![labelled(Summary, &["quantile"])]).contains("the label quantile, which"));
        assert!(why("1", vec![labelled(Gauge, &["a"; MAX_DIMENSIONS + 1])]).contains("more than 64 labels"));
    }

    #[test]
    fn counts_of_an_instance_are_from_its_start() {
        use CounterOrigin::{Boot, Moment, Unknown};
        let counter = |name: &str, counts_from| metrics::Descriptor {
            kind: metrics::Kind::Counter,
            counts_from,
            ..descriptor("a", name)
        };
        let metrics = vec![
            counter("boot", metrics::Origin::Boot),
            counter("own", metrics::Origin::Plugin),
            counter("any", metrics::Origin::Unknown),
            descriptor("a", "level"),
        ];
        let description = Description::told(&"p".into(), about("1", metrics));
        let origins = |description: &Description| {
            ["boot", "own", "any"].map(|name| description.descriptor("a", name).expect("described").origin)
        };
        let started = Duration::from_secs(7);
        assert_eq!(origins(&description), [Boot, Unknown, Unknown]);
        assert_eq!(origins(&description.started_at(started)), [Boot, Moment(started), Unknown]);
        let words: Vec<_> = description.metrics.iter().map(DescribedMetric::counts_from).collect();
        assert_eq!(words, [Some("boot"), Some("plugin"), Some("unknown"), None]);
        let without = Description::told(&"p".into(), about("1", vec![descriptor("a", "level")]));
        assert!(Arc::ptr_eq(&without, &without.started_at(started)), "it needs no other");
    }

    #[test]
    fn later_descriptors_replace_earlier_ones() {
        let description = Description::told(&"p".into(), about("1", vec![descriptor("a", "b"), descriptor("a", "c")]));
        let more = metrics::Descriptor { unit: "By".to_owned(), ..descriptor("a", "b") };
        let more = [more, descriptor("0", "d")].map(|metric| DescribedMetric::new(metric, None));
        let merged = description.with(more.into());
        let units = [("a", "b"), ("a", "c"), ("0", "d")]
            .map(|(module, name)| merged.descriptor(module, name).expect("described").unit.to_string());
        assert_eq!(units, ["By", "s", "s"]);
        assert_eq!(merged.metrics.len(), 3);
        assert!(Arc::ptr_eq(&description, &description.with(Vec::new())));
    }
}
