//! The plugin rules: checks the results of several runs against the plugin's description, and against the rules for all
//! plugins. The input is the usable part of each result, and the agent's reasons for the metrics that it dropped.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use crate::collector::native::NATIVE;
use crate::plugin::harness::{Collected, DescribedMetric, Description};
use crate::sample::{AGENT, Column, Label, Metric, MetricKind, Module, Value};

/// A metric has too many label sets if new ones appear in at least this many runs after its first one …
const GROWTHS: usize = 3;

/// … and in more than one of this many of them. A new device now and then is allowed.
const SHARE: usize = 2;

/// The most label sets that are remembered of a metric. A metric with more grows, or is dropped because of the limits.
const REMEMBERED: usize = 200_000;

/// The most violations that are reported one by one.
const VIOLATIONS: usize = 100;

/// The kind of labels that keep growing.
pub(super) const GROWING: &str = "growing";

/// A violation of a plugin rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// The kind: `undescribed`, `label`, `name`, `kind`, `backwards`, `growing`, `reserved`, `dropped` or `more`.
    pub(super) kind: &'static str,
    /// The violation as it was first found.
    pub(super) text: String,
    /// The number of runs with this violation.
    pub(super) runs: usize,
    /// The last of these runs, from 1; 0 if no run was needed.
    last_run: usize,
}

/// The check of one plugin, and its state between runs.
pub(super) struct RuleCheck {
    /// That of the plugin as it is configured.
    description: Arc<Description>,
    /// The modules whose names are somebody else's.
    verbatim: BTreeSet<String>,
    /// The label sets of each metric, by module and name.
    metrics: BTreeMap<(String, String), LabelSets>,
    /// The previous value of each series, by a hash of module, name and labels.
    last: HashMap<u64, Value>,
    /// The hash's random key, which a plugin cannot guess.
    hashing: RandomState,
    run: usize,
    /// The violations, by kind and subject.
    violations: BTreeMap<(&'static str, String), Violation>,
    /// The number of violations beyond [`VIOLATIONS`].
    more: u64,
}

/// The label sets of one metric.
#[derive(Default)]
struct LabelSets {
    /// Hashes of the label sets so far.
    hashes: HashSet<u64>,
    /// The number of runs with the metric.
    runs: usize,
    /// The number of runs with a new label set, the first run included.
    growths: usize,
}

impl RuleCheck {
    pub(super) fn new(description: &Arc<Description>) -> Self {
        Self {
            description: Arc::clone(description),
            verbatim: BTreeSet::new(),
            metrics: BTreeMap::new(),
            last: HashMap::new(),
            hashing: RandomState::new(),
            run: 0,
            violations: BTreeMap::new(),
            more: 0,
        }
    }

    /// Follows the description: the plugin was configured, or has found metrics.
    pub(super) fn follow(&mut self, description: &Arc<Description>) {
        self.description = Arc::clone(description);
    }

    /// Checks the result of a run. In a new instance counters may start again.
    pub(super) fn check_run(&mut self, run: usize, collected: &Collected, is_first: bool) {
        self.run = run;
        if is_first {
            self.last.clear();
        }
        let mut now = HashMap::new();
        for module in &collected.modules {
            let natives = NATIVE.iter().flat_map(|native| native.modules);
            if natives.chain([&AGENT]).any(|own| **own == **module.name()) {
                self.violation("reserved", module.name().to_string(), |module| {
                    format!("the module {module} is reserved for the agent, which drops the plugin's; rename it")
                });
            }
            if module.schema().source().is_verbatim {
                self.verbatim.insert(module.name().to_string());
            }
            self.check_module(module, &mut now);
        }
        self.last = now;
        for loss in &collected.losses {
            self.violation("dropped", loss.clone(), str::to_owned);
        }
        let others = collected.dropped.saturating_sub(collected.losses.len() as u64);
        if others > 0 {
            self.violation("dropped", String::new(), |_| format!("{others} more metrics"));
        }
    }

    fn check_module(&mut self, module: &Module, now: &mut HashMap<u64, Value>) {
        let mut grown: BTreeMap<&str, bool> = BTreeMap::new();
        for metric in module.metrics() {
            let mut labels: Vec<_> = metric.labels().iter().map(|label| (&*label.name, &*label.value)).collect();
            labels.sort_unstable();
            let series = self.hashing.hash_one((&**module.name(), metric.name(), labels));
            self.check_metric(module, metric, series);
            now.insert(series, metric.value.clone());
            let id = (module.name().to_string(), metric.name().to_owned());
            let hashes = &mut self.metrics.entry(id).or_default().hashes;
            let is_new = hashes.len() < REMEMBERED && hashes.insert(series);
            *grown.entry(metric.name()).or_default() |= is_new;
        }
        for (name, has_grown) in grown {
            let Some(sets) = self.metrics.get_mut(&(module.name().to_string(), name.to_owned())) else { continue };
            sets.growths += usize::from(has_grown);
            sets.runs += 1;
        }
    }

    fn check_metric(&mut self, module: &Module, metric: Metric<'_>, series: u64) {
        let (name, column) = (metric.series.metric_name(), metric.series.column());
        let id = format!("{}.{}", module.name(), metric.key());
        let described = self.description.metric(module.name(), name);
        let kind = described.map(|described| described.descriptor.kind);
        if let Some(DescribedMetric { labels, .. }) = described {
            let own = |label: &&Label| column.label() != Some(&*label.name);
            let is_described = |label: &&Label| labels.iter().any(|dimension| *dimension.name == *label.name);
            let others = metric.labels().iter().filter(own).filter(|label| !is_described(label));
            let others: Vec<String> =
                others.map(|label| format!("{}.{name} has the label {}, which", module.name(), label.name)).collect();
            for other in others {
                self.violation("label", other, |other| format!("{other} is not described"));
            }
        } else if !module.schema().source().is_verbatim {
            let name = format!("{}.{name}", module.name());
            self.violation("undescribed", name, |name| format!("{name} is returned but not described"));
        }
        let (is, before) = (type_name(metric.value), self.last.get(&series).cloned());
        // A quantile has no value where nothing was observed.
        let is_other = |was: &&str| *was != is && !matches!((*was, metric.value), ("null", _) | (_, Value::Null));
        if let Some(was) = before.as_ref().map(type_name).filter(is_other) {
            return self.violation("kind", id, |id| format!("{id} changed from {was} to {is}"));
        }
        let counts = match column {
            Column::Value => kind == Some(MetricKind::Counter),
            Column::Bucket | Column::Count => true,
            Column::Quantile | Column::Sum => false,
        };
        if !counts {
            return;
        }
        match (number(metric.value), before.as_ref().and_then(number)) {
            (None, _) => self.violation("kind", id, |id| format!("{id} is described as a counter, but is {is}")),
            (Some(now), _) if now < 0.0 => {
                self.violation("kind", id, |id| format!("{id} is a counter, but is negative"));
            }
            (Some(now), Some(before)) if now < before => {
                self.violation("backwards", id, |id| format!("{id} is a counter, but fell from {before} to {now}"));
            }
            _ => {}
        }
    }

    /// Checks the names of the described metrics, but for those of others.
    fn check_names(&mut self) {
        self.run = 0;
        for DescribedMetric { module, descriptor, .. } in &Arc::clone(&self.description).metrics {
            let (name, kind) = (&descriptor.name, descriptor.kind);
            let is_total = name.ends_with("_total");
            if is_total != (kind == MetricKind::Counter) && !self.verbatim.contains(&**module) {
                let rule = if is_total { "ends in _total, which is for counters" } else { "does not end in _total" };
                self.violation("name", format!("{module}.{name}"), |id| {
                    format!("{id} is described as a {}, but its name {rule}", kind.name())
                });
            }
        }
    }

    /// Records a violation. It counts once a run for each kind and subject.
    fn violation(&mut self, kind: &'static str, subject: String, text: impl FnOnce(&str) -> String) {
        let is_full = self.violations.len() >= VIOLATIONS;
        match self.violations.entry((kind, subject)) {
            Entry::Occupied(entry) => {
                let violation = entry.into_mut();
                violation.runs += usize::from(violation.last_run != self.run);
                violation.last_run = self.run;
            }
            Entry::Vacant(_) if is_full => self.more += 1,
            Entry::Vacant(entry) => {
                let text = text(&entry.key().1);
                entry.insert(Violation { kind, text, runs: usize::from(self.run > 0), last_run: self.run });
            }
        }
    }

    /// Checks the label sets of all runs. Returns all violations.
    pub(super) fn finish(mut self) -> Vec<Violation> {
        for ((module, name), LabelSets { hashes, runs, growths }) in std::mem::take(&mut self.metrics) {
            let (later, growths, sets) = (runs.saturating_sub(1), growths.saturating_sub(1), hashes.len());
            if growths >= GROWTHS && growths > later / SHARE {
                self.violation(GROWING, format!("{module}.{name}"), |id| {
                    format!(
                        "{id} had {sets} label sets in {runs} runs, new ones in {growths} of the last {later}; use labels with \
                         few values"
                    )
                });
            }
        }
        let run = self.run;
        self.check_names();
        let more = (self.more > 0).then(|| Violation {
            kind: "more",
            text: format!("{} more violations", self.more),
            runs: run,
            last_run: run,
        });
        self.violations.into_values().chain(more).collect()
    }
}

fn number(value: &Value) -> Option<f64> {
    match *value {
        Value::Unsigned(value) => Some(value as f64),
        Value::Signed(value) => Some(value as f64),
        Value::Float(value) => Some(value),
        Value::Null | Value::Boolean(_) | Value::Text(_) => None,
    }
}

/// The type of a value, for messages.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "a boolean",
        Value::Text(_) => "a text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{NativeMetric, test_module};

    fn description(metrics: &[(&'static str, MetricKind)]) -> Arc<Description> {
        let described = |&(name, kind): &(&'static str, MetricKind)| {
            let metric = NativeMetric { kind, ..NativeMetric::gauge("m", name, "1", "", "") };
            DescribedMetric::test_metric("m", metric.descriptor(), &["label"])
        };
        Description::new(&"plugin".into(), "1".into(), "", Arc::default(), metrics.iter().map(described))
    }

    /// The violations of runs that returned these metrics: name, label, value.
    fn violations(metrics: &[(&'static str, MetricKind)], runs: &[&[(&'static str, &str, Value)]]) -> Vec<String> {
        let mut check = RuleCheck::new(&description(metrics));
        for (run, metrics) in runs.iter().enumerate() {
            let module = test_module("m", |values| {
                for (name, label, value) in *metrics {
                    values.push_labelled(name, &[("label", *label)].into(), value.clone());
                }
            });
            let collected = Collected { modules: vec![module], ..Collected::default() };
            check.check_run(run + 1, &collected, run == 0);
        }
        check
            .finish()
            .into_iter()
            .map(|violation| format!("{}: {} ({})", violation.kind, violation.text, violation.runs))
            .collect()
    }

    #[test]
    fn valid_results_have_no_violations() {
        let run = |count: u64| [("x_total", "a", count.into()), ("level", "a", Value::Float(1.0 / count as f64))];
        let runs = [run(1), run(2), run(2), run(9)];
        let runs = runs.each_ref().map(|run| &run[..]);
        assert_eq!(violations(&[("x_total", MetricKind::Counter), ("level", MetricKind::Gauge)], &runs), [""; 0]);
    }

    #[test]
    fn falling_and_nonnumeric_counters_are_violations() {
        let text = Value::from("x");
        let found = violations(
            &[("a_total", MetricKind::Counter), ("b_total", MetricKind::Counter), ("c_total", MetricKind::Counter)],
            &[
                &[("a_total", "", 9.into()), ("b_total", "", text.clone()), ("c_total", "", Value::Signed(-1))],
                &[("a_total", "", 8.into()), ("b_total", "", text), ("c_total", "", Value::Signed(1))],
                &[("a_total", "", 7.into())],
            ],
        );
        assert_eq!(
            found,
            [
                "backwards: m.a_total{label=\"\"} is a counter, but fell from 9 to 8 (2)",
                "kind: m.b_total{label=\"\"} is described as a counter, but is a text (2)",
                "kind: m.c_total{label=\"\"} is a counter, but is negative (1)",
            ]
        );
    }

    #[test]
    fn undescribed_names_and_kinds_are_violations() {
        let found = violations(
            &[("count", MetricKind::Counter), ("level_total", MetricKind::Gauge), ("state", MetricKind::Gauge)],
            &[&[("state", "", Value::Boolean(true))], &[("state", "", "on".into()), ("other", "", 1.into())]],
        );
        assert_eq!(
            found,
            [
                "kind: m.state{label=\"\"} changed from a boolean to a text (1)",
                "name: m.count is described as a counter, but its name does not end in _total (0)",
                "name: m.level_total is described as a gauge, but its name ends in _total, which is for counters (0)",
                "undescribed: m.other is returned but not described (1)",
            ]
        );
    }

    #[test]
    fn label_sets_that_keep_growing_are_violations() {
        let run = |label: &'static str| [("level", label, Value::Unsigned(1))];
        let grows = |labels: &[&'static str]| {
            let runs: Vec<_> = labels.iter().map(|label| run(label)).collect();
            let runs: Vec<&[_]> = runs.iter().map(|run| &run[..]).collect();
            violations(&[("level", MetricKind::Gauge)], &runs).iter().filter(|found| found.starts_with(GROWING)).count()
                == 1
        };
        assert!(grows(&["a", "b", "c", "d"]) && grows(&["a", "a", "b", "c", "d"]));
        assert!(!grows(&["a", "b", "c"]), "three runs are too few");
        assert!(!grows(&["a", "b", "a", "c", "a", "d", "a", "a"]), "most runs have no new label set");
    }

    #[test]
    fn reserved_modules_and_dropped_metrics_are_violations() {
        let mut check = RuleCheck::new(&description(&[]));
        let modules = ["agent", "memory", "mine"].map(|name| test_module(name, |_| {})).into();
        check.check_run(
            1,
            &Collected {
                modules,
                dropped: 30,
                losses: vec!["the metric m.x: it is there twice".to_owned()],
                ..Collected::default()
            },
            true,
        );
        let found: Vec<_> = check.finish().into_iter().map(|violation| (violation.kind, violation.text)).collect();
        assert_eq!(found.iter().filter(|(kind, _)| *kind == "reserved").count(), 2, "{found:?}");
        assert!(found.contains(&("dropped", "29 more metrics".to_owned())), "{found:?}");
    }

    #[test]
    fn excess_violations_are_counted() {
        let module = test_module("m", |values| {
            for number in 0..VIOLATIONS + 7 {
                values.push(&format!("x{number}"), 1);
            }
        });
        let mut check = RuleCheck::new(&description(&[]));
        check.check_run(1, &Collected { modules: vec![module], ..Collected::default() }, true);
        let found = check.finish();
        assert_eq!((found.len(), &*found[VIOLATIONS].text), (VIOLATIONS + 1, "7 more violations"));
    }
}
