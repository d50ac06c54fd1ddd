//! House rules that no compiler checks: dependencies between modules and on libraries, import circles, names of files and
//! functions, module documentation, links in documents. The two dependency tables are in ARCHITECTURE.md.

mod imports;
mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use self::imports::{Target, circles, functions, references, test_functions};
use crate::harness::repository;

/// The most lines of a file; a longer one does more than one thing.
const LINES: usize = 500;

/// The most words of a test's name: a feature and a case, which a list of failed tests shows at a glance.
const TEST_WORDS: usize = 8;

/// First words of function names that do not name a thing: pronouns and relative words.
const PRONOUNS: &str = "\
    anybody anyone anything each every everybody everyone everything he her his how i it its nobody nothing of one ones \
    other our ours she somebody someone something that their theirs them there these they this those we what whatever when \
    where wherever which who whoever whom whose why";

/// File names without a meaning.
const EMPTY_NAMES: [&str; 9] = ["mod", "util", "utils", "common", "helper", "helpers", "misc", "types", "manager"];

/// The file that no one writes by hand.
const GENERATED: &str = "plugins/sdk/src/bindings.rs";

/// All Rust files below these directories but the generated one, with their path from the repository's root.
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
    files.remove(GENERATED);
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

/// The module of a file in `src/`: `src/plugin/host.rs` is `plugin::host`, `src/lib.rs` has no parts.
fn module(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").and_then(|path| path.strip_suffix(".rs")).expect("a source");
    path.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
}

/// The files in `src/`, each with the targets of its references. Tests may look further and are left out, and so is
/// `main.rs`, which is a crate of its own.
fn targets() -> BTreeMap<String, Vec<Target>> {
    let mut files = sources(&["src"]);
    files.retain(|name, _| name != "src/main.rs" && !name.ends_with("/tests.rs"));
    let modules: BTreeSet<Vec<String>> = files.keys().map(|name| module(name)).collect();
    let all = files.iter().map(|(name, text)| {
        let source = module(name);
        let is_module = |path: &[String]| modules.contains(path);
        (name.clone(), references(text).iter().map(|found| found.target(&source, is_module)).collect())
    });
    all.collect()
}

#[test]
fn files_begin_with_module_docs() {
    for (name, text) in sources(&["src", "tests", "plugins"]) {
        assert!(text.starts_with("//! "), "{name} has no module documentation");
    }
}

#[test]
fn files_are_short_and_clearly_named() {
    for (name, text) in sources(&["src", "tests", "plugins"]) {
        assert!(text.lines().count() <= LINES, "{name} has more than {LINES} lines: is it one thing?");
        let stem = Path::new(&name).file_stem().and_then(|stem| stem.to_str()).expect("text");
        assert!(!EMPTY_NAMES.contains(&stem), "{name} is a name without a meaning");
    }
}

#[test]
fn placeholders_are_absent() {
    // Put together here, so that this file does not contain them.
    let marks = ["todo!", "unimplemented!", "dbg!", "#[ignore", "FIXME", "XXX"].map(|mark| mark.replace('!', "!("));
    for (name, text) in sources(&["src", "tests", "plugins"]) {
        if !name.ends_with("tidy.rs") {
            let found: Vec<&String> = marks.iter().filter(|mark| text.contains(mark.as_str())).collect();
            assert!(found.is_empty(), "{name} has {found:?}");
        }
    }
}

#[test]
fn library_use_matches_the_table() {
    let allowed = table("library");
    let manifest = read("Cargo.toml");
    let is_linked = |section: &&str| section.lines().next().is_some_and(|title| title.ends_with("dependencies]"));
    let sections = manifest.split("\n[").filter(is_linked).filter(|section| !section.starts_with("dev-"));
    let sections: Vec<&str> = sections.collect();
    assert!(sections.len() > 1, "the dependencies of every system, and those of Linux: {sections:?}");
    let lines = sections.iter().flat_map(|section| section.lines().skip(1));
    for line in lines.filter(|line| line.contains('=') && !line.starts_with('#')) {
        let library = line.split('=').next().expect("a name").trim();
        assert!(allowed.contains_key(library), "{library} is not in the table of ARCHITECTURE.md");
    }
    let mut targets = targets();
    let main = references(&read("src/main.rs"));
    let main = main.iter().map(|found| found.target(&[], |_| false));
    targets.insert("src/main.rs".to_owned(), main.collect());
    for (library, places) in &allowed {
        let places: Vec<&str> = places.split(", ").collect();
        let target = Target::External(library.replace('-', "_"));
        let users: Vec<&str> = targets
            .iter()
            .filter(|(_, targets)| targets.contains(&target))
            .map(|(name, _)| name.trim_start_matches("src/"))
            .collect();
        assert!(!users.is_empty(), "{library} is in the table but is not used");
        for name in users {
            let is_allowed = places.iter().any(|place| *place == "anywhere" || name.starts_with(place));
            assert!(is_allowed, "{name} uses {library}, which only {places:?} may");
        }
    }
}

#[test]
fn module_dependencies_match_the_table() {
    let allowed = table("module");
    let targets = targets();
    let modules: BTreeSet<String> = targets.keys().filter_map(|name| module(name).first().cloned()).collect();
    assert!(
        modules.iter().eq(allowed.keys()),
        "the table has a row for each module: {modules:?}, {:?}",
        allowed.keys()
    );
    let mut wrong = Vec::new();
    for (name, targets) in &targets {
        // The fuzzing code of a module is in that module, and is no part of it.
        let is_fuzzing = name.ends_with("/fuzzing.rs");
        let Some(own) = module(name).into_iter().next() else { continue };
        let own = if is_fuzzing { "fuzzing".to_owned() } else { own };
        let may: Vec<&str> = allowed[&own].split(", ").collect();
        let used = targets.iter().filter_map(|target| match target {
            Target::Internal(path) => path.first().filter(|used| modules.contains(*used)),
            Target::External(_) => None,
        });
        let used: BTreeSet<&String> = used.filter(|used| **used != own && !may.contains(&used.as_str())).collect();
        wrong.extend(used.into_iter().map(|used| format!("{name} uses {used}, which {own} may not")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files that import one another cannot be understood one after the other.
#[test]
fn imports_between_files_form_no_circle() {
    let targets = targets();
    let file = |path: &[String]| {
        let files = (0..=path.len()).rev().map(|length| match length {
            0 => "src/lib.rs".to_owned(),
            _ => format!("src/{}.rs", path[..length].join("/")),
        });
        files.into_iter().find(|file| targets.contains_key(file)).expect("the crate has a root")
    };
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, targets) in &targets {
        let used = targets.iter().filter_map(|target| match target {
            Target::Internal(path) => Some(file(path)),
            Target::External(_) => None,
        });
        edges.entry(name.clone()).or_default().extend(used.filter(|used| used != name));
    }
    let circles: Vec<String> = circles(&edges).iter().map(|circle| circle.join(" -> ")).collect();
    assert!(circles.is_empty(), "files that import one another:\n{}", circles.join("\n"));
}

/// The subject of a name is a noun.
#[test]
fn function_names_begin_with_no_pronoun() {
    let mut wrong = Vec::new();
    for (file, text) in sources(&["src", "tests", "plugins", "benches", "fuzz", "scaffold"]) {
        let is_wrong =
            |name: &String| name.split('_').next().is_some_and(|first| PRONOUNS.split(' ').any(|word| word == first));
        wrong.extend(functions(&text).into_iter().filter(is_wrong).map(|name| format!("{file}: {name}")));
    }
    assert!(wrong.is_empty(), "names that begin with a pronoun:\n{}", wrong.join("\n"));
}

#[test]
fn test_names_have_at_most_eight_words() {
    let files = sources(&["src", "tests", "plugins", "benches", "fuzz", "scaffold"]);
    let names: Vec<(&String, String)> =
        files.iter().flat_map(|(file, text)| test_functions(text).into_iter().map(move |name| (file, name))).collect();
    assert!(names.len() > 2000, "only {} tests were found", names.len());
    let is_long = |name: &str| name.split('_').count() > TEST_WORDS;
    let long: Vec<String> =
        names.iter().filter(|(_, name)| is_long(name)).map(|(file, name)| format!("{file}: {name}")).collect();
    assert!(
        long.is_empty(),
        "the name of a test is a feature and a case, in at most {TEST_WORDS} words:\n{}",
        long.join("\n")
    );
}

#[test]
fn code_map_has_each_file() {
    let map = table("file");
    let files = sources(&["src"]);
    assert!(map.keys().eq(files.keys()), "the code map of ARCHITECTURE.md: {:#?}", {
        let (map, files): (BTreeSet<_>, BTreeSet<_>) = (map.keys().collect(), files.keys().collect());
        map.symmetric_difference(&files).map(|name| (**name).clone()).collect::<Vec<_>>()
    });
}

#[test]
fn threat_model_names_existing_files() {
    let security = read("SECURITY.md");
    let rows = security.lines().filter(|line| line.starts_with('|'));
    let paths: Vec<&str> = rows
        .flat_map(|row| row.split('`'))
        .filter(|text| text.split('/').next_back().is_some_and(|name| name.split('.').next_back() == Some("rs")))
        .collect();
    assert!(paths.len() > 40, "the table is there: {paths:?}");
    for path in paths {
        assert!(repository().join(path).is_file(), "SECURITY.md names {path}, which does not exist");
    }
}

/// The messages of the log lines of a level: each is the last argument, a text.
fn log_messages(level: &str) -> BTreeSet<String> {
    let (sources, macro_call) = (sources(&["src"]), format!("tracing::{level}!("));
    let calls = sources.values().flat_map(|text| text.split(&macro_call).skip(1).map(last_text));
    // That one is a guest's text, at the level that the guest chose.
    calls.filter(|message| *message != "plugin message").map(str::to_owned).collect()
}

/// The last text among the arguments of a call, which begin here.
fn last_text(arguments: &str) -> &str {
    let (mut depth, mut last) = (1_u32, "");
    // Code and texts alternate.
    for (at, part) in arguments.split('"').enumerate() {
        if at % 2 == 1 {
            last = part;
            continue;
        }
        for character in part.chars() {
            match character {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return last;
            }
        }
    }
    panic!("a call without an end: {arguments}")
}

/// The messages in the first column of a table of docs/troubleshooting.md.
fn documented_messages(heading: &str) -> BTreeSet<String> {
    let document = read("docs/troubleshooting.md");
    let section =
        document.split(&format!("### {heading}")).nth(1).expect("a section").split("\n#").next().expect("one");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    rows.flat_map(|cell| cell.split('`').step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn log_messages_are_documented_by_level() {
    for (level, heading) in [("error", "Errors"), ("warn", "Warnings"), ("info", "Information")] {
        let (logged, mut documented) = (log_messages(level), documented_messages(heading));
        // The log writes this one itself.
        documented.remove("log lines dropped");
        let difference: Vec<_> = logged.symmetric_difference(&documented).collect();
        assert!(difference.is_empty(), "{heading} of docs/troubleshooting.md and the code differ: {difference:#?}");
    }
}

#[test]
fn changelog_has_this_version() {
    let version = concat!("## [", env!("CARGO_PKG_VERSION"), "]");
    let changelog = read("CHANGELOG.md");
    assert!(changelog.contains(version) || changelog.contains("## [Unreleased]"), "no section for {version}");
}

#[test]
fn specification_names_existing_tests() {
    let tests: String = sources(&["src", "tests", "plugins", "scaffold"]).into_values().collect();
    let promises = read("SPECIFICATION.md");
    let mut named = 0;
    for name in promises.split('`').skip(1).step_by(2).filter_map(|code| code.strip_suffix("()")) {
        named += 1;
        assert!(tests.contains(&format!("fn {name}(")), "SPECIFICATION.md names a test that does not exist: {name}");
    }
    assert!(named > 10, "SPECIFICATION.md names its tests");
}
