//! Hosts that have run out of threads: samples of the native collectors go on, one line names the limit, and the threads are
//! started once the limit is raised.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, id};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Resource, geteuid, getrlimit};
use serde_json::Value;

use crate::guest::Guest;
use crate::harness::{Agent, Sample, Setup, value};
use crate::run::assert_ends_in_time;
use crate::skip::{current_test, skip};

/// The first of the users who run nothing but one of these tests: the kernel counts the threads of a user together, and those
/// of root without a limit.
const FIRST_USER: u32 = 1_900_000_000;

/// The limit of an agent that can start neither threads nor processes: the agent counts itself.
const NO_THREADS: &str = "1";

/// The interval of agents whose plugins must be in each sample: on a busy host a sample waits for them for half of it.
const INTERVAL: &str = "500ms";

/// How often a test replaces a directory: the thread that watches the new one may start in time by chance.
const EXCHANGES: usize = 3;

/// An agent whose user runs nothing else, so that its threads can be limited.
struct LimitedAgent {
    setup: Setup,
    agent: Agent,
    /// The user that it runs as.
    user: u32,
}

impl LimitedAgent {
    /// Starts an agent that can start no thread. None where this machine cannot: the test is skipped then. `number` is a
    /// different one for each test.
    fn start_without_threads(number: u32, arguments: &[&str]) -> Option<Self> {
        Self::start(Setup::new(), number, NO_THREADS, arguments)
    }

    /// Starts an agent in a directory, with this limit.
    fn start(setup: Setup, number: u32, limit: &str, arguments: &[&str]) -> Option<Self> {
        fs::set_permissions(setup.path(""), Permissions::from_mode(0o755)).expect("set");
        let own = geteuid();
        let user = if own.is_root() { FIRST_USER + id() * 10 + number } else { own.as_raw() };
        if let Err(error) = prlimit(user).arg("true").status() {
            skip(&current_test(), &format!("failed to run prlimit as user {user}: {error}"));
            return None;
        }
        // It cannot create that itself in a directory of root's.
        fs::create_dir(setup.cache()).expect("created");
        fs::set_permissions(setup.cache(), Permissions::from_mode(0o700)).expect("set");
        chown(setup.cache(), Some(user), None).expect("given away");
        // It becomes the agent. The limit up to which this one may be raised stays.
        let mut command = setup.command_of("prlimit".as_ref(), &[&soft_limit(limit)]);
        command.arg(setup.copy_agent()).args(arguments);
        set_user(&mut command, user);
        Some(Self { agent: Agent::start(command), setup, user })
    }

    /// Takes from it the threads and processes that it has not started yet.
    fn lower_limit(&self) {
        self.set_limit(NO_THREADS);
    }

    /// Raises the limit as far as that is allowed.
    fn raise_limit(&self) {
        self.set_limit(&most_threads());
    }

    fn set_limit(&self, limit: &str) {
        let mut setting = prlimit(self.user);
        setting.args(["--pid", &self.agent.pid().to_string(), &soft_limit(limit)]);
        assert!(setting.status().expect("it runs").success());
    }

    /// Asserts that neither the agent nor a program that it started has panicked.
    fn assert_no_panic(&self) {
        assert!(!self.agent.log().contains("panicked"), "{}", self.agent.log());
    }

    /// Asserts that a line of the log names the limit and what raises it.
    fn assert_named(&self, line: &str) {
        let named = format!("RLIMIT_NPROC of user {}: ", self.user);
        assert!(line.contains(&named) && line.contains(" of 1\""), "{line}");
        assert!(line.contains(" remedy=\"raise LimitNPROC of the unit, or ulimit -u\""), "{line}");
    }
}

/// The argument of `prlimit` that sets the limit and leaves it to be raised again.
fn soft_limit(limit: &str) -> String {
    format!("--nproc={limit}:")
}

/// The limit up to which this process may raise that of its children.
fn most_threads() -> String {
    getrlimit(Resource::Nproc).maximum.map_or("unlimited".to_owned(), |limit| limit.to_string())
}

/// The program `prlimit`, run by a user: only the user of a process may change its limits, whatever capabilities a container
/// has.
fn prlimit(user: u32) -> Command {
    let mut command = Command::new("prlimit");
    set_user(&mut command, user);
    command
}

fn set_user(command: &mut Command, user: u32) {
    if geteuid().is_root() {
        command.uid(user).gid(user);
    }
}

#[test]
fn threads_are_started_once_the_limit_is_raised() {
    let Some(mut limited) = LimitedAgent::start_without_threads(0, &["--interval", "100ms"]) else { return };
    for _ in 0..5 {
        let sample = limited.agent.next();
        for native in ["cpu", "load", "memory", "swap"] {
            assert!(sample.get(native).is_some_and(|metrics| metrics.len() > 2), "no {native} in {sample:?}");
        }
        assert_eq!(sample["agent"]["hostname"], Value::Null);
    }
    let line = limited.agent.wait_log_lines("ERROR threads missing threads=\"log, sinks, slow, guests", 1).remove(0);
    limited.assert_named(&line);
    limited.raise_limit();
    limited.agent.wait_log(" INFO threads started");
    limited.agent.wait(|sample| sample["agent"]["hostname"].is_string());
    limited.agent.assert_undisturbed(&[]);
    let log = limited.agent.log();
    assert_eq!((log.matches("threads missing").count(), log.matches("threads started").count()), (1, 1), "{log}");
    assert_ends_in_time(limited.agent);
}

#[test]
fn agent_without_threads_ends_in_time() {
    let Some(mut limited) = LimitedAgent::start_without_threads(1, &["--interval", "100ms"]) else { return };
    limited.agent.next();
    limited.agent.terminate();
    assert!(limited.agent.log().contains(" INFO shutting down"), "{}", limited.agent.log());
}

#[test]
fn single_sample_needs_no_thread() {
    let Some(mut limited) = LimitedAgent::start_without_threads(2, &["--once", "--hostname", "mine"]) else { return };
    let sample = limited.agent.next();
    assert!(sample.contains_key("cpu"), "{sample:?}");
    assert_eq!(sample["agent"]["hostname"], "mine");
    let line = limited.agent.wait_log_lines("ERROR threads missing threads=slow ", 1).remove(0);
    limited.assert_named(&line);
}

#[test]
fn plugin_is_loaded_once_threads_are_started() {
    let setup = Setup::new();
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let arguments = ["--interval", INTERVAL, "--plugins", "plugins"];
    let Some(mut limited) = LimitedAgent::start(setup, 3, NO_THREADS, &arguments) else { return };
    limited.agent.wait_log("ERROR threads missing threads=\"log, sinks, slow, guests");
    for _ in 0..3 {
        let sample = limited.agent.next();
        assert!(sample.contains_key("cpu") && value(&sample, "good").is_none(), "{sample:?}");
    }
    limited.raise_limit();
    limited.agent.wait_log(" INFO threads started");
    limited.agent.wait(|sample| value(sample, "good").is_some());
    limited.agent.assert_undisturbed(&["good"]);
    limited.assert_no_panic();
}

/// An agent that serves the plugin `good` and those of these names when its host runs out of threads.
fn start_with_plugins(number: u32, others: &[&str]) -> Option<LimitedAgent> {
    let setup = Setup::new();
    for name in others.iter().chain(&["good"]) {
        Guest::new(name).install(&setup.plugin(&format!("{name}.wasm")));
    }
    let arguments = ["--interval", INTERVAL, "--plugins", "plugins"];
    let mut limited = LimitedAgent::start(setup, number, &most_threads(), &arguments)?;
    let is_served = |sample: &Sample| others.iter().chain(&["good"]).all(|name| value(sample, name).is_some());
    limited.agent.wait(is_served);
    limited.lower_limit();
    Some(limited)
}

#[test]
fn plugins_go_on_when_threads_run_out() {
    let Some(mut limited) = start_with_plugins(4, &["cached"]) else { return };
    let count = |sample: &Sample, metric: &str| sample["agent"][metric].as_u64().expect("a number");
    let before = limited.agent.next();
    let (file, threads) = (limited.setup.plugin("cached.wasm"), limited.agent.status("Threads"));
    fs::remove_file(&file).expect("removed");
    limited.agent.wait(|sample| value(sample, "cached").is_none());
    Guest::new("cached").install(&file);
    let after = limited.agent.wait(|sample| value(sample, "cached").is_some());
    assert_eq!(count(&after, "compiled_total"), count(&before, "compiled_total"), "it was in the cache");
    assert_eq!(count(&after, "cache_hits_total"), count(&before, "cache_hits_total") + 1);
    assert!(limited.agent.status("Threads") <= threads, "{}", limited.agent.log());

    Guest::new("dropped").install(&limited.setup.plugin("dropped.wasm"));
    let line = limited.agent.wait_log_lines("WARN plugin rejected plugin=dropped ", 1).remove(0);
    let reason = format!(
        " reason=\"cannot be compiled now: Resource temporarily unavailable (os error 11): reached RLIMIT_NPROC of user {}\"",
        limited.user
    );
    assert!(line.contains(&reason), "{line}");
    assert!(line.contains(" remedy=\"raise LimitNPROC of the unit, or ulimit -u; it is retried\""), "{line}");
    // Each attempt counts.
    limited.agent.wait(|sample| count(sample, "compiled_total") >= count(&after, "compiled_total") + 3);
    assert_eq!(limited.agent.plugin_log("dropped").len(), 1, "{}", limited.agent.log());

    limited.raise_limit();
    limited.agent.wait(|sample| value(sample, "dropped").is_some());
    limited.agent.assert_undisturbed(&["good"]);
    limited.assert_no_panic();
    assert_ends_in_time(limited.agent);
}

#[test]
fn compiler_without_a_thread_is_retried() {
    let Some(mut limited) = start_with_plugins(6, &[]) else { return };
    // For its process, unless the agent needs another thread.
    limited.set_limit(&(limited.agent.status("Threads") + 1).to_string());
    Guest::new("dropped").install(&limited.setup.plugin("dropped.wasm"));
    let line = limited.agent.wait_log_lines("WARN plugin rejected plugin=dropped ", 1).remove(0);
    assert!(line.contains(" reason=\"cannot be compiled now: Resource temporarily unavailable"), "{line}");
    limited.raise_limit();
    limited.agent.wait(|sample| value(sample, "dropped").is_some());
    limited.agent.assert_undisturbed(&["good"]);
    limited.assert_no_panic();
}

#[test]
fn replaced_directory_is_followed_without_threads() {
    let Some(mut limited) = start_with_plugins(5, &["cached"]) else { return };
    let (new, current) = (limited.setup.path("new"), limited.setup.path("plugins"));
    fs::create_dir(&new).expect("created");
    fs::copy(current.join("good.wasm"), new.join("good.wasm")).expect("copied");
    renameat_with(CWD, &new, CWD, &current, RenameFlags::EXCHANGE).expect("exchanged");
    limited.agent.wait(|sample| value(sample, "cached").is_none());
    let line = limited.agent.wait_log_lines("WARN plugins directory not watched ", 1).remove(0);
    limited.assert_named(&line.replace("; until then changes are found once a second", ""));
    // No notification, and no need for one.
    fs::rename(new.join("cached.wasm"), current.join("cached.wasm")).expect("moved");
    limited.agent.wait(|sample| value(sample, "cached").is_some());

    limited.raise_limit();
    Guest::new("dropped").install(&limited.setup.plugin("dropped.wasm"));
    limited.agent.wait(|sample| value(sample, "dropped").is_some());
    limited.agent.assert_undisturbed(&["good"]);
    assert_eq!(limited.agent.log().matches("plugins directory not").count(), 1, "{}", limited.agent.log());
    limited.assert_no_panic();
}

#[test]
fn replaced_directory_is_followed_with_one_thread() {
    let Some(mut limited) = start_with_plugins(7, &["first", "second"]) else { return };
    let (new, current) = (limited.setup.path("new"), limited.setup.path("plugins"));
    fs::create_dir(&new).expect("created");
    fs::copy(current.join("good.wasm"), new.join("good.wasm")).expect("copied");
    fs::rename(current.join("second.wasm"), new.join("second.wasm")).expect("moved");
    limited.set_limit(&(limited.agent.status("Threads") + 1).to_string());
    // Each directory is watched by another thread than the one before.
    for (removed, added) in [("first", "second"), ("second", "first")].repeat(EXCHANGES) {
        renameat_with(CWD, &new, CWD, &current, RenameFlags::EXCHANGE).expect("exchanged");
        limited.agent.wait(|sample| value(sample, removed).is_none() && value(sample, added).is_some());
    }
    limited.agent.assert_undisturbed(&["good"]);
    limited.assert_no_panic();
}
