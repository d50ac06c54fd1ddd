//! Labels, and the texts that series are made of. The labels of a series are a set: `{a,b}` and `{b,a}` are one. They are
//! displayed in the order in which the collector has them.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A text that is cheap to clone.
#[derive(Debug, Clone)]
pub enum Text {
    /// A text in the program.
    Static(&'static str),
    /// Any other text.
    Shared(Arc<str>),
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        // Fast if they share memory, which is the usual case.
        std::ptr::eq(&raw const **self, &raw const **other) || **self == **other
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Static(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

/// The labels of a series; most have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(Option<Arc<LabelList>>);

#[derive(Debug, PartialEq, Eq)]
struct LabelList {
    labels: Box<[Label]>,
    /// The text of all labels, which the series that have them share.
    text: Box<str>,
}

/// A label: it distinguishes series with the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label {
    /// The label's name; see `is_label_name`.
    pub name: Text,
    /// The label's value: any text.
    pub value: Box<str>,
}

impl<const N: usize> From<[(&'static str, &str); N]> for Labels {
    fn from(labels: [(&'static str, &str); N]) -> Self {
        labels.into_iter().map(|(name, value)| Label { name: name.into(), value: value.into() }).collect()
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<T: IntoIterator<Item = Label>>(labels: T) -> Self {
        let labels: Box<[Label]> = labels.into_iter().collect();
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write_labels(&mut text, &labels);
        Self((!labels.is_empty()).then(|| Arc::new(LabelList { labels, text: text.into() })))
    }
}

impl Deref for Labels {
    type Target = [Label];

    fn deref(&self) -> &[Label] {
        self.0.as_ref().map_or(&[], |list| &list.labels)
    }
}

impl Labels {
    /// `{label="value",…}` with the values escaped as in the Prometheus text format; empty without labels.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.as_ref().map_or("", |list| &list.text)
    }
}

/// Labels in whatever form a collector has them, so that those of a known series are compared and not copied.
pub(crate) trait LabelSet {
    /// The names and values in display order.
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)>;

    /// Whether these are the same labels in the same display order.
    fn is_same(&self, labels: &Labels) -> bool {
        self.pairs().len() == labels.len() && self.pairs().eq(labels.pairs())
    }

    fn to_labels(&self) -> Labels;
}

impl LabelSet for Labels {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.iter().map(|Label { name, value }| (&**name, &**value))
    }

    /// Fast where they share memory, which is the usual case.
    fn is_same(&self, others: &Labels) -> bool {
        match (&self.0, &others.0) {
            (Some(labels), Some(others)) => Arc::ptr_eq(labels, others) || labels == others,
            (labels, others) => labels.is_none() && others.is_none(),
        }
    }

    fn to_labels(&self) -> Labels {
        self.clone()
    }
}

/// The labels of a histogram's bucket or a summary's quantile: those of the metric, and one more at the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExtendedLabels<'a, L>(pub(super) &'a L, pub(super) &'static str, pub(super) &'a str);

impl<L: LabelSet> LabelSet for ExtendedLabels<'_, L> {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let Self(labels, name, value) = *self;
        let mut own = labels.pairs();
        let count = own.len() + 1;
        (0..count).map(move |_| own.next().unwrap_or((name, value)))
    }

    fn to_labels(&self) -> Labels {
        let Self(labels, name, value) = *self;
        labels.to_labels().iter().cloned().chain([Label { name: name.into(), value: value.into() }]).collect()
    }
}

/// A hash of a name and a set of labels, whatever their order.
pub(super) fn identity(hashing: &impl BuildHasher, name: &str, labels: &impl LabelSet) -> u64 {
    // A sum does not depend on the order. Nobody who could choose labels with equal sums knows the keys of the hash.
    labels.pairs().map(|pair| hashing.hash_one(pair)).fold(hashing.hash_one(name), u64::wrapping_add)
}

fn write_labels(to: &mut String, labels: &[Label]) -> fmt::Result {
    if labels.is_empty() {
        return Ok(());
    }
    let mut separator = '{';
    for Label { name, value } in labels {
        write!(to, "{separator}{name}=\"")?;
        separator = ',';
        let mut rest = &**value;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            let (plain, special) = rest.split_at(at);
            to.write_str(plain)?;
            to.write_str(match special.as_bytes()[0] {
                b'\n' => "\\n",
                b'"' => "\\\"",
                _ => "\\\\",
            })?;
            rest = &special[1..];
        }
        to.write_str(rest)?;
        to.write_char('"')?;
    }
    to.write_char('}')
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Equal sets have one identity in any order, and different sets have different ones.
        #[test]
        fn identity_is_that_of_a_set(
            set in prop::collection::btree_map("[a-c]", "[xy]?", 0..4),
            other in prop::collection::btree_map("[a-c]", "[xy]?", 0..4),
            order in any::<prop::sample::Index>(),
        ) {
            let hashing = RandomState::new();
            let labels = |pairs: &std::collections::BTreeMap<String, String>| -> Vec<Label> {
                pairs.iter().map(|(name, value)| Label { name: name.clone().into(), value: (**value).into() }).collect()
            };
            let identity_of = |labels: &[Label]| identity(&hashing, "name", &labels.iter().cloned().collect::<Labels>());
            let mut turned = labels(&set);
            let by = if turned.is_empty() { 0 } else { order.index(turned.len()) };
            turned.rotate_left(by);
            prop_assert_eq!(identity_of(&labels(&set)), identity_of(&turned));
            prop_assert_eq!(identity_of(&labels(&set)) == identity_of(&labels(&other)), set == other);
        }
    }

    #[test]
    fn appended_label_is_the_last_one() {
        let labels: Labels = [("a", "1"), ("b", "2")].into();
        let appended = ExtendedLabels(&labels, "le", "0.5");
        let expected: Labels = [("a", "1"), ("b", "2"), ("le", "0.5")].into();
        assert!(appended.is_same(&expected) && !appended.is_same(&labels));
        assert_eq!(appended.to_labels(), expected);
    }
}
