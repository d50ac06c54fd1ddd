//! The plugins in this repository, as `plugins/build.sh` builds them.

use std::fs;
use std::process::Command;

use crate::harness::{Host, about, repository};

/// What `plugins/build.sh` made of a plugin.
fn built(name: &str) -> Vec<u8> {
    let file = repository().join("plugins").join(name).with_extension("wasm");
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; run plugins/build.sh first", file.display()))
}

#[test]
fn they_run_as_cargo_built_them() {
    let host = Host::configured("interval = \"100ms\"\n");
    for name in ["uptime", "hello"] {
        fs::write(host.plugin(name).with_extension("wasm"), built(name)).expect("copied");
    }
    let mut agent = host.start(&[]);
    let sample = agent.wait(|sample| sample.contains_key("uptime") && sample.contains_key("hello"));
    let seconds = sample["uptime"]["seconds"].as_f64().expect("a number");
    let now: f64 = fs::read_to_string("/proc/uptime")
        .expect("readable")
        .split(' ')
        .next()
        .expect("two")
        .parse()
        .expect("a number");
    assert!((now - 60.0..=now).contains(&seconds), "{seconds} at {now}");
    let first = sample["hello"]["greetings_total"].as_u64().expect("a number");
    assert_eq!(agent.next()["hello"]["greetings_total"], first + 1, "it keeps its memory");
    for name in ["uptime", "hello"] {
        assert_eq!(about(&sample, "plugin_up", name), Some(1.0));
    }
}

#[test]
fn their_own_tests_pass() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--locked"]).current_dir(repository().join("plugins")).env_remove("CARGO_TARGET_DIR");
    let output = cargo.output().expect("cargo runs");
    let says = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{says}");
}

#[test]
fn building_them_again_changes_nothing() {
    let build = || {
        let output = Command::new(repository().join("plugins/build.sh")).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = fs::metadata(repository().join("plugins/hello.wasm")).expect("it is there");
        (built("hello"), file.modified().expect("the file system knows"))
    };
    assert_eq!(build(), build());
}
