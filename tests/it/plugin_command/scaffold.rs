//! `gauged plugin new`: the files that it makes, and its errors. `plugins/test-scaffolds.sh` builds and tests the projects.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CommandOutput, plugin};
use crate::harness::{Setup, repository};

pub const LANGUAGES: [&str; 8] = ["rust", "python", "javascript", "typescript", "go", "c", "cpp", "zig"];

pub fn new_project(setup: &Setup, name: &str, language: &str) -> PathBuf {
    let output = plugin(setup, &["new", name, "--lang", language]);
    let expected = format!("created ./{name}; its README.md explains how to build and test it\n");
    assert_eq!((output.code, output.stdout, &*output.stderr), (Some(0), expected, ""));
    setup.path(name)
}

/// All files below a directory, with their paths from there.
pub fn files(directory: &Path) -> BTreeMap<String, String> {
    let (mut files, mut open) = (BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("readable").map(|entry| entry.expect("readable").path()) {
            if entry.is_dir() {
                open.push(entry);
            } else {
                let name = entry.strip_prefix(directory).expect("below it").to_str().expect("text").to_owned();
                files.insert(name, fs::read_to_string(&entry).expect("text"));
            }
        }
    }
    files
}

#[test]
pub fn new_project_is_complete_and_named() {
    let setup = Setup::new();
    for language in LANGUAGES {
        let made = files(&new_project(&setup, &format!("my-{language}"), language));
        for common in ["README.md", "build.sh", "test.sh", ".gitignore", "wit/gauged.wit"] {
            assert!(made.contains_key(common), "{language} has no {common}");
        }
        assert_eq!(made["wit/gauged.wit"], fs::read_to_string(repository().join("wit/gauged.wit")).expect("readable"));
        for (name, text) in &made {
            let is_open = text.contains("PLUGIN_NAME") || text.contains("PLUGIN_MODULE");
            assert!(!is_open, "{language}: {name} has a name left open");
            let file = setup.path(&format!("my-{language}")).join(name);
            let is_run = fs::metadata(&file).expect("there").permissions().mode() & 0o111 != 0;
            assert_eq!(is_run, file.extension().is_some_and(|extension| extension == "sh"), "{language}: {name}");
        }
        assert!(made["README.md"].contains(&format!("my_{language}.forks_total")), "{}", made["README.md"]);
    }
}

#[test]
fn missing_build_tool_is_reported_with_remedy() {
    let setup = Setup::new();
    let tools = setup.path("tools");
    fs::create_dir(&tools).expect("created");
    for tool in ["dirname", "sed", "find", "head", "ls"] {
        let found = ["/usr/bin", "/bin"].iter().map(|directory| Path::new(directory).join(tool));
        symlink(found.into_iter().find(|path| path.exists()).expect(tool), tools.join(tool)).expect("linked");
    }
    for (language, why) in [
        ("rust", "build.sh: cargo is not installed; install Rust, version 1.88 or later, from https://rustup.rs\n"),
        (
            "python",
            "build.sh: componentize-py is not installed; run 'python3 -m venv .venv && .venv/bin/pip install -r \
             requirements.txt'\n",
        ),
        ("javascript", "build.sh: node is not installed; install Node.js, version 20 or later\n"),
        ("typescript", "build.sh: node is not installed; install Node.js, version 20 or later\n"),
        ("go", "build.sh: there is no go; install Go, version 1.24 or later, or name it by GO\n"),
        (
            "cpp",
            "build.sh: there is no C++ compiler for WASI; install Zig, as by 'python3 -m venv .venv && .venv/bin/pip \
             install -r requirements.txt', or name one by WASI_CXX, as the clang++ of wasi-sdk\n",
        ),
        (
            "zig",
            "build.sh: there is no zig; install Zig 0.17, as by 'python3 -m venv .venv && .venv/bin/pip install -r \
             requirements.txt', or name it by ZIG\n",
        ),
        (
            "c",
            "build.sh: there is no clang; install clang and lld, version 14 or later, as in 'apt-get install clang \
             lld', or name it by CLANG\n",
        ),
    ] {
        let project = new_project(&setup, language, language);
        let build = |script: &str| -> CommandOutput {
            Command::new(project.join(script)).env("PATH", &tools).output().expect("it runs").into()
        };
        let output = build("build.sh");
        assert_eq!((output.code, &*output.stderr), (Some(1), why));
        let output = build("test.sh");
        assert_eq!(output.code, Some(1));
        assert!(output.stderr.starts_with("test.sh: ") && output.stderr.contains("install"), "{}", output.stderr);
        let left: Vec<String> = files(&project).into_keys().filter(|name| name.contains("wasm")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn existing_files_stay_and_partial_projects_are_removed() {
    let setup = Setup::new();
    let create = |name: &str, into: &str| plugin(&setup, &["new", name, "--lang", "c", "--into", into]);
    fs::create_dir(setup.path("empty")).expect("created");
    assert_eq!(create("empty", ".").code, Some(0));
    fs::write(setup.path("file"), "mine").expect("written");
    for (name, into, why) in [
        (
            "empty",
            ".",
            "./empty exists and is not an empty directory; choose another name, or another directory with --into\n",
        ),
        (
            "file",
            ".",
            "./file exists and is not an empty directory; choose another name, or another directory with --into\n",
        ),
        ("new", "nowhere", "failed to create a directory in nowhere: No such file or directory (os error 2)\n"),
        ("new", "file", "failed to create a directory in file: Not a directory (os error 20)\n"),
    ] {
        let output = create(name, into);
        assert_eq!((output.code, &*output.stdout, &*output.stderr), (Some(1), "", why));
    }
    assert_eq!(fs::read_to_string(setup.path("file")).expect("readable"), "mine");
    for words in [
        &["new", "9", "--lang", "c"][..],
        &["new", "../x", "--lang", "c"],
        &["new", "gauged-plugin", "--lang", "rust"],
        &["new", "x", "--lang", "cobol"],
        &["new", "x"],
    ] {
        assert_eq!(plugin(&setup, words).code, Some(2), "{words:?}");
    }
    let mut there: Vec<_> =
        fs::read_dir(setup.path("")).expect("readable").map(|entry| entry.expect("readable").file_name()).collect();
    there.sort();
    assert_eq!(there, ["empty", "file", "plugins"]);
}
