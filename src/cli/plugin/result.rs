//! The result of a run as text: as the agent writes it, and one metric a line.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::plugin::harness::Collected;
use crate::sample::Sample;
use crate::sink::{Style, encode};

/// The result, as the agent writes it.
pub(super) fn encoded(collected: &Collected, style: Style) -> String {
    let sample = Sample { modules: collected.modules.clone(), ..Sample::default() };
    let mut bytes = Vec::new();
    encode(&sample, style, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The metrics of a result, each by its name with module and labels.
pub(super) fn metrics(collected: &Collected) -> BTreeMap<String, Value> {
    let modules: Value = serde_json::from_str(&encoded(collected, Style::Line)).unwrap_or_default();
    let mut all = BTreeMap::new();
    for (module, metrics) in modules.as_object().into_iter().flatten() {
        let named = metrics.as_object().into_iter().flatten();
        all.extend(named.map(|(metric, value)| (format!("{module}.{metric}"), value.clone())));
    }
    all
}

/// The metrics of a result, each on a line of its own, sorted.
pub(super) fn lines(collected: &Collected) -> Vec<String> {
    let mut lines: Vec<String> =
        metrics(collected).into_iter().map(|(metric, value)| format!("{metric} {value}")).collect();
    lines.sort_unstable();
    lines
}
