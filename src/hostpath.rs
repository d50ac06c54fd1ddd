//! Absolute paths on the measured host, and patterns for them. Text only: symbolic links are the business of the code that
//! opens a path.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The kernel's limit for a path with its final NUL (`PATH_MAX`).
const MAX_BYTES: usize = 4096;

/// The place of an absolute path of the measured host, whose root is mounted at `root`.
#[must_use]
pub(crate) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Checks that a path is absolute and in its only valid spelling, so that a path that matches a pattern cannot lead out of
/// it.
///
/// # Errors
///
/// The fault and the remedy, as the end of a sentence that begins with the path.
pub(crate) fn check(path: &str) -> Result<(), &'static str> {
    if path == "/" {
        return Ok(());
    }
    let Some(segments) = path.strip_prefix('/') else { return Err("is not absolute; begin it with /") };
    if path.len() >= MAX_BYTES {
        return Err("is longer than 4095 bytes");
    }
    if path.contains('\0') {
        return Err("contains a NUL character");
    }
    if segments.as_bytes().split(|&byte| byte == b'/').any(|segment| matches!(segment, b"" | b"." | b"..")) {
        return Err("has an empty, . or .. segment; write it without");
    }
    Ok(())
}

/// The path of the same file of process 1. `/proc/net` and `/proc/mounts` lead to the reader's own process, which is the agent's
/// and closed to plugins; the networks and mounts of process 1 are the host's.
#[must_use]
pub(crate) fn first_process_path(path: &str) -> Cow<'_, str> {
    let rest = path.strip_prefix("/proc/").filter(|rest| {
        *rest == "mounts" || rest.strip_prefix("net").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    rest.map_or(Cow::Borrowed(path), |rest| Cow::Owned(format!("/proc/1/{rest}")))
}

/// What patterns look at first in a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    path: &'a str,
    /// The last segment.
    name: &'a [u8],
    /// The number of segments.
    depth: usize,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(path: &'a str) -> Self {
        let name = path.as_bytes().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        Self { path, name, depth: depth(path) }
    }
}

/// A path in which `*` matches any text within a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// The bytes before the first star.
    literal_bytes: usize,
    /// The last segment up to its first star.
    name: Range<usize>,
    /// The number of segments.
    depth: usize,
}

impl Pattern {
    /// A pattern of a path that passes [`check`].
    ///
    /// # Errors
    ///
    /// Those of [`check`].
    pub(crate) fn new(path: impl Into<String>) -> Result<Self, &'static str> {
        let text = path.into();
        check(&text)?;
        Ok(Self::from_checked(text))
    }

    fn from_checked(text: String) -> Self {
        let star = |from: usize| text[from..].find('*').map_or(text.len(), |at| from + at);
        let name = text.rfind('/').map_or(0, |at| at + 1);
        Self { literal_bytes: star(0), name: name..star(name), depth: depth(&text), text }
    }

    /// The pattern of the same files of process 1: see [`first_process_path`].
    pub(crate) fn first_process_pattern(&self) -> Self {
        Self::from_checked(first_process_path(&self.text).into_owned())
    }

    /// Whether the pattern matches a path.
    #[must_use]
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.matches_parts(&Parts::new(path))
    }

    /// The same for a path that is compared with many patterns. The first letter of the name decides for most of them.
    #[must_use]
    pub(crate) fn matches_parts(&self, parts: &Parts<'_>) -> bool {
        let name = &self.text.as_bytes()[self.name.clone()];
        let may_match = name.first().is_none_or(|first| parts.name.first() == Some(first))
            && parts.depth == self.depth
            && parts.name.starts_with(name)
            && parts.path.as_bytes().starts_with(self.literal());
        may_match
            && self
                .text
                .split('/')
                .zip(parts.path.split('/'))
                .all(|(pattern, segment)| segment_matches(pattern, segment))
    }

    /// Whether the pattern has a star in the names of a directory's entries. A grant of such a pattern includes listing the
    /// directory.
    #[must_use]
    pub(crate) fn opens(&self, directory: &str) -> bool {
        let directory = if directory == "/" { "" } else { directory };
        let literal = self.literal();
        if !literal.iter().zip(directory.as_bytes()).all(|(literal, byte)| literal == byte) {
            return false;
        }
        let mut pattern = self.text.split('/');
        directory.split('/').all(|segment| pattern.next().is_some_and(|pattern| segment_matches(pattern, segment)))
            && pattern.next().is_some_and(|next| next.contains('*'))
    }

    fn literal(&self) -> &[u8] {
        self.text.as_bytes().get(..self.literal_bytes).unwrap_or_default()
    }
}

fn depth(path: &str) -> usize {
    path.bytes().filter(|&byte| byte == b'/').count()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a segment matches a pattern's segment: its first part at the start, its last part at the end, the others at
/// their first occurrence in between.
fn segment_matches(pattern: &str, segment: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == segment };
    let Some(mut open) = segment.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match open.find(part) {
            Some(at) => open = &open[at + part.len()..],
            None => return false,
        }
    }
    open.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect(text)
    }

    #[test]
    fn paths_have_one_spelling() {
        for good in ["/", "/proc/stat", "/a b/ü", "/...", "/*"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "proc",
            "/proc/",
            "//proc",
            "/./proc",
            "/proc/..",
            "/a/../b",
            "/a\0",
            &format!("/{}", "x".repeat(4096)),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_star_stays_within_its_segment() {
        assert!(pattern("/sys/class/net/*/mtu").matches("/sys/class/net/eth0/mtu"));
        assert!(!pattern("/sys/class/net/*/mtu").matches("/sys/class/net/eth0/x/mtu"));
        assert!(!pattern("/sys/*").matches("/sys/a/b"));
        assert!(pattern("/a*c*e").matches("/abcde"));
        assert!(!pattern("/a*c*e").matches("/abde"));
        assert!(!pattern("/ab*bc").matches("/abc"));
        assert!(pattern("/temp*_input").matches("/temp1_input"));
    }

    #[test]
    fn networks_and_mounts_are_those_of_process_1() {
        for (path, first) in [
            ("/proc/net", "/proc/1/net"),
            ("/proc/net/dev", "/proc/1/net/dev"),
            ("/proc/mounts", "/proc/1/mounts"),
            ("/proc/network", "/proc/network"),
            ("/proc/self/net/dev", "/proc/self/net/dev"),
            ("/proc/2/net/dev", "/proc/2/net/dev"),
            ("proc/net", "proc/net"),
        ] {
            assert_eq!(first_process_path(path), first);
        }
        let tcp = pattern("/proc/net/tcp*").first_process_pattern();
        assert!(tcp.matches("/proc/1/net/tcp6") && !tcp.matches("/proc/net/tcp6"));
        assert_eq!(tcp, pattern("/proc/1/net/tcp*"));
    }

    #[test]
    fn an_open_name_makes_its_directory_listable() {
        let pattern = pattern("/sys/class/net/*/statistics/*");
        assert!(pattern.opens("/sys/class/net"));
        assert!(pattern.opens("/sys/class/net/eth0/statistics"));
        for closed in ["/", "/sys/class", "/sys/class/net/eth0", "/sys/class/net/eth0/statistics/x"] {
            assert!(!pattern.opens(closed), "{closed}");
        }
        assert!(super::Pattern::new("/*").expect("a valid pattern").opens("/"));
    }

    /// A second implementation, which tries all possibilities.
    fn matches_slowly(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => {
                (0..=text.len()).any(|taken| !text[..taken].contains(&b'/') && matches_slowly(rest, &text[taken..]))
            }
            [byte, rest @ ..] => text.first() == Some(byte) && matches_slowly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(
            pattern in "(/[ab*]{1,4}){1,3}",
            path in "(/[ab]{1,4}){1,3}",
        ) {
            prop_assert_eq!(super::Pattern::new(&*pattern).expect("a valid pattern").matches(&path), matches_slowly(pattern.as_bytes(), path.as_bytes()));
        }

        #[test]
        fn a_path_without_stars_matches_only_itself(path in "(/[ab.]{1,3}){1,3}", other in "(/[ab.]{1,3}){1,3}") {
            if let Ok(pattern) = super::Pattern::new(&*path) {
                prop_assert_eq!(pattern.matches(&other), path == other);
            }
        }
    }
}
