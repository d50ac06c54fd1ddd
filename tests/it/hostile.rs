//! Hostile plugins. Each is run by [`HostileTest`], which asserts that a second plugin and the native metrics are in every
//! sample, that native metrics are read and delivered at the ticks during a call that holds its thread, before that returns, that the
//! agent's memory stays within bounds, that the fault is counted for the plugin that caused it and logged in
//! one line, and that a good file in its place serves. Tests that need a server are in `http.rs` and `net.rs`, plugins that
//! are expensive to compile in `compile.rs`, and files that are not plugins in `bad_files.rs`.

mod footprint; // instances and types
mod reach; // files, log messages, arguments of host calls
mod resources; // time, memory, tables, stack
pub mod results; // values that a plugin returns

use std::thread;
use std::time::Instant;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::guest::{Guest, install};
use crate::harness::{Agent, Sample, Setup, fault_count, lines_about, plugin_metric, ticks_during_calls, value};

/// The interval of a test's agent: each test takes some dozens of ticks.
const INTERVAL: &str = "250ms";

/// How much memory the agent may use at most, without the hostile plugin's own and without the pages of the program, of which a
/// build for tests has many.
const OWN_KB: u64 = 8 << 10;

/// How many ticks a test waits for during a call that is ended at its timeout: that must be longer.
const HELD_TICKS: u32 = 2;

/// The reason of an end at the timeout.
const TIMED_OUT: &str = "took longer than its timeout";

/// How often a load is retried until its ticks are missing.
const MAX_ATTEMPTS: u64 = 5;

/// How many lines a whole test may log, beside what a second may have.
const MAX_LOG_LINES: usize = 40;

/// How many lines a plugin may log in a second: one message, and how many were dropped.
const LOG_LINES_A_SECOND: usize = 2;

/// The plugin that must not be disturbed. Its name sorts before `bad`, so that its module cannot be taken by that one.
const NEIGHBOUR: &str = "able";

/// The outcome of installing a hostile plugin.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// A call ends in a fault of this kind, which is logged with this reason. The plugin has no metrics.
    Fault(&'a str, &'a str),
    /// A call returns an error, which is logged with this reason and is no fault. The plugin has no metrics.
    Error(&'a str),
    /// The file is rejected, which is logged with this reason, and never serves.
    Rejected(&'a str),
    /// At least so many metrics are dropped, which is logged with this reason. The plugin serves.
    Dropped(u64, &'a str),
    /// The plugin serves, and its metric has this value.
    Serves(Value),
}

/// An agent with the plugin `able`, which is well, and in which the hostile plugin `bad` is to be installed.
pub struct HostileTest {
    pub setup: Setup,
    pub agent: Agent,
    /// How much memory the agent may use at most, in kB.
    max_own_kb: u64,
    begun: Instant,
}

impl HostileTest {
    /// A test whose plugin `bad` has this configuration.
    pub fn new(configuration: &str) -> Self {
        Self::at_interval(INTERVAL, configuration)
    }

    /// A test whose agent has another interval.
    pub fn at_interval(interval: &str, configuration: &str) -> Self {
        let setup = Setup::with_config(&format!("interval = \"{interval}\"\n[plugins.bad]\n{configuration}"));
        Guest::new(NEIGHBOUR).install(&setup.plugin("able.wasm"));
        let begun = Instant::now();
        let agent = setup.start(&[]);
        Self { setup, agent, max_own_kb: OWN_KB, begun }
    }

    /// Allows the agent so many megabytes more, for the plugin's own memory.
    pub fn allow_mb(mut self, megabytes: u64) -> Self {
        self.max_own_kb += megabytes << 10;
        self
    }

    /// Installs the hostile plugin, and waits for a sample of the other one.
    pub fn install(&mut self, file: &[u8]) {
        install(file, &self.setup.plugin("bad.wasm"));
        self.agent.wait(|sample| value(sample, NEIGHBOUR).is_some());
    }

    /// Installs the hostile plugin, and waits for its outcome in the samples and in the log.
    pub fn expect(&mut self, file: &[u8], outcome: &Outcome<'_>) {
        self.install(file);
        let agent = &mut self.agent;
        let parts = match outcome {
            Outcome::Fault(kind, reason) => {
                let sample = agent.wait(|sample| fault_count(sample, "bad", kind) >= 1.0);
                assert_eq!(value(&sample, "bad"), None, "a failing plugin's metrics are absent");
                if *kind == "timeout" {
                    agent.wait(|sample| ticks_during_calls(sample, "bad") >= HELD_TICKS.into());
                }
                assert_eq!(plugin_metric(&sample, "plugin_up", "bad"), Some(0.0));
                vec![format!("plugin=bad version=1.0.0 hash={} fault={kind} ", hash(file)), (*reason).to_owned()]
            }
            Outcome::Error(reason) => {
                let errors = "plugin_errors_total";
                let sample = agent.wait(|sample| plugin_metric(sample, errors, "bad") >= Some(2.0));
                assert_eq!((value(&sample, "bad"), plugin_metric(&sample, "plugin_up", "bad")), (None, Some(0.0)));
                assert_eq!(plugin_metric(&sample, "plugin_faults_total", "bad"), Some(0.0));
                let state = sample["agent"].get("plugin_state{plugin=\"bad\"}");
                assert_eq!(state, Some(&Value::from("failed")));
                vec!["plugin returned an error plugin=bad ".to_owned(), (*reason).to_owned()]
            }
            Outcome::Rejected(reason) => {
                let sample = agent.wait(|sample| fault_count(sample, "bad", "load") >= 1.0);
                assert_eq!(value(&sample, "bad"), None);
                if reason.contains(TIMED_OUT) {
                    wait_ticks_during_load(agent);
                }
                vec!["plugin rejected plugin=bad ".to_owned(), format!("hash={} ", hash(file)), (*reason).to_owned()]
            }
            Outcome::Dropped(count, reason) => {
                let dropped = "plugin_dropped_metrics_total";
                let sample = agent.wait(|sample| plugin_metric(sample, dropped, "bad") >= Some(*count as f64));
                assert_eq!(plugin_metric(&sample, "plugin_up", "bad"), Some(1.0));
                vec![format!("plugin=bad version=1.0.0 hash={} ", hash(file)), (*reason).to_owned()]
            }
            Outcome::Serves(expected) => {
                let sample = agent.wait(|sample| value(sample, "bad").is_some());
                assert_eq!(value(&sample, "bad").as_ref(), Some(expected), "{}", agent.log());
                return;
            }
        };
        let is_expected =
            |line: &String| line.contains(" WARN ") && parts.iter().all(|part| line.contains(part.as_str()));
        agent.wait_log_for(&format!("a warning with {parts:?}"), |log| {
            lines_about(log, "bad").iter().any(is_expected).then_some(())
        });
    }

    /// Replaces the hostile plugin by a good one, waits until that one serves, ends the agent, and checks everything that
    /// the module's documentation promises.
    pub fn replace_and_check(mut self) {
        Guest::new("bad").version("9.9.9").value(99).install(&self.setup.plugin("bad.wasm"));
        let is_well = |sample: &Sample| {
            value(sample, "bad") == Some(99.into()) && plugin_metric(sample, "plugin_up", "bad") == Some(1.0)
        };
        let sample = self.agent.wait(is_well);
        let own_kb = self.agent.status("VmHWM").saturating_sub(self.agent.status("RssFile"));
        let (status, _) = self.agent.terminate();
        assert!(status.success(), "{status}");
        self.agent.assert_undisturbed(&[NEIGHBOUR]);
        let max_kb = self.max_own_kb;
        assert!(own_kb <= max_kb, "{own_kb} kB of its own were resident, of {max_kb} at most");

        let log = self.agent.log();
        let max_lines = MAX_LOG_LINES + LOG_LINES_A_SECOND * self.begun.elapsed().as_secs() as usize;
        assert!(log.lines().count() <= max_lines && log.len() <= max_lines * 1500, "too much log:\n{log}");
        assert!(!log.contains('\u{1b}'), "{log}");
        let neighbours_faults = plugin_metric(&sample, "plugin_faults_total", NEIGHBOUR);
        assert_eq!(neighbours_faults, Some(0.0), "a fault was counted for the other plugin: {sample:?}");
        assert_eq!(self.agent.plugin_log(NEIGHBOUR).len(), 1, "the other plugin is loaded, and no more\n{log}");
        // One line for each fault of a version that serves, and one for all attempts to load a version that is rejected.
        let faults: f64 = (sample["agent"].iter())
            .filter(|(key, _)| key.starts_with("plugin_faults_total{plugin=\"bad\",") && !key.contains("kind=\"load\""))
            .filter_map(|(_, count)| count.as_f64())
            .sum();
        let lines = self.agent.plugin_log("bad");
        let fault_lines = lines
            .iter()
            .filter(|line| line.contains(" plugin failed ") || line.contains(" replaced plugin version failed "))
            .count();
        assert_eq!(fault_lines as f64, faults, "{lines:#?}");
        let rejections = lines.iter().filter(|line| line.contains(" plugin rejected ")).count();
        let losses =
            lines.iter().filter(|line| line.contains(" metrics dropped ") || line.contains(" module dropped ")).count();
        assert!(rejections <= 1 && losses <= 1, "{lines:#?}");
    }
}

/// Waits until native metrics were delivered at several ticks during one load of a plugin that is ended at its timeout. That is
/// retried, with the artifact of the cache: then nothing but the guest runs between the hit and the next fault.
fn wait_ticks_during_load(agent: &mut Agent) {
    let (mut attempt, mut ticks) = (0, 0);
    while ticks < HELD_TICKS {
        let sample = agent.next();
        let begun = sample["agent"]["cache_hits_total"].as_u64().expect("a number");
        // The first fault was that of the file without an artifact.
        let is_running = begun > 0 && fault_count(&sample, "bad", "load") == begun as f64;
        ticks = if is_running && begun == attempt { ticks + 1 } else { u32::from(is_running) };
        attempt = begun;
        assert!(attempt < MAX_ATTEMPTS, "no tick during a load\n{}", agent.log());
    }
}

/// Asserts the outcome of a hostile plugin, and that nothing else is disturbed.
pub fn assert_outcome(file: &[u8], configuration: &str, outcome: &Outcome<'_>) {
    let mut test = HostileTest::new(configuration);
    test.expect(file, outcome);
    test.replace_and_check();
}

/// Runs several cases in parallel: most of the time each of them waits for a tick.
pub fn in_parallel<T: Send>(cases: impl IntoIterator<Item = T>, each: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| each(case));
        }
    });
}

/// The part of a content's hash that is logged.
fn hash(file: &[u8]) -> String {
    Sha256::digest(file)[..4].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
