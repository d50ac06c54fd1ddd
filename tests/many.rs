//! Ten thousand plugins in one agent, each a file of its own. Not part of `cargo test`, since it takes minutes and more memory
//! mappings than Linux allows a process by default: `.ci/long` runs it.

#![allow(unreachable_pub, dead_code, reason = "the other tests need more of these modules")]
#![allow(clippy::disallowed_methods, reason = "tests run programs, and wait for them")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers are small")]

#[path = "it/guest.rs"]
mod guest;
#[path = "it/harness.rs"]
mod harness;

use std::time::Instant;

use guest::Guest;
use harness::{Sample, Setup};

const PLUGINS: usize = 10_000;

/// Ticks that are checked after all plugins are loaded.
const WATCHED: usize = 5;

fn measured(sample: &Sample) -> usize {
    sample.keys().filter(|module| module.starts_with('p')).count()
}

#[test]
fn ten_thousand_plugins_load_and_tick() {
    let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("Linux");
    let mappings: usize = mappings.trim().parse().expect("a number");
    assert!(mappings >= 12 * PLUGINS, "raise vm.max_map_count from {mappings} to {} first", 12 * PLUGINS);

    let setup = Setup::with_config("interval = \"10s\"\n");
    for number in 0..PLUGINS {
        Guest::new(&format!("p{number}")).install(&setup.plugin(&format!("p{number}.wasm")));
    }
    let began = Instant::now();
    let mut agent = setup.start(&[]);
    while measured(&agent.next()) < PLUGINS {}
    println!("all are loaded after {} s", began.elapsed().as_secs());

    let watched: Vec<Sample> = (0..WATCHED).map(|_| agent.next()).collect();
    for pair in watched.windows(2) {
        let at = |sample: &Sample| sample["agent"]["timestamp"].as_u64().expect("whole seconds");
        assert_eq!(at(&pair[1]) - at(&pair[0]), 10, "no tick is missed");
    }
    for sample in &watched {
        assert_eq!(measured(sample), PLUGINS, "all of them are in every sample");
        println!("collected in {} s", sample["agent"]["collect_seconds"]);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
    println!("{}", status.lines().find(|line| line.starts_with("VmRSS")).expect("Linux says so"));
    assert!(agent.terminate().0.success());
}
