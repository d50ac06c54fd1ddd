//! The files of a project that are no sources: output of builds, by the project's `.gitignore` and by names that every project
//! has, hidden files, and copies that editors make. Pure.

/// Names of build output in projects without a `.gitignore`, hidden files and backups, in its form.
const ALWAYS: &str = ".*\n*~\n#*#\n*.wasm\ntarget/\nnode_modules/\n__pycache__/\nzig-out/\n";

/// The patterns of the ignored files. The last one that matches decides.
pub(super) struct Ignored(Vec<Pattern>);

/// A line of a `.gitignore`. Of its wildcards `*`, `?` and `**` are known; sets of characters are not.
struct Pattern {
    segments: Vec<String>,
    /// Whether it is for directories only.
    is_for_directories: bool,
    /// Whether it takes files out of the ignored ones: it begins with `!`.
    is_exception: bool,
}

impl Ignored {
    /// The files that are ignored by the text of a `.gitignore`, beside those that always are.
    pub(super) fn new(gitignore: &str) -> Self {
        let is_pattern = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let own = gitignore.lines().map(str::trim_end).filter(is_pattern);
        Self(ALWAYS.lines().chain(own).map(Pattern::parse).collect())
    }

    /// Whether a file or directory is ignored, by its path in the project. The directories above it are not.
    pub(super) fn contains(&self, path: &[String], is_directory: bool) -> bool {
        let last = self.0.iter().rev().find(|pattern| pattern.matches(path, is_directory));
        last.is_some_and(|pattern| !pattern.is_exception)
    }
}

impl Pattern {
    fn parse(line: &str) -> Self {
        let (is_exception, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let (is_for_directories, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        // A pattern without a slash is for names at any depth.
        let is_anchored = line.contains('/');
        let segments = line.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned);
        let segments: Vec<String> = (!is_anchored).then(|| "**".to_owned()).into_iter().chain(segments).collect();
        Self { segments, is_for_directories, is_exception }
    }

    fn matches(&self, path: &[String], is_directory: bool) -> bool {
        (is_directory || !self.is_for_directories) && path_matches(&self.segments, path)
    }
}

fn path_matches(pattern: &[String], path: &[String]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [any, rest @ ..] if any == "**" => (0..=path.len()).any(|skipped| path_matches(rest, &path[skipped..])),
        [first, rest @ ..] => {
            let [name, below @ ..] = path else { return false };
            let (first, name): (Vec<char>, Vec<char>) = (first.chars().collect(), name.chars().collect());
            name_matches(&first, &name) && path_matches(rest, below)
        }
    }
}

/// Whether a name matches a pattern with `*` and `?`. Takes the product of their lengths at most: a later `*` never has to give
/// back to an earlier one.
fn name_matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    // The last `*`, and the end of its text.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(character) if *character == '?' || *character == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((of_star, end)) = star else { return false };
                star = Some((of_star, end + 1));
                (at, in_name) = (of_star + 1, end + 1);
            }
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_ignored(gitignore: &str, path: &str) -> bool {
        let is_directory = path.ends_with('/');
        let segments: Vec<String> = path.trim_end_matches('/').split('/').map(str::to_owned).collect();
        Ignored::new(gitignore).contains(&segments, is_directory)
    }

    #[test]
    fn build_output_hidden_files_and_backups_are_ignored() {
        for path in [
            "target/",
            "web/node_modules/",
            "__pycache__/",
            "a.wasm",
            ".git/",
            ".a.wasm.new",
            "src/.lib.rs.swp",
            "src/lib.rs~",
            "#a#",
        ] {
            assert!(is_ignored("", path), "{path}");
        }
        for path in ["src/", "src/lib.rs", "target", "Cargo.lock", "wit/gauged.wit", "vendor/", "#a", "a.wasm.txt"] {
            assert!(!is_ignored("", path), "{path}");
        }
    }

    #[test]
    fn patterns_of_gitignore_are_followed() {
        let text = "# output\n\n/out\nlogs/\nbuild/*.o\n**/generated/*\n*.tmp\n!keep.tmp\nx?z\n";
        for path in ["out", "out/", "logs/", "a/logs/", "build/x.o", "generated/a", "a/b/generated/c", "a/b.tmp", "xyz"]
        {
            assert!(is_ignored(text, path), "{path}");
        }
        for path in ["a/out", "logs", "a/build/x.o", "build/a/x.o", "keep.tmp", "a/keep.tmp", "xz", "xyyz", "output"] {
            assert!(!is_ignored(text, path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn stars_match_as_by_definition(pattern in "[ab*?]{0,7}", name in "[ab]{0,7}") {
            fn is_match(pattern: &[char], name: &[char]) -> bool {
                match (pattern, name) {
                    ([], []) => true,
                    (['*', rest @ ..], _) => (0..=name.len()).any(|length| is_match(rest, &name[length..])),
                    (['?', rest @ ..], [_, more @ ..]) => is_match(rest, more),
                    ([one, rest @ ..], [other, more @ ..]) => one == other && is_match(rest, more),
                    _ => false,
                }
            }
            let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
            prop_assert_eq!(name_matches(&pattern, &name), is_match(&pattern, &name));
        }

        #[test]
        fn last_line_decides_after_any_text(
            text in prop_oneof![any::<String>(), "([!a/*?#]{0,4}\n){0,4}"],
            path in proptest::collection::vec(prop_oneof![any::<String>(), "[a-c]{1,2}"], 1..4),
            is_directory in any::<bool>(),
        ) {
            let is_ignored = |last: &str| Ignored::new(&format!("{text}\n{last}")).contains(&path, is_directory);
            prop_assert_eq!((is_ignored("*"), is_ignored("!*")), (true, false));
            prop_assert_eq!(is_ignored("# comment"), Ignored::new(&text).contains(&path, is_directory));
        }
    }
}
