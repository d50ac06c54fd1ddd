//! `gauged plugin upgrade`: projects of `gauged plugin new`, made older.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use expect_test::expect;

use super::scaffold::{LANGUAGES, files, new_project};
use super::{CommandOutput, plugin};
use crate::guest::VERSION;
use crate::harness::{Setup, repository};

/// The version of the WIT in older projects.
const OLD: &str = "0.1.9";

fn upgrade(setup: &Setup, arguments: &[&str]) -> CommandOutput {
    plugin(setup, &[&["upgrade"], arguments].concat())
}

/// Changes a file of a project.
fn edit(directory: &Path, file: &str, change: impl Fn(String) -> String) {
    let text = fs::read_to_string(directory.join(file)).expect("readable");
    fs::write(directory.join(file), change(text)).expect("written");
}

/// The line of a record for a file with this content.
fn line(content: &str, path: &str) -> String {
    use sha2::Digest as _;
    format!("{:x}  {path}\n", sha2::Sha256::digest(content))
}

/// Makes the project in C in a directory one of an older agent: another WIT, a file more, and one less.
fn make_older(directory: &Path) {
    let old_wit = format!("package gauged:plugin@{OLD};\n");
    fs::write(directory.join("wit/gauged.wit"), &old_wit).expect("written");
    fs::create_dir(directory.join("vendor")).expect("created");
    fs::write(directory.join("vendor/old.h"), "old").expect("written");
    fs::remove_file(directory.join("bindings/plugin.h")).expect("removed");
    edit(directory, "gauged.sum", |text| {
        let mut old = String::new();
        for kept in
            text.lines().filter(|line| !["wit/gauged.wit", "bindings/plugin.h"].iter().any(|path| line.ends_with(path)))
        {
            old += &(kept.replace(VERSION, OLD) + "\n");
        }
        old + &line("old", "vendor/old.h") + &line(&old_wit, "wit/gauged.wit")
    });
}

#[test]
fn new_projects_need_no_upgrade() {
    let setup = Setup::new();
    for language in LANGUAGES {
        let directory = new_project(&setup, language, language);
        let before = files(&directory);
        let output = upgrade(&setup, &[language]);
        let expected = format!("{language} has the files of gauged 0.1.0 already: gauged:plugin {VERSION}\n");
        assert_eq!((output.code, output.stdout, &*output.stderr), (Some(0), expected, ""));
        assert_eq!(files(&directory), before);
        // Each is in the record, and no other.
        let record = &before["gauged.sum"];
        let vendored = before
            .iter()
            .filter(|(path, _)| ["wit/", "vendor/", "bindings/"].iter().any(|directory| path.starts_with(directory)));
        let lines: BTreeMap<&String, String> = vendored.map(|(path, text)| (path, line(text, path))).collect();
        let head = format!(
            "# Files of gauged in this project. `gauged plugin upgrade` renews them; do not edit them.\n# agent 0.1.0\n# \
             interface {VERSION}\n# language {language}\n"
        );
        assert_eq!(*record, head + &lines.into_values().collect::<String>());
    }
}

#[test]
fn older_project_gets_the_files_of_this_agent() {
    let setup = Setup::new();
    let directory = new_project(&setup, "mine", "c");
    let new = files(&directory);
    make_older(&directory);
    fs::write(directory.join("notes"), format!("a\nfor gauged:plugin/files@{OLD}\nnot for 1{OLD}\n")).expect("written");
    edit(&directory, "src/collector.c", |text| text + "// mine\n");
    let output = upgrade(&setup, &["mine"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{}", output.stdout);
    expect![[r"
        mine has the files of gauged 0.1.0 now: gauged:plugin 0.1.9 -> CURRENT

          added    bindings/plugin.h
          removed  vendor/old.h
          changed  wit/gauged.wit

        left to do
          notes:2         names 0.1.9; write CURRENT
          wit/gauged.wit  compare it with the one before, and change the sources accordingly
          ./test.sh       build and test the plugin
    "]]
    .assert_eq(&output.stdout.replace(VERSION, "CURRENT"));
    // The author's files are as they were, and all others as in a new project.
    let mut after = files(&directory);
    assert!(after.remove("notes").is_some() && !directory.join("vendor").exists());
    assert_eq!(after["src/collector.c"], new["src/collector.c"].clone() + "// mine\n");
    after.insert("src/collector.c".to_owned(), new["src/collector.c"].clone());
    assert_eq!(after, new);
    assert!(upgrade(&setup, &["mine"]).stdout.contains(" already: "));
}

#[test]
fn changed_files_of_gauged_are_kept_unless_forced() {
    let setup = Setup::new();
    let directory = new_project(&setup, "mine", "c");
    let new = files(&directory);
    make_older(&directory);
    edit(&directory, "wit/gauged.wit", |text| text + "// mine\n");
    edit(&directory, "vendor/old.h", |text| text + "// mine\n");
    // A file that the older project does not have as gauged's.
    fs::write(directory.join("bindings/plugin.h"), "mine").expect("written");
    let before = files(&directory);
    let output = upgrade(&setup, &["mine"]);
    let why = "mine was left as it is: files of gauged were changed in it; undo that, or renew them with --force\n  \
               bindings/plugin.h\n  vendor/old.h\n  wit/gauged.wit\n";
    assert_eq!((output.code, &*output.stdout, &*output.stderr), (Some(1), "", why));
    assert_eq!(files(&directory), before);
    let output = upgrade(&setup, &["mine", "--force"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{}", output.stdout);
    assert_eq!(files(&directory), new);
}

#[test]
fn interrupted_upgrade_is_completed() {
    let setup = Setup::new();
    let directory = new_project(&setup, "mine", "c");
    let new = files(&directory);
    make_older(&directory);
    // It had written the WIT, and not yet the record.
    fs::write(directory.join("wit/gauged.wit"), &new["wit/gauged.wit"]).expect("written");
    let output = upgrade(&setup, &["mine"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{}", output.stdout);
    assert_eq!(files(&directory), new);
}

#[test]
fn links_are_replaced_only_when_forced() {
    let setup = Setup::new();
    let directory = new_project(&setup, "mine", "python");
    let new = files(&directory);
    fs::write(setup.path("elsewhere"), "mine").expect("written");
    fs::remove_file(directory.join("wit/gauged.wit")).expect("removed");
    std::os::unix::fs::symlink(setup.path("elsewhere"), directory.join("wit/gauged.wit")).expect("linked");
    let output = upgrade(&setup, &["mine"]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    assert!(output.stderr.contains("\n  wit/gauged.wit\n"), "{}", output.stderr);
    assert_eq!(upgrade(&setup, &["mine", "--force"]).code, Some(0));
    assert_eq!(files(&directory), new);
    assert_eq!(fs::read_to_string(setup.path("elsewhere")).expect("readable"), "mine");
}

#[test]
fn linked_directories_are_not_written_through() {
    let setup = Setup::new();
    let directory = new_project(&setup, "mine", "c");
    let new = files(&directory);
    make_older(&directory);
    for name in ["wit", "vendor"] {
        fs::rename(directory.join(name), setup.path(name)).expect("moved");
        std::os::unix::fs::symlink(setup.path(name), directory.join(name)).expect("linked");
    }
    let behind = || ["wit/gauged.wit", "vendor/old.h"].map(|file| fs::read_to_string(setup.path(file)).expect("kept"));
    let before = behind();
    let output = upgrade(&setup, &["mine"]);
    assert_eq!((output.code, &*output.stdout), (Some(1), ""));
    assert!(output.stderr.ends_with(" --force\n  vendor/old.h\n  wit/gauged.wit\n"), "{}", output.stderr);
    let output = upgrade(&setup, &["mine", "--force"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{}", output.stdout);
    assert_eq!(files(&directory), new);
    assert!(!directory.join("wit").is_symlink() && behind() == before);
}

#[test]
fn newer_projects_and_other_directories_are_refused() {
    let setup = Setup::new();
    fs::create_dir(setup.path("empty")).expect("created");
    for directory in ["empty", "missing"] {
        let output = upgrade(&setup, &[directory]);
        let why = format!(
            "{directory} has no gauged.sum, which `gauged plugin new` writes; name the directory of a project that it made\n"
        );
        assert_eq!((output.code, &*output.stdout, output.stderr), (Some(2), "", why));
    }
    let directory = new_project(&setup, "mine", "c");
    let original = fs::read_to_string(directory.join("gauged.sum")).expect("readable");
    for (from, to, code, why) in [
        ("  wit/", "  src/../", 2, "mine/gauged.sum line 8 is damaged; restore the file from your version control\n"),
        (
            "# interface ",
            "# interface 9",
            1,
            "mine is of gauged 0.1.0 with gauged:plugin 9CURRENT, and this is 0.1.0 with CURRENT; use a newer gauged\n",
        ),
        (
            "# agent 0",
            "# agent 1",
            1,
            "mine is of gauged 1.1.0 with gauged:plugin CURRENT, and this is 0.1.0 with CURRENT; use a newer gauged\n",
        ),
        ("language c", "language cobol", 1, "mine is in cobol, which this gauged does not know; use a newer one\n"),
    ] {
        let text = original.replace(from, to);
        assert_ne!(text, original);
        fs::write(directory.join("gauged.sum"), text).expect("written");
        let before = files(&directory);
        let output = upgrade(&setup, &["mine"]);
        assert_eq!((output.code, &*output.stderr.replace(VERSION, "CURRENT")), (Some(code), why));
        assert_eq!(files(&directory), before);
    }
}

#[test]
fn plugin_of_the_sources_has_nothing_to_renew() {
    let setup = Setup::new();
    let hello = repository().join("plugins/hello");
    let hello = hello.to_str().expect("text");
    let output = upgrade(&setup, &[hello]);
    let expected =
        format!("{hello} has no files of its own to renew: its SDK and WIT are those of the sources around it\n");
    assert_eq!((output.code, output.stdout, &*output.stderr), (Some(0), expected, ""));
}
