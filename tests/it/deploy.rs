//! The files of `deploy/`: `run.sh`, the example configuration, and `supervisor.conf` under a real supervisord.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::guest::Guest;
use crate::harness::{Agent, Setup, parse, repository, value, wait_until};
use crate::requirement::{self, Python};

/// An installation as `deploy/supervisor.conf` expects it, in another directory.
fn install() -> Setup {
    let setup = Setup::new();
    fs::copy(env!("CARGO_BIN_EXE_gauged"), setup.path("gauged")).expect("copied");
    for file in ["run.sh", "gauged.toml"] {
        fs::copy(repository().join("deploy").join(file), setup.path(file)).expect("copied");
    }
    let configuration = fs::read_to_string(setup.path("gauged.toml")).expect("readable");
    let quicker = configuration.replace("interval = \"10s\"", "interval = \"500ms\"");
    fs::write(setup.path("gauged.toml"), quicker).expect("written");
    Guest::new("deployed").install(&setup.plugin("deployed.wasm"));
    setup
}

#[test]
fn run_sh_starts_the_agent_beside_it() {
    let setup = install();
    let mut command = Command::new(setup.path("run.sh"));
    command.current_dir("/").env("CACHE_DIRECTORY", setup.cache());
    let mut agent = Agent::start(command);
    agent.wait(|sample| value(sample, "deployed").is_some());
    let (status, _) = agent.terminate();
    assert!(status.success(), "the signal reached the agent: {status}");
}

#[test]
fn run_sh_reports_a_missing_program() {
    let setup = install();
    fs::remove_file(setup.path("gauged")).expect("removed");
    let output = Command::new(setup.path("run.sh")).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no program gauged in"));
}

#[test]
fn example_configuration_is_valid_with_every_key() {
    let setup = install();
    let check = |text: &str| {
        fs::write(setup.path("gauged.toml"), text).expect("written");
        let output = setup.run(&["check"]);
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    };
    let example = fs::read_to_string(repository().join("deploy/gauged.toml")).expect("readable");
    check(&example);
    let everything: Vec<&str> = example.lines().filter(|line| !line.starts_with("# ")).collect();
    let everything = everything.join("\n").replace('#', "");
    assert!(everything.contains("[plugins.uptime]\n"));
    check(&everything);
}

/// A `supervisord` that is ended with the test.
struct Supervisor {
    python: Python,
    child: Child,
    configuration: PathBuf,
}

impl Supervisor {
    fn start(python: Python, setup: &Setup) -> Self {
        let program = fs::read_to_string(repository().join("deploy/supervisor.conf")).expect("readable");
        let directory = setup.path("");
        let here = directory.to_str().expect("text").trim_end_matches('/');
        let program = program.replace("/opt/gauged", here).replace("/var/log/gauged", here);
        let around = format!(
            "[supervisord]\nnodaemon=true\nlogfile={here}/supervisord.log\npidfile={here}/supervisord.pid\n\
             [unix_http_server]\nfile={here}/control\n\
             [rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
             [supervisorctl]\nserverurl=unix://{here}/control\n{program}"
        );
        let configuration = setup.path("supervisord.conf");
        fs::write(&configuration, around).expect("written");
        let mut command = python.command(&["-m", "supervisor.supervisord"]);
        command.arg("-c").arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("CACHE_DIRECTORY", setup.cache());
        let child = command.spawn().expect("it starts");
        Self { python, child, configuration }
    }

    fn control(&self, words: &[&str]) -> Output {
        let mut command = self.python.command(&["-m", "supervisor.supervisorctl"]);
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

#[test]
fn supervisord_starts_restarts_and_stops_the_agent() {
    let Some(python) = requirement::python("supervisor") else { return };
    let setup = install();
    let supervisor = Supervisor::start(python, &setup);
    let read = |file: &str| fs::read_to_string(setup.path(file)).unwrap_or_default();
    wait_until("a sample", || read("samples.log").contains("\"deployed\""));
    parse(read("samples.log").lines().next().expect("one"));

    let first = supervisor.pid().expect("it runs");
    kill_process(Pid::from_raw(first).expect("a process"), Signal::KILL).expect("killed");
    wait_until("another process", || supervisor.pid().is_some_and(|pid| pid != first));
    wait_until("the state RUNNING", || {
        String::from_utf8_lossy(&supervisor.control(&["status", "gauged"]).stdout).contains("RUNNING")
    });
    let before = read("samples.log").len();
    wait_until("further samples", || read("samples.log").len() > before);

    let stopped = supervisor.control(&["stop", "gauged"]);
    assert!(String::from_utf8_lossy(&stopped.stdout).contains("gauged: stopped"));
    // A killed agent would have no exit status.
    wait_until("the exit status", || read("supervisord.log").contains("stopped: gauged (exit status 0)"));
    wait_until("the agent's last line", || read("gauged.log").trim_end().ends_with("shutting down"));
}

#[test]
fn supervisord_gives_up_on_invalid_configuration() {
    let Some(python) = requirement::python("supervisor") else { return };
    let setup = install();
    fs::write(setup.path("gauged.toml"), "interval = \"-1s\"\n").expect("written");
    let supervisor = Supervisor::start(python, &setup);
    wait_until("the state FATAL", || {
        String::from_utf8_lossy(&supervisor.control(&["status", "gauged"]).stdout).contains("FATAL")
    });
    let log = || fs::read_to_string(setup.path("gauged.log")).expect("readable");
    let attempts = || log().matches("gauged.toml:1: interval: \"-1s\" is not a duration").count();
    wait_until("four attempts in the log", || attempts() >= 4);
    assert_eq!(attempts(), 4, "{}", log());
}
