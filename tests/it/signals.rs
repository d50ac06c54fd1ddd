//! Signals that do not end the agent: each is logged, and samples go on. Those that end it are in `run.rs`.

use std::fs::{self, File};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::guest::Guest;
use crate::harness::{Agent, Setup, wait_until};

/// The signals that are logged and nothing else, and their names in the log.
const IGNORED: [(Signal, &str); 4] =
    [(Signal::USR1, "USR1"), (Signal::USR2, "USR2"), (Signal::QUIT, "QUIT"), (Signal::ALARM, "ALRM")];

/// The line about an ignored signal.
fn ignored_line(name: &str) -> String {
    format!(" INFO signal ignored signal={name}")
}

/// Waits until a process handles a signal.
pub fn wait_handler(pid: u32, signal: Signal) {
    wait_until("a signal handler", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("Linux has it").trim();
        u64::from_str_radix(caught, 16).expect("a mask") >> (signal.as_raw() - 1) & 1 == 1
    });
}

#[test]
fn ignored_signals_are_logged_and_samples_go_on() {
    let mut agent = Setup::new().start(&["--interval", "100ms"]);
    agent.next();
    for (signal, name) in IGNORED {
        // A second one of the same kind is logged, too.
        for count in 1..=2 {
            agent.signal(signal);
            assert_eq!(agent.wait_log_lines(&ignored_line(name), count).len(), count);
            agent.next();
        }
    }
    agent.assert_no_gaps();
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}");
}

#[test]
fn signals_during_the_start_are_logged() {
    // The configuration is read after the handlers are there; reading a file of a thousand tables takes a while.
    let tables: Vec<String> = (0..1000).map(|number| format!("[plugins.p{number}]\n")).collect();
    let setup = Setup::with_config(&format!("interval = \"100ms\"\n{}", tables.concat()));
    let mut agent = setup.start(&[]);
    // The last handler.
    wait_handler(agent.pid(), Signal::XFSZ);
    agent.signal(Signal::HUP);
    for (signal, _) in IGNORED {
        agent.signal(signal);
    }
    agent.wait_log("configuration reloaded changed=nothing");
    for (_, name) in IGNORED {
        agent.wait_log(&ignored_line(name));
    }
    agent.next();
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}");
}

#[test]
fn termination_during_the_start_exits_with_0() {
    let mut agent = Setup::new().start(&["--interval", "100ms"]);
    wait_handler(agent.pid(), Signal::XFSZ);
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
    assert!(agent.log().contains("shutting down"), "{}", agent.log());
}

#[test]
fn single_sample_survives_ignored_signals() {
    // The sample waits for the plugin, which takes its time.
    let setup = Setup::with_config("[plugins.slow]\ntimeout = \"5s\"\n");
    Guest::new("slow").collect("(loop $forever (br $forever)) unreachable").install(&setup.plugin("slow.wasm"));
    let mut agent = setup.start(&["--once"]);
    wait_handler(agent.pid(), Signal::XFSZ);
    agent.signal(Signal::HUP);
    agent.signal(Signal::USR1);
    agent.wait_log("signal=HUP");
    agent.wait_log("signal=USR1");
    assert!(agent.next().contains_key("cpu"));
    let (status, _) = agent.wait_exit();
    assert!(status.code().is_some(), "{status}\n{}", agent.log());
}

#[test]
fn samples_continue_at_the_file_size_limit() {
    let setup = Setup::new();
    let path = setup.path("samples");
    let file = File::options().create(true).append(true).open(&path).expect("created");
    let mut agent = Agent::start_with_output(setup.command(&["--interval", "100ms"]), file.into());
    wait_until("a sample", || fs::metadata(&path).expect("there").len() > 0);
    let pid = Pid::from_raw(agent.pid().cast_signed());
    prlimit(pid, Resource::Fsize, Rlimit { current: Some(16 << 10), maximum: None }).expect("limited");
    agent.wait_log("samples lost: standard output not writable reason=\"failed to write to standard output: File too large (os error 27)\"");
    assert!(fs::metadata(&path).expect("there").len() <= 16 << 10);
    // As a rotation does.
    fs::write(&path, "").expect("emptied");
    agent.wait_log("standard output writable again");
    wait_until("another sample", || fs::read_to_string(&path).expect("text").contains("}\n"));
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
}

#[test]
fn file_size_limit_loses_only_log_lines() {
    let setup = Setup::new();
    let script = "ulimit -f 0 && exec \"$0\" --interval 100ms 2> log";
    let mut agent = Agent::start(setup.command_of("sh".as_ref(), &["-c", script, env!("CARGO_BIN_EXE_gauged")]));
    for (signal, _) in IGNORED {
        agent.next();
        agent.signal(signal);
    }
    agent.next();
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}");
    assert_eq!(fs::read_to_string(setup.path("log")).expect("text"), "");
}

#[test]
fn oversized_single_sample_exits_with_1() {
    let setup = Setup::new();
    let output = File::create(setup.path("sample")).expect("created");
    let script = "ulimit -f 0 && exec \"$0\" --once";
    let mut command = setup.command_of("sh".as_ref(), &["-c", script, env!("CARGO_BIN_EXE_gauged")]);
    let output = command.stdout(output).output().expect("it runs");
    let log = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{}\n{log}", output.status);
    assert!(log.contains("File too large"), "{log}");
}
