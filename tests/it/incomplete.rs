//! The exit code of `gauged --once` when its sample is not complete.

use std::process::ExitStatus;

use crate::compile::{slow_to_compile, wait_compiler};
use crate::guest::Guest;
use crate::harness::{Agent, Sample, Setup, parse, repository, value, wait_until};

/// Takes a sample of a setup with the plugin `bad`, which has a table or not, beside one that works. Returns the exit code,
/// the sample, and the log.
fn sample_with(bad: &[u8], has_table: bool) -> (Option<i32>, Sample, String) {
    let setup = Setup::with_config(if has_table { "[plugins.bad]\n[plugins.good]\n" } else { "" });
    Guest::new("good").install(&setup.plugin("good.wasm"));
    std::fs::write(setup.plugin("bad.wasm"), bad).expect("written");
    let output = setup.run(&["--once"]);
    let log = String::from_utf8(output.stderr).expect("text");
    let sample = parse(&String::from_utf8(output.stdout).expect("text"));
    assert!(value(&sample, "good").is_some() && sample.contains_key("cpu"), "{log}");
    (output.status.code(), sample, log)
}

/// Asserts that a plugin fails the sample exactly when it has a table.
fn assert_fails_with_a_table(bad: &[u8], state: &str) {
    for has_table in [true, false] {
        let (code, sample, log) = sample_with(bad, has_table);
        assert_eq!(code, Some(i32::from(has_table)), "{log}");
        let line = "ERROR sample incomplete missing=bad remedy=\"see the warnings above\"";
        assert_eq!(log.matches(line).count(), usize::from(has_table), "{log}");
        assert_eq!(log.matches("sample incomplete").count(), usize::from(has_table), "{log}");
        if has_table {
            assert_eq!(sample["agent"]["plugin_state{plugin=\"bad\"}"], state, "{log}");
        }
    }
}

#[test]
fn rejected_plugin_with_a_table_exits_with_1() {
    assert_fails_with_a_table(b"x", "rejected");
    assert_fails_with_a_table(&Guest::new("bad").configure("unreachable").module(), "rejected");
}

#[test]
fn denied_plugin_with_a_table_exits_with_1() {
    assert_fails_with_a_table(&Guest::new("bad").denied("read", "/srv/x", "count files").module(), "rejected");
}

#[test]
fn invalid_settings_exit_with_1() {
    // The case `invalid-config` has a list, which is empty here.
    let invalid = Guest::new("bad").configure_error(1, "").module();
    assert_fails_with_a_table(&invalid, "rejected");
}

#[test]
fn plugin_without_a_file_exits_with_1() {
    let setup = Setup::with_config("[plugins.bad]\n[plugins.absent]\nfile = \"other.wasm\"\n");
    let output = setup.run(&["--once"]);
    let log = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(parse(&String::from_utf8(output.stdout).expect("text")).contains_key("cpu"));
    assert!(log.contains("sample incomplete missing=\"absent, bad\""), "{log}");
}

#[test]
fn unsupported_plugin_exits_with_0() {
    for bad in [Guest::new("bad").error(0, "no sensors"), Guest::new("bad").configure_error(0, "no sensors")] {
        let (code, sample, log) = sample_with(&bad.module(), true);
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(sample["agent"]["plugin_state{plugin=\"bad\"}"], "disabled", "{log}");
        assert!(!log.contains("WARN") && log.contains("INFO plugin disabled plugin=bad"), "{log}");
    }
}

#[test]
fn unavailable_plugin_exits_with_0() {
    // It serves a version, which measures as soon as there is something to measure.
    let (code, sample, log) = sample_with(&Guest::new("bad").error(3, "the service is down").module(), true);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(sample["agent"]["plugin_state{plugin=\"bad\"}"], "unavailable", "{log}");
}

#[test]
fn sample_that_is_ended_exits_with_1() {
    let setup = Setup::new();
    slow_to_compile().install(&setup.plugin("slow.wasm"));
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut agent = setup.start(&["--once"]);
        wait_compiler(&agent);
        agent.signal(signal);
        assert_ended_without_sample(&mut agent);
    }
}

#[test]
fn sample_that_is_not_read_can_be_ended() {
    // The sample of 512 CPUs is longer than the pipe, which is open and never read.
    let setup = Setup::with_config("[cpu]\nper_core = true\n");
    let (pipe, writer) = std::io::pipe().expect("a pipe");
    let capacity = rustix::pipe::fcntl_setpipe_size(&pipe, 4096).expect("shrunk");
    let machine = repository().join("tests/fixtures/cpus-512");
    let command = setup.command(&["--once", "--root", machine.to_str().expect("text")]);
    let mut agent = Agent::start_with_output(command, writer.into());
    wait_until("a full pipe", || rustix::io::ioctl_fionread(&pipe).expect("a size") == capacity as u64);
    agent.signal(rustix::process::Signal::TERM);
    let (status, _) = agent.wait_exit();
    assert_eq!(status.code(), Some(1), "{status}\n{}", agent.log());
    assert!(agent.log().contains("ERROR agent ended before its sample"), "{}", agent.log());
}

fn assert_ended_without_sample(agent: &mut Agent) {
    let (status, _): (ExitStatus, _) = agent.wait_exit();
    assert_eq!(status.code(), Some(1), "{status}\n{}", agent.log());
    assert!(agent.log().contains("ERROR agent ended before its sample"), "{}", agent.log());
    assert!(agent.has_no_sample(), "{}", agent.log());
}

#[test]
fn single_samples_run_beside_a_daemon() {
    let setup = Setup::with_config("interval = \"200ms\"\n[plugins.one]\n");
    Guest::new("one").install(&setup.plugin("one.wasm"));
    let mut daemon = setup.start(&[]);
    daemon.wait(|sample| value(sample, "one").is_some());
    let mut others: Vec<Agent> = (0..3).map(|_| setup.start(&["--once"])).collect();
    for other in &mut others {
        assert_eq!(value(&other.next(), "one"), Some(1.into()), "{}", other.log());
        let (status, _) = other.wait_exit();
        assert!(status.success() && !other.log().contains("WARN"), "{status}\n{}", other.log());
    }
    daemon.next();
    daemon.assert_never_absent("one");
    daemon.assert_no_gaps();
}
