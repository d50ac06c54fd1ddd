//! The agent as a daemon.

use std::io::PipeReader;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::guest::Guest;
use crate::harness::{Agent, Sample, Setup, repository, value, wait_until};

/// How long a shutdown may take: what is promised.
pub const MAX_SHUTDOWN: Duration = Duration::from_secs(2);

/// Asserts that the agent shuts down in time after SIGTERM.
pub fn assert_ends_in_time(mut agent: Agent) {
    let (status, took) = agent.terminate();
    assert!(status.success() && took < MAX_SHUTDOWN, "{status} after {took:?}\n{}", agent.log());
}

fn timestamp(sample: &Sample) -> f64 {
    sample["agent"]["timestamp"].as_f64().expect("a number")
}

#[test]
fn samples_are_on_the_multiples_of_the_interval() {
    let mut agent = Setup::new().start(&["--interval", "200ms"]);
    let millis: Vec<i64> = (0..6).map(|_| (timestamp(&agent.next()) * 1000.0).round() as i64).collect();
    assert!(millis.iter().all(|millis| millis % 200 == 0), "{millis:?}");
    let ticks: Vec<i64> = millis.iter().map(|millis| millis / 200).collect();
    let missed = agent.samples().last().expect("seen")["agent"]["missed_ticks_total"].as_i64().expect("a number");
    assert_eq!(ticks[5] - ticks[0], 5 + missed, "{ticks:?}, {missed} missed");
    assert!(ticks.windows(2).all(|pair| pair[1] > pair[0]), "{ticks:?}");
    assert_eq!(agent.samples()[0]["agent"]["interval"], 0.2);
}

#[test]
fn whole_second_timestamps_are_integers() {
    let mut agent = Setup::new().start(&["--interval", "1s"]);
    assert!(agent.next()["agent"]["timestamp"].is_u64());
}

/// The threads of an agent without work, but for the one that `notify` starts.
const THREADS: [&str; 10] =
    ["epochs", "gauged", "guests", "guests", "log", "offload", "offload", "slow", "stdout", "watch"];

/// The names of the threads of a process, sorted, but for that of `notify`.
pub fn thread_names(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let names = names.map(|name| name.trim_end().to_owned()).filter(|name| !name.starts_with("notify"));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn threads_start_before_the_first_sample() {
    let setup = Setup::new();
    let mut agent = setup.start(&["--interval", "200ms"]);
    agent.next();
    let names = thread_names(agent.pid());
    assert!(names.len() >= THREADS.len(), "{names:?}\n{}", agent.log());
    wait_until("each thread has its name", || thread_names(agent.pid()) == THREADS);
}

/// The name of each thread of a process, and how often the thread has gone to sleep so far.
fn sleep_counts(pid: u32) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let status = tasks.map(|task| std::fs::read_to_string(task.expect("readable").path().join("status")));
    let line =
        |status: &str, key: &str| status.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    let counts = status.flatten().map(|status| (line(&status, "Name"), line(&status, "voluntary")));
    counts.collect()
}

#[test]
fn threads_sleep_between_ticks_with_plugins_loaded() {
    let setup = Setup::new();
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&["--interval", "3s"]);
    agent.wait(|sample| value(sample, "good").is_some());
    // A second without a wake-up: on a busy machine the work of a tick may take part of the first one.
    wait_until("a second in which no thread wakes", || {
        let before = sleep_counts(agent.pid());
        assert!(before.iter().any(|(name, _)| name.contains("epochs")), "{before:?}");
        std::thread::sleep(Duration::from_secs(1));
        sleep_counts(agent.pid()) == before
    });
}

#[test]
fn ends_cleanly_on_both_signals() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut agent = Setup::new().start(&["--interval", "100ms"]);
        agent.next();
        agent.signal(signal);
        let (status, took) = agent.wait_exit();
        assert!(status.success(), "{status}\n{}", agent.log());
        assert!(took < MAX_SHUTDOWN, "{took:?}");
        assert!(agent.log().contains("shutting down"));
    }
}

/// An agent whose standard output is open and never read: the sample of 512 CPUs is longer than the pipe, so that the pipe is
/// full, and the write blocks.
fn blocked_agent() -> (Setup, PipeReader, Agent) {
    let setup = Setup::with_config("interval = \"100ms\"\n[cpu]\nper_core = true\n");
    let (pipe, writer) = std::io::pipe().expect("a pipe");
    let capacity = rustix::pipe::fcntl_setpipe_size(&pipe, 4096).expect("shrunk");
    let machine = repository().join("tests/fixtures/cpus-512");
    let command = setup.command(&["--root", machine.to_str().expect("text")]);
    let agent = Agent::start_with_output(command, writer.into());
    wait_until("a full pipe", || rustix::io::ioctl_fionread(&pipe).expect("a size") == capacity as u64);
    (setup, pipe, agent)
}

#[test]
fn unread_output_does_not_delay_shutdown() {
    let (_setup, _pipe, mut agent) = blocked_agent();
    let (status, took) = agent.terminate();
    assert!(status.success() && took < MAX_SHUTDOWN, "{status} after {took:?}");
    assert!(agent.log().contains("last samples lost"), "{}", agent.log());
}

#[test]
fn second_signal_ends_the_agent_at_once() {
    // The last samples wait for a reader, until the second signal.
    let (_setup, _pipe, mut agent) = blocked_agent();
    agent.signal(Signal::TERM);
    agent.signal(Signal::INT);
    let (status, _) = agent.wait_exit();
    assert!(status.success(), "{status}");
    let line = "last samples lost";
    let reason = "ERROR last samples lost reason=\"a second signal ended the agent\"";
    assert!(agent.log().contains(reason) && agent.log().matches(line).count() == 1, "{}", agent.log());
}

#[test]
fn closed_output_pipe_ends_the_agent_quietly() {
    let setup = Setup::new();
    let mut child =
        setup.command(&["--interval", "100ms"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn failing_output_is_reported_once() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let setup = Setup::new();
    let mut agent = Agent::start_with_output(setup.command(&["--interval", "100ms"]), full.into());
    agent.wait_log("samples lost: standard output not writable");
    // Samples cannot be read here: the plugin's messages show that ticks go on.
    Guest::new("ticks").logs(1, "another tick").install(&setup.plugin("ticks.wasm"));
    agent.wait_log_lines("another tick", 10);
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}");
    let log = agent.log();
    assert_eq!(log.matches("samples lost: standard output not writable").count(), 1, "{log}");
}

#[test]
fn unwritable_log_loses_only_log_lines() {
    let setup = Setup::new();
    Guest::new("talks").logs(1, "hello").install(&setup.plugin("talks.wasm"));
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = setup.command(&["--once"]).stderr(full()).output().expect("it runs");
    assert!(output.status.success() && !output.stdout.is_empty());
    let wrong = setup.command(&["--config", "none"]).stderr(full()).output().expect("it runs");
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn unread_log_delays_neither_ticks_nor_shutdown() {
    let setup = Setup::new();
    for name in 0..200 {
        // Each of these is a line in the log; together they are more than the pipe holds.
        std::fs::write(setup.plugin(&format!("no plugin {name}.wasm")), "x").expect("written");
    }
    let mut child =
        setup.command(&["--interval", "100ms"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    rustix::pipe::fcntl_setpipe_size(child.stderr.as_ref().expect("piped"), 4096).expect("shrunk");
    let mut samples = std::io::BufReader::new(child.stdout.take().expect("piped"));
    for _ in 0..20 {
        let mut line = String::new();
        assert!(std::io::BufRead::read_line(&mut samples, &mut line).expect("text") > 0, "samples continue");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).expect("sent");
    let start = std::time::Instant::now();
    let status = child.wait().expect("it ends");
    assert!(status.success() && start.elapsed() < MAX_SHUTDOWN, "{status} after {:?}", start.elapsed());
}
