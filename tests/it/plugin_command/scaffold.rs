//! `gauged plugin new`. What it makes in Rust is built and tested here; what takes other compilers, by
//! `plugins/test-scaffolds.sh`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Said, plugin};
use crate::harness::{Host, repository};

const LANGUAGES: [&str; 4] = ["rust", "python", "javascript", "c"];

fn begin(host: &Host, name: &str, language: &str) -> PathBuf {
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

/// Where cargo builds what is made in Rust: what is fetched is built once, and as plugins are anew when their compiler is
/// another.
fn built() -> PathBuf {
    repository().join("plugins/target/wasm32-unknown-unknown/scaffold")
}

/// Runs something that cargo has a part in. What the SDK is built with has to be there; nothing else is fetched.
pub fn run(command: &mut Command) -> Said {
    let plugins = repository().join("plugins");
    let fetched = Command::new(env!("CARGO")).args(["fetch", "--locked"]).current_dir(plugins).output();
    assert!(fetched.expect("cargo runs").status.success(), "what the SDK is built with cannot be fetched");
    command.env("CARGO_TARGET_DIR", built()).env("CARGO_NET_OFFLINE", "true").output().expect("it runs").into()
}

#[test]
fn a_project_in_rust_is_built_and_tested_with_nothing_but_what_it_has() {
    let host = Host::new();
    let project = begin(&host, "my-processes", "rust");
    let mut test = Command::new(project.join("test.sh"));
    let said = run(test.env("GAUGED", env!("CARGO_BIN_EXE_gauged")).env("CACHE_DIRECTORY", host.cache()));
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.contains("\nall is well\n") && said.out.contains("test result: ok. 4 passed"), "{}", said.out);
    let inspected = plugin(&host, &["inspect", "my-processes/my-processes.wasm", "--json"]).json();
    assert_eq!(inspected["metrics"][0]["module"], "my_processes");
    assert_eq!(inspected["needs"][0]["granted"], "all");
    let elsewhere = &["test", "my-processes/my-processes.wasm", "--set", "file=/etc/hostname", "--json"];
    let denied = plugin(&host, elsewhere);
    assert_eq!((denied.code, &denied.json()["configuration"][1]), (Some(1), &"read = [\"/etc/hostname\"]".into()));
    let unknown = plugin(&host, &["test", "my-processes/my-processes.wasm", "--set", "path=/x"]);
    assert!(unknown.out.contains("path: unknown key; remove it, or use one of file"), "{}", unknown.out);
}

#[test]
fn a_project_among_these_plugins_is_built_with_them() {
    let host = Host::new();
    let plugins = host.path("checkout/plugins");
    fs::create_dir_all(plugins.join("sdk")).expect("created");
    for (from, to) in [("plugins/sdk", "sdk"), ("wit", "../wit")] {
        for (name, text) in files(&repository().join(from)) {
            let path = plugins.join(to).join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("created");
            fs::write(path, text).expect("written");
        }
    }
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(repository().join("plugins").join(name), plugins.join(name)).expect("copied");
    }
    let said = plugin(&host, &["new", "mine", "--lang", "rust", "--into", "checkout/plugins"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(files(&plugins.join("mine")).keys().collect::<Vec<_>>(), ["Cargo.toml", "README.md", "src/lib.rs"]);
    let said = run(Command::new(env!("CARGO")).args(["test", "-p", "mine"]).current_dir(&plugins));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("test result: ok. 4 passed"), "{}", said.out);
}

#[test]
fn a_project_is_complete_and_has_its_own_name() {
    let host = Host::new();
    for language in LANGUAGES {
        let made = files(&begin(&host, &format!("my-{language}"), language));
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
fn a_tool_that_is_missing_is_named_with_the_remedy() {
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
        let project = begin(&host, language, language);
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
fn what_is_there_already_stays_and_nothing_is_left_half_made() {
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

#[test]
fn the_bindings_for_c_are_those_of_the_contract() {
    let said = Command::new(env!("CARGO"))
        .args(["test", "--locked"])
        .current_dir(repository().join("scaffold/generate"))
        .env_remove("CARGO_TARGET_DIR")
        .output();
    let said = Said::from(said.expect("cargo runs"));
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.contains("the_checked_in_bindings_are_those_of_the_contract ... ok"), "{}", said.out);
}
