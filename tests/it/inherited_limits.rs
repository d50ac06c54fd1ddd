//! Resource limits that the agent was started with: it runs within them as far as that goes, and names the limit where it does
//! not go further. No plugin is blamed.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::compile::{large_to_compile, slow_to_compile};
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

/// The one line about the rejected plugin `bad` under this limit, without what comes before the reason.
fn rejection(setup: &Setup, limits: &str) -> String {
    let mut agent = start(setup, limits);
    let line = agent.wait_log_lines(" WARN plugin rejected plugin=bad ", 1).remove(0);
    line.split_once(" reason=").expect("a reason").1.to_owned()
}

#[test]
fn file_size_limit_blames_no_plugin() {
    let setup = Setup::new();
    // Its data are in the artifact once more, beside the code.
    Guest::new("bad").with(&format!("(data \"{}\")", "x".repeat(40 << 10))).install(&setup.plugin("bad.wasm"));
    let limit = "the agent's own limit of 32.0 KiB on the size of a file (RLIMIT_FSIZE)\"";
    let remedy = "remedy=\"raise LimitFSIZE of the unit, or ulimit -f;";
    // In blocks of 512 bytes. The copy of the file in memory is a file, too.
    let line = rejection(&setup, "ulimit -f 64");
    assert!(line.starts_with("\"cannot be read: File too large (os error 27): reached "), "{line}");
    assert!(line.contains(limit) && line.contains(remedy) && line.contains("is read again every 30 s"), "{line}");

    // A file that fits, and an artifact that does not.
    Guest::new("bad").install(&setup.plugin("bad.wasm"));
    for limits in ["ulimit -f 20", "trap '' XFSZ; ulimit -f 20"] {
        let line = rejection(&setup, limits);
        let reason = "\"cannot be compiled now: its compiler reached the agent's own limit of 10.0 KiB on the size of a file (RLIMIT_FSIZE)\"";
        assert!(
            line.starts_with(reason) && line.contains(remedy) && line.contains("; it is retried\""),
            "{limits}: {line}"
        );
    }

    // `gauged plugin` has the limit, too, and is not ended by it.
    let script = "ulimit -f 20; exec \"$0\" plugin inspect plugins/bad.wasm";
    let output =
        setup.command_of(Path::new("sh"), &["-c", script, env!("CARGO_BIN_EXE_gauged")]).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("(RLIMIT_FSIZE); raise LimitFSIZE of the unit, or ulimit -f"), "{text}");
}

#[test]
fn cache_names_the_file_size_limit() {
    let setup = Setup::new();
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let (_, log) = setup.once();
    let stored = fs::read_dir(setup.cache()).expect("created").next().expect("an entry").expect("readable");
    let entry_bytes = stored.metadata().expect("there").len();
    fs::remove_file(stored.path()).expect("removed");
    let file = setup.plugin("good.wasm");
    fs::rename(&file, file.with_extension("later")).expect("renamed");
    let mut agent = setup.start(&["--interval", "200ms"]);
    // The artifact fits, and not with the header of its entry.
    let most = Rlimit { current: Some(entry_bytes - 1), maximum: None };
    prlimit(Pid::from_raw(agent.pid().cast_signed()), Resource::Fsize, most).expect("limited");
    fs::rename(file.with_extension("later"), &file).expect("renamed");
    let line = agent.wait_log_lines(" WARN artifact cache problem ", 1).remove(0);
    assert!(line.contains("problem=\"cannot be written\"") && line.contains("(RLIMIT_FSIZE)\""), "{line}\n{log}");
    assert!(line.contains("remedy=\"raise LimitFSIZE of the unit, or ulimit -f\""), "{line}");
    agent.wait(|sample| value(sample, "good").is_some());
}

#[test]
fn compiler_limits_of_the_agent_are_named() {
    let setup = Setup::new();
    slow_to_compile().install(&setup.plugin("bad.wasm"));
    for (limits, value) in [("ulimit -t 3", "3s"), ("ulimit -S -t 3", "3s")] {
        let line = rejection(&setup, limits);
        let reason = format!(
            "\"cannot be compiled now: its compiler reached the agent's own limit of {value} on processor time (RLIMIT_CPU)\""
        );
        assert!(line.starts_with(&reason), "{limits}: {line}");
        assert!(line.contains("remedy=\"raise LimitCPU of the unit, or ulimit -t; it is retried\""), "{line}");
    }
}

#[test]
fn descriptor_limit_is_named() {
    let setup = Setup::new();
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&["--interval", "200ms"]);
    agent.wait(|sample| value(sample, "good").is_some());
    let pid = Pid::from_raw(agent.pid().cast_signed());
    let set = |current| prlimit(pid, Resource::Nofile, Rlimit { current, ..getrlimit(Resource::Nofile) }).expect("set");
    let open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("it runs").count() as u64;
    // Enough to read the directory, and not to compile a file.
    set(Some(open + 1));
    Guest::new("bad").install(&setup.plugin("bad.wasm"));
    let limit = format!("reached the agent's own limit of {} on open files (RLIMIT_NOFILE)\"", open + 1);
    let line = agent.wait_log_lines(&limit, 1).remove(0);
    assert!(line.contains(" remedy=\"raise LimitNOFILE of the unit, or ulimit -n"), "{line}");
    set(getrlimit(Resource::Nofile).maximum);
    agent.wait(|sample| value(sample, "bad").is_some());
}

#[test]
fn stack_limit_blames_no_plugin() {
    let setup = Setup::new();
    let mut agent = setup.start(&["--interval", "200ms"]);
    agent.next();
    let pid = Pid::from_raw(agent.pid().cast_signed());
    let set = |current| prlimit(pid, Resource::Stack, Rlimit { current, ..getrlimit(Resource::Stack) }).expect("set");
    // For its compilers: its own threads have their stacks.
    set(Some(64 << 10));
    Guest::new("bad").install(&setup.plugin("bad.wasm"));
    let line = agent.wait_log_lines(" WARN plugin rejected plugin=bad ", 1).remove(0);
    let reason = "its compiler reached the agent's own limit of 64.0 KiB on the stack (RLIMIT_STACK)\"";
    assert!(
        line.contains(reason) && line.contains(" remedy=\"raise LimitSTACK of the unit, or ulimit -s; it is"),
        "{line}"
    );
    set(getrlimit(Resource::Stack).current);
    agent.wait(|sample| value(sample, "bad").is_some());
}
