//! Ten thousand plugin files in one agent. Not part of `cargo test`: it takes minutes, and more memory mappings than Linux
//! allows a process by default. `.ci/long` runs it.

#![allow(unreachable_pub, dead_code, reason = "the other tests need more of these modules")]
#![allow(clippy::disallowed_methods, reason = "tests run programs, and wait for them")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers are small")]

#[path = "it/guest.rs"]
mod guest;
#[path = "it/harness.rs"]
mod harness;
#[path = "it/process_state.rs"]
mod process_state;

use std::time::Instant;

use guest::Guest;
use harness::{Sample, Setup};

const PLUGINS: usize = 10_000;

/// The number of samples that are checked after all plugins are loaded.
const CHECKED_SAMPLES: usize = 5;

fn plugin_count(sample: &Sample) -> usize {
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
    while plugin_count(&agent.next()) < PLUGINS {}
    println!("loaded after {} s", began.elapsed().as_secs());

    let checked: Vec<Sample> = (0..CHECKED_SAMPLES).map(|_| agent.next()).collect();
    for pair in checked.windows(2) {
        let at = |sample: &Sample| sample["agent"]["timestamp"].as_u64().expect("whole seconds");
        assert_eq!(at(&pair[1]) - at(&pair[0]), 10, "a tick was missed");
    }
    for sample in &checked {
        assert_eq!(plugin_count(sample), PLUGINS, "every sample has all plugins");
        println!("collected in {} s", sample["agent"]["collect_seconds"]);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("the agent runs");
    println!("{}", status.lines().find(|line| line.starts_with("VmRSS")).expect("the line on memory"));
    assert!(agent.terminate().0.success());
}
