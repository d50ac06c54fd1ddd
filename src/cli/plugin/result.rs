//! The result of a run as text: as the agent writes it, and one metric a line.

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

/// The metrics of a result, each with its module on a line of its own, sorted.
pub(super) fn lines(collected: &Collected) -> Vec<String> {
    let modules: Value = serde_json::from_str(&encoded(collected, Style::Line)).unwrap_or_default();
    let mut lines = Vec::new();
    for (module, metrics) in modules.as_object().into_iter().flatten() {
        for (metric, value) in metrics.as_object().into_iter().flatten() {
            lines.push(format!("{module}.{metric} {value}"));
        }
    }
    lines.sort_unstable();
    lines
}
