//! The agent as a service whose manager is notified, with a real socket of the manager's: when the agent is ready, what its
//! status line shows, and when it gives signs of life.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::capabilities::file_guest_as;
use crate::compile::{slow_to_compile, wait_compiler};
use crate::fuse::Service;
use crate::guest::Guest;
use crate::harness::{Agent, DEADLINE, Setup, value, wait_until};
use crate::namespaces::{Refused, run_in_namespaces};
use crate::slow::setup_with_mounted;

/// The manager's time without a sign of life, in microseconds.
const WATCHDOG_USEC: &str = "400000";

fn is_interrupted(received: &io::Result<usize>) -> bool {
    received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)
}

/// A service manager, as the agent sees it.
struct Manager {
    socket: UnixDatagram,
    name: String,
    /// The messages so far.
    messages: Vec<String>,
}

impl Manager {
    fn new(setup: &Setup) -> Self {
        let path = setup.path("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        Self { socket, name: path.to_str().expect("text").to_owned(), messages: Vec::new() }
    }

    /// A manager whose socket has a name instead of a path.
    fn abstract_socket() -> Self {
        let name = format!("gauged-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("bound");
        Self { socket, name: format!("@{name}"), messages: Vec::new() }
    }

    /// Starts the agent as a service with a watchdog.
    fn start(&self, setup: &Setup, arguments: &[&str]) -> Agent {
        Agent::start(self.command(setup, arguments))
    }

    fn command(&self, setup: &Setup, arguments: &[&str]) -> Command {
        let mut command = setup.command(arguments);
        command.env("NOTIFY_SOCKET", &self.name).env("WATCHDOG_USEC", WATCHDOG_USEC);
        command
    }

    /// The next message; none when there is none for this long.
    fn next_within(&mut self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).expect("set");
        let mut buffer = [0; 4096];
        // With a timeout a child of another test that ends interrupts it.
        let received = std::iter::repeat_with(|| self.socket.recv(&mut buffer));
        let length = { received }.find(|received| !is_interrupted(received))?.ok()?;
        let message = String::from_utf8(buffer[..length].to_vec()).expect("text");
        self.messages.push(message.clone());
        Some(message)
    }

    /// Waits for a message that begins so.
    fn wait(&mut self, start: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match self.next_within(left) {
                Some(message) if message.starts_with(start) => return message,
                Some(_) if Instant::now() < until => {}
                _ => panic!("no message {start}: {:?}", self.messages),
            }
        }
    }

    /// Forgets the messages that have arrived.
    fn drain(&mut self) {
        while self.next_within(Duration::from_millis(1)).is_some() {}
    }
}

/// A plugin whose first call does not return before its time limit.
fn burning(setup: &Setup, name: &str) {
    let guest = Guest::new(name).collect("(loop $forever (br $forever)) unreachable");
    guest.install(&setup.plugin(&format!("{name}.wasm")));
}

#[test]
fn ready_waits_for_no_tick_or_plugin() {
    let setup = Setup::with_config("interval = \"1day\"\n[plugins.slow]\ntimeout = \"1m\"\n");
    burning(&setup, "slow");
    let mut manager = Manager::new(&setup);
    let mut agent = manager.start(&setup, &[]);
    assert_eq!(manager.next_within(DEADLINE).as_deref(), Some("READY=1"));
    // The interval is longer than the watchdog's time, and the plugin burns.
    assert_eq!(manager.wait("STATUS=ticks every 1day, loading 1"), "STATUS=ticks every 1day, loading 1 plugin");
    for _ in 0..3 {
        assert_eq!(manager.wait("WATCHDOG"), "WATCHDOG=1");
    }
    let (status, _) = agent.terminate();
    assert!(status.success() && agent.samples().is_empty(), "{status}");
    manager.wait("STOPPING=1");
    assert_eq!(manager.messages.iter().filter(|message| *message == "READY=1").count(), 1, "{:?}", manager.messages);
}

#[test]
fn abstract_socket_of_the_manager_is_notified() {
    let setup = Setup::new();
    let mut manager = Manager::abstract_socket();
    let mut agent = manager.start(&setup, &["--interval", "100ms"]);
    manager.wait("READY=1");
    manager.wait("STATUS=ticks every 100ms, no plugins");
    agent.terminate();
    manager.wait("STOPPING=1");
}

#[test]
fn status_line_follows_the_plugins() {
    let setup = Setup::new();
    Guest::new("good").install(&setup.plugin("good.wasm"));
    fs::write(setup.plugin("bad.wasm"), "no plugin").expect("written");
    let mut manager = Manager::new(&setup);
    let mut agent = manager.start(&setup, &["--interval", "100ms"]);
    manager.wait("STATUS=ticks every 100ms, 1 plugin up, 1 rejected");
    fs::remove_file(setup.plugin("bad.wasm")).expect("removed");
    assert_eq!(manager.wait("STATUS=ticks every 100ms, 1 plugin up"), "STATUS=ticks every 100ms, 1 plugin up");
    for _ in 0..5 {
        agent.next();
    }
    agent.terminate();
    manager.wait("STOPPING=1");
    let lines: Vec<&String> = manager.messages.iter().filter(|message| message.starts_with("STATUS=")).collect();
    assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "only changes: {lines:?}");
}

#[test]
fn hung_plugin_does_not_withhold_the_watchdog() {
    let file = "proc/diskstats";
    let attempt = || -> Result<(), Refused> {
        let (setup, mount) = setup_with_mounted(file, "content\n", Service::Responds)?;
        let config = "interval = \"200ms\"\n[plugins.hangs]\nread = [\"/remote/*\"]\n";
        fs::write(setup.path("gauged.toml"), config).expect("written");
        file_guest_as("hangs", "read", &format!("/{file}")).install(&setup.plugin("hangs.wasm"));
        let mut manager = Manager::new(&setup);
        let mut agent = manager.start(&setup, &["--root", "host"]);
        agent.wait(|sample| value(sample, "hangs").is_some());
        let reads = mount.reads();
        mount.set(Service::HangsInReads);
        wait_until("a reading that hangs", || mount.reads() > reads);
        manager.drain();
        for _ in 0..5 {
            manager.wait("WATCHDOG=1");
        }
        mount.set(Service::Responds);
        agent.terminate();
        Ok(())
    };
    run_in_namespaces("notify::hung_plugin_does_not_withhold_the_watchdog", attempt);
}

#[test]
fn stopped_agent_gives_no_sign_of_life() {
    let setup = Setup::new();
    let mut manager = Manager::new(&setup);
    let mut agent = manager.start(&setup, &["--interval", "100ms"]);
    manager.wait("WATCHDOG=1");
    agent.signal(Signal::STOP);
    wait_until("the agent is stopped", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid())).expect("it exists");
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    });
    manager.drain();
    let watchdog = Duration::from_micros(WATCHDOG_USEC.parse().expect("a number"));
    assert_eq!(manager.next_within(2 * watchdog), None);
    agent.signal(Signal::CONT);
    manager.wait("WATCHDOG=1");
    agent.next();
    agent.terminate();
}

#[test]
fn single_commands_notify_nobody() {
    let setup = Setup::with_config("interval = \"1s\"\n");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut manager = Manager::new(&setup);
    let commands: [&[&str]; 4] =
        [&["--once"], &["check"], &["plugin", "list"], &["plugin", "inspect", "plugins/good.wasm"]];
    for arguments in commands {
        let output = manager.command(&setup, arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    manager.drain();
    assert!(manager.messages.is_empty(), "{:?}", manager.messages);
}

#[test]
fn missing_manager_is_one_warning() {
    let setup = Setup::new();
    let mut command = setup.command(&["--interval", "100ms"]);
    command.env("NOTIFY_SOCKET", setup.path("notify")).env("WATCHDOG_USEC", WATCHDOG_USEC);
    let mut agent = Agent::start(command);
    for _ in 0..5 {
        agent.next();
    }
    let line = agent.wait_log_lines(" WARN service manager not notified ", 1).remove(0);
    assert!(line.contains("reason=\"No such file or directory") && line.contains(" remedy="), "{line}");
    let mut manager = Manager::new(&setup);
    manager.wait("READY=1");
    agent.wait_log(" INFO service manager notified again");
    manager.wait("WATCHDOG=1");
    agent.terminate();
    assert_eq!(agent.log().matches("service manager not notified").count(), 1, "{}", agent.log());
}

#[test]
fn watchdog_of_another_process_gets_no_signs() {
    let setup = Setup::new();
    let mut manager = Manager::new(&setup);
    let mut command = manager.command(&setup, &["--interval", "100ms"]);
    command.env("WATCHDOG_PID", std::process::id().to_string());
    let mut agent = Agent::start(command);
    manager.wait("READY=1");
    let since = Instant::now();
    let watchdog = Duration::from_micros(WATCHDOG_USEC.parse().expect("a number"));
    while since.elapsed() < 2 * watchdog {
        agent.next();
    }
    agent.terminate();
    manager.wait("STOPPING=1");
    assert!(!manager.messages.iter().any(|message| message == "WATCHDOG=1"), "{:?}", manager.messages);
}

#[test]
fn compiler_does_not_inherit_the_managers_variables() {
    let setup = Setup::new();
    slow_to_compile().install(&setup.plugin("slow.wasm"));
    let mut manager = Manager::new(&setup);
    let agent = manager.start(&setup, &["--interval", "100ms"]);
    let compiler = wait_compiler(&agent);
    let environment = fs::read(Path::new("/proc").join(compiler.to_string()).join("environ")).expect("it runs");
    assert_eq!(String::from_utf8_lossy(&environment), "");
    manager.wait("STATUS=ticks every 100ms, loading 1 plugin");
}

#[test]
fn reload_is_reported_from_request_to_end() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    let mut manager = Manager::new(&setup);
    let mut agent = manager.start(&setup, &[]);
    manager.wait("READY=1");
    for toml in ["interval = \"200ms\"\n", "nonsense"] {
        fs::write(setup.path("gauged.toml"), toml).expect("written");
        manager.drain();
        agent.signal(Signal::HUP);
        let reloading = manager.wait("RELOADING=1");
        let since_boot = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse::<u64>().ok());
        assert!(since_boot > Some(0), "{reloading}");
        manager.wait("READY=1");
    }
    // It may have come before the end of the second reload.
    let status = "STATUS=ticks every 200ms";
    if !manager.messages.iter().any(|message| message.starts_with(status)) {
        manager.wait(status);
    }
    agent.wait(|sample| sample["agent"]["config_reload_success"] == 0);
}
