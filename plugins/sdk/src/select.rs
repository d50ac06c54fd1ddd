//! Settings that select by name: patterns to include and to exclude.

use std::fmt;

use serde_core::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// A pattern for names, in which `*` stands for any text.
///
/// ```
/// use gauged_plugin::select::Pattern;
///
/// let pattern = Pattern::new("/var/lib/*/mounts");
/// assert!(pattern.matches("/var/lib/docker/overlay/mounts"));
/// assert!(!pattern.matches("/var/lib/docker"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl Pattern {
    /// The pattern with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether the pattern matches the whole name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.as_bytes().split(|&byte| byte == b'*');
        let name = name.as_bytes();
        let start = parts.next().unwrap_or_default();
        let Some(end) = parts.next_back() else { return start == name };
        let Some(mut rest) = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)) else { return false };
        // Taking the first match of each part leaves the most text for the parts after it.
        for part in parts.filter(|part| !part.is_empty()) {
            let Some(at) = rest.windows(part.len()).position(|window| window == part) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        true
    }
}

/// Included names, less the excluded ones. An empty `include` means all names.
///
/// ```
/// use gauged_plugin::{Configuration, select::Selection};
///
/// let disks = Selection::from_json(r#"{"include": ["sd*", "nvme*"], "exclude": ["sdz"]}"#)?;
/// assert!(disks.includes("sda"));
/// assert!(!disks.includes("sdz"));
/// assert!(!disks.includes("loop0"));
/// # Ok::<(), gauged_plugin::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SelectionVisitor)
    }
}

/// Deserialises a selection from a table.
struct SelectionVisitor;

impl<'de> Visitor<'de> for SelectionVisitor {
    type Value = Selection;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with `include` or `exclude`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Selection, A::Error> {
        let mut lists = [None, None];
        while let Some(key) = table.next_key::<String>()? {
            let Some(at) = KEYS.iter().position(|known| *known == key) else {
                return Err(de::Error::unknown_field(&key, KEYS));
            };
            if lists[at].replace(table.next_value()?).is_some() {
                return Err(de::Error::duplicate_field(KEYS[at]));
            }
        }
        let [include, exclude] = lists.map(Option::unwrap_or_default);
        Ok(Selection { include, exclude })
    }
}

/// The keys of a selection.
const KEYS: &[&str] = &["include", "exclude"];

impl Selection {
    /// All names.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Only names that match one of these patterns.
    #[must_use]
    pub fn only(include: &[&str]) -> Self {
        Self { include: include.iter().map(|text| Pattern::new(text)).collect(), exclude: Vec::new() }
    }

    /// The selection without names that match one of these patterns.
    ///
    /// ```
    /// use gauged_plugin::select::Selection;
    ///
    /// let disks = Selection::only(&["sd*"]).except(&["sd*9"]);
    /// assert!(disks.includes("sda1") && !disks.includes("sda9") && !disks.includes("loop0"));
    /// ```
    #[must_use]
    pub fn except(self, exclude: &[&str]) -> Self {
        Self { exclude: exclude.iter().map(|text| Pattern::new(text)).collect(), ..self }
    }

    /// Whether the selection includes a name.
    #[must_use]
    pub fn includes(&self, name: &str) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Configuration as _, Error};

    #[test]
    fn star_matches_any_text() {
        for (pattern, matches, others) in [
            ("", &[""][..], &["a"][..]),
            ("eth0", &["eth0"], &["eth", "eth01", "xeth0", ""]),
            ("*", &["", "a", "a/b"], &[]),
            ("eth*", &["eth", "eth0"], &["et", "veth0"]),
            ("*0", &["0", "eth0"], &["eth1", ""]),
            ("a*b*c", &["abc", "a/b/c", "abbcc", "abcbc"], &["ac", "acb", "abcd"]),
            ("ab*bc", &["abbc", "ab-bc"], &["abc"]),
            ("*aab*", &["aab", "aaab", "xaaby"], &["ab", "aaxb"]),
            ("a**b", &["ab", "axb"], &["a"]),
            ("*ä*", &["bär"], &["bar"]),
        ] {
            let pattern = Pattern::new(pattern);
            assert!(matches.iter().all(|name| pattern.matches(name)), "{pattern:?} {matches:?}");
            assert!(!others.iter().any(|name| pattern.matches(name)), "{pattern:?} {others:?}");
        }
    }

    #[test]
    fn selection_error_names_the_key() {
        let error = |json: &str| Selection::from_json(json).expect_err(json);
        let unknown = "unknown key; remove it, or use one of include, exclude";
        assert_eq!(error(r#"{"only": []}"#), Error::invalid("only", unknown));
        assert_eq!(error(r#"{"include": [1]}"#), Error::invalid("include[0]", "is 1; expected a string"));
        assert_eq!(error(r#"{"exclude": [], "exclude": []}"#), Error::invalid("exclude", "is set twice"));
        let table = "is a list; expected a table with `include` or `exclude`";
        assert_eq!(error("[]"), Error::invalid("", table));
    }

    #[test]
    fn exclude_wins_over_include() {
        let only = Selection::only(&["sd*"]);
        assert!(only.includes("sda") && !only.includes("vda"));
        let except = Selection::all().except(&["loop*", "ram*"]);
        assert!(except.includes("sda") && !except.includes("loop7"));
        assert!(Selection::default().includes("anything"));
        let both = Selection::only(&["sd*"]).except(&["sda"]);
        assert!(both.includes("sdb") && !both.includes("sda"));
    }
}
