//! The labels of a target, which each of its metrics gets beside its own.

use std::borrow::Cow;

use gauged_plugin::exposition::Label;

/// The beginning of the name that a metric's own label gets where an added one has its name.
const EXPORTED: &str = "exported_";

/// The labels of a target.
#[derive(Debug, Default)]
pub(crate) struct AddedLabels {
    labels: Vec<(String, String)>,
    /// Whether a metric's own label wins.
    honors_own: bool,
}

impl AddedLabels {
    /// These labels without the empty ones.
    pub(crate) fn new(labels: Vec<(String, String)>, honors_own: bool) -> Self {
        Self { labels: labels.into_iter().filter(|(_, value)| !value.is_empty()).collect(), honors_own }
    }

    /// The labels of a metric, followed by those of the target. None if both have the same name.
    pub(crate) fn append<'a>(&'a self, own: &'a [Label<'_>]) -> Option<impl Iterator<Item = (&'a str, &'a str)>> {
        let added = self.labels.iter().map(|(name, value)| (&**name, &**value));
        let is_apart = !own.iter().any(|label| self.has(label.name));
        is_apart.then(|| own.iter().map(|label| (label.name, &*label.value)).chain(added))
    }

    /// The labels of a metric with those of the target, also if both have the same name.
    pub(crate) fn merge<'a>(&'a self, own: &'a [Label<'_>], merged: &mut Vec<(Cow<'a, str>, &'a str)>) {
        merged.clear();
        merged.extend(own.iter().map(|label| (Cow::Borrowed(label.name), &*label.value)));
        let is_own = |name: &str| own.iter().any(|label| label.name == name);
        let added = self.labels.iter().filter(|(name, _)| !(self.honors_own && is_own(name)));
        merged.extend(added.map(|(name, value)| (Cow::Borrowed(&**name), &**value)));
        if self.honors_own || !own.iter().any(|label| self.has(label.name)) {
            return;
        }
        // The shortest name first, as Prometheus does: the others begin with it.
        let mut renamed: Vec<usize> = (0..own.len()).filter(|&at| self.has(own[at].name)).collect();
        renamed.sort_by_key(|&at| own[at].name.len());
        for at in renamed {
            let mut name = [EXPORTED, own[at].name].concat();
            while merged.iter().any(|(taken, _)| *taken == name) {
                name.insert_str(0, EXPORTED);
            }
            merged[at].0 = Cow::Owned(name);
        }
    }

    fn has(&self, name: &str) -> bool {
        self.labels.iter().any(|(added, _)| added == name)
    }
}
