//! The default grants: the files that every plugin may read without a grant in the configuration, each with its reason. The list
//! is data, and the SDK's: it is also in every project of a plugin, whose tests know what the agent grants.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::hostpath::{Parts, Pattern};

/// The list.
const TEXT: &str = include_str!("../../../plugins/sdk/src/default_grants.txt");

/// The deepest group that `**` stands for: a container in a pod in a slice, under a version 1 controller.
const GROUP_DEPTH: usize = 6;

/// A line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DefaultGrant {
    /// The heading that it is below.
    pub(crate) heading: &'static str,
    /// The path, with `*` for any text within one segment, and `**` for none to six segments.
    pub(crate) path: &'static str,
    /// What the file has, which shows that it may be read.
    pub(crate) reason: &'static str,
}

/// The list, in its order.
pub(crate) fn all() -> impl Iterator<Item = DefaultGrant> {
    let mut heading = "";
    TEXT.lines().filter_map(move |line| {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        }
        let (path, reason) = line.split_once(' ').filter(|_| line.starts_with('/'))?;
        Some(DefaultGrant { heading, path, reason: reason.trim_start() })
    })
}

/// The default grants, by the beginning and the depth of their paths: a path is compared with few of them.
#[derive(Debug)]
pub(crate) struct DefaultGrants {
    patterns: HashMap<(&'static str, usize), Patterns>,
    /// The number of segments of the longest.
    depth: usize,
}

/// The patterns of one beginning and depth, in the order of the list.
#[derive(Debug, Default)]
struct Patterns {
    /// The first byte of each one's last segment, together in memory: it decides for most of them.
    firsts: Vec<u8>,
    patterns: Vec<(Pattern, DefaultGrant)>,
}

impl Patterns {
    fn find(&self, path: &Parts<'_>) -> Option<DefaultGrant> {
        let first = path.first_of_name();
        let may_match = |byte: u8| byte == b'*' || Some(byte) == first;
        let mut patterns = self.firsts.iter().zip(&self.patterns).filter(|&(&byte, _)| may_match(byte));
        patterns.find(|(_, (pattern, _))| pattern.matches_parts(path)).map(|(_, (_, grant))| *grant)
    }
}

/// The default grants, shared by all plugins.
pub(crate) static DEFAULT: LazyLock<DefaultGrants> = LazyLock::new(DefaultGrants::new);

impl DefaultGrants {
    fn new() -> Self {
        let mut grants = Self { patterns: HashMap::new(), depth: 0 };
        for grant in all() {
            for path in expand(grant.path) {
                let parts = Parts::new(&path);
                let (depth, first) = (parts.depth, parts.first_of_name());
                let (Some(first), Ok(pattern)) = (first, Pattern::new(path)) else { continue };
                grants.depth = grants.depth.max(depth);
                let patterns = grants.patterns.entry((beginning(grant.path), depth)).or_default();
                patterns.firsts.push(first);
                patterns.patterns.push((pattern, grant));
            }
        }
        grants
    }

    /// The grant that covers reading a file.
    pub(crate) fn read(&self, path: &Parts<'_>) -> Option<DefaultGrant> {
        self.patterns.get(&(beginning(path.path), path.depth))?.find(path)
    }

    /// The grant that covers listing a directory: its own, or one with a wildcard for the names in it.
    pub(crate) fn list(&self, directory: &Parts<'_>) -> Option<DefaultGrant> {
        let below = || {
            let Parts { path, depth, .. } = *directory;
            let found = (depth + 1..=self.depth).filter_map(|depth| self.patterns.get(&(beginning(path), depth)));
            let mut patterns = found.flat_map(|found| &found.patterns);
            patterns.find(|(pattern, _)| pattern.opens(path)).map(|(_, grant)| *grant)
        };
        self.read(directory).or_else(below)
    }
}

/// The patterns that a path of the list stands for.
fn expand(path: &str) -> Vec<String> {
    match path.split_once("/**") {
        Some((before, after)) => {
            (0..=GROUP_DEPTH).map(|depth| format!("{before}{}{after}", "/*".repeat(depth))).collect()
        }
        None => vec![path.to_owned()],
    }
}

/// The first two segments, which no pattern of the list has a wildcard in.
fn beginning(path: &str) -> &str {
    let mut slashes = path.bytes().enumerate().filter(|&(_, byte)| byte == b'/').map(|(at, _)| at);
    path.get(..slashes.nth(2).unwrap_or(path.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write as _;
    use std::path::Path;

    use expect_test::expect_file;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn default_grants_have_paths_and_reasons() {
        let mut paths = HashSet::new();
        for grant in all() {
            let DefaultGrant { heading, path, reason } = grant;
            assert!(!heading.is_empty() && !reason.is_empty(), "{path}");
            assert!(!reason.contains('|'), "{path}: the reason is a cell of a table");
            assert!(paths.insert(path), "{path} is listed twice");
            assert!(!beginning(path).contains('*') && Parts::new(path).depth >= 2, "{path}");
            assert!(expand(path).into_iter().all(|path| Pattern::new(path).is_ok()), "{path}");
            let covers = |other: &DefaultGrant| {
                other.path != path
                    && expand(other.path)
                        .iter()
                        .any(|other| Pattern::new(&**other).is_ok_and(|other| other.matches(path)))
            };
            assert_eq!(all().find(covers), None, "{path} is covered twice");
        }
        let lines = TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        assert_eq!(paths.len(), lines);
    }

    #[test]
    fn documents_list_all_default_grants() {
        let (mut table, mut last) = (String::new(), "");
        for DefaultGrant { heading, path, reason } in all() {
            if heading != last {
                let _ = write!(table, "\n### {heading}\n\n| path | has |\n|---|---|\n");
                last = heading;
            }
            let _ = writeln!(table, "| `{path}` | {reason} |");
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grants.md");
        let document = std::fs::read_to_string(&file).expect("readable");
        let (before, rest) = document.split_once("<!-- list -->\n").expect("a beginning");
        let (_, after) = rest.split_once("<!-- /list -->").expect("an end");
        expect_file![file].assert_eq(&format!("{before}<!-- list -->\n{table}\n<!-- /list -->{after}"));
    }

    /// Paths of the list with other names and depths, some of which leave it.
    fn paths() -> impl Strategy<Value = String> {
        let grants: Vec<DefaultGrant> = all().collect();
        let names = prop::collection::vec("[a-z.*_]{0,3}|stat|1", 12);
        (prop::sample::select(grants), 0..=GROUP_DEPTH + 1, names, "|/[a-z*]{1,2}|[a-z]", 0..2_usize).prop_map(
            |(grant, depth, names, end, left_out)| {
                let mut names = names.iter();
                let pattern = grant.path.replacen("/**", &"/*".repeat(depth), 1) + &end;
                let parts = pattern.split('*').map(str::to_owned);
                let path = parts.reduce(|path, next| path + names.next().map_or("x", String::as_str) + &next);
                let mut path = path.unwrap_or_default();
                for _ in 0..left_out {
                    path.truncate(path.rfind('/').unwrap_or_default());
                }
                path
            },
        )
    }

    proptest! {
        /// The index finds the same grant as a search of the whole list.
        #[test]
        fn index_finds_the_grant_of_the_list(path in paths()) {
            let covers = |is_covered: fn(&Pattern, &str) -> bool| {
                let patterns = all().flat_map(|grant| expand(grant.path).into_iter().map(move |text| (text, grant)));
                let mut patterns = patterns.filter_map(|(text, grant)| Some((Pattern::new(text).ok()?, grant)));
                patterns.find(|(pattern, _)| is_covered(pattern, &path)).map(|(_, grant)| grant)
            };
            let (parts, covered) = (Parts::new(&path), covers(Pattern::matches));
            prop_assert_eq!(DEFAULT.read(&parts), covered);
            prop_assert_eq!(DEFAULT.list(&parts).is_some(), covered.or_else(|| covers(Pattern::opens)).is_some());
        }
    }
}
