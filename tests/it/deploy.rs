//! What is in `deploy/`, used as it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::guest::Guest;
use crate::harness::{Agent, DEADLINE, Host, parse, repository, value};
use crate::python;

/// An installation as `deploy/supervisor.conf` expects it, elsewhere.
fn install() -> Host {
    let host = Host::new();
    fs::copy(env!("CARGO_BIN_EXE_gauged"), host.path("gauged")).expect("copied");
    for file in ["run.sh", "gauged.toml"] {
        fs::copy(repository().join("deploy").join(file), host.path(file)).expect("copied");
    }
    let configuration = fs::read_to_string(host.path("gauged.toml")).expect("readable");
    let quicker = configuration.replace("interval = \"10s\"", "interval = \"500ms\"");
    fs::write(host.path("gauged.toml"), quicker).expect("written");
    Guest::new("deployed").install(&host.plugin("deployed.wasm"));
    host
}

#[test]
fn run_sh_runs_what_lies_beside_it() {
    let host = install();
    let mut command = Command::new(host.path("run.sh"));
    command.current_dir("/").env("CACHE_DIRECTORY", host.cache());
    let mut agent = Agent::start(command);
    agent.wait(|sample| value(sample, "deployed").is_some());
    let (status, _) = agent.terminate();
    assert!(status.success(), "the signal reached the agent: {status}");
}

#[test]
fn run_sh_says_what_is_missing() {
    let host = install();
    fs::remove_file(host.path("gauged")).expect("removed");
    let output = Command::new(host.path("run.sh")).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no program gauged in"));
}

#[test]
fn the_example_configuration_is_right_as_it_is_and_with_everything_in_it() {
    let host = install();
    let check = |text: &str| {
        fs::write(host.path("gauged.toml"), text).expect("written");
        let output = host.run(&["check"]);
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    };
    let example = fs::read_to_string(repository().join("deploy/gauged.toml")).expect("readable");
    check(&example);
    let everything: Vec<&str> = example.lines().filter(|line| !line.starts_with("# ")).collect();
    let everything = everything.join("\n").replace('#', "");
    assert!(everything.contains("[plugins.uptime]\n"));
    check(&everything);
}

/// A program of supervisord's: the machine's, one that is installed for the occasion, or, where Python lacks what that
/// takes and the tests run as root, Debian's.
fn supervisor(program: &str) -> PathBuf {
    let is_there = |path: &Path| python::succeeds(path, &["--help"]);
    let installed = || python::environment("supervisor").map(|programs| programs.join(program));
    let debians = || {
        let _ = rustix::process::geteuid().is_root()
            && python::succeeds(Path::new("apt-get"), &["update"])
            && python::succeeds(Path::new("apt-get"), &["install", "-y", "--no-install-recommends", "supervisor"]);
        PathBuf::from(program)
    };
    let found = Some(PathBuf::from(program)).filter(|path| is_there(path)).or_else(installed).unwrap_or_else(debians);
    assert!(is_there(&found), "no {program}: install supervisor, or python3 with venv and pip to install it with");
    found
}

/// A `supervisord` that is ended with the test.
struct Supervisor {
    child: std::process::Child,
    configuration: PathBuf,
}

impl Supervisor {
    fn start(host: &Host) -> Self {
        let program = fs::read_to_string(repository().join("deploy/supervisor.conf")).expect("readable");
        let directory = host.path("");
        let here = directory.to_str().expect("text").trim_end_matches('/');
        let program = program.replace("/opt/gauged", here).replace("/var/log/gauged", here);
        let around = format!(
            "[supervisord]\nnodaemon=true\nlogfile={here}/supervisord.log\npidfile={here}/supervisord.pid\n\
             [unix_http_server]\nfile={here}/control\n\
             [rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
             [supervisorctl]\nserverurl=unix://{here}/control\n{program}"
        );
        let configuration = host.path("supervisord.conf");
        fs::write(&configuration, around).expect("written");
        let mut command = Command::new(supervisor("supervisord"));
        command.arg("-c").arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("CACHE_DIRECTORY", host.cache());
        Self { child: command.spawn().expect("it starts"), configuration }
    }

    fn control(&self, words: &[&str]) -> Output {
        let mut command = Command::new(supervisor("supervisorctl"));
        command.arg("-c").arg(&self.configuration).args(words).output().expect("it runs")
    }

    /// The agent's process.
    fn pid(&self) -> Option<i32> {
        String::from_utf8(self.control(&["pid", "gauged"]).stdout).ok()?.trim().parse().ok().filter(|&pid| pid > 0)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.control(&["shutdown"]);
        let until = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn supervisord_starts_it_restarts_it_and_stops_it() {
    let host = install();
    let supervisor = Supervisor::start(&host);
    let read = |file: &str| fs::read_to_string(host.path(file)).unwrap_or_default();
    await_that("a sample", || read("samples.log").contains("\"deployed\""));
    parse(read("samples.log").lines().next().expect("one"));

    let first = supervisor.pid().expect("it runs");
    kill_process(Pid::from_raw(first).expect("a process"), Signal::KILL).expect("killed");
    await_that("another process", || supervisor.pid().is_some_and(|pid| pid != first));
    await_that("its running for good", || {
        String::from_utf8_lossy(&supervisor.control(&["status", "gauged"]).stdout).contains("RUNNING")
    });
    let before = read("samples.log").len();
    await_that("its samples", || read("samples.log").len() > before);

    let start = Instant::now();
    let stopped = supervisor.control(&["stop", "gauged"]);
    assert!(String::from_utf8_lossy(&stopped.stdout).contains("gauged: stopped"));
    assert!(start.elapsed() < Duration::from_secs(5), "it was not killed: {:?}", start.elapsed());
    let says = read("supervisord.log");
    assert!(says.contains("stopped: gauged (exit status 0)"), "{says}");
    assert!(read("gauged.log").trim_end().ends_with("shutting down"), "{}", read("gauged.log"));
}

#[test]
fn supervisord_gives_up_with_a_wrong_configuration() {
    let host = install();
    fs::write(host.path("gauged.toml"), "interval = \"-1s\"\n").expect("written");
    let supervisor = Supervisor::start(&host);
    await_that("its giving up", || {
        String::from_utf8_lossy(&supervisor.control(&["status", "gauged"]).stdout).contains("FATAL")
    });
    let says = fs::read_to_string(host.path("gauged.log")).expect("readable");
    assert_eq!(says.matches("gauged.toml:1: interval: \"-1s\" is not a duration").count(), 4, "{says}");
}
