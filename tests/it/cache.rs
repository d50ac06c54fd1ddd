//! What was compiled once is loaded from the cache, if it is to be trusted, and otherwise compiled again.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::compile::slow;
use crate::guest::Guest;
use crate::harness::{Agent, Host, Sample, value};

/// A host with one plugin, and what its agent has made of it in the cache.
fn filled() -> (Host, PathBuf) {
    let host = Host::new();
    Guest::new("one").install(&host.plugin("one.wasm"));
    let (sample, log) = host.once();
    assert_eq!(counts(&sample), (1, 0), "{log}");
    let entries = entries(&host.cache());
    assert_eq!(entries.len(), 1, "{entries:?}");
    let entry = entries.into_iter().next().expect("one");
    (host, entry)
}

fn entries(cache: &Path) -> Vec<PathBuf> {
    fs::read_dir(cache).expect("readable").map(|entry| entry.expect("readable").path()).collect()
}

/// How many plugins were compiled, and how many were in the cache.
fn counts(sample: &Sample) -> (u64, u64) {
    let count = |metric: &str| sample["agent"][metric].as_u64().expect("a count");
    (count("compiled_total"), count("cache_hits_total"))
}

/// One start after something was done to the entry: it is compiled again, in one line, and found by the next start.
fn is_compiled_again(harm: impl FnOnce(&Path), why: &str) {
    let (host, entry) = filled();
    harm(&entry);
    let (sample, log) = host.once();
    assert_eq!(counts(&sample), (1, 0), "{log}");
    assert!(value(&sample, "one").is_some(), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(matches!(&*lines, [line] if line.contains(why)), "{why} in {log}");
    let (sample, log) = host.once();
    assert_eq!(counts(&sample), (0, 1), "{log}");
    assert!(value(&sample, "one").is_some() && !log.contains("WARN"), "{log}");
}

#[test]
fn second_start_compiles_nothing() {
    let host = Host::new();
    for n in 0..100 {
        Guest::new(&format!("p{n}")).install(&host.plugin(&format!("p{n}.wasm")));
    }
    let mut agent = host.start(&["--interval", "200ms"]);
    let are_up = |sample: &Sample| (0..100).all(|n| value(sample, &format!("p{n}")).is_some());
    let sample = agent.wait(are_up);
    assert_eq!(counts(&sample), (100, 0), "{}", agent.log());
    // Entries are written after the plugin serves.
    agent.terminate();
    assert!(entries(&host.cache()).len() >= 99);
    let mut agent = host.start(&["--interval", "200ms"]);
    let sample = agent.wait(are_up);
    assert_eq!(counts(&sample), (0, 100), "{}", agent.log());
}

#[test]
fn cached_plugin_does_not_wait_for_the_compiler() {
    let (host, _) = filled();
    for n in 0..10 {
        // Before it by their names, and each of them for a minute.
        slow().value(n).install(&host.plugin(&format!("a{n}.wasm")));
    }
    let mut agent = host.start(&["--interval", "100ms"]);
    let sample = agent.wait(|sample| value(sample, "one").is_some());
    assert_eq!(counts(&sample).1, 1, "{}", agent.log());
    let sample = agent.wait(|sample| counts(sample).0 >= 2);
    assert_eq!(counts(&sample).0, 2, "two are compiled at a time");
}

#[test]
fn content_shared_by_plugins_is_compiled_once() {
    let host = Host::new();
    for n in 0..6 {
        Guest::new("same").install(&host.plugin(&format!("p{n}.wasm")));
    }
    let (sample, log) = host.once();
    let (compiled, hits) = counts(&sample);
    assert!(compiled <= 2 && compiled + hits == 6, "{compiled} compiled, {hits} found\n{log}");
}

#[test]
fn renamed_copy_is_found_in_the_cache() {
    let (host, _) = filled();
    fs::copy(host.plugin("one.wasm"), host.plugin("two.wasm")).expect("copied");
    let (sample, log) = host.once();
    assert_eq!(counts(&sample), (0, 2), "{log}");
}

#[test]
fn damaged_entry_is_compiled_again() {
    let change = |entry: &Path| {
        let mut bytes = fs::read(entry).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(entry, bytes).expect("written");
    };
    is_compiled_again(change, "is damaged; it is removed and compiled again");
}

#[test]
fn a_truncated_entry_is_compiled_again() {
    let cut = |length: u64| {
        move |entry: &Path| {
            let file = fs::File::options().write(true).open(entry).expect("open");
            file.set_len(length).expect("cut");
        }
    };
    is_compiled_again(cut(0), "is truncated; it is removed");
    is_compiled_again(cut(1000), "is damaged; it is removed");
}

#[test]
fn untrusted_entry_is_compiled_again() {
    let open_up = |entry: &Path| fs::set_permissions(entry, fs::Permissions::from_mode(0o666)).expect("set");
    is_compiled_again(open_up, "can be written by others; it is removed");
    let replace_by_link = |entry: &Path| {
        let elsewhere = entry.with_extension("elsewhere");
        fs::rename(entry, &elsewhere).expect("moved");
        symlink(elsewhere, entry).expect("linked");
    };
    is_compiled_again(replace_by_link, "is a symbolic link; it is removed");
    if rustix::process::geteuid().is_root() {
        let give_away = |entry: &Path| chown(entry, Some(65534), None).expect("given away");
        is_compiled_again(give_away, "belongs to another user; it is removed");
    } else {
        eprintln!("NOT TESTED: only root can give a file to somebody else");
    }
}

/// The directory is not used as it is, which is said in one line, and plugins run all the same.
fn does_without(host: &Host, why: &str) {
    let (sample, log) = host.once();
    assert!(value(&sample, "one").is_some(), "{log}");
    assert_eq!(counts(&sample), (1, 0), "{log}");
    assert!(log.lines().filter(|line| line.contains("WARN")).all(|line| line.contains(why)), "{why} in {log}");
    assert_eq!(log.matches(why).count(), 1, "{why} in {log}");
}

#[test]
fn cache_directory_must_be_private() {
    let (host, _) = filled();
    let cache = host.cache();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).expect("set");
    does_without(&host, "is open to others, with mode 755; chmod it to 700, or name another by the key cache; until");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).expect("set");
    fs::rename(&cache, host.path("elsewhere")).expect("moved");
    symlink(host.path("elsewhere"), &cache).expect("linked");
    does_without(&host, "is a symbolic link; name the directory that it leads to, or name another by the key cache");
    fs::remove_file(&cache).expect("removed");
    fs::write(&cache, "").expect("written");
    does_without(&host, "cannot be created");
    if rustix::process::geteuid().is_root() {
        fs::remove_file(&cache).expect("removed");
        fs::create_dir(&cache).expect("created");
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).expect("set");
        chown(&cache, Some(65534), None).expect("given away");
        does_without(&host, "belongs to user 65534; give it to user 0, which the agent runs as");
    } else {
        eprintln!("NOT TESTED: only root can give a directory to somebody else");
    }
}

#[test]
fn unwritable_cache_is_reported_once() {
    let host = Host::new();
    for name in ["one", "two", "three"] {
        Guest::new(name).install(&host.plugin(&format!("{name}.wasm")));
    }
    fs::create_dir(host.cache()).expect("created");
    let mut command = host.command(&["--once"]);
    if rustix::process::geteuid().is_root() {
        // Permissions mean nothing to root.
        let binary = host.path("gauged");
        fs::copy(env!("CARGO_BIN_EXE_gauged"), &binary).expect("copied");
        fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).expect("set");
        chown(host.cache(), Some(65534), None).expect("given away");
        command = Command::new(binary);
        command.arg("--once").current_dir(host.path("")).env("CACHE_DIRECTORY", host.cache()).uid(65534).gid(65534);
    }
    fs::set_permissions(host.cache(), fs::Permissions::from_mode(0o500)).expect("set");
    let output = command.output().expect("it runs");
    let log = String::from_utf8(output.stderr).expect("text");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    let is_it = |line: &str| {
        line.contains("cannot be written: Permission denied") && line.contains("make it writable and leave it room")
    };
    assert!(matches!(&*lines, [line] if is_it(line)), "{log}");
    assert_eq!(log.matches(" loaded").count(), 3, "{log}");
}

#[test]
fn old_and_excess_entries_are_removed() {
    let (host, entry) = filled();
    let day = Duration::from_secs(24 * 60 * 60);
    let file = |name: String, gigabytes: u64, age: Duration| {
        let path = host.cache().join(name);
        let file = fs::File::create(&path).expect("created");
        file.set_len(gigabytes << 30).expect("grown, but not on the disk");
        file.set_modified(SystemTime::now() - age).expect("set");
        path
    };
    let old = file("a".repeat(64), 0, 181 * day);
    let unfinished = file(format!("{}.1.new", "b".repeat(64)), 0, day);
    let too_much = file("c".repeat(64), 1, 2 * day);
    let strange = file("notes".to_owned(), 2, 400 * day);
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.wait(|_| [&old, &unfinished, &too_much].iter().all(|path| !path.exists()));
    assert!(entry.exists() && strange.exists());
}

#[test]
fn two_agents_share_a_cache() {
    let host = Host::new();
    for n in 0..10 {
        Guest::new(&format!("p{n}")).install(&host.plugin(&format!("p{n}.wasm")));
    }
    let are_up = |sample: &Sample| (0..10).all(|n| value(sample, &format!("p{n}")).is_some());
    let mut agents: Vec<Agent> = (0..2).map(|_| host.start(&["--interval", "100ms"])).collect();
    for agent in &mut agents {
        agent.wait(are_up);
        assert!(!agent.log().contains("WARN"), "{}", agent.log());
    }
    agents.clear();
    let (sample, log) = host.once();
    assert_eq!(counts(&sample), (0, 10), "{log}");
}

#[test]
fn cache_key_sets_the_cache_directory() {
    let host = Host::new();
    let cache = host.path("named");
    fs::write(host.path("gauged.toml"), format!("cache = {:?}\n", cache.display())).expect("written");
    Guest::new("one").install(&host.plugin("one.wasm"));
    host.once();
    assert_eq!(entries(&cache).len(), 1);
    assert!(!host.cache().exists());
    fs::write(host.path("gauged.toml"), "cache = \"named\"\n").expect("written");
    let log = String::from_utf8(host.run(&["check"]).stderr).expect("text");
    assert!(log.contains("gauged.toml:1: cache: \"named\" is not an absolute path; write it like"), "{log}");
}
