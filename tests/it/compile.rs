//! Plugins that are expensive to compile, and compiler processes that fail: no other plugin and no sample is disturbed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::guest::{Guest, install};
use crate::harness::{Agent, Sample, Setup, fault_count, value, wait_until};
use crate::run::MAX_SHUTDOWN;

/// A function of nested loops, each of which changes all variables: a few kilobytes that take a compiler minutes, or
/// gigabytes.
fn nested_loops(loops: usize, variables: usize) -> String {
    let mut function = format!("(func (local {})", "i32 ".repeat(variables));
    function.push_str(&"(loop ".repeat(loops));
    for variable in 0..variables {
        let _ = write!(function, "(local.set {variable} (i32.add (local.get {variable}) (i32.const 1)))");
    }
    function.push_str(&"(br_if 0 (i32.const 0)))".repeat(loops));
    function.push(')');
    function
}

/// A plugin that takes longer to compile than any test takes.
pub fn slow_to_compile() -> Guest {
    Guest::new("bad").with(&nested_loops(100, 1000))
}

/// The same in a file of more than 1 MiB, which gets no permit that is kept for small files.
fn large_and_slow_to_compile() -> Guest {
    slow_to_compile().with(&format!("(@custom \"padding\" \"{}\")", "x".repeat(1 << 20)))
}

/// A plugin whose compiler exceeds its memory limit within seconds.
pub fn large_to_compile() -> Guest {
    Guest::new("bad").with(&nested_loops(1000, 2000))
}

/// The running child processes of an agent.
fn children(agent: u32) -> Vec<Pid> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux has it").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        if process_status(pid).is_some_and(|(parent, _)| parent == agent) {
            children.push(pid);
        }
    }
    children
}

/// The parent and the status file of a process; none when it has ended.
fn process_status(pid: Pid) -> Option<(u32, BTreeMap<String, String>)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let lines = text.lines().filter_map(|line| line.split_once(":\t"));
    let status: BTreeMap<_, _> = lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect();
    if status.get("State")?.starts_with(['Z', 'X']) {
        return None;
    }
    Some((status.get("PPid")?.parse().ok()?, status))
}

/// Waits for the agent's one compiler process, once it compiles.
pub fn wait_compiler(agent: &Agent) -> Pid {
    let is_compiler = |pid: &Pid| process_status(*pid).is_some_and(|(_, status)| status["Name"] == "gauged-compile");
    let mut compiler = None;
    wait_until("a compiler process", || {
        compiler = children(agent.pid()).into_iter().find(is_compiler);
        compiler.is_some()
    });
    compiler.expect("found")
}

/// Waits until a process has ended.
fn wait_process_end(pid: Pid) {
    wait_until("the end of the compiler", || process_status(pid).is_none());
}

/// An agent with a plugin that works, as `good`, and the plugin that is tested, as `bad`.
fn start(bad: &Guest, command: impl FnOnce(&Setup) -> Command) -> (Setup, Agent) {
    start_in(Setup::new(), bad, command)
}

/// The same in a directory with a configuration.
fn start_in(setup: Setup, bad: &Guest, command: impl FnOnce(&Setup) -> Command) -> (Setup, Agent) {
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = Agent::start(command(&setup));
    agent.wait(|sample| value(sample, "good").is_some());
    bad.install(&setup.plugin("bad.wasm"));
    (setup, agent)
}

fn default_command(setup: &Setup) -> Command {
    setup.command(&["--interval", "200ms"])
}

/// Installs a good version of the plugin `bad`, and asserts that nothing else was disturbed.
fn fix(setup: &Setup, agent: &mut Agent) {
    Guest::new("bad").version("1.0.1").install(&setup.plugin("bad.wasm"));
    agent.wait(|sample| value(sample, "bad").is_some());
    agent.assert_undisturbed(&["good"]);
    assert_eq!(agent.wait_plugin_log("bad", 2).len(), 2, "{}", agent.log());
}

#[test]
fn plugin_exceeding_compile_memory_is_rejected() {
    let (setup, mut agent) = start(&large_to_compile(), default_command);
    let compiler = wait_compiler(&agent);
    let reason =
        "takes more than 1.0 GiB of memory to compile\" remedy=\"make it smaller, above all its largest function\"";
    let line = agent.wait_log_lines(reason, 1).remove(0);
    assert!(line.contains(" plugin=bad ") && line.ends_with("consequence=\"no version is running\""), "{line}");
    assert!(process_status(compiler).is_none(), "the compiler has ended");
    let sample = agent.wait(|sample| fault_count(sample, "bad", "load") > 0.0);
    assert_eq!((fault_count(&sample, "bad", "load"), value(&sample, "bad")), (1.0, None));

    // The same content is not compiled again.
    let count = sample["agent"]["compiled_total"].clone();
    fs::rename(setup.plugin("bad.wasm"), setup.path("bad.wasm")).expect("moved");
    install(&fs::read(setup.path("bad.wasm")).expect("read"), &setup.plugin("bad.wasm"));
    for _ in 0..5 {
        assert_eq!(agent.next()["agent"]["compiled_total"], count);
    }
}

#[test]
fn plugin_exceeding_compile_cpu_time_is_rejected() {
    let setup = Setup::with_config("[limits]\ncompile_cpu = \"3s\"\n");
    let (setup, mut agent) = start_in(setup, &slow_to_compile(), default_command);
    agent.wait_log(
        "takes more than 3s of CPU to compile\" remedy=\"make it smaller, above all its largest function, or raise compile_cpu \
         under [limits]\"",
    );
    let sample = agent.wait(|sample| fault_count(sample, "bad", "load") > 0.0);
    assert_eq!((fault_count(&sample, "bad", "load"), value(&sample, "bad")), (1.0, None));
    fix(&setup, &mut agent);
}

#[test]
fn compiler_process_has_minimal_privileges() {
    let (_setup, agent) = start(&slow_to_compile(), default_command);
    let compiler = wait_compiler(&agent);
    let read = |file: &str| fs::read(format!("/proc/{compiler}/{file}")).expect("it runs");
    let mut limits = String::new();
    // This limit is the last to be set.
    wait_until("the limits of the compiler", || {
        limits = String::from_utf8(read("limits")).expect("text");
        limits.contains("Max processes             0 ")
    });
    for limit in [
        "Max cpu time              120                  121",
        "Max address space         1073741824           1073741824",
        "Max file size             201326592            201326592",
        "Max core file size        0                    0",
        "Max open files            3                    3",
    ] {
        assert!(limits.contains(limit), "{limit} in {limits}");
    }
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{compiler}/task")).expect("it runs").flatten() {
        let mut status = String::new();
        // The filter follows the limits.
        wait_until("the filter of system calls", || {
            status = fs::read_to_string(thread.path().join("status")).expect("it runs");
            status.contains("\nSeccomp:\t2\n")
        });
        assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
        threads += 1;
    }
    assert_eq!(threads, 2, "one compiles, one waits for the agent's end");
    assert!(read("environ").is_empty());
    assert_eq!(read("cmdline"), b"gauged\0compile\0--cpu=120\0");
    assert_eq!(read("oom_score_adj"), b"1000\n");
    assert_eq!(fs::read_link(format!("/proc/{compiler}/cwd")).expect("it runs").to_str(), Some("/"));
    let stat = String::from_utf8(read("stat")).expect("text");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    assert_eq!(fields[16], "5", "the nice value");
    for entry in fs::read_dir(format!("/proc/{compiler}/fd")).expect("it runs").flatten() {
        let file = fs::read_link(entry.path()).expect("open");
        let number = entry.file_name();
        // A file that this process has inherited, too, was left open by the program that runs the tests.
        let is_inherited = fs::read_link(Path::new("/proc/self/fd").join(&number)).is_ok_and(|own| own == file);
        let is_allowed = if number == "2" {
            file.to_string_lossy().starts_with("pipe:")
        } else {
            file.to_string_lossy().starts_with("/memfd:gauged")
        };
        assert!(is_allowed || is_inherited, "{number:?} is {}", file.display());
    }
}

#[test]
fn killed_agent_leaves_no_compiler_behind() {
    let (_setup, mut agent) = start(&slow_to_compile(), default_command);
    let compiler = wait_compiler(&agent);
    agent.signal(Signal::KILL);
    agent.wait_exit();
    wait_process_end(compiler);
}

#[test]
fn shutdown_ends_the_compiler() {
    // A service manager signals every process of the service, a terminal every process of the group.
    for signal in [Signal::TERM, Signal::INT] {
        let (_setup, mut agent) = start(&slow_to_compile(), default_command);
        let compiler = wait_compiler(&agent);
        kill_process(compiler, signal).expect("sent");
        agent.signal(signal);
        let (status, took) = agent.wait_exit();
        assert!(status.success() && took < MAX_SHUTDOWN, "{status} after {took:?}");
        wait_process_end(compiler);
        assert_eq!(agent.plugin_log("bad"), [""; 0], "the end of the compiler is not logged");
    }
}

#[test]
fn removing_a_plugin_ends_its_compiler() {
    let (setup, mut agent) = start(&slow_to_compile(), default_command);
    let compiler = wait_compiler(&agent);
    fs::remove_file(setup.plugin("bad.wasm")).expect("removed");
    wait_until("the compiler to be reaped", || fs::metadata(format!("/proc/{compiler}")).is_err());
    agent.wait_log("plugin removed plugin=bad");
    // Another plugin can be installed under that name.
    Guest::new("bad").install(&setup.plugin("bad.wasm"));
    let sample = agent.wait(|sample| value(sample, "bad").is_some());
    assert_eq!(fault_count(&sample, "bad", "load"), 0.0);
}

#[test]
fn small_file_overtakes_large_slow_files() {
    let is_loading = |sample: &Sample, plugin: &str| {
        sample["agent"].get(&format!("plugin_state{{plugin=\"{plugin}\"}}")).is_some_and(|state| state == "loading")
    };
    let (setup, mut agent) = start(&large_and_slow_to_compile(), default_command);
    let compiler = wait_compiler(&agent);
    large_and_slow_to_compile().value(2).install(&setup.plugin("worse.wasm"));
    agent.wait(|sample| is_loading(sample, "bad") && is_loading(sample, "worse"));
    Guest::new("small").install(&setup.plugin("small.wasm"));
    let sample = agent.wait(|sample| value(sample, "small").is_some());
    assert!(is_loading(&sample, "bad") && is_loading(&sample, "worse"), "{}", agent.log());
    assert_eq!(sample["agent"]["compiled_total"], 3, "one large file is compiled at a time");

    // The next large file follows when the first is removed.
    fs::remove_file(setup.plugin("bad.wasm")).expect("removed");
    wait_process_end(compiler);
    agent.wait(|sample| sample["agent"]["compiled_total"] == 4);
    wait_compiler(&agent);
    agent.assert_undisturbed(&["good"]);
}

#[test]
fn compiler_crash_rejects_only_its_plugin() {
    let (setup, mut agent) = start(&slow_to_compile(), default_command);
    kill_process(wait_compiler(&agent), Signal::ABORT).expect("sent");
    agent.wait_log("makes the compiler crash (signal 6)\" remedy=\"rebuild it, and report this\" consequence=\"no version is running\"");
    fix(&setup, &mut agent);
}

#[test]
fn killed_compiler_is_started_again() {
    let (setup, mut agent) = start(&slow_to_compile(), default_command);
    for _ in 0..2 {
        let compiler = wait_compiler(&agent);
        kill_process(compiler, Signal::KILL).expect("sent");
        wait_process_end(compiler);
    }
    agent.wait(|sample| fault_count(sample, "bad", "load") == 2.0);
    let lines = agent.wait_plugin_log("bad", 1);
    assert_eq!(lines.len(), 1, "a retry is not logged again: {lines:?}");
    assert!(lines[0].contains("its compiler was killed (signal 9)"), "{lines:?}");
    assert!(lines[0].contains("; it is retried\""), "{lines:?}");
    fix(&setup, &mut agent);
}

#[test]
fn replaced_agent_binary_still_compiles() {
    let setup = Setup::new();
    let binary = setup.copy_agent();
    let mut agent = Agent::start(setup.command_of(&binary, &["--interval", "100ms"]));
    agent.next();
    // An upgrade replaces the program, here by one that cannot compile.
    install(b"#!/bin/sh\nexit 1\n", &binary);
    Guest::new("late").install(&setup.plugin("late.wasm"));
    agent.wait(|sample| value(sample, "late").is_some());
}

#[test]
fn manual_compile_command_reports_its_result() {
    let setup = Setup::new();
    let file = |bytes: &[u8]| {
        fs::write(setup.path("input"), bytes).expect("written");
        fs::File::open(setup.path("input")).expect("open")
    };
    let compile = |input| setup.command(&["compile"]).stdin(input).output().expect("it runs");
    let output = compile(file(b"no plugin"));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "is text, not WebAssembly; build it for a wasm target\n");
    let output = compile(file(&Guest::new("good").module()));
    assert!(output.status.success() && output.status.signal().is_none() && output.stdout.starts_with(b"\x7fELF"));
    assert!(!String::from_utf8(setup.run(&["--help"]).stdout).expect("text").contains("ompile"), "a hidden command");
}
