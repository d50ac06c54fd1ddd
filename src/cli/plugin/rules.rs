//! What a plugin returned over several runs, held against what it says of itself and against what the contract asks of
//! every plugin. It sees what the agent keeps of a result, and what the agent says of the rest.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use crate::collector::native::NATIVE;
use crate::plugin::harness::{PluginDescription, UsableResult};
use crate::sample::{Metric, MetricKind, Module, Value};

/// The module in which the agent tells of itself.
const AGENT: &str = "agent";

/// A label set that grows without end does so at most runs: at this many of those after the first that has the metric …
const GROWTHS: usize = 3;

/// … and at more than this share of them. A device that is plugged in meanwhile is no growth.
const SHARE: usize = 2;

/// How many label sets of one metric are remembered: what has as many grows, or is dropped by the limits.
const REMEMBERED: usize = 200_000;

/// How many breaches are told apart.
const BREACHES: usize = 100;

/// A breach of the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Breach {
    /// Of what kind it is, in a word: `undescribed`, `name`, `kind`, `backwards`, `growing`, `taken` or `dropped`.
    pub(super) kind: &'static str,
    /// What it is, as it was found first.
    pub(super) what: String,
    /// How many runs had it.
    pub(super) runs: usize,
    /// The last of them, from 1; 0 for what needs no run to be found.
    last_run: usize,
}

/// Everything that is seen of one plugin.
pub(super) struct RuleCheck {
    described: HashMap<(String, String), MetricKind>,
    /// By module and name.
    metrics: BTreeMap<(String, String), Labelled>,
    /// What each series was last: by a hash of module, name and labels, whose key no plugin knows.
    last: HashMap<u64, Value>,
    hashing: RandomState,
    run: usize,
    /// By what they are of.
    breaches: BTreeMap<(&'static str, String), Breach>,
    /// How many more there are than are told apart.
    more: u64,
}

/// The label sets of one metric.
#[derive(Default)]
struct Labelled {
    seen: HashSet<u64>,
    /// How many runs have had it.
    runs: usize,
    /// In how many of those there was a label set that was not there before: the first is one.
    growths: usize,
}

impl RuleCheck {
    pub(super) fn new(about: &PluginDescription) -> Self {
        let described: HashMap<(String, String), MetricKind> =
            about.metrics.iter().map(|metric| ((metric.module.clone(), metric.name.clone()), metric.kind)).collect();
        let mut check = Self {
            described,
            metrics: BTreeMap::new(),
            last: HashMap::new(),
            hashing: RandomState::new(),
            run: 0,
            breaches: BTreeMap::new(),
            more: 0,
        };
        for metric in &about.metrics {
            let (module, name) = (&metric.module, &metric.name);
            let is_total = name.ends_with("_total");
            if is_total != (metric.kind == MetricKind::Counter) {
                let (is, rule) = match metric.kind {
                    MetricKind::Counter => ("counter", "does not end in _total"),
                    MetricKind::Gauge => ("gauge", "ends in _total, as those of counters do"),
                };
                check.breach("name", format!("{module}.{name}"), |id| {
                    format!("{id} is described as a {is}, and its name {rule}")
                });
            }
        }
        check
    }

    /// Takes what a run returned. After a fresh start counters may begin again.
    pub(super) fn take(&mut self, run: usize, usable: &UsableResult, is_first: bool) {
        self.run = run;
        if is_first {
            self.last.clear();
        }
        let mut now = HashMap::new();
        for module in &usable.modules {
            let mut natives = NATIVE.iter().flat_map(|native| native.metrics).map(|own| own.module);
            if *module.name == *AGENT || natives.any(|own| *own == *module.name) {
                self.breach("taken", module.name.to_string(), |module| {
                    format!("the module {module} is the agent's own, which drops this one; rename it")
                });
            }
            self.take_module(module, &mut now);
        }
        self.last = now;
        for loss in &usable.losses {
            self.breach("dropped", loss.clone(), str::to_owned);
        }
        let others = usable.dropped.saturating_sub(usable.losses.len() as u64);
        if others > 0 {
            self.breach("dropped", String::new(), |_| format!("{others} metrics besides those that are told of"));
        }
    }

    fn take_module(&mut self, module: &Module, now: &mut HashMap<u64, Value>) {
        let mut grown: BTreeMap<&str, bool> = BTreeMap::new();
        for metric in module.metrics() {
            let series = self.hashing.hash_one((&*module.name, metric.name, metric.labels));
            self.check(&module.name, metric, series);
            now.insert(series, metric.value.clone());
            let id = (module.name.to_string(), metric.name.to_string());
            let seen = &mut self.metrics.entry(id).or_default().seen;
            let is_new = seen.len() < REMEMBERED && seen.insert(series);
            *grown.entry(metric.name).or_default() |= is_new;
        }
        for (name, has_grown) in grown {
            let Some(labelled) = self.metrics.get_mut(&(module.name.to_string(), name.to_owned())) else { continue };
            labelled.growths += usize::from(has_grown);
            labelled.runs += 1;
        }
    }

    fn check(&mut self, module: &str, metric: Metric<'_>, series: u64) {
        let id = format!("{module}.{}", metric.key);
        let kind = self.described.get(&(module.to_owned(), metric.name.to_owned())).copied();
        if kind.is_none() {
            let name = format!("{module}.{}", metric.name);
            self.breach("undescribed", name, |name| format!("{name} is returned, and not described"));
        }
        let (is, before) = (word(metric.value), self.last.get(&series).cloned());
        if let Some(was) = before.as_ref().map(word).filter(|was| *was != is) {
            return self.breach("kind", id, |id| format!("{id} is {is} after it was {was}"));
        }
        if kind != Some(MetricKind::Counter) {
            return;
        }
        match (number(metric.value), before.as_ref().and_then(number)) {
            (None, _) => self.breach("kind", id, |id| format!("{id} is described as a counter, and is {is}")),
            (Some(now), _) if now < 0.0 => self.breach("kind", id, |id| format!("{id} is a counter, and below zero")),
            (Some(now), Some(before)) if now < before => {
                self.breach("backwards", id, |id| format!("{id} is a counter, and fell from {before} to {now}"));
            }
            _ => {}
        }
    }

    /// Notes one breach a run for whatever it is of.
    fn breach(&mut self, kind: &'static str, of: String, what: impl FnOnce(&str) -> String) {
        let is_full = self.breaches.len() >= BREACHES;
        match self.breaches.entry((kind, of)) {
            Entry::Occupied(breach) => {
                let breach = breach.into_mut();
                breach.runs += usize::from(breach.last_run != self.run);
                breach.last_run = self.run;
            }
            Entry::Vacant(_) if is_full => self.more += 1,
            Entry::Vacant(place) => {
                let what = what(&place.key().1);
                place.insert(Breach { kind, what, runs: usize::from(self.run > 0), last_run: self.run });
            }
        }
    }

    /// All breaches, those that only many runs show included.
    pub(super) fn finish(mut self) -> Vec<Breach> {
        for ((module, name), Labelled { seen, runs, growths }) in std::mem::take(&mut self.metrics) {
            let (later, growths, sets) = (runs.saturating_sub(1), growths.saturating_sub(1), seen.len());
            if growths >= GROWTHS && growths > later / SHARE {
                self.breach("growing", format!("{module}.{name}"), |id| {
                    format!(
                        "{id} had {sets} label sets in {runs} runs, and new ones in {growths} of the last {later}; \
                         label it with what there are few of"
                    )
                });
            }
        }
        let more = (self.more > 0).then(|| Breach {
            kind: "more",
            what: format!("{} more than are told of", self.more),
            runs: self.run,
            last_run: self.run,
        });
        self.breaches.into_values().chain(more).collect()
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

/// What a value is, so that a change of that shows.
fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Text(_) => "a text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::harness::DescribedMetric;

    fn about(metrics: &[(&str, MetricKind)]) -> PluginDescription {
        let described = |&(name, kind): &(&str, MetricKind)| DescribedMetric {
            module: "m".to_owned(),
            name: name.to_owned(),
            kind,
            unit: "1".to_owned(),
            description: String::new(),
        };
        let metrics = metrics.iter().map(described).collect();
        PluginDescription { version: "1".to_owned(), description: String::new(), metrics }
    }

    /// The breaches of runs, each of which returned these metrics: name, label, value.
    fn breaches(metrics: &[(&str, MetricKind)], runs: &[&[(&'static str, &str, Value)]]) -> Vec<String> {
        let mut check = RuleCheck::new(&about(metrics));
        for (run, metrics) in runs.iter().enumerate() {
            let mut module = Module::new("m");
            for (name, label, value) in *metrics {
                module.push_labelled(name, &[("label", *label)].into(), value.clone());
            }
            let usable = UsableResult { modules: vec![module], dropped: 0, losses: Vec::new() };
            check.take(run + 1, &usable, run == 0);
        }
        check.finish().into_iter().map(|breach| format!("{}: {} ({})", breach.kind, breach.what, breach.runs)).collect()
    }

    #[test]
    fn what_keeps_the_contract_is_not_reported() {
        let run = |count: u64| [("x_total", "a", count.into()), ("level", "a", Value::Float(1.0 / count as f64))];
        let runs = [run(1), run(2), run(2), run(9)];
        let runs = runs.each_ref().map(|run| &run[..]);
        assert_eq!(breaches(&[("x_total", MetricKind::Counter), ("level", MetricKind::Gauge)], &runs), [""; 0]);
    }

    #[test]
    fn counters_only_grow_and_are_numbers() {
        let text = Value::from("x");
        let told = breaches(
            &[("a_total", MetricKind::Counter), ("b_total", MetricKind::Counter), ("c_total", MetricKind::Counter)],
            &[
                &[("a_total", "", 9.into()), ("b_total", "", text.clone()), ("c_total", "", Value::Signed(-1))],
                &[("a_total", "", 8.into()), ("b_total", "", text), ("c_total", "", Value::Signed(1))],
                &[("a_total", "", 7.into())],
            ],
        );
        assert_eq!(
            told,
            [
                "backwards: m.a_total{label=\"\"} is a counter, and fell from 9 to 8 (2)",
                "kind: m.b_total{label=\"\"} is described as a counter, and is a text (2)",
                "kind: m.c_total{label=\"\"} is a counter, and below zero (1)",
            ]
        );
    }

    #[test]
    fn names_and_values_are_of_the_kind_that_is_described() {
        let told = breaches(
            &[("count", MetricKind::Counter), ("level_total", MetricKind::Gauge), ("state", MetricKind::Gauge)],
            &[&[("state", "", Value::Boolean(true))], &[("state", "", "on".into()), ("other", "", 1.into())]],
        );
        assert_eq!(
            told,
            [
                "kind: m.state{label=\"\"} is a text after it was true or false (1)",
                "name: m.count is described as a counter, and its name does not end in _total (0)",
                "name: m.level_total is described as a gauge, and its name ends in _total, as those of counters do (0)",
                "undescribed: m.other is returned, and not described (1)",
            ]
        );
    }

    #[test]
    fn label_sets_may_come_and_not_keep_coming() {
        let run = |label: &'static str| [("level", label, Value::Unsigned(1))];
        let grows = |labels: &[&'static str]| {
            let runs: Vec<_> = labels.iter().map(|label| run(label)).collect();
            let runs: Vec<&[_]> = runs.iter().map(|run| &run[..]).collect();
            breaches(&[("level", MetricKind::Gauge)], &runs).iter().filter(|told| told.starts_with("growing")).count()
                == 1
        };
        assert!(grows(&["a", "b", "c", "d"]) && grows(&["a", "a", "b", "c", "d"]));
        assert!(!grows(&["a", "b", "c"]), "three are too few to know");
        assert!(!grows(&["a", "b", "a", "c", "a", "d", "a", "a"]), "most of the time there is nothing new");
    }

    #[test]
    fn the_agents_modules_are_taken_and_what_was_dropped_is_told() {
        let mut check = RuleCheck::new(&about(&[]));
        let modules = vec![Module::new("agent"), Module::new("memory"), Module::new("mine")];
        check.take(
            1,
            &UsableResult { modules, dropped: 30, losses: vec!["the metric m.x: it is there twice".to_owned()] },
            true,
        );
        let told: Vec<_> = check.finish().into_iter().map(|breach| (breach.kind, breach.what)).collect();
        assert_eq!(told.iter().filter(|(kind, _)| *kind == "taken").count(), 2, "{told:?}");
        assert!(told.contains(&("dropped", "29 metrics besides those that are told of".to_owned())), "{told:?}");
    }

    #[test]
    fn breaches_beyond_some_are_counted() {
        let mut module = Module::new("m");
        for number in 0..BREACHES + 7 {
            module.push(&format!("x{number}"), 1);
        }
        let mut check = RuleCheck::new(&about(&[]));
        check.take(1, &UsableResult { modules: vec![module], dropped: 0, losses: Vec::new() }, true);
        let told = check.finish();
        assert_eq!((told.len(), &*told[BREACHES].what), (BREACHES + 1, "7 more than are told of"));
    }
}
