//! Native collectors with `enabled = false`.

use std::fs;

use crate::harness::{Sample, Setup, parse};

/// Takes a single sample, which is complete, and asserts that nothing was warned about. Returns the sample and the log.
fn complete_sample(setup: &Setup, arguments: &[&str]) -> (Sample, String) {
    let output = setup.run(&[&["--once"], arguments].concat());
    let log = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    (parse(&String::from_utf8(output.stdout).expect("text")), log)
}

fn modules(sample: &Sample) -> Vec<&str> {
    sample.keys().map(String::as_str).collect()
}

#[test]
fn collectors_that_are_off_have_no_modules() {
    for (toml, expected) in [
        ("[cpu]\nenabled = true\n[load]\nenabled = true\n", &["agent", "cpu", "load", "memory", "swap"][..]),
        ("[cpu]\nenabled = false\nper_core = true\n", &["agent", "load", "memory", "swap"]),
        ("[load]\nenabled = false\n", &["agent", "cpu", "memory", "swap"]),
        ("[memory]\nenabled = false\n", &["agent", "cpu", "load"]),
        ("[cpu]\nenabled = false\n[load]\nenabled = false\n[memory]\nenabled = false\n", &["agent"]),
    ] {
        let (sample, log) = complete_sample(&Setup::with_config(toml), &[]);
        assert_eq!(modules(&sample), expected, "{toml}{log}");
    }
}

#[test]
fn collectors_that_are_off_read_no_files() {
    // On a host without kernel files.
    let setup = Setup::with_config("[cpu]\nenabled = false\n[load]\nenabled = false\n[memory]\nenabled = false\n");
    fs::create_dir(setup.path("host")).expect("created");
    let (sample, log) = complete_sample(&setup, &["--root", "host", "--hostname", "web-1"]);
    assert_eq!((modules(&sample), &*log), (vec!["agent"], ""));
}

#[test]
fn collectors_stay_off_at_each_tick() {
    let setup = Setup::with_config("interval = \"100ms\"\n[load]\nenabled = false\n");
    let mut agent = setup.start(&[]);
    for _ in 0..3 {
        assert_eq!(modules(&agent.next()), ["agent", "cpu", "memory", "swap"]);
    }
}
