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
    let Some(rest) = path.strip_prefix('/') else { return Err("is not absolute; begin it with /") };
    if path.len() >= MAX_BYTES {
        return Err("is longer than 4095 bytes");
    }
    if path.bytes().fold(0, |found, byte| found | u8::from(byte == 0)) != 0 {
        return Err("contains a NUL character");
    }
    // Hardly any path has a segment that may be one of these.
    let may_be_special = path.ends_with('/') || has_segment_beginning(path, |first| matches!(first, b'/' | b'.'));
    let is_special = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
    if may_be_special && segments(rest.as_bytes()).any(is_special) {
        return Err("has an empty, . or .. segment; write it without");
    }
    Ok(())
}

/// Whether the byte after some slash is one of these. Has no branch for each byte, so that the compiler compares many at a time:
/// plugins read thousands of files at each tick.
pub(crate) fn has_segment_beginning(path: &str, is_wanted: impl Fn(u8) -> bool) -> bool {
    let bytes = path.as_bytes();
    let pairs = bytes.iter().zip(bytes.get(1..).unwrap_or_default());
    pairs.fold(0, |found, (&slash, &first)| found | (u8::from(slash == b'/') & u8::from(is_wanted(first)))) != 0
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
    pub(crate) path: &'a str,
    /// The last segment.
    name: &'a [u8],
    /// The number of segments.
    pub(crate) depth: usize,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(path: &'a str) -> Self {
        let name = path.as_bytes().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        Self { path, name, depth: depth(path) }
    }

    /// The first byte of the last segment.
    pub(crate) fn first_of_name(&self) -> Option<u8> {
        self.name.first().copied()
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

    /// The same for a path that is compared with many patterns.
    #[must_use]
    pub(crate) fn matches_parts(&self, parts: &Parts<'_>) -> bool {
        let (text, path) = (self.text.as_bytes(), parts.path.as_bytes());
        let may_match = parts.depth == self.depth
            && parts.name.starts_with(&text[self.name.clone()])
            && path.starts_with(self.literal());
        // The two have the same segments before the one with the first star.
        may_match
            && segments(&text[self.literal_bytes..])
                .zip(segments(&path[self.literal_bytes..]))
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
        let mut pattern = segments(self.text.as_bytes());
        segments(directory.as_bytes())
            .all(|segment| pattern.next().is_some_and(|pattern| segment_matches(pattern, segment)))
            && pattern.next().is_some_and(|next| next.contains(&b'*'))
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

fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}

/// Whether a segment matches a pattern's segment: its first part at the start, its last part at the end, the others at
/// their first occurrence in between. Parts of UTF-8 text begin and end at its characters, so that bytes are compared.
fn segment_matches(pattern: &[u8], segment: &[u8]) -> bool {
    let is_star = |byte: &u8| *byte == b'*';
    let Some(star) = pattern.iter().position(is_star) else { return pattern == segment };
    let (first, rest) = (&pattern[..star], &pattern[star + 1..]);
    let Some(mut open) = segment.strip_prefix(first) else { return false };
    let Some(star) = rest.iter().rposition(is_star) else { return open.ends_with(rest) };
    for part in rest[..star].split(is_star) {
        match find(open, part) {
            Some(at) => open = &open[at + part.len()..],
            None => return false,
        }
    }
    open.ends_with(&rest[star + 1..])
}

/// The first occurrence of a part.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() { Some(0) } else { bytes.windows(part.len()).position(|window| window == part) }
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
