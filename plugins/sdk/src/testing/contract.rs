//! What the agent expects of a plugin beyond the types. It drops or refuses what does not hold; here the test fails.

use std::collections::BTreeMap;

use super::observed::{Observed, key};
use super::scripted::Touched;
use crate::bindings::gauged::plugin::metrics::{Metric, Module};
use crate::component::covers;
use crate::descriptor::NAME_BYTES;
use crate::{About, Capability, Kind, Need, Value};

// What one result may have unless the operator raises it: see `limits` in the agent's configuration.
const MODULES: usize = 100;
const METRICS: usize = 10_000;
const LABELS: usize = 16;
const TEXT_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Contract {
    about: About,
    counters: BTreeMap<String, Value>,
}

impl Contract {
    pub(super) fn new(about: About) -> Self {
        assert!((1..=64).contains(&about.version.len()), "the version has to have 1 to 64 characters");
        assert!(!about.description.is_empty(), "the plugin has no description");
        Self { about, counters: BTreeMap::new() }
    }

    pub(super) fn forget_counters(&mut self) {
        self.counters.clear();
    }

    /// Checks what was returned, and turns it into what a test compares.
    pub(super) fn check(&mut self, modules: Vec<Module>) -> Observed {
        assert!(modules.len() <= MODULES, "{} modules are more than {MODULES}", modules.len());
        let metrics: usize = modules.iter().map(|module| module.metrics.len()).sum();
        assert!(metrics <= METRICS, "{metrics} metrics are more than {METRICS}");
        let mut observed = Observed::default();
        let mut counters = BTreeMap::new();
        for module in modules {
            for metric in module.metrics {
                let key = key(&module.name, &metric);
                self.check_metric(&module.name, &metric, &key);
                if self.kind(&module.name, &metric.name) == Some(Kind::Counter) {
                    self.check_counter(&key, &metric.value);
                    counters.insert(key.clone(), metric.value.clone());
                }
                let before = observed.0.insert(key.clone(), metric.value);
                assert!(before.is_none(), "{key} is there twice");
            }
        }
        self.counters = counters;
        observed
    }

    fn kind(&self, module: &str, name: &str) -> Option<Kind> {
        let described = self.about.metrics.iter().find(|metric| metric.module == module && metric.name == name);
        described.map(|metric| metric.kind)
    }

    fn check_metric(&self, module: &str, metric: &Metric, key: &str) {
        assert!(self.kind(module, &metric.name).is_some(), "{key} is not described: add it to ABOUT");
        assert!(metric.labels.len() <= LABELS, "{key} has more than {LABELS} labels");
        for (at, label) in metric.labels.iter().enumerate() {
            let name = &label.name;
            let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let begins_well = !name.starts_with("__") && !name.starts_with(|first: char| first.is_ascii_digit());
            let is_name = is_plain && begins_well && (1..=NAME_BYTES).contains(&name.len());
            assert!(is_name, "{key} has a label called {name:?}: write [A-Za-z_][A-Za-z0-9_]*");
            assert!(label.value.len() <= TEXT_BYTES, "{key} has a label of more than {TEXT_BYTES} bytes");
            let is_twice = metric.labels[..at].iter().any(|other| other.name == *name);
            assert!(!is_twice, "{key} has the label {name} twice");
        }
        match &metric.value {
            Value::Float(value) => assert!(value.is_finite(), "{key} is {value}; leave it out, or say what it is"),
            Value::Text(text) => assert!(text.len() <= TEXT_BYTES, "{key} has more than {TEXT_BYTES} bytes"),
            _ => {}
        }
    }

    fn check_counter(&self, key: &str, value: &Value) {
        let is_less = match (value, self.counters.get(key)) {
            (Value::Unsigned(value), Some(Value::Unsigned(before))) => value < before,
            (Value::Signed(value), Some(Value::Signed(before))) => value < before,
            (Value::Float(value), Some(Value::Float(before))) => value < before,
            (Value::Boolean(_) | Value::Text(_), _) => panic!("{key} is a counter and not a number: {value:?}"),
            (_, None) => false,
            (_, Some(before)) => panic!("{key} was {before:?} and is {value:?}: keep to one type"),
        };
        let before = self.counters.get(key);
        assert!(!is_less, "{key} is a counter and falls from {before:?} to {value:?}; see Running::restarted");
    }
}

/// Everything that no plugin may touch unless it is granted has to be among the needs.
pub(super) fn check_touched(needs: &[Need], touched: &[Touched]) {
    for Touched { capability, is_list } in touched {
        let is_told = needs
            .iter()
            .any(|need| covers(&need.capability, capability) || (*is_list && may_list(&need.capability, capability)));
        assert!(
            may_be_open(capability) || is_told,
            "the plugin touches what is not among its needs: {}",
            capability.grant()
        );
    }
}

/// Whether something may be open to all plugins. Which of the kernel's files are, and which paths are mounts, is the
/// agent's business; those of single processes are not, except what the first one tells of the host.
fn may_be_open(capability: &Capability) -> bool {
    match capability {
        Capability::Read(path) => {
            let process = path.strip_prefix("/proc/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
            let is_of_process = process != "1" && process.starts_with(|first: char| first.is_ascii_digit());
            (path.starts_with("/proc/") && !is_of_process) || path.starts_with("/sys/")
        }
        Capability::Usage(_) => true,
        Capability::Connect(_) | Capability::Fetch(_) => false,
    }
}

/// Whether who may read the one may list the other: a directory in which names are left open.
fn may_list(granted: &Capability, directory: &Capability) -> bool {
    let (Capability::Read(pattern), Capability::Read(directory)) = (granted, directory) else { return false };
    let depth = directory.trim_end_matches('/').matches('/').count() + 1;
    let mut segments = pattern.split('/');
    let parent: Vec<&str> = segments.by_ref().take(depth).collect();
    let parent = Capability::Read(parent.join("/"));
    let is_open = segments.next().is_some_and(|next| next.contains('*'));
    is_open && covers(&parent, &Capability::Read(directory.trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::bindings::gauged::plugin::metrics::Label;

    crate::metrics! {
        module "m";
        /// Goes up and down.
        LEVEL: gauge "level" in "1";
        /// Grows.
        GROWTH: counter "growth_total" in "1";
    }

    fn metric(name: &str, labels: &[(&str, &str)], value: Value) -> Metric {
        let labels = labels.iter().map(|&(name, value)| Label { name: name.to_owned(), value: value.to_owned() });
        Metric { name: name.to_owned(), labels: labels.collect(), value }
    }

    /// What is said against the last of these samples.
    fn objection(samples: impl IntoIterator<Item = Vec<Metric>>) -> String {
        let mut contract = Contract::new(About { version: "1", description: "Tests.", metrics: METRICS });
        let mut samples = samples.into_iter().peekable();
        while let Some(metrics) = samples.next() {
            let modules = vec![Module { name: "m".to_owned(), metrics }];
            let checked = catch_unwind(AssertUnwindSafe(|| contract.check(modules)));
            match (checked, samples.peek()) {
                (Ok(_), Some(_)) => {}
                (Ok(_), None) => return "none".to_owned(),
                (Err(panic), _) => return *panic.downcast::<String>().expect("a text"),
            }
        }
        unreachable!("there is a sample")
    }

    #[test]
    fn what_keeps_to_the_contract_passes() {
        let sample = |level: f64, growth: u64| {
            vec![
                metric("level", &[("a", "x")], Value::Float(level)),
                metric("level", &[("a", "y")], Value::Float(-level)),
                metric("growth_total", &[], Value::Unsigned(growth)),
            ]
        };
        assert_eq!(objection([sample(2.0, 7), sample(1.0, 7), sample(1.0, 8)]), "none");
        assert_eq!(METRICS, [LEVEL, GROWTH]);
    }

    #[test]
    fn what_breaks_the_contract_is_told() {
        let level = |labels: &[(&str, &str)], value| vec![metric("level", labels, value)];
        let long = "x".repeat(4097);
        let many: Vec<(String, String)> = (0..17).map(|at| (format!("l{at}"), String::new())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
        let numbered = |at: usize| metric("level", &[("a", &at.to_string())], Value::Boolean(true));
        for (metrics, expected) in [
            (vec![metric("other", &[], Value::Unsigned(1))], "m.other is not described: add it to ABOUT"),
            (level(&[], Value::Float(f64::NAN)), "m.level is NaN; leave it out, or say what it is"),
            (level(&[("2nd", "x")], Value::Unsigned(1)), "has a label called \"2nd\": write [A-Za-z_][A-Za-z0-9_]*"),
            (level(&[("__a", "x")], Value::Unsigned(1)), "has a label called \"__a\""),
            (level(&[("a b", "x")], Value::Unsigned(1)), "has a label called \"a b\""),
            (level(&[("a", "x"), ("a", "y")], Value::Unsigned(1)), "has the label a twice"),
            (level(&[("a", &long)], Value::Unsigned(1)), "has a label of more than 4096 bytes"),
            (level(&[], Value::Text(long.clone())), "m.level has more than 4096 bytes"),
            (level(&many, Value::Unsigned(1)), "has more than 16 labels"),
            (vec![numbered(1), numbered(1)], "m.level{a=\"1\"} is there twice"),
            ((0..10_001).map(numbered).collect(), "10001 metrics are more than 10000"),
            (vec![metric("growth_total", &[], Value::Boolean(true))], "is a counter and not a number"),
        ] {
            let objection = objection([metrics]);
            assert!(objection.contains(expected), "{objection}: {expected}");
        }
    }

    #[test]
    fn a_counter_does_not_fall() {
        let growth = |value| vec![metric("growth_total", &[], value)];
        let fallen = objection([growth(Value::Unsigned(2)), growth(Value::Unsigned(1))]);
        assert!(fallen.contains("m.growth_total is a counter and falls from"), "{fallen}");
        let changed = objection([growth(Value::Unsigned(2)), growth(Value::Float(3.0))]);
        assert!(changed.contains("keep to one type"), "{changed}");
        assert_eq!(objection([growth(Value::Unsigned(2)), Vec::new(), growth(Value::Unsigned(1))]), "none");
    }

    #[test]
    fn what_is_touched_is_told_beforehand() {
        let needs = [Need::read("/proc/*/stat", "count"), Need::fetch("http://a:80", "ask")];
        let is_told = |capability: Capability, is_list| {
            let touched = [Touched { capability, is_list }];
            catch_unwind(|| check_touched(&needs, &touched)).is_ok()
        };
        let read = |path: &str| Capability::Read(path.to_owned());
        assert!(is_told(read("/proc/stat"), false));
        assert!(is_told(read("/proc/1/net/dev"), false));
        assert!(is_told(read("/sys/class/net"), true));
        assert!(is_told(read("/proc/7/stat"), false));
        assert!(is_told(read("/proc"), true));
        assert!(!is_told(read("/proc"), false));
        assert!(!is_told(read("/proc/7/status"), false));
        assert!(!is_told(read("/proc/7"), true));
        assert!(!is_told(read("/var/log"), true));
        assert!(is_told(Capability::Usage("/".to_owned()), false));
        assert!(is_told(Capability::Fetch("http://a:80".to_owned()), false));
        assert!(!is_told(Capability::Fetch("http://b:80".to_owned()), false));
        assert!(!is_told(Capability::Connect("a:80".to_owned()), false));
    }
}
