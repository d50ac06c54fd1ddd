//! `gauged plugin new`: the files that it makes, and its errors. `plugins/test-scaffolds.sh` builds and tests the projects.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Said, plugin};
use crate::harness::{Host, repository};

const LANGUAGES: [&str; 4] = ["rust", "python", "javascript", "c"];

fn new_project(host: &Host, name: &str, language: &str) -> PathBuf {
    let said = plugin(host, &["new", name, "--lang", language]);
    let told = format!("made ./{name}; its README.md says how to build and test it\n");
    assert_eq!((said.code, said.out, &*said.err), (Some(0), told, ""));
    host.path(name)
}

/// All files below a directory, with their paths from there.
fn files(directory: &Path) -> BTreeMap<String, String> {
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
fn new_project_is_complete_and_named() {
    let host = Host::new();
    for language in LANGUAGES {
        let made = files(&new_project(&host, &format!("my-{language}"), language));
        for common in ["README.md", "build.sh", "test.sh", ".gitignore", "wit/gauged.wit"] {
            assert!(made.contains_key(common), "{language} has no {common}");
        }
        assert_eq!(made["wit/gauged.wit"], fs::read_to_string(repository().join("wit/gauged.wit")).expect("readable"));
        for (name, text) in &made {
            let is_open = text.contains("PLUGIN_NAME") || text.contains("PLUGIN_MODULE");
            assert!(!is_open, "{language}: {name} has a name left open");
            let file = host.path(&format!("my-{language}")).join(name);
            let is_run = fs::metadata(&file).expect("there").permissions().mode() & 0o111 != 0;
            assert_eq!(is_run, file.extension().is_some_and(|extension| extension == "sh"), "{language}: {name}");
        }
        assert!(made["README.md"].contains(&format!("my_{language}.forks_total")), "{}", made["README.md"]);
    }
}

#[test]
fn missing_build_tool_is_reported_with_remedy() {
    let host = Host::new();
    let tools = host.path("tools");
    fs::create_dir(&tools).expect("created");
    for tool in ["dirname", "sed", "find", "head", "ls"] {
        let found = ["/usr/bin", "/bin"].iter().map(|directory| Path::new(directory).join(tool));
        symlink(found.into_iter().find(|path| path.exists()).expect(tool), tools.join(tool)).expect("linked");
    }
    for (language, why) in [
        ("rust", "build.sh: cargo is not installed; install Rust, version 1.85 or later, from https://rustup.rs\n"),
        (
            "python",
            "build.sh: componentize-py is not installed; run 'python3 -m venv .venv && .venv/bin/pip install -r \
             requirements.txt'\n",
        ),
        ("javascript", "build.sh: node is not installed; install Node.js, version 20 or later\n"),
        (
            "c",
            "build.sh: there is no clang; install clang and lld, version 14 or later, as in 'apt-get install clang \
             lld', or name it by CLANG\n",
        ),
    ] {
        let project = new_project(&host, language, language);
        let build = |script: &str| -> Said {
            Command::new(project.join(script)).env("PATH", &tools).output().expect("it runs").into()
        };
        let said = build("build.sh");
        assert_eq!((said.code, &*said.err), (Some(1), why));
        let said = build("test.sh");
        assert_eq!(said.code, Some(1));
        assert!(said.err.starts_with("test.sh: ") && said.err.contains("install"), "{}", said.err);
        let left: Vec<String> = files(&project).into_keys().filter(|name| name.contains("wasm")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn existing_files_stay_and_partial_projects_are_removed() {
    let host = Host::new();
    let made = |name: &str, into: &str| plugin(&host, &["new", name, "--lang", "c", "--into", into]);
    fs::create_dir(host.path("empty")).expect("created");
    assert_eq!(made("empty", ".").code, Some(0));
    fs::write(host.path("file"), "mine").expect("written");
    for (name, into, why) in [
        (
            "empty",
            ".",
            "./empty is there already, and no empty directory; choose another name, or another place by --into\n",
        ),
        (
            "file",
            ".",
            "./file is there already, and no empty directory; choose another name, or another place by --into\n",
        ),
        ("new", "nowhere", "failed to make a directory in nowhere: No such file or directory (os error 2)\n"),
        ("new", "file", "failed to make a directory in file: Not a directory (os error 20)\n"),
    ] {
        let said = made(name, into);
        assert_eq!((said.code, &*said.out, &*said.err), (Some(1), "", why));
    }
    assert_eq!(fs::read_to_string(host.path("file")).expect("readable"), "mine");
    for words in [
        &["new", "9", "--lang", "c"][..],
        &["new", "../x", "--lang", "c"],
        &["new", "gauged-plugin", "--lang", "rust"],
        &["new", "x", "--lang", "cobol"],
        &["new", "x"],
    ] {
        assert_eq!(plugin(&host, words).code, Some(2), "{words:?}");
    }
    let mut there: Vec<_> =
        fs::read_dir(host.path("")).expect("readable").map(|entry| entry.expect("readable").file_name()).collect();
    there.sort();
    assert_eq!(there, ["empty", "file", "plugins"]);
}
