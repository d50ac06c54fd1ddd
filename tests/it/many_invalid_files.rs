//! Very many files that are not plugins: a few log lines, and a sample that stays small.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use crate::guest::Guest;
use crate::harness::{Agent, Sample, Setup, plugin_metric, value};

/// How many files there are besides the plugins.
const FILES: usize = 5000;

/// How many plugins that never served and have no table have metrics of their own.
const REPORTED: usize = 100;

/// How many lines the agent may log: on a busy machine the files are loaded in several batches.
const MAX_LOG_LINES: usize = 50;

/// The plugins that the module `agent` has a state of.
fn reported(sample: &Sample) -> BTreeSet<&str> {
    let names =
        sample["agent"].keys().filter_map(|key| key.strip_prefix("plugin_state{plugin=\"")?.strip_suffix("\"}"));
    names.collect()
}

/// How many rejected plugins the lines of the log are about: single ones, and the counts of those that are about many.
fn rejected_in_log(log: &str) -> usize {
    let count = |line: &str| -> usize {
        let rest = line.split_once(" WARN plugins rejected count=").expect("a summary").1;
        rest.split_once(' ').and_then(|(count, _)| count.parse().ok()).expect("a number")
    };
    let singles = log.lines().filter(|line| line.contains(" WARN plugin rejected ")).count();
    singles + log.lines().filter(|line| line.contains(" WARN plugins rejected ")).map(count).sum::<usize>()
}

fn start_with_invalid_files(configuration: &str) -> (Setup, Agent) {
    let setup = Setup::with_config(configuration);
    for number in 0..FILES {
        fs::write(setup.plugin(&format!("file{number:04}.wasm")), format!("{number}")).expect("written");
    }
    // Its name sorts in their middle.
    Guest::new("good").install(&setup.plugin("file2500b.wasm"));
    let agent = setup.start(&[]);
    (setup, agent)
}

#[test]
fn thousands_of_invalid_files_are_summarized() {
    let (setup, mut agent) = start_with_invalid_files("interval = \"1s\"\n[plugins.file4000]\n");
    let sample = agent.wait(|sample| sample["agent"]["plugins_rejected"] == FILES && value(sample, "good").is_some());

    let names = reported(&sample);
    assert_eq!(names.len(), REPORTED + 2, "{names:?}");
    assert!(names.contains("file2500b") && names.contains("file4000"), "{names:?}");
    assert_eq!(sample["agent"]["plugins_omitted"], FILES - 1 - REPORTED);
    assert_eq!(plugin_metric(&sample, "plugin_up", "file2500b"), Some(1.0));
    assert_eq!(sample["agent"]["plugin_state{plugin=\"file4000\"}"], "rejected");
    let length = serde_json::to_string(&sample).expect("JSON").len();
    assert!(length < 100_000, "{length} bytes");

    let log = agent.wait_log_for("all rejections", |log| (rejected_in_log(log) == FILES).then(|| log.to_owned()));
    assert!(log.lines().count() < MAX_LOG_LINES, "{log}");
    assert_eq!(agent.wait_plugin_log("file4000", 1).len(), 1, "the operator expects it to run: {log}");
    let summary = log.lines().find(|line| line.contains("plugins rejected")).expect("one");
    assert!(
        summary.contains(" files=\"plugins/file") && summary.contains("reason=\"is text, not WebAssembly\""),
        "{summary}"
    );
    assert!(summary.ends_with("remedy=\"gauged plugin list plugins shows each\""), "{summary}");
    assert!(summary.len() < 500, "{summary}");

    // One of those without metrics becomes a plugin, and another one goes.
    Guest::new("late").install(&setup.plugin("file4500.wasm"));
    fs::remove_file(setup.plugin("file4501.wasm")).expect("removed");
    let sample =
        agent.wait(|sample| value(sample, "late").is_some() && sample["agent"]["plugins_rejected"] == FILES - 2);
    assert!(reported(&sample).contains("file4500"));
    assert_eq!(sample["agent"]["plugins_omitted"], FILES - 3 - REPORTED);
    agent.assert_no_gaps();
}

#[test]
fn few_invalid_files_have_a_line_each() {
    let setup = Setup::new();
    for name in ["a", "b", "c", "d", "e"] {
        fs::write(setup.plugin(&format!("{name}.wasm")), name).expect("written");
    }
    let (sample, log) = setup.once();
    assert_eq!(sample["agent"]["plugins_rejected"], 5);
    assert_eq!(log.matches(" WARN plugin rejected plugin=").count(), 5, "{log}");
    assert!(!log.contains("plugins rejected"), "{log}");
}

#[test]
fn link_of_a_configured_plugin_is_not_summarized() {
    let setup = Setup::with_config("[plugins.wanted]\n");
    for name in ["a", "b", "c", "d", "e", "f", "wanted"] {
        symlink("nowhere", setup.plugin(&format!("{name}.wasm"))).expect("linked");
    }
    let (_, log) = setup.once();
    assert_eq!(log.matches(" WARN plugins rejected count=6 ").count(), 1, "{log}");
    let line = log.lines().find(|line| line.contains(" WARN plugin rejected plugin=wanted file=plugins/wanted.wasm "));
    assert!(line.is_some_and(|line| line.ends_with("consequence=\"no version is running\"")), "{log}");
}
