//! The keys of a module's metrics: names and labels, and their text. They seldom change between ticks, so a list of keys is
//! made once and shared by the samples of many ticks.

use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
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
        **self == **other
    }
}

impl Eq for Text {}

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

/// The labels of a metric; most have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(Option<Arc<[Label]>>);

/// A label: it distinguishes metrics with the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label {
    /// The label's name; see `is_label_name`.
    pub name: Text,
    /// The label's value: any text.
    pub value: String,
}

impl<const N: usize> From<[(&'static str, &str); N]> for Labels {
    fn from(labels: [(&'static str, &str); N]) -> Self {
        labels.into_iter().map(|(name, value)| Label { name: name.into(), value: value.to_owned() }).collect()
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<T: IntoIterator<Item = Label>>(labels: T) -> Self {
        let labels: Arc<[Label]> = labels.into_iter().collect();
        Self(Some(labels).filter(|labels| !labels.is_empty()))
    }
}

impl Deref for Labels {
    type Target = [Label];

    fn deref(&self) -> &[Label] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Labels {
    /// Whether the labels are equal; fast if they share memory, which is the usual case.
    fn equal(&self, others: &Self) -> bool {
        match (&self.0, &others.0) {
            (Some(labels), Some(others)) => Arc::ptr_eq(labels, others) || labels == others,
            (labels, others) => labels.is_none() && others.is_none(),
        }
    }
}

/// The names and labels of a module's metrics, in output order.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    /// The texts of all keys, one after the other. Each begins with the metric's name.
    texts: String,
    metrics: Vec<KeyEntry>,
}

#[derive(Debug, Clone)]
struct KeyEntry {
    /// The end of the name in `texts`.
    name_end: usize,
    /// The end of the key in `texts`.
    end: usize,
    labels: Labels,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.metrics.len()
    }

    /// Name and labels of a metric, by its place.
    pub(super) fn get(&self, at: usize) -> Option<(&str, &Labels)> {
        let KeyEntry { name_end, labels, .. } = self.metrics.get(at)?;
        Some((&self.texts[self.start(at)..*name_end], labels))
    }

    /// Whether the metric at this place has this name and these labels.
    pub(super) fn matches(&self, at: usize, name: &str, labels: &Labels) -> bool {
        self.get(at).is_some_and(|(there, others)| there == name && labels.equal(others))
    }

    pub(super) fn push(&mut self, name: &str, labels: Labels) {
        self.texts.push_str(name);
        let name_end = self.texts.len();
        // Writing to a string does not fail.
        let _ = write_labels(&mut self.texts, &labels);
        self.metrics.push(KeyEntry { name_end, end: self.texts.len(), labels });
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.texts.truncate(self.start(length));
        self.metrics.truncate(length);
    }

    /// Name, labels and key of each metric.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Labels, &str)> {
        let mut start = 0;
        self.metrics.iter().map(move |&KeyEntry { name_end, end, ref labels }| {
            let (name, text) = (&self.texts[start..name_end], &self.texts[start..end]);
            start = end;
            (name, labels, text)
        })
    }

    fn start(&self, at: usize) -> usize {
        match at {
            0 => 0,
            _ => self.metrics.get(at - 1).map_or(self.texts.len(), |key| key.end),
        }
    }
}

/// Writes `{label="value",…}` with the values escaped as in the Prometheus text format; nothing without labels.
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
    use proptest::prelude::*;

    use super::*;
    use crate::fuzzing::checks::read_key;

    fn key(name: &str, labels: &[(String, String)]) -> String {
        let label = |(name, value): &(String, String)| Label { name: name.clone().into(), value: value.clone() };
        let mut keys = Keys::default();
        keys.push(name, labels.iter().map(label).collect());
        keys.iter().map(|(_, _, text)| text.to_owned()).collect()
    }

    #[test]
    fn keys_are_escaped_as_in_prometheus() {
        assert_eq!(key("free_bytes", &[]), "free_bytes");
        let labels = [("mount".to_owned(), "/a \"b\"\\\n".to_owned()), ("type".to_owned(), String::new())];
        assert_eq!(key("free_bytes", &labels), r#"free_bytes{mount="/a \"b\"\\\n",type=""}"#);
    }

    #[test]
    fn truncated_keys_are_removed() {
        let mut keys = Keys::default();
        for name in ["a", "b", "c"] {
            keys.push(name, [("label", name)].into());
        }
        keys.truncate(1);
        keys.push("d", Labels::default());
        let texts: Vec<&str> = keys.iter().map(|(_, _, text)| text).collect();
        assert_eq!(texts, ["a{label=\"a\"}", "d"]);
        assert!(keys.matches(1, "d", &Labels::default()) && !keys.matches(0, "a", &Labels::default()));
        keys.truncate(0);
        assert_eq!((keys.len(), keys.texts.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn keys_parse_to_name_and_labels(
            name in "[A-Za-z0-9_]{1,12}",
            labels in prop::collection::vec(("[A-Za-z_][A-Za-z0-9_]{0,8}", any::<String>()), 0..4),
        ) {
            let key = key(&name, &labels);
            prop_assert_eq!(read_key(&key), Some((name, labels)));
            prop_assert!(!key.contains('\n'));
        }
    }
}
