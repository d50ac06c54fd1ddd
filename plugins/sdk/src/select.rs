//! Which of many things a plugin measures, as an operator writes it: names to include and names to exclude.

use serde::Deserialize;

/// A name in which `*` stands for any text.
///
/// ```
/// use gauged_plugin::select::Pattern;
///
/// let pattern = Pattern::new("/var/lib/*/mounts");
/// assert!(pattern.matches("/var/lib/docker/overlay/mounts"));
/// assert!(!pattern.matches("/var/lib/docker"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// What is written so.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether it stands for the whole of a name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.as_bytes().split(|&byte| byte == b'*');
        let name = name.as_bytes();
        let start = parts.next().unwrap_or_default();
        let Some(end) = parts.next_back() else { return start == name };
        let Some(mut open) = name.strip_prefix(start).and_then(|open| open.strip_suffix(end)) else { return false };
        // Found as early as possible, what stands between two stars leaves the most to what follows.
        for part in parts.filter(|part| !part.is_empty()) {
            let Some(at) = open.windows(part.len()).position(|window| window == part) else { return false };
            open = open.get(at + part.len()..).unwrap_or_default();
        }
        true
    }
}

/// Names that are included, unless they are excluded. Nothing to include means all.
///
/// ```
/// use gauged_plugin::{Configuration, select::Selection};
///
/// let disks = Selection::from_json(r#"{"include": ["sd*", "nvme*"], "exclude": ["sdz"]}"#)?;
/// assert!(disks.picks("sda"));
/// assert!(!disks.picks("sdz"));
/// assert!(!disks.picks("loop0"));
/// # Ok::<(), gauged_plugin::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Selection {
    /// All but these.
    #[must_use]
    pub fn except(exclude: &[&str]) -> Self {
        Self { include: Vec::new(), exclude: exclude.iter().map(|text| Pattern::new(text)).collect() }
    }

    /// Only these.
    #[must_use]
    pub fn only(include: &[&str]) -> Self {
        Self { include: include.iter().map(|text| Pattern::new(text)).collect(), exclude: Vec::new() }
    }

    /// Of these, all but those.
    ///
    /// ```
    /// use gauged_plugin::select::Selection;
    ///
    /// let disks = Selection::only(&["sd*"]).but(&["sd*9"]);
    /// assert!(disks.picks("sda1") && !disks.picks("sda9") && !disks.picks("loop0"));
    /// ```
    #[must_use]
    pub fn but(self, exclude: &[&str]) -> Self {
        Self { exclude: Self::except(exclude).exclude, ..self }
    }

    /// Whether a name is among them.
    #[must_use]
    pub fn picks(&self, name: &str) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
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
    fn what_is_excluded_stays_out() {
        let only = Selection::only(&["sd*"]);
        assert!(only.picks("sda") && !only.picks("vda"));
        let except = Selection::except(&["loop*", "ram*"]);
        assert!(except.picks("sda") && !except.picks("loop7"));
        assert!(Selection::default().picks("anything"));
    }
}
