//! The budget of processor time for compiling: files that are not in the cache wait, and nothing else does.

use std::fs;

use serde_json::Value;

use crate::compile::{slow_to_compile, wait_compiler};
use crate::guest::Guest;
use crate::harness::{Agent, Sample, Setup, fault_count, value, wait_until};
use crate::plugin_command::plugin;

/// A file may take more than the whole budget: one that is being compiled may end.
const CONFIGURATION: &str = "interval = \"200ms\"\n[limits]\ncompile_cpu = \"3s\"\ncompile_cpu_per_hour = \"2s\"\n";

/// A metric of the agent's.
fn metric(sample: &Sample, name: &str) -> f64 {
    sample["agent"].get(name).and_then(Value::as_f64).unwrap_or_else(|| panic!("{name} in {sample:?}"))
}

fn is_loading(sample: &Sample, plugin: &str) -> bool {
    sample["agent"].get(&format!("plugin_state{{plugin=\"{plugin}\"}}")).is_some_and(|state| state == "loading")
}

/// An agent with the plugin `good`, which is compiled before the budget is used.
fn start() -> (Setup, Agent) {
    let setup = Setup::with_config(CONFIGURATION);
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&[]);
    let sample = agent.wait(|sample| value(sample, "good").is_some());
    assert!(metric(&sample, "compile_budget_remaining_seconds") > 0.0, "{sample:?}");
    (setup, agent)
}

#[test]
fn files_wait_while_the_budget_is_used_up() {
    let (setup, mut agent) = start();
    slow_to_compile().install(&setup.plugin("bad.wasm"));
    agent.wait(|sample| fault_count(sample, "bad", "load") == 1.0);
    let line = agent.wait_log_lines(" WARN compile budget reached ", 1).remove(0);
    for part in [" used=", " budget=2s ", " waiting=0 ", "or raise compile_cpu_per_hour under [limits]\""] {
        assert!(line.contains(part), "{part} in {line}");
    }
    for name in ["late", "later"] {
        Guest::new(name).install(&setup.plugin(&format!("{name}.wasm")));
    }
    let sample = agent.wait(|sample| is_loading(sample, "late") && is_loading(sample, "later"));
    assert!(metric(&sample, "compile_cpu_seconds_total") > 2.0, "{sample:?}");
    assert_eq!(metric(&sample, "compile_budget_remaining_seconds"), 0.0);
    let compiled = metric(&sample, "compiled_total");

    // The cache has this content.
    fs::copy(setup.plugin("good.wasm"), setup.path("copy")).expect("copied");
    fs::rename(setup.path("copy"), setup.plugin("copy.wasm")).expect("moved");
    agent.wait_log("plugin loaded plugin=copy ");
    let sample = agent.next();
    assert!(is_loading(&sample, "late") && is_loading(&sample, "later"), "{sample:?}");
    assert_eq!(metric(&sample, "compiled_total"), compiled, "nothing was compiled");
    assert!(agent.plugin_log("late").is_empty(), "it is not rejected: {}", agent.log());
    assert_eq!(agent.log().matches("compile budget").count(), 1, "{}", agent.log());
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}");
}

#[test]
fn killed_compilers_use_the_budget() {
    let (setup, mut agent) = start();
    slow_to_compile().install(&setup.plugin("bad.wasm"));
    let compiler = wait_compiler(&agent);
    wait_until("a compiler that has used the budget", || {
        let stat = fs::read_to_string(format!("/proc/{compiler}/stat")).expect("it runs");
        let ticks: u64 =
            stat.rsplit_once(") ").expect("a name").1.split(' ').nth(11).expect("a time").parse().expect("a number");
        ticks > rustix::param::clock_ticks_per_second() * 2
    });
    fs::remove_file(setup.plugin("bad.wasm")).expect("removed");
    agent.wait_log(" WARN compile budget reached ");
    let sample = agent.wait(|sample| metric(sample, "compile_cpu_seconds_total") > 2.0);
    assert_eq!(metric(&sample, "compile_budget_remaining_seconds"), 0.0);
}

#[test]
fn single_runs_have_no_compile_budget() {
    let setup = Setup::with_config(CONFIGURATION);
    slow_to_compile().install(&setup.plugin("bad.wasm"));
    Guest::new("late").install(&setup.plugin("late.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(value(&sample, "late"), Some(1.into()), "{log}");
    assert_eq!(sample["agent"]["compile_budget_remaining_seconds"], Value::Null);
    assert!(metric(&sample, "compile_cpu_seconds_total") > 2.0 && !log.contains("compile budget"), "{log}");

    // One file after the other.
    Guest::new("late").value(2).install(&setup.plugin("late.wasm"));
    let list = plugin(&setup, &["list"]);
    assert_eq!(list.code, Some(0), "{}", list.stderr);
    assert!(list.stdout.lines().any(|line| line.contains("late") && line.contains(" up ")), "{}", list.stdout);
}
