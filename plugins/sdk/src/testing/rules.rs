//! The SDK rules: the agent's expectations of a plugin beyond the WIT's types. The agent drops or rejects a violation;
//! here it fails the test.

use std::collections::BTreeMap;

use super::default_grants::{capability_of_first_process, is_granted, may_list};
use super::sample_map::{SampleMap, key};
use super::scripted_host::Access;
use crate::bindings::gauged::plugin::metrics::{Metric, Module};
use crate::component::covers;
use crate::descriptor::MAX_NAME_BYTES;
use crate::{About, Kind, Need, Value};

// The agent's default limits of one result; see `limits` in its configuration.
const MODULES: usize = 100;
const METRICS: usize = 10_000;
const LABELS: usize = 16;
const TEXT_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Rules {
    about: About,
    counters: BTreeMap<String, Value>,
}

impl Rules {
    pub(super) fn new(about: About) -> Self {
        assert!((1..=64).contains(&about.version.len()), "the version must have 1 to 64 characters");
        assert!(!about.description.is_empty(), "the plugin has no description");
        Self { about, counters: BTreeMap::new() }
    }

    pub(super) fn reset_counters(&mut self) {
        self.counters.clear();
    }

    /// Checks a result and converts it for comparison.
    pub(super) fn check(&mut self, modules: Vec<Module>) -> SampleMap {
        assert!(modules.len() <= MODULES, "{} modules are more than {MODULES}", modules.len());
        let metrics: usize = modules.iter().map(|module| module.metrics.len()).sum();
        assert!(metrics <= METRICS, "{metrics} metrics are more than {METRICS}");
        let mut sample = SampleMap::default();
        let mut counters = BTreeMap::new();
        for module in modules {
            for metric in module.metrics {
                let key = key(&module.name, &metric);
                self.check_metric(&module.name, &metric, &key);
                if self.kind(&module.name, &metric.name) == Some(Kind::Counter) {
                    self.check_counter(&key, &metric.value);
                    counters.insert(key.clone(), metric.value.clone());
                }
                let before = sample.0.insert(key.clone(), metric.value);
                assert!(before.is_none(), "{key} is returned twice");
            }
        }
        self.counters = counters;
        sample
    }

    fn kind(&self, module: &str, name: &str) -> Option<Kind> {
        let described = self.about.metrics.iter().find(|metric| metric.module == module && metric.name == name);
        described.map(|metric| metric.kind)
    }

    fn check_metric(&self, module: &str, metric: &Metric, key: &str) {
        assert!(self.kind(module, &metric.name).is_some(), "{key} is not declared: add it to ABOUT");
        assert!(metric.labels.len() <= LABELS, "{key} has more than {LABELS} labels");
        for (at, label) in metric.labels.iter().enumerate() {
            let name = &label.name;
            let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let begins_well = !name.starts_with("__") && !name.starts_with(|first: char| first.is_ascii_digit());
            let is_name = is_plain && begins_well && (1..=MAX_NAME_BYTES).contains(&name.len());
            assert!(is_name, "{key} has a label named {name:?}: write [A-Za-z_][A-Za-z0-9_]*");
            assert!(label.value.len() <= TEXT_BYTES, "{key} has a label of more than {TEXT_BYTES} bytes");
            let is_twice = metric.labels[..at].iter().any(|other| other.name == *name);
            assert!(!is_twice, "{key} has the label {name} twice");
        }
        match &metric.value {
            Value::Float(value) => assert!(value.is_finite(), "{key} is {value}: leave it out"),
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
        assert!(
            !is_less,
            "{key} is a counter and falls from {before:?} to {value:?}; see Harness::allow_counter_reset"
        );
    }
}

/// Checks that every access that needs a grant is among the needs. The agent decides about mounts, and about files that not every
/// user may read.
pub(super) fn check_needs(needs: &[Need], accesses: &[Access]) {
    let needs: Vec<_> = needs.iter().map(|need| capability_of_first_process(&need.capability)).collect();
    for Access { capability, is_list } in accesses {
        let is_needed = needs.iter().any(|need| covers(need, capability) || (*is_list && may_list(need, capability)));
        assert!(
            is_granted(capability, *is_list) || is_needed,
            "the plugin uses a capability that is not among its needs: {}",
            capability.grant_line()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::Capability;
    use crate::bindings::gauged::plugin::metrics::Label;

    crate::metrics! {
        module "m";
        /// A level.
        LEVEL: gauge "level" in "1";
        /// A growth.
        GROWTH: counter "growth_total" in "1";
    }

    fn metric(name: &str, labels: &[(&str, &str)], value: Value) -> Metric {
        let labels = labels.iter().map(|&(name, value)| Label { name: name.to_owned(), value: value.to_owned() });
        Metric { name: name.to_owned(), labels: labels.collect(), value }
    }

    /// The violation reported for the last of these samples.
    fn violation(samples: impl IntoIterator<Item = Vec<Metric>>) -> String {
        let mut rules = Rules::new(About { version: "1", description: "Tests.", metrics: METRICS });
        let mut samples = samples.into_iter().peekable();
        while let Some(metrics) = samples.next() {
            let modules = vec![Module { name: "m".to_owned(), metrics }];
            let checked = catch_unwind(AssertUnwindSafe(|| rules.check(modules)));
            match (checked, samples.peek()) {
                (Ok(_), Some(_)) => {}
                (Ok(_), None) => return "none".to_owned(),
                (Err(panic), _) => return *panic.downcast::<String>().expect("a text"),
            }
        }
        unreachable!("the last sample returns")
    }

    #[test]
    fn sample_within_the_sdk_rules_passes() {
        let sample = |level: f64, growth: u64| {
            vec![
                metric("level", &[("a", "x")], Value::Float(level)),
                metric("level", &[("a", "y")], Value::Float(-level)),
                metric("growth_total", &[], Value::Unsigned(growth)),
            ]
        };
        assert_eq!(violation([sample(2.0, 7), sample(1.0, 7), sample(1.0, 8)]), "none");
        assert_eq!(METRICS, [LEVEL, GROWTH]);
    }

    #[test]
    fn broken_sdk_rules_are_reported() {
        let level = |labels: &[(&str, &str)], value| vec![metric("level", labels, value)];
        let long = "x".repeat(4097);
        let many: Vec<(String, String)> = (0..17).map(|at| (format!("l{at}"), String::new())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
        let numbered = |at: usize| metric("level", &[("a", &at.to_string())], Value::Boolean(true));
        for (metrics, expected) in [
            (vec![metric("other", &[], Value::Unsigned(1))], "m.other is not declared: add it to ABOUT"),
            (level(&[], Value::Float(f64::NAN)), "m.level is NaN: leave it out"),
            (level(&[("2nd", "x")], Value::Unsigned(1)), "has a label named \"2nd\": write [A-Za-z_][A-Za-z0-9_]*"),
            (level(&[("__a", "x")], Value::Unsigned(1)), "has a label named \"__a\""),
            (level(&[("a b", "x")], Value::Unsigned(1)), "has a label named \"a b\""),
            (level(&[("a", "x"), ("a", "y")], Value::Unsigned(1)), "has the label a twice"),
            (level(&[("a", &long)], Value::Unsigned(1)), "has a label of more than 4096 bytes"),
            (level(&[], Value::Text(long.clone())), "m.level has more than 4096 bytes"),
            (level(&many, Value::Unsigned(1)), "has more than 16 labels"),
            (vec![numbered(1), numbered(1)], "m.level{a=\"1\"} is returned twice"),
            ((0..10_001).map(numbered).collect(), "10001 metrics are more than 10000"),
            (vec![metric("growth_total", &[], Value::Boolean(true))], "is a counter and not a number"),
        ] {
            let violation = violation([metrics]);
            assert!(violation.contains(expected), "{violation}: {expected}");
        }
    }

    #[test]
    fn falling_counter_breaks_an_sdk_rule() {
        let growth = |value| vec![metric("growth_total", &[], value)];
        let fallen = violation([growth(Value::Unsigned(2)), growth(Value::Unsigned(1))]);
        assert!(fallen.contains("m.growth_total is a counter and falls from"), "{fallen}");
        let changed = violation([growth(Value::Unsigned(2)), growth(Value::Float(3.0))]);
        assert!(changed.contains("keep to one type"), "{changed}");
        assert_eq!(violation([growth(Value::Unsigned(2)), Vec::new(), growth(Value::Unsigned(1))]), "none");
    }

    #[test]
    fn access_outside_the_needs_is_reported() {
        let needs = [Need::read("/proc/*/stat", "count"), Need::fetch("http://a:80", "poll")];
        let is_accepted = |capability: Capability, is_list| {
            let accesses = [Access { capability, is_list }];
            catch_unwind(|| check_needs(&needs, &accesses)).is_ok()
        };
        let read = |path: &str| Capability::Read(path.to_owned());
        assert!(is_accepted(read("/proc/stat"), false));
        assert!(is_accepted(read("/proc/1/net/dev"), false));
        assert!(is_accepted(read("/sys/class/net"), true));
        assert!(is_accepted(read("/proc/7/stat"), false));
        assert!(is_accepted(read("/proc"), true));
        assert!(!is_accepted(read("/proc"), false));
        assert!(!is_accepted(read("/proc/7/status"), false));
        assert!(!is_accepted(read("/sys/class/dmi/id/board_serial"), false), "in /sys, and not granted");
        assert!(!is_accepted(read("/proc/cmdline"), false));
        assert!(!is_accepted(read("/proc/7"), true));
        assert!(!is_accepted(read("/var/log"), true));
        assert!(is_accepted(Capability::Usage("/".to_owned()), false));
        assert!(is_accepted(Capability::Fetch("http://a:80".to_owned()), false));
        assert!(!is_accepted(Capability::Fetch("http://b:80".to_owned()), false));
        assert!(!is_accepted(Capability::Connect("a:80".to_owned()), false));
    }
}
