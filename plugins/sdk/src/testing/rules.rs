//! The SDK rules: the agent's expectations of a plugin beyond the WIT's types. The agent drops or rejects a violation;
//! here it fails the test.

use std::collections::BTreeMap;

use super::default_grants::{capability_of_first_process, is_granted, may_list};
use super::sample_map::{SampleMap, key};
use super::scripted_host::Access;
use crate::bindings::gauged::plugin::metrics::{self as wire, Metric, Module};
use crate::component::covers;
use crate::descriptor::{FoundMetric, MAX_NAME_BYTES};
use crate::{About, Histogram, Kind, Need, Summary, Value};

// The agent's default limits of one result; see `limits` in its configuration.
const MODULES: usize = 100;
const METRICS: usize = 20_000;
const LABELS: usize = 16;
const TEXT_BYTES: usize = 4096;

/// The descriptors by module and name.
type Described = BTreeMap<(String, String), wire::Descriptor>;

#[derive(Debug)]
pub(super) struct Rules {
    described: Described,
    /// Those that came with samples.
    found: Vec<(String, String)>,
    counters: BTreeMap<String, Value>,
}

impl Rules {
    /// The rules of a plugin that is configured, with the metrics that depend on that.
    pub(super) fn new(about: About, configured: Vec<FoundMetric>) -> Self {
        assert!((1..=64).contains(&about.version.len()), "the version must have 1 to 64 characters");
        assert!(!about.description.is_empty(), "the plugin has no description");
        let mut rules = Self { described: Described::new(), found: Vec::new(), counters: BTreeMap::new() };
        rules.describe(about.metrics.iter().map(|metric| metric.to_wire()));
        rules.describe(configured.into_iter().map(|metric| metric.0));
        rules
    }

    fn describe(&mut self, metrics: impl IntoIterator<Item = wire::Descriptor>) {
        for metric in metrics {
            self.described.insert((metric.module.clone(), metric.name.clone()), metric);
        }
    }

    /// Forgets the descriptors that came with samples.
    pub(super) fn forget_found(&mut self) {
        for key in self.found.drain(..) {
            self.described.remove(&key);
        }
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
        for Module { name, verbatim, metrics, descriptors, .. } in modules {
            let mut names = BTreeMap::new();
            for found in &descriptors {
                assert!(found.module == name, "{}.{} is described in the module {name}", found.module, found.name);
                let is_same = names.insert(&found.name, found).is_none_or(|before| before == found);
                assert!(is_same, "{name}.{} is described in two ways: the first holds", found.name);
            }
            self.found.extend(descriptors.iter().map(|found| (found.module.clone(), found.name.clone())));
            self.describe(descriptors);
            for metric in metrics {
                let key = key(&name, &metric);
                self.check_metric(&name, verbatim, &metric, &key);
                if self.described(&name, &metric.name).is_some_and(|known| known.kind == Kind::Counter) {
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

    fn described(&self, module: &str, name: &str) -> Option<&wire::Descriptor> {
        self.described.get(&(module.to_owned(), name.to_owned()))
    }

    fn check_metric(&self, module: &str, is_verbatim: bool, metric: &Metric, key: &str) {
        let described = self.described(module, &metric.name);
        assert!(is_verbatim || described.is_some(), "{key} is not declared: add it to ABOUT");
        // The labels of a verbatim module are somebody else's, too.
        if let Some(described) = described.filter(|_| !is_verbatim) {
            for label in &metric.labels {
                let is_declared = described.labels.iter().any(|known| known.name == label.name);
                assert!(is_declared, "{key} has the label {}, which is not declared", label.name);
            }
        }
        check_kind(described.map_or(Kind::Gauge, |described| described.kind), &metric.value, key);
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
            Value::Number(value) => assert!(value.is_finite(), "{key} is {value}: leave it out"),
            Value::Histogram(histogram) => check_histogram(histogram, key),
            Value::Summary(summary) => check_summary(summary, key),
            Value::Text(text) => assert!(text.len() <= TEXT_BYTES, "{key} has more than {TEXT_BYTES} bytes"),
            _ => {}
        }
    }

    fn check_counter(&self, key: &str, value: &Value) {
        let is_less = match (value, self.counters.get(key)) {
            (Value::Natural(value), Some(Value::Natural(before))) => value < before,
            (Value::Integer(value), Some(Value::Integer(before))) => value < before,
            (Value::Number(value), Some(Value::Number(before))) => value < before,
            (Value::Boolean(_) | Value::Text(_) | Value::Histogram(_) | Value::Summary(_), _) => {
                panic!("{key} is a counter and not a number: {value:?}")
            }
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

/// Checks that histograms and summaries, and only those, are described as such.
fn check_kind(kind: Kind, value: &Value, key: &str) {
    let has_its_kind = match value {
        Value::Histogram(_) => kind == Kind::Histogram,
        Value::Summary(_) => kind == Kind::Summary,
        _ => matches!(kind, Kind::Gauge | Kind::Counter),
    };
    assert!(has_its_kind, "{key} is declared as {kind:?} and is {value:?}");
}

fn rise(numbers: impl Iterator<Item = f64> + Clone) -> bool {
    numbers.clone().zip(numbers.skip(1)).all(|(low, high)| low < high)
}

fn check_histogram(Histogram { bounds, counts, sum }: &Histogram, key: &str) {
    assert!(counts.len() == bounds.len() + 1, "{key} has {} bounds and not one count more", bounds.len());
    let is_finite = bounds.iter().chain(sum).all(|number| number.is_finite());
    assert!(is_finite && rise(bounds.iter().copied()), "{key} has bounds that do not rise, or are not finite");
}

fn check_summary(Summary { quantiles, sum, .. }: &Summary, key: &str) {
    let shares = quantiles.iter().map(|quantile| quantile.share);
    let are_shares = shares.clone().all(|share| (0.0..=1.0).contains(&share));
    assert!(are_shares && rise(shares), "{key} has quantiles that do not rise from 0 to 1");
    let values = quantiles.iter().filter_map(|quantile| quantile.value).chain(*sum);
    assert!(values.into_iter().all(f64::is_finite), "{key} has values that are not finite: leave them out");
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
    use crate::Quantile;
    use crate::bindings::gauged::plugin::metrics::Label;

    crate::metrics! {
        module "m" by {"a": "A"};
        /// A level.
        LEVEL: gauge "level" in "1";
        /// A growth.
        GROWTH: counter "growth_total" in "1";
        /// Waits.
        WAIT: histogram "wait_seconds" in "s";
        /// Sizes.
        SIZE: summary "size_bytes" in "By";
    }

    fn metric(name: &str, labels: &[(&str, &str)], value: Value) -> Metric {
        let labels = labels.iter().map(|&(name, value)| Label { name: name.to_owned(), value: value.to_owned() });
        Metric { name: name.to_owned(), labels: labels.collect(), value }
    }

    /// The violation reported for the last of these samples.
    fn violation(samples: impl IntoIterator<Item = Vec<Metric>>) -> String {
        let mut rules =
            Rules::new(About { version: "1", description: "Tests.", settings: &[], metrics: METRICS }, Vec::new());
        let mut samples = samples.into_iter().peekable();
        while let Some(metrics) = samples.next() {
            let modules =
                vec![Module { name: "m".to_owned(), unix_ms: None, verbatim: false, metrics, descriptors: Vec::new() }];
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
                metric("level", &[("a", "x")], Value::Number(level)),
                metric("level", &[("a", "y")], Value::Number(-level)),
                metric("growth_total", &[], Value::Natural(growth)),
            ]
        };
        assert_eq!(violation([sample(2.0, 7), sample(1.0, 7), sample(1.0, 8)]), "none");
        assert_eq!(METRICS, [LEVEL, GROWTH, WAIT, SIZE]);
    }

    #[test]
    fn broken_sdk_rules_are_reported() {
        let level = |labels: &[(&str, &str)], value| vec![metric("level", labels, value)];
        let histogram = |bounds: &[f64], counts: &[u64]| {
            Value::Histogram(Histogram { bounds: bounds.to_vec(), counts: counts.to_vec(), sum: None })
        };
        let wait = |value| vec![metric("wait_seconds", &[], value)];
        let size = |share, value| {
            let quantiles = vec![Quantile { share, value: Some(value) }];
            vec![metric("size_bytes", &[], Value::Summary(Summary { quantiles, sum: None, count: None }))]
        };
        let long = "x".repeat(4097);
        let numbered = |at: usize| metric("level", &[("a", &at.to_string())], Value::Boolean(true));
        for (metrics, expected) in [
            (vec![metric("other", &[], Value::Natural(1))], "m.other is not declared: add it to ABOUT"),
            (level(&[], Value::Number(f64::NAN)), "m.level is NaN: leave it out"),
            (level(&[("b", "x")], Value::Natural(1)), "has the label b, which is not declared"),
            (level(&[], histogram(&[1.0], &[1, 2])), "m.level is declared as Kind::Gauge and is Value::Histogram"),
            (wait(Value::Natural(1)), "m.wait_seconds is declared as Kind::Histogram and is Value::Natural(1)"),
            (wait(histogram(&[1.0], &[1])), "m.wait_seconds has 1 bounds and not one count more"),
            (wait(histogram(&[1.0, 1.0], &[1, 2, 3])), "m.wait_seconds has bounds that do not rise"),
            (size(1.5, 1.0), "m.size_bytes has quantiles that do not rise from 0 to 1"),
            (size(0.5, f64::NAN), "m.size_bytes has values that are not finite"),
            (level(&[("a", "x"), ("a", "y")], Value::Natural(1)), "has the label a twice"),
            (level(&[("a", &long)], Value::Natural(1)), "has a label of more than 4096 bytes"),
            (level(&[], Value::Text(long.clone())), "m.level has more than 4096 bytes"),
            (vec![numbered(1), numbered(1)], "m.level{a=\"1\"} is returned twice"),
            ((0..20_001).map(numbered).collect(), "20001 metrics are more than 20000"),
            (vec![metric("growth_total", &[], Value::Boolean(true))], "is a counter and not a number"),
        ] {
            let violation = violation([metrics]);
            assert!(violation.contains(expected), "{violation}: {expected}");
        }
    }

    #[test]
    fn falling_counter_breaks_an_sdk_rule() {
        let growth = |value| vec![metric("growth_total", &[], value)];
        let fallen = violation([growth(Value::Natural(2)), growth(Value::Natural(1))]);
        assert!(fallen.contains("m.growth_total is a counter and falls from"), "{fallen}");
        let changed = violation([growth(Value::Natural(2)), growth(Value::Number(3.0))]);
        assert!(changed.contains("keep to one type"), "{changed}");
        assert_eq!(violation([growth(Value::Natural(2)), Vec::new(), growth(Value::Natural(1))]), "none");
    }

    #[test]
    fn access_outside_the_needs_is_reported() {
        let needs = [Need::read("/proc/*/stat", "count"), Need::fetch("http://a:80", "poll")];
        let is_accepted = |capability: Capability, is_list| {
            let accesses = [Access { capability, is_list }];
            catch_unwind(|| check_needs(&needs, &accesses)).is_ok()
        };
        let read = |path: &str| Capability::read(path);
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
        assert!(is_accepted(Capability::usage("/"), false));
        assert!(is_accepted(Capability::fetch("http://a:80"), false));
        assert!(!is_accepted(Capability::fetch("http://b:80"), false));
        assert!(!is_accepted(Capability::connect("a:80"), false));
    }
}
