//! The agent as a daemon.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::guest::Guest;
use crate::harness::{Agent, Host, Sample};

/// How quickly it is to end.
const END: Duration = Duration::from_secs(2);

/// It is told to end, and does.
pub fn ends_in_time(mut agent: Agent) {
    let (status, took) = agent.terminate();
    assert!(status.success() && took < END, "{status} after {took:?}\n{}", agent.log());
}

fn timestamp(sample: &Sample) -> f64 {
    sample["agent"]["timestamp"].as_f64().expect("a number")
}

#[test]
fn samples_are_on_the_multiples_of_the_interval() {
    let mut agent = Host::new().start(&["--interval", "200ms"]);
    let millis: Vec<i64> = (0..6).map(|_| (timestamp(&agent.next()) * 1000.0).round() as i64).collect();
    assert!(millis.iter().all(|millis| millis % 200 == 0), "{millis:?}");
    let ticks: Vec<i64> = millis.iter().map(|millis| millis / 200).collect();
    let missed = agent.seen().last().expect("seen")["agent"]["missed_ticks_total"].as_i64().expect("a number");
    assert_eq!(ticks[5] - ticks[0], 5 + missed, "{ticks:?}, {missed} missed");
    assert!(ticks.windows(2).all(|pair| pair[1] > pair[0]), "{ticks:?}");
    assert_eq!(agent.seen()[0]["agent"]["interval"], 0.2);
}

#[test]
fn whole_second_timestamps_are_integers() {
    let mut agent = Host::new().start(&["--interval", "1s"]);
    assert!(agent.next()["agent"]["timestamp"].is_u64());
}

/// How often each thread of a process has gone to sleep so far, by its name.
fn sleeps(pid: u32) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let status = tasks.map(|task| std::fs::read_to_string(task.expect("readable").path().join("status")));
    let line =
        |status: &str, key: &str| status.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    status.flatten().map(|status| (line(&status, "Name"), line(&status, "voluntary"))).collect()
}

#[test]
fn threads_sleep_between_ticks_with_plugins_loaded() {
    let host = Host::new();
    Guest::new("good").install(&host.plugin("good.wasm"));
    let mut agent = host.start(&["--interval", "3s"]);
    agent.wait(|sample| crate::harness::value(sample, "good").is_some());
    agent.next();
    // What the tick has woken goes to sleep again, and some threads that did what may wait end.
    let own = |sleeps: Vec<(String, String)>| -> Vec<(String, String)> {
        sleeps.into_iter().filter(|(name, _)| !name.contains("tokio")).collect()
    };
    std::thread::sleep(Duration::from_millis(500));
    let before = own(sleeps(agent.pid()));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(own(sleeps(agent.pid())), before);
    assert!(before.iter().any(|(name, _)| name.contains("epochs")), "{before:?}");
}

#[test]
fn ends_cleanly_on_both_signals() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut agent = Host::new().start(&["--interval", "100ms"]);
        agent.next();
        agent.signal(signal);
        let (status, took) = agent.wait_end();
        assert!(status.success(), "{status}\n{}", agent.log());
        assert!(took < END, "{took:?}");
        assert!(agent.log().contains("shutting down"));
    }
}

#[test]
fn unread_output_does_not_delay_shutdown() {
    let host = Host::new();
    // A pipe that is held open and never read: it fills, and the write blocks.
    let mut child =
        host.command(&["--interval", "100ms"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let pipe = child.stdout.take().expect("piped");
    rustix::pipe::fcntl_setpipe_size(&pipe, 4096).expect("shrunk");
    let mut stderr = child.stderr.take().expect("piped");
    std::thread::sleep(Duration::from_millis(1500));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).expect("sent");
    let start = std::time::Instant::now();
    let status = child.wait().expect("it ends");
    assert!(status.success() && start.elapsed() < END, "{status} after {:?}", start.elapsed());
    let mut log = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut log).expect("text");
    assert!(log.contains("does not take the last samples"), "{log}");
    drop(pipe);
}

#[test]
fn closed_output_pipe_ends_the_agent_quietly() {
    let host = Host::new();
    let mut child =
        host.command(&["--interval", "100ms"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn failing_output_is_reported_once() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let host = Host::new();
    let mut child = host.command(&["--interval", "100ms"]).stdout(full).stderr(Stdio::piped()).spawn().expect("starts");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(child.try_wait().expect("it can be asked").is_none(), "it goes on");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).expect("sent");
    let output = child.wait_with_output().expect("it ends");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(log.matches("failed to write to standard output").count(), 1, "{log}");
    assert!(output.status.success());
}

#[test]
fn unwritable_log_loses_only_log_lines() {
    let host = Host::new();
    Guest::new("talks").install(&host.plugin("talks.wasm"));
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = host.command(&["--once"]).stderr(full()).output().expect("it runs");
    assert!(output.status.success() && !output.stdout.is_empty());
    let wrong = host.command(&["--config", "none"]).stderr(full()).output().expect("it runs");
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn unread_log_delays_neither_ticks_nor_shutdown() {
    let host = Host::new();
    for name in 0..200 {
        // Each is a line in the log: together more than the pipe holds.
        std::fs::write(host.plugin(&format!("no plugin {name}.wasm")), "x").expect("written");
    }
    let mut child =
        host.command(&["--interval", "100ms"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    rustix::pipe::fcntl_setpipe_size(child.stderr.as_ref().expect("piped"), 4096).expect("shrunk");
    let mut samples = std::io::BufReader::new(child.stdout.take().expect("piped"));
    for _ in 0..20 {
        let mut line = String::new();
        assert!(std::io::BufRead::read_line(&mut samples, &mut line).expect("text") > 0, "the samples go on");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).expect("sent");
    let start = std::time::Instant::now();
    let status = child.wait().expect("it ends");
    assert!(status.success() && start.elapsed() < END, "{status} after {:?}", start.elapsed());
}
