//! Plugins that are hard to compile, and compilers that do not end well: it all stays in a process of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::guest::{Guest, install};
use crate::harness::{Agent, DEADLINE, Host, faults, value};

/// A function whose loops all change all of its variables: a few kilobytes that keep a compiler busy for minutes, or
/// for as much memory as there is.
fn nested(loops: usize, variables: usize) -> String {
    let mut function = format!("(func (local {})", "i32 ".repeat(variables));
    function.push_str(&"(loop ".repeat(loops));
    for variable in 0..variables {
        let _ = write!(function, "(local.set {variable} (i32.add (local.get {variable}) (i32.const 1)))");
    }
    function.push_str(&"(br_if 0 (i32.const 0)))".repeat(loops));
    function.push(')');
    function
}

/// Takes longer to compile than any test does.
pub fn slow() -> Guest {
    Guest::new("bad").with(&nested(100, 1000))
}

/// Takes more memory than it may within seconds.
fn large() -> Guest {
    Guest::new("bad").with(&nested(1000, 2000))
}

/// Processes that an agent has started, without those that have ended and are only waited for.
fn children(agent: u32) -> Vec<Pid> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux has it").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        if status(pid).is_some_and(|(parent, _)| parent == agent) {
            children.push(pid);
        }
    }
    children
}

/// A process's parent and whether it runs as it ought to; none when it has ended.
fn status(pid: Pid) -> Option<(u32, BTreeMap<String, String>)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let lines = text.lines().filter_map(|line| line.split_once(":\t"));
    let status: BTreeMap<_, _> = lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect();
    if status.get("State")?.starts_with(['Z', 'X']) {
        return None;
    }
    Some((status.get("PPid")?.parse().ok()?, status))
}

fn await_that<T>(what: &str, agent: &Agent, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(met) = condition() {
            return met;
        }
        assert!(Instant::now() < until, "never: {what}\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The agent's one compiler, once it has come to compile.
fn compiler(agent: &Agent) -> Pid {
    await_that("a compiler", agent, || {
        let named = |pid: &Pid| status(*pid).is_some_and(|(_, status)| status["Name"] == "gauged-compile");
        children(agent.pid()).into_iter().find(named)
    })
}

fn await_end(pid: Pid, agent: &Agent) {
    await_that("its end", agent, || status(pid).is_none().then_some(()));
}

/// An agent with a plugin that works as `good` and another as `bad`.
fn start(bad: &Guest, command: impl FnOnce(&Host) -> Command) -> (Host, Agent) {
    let host = Host::new();
    Guest::new("good").install(&host.plugin("good.wasm"));
    let mut agent = Agent::start(command(&host));
    agent.wait(|sample| value(sample, "good").is_some());
    bad.install(&host.plugin("bad.wasm"));
    (host, agent)
}

fn as_usual(host: &Host) -> Command {
    host.command(&["--interval", "200ms"])
}

/// The same, allowed so many seconds of processor time, as are its children.
fn within_seconds(seconds: u32, host: &Host) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -S -t {seconds} && exec \"$0\" --interval 200ms")]);
    command.arg(env!("CARGO_BIN_EXE_gauged")).current_dir(host.path("")).env("CACHE_DIRECTORY", host.cache());
    command.stdin(Stdio::null());
    command
}

/// What was logged of the plugin `bad`.
fn lines_of_bad(agent: &Agent) -> Vec<String> {
    let line = |line: &str| line.split_once("plugin bad").map(|(_, rest)| rest.to_owned());
    agent.log().lines().filter_map(line).collect()
}

fn mend(host: &Host, agent: &mut Agent) {
    Guest::new("bad").version("1.0.1").install(&host.plugin("bad.wasm"));
    agent.wait(|sample| value(sample, "bad").is_some());
    for sample in agent.seen().iter().skip_while(|sample| value(sample, "good").is_none()) {
        assert!(value(sample, "good").is_some(), "the other is in every tick\n{}", agent.log());
        assert_eq!(sample["agent"]["missed_ticks_total"], 0, "and there was every tick");
    }
    assert_eq!(lines_of_bad(agent).len(), 2, "{}", agent.log());
}

/// The plugin is rejected for what it takes; it is replaced, and serves.
fn is_ended_for(bad: &Guest, command: impl FnOnce(&Host) -> Command, why: &str) {
    let (host, mut agent) = start(bad, command);
    let child = compiler(&agent);
    agent.wait_log(why);
    assert!(status(child).is_none(), "the compiler is gone");
    let sample = agent.wait(|sample| faults(sample, "bad", "load") > 0.0);
    assert_eq!((faults(&sample, "bad", "load"), value(&sample, "bad")), (1.0, None));
    assert!(lines_of_bad(&agent)[0].ends_with("; nothing of it runs"), "{}", agent.log());

    // The same content is not tried again.
    let compiled = sample["agent"]["compiled_total"].clone();
    fs::rename(host.plugin("bad.wasm"), host.path("bad.wasm")).expect("moved");
    install(&fs::read(host.path("bad.wasm")).expect("read"), &host.plugin("bad.wasm"));
    for _ in 0..5 {
        assert_eq!(agent.next()["agent"]["compiled_total"], compiled);
    }
}

#[test]
fn plugin_exceeding_compile_memory_is_rejected() {
    is_ended_for(
        &large(),
        as_usual,
        "takes more than 1.0 GiB of memory to compile; make it smaller, above all its largest function",
    );
}

#[test]
fn plugin_exceeding_compile_cpu_time_is_rejected() {
    let (host, mut agent) = start(&slow(), |host| within_seconds(3, host));
    agent.wait_log("takes more than 3s of CPU to compile; make it smaller, above all its largest function");
    let sample = agent.wait(|sample| faults(sample, "bad", "load") > 0.0);
    assert_eq!((faults(&sample, "bad", "load"), value(&sample, "bad")), (1.0, None));
    mend(&host, &mut agent);
}

#[test]
fn compiler_process_has_minimal_privileges() {
    let (_host, agent) = start(&slow(), as_usual);
    let child = compiler(&agent);
    let of = |file: &str| fs::read(format!("/proc/{child}/{file}")).expect("it runs");
    let limits = await_that("its limits", &agent, || {
        let limits = String::from_utf8(of("limits")).expect("text");
        limits.contains("Max processes             0 ").then_some(limits)
    });
    for limit in [
        "Max cpu time              60                   61",
        "Max address space         1073741824           1073741824",
        "Max file size             201326592            201326592",
        "Max core file size        0                    0",
        "Max open files            3                    3",
    ] {
        assert!(limits.contains(limit), "{limit} in {limits}");
    }
    assert!(of("environ").is_empty());
    assert_eq!(of("cmdline"), b"gauged\0compile\0");
    assert_eq!(of("oom_score_adj"), b"1000\n");
    assert_eq!(fs::read_link(format!("/proc/{child}/cwd")).expect("it has one").to_str(), Some("/"));
    let stat = String::from_utf8(of("stat")).expect("text");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    assert_eq!(fields[16], "5", "its niceness");
    for entry in fs::read_dir(format!("/proc/{child}/fd")).expect("it runs").flatten() {
        let file = fs::read_link(entry.path()).expect("open");
        let number = entry.file_name();
        // What whoever runs the tests has left open for everybody is not the agent's to close.
        let is_inherited =
            fs::read_link(std::path::Path::new("/proc/self/fd").join(&number)).is_ok_and(|own| own == file);
        let is_its_own = if number == "2" {
            file.to_string_lossy().starts_with("pipe:")
        } else {
            file.to_string_lossy().starts_with("/memfd:gauged")
        };
        assert!(is_its_own || is_inherited, "{number:?} is {}", file.display());
    }
}

#[test]
fn killed_agent_leaves_no_compiler_behind() {
    let (_host, mut agent) = start(&slow(), as_usual);
    let child = compiler(&agent);
    agent.signal(Signal::KILL);
    agent.wait_end();
    await_end(child, &agent);
}

#[test]
fn shutdown_ends_the_compiler() {
    // A service manager tells every process of a service, a terminal every process of a group.
    for signal in [Signal::TERM, Signal::INT] {
        let (_host, mut agent) = start(&slow(), as_usual);
        let child = compiler(&agent);
        kill_process(child, signal).expect("sent");
        agent.signal(signal);
        let (status, took) = agent.wait_end();
        assert!(status.success() && took < Duration::from_secs(2), "{status} after {took:?}");
        await_end(child, &agent);
        assert_eq!(lines_of_bad(&agent), [""; 0], "nothing is said of the compiler");
    }
}

#[test]
fn removing_a_plugin_ends_its_compiler() {
    let (host, mut agent) = start(&slow(), as_usual);
    let child = compiler(&agent);
    fs::remove_file(host.plugin("bad.wasm")).expect("removed");
    await_end(child, &agent);
    await_that("its being reaped", &agent, || fs::metadata(format!("/proc/{child}")).is_err().then_some(()));
    agent.wait_log("plugin bad is removed");
    // Its place is free for what comes under the same name.
    Guest::new("bad").install(&host.plugin("bad.wasm"));
    let sample = agent.wait(|sample| value(sample, "bad").is_some());
    assert_eq!(faults(&sample, "bad", "load"), 0.0);
}

#[test]
fn compiler_crash_rejects_only_its_plugin() {
    let (host, mut agent) = start(&slow(), as_usual);
    kill_process(compiler(&agent), Signal::ABORT).expect("sent");
    agent.wait_log("makes the compiler crash (signal 6); rebuild it, and report this; nothing of it runs");
    mend(&host, &mut agent);
}

#[test]
fn killed_compiler_is_started_again() {
    let (host, mut agent) = start(&slow(), as_usual);
    for _ in 0..2 {
        let child = compiler(&agent);
        kill_process(child, Signal::KILL).expect("sent");
        await_end(child, &agent);
    }
    agent.wait(|sample| faults(sample, "bad", "load") == 2.0);
    let lines = lines_of_bad(&agent);
    assert_eq!(lines.len(), 1, "what is tried again is reported once: {lines:?}");
    assert!(lines[0].contains("its compiler was killed by somebody else (signal 9)"), "{lines:?}");
    assert!(lines[0].ends_with("it is tried again"), "{lines:?}");
    mend(&host, &mut agent);
}

#[test]
fn replaced_agent_binary_still_compiles() {
    let host = Host::new();
    let binary = host.path("gauged");
    fs::copy(env!("CARGO_BIN_EXE_gauged"), &binary).expect("copied");
    let mut command = Command::new(&binary);
    command.args(["--interval", "100ms"]).current_dir(host.path("")).env("CACHE_DIRECTORY", host.cache());
    let mut agent = Agent::start(command);
    agent.next();
    // As an upgrade does: the name stands for another program now, here for one that cannot compile.
    install(b"#!/bin/sh\nexit 1\n", &binary);
    Guest::new("late").install(&host.plugin("late.wasm"));
    agent.wait(|sample| value(sample, "late").is_some());
}

#[test]
fn manual_compile_command_reports_its_result() {
    let host = Host::new();
    let file = |bytes: &[u8]| {
        fs::write(host.path("input"), bytes).expect("written");
        fs::File::open(host.path("input")).expect("open")
    };
    let compile = |input| host.command(&["compile"]).stdin(input).output().expect("it runs");
    let output = compile(file(b"no plugin"));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "is text, not WebAssembly; build it for a wasm target\n");
    let output = compile(file(&Guest::new("good").module()));
    assert!(output.status.success() && output.status.signal().is_none() && output.stdout.starts_with(b"\x7fELF"));
    assert!(!String::from_utf8(host.run(&["--help"]).stdout).expect("text").contains("ompile"), "it is no command");
}
