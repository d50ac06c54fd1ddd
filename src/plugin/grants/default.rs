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
    /// Those without wildcards: most requests.
    literal: HashMap<&'static str, DefaultGrant>,
    patterns: HashMap<(&'static str, usize), Vec<(Pattern, DefaultGrant)>>,
    /// The number of segments of the longest.
    depth: usize,
}

/// The default grants, shared by all plugins.
pub(crate) static DEFAULT: LazyLock<DefaultGrants> = LazyLock::new(DefaultGrants::new);

impl DefaultGrants {
    fn new() -> Self {
        let mut grants = Self { literal: HashMap::new(), patterns: HashMap::new(), depth: 0 };
        for grant in all() {
            if !grant.path.contains('*') {
                grants.literal.insert(grant.path, grant);
                continue;
            }
            for path in expand(grant.path) {
                let depth = depth(&path);
                let Ok(pattern) = Pattern::new(path) else { continue };
                grants.depth = grants.depth.max(depth);
                grants.patterns.entry((beginning(grant.path), depth)).or_default().push((pattern, grant));
            }
        }
        grants
    }

    /// The grant that covers reading a file.
    pub(crate) fn read(&self, path: &str) -> Option<DefaultGrant> {
        let find = || {
            let (patterns, parts) = (self.patterns.get(&(beginning(path), depth(path)))?, Parts::new(path));
            patterns.iter().find(|(pattern, _)| pattern.matches_parts(&parts)).map(|(_, grant)| *grant)
        };
        self.literal.get(path).copied().or_else(find)
    }

    /// The grant that covers listing a directory: its own, or one with a wildcard for the names in it.
    pub(crate) fn list(&self, directory: &str) -> Option<DefaultGrant> {
        let below = || {
            let depths = depth(directory) + 1..=self.depth;
            let mut patterns = depths.filter_map(|depth| self.patterns.get(&(beginning(directory), depth))).flatten();
            patterns.find(|(pattern, _)| pattern.opens(directory)).map(|(_, grant)| *grant)
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
    let end = path.match_indices('/').nth(2).map_or(path.len(), |(at, _)| at);
    path.get(..end).unwrap_or_default()
}

fn depth(path: &str) -> usize {
    path.bytes().filter(|&byte| byte == b'/').count()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write as _;
    use std::path::Path;

    use expect_test::expect_file;

    use super::*;

    #[test]
    fn default_grants_have_paths_and_reasons() {
        let mut paths = HashSet::new();
        for grant in all() {
            let DefaultGrant { heading, path, reason } = grant;
            assert!(!heading.is_empty() && !reason.is_empty(), "{path}");
            assert!(!reason.contains('|'), "{path}: the reason is a cell of a table");
            assert!(paths.insert(path), "{path} is listed twice");
            assert!(!beginning(path).contains('*') && depth(path) >= 2, "{path}");
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
}
