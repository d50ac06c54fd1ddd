//! Resource limits that the agent was started with: it runs within them as far as that goes, and names the limit where it does
//! not go further. No plugin is blamed.

use std::path::Path;

use crate::compile::large_to_compile;
use crate::guest::Guest;
use crate::harness::{Agent, Sample, Setup, fault_count, value};

/// Starts an agent under limits, as options of `ulimit`.
fn start(setup: &Setup, limits: &str) -> Agent {
    let script = format!("{limits} && exec \"$0\" --interval 200ms");
    Agent::start(setup.command_of(Path::new("sh"), &["-c", &script, env!("CARGO_BIN_EXE_gauged")]))
}

/// A plugin that grows its memory by 7,000 pages (437 MiB), and traps if it cannot.
fn growing() -> Guest {
    Guest::new("grows")
        .before_collect("(if (i32.lt_s (memory.grow (i32.const 7000)) (i32.const 0)) (then unreachable))")
}

#[test]
fn plugins_run_within_limited_address_space() {
    let setup = Setup::new();
    let grown = "(if (i32.eqz (memory.grow (i32.const 8))) (then unreachable))";
    let calls = "(if (i32.lt_u (memory.size) (i32.const 900)) (then (memory.grow (i32.const 8)) (drop)))";
    for number in 0..10 {
        let guest = Guest::new(&format!("p{number}")).before_collect(grown).before_collect(calls);
        guest.install(&setup.plugin(&format!("p{number}.wasm")));
    }
    let all_serve = |sample: &Sample| (0..10).all(|number| value(sample, &format!("p{number}")).is_some());
    // Twice: the second start finds the artifacts in the cache.
    for compiled in [10, 0] {
        let mut agent = start(&setup, "ulimit -v 1000000");
        let sample = agent.wait(all_serve);
        assert_eq!(sample["agent"]["compiled_total"], compiled);
        agent.assert_undisturbed(&["p0"]);
        assert!(!agent.log().contains(" WARN "), "{}", agent.log());
    }
    // Without the limit they are compiled for a layout that is quicker, and both are kept.
    for (limits, compiled) in [("true", 10), ("true", 0), ("ulimit -v 1000000", 0)] {
        let mut agent = start(&setup, limits);
        let sample = agent.wait(all_serve);
        assert_eq!(sample["agent"]["compiled_total"], compiled, "{limits}");
        assert!(!agent.log().contains(" WARN "), "{}", agent.log());
    }
}

#[test]
fn threads_leave_guests_address_space() {
    let setup = Setup::new();
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = start(&setup, "ulimit -v 4000000");
    agent.wait(|sample| value(sample, "good").is_some());
    let (threads, address_space_kb) = (agent.status("Threads"), agent.status("VmSize"));
    // A heap for each thread would reserve 64 MiB for each.
    assert!(threads > 8 && address_space_kb < 400 << 10, "{threads} threads, {address_space_kb} kB");
}

#[test]
fn exhausted_address_space_is_a_named_shortage() {
    let setup = Setup::with_config("[plugins.grows]\nmemory = \"1GiB\"\n[plugins.large]\nmemory = \"1GiB\"\n");
    growing().install(&setup.plugin("grows.wasm"));
    Guest::new("large").pages(7000).install(&setup.plugin("large.wasm"));
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = start(&setup, "ulimit -v 400000");
    agent.wait(|sample| value(sample, "good").is_some());
    for (line, reason, remedy) in [
        ("failed plugin=grows ", "reason=\"collect found", "remedy=\"raise LimitAS of the unit, or ulimit -v\""),
        (
            "rejected plugin=large ",
            "reason=\"cannot run now: its start found",
            "remedy=\"raise LimitAS of the unit, or ulimit -v; it is retried\"",
        ),
    ] {
        let line = agent.wait_log_lines(&format!(" WARN plugin {line}"), 1).remove(0);
        let limit = "reached the agent's own limit of 390.6 MiB on address space (RLIMIT_AS)";
        for part in [reason, " too few resources on this host: ", limit, remedy] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    agent.wait(|sample| fault_count(sample, "grows", "shortage") > 0.0 && fault_count(sample, "large", "load") > 0.0);
    agent.assert_undisturbed(&["good"]);
}

#[test]
fn compiler_without_address_space_blames_no_file() {
    let setup = Setup::new();
    large_to_compile().install(&setup.plugin("bad.wasm"));
    for (limit, name) in [
        ("-v", "address space (RLIMIT_AS)\" remedy=\"raise LimitAS"),
        ("-d", "memory for data (RLIMIT_DATA)\" remedy=\"raise LimitDATA"),
    ] {
        let mut agent = start(&setup, &format!("ulimit {limit} 400000"));
        let line = agent.wait_log_lines(" WARN plugin rejected plugin=bad ", 1).remove(0);
        let reason = format!(
            " reason=\"cannot be compiled now: its compiler reached the agent's own limit of 390.6 MiB on {name} of the unit, or ulimit {limit}; it is retried\""
        );
        assert!(line.contains(&reason), "{line}");
    }
}
