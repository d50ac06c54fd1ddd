//! The data model. A sample is the result of one tick, a map of maps: module → metric → value. Inside it has what any sink
//! needs: when each module was measured, and what each series is. Collectors fill modules, sinks write samples.
//!
//! A module is immutable and shared: by the sample of its tick, by later samples as the latest result of its collector, and by
//! every sink that has not finished with one of them.

mod labels;
mod descriptor;
mod series;
mod schema;
mod histogram;
mod recycler;
mod decisions;
mod naming_only;
mod value;
mod module;
mod builder;
mod writer;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::builder::{ModuleBuilder, NotPushed};
pub(crate) use self::decisions::{Absence, SeriesDecisions};
pub(crate) use self::descriptor::AGENT;
pub use self::descriptor::{CounterOrigin, Descriptor, MetricKind, NativeMetric};
pub use self::histogram::{BucketBounds, Quantiles};
pub(crate) use self::labels::LabelSet;
pub use self::labels::{Label, Labels, Text};
pub use self::module::{Metric, Module};
pub use self::naming_only::is_for_naming_only;
pub(crate) use self::recycler::Recycler;
pub(crate) use self::schema::SeriesError;
pub use self::schema::{CollectorVersion, ModuleSource, Schema};
pub use self::series::{Column, Key, Series, SeriesAccount, SeriesTable};
pub use self::value::Value;
#[cfg(any(test, fuzzing))]
pub(crate) use self::writer::test_module;
pub(crate) use self::writer::{ModulePart, SeriesRow};
pub use self::writer::{ModuleWriter, Values};

/// The longest module, metric or label name, in bytes. Three of them fit into the 510 bytes that Open-Falcon allows for a
/// metric and its tags.
pub(crate) const NAME_BYTES: usize = 128;

/// The result of one tick.
#[derive(Debug, Default, Clone)]
pub struct Sample {
    /// The scheduled moment, since the Unix epoch.
    pub tick: Duration,
    /// The agent's interval.
    pub interval: Duration,
    /// The modules in output order; no name occurs twice. One that arrived late is of an earlier tick.
    pub modules: Vec<Arc<Module>>,
    /// Late results whose collector has a newer one in this sample, oldest first. Sinks that send a time with each value send
    /// them; the JSON line, which has one time, does not have them.
    pub superseded: Vec<Arc<Module>>,
    /// The latest results of collectors that have none in this sample, and of pushed points where this sample does not have all.
    pub retained: Vec<Arc<Module>>,
    /// The modules of this sample that are not the latest results: a failure came after them, or they are retained with more points.
    pub stale: Vec<Text>,
}

impl Sample {
    /// The memory of its values, in bytes; texts and series are shared with other samples.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let values: usize = self.modules.iter().chain(&self.superseded).map(|module| module.len()).sum();
        (values * size_of::<Value>()) as u64
    }

    /// Releases all modules.
    pub(crate) fn clear(&mut self) {
        self.modules.clear();
        self.superseded.clear();
        self.retained.clear();
        self.stale.clear();
    }

    /// The latest result of each collector, unless its last call failed, or there was none for two of its steps. A scrape is
    /// served from this, so that collectors with a longer interval are in each.
    pub fn latest(&self) -> impl Iterator<Item = &Arc<Module>> {
        self.modules.iter().filter(|module| !self.stale.contains(module.name())).chain(&self.retained)
    }

    /// All results, each with its own time, for sinks that send one with each value.
    pub fn results(&self) -> impl Iterator<Item = &Arc<Module>> {
        self.superseded.iter().chain(&self.modules)
    }
}

/// Whether a text is a valid name of a module or metric: ASCII letters, digits and underscores, at most [`NAME_BYTES`]. It
/// may begin with a digit (`1min` in `load`), since flat formats put the module's name before it.
///
/// The metrics `c` of `module_a_b` and `b_c` of `module_a` are different, and equal once the names are joined. Whether that
/// happens depends on how a format rewrites names: each checks it after its own rewriting.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The beginning of the names of modules with pushed points, which their step in seconds ends.
pub(crate) const PUSH_PREFIX: &str = "push_";

/// Whether a module's name is kept for pushed points.
pub(crate) fn is_pushed_name(name: &str) -> bool {
    name.strip_prefix(PUSH_PREFIX)
        .is_some_and(|step| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a text is a valid name of a label: as [`is_name`], without a digit at its start, nor the two underscores that
/// Prometheus reserves.
pub(crate) fn is_label_name(text: &str) -> bool {
    is_name(text) && !text.as_bytes()[0].is_ascii_digit() && !text.starts_with("__")
}

/// Whether a text is a valid metric name in a verbatim module that was scraped: what Prometheus allows.
#[must_use]
pub fn is_scraped_name(text: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    text.bytes().all(is_valid) && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_label_names_are_validated() {
        for good in ["cpu", "1min", "a_b_9", &"x".repeat(NAME_BYTES)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a-b", "a.b", "a b", "ü", "a\n", &"x".repeat(NAME_BYTES + 1)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_label_name("mode") && is_label_name("_x"));
        assert!(!is_label_name("1x") && !is_label_name("__name") && !is_label_name(""));
    }

    proptest! {
        #[test]
        fn label_names_are_names(text in any::<String>()) {
            prop_assert!(!is_label_name(&text) || is_name(&text));
        }
    }
}
