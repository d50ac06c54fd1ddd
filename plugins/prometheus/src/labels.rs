//! The labels of a target, which each of its metrics gets beside its own.

use gauged_plugin::exposition::Label;

/// The beginning of a label's name that an added label has.
const EXPORTED: &str = "exported_";

/// The labels of a target.
#[derive(Debug, Default)]
pub(crate) struct AddedLabels {
    labels: Vec<Added>,
    /// Whether a metric's own label wins.
    honors_own: bool,
}

#[derive(Debug)]
struct Added {
    name: String,
    value: String,
    /// The names that a metric's own label of this name can have: the second one where it has the first as well.
    exported: [String; 2],
}

impl AddedLabels {
    /// These labels without the empty ones.
    pub(crate) fn new(labels: Vec<(String, String)>, honors_own: bool) -> Self {
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| {
            let exported = [EXPORTED.to_owned() + &name, EXPORTED.repeat(2) + &name];
            Added { name, value, exported }
        });
        Self { labels: labels.collect(), honors_own }
    }

    /// The labels of a metric with those of the target.
    pub(crate) fn merge<'a>(&'a self, own: &'a [Label<'_>], merged: &mut Vec<(&'a str, &'a str)>) {
        merged.clear();
        merged.extend(own.iter().map(|label| (label.name, &*label.value)));
        for Added { name, value, exported } in &self.labels {
            let Some(at) = own.iter().position(|label| label.name == name) else {
                merged.push((name, value));
                continue;
            };
            if self.honors_own {
                continue;
            }
            let is_taken = own.iter().any(|label| label.name == exported[0]);
            if let Some(label) = merged.get_mut(at) {
                label.0 = if is_taken { &exported[1] } else { &exported[0] };
            }
            merged.push((name, value));
        }
    }
}
