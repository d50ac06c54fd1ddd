//! The cache of compiled plugins: entries are loaded if they can be trusted, and otherwise compiled again.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::compile::slow_to_compile;
use crate::guest::Guest;
use crate::harness::{Agent, NOBODY, Sample, Setup, value, wait_until};
use crate::skip::{current_test, skip};

/// A setup with one plugin, and the entry of that plugin in the cache.
fn host_with_entry() -> (Setup, PathBuf) {
    let setup = Setup::new();
    Guest::new("one").install(&setup.plugin("one.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(counts(&sample), (1, 0), "{log}");
    let entries = entries(&setup.cache());
    assert_eq!(entries.len(), 1, "{entries:?}");
    let entry = entries.into_iter().next().expect("one");
    (setup, entry)
}

fn entries(cache: &Path) -> Vec<PathBuf> {
    fs::read_dir(cache).expect("readable").map(|entry| entry.expect("readable").path()).collect()
}

/// How many plugins were compiled, and how many were found in the cache.
fn counts(sample: &Sample) -> (u64, u64) {
    let count = |metric: &str| sample["agent"][metric].as_u64().expect("a count");
    (count("compiled_total"), count("cache_hits_total"))
}

/// Asserts that a plugin whose entry was changed is compiled again, with one warning, and that the next start finds the new
/// entry.
fn assert_compiled_again(change: impl FnOnce(&Path), reason: &str) {
    let (setup, entry) = host_with_entry();
    change(&entry);
    let (sample, log) = setup.once();
    assert_eq!(counts(&sample), (1, 0), "{log}");
    assert!(value(&sample, "one").is_some(), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(matches!(&*lines, [line] if line.contains(reason)), "{reason} in {log}");
    let (sample, log) = setup.once();
    assert_eq!(counts(&sample), (0, 1), "{log}");
    assert!(value(&sample, "one").is_some() && !log.contains("WARN"), "{log}");
}

#[test]
fn second_start_compiles_nothing() {
    let setup = Setup::new();
    for n in 0..100 {
        Guest::new(&format!("p{n}")).install(&setup.plugin(&format!("p{n}.wasm")));
    }
    let mut agent = setup.start(&["--interval", "200ms"]);
    let are_up = |sample: &Sample| (0..100).all(|n| value(sample, &format!("p{n}")).is_some());
    let sample = agent.wait(are_up);
    assert_eq!(counts(&sample), (100, 0), "{}", agent.log());
    // Entries are written after the plugins serve.
    let is_entry = |path: &PathBuf| path.extension().is_none();
    wait_until("100 entries", || entries(&setup.cache()).iter().filter(|path| is_entry(path)).count() == 100);
    agent.terminate();
    let mut agent = setup.start(&["--interval", "200ms"]);
    let sample = agent.wait(are_up);
    assert_eq!(counts(&sample), (0, 100), "{}", agent.log());
}

#[test]
fn cached_plugin_does_not_wait_for_the_compiler() {
    let (setup, _) = host_with_entry();
    for n in 0..10 {
        // Their names sort before it, and each takes a minute.
        slow_to_compile().value(n).install(&setup.plugin(&format!("a{n}.wasm")));
    }
    let mut agent = setup.start(&["--interval", "100ms"]);
    let sample = agent.wait(|sample| value(sample, "one").is_some());
    assert_eq!(counts(&sample).1, 1, "{}", agent.log());
    let sample = agent.wait(|sample| counts(sample).0 >= 2);
    assert_eq!(counts(&sample).0, 2, "two plugins are compiled at a time");
}

#[test]
fn content_shared_by_plugins_is_compiled_once() {
    let setup = Setup::new();
    for n in 0..6 {
        Guest::new("same").install(&setup.plugin(&format!("p{n}.wasm")));
    }
    let (sample, log) = setup.once();
    let (compiled, hits) = counts(&sample);
    assert!(compiled <= 2 && compiled + hits == 6, "{compiled} compiled, {hits} found\n{log}");
}

#[test]
fn renamed_copy_is_found_in_the_cache() {
    let (setup, _) = host_with_entry();
    fs::copy(setup.plugin("one.wasm"), setup.plugin("two.wasm")).expect("copied");
    let (sample, log) = setup.once();
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
    assert_compiled_again(change, "problem=\"entry removed\" reason=\"an entry is damaged\"");
}

#[test]
fn a_truncated_entry_is_compiled_again() {
    let cut = |length: u64| {
        move |entry: &Path| {
            let file = fs::File::options().write(true).open(entry).expect("open");
            file.set_len(length).expect("cut");
        }
    };
    assert_compiled_again(cut(0), "problem=\"entry removed\" reason=\"an entry is truncated\"");
    assert_compiled_again(cut(1000), "problem=\"entry removed\" reason=\"an entry is damaged\"");
}

#[test]
fn untrusted_entry_is_compiled_again() {
    let open_up = |entry: &Path| fs::set_permissions(entry, fs::Permissions::from_mode(0o666)).expect("set");
    assert_compiled_again(open_up, "problem=\"entry removed\" reason=\"an entry can be written by others\"");
    let replace_by_link = |entry: &Path| {
        let target = entry.with_extension("target");
        fs::rename(entry, &target).expect("moved");
        symlink(target, entry).expect("linked");
    };
    assert_compiled_again(replace_by_link, "problem=\"entry removed\" reason=\"an entry is a symbolic link\"");
    if rustix::process::geteuid().is_root() {
        let give_away = |entry: &Path| chown(entry, Some(NOBODY), None).expect("given away");
        assert_compiled_again(give_away, "problem=\"entry removed\" reason=\"an entry belongs to another user\"");
    } else {
        skip(&current_test(), "only root can give a file to another user");
    }
}

/// Asserts that the cache directory is not used, with one warning, and that the plugin runs without it.
fn assert_cache_unused(setup: &Setup, reason: &str) {
    let (sample, log) = setup.once();
    assert!(value(&sample, "one").is_some(), "{log}");
    assert_eq!(counts(&sample), (1, 0), "{log}");
    assert!(log.lines().filter(|line| line.contains("WARN")).all(|line| line.contains(reason)), "{reason} in {log}");
    assert_eq!(log.matches(reason).count(), 1, "{reason} in {log}");
}

#[test]
fn cache_directory_must_be_private() {
    let (setup, _) = host_with_entry();
    let cache = setup.cache();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).expect("set");
    assert_cache_unused(&setup, "is open to others, with mode 755\" remedy=\"chmod it to 700\"");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).expect("set");
    fs::rename(&cache, setup.path("target")).expect("moved");
    symlink(setup.path("target"), &cache).expect("linked");
    assert_cache_unused(&setup, "is a symbolic link\" remedy=\"name the directory that it leads to\"");
    fs::remove_file(&cache).expect("removed");
    fs::write(&cache, "").expect("written");
    assert_cache_unused(&setup, "is not a directory\" remedy=\"remove the file that is there\"");
    if rustix::process::geteuid().is_root() {
        fs::remove_file(&cache).expect("removed");
        fs::create_dir(&cache).expect("created");
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).expect("set");
        chown(&cache, Some(NOBODY), None).expect("given away");
        assert_cache_unused(&setup, "belongs to user 65534\" remedy=\"give it to user 0, which the agent runs as\"");
    } else {
        skip(&current_test(), "only root can give a directory to another user");
    }
}

#[test]
fn unwritable_cache_is_reported_once() {
    let setup = Setup::new();
    for name in ["one", "two", "three"] {
        Guest::new(name).install(&setup.plugin(&format!("{name}.wasm")));
    }
    fs::create_dir(setup.cache()).expect("created");
    let mut command = setup.command_without_root(&["--once"]);
    if rustix::process::geteuid().is_root() {
        chown(setup.cache(), Some(NOBODY), None).expect("given away");
    }
    fs::set_permissions(setup.cache(), fs::Permissions::from_mode(0o500)).expect("set");
    let output = command.output().expect("it runs");
    let log = String::from_utf8(output.stderr).expect("text");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    let is_expected = |line: &str| {
        line.contains("problem=\"cannot be written\" reason=\"Permission denied") && line.contains("make it writable")
    };
    assert!(matches!(&*lines, [line] if is_expected(line)), "{log}");
    assert_eq!(log.matches("plugin loaded").count(), 3, "{log}");
}

#[test]
fn removed_cache_directory_is_created_again() {
    let (setup, _) = host_with_entry();
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "one").is_some());
    for (count, name) in (1..).zip(["two", "three"]) {
        fs::remove_dir_all(setup.cache()).expect("removed");
        Guest::new(name).install(&setup.plugin(&format!("{name}.wasm")));
        let sample = agent.wait(|sample| value(sample, name).is_some());
        assert_eq!(counts(&sample), (count, 1), "{}", agent.log());
        // Entries are written after the plugins serve, and renamed when they are complete.
        let is_entry =
            |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.path().extension().is_none());
        wait_until("an entry", || fs::read_dir(setup.cache()).is_ok_and(|mut entries| entries.any(is_entry)));
        assert_eq!(fs::metadata(setup.cache()).expect("there").permissions().mode() & 0o777, 0o700);
    }
    assert!(!agent.log().contains("WARN"), "{}", agent.log());
    agent.terminate();
    let (sample, log) = setup.once();
    assert_eq!(counts(&sample), (2, 1), "the entry of the last one is found: {log}");
}

#[test]
fn cache_is_used_again_once_it_is_repaired() {
    let (setup, _) = host_with_entry();
    fs::set_permissions(setup.cache(), fs::Permissions::from_mode(0o755)).expect("set");
    let mut agent = setup.start(&["--interval", "100ms"]);
    let sample = agent.wait(|sample| value(sample, "one").is_some());
    assert_eq!(counts(&sample), (1, 0), "{}", agent.log());
    agent.wait_log("artifact cache problem");
    fs::set_permissions(setup.cache(), fs::Permissions::from_mode(0o700)).expect("set");
    // The same content as that of the entry.
    fs::copy(setup.plugin("one.wasm"), setup.path("two")).expect("copied");
    fs::rename(setup.path("two"), setup.plugin("two.wasm")).expect("renamed");
    agent.wait(|sample| counts(sample) == (1, 1));
    assert_eq!(agent.log().matches("artifact cache problem").count(), 1, "{}", agent.log());
}

#[test]
fn old_and_excess_entries_are_removed() {
    let (setup, entry) = host_with_entry();
    let day = Duration::from_secs(24 * 60 * 60);
    let file = |name: String, gigabytes: u64, age: Duration| {
        let path = setup.cache().join(name);
        let file = fs::File::create(&path).expect("created");
        file.set_len(gigabytes << 30).expect("a sparse file");
        file.set_modified(SystemTime::now() - age).expect("set");
        path
    };
    let old = file("a".repeat(64), 0, 181 * day);
    let unfinished = file(format!("{}.1.new", "b".repeat(64)), 0, day);
    let excess = file("c".repeat(64), 1, 2 * day);
    let unrelated = file("notes".to_owned(), 2, 400 * day);
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.wait(|_| [&old, &unfinished, &excess].iter().all(|path| !path.exists()));
    assert!(entry.exists() && unrelated.exists());
}

#[test]
fn two_agents_share_a_cache() {
    let setup = Setup::new();
    for n in 0..10 {
        Guest::new(&format!("p{n}")).install(&setup.plugin(&format!("p{n}.wasm")));
    }
    let are_up = |sample: &Sample| (0..10).all(|n| value(sample, &format!("p{n}")).is_some());
    let mut agents: Vec<Agent> = (0..2).map(|_| setup.start(&["--interval", "100ms"])).collect();
    for agent in &mut agents {
        agent.wait(are_up);
        assert!(!agent.log().contains("WARN"), "{}", agent.log());
    }
    agents.clear();
    let (sample, log) = setup.once();
    assert_eq!(counts(&sample), (0, 10), "{log}");
}

#[test]
fn cache_key_sets_the_cache_directory() {
    let setup = Setup::new();
    let cache = setup.path("named");
    fs::write(setup.path("gauged.toml"), format!("cache = {:?}\n", cache.display())).expect("written");
    Guest::new("one").install(&setup.plugin("one.wasm"));
    setup.once();
    assert_eq!(entries(&cache).len(), 1);
    assert!(!setup.cache().exists());
    fs::write(setup.path("gauged.toml"), "cache = \"named\"\n").expect("written");
    let log = String::from_utf8(setup.run(&["check"]).stderr).expect("text");
    assert!(log.contains("gauged.toml:1: cache: \"named\" is not an absolute path; write it like"), "{log}");
}
