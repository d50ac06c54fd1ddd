//! The files of `deploy/`: `run.sh`, the example configuration, `supervisor.conf` under a real supervisord, and systemd's unit as
//! systemd itself judges it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::guest::Guest;
use crate::harness::{Agent, Setup, parse, repository, value, wait_until};
use crate::requirement::{self, Program, Python};

/// An installation as `deploy/supervisor.conf` expects it, in another directory.
fn install() -> Setup {
    let setup = Setup::new();
    fs::copy(env!("CARGO_BIN_EXE_gauged"), setup.path("gauged")).expect("copied");
    for file in ["run.sh", "gauged.toml"] {
        fs::copy(repository().join("deploy").join(file), setup.path(file)).expect("copied");
    }
    let configuration = fs::read_to_string(setup.path("gauged.toml")).expect("readable");
    let quicker = configuration.replacen("#interval = \"10s\"", "interval = \"500ms\"", 1);
    fs::write(setup.path("gauged.toml"), quicker).expect("written");
    Guest::new("deployed").install(&setup.plugin("deployed.wasm"));
    setup
}

#[test]
fn run_sh_starts_the_agent_beside_it() {
    let setup = install();
    let mut command = Command::new(setup.path("run.sh"));
    command.current_dir("/").env("CACHE_DIRECTORY", setup.cache()).env("STATE_DIRECTORY", setup.path("state"));
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
    assert!(everything.contains("[plugins.redis]\n"));
    // Not world-readable, as a secret has to be.
    let secret = setup.path("secret");
    fs::write(&secret, "x").expect("written");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");
    assert!(everything.contains("\"/run/credentials/redis\""));
    let everything = everything.replace("/run/credentials/redis", secret.to_str().expect("text"));
    let everything = TLS_FILES.iter().fold(everything, |text, (file, content)| {
        let own = setup.path(file.rsplit('/').next().expect("a name"));
        fs::write(&own, content()).expect("written");
        fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).expect("set");
        assert!(text.contains(file), "{file}");
        text.replace(file, own.to_str().expect("text"))
    });
    check(&everything);
}

/// Makes the content of a file.
type MakeContent = fn() -> String;

/// The files of the example that a server and clients need, and what is in them.
const TLS_FILES: [(&str, MakeContent); 9] = [
    ("/etc/gauged/token", || "0123456789abcdef0123456789abcdef".to_owned()),
    ("/etc/gauged/tls.pem", || certified().0.clone()),
    ("/etc/gauged/tls.key", || certified().1.clone()),
    ("/etc/gauged/clients.pem", || certified().0.clone()),
    ("/etc/gauged/ca.pem", || certified().0.clone()),
    ("/etc/gauged/client.pem", || certified().0.clone()),
    ("/etc/gauged/client.key", || certified().1.clone()),
    ("/etc/gauged/receiver-token", || "abc".to_owned()),
    ("/etc/gauged/receiver-password", || "abc".to_owned()),
];

/// A certificate and its key, in PEM.
fn certified() -> &'static (String, String) {
    static CERTIFIED: LazyLock<(String, String)> = LazyLock::new(|| {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
        (certified.cert.pem(), certified.signing_key.serialize_pem())
    });
    &CERTIFIED
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
        command.env("CACHE_DIRECTORY", setup.cache()).env("STATE_DIRECTORY", setup.path("state"));
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

/// How exposed the unit may be, from 0 to 10, as `systemd-analyze security` counts.
const MAX_EXPOSURE: f64 = 2.0;

/// The first systemd with `Type=notify-reload`.
const NOTIFY_RELOAD: u32 = 253;

fn unit() -> PathBuf {
    repository().join("deploy/systemd/gauged.service")
}

/// Runs `systemd-analyze`; returns its output and whether it succeeded.
fn analyze(program: &Program, arguments: &[&str], file: &Path) -> (String, bool) {
    let mut command = program.command();
    command.args(arguments).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (text, output.status.success())
}

/// The version of a `systemd-analyze`.
fn version(program: &Program) -> u32 {
    let output = program.command().arg("--version").stdout(Stdio::piped()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(1).and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Has systemd read the unit with these drop-ins; returns what it complains about.
fn verify(program: &Program, drop_ins: &[&str]) -> String {
    let setup = Setup::new();
    let text = fs::read_to_string(unit()).expect("readable");
    let installed = text.replace("/usr/local/bin/gauged", env!("CARGO_BIN_EXE_gauged"));
    assert_ne!(text, installed, "the unit starts the program");
    fs::write(setup.path("gauged.service"), installed).expect("written");
    fs::create_dir(setup.path("gauged.service.d")).expect("created");
    for name in drop_ins {
        let from = repository().join("deploy/systemd/drop-ins").join(name);
        fs::copy(from, setup.path("gauged.service.d").join(name)).expect("copied");
    }
    let (complaints, is_valid) = analyze(program, &["verify", "--man=no"], &setup.path("gauged.service"));
    assert!(is_valid, "{complaints}");
    // Of other units of the machine.
    complaints.lines().filter(|line| line.contains("gauged")).collect::<Vec<_>>().join("\n")
}

#[test]
fn systemd_unit_is_hardened() {
    let Some(program) = requirement::program("systemd-analyze") else { return };
    let (report, _) = analyze(&program, &["security", "--offline=true", "--no-pager"], &unit());
    let level = report.lines().find_map(|line| line.split_once("Overall exposure level for gauged.service: "));
    let exposure: Option<f64> = level.and_then(|(_, level)| level.split(' ').next()?.parse().ok());
    assert!(exposure.is_some_and(|exposure| exposure <= MAX_EXPOSURE), "{report}");
}

#[test]
fn systemd_accepts_unit_and_drop_ins() {
    let Some(program) = requirement::program("systemd-analyze") else { return };
    assert_eq!(verify(&program, &["open-files.conf", "samples-to-file.conf"]), "");
}

#[test]
fn notify_reload_needs_a_newer_systemd() {
    let needed = format!("systemd-analyze {NOTIFY_RELOAD} or later");
    let is_newer = |program: &Program| version(program) >= NOTIFY_RELOAD;
    let Some(newer) = requirement::program_with("systemd-analyze", &needed, is_newer) else { return };
    assert_eq!(verify(&newer, &["notify-reload.conf"]), "");
    let Some(program) = requirement::program("systemd-analyze").filter(|program| !is_newer(program)) else { return };
    let complaint = verify(&program, &["notify-reload.conf"]);
    assert!(complaint.ends_with("Failed to parse service type, ignoring: notify-reload"), "{complaint}");
    assert_eq!(complaint.lines().collect::<std::collections::BTreeSet<_>>().len(), 1, "{complaint}");
}

/// Each line of the sandbox is preceded by its price.
#[test]
fn hardening_lines_state_their_cost() {
    let text = fs::read_to_string(unit()).expect("readable");
    let sandbox = text.split("# Sandbox.").nth(1).and_then(|rest| rest.split("[Install]").next()).expect("a sandbox");
    let lines: Vec<&str> = sandbox.lines().skip(1).collect();
    let is_setting = |line: &str| !line.is_empty() && !line.starts_with('#');
    for pair in lines.windows(2).filter(|pair| is_setting(pair[1])) {
        let has_price = pair[0].starts_with('#') && pair[0].to_lowercase().contains("costs ");
        assert!(has_price, "{} does not say which metric it costs", pair[1]);
    }
    assert!(lines.iter().filter(|line| is_setting(line)).count() > 20, "{sandbox}");
}
