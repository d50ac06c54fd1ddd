//! The rules of the house that no compiler knows: who may depend on whom, what files are called, and that each says what
//! it is for. The dependency tables are those of ARCHITECTURE.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::repository;

/// A file that is longer does more than one thing.
const LINES: usize = 500;

/// Names that say nothing.
const EMPTY_NAMES: [&str; 9] = ["mod", "util", "utils", "common", "helper", "helpers", "misc", "types", "manager"];

/// All Rust files below these directories, with their path from the repository's root.
fn sources(directories: &[&str]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut open: Vec<PathBuf> = directories.iter().map(|directory| repository().join(directory)).collect();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("readable").map(|entry| entry.expect("readable").path()) {
            if entry.is_dir() && !entry.ends_with("target") {
                open.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let name = entry.strip_prefix(repository()).expect("below it").to_str().expect("text").to_owned();
                files.insert(name, fs::read_to_string(&entry).expect("text"));
            }
        }
    }
    assert!(files.len() > 10, "looked in the wrong place");
    files
}

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The rows of the table in ARCHITECTURE.md whose first column has this title: first column to second.
fn table(title: &str) -> BTreeMap<String, String> {
    let text = read("ARCHITECTURE.md");
    let mut rows = BTreeMap::new();
    let start = text.lines().skip_while(|line| !line.starts_with(&format!("| {title} |")));
    for row in start.skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        rows.insert(cells[1].replace('`', ""), cells[2].replace('`', ""));
    }
    assert!(rows.len() > 3, "no table of {title}");
    rows
}

/// Code without comments, strings left in.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, text) in sources(&["src", "tests", "plugins"]) {
        assert!(text.starts_with("//! "), "{name} has no module documentation");
    }
}

#[test]
fn files_are_short_and_named_for_what_they_do() {
    for (name, text) in sources(&["src", "tests", "plugins"]) {
        assert!(text.lines().count() <= LINES, "{name} has more than {LINES} lines: is it one thing?");
        let stem = Path::new(&name).file_stem().and_then(|stem| stem.to_str()).expect("text");
        assert!(!EMPTY_NAMES.contains(&stem), "{name} is a name that says nothing");
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file is not among the finds.
    let marks = ["todo!", "unimplemented!", "dbg!", "#[ignore", "FIXME", "XXX"].map(|mark| mark.replace('!', "!("));
    for (name, text) in sources(&["src", "tests", "plugins"]) {
        if !name.ends_with("tidy.rs") {
            let found: Vec<&String> = marks.iter().filter(|mark| text.contains(mark.as_str())).collect();
            assert!(found.is_empty(), "{name} has {found:?}");
        }
    }
}

#[test]
fn libraries_are_used_where_the_table_says() {
    let allowed = table("library");
    let manifest = read("Cargo.toml");
    let dependencies = manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    for line in dependencies.expect("a section").lines().filter(|line| line.contains('=') && !line.starts_with('#')) {
        let library = line.split('=').next().expect("a name").trim();
        assert!(allowed.contains_key(library), "{library} is not in the table of ARCHITECTURE.md");
    }
    for (library, places) in &allowed {
        let places: Vec<&str> = places.split(", ").collect();
        let path = format!("{}::", library.replace('-', "_"));
        let mut used = false;
        for (name, text) in sources(&["src"]) {
            let is_used = code(&text).match_indices(&path).any(|(at, _)| {
                let before = code(&text)[..at].chars().next_back();
                before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':')
            });
            used |= is_used;
            let name = name.trim_start_matches("src/");
            let is_allowed = places.iter().any(|place| *place == "anywhere" || name.starts_with(place));
            assert!(!is_used || is_allowed, "{name} uses {library}, which only {places:?} may");
        }
        assert!(used, "{library} is in the table and not used");
    }
}

#[test]
fn modules_depend_on_those_that_the_table_says() {
    let allowed = table("module");
    let modules: Vec<String> = read("src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned))
        .collect();
    assert_eq!(modules.len(), allowed.len(), "the table has a row for each module");
    for (name, text) in sources(&["src"]) {
        // What is fuzzed of a module is in that module, and is no part of it.
        let is_fuzzing = name.ends_with("/fuzzing.rs");
        let module = name.trim_start_matches("src/").split(['/', '.']).next().expect("a name");
        let module = if is_fuzzing { "fuzzing" } else { module };
        if matches!(module, "lib" | "main") {
            continue;
        }
        let may: Vec<&str> = allowed.get(module).unwrap_or_else(|| panic!("{module} has no row")).split(", ").collect();
        // Tests may look further.
        let text = code(text.split("\n#[cfg(test)]").next().expect("a beginning"));
        for other in modules.iter().filter(|other| *other != module) {
            let is_used = text.contains(&format!("crate::{other}::"));
            assert!(!is_used || may.contains(&other.as_str()), "{name} uses {other}, which {module} may not");
        }
    }
}

#[test]
fn the_changelog_knows_this_version() {
    let version = concat!("## [", env!("CARGO_PKG_VERSION"), "]");
    let changelog = read("CHANGELOG.md");
    assert!(changelog.contains(version) || changelog.contains("## [Unreleased]"), "no section for {version}");
}

#[test]
fn the_promises_name_tests_that_exist() {
    let tests: String = sources(&["src", "tests", "plugins"]).into_values().collect();
    let promises = read("SPECIFICATION.md");
    let mut named = 0;
    for name in promises.split('`').skip(1).step_by(2).filter_map(|code| code.strip_suffix("()")) {
        named += 1;
        assert!(tests.contains(&format!("fn {name}(")), "SPECIFICATION.md names the test {name}, which there is not");
    }
    assert!(named > 10, "SPECIFICATION.md names its tests");
}
