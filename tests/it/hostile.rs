//! Plugins that do their worst, and one door through which all of them go: whatever a plugin does, its neighbour and the
//! agent's own metrics are in every tick, the agent's memory stays within bounds, what happened is counted for the one who
//! did it and is one line in the log, and a good file in its place ends it. What needs the network is in the tests of those
//! capabilities, what is hard to compile in `compile.rs`, and what is no plugin in `bad_files.rs`.

mod reach; // what it touches, and what it says
mod resources; // time, memory, tables, stack
mod results; // what it returns

use std::thread;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::guest::{Guest, install};
use crate::harness::{Agent, Host, Sample, about, faults, value};

/// Long enough for a busy machine to come round within it, short enough for many tests.
const INTERVAL: &str = "250ms";

/// What the agent may have had in memory at a time, besides what the plugin in question may have: twice what it takes with
/// two small plugins.
const RESIDENT_KB: u64 = 24 << 10;

/// What all plugins and the agent together may have logged when it is over.
const LOG_LINES: usize = 40;

/// The plugin that notices nothing. It sorts before the one in question, so that its module is its own.
const NEIGHBOUR: &str = "able";

/// What comes of it.
#[derive(Debug)]
pub enum Reaction<'a> {
    /// Its call ends in a fault of this kind, which is logged with this reason, and it has no metrics.
    Fault(&'a str, &'a str),
    /// Its file is rejected for this reason, and nothing of it ever runs.
    Rejected(&'a str),
    /// At least so many of its metrics are dropped, which is logged with this reason; it goes on.
    Dropped(u64, &'a str),
    /// Its metric has this value, and nothing else happens.
    Serves(Value),
}

/// An agent with a neighbour, and with the plugin `bad` once it was put there.
pub struct Ordeal {
    pub host: Host,
    pub agent: Agent,
    /// What it may take besides the usual.
    resident_kb: u64,
}

impl Ordeal {
    /// An agent whose plugin `bad` will have this configuration.
    pub fn new(configuration: &str) -> Self {
        Self::at_interval(INTERVAL, configuration)
    }

    /// The same, at another interval.
    pub fn at_interval(interval: &str, configuration: &str) -> Self {
        let host = Host::configured(&format!("interval = \"{interval}\"\n[plugins.bad]\n{configuration}"));
        Guest::new(NEIGHBOUR).install(&host.plugin("able.wasm"));
        let agent = host.start(&[]);
        Self { host, agent, resident_kb: RESIDENT_KB }
    }

    /// Lets the plugin have so many megabytes.
    pub fn allowing_mb(mut self, megabytes: u64) -> Self {
        self.resident_kb += megabytes << 10;
        self
    }

    /// Puts the plugin there, and waits for its neighbour.
    pub fn put(&mut self, file: &[u8]) {
        install(file, &self.host.plugin("bad.wasm"));
        self.agent.wait(|sample| value(sample, NEIGHBOUR).is_some());
    }

    /// Waits for what comes of the plugin with this content.
    pub fn suffer(&mut self, file: &[u8], reaction: &Reaction<'_>) {
        self.put(file);
        let agent = &mut self.agent;
        let lines = match reaction {
            Reaction::Fault(kind, why) => {
                let sample = agent.wait(|sample| faults(sample, "bad", kind) >= 1.0);
                assert_eq!(value(&sample, "bad"), None, "a failing plugin's metrics are absent");
                assert_eq!(about(&sample, "plugin_up", "bad"), Some(0.0));
                vec![format!("plugin bad 1.0.0 ({}): ", hash(file)), (*why).to_owned(), format!("({kind})")]
            }
            Reaction::Rejected(why) => {
                let sample = agent.wait(|sample| faults(sample, "bad", "load") >= 1.0);
                assert_eq!(value(&sample, "bad"), None);
                vec!["plugin bad: plugins/bad.wasm (".to_owned(), format!("{}) ", hash(file)), (*why).to_owned()]
            }
            Reaction::Dropped(count, why) => {
                let dropped = "plugin_dropped_metrics_total";
                let sample = agent.wait(|sample| about(sample, dropped, "bad") >= Some(*count as f64));
                assert_eq!(about(&sample, "plugin_up", "bad"), Some(1.0));
                vec![format!("plugin bad 1.0.0 ({}): ", hash(file)), (*why).to_owned()]
            }
            Reaction::Serves(wanted) => {
                let sample = agent.wait(|sample| value(sample, "bad").is_some());
                assert_eq!(value(&sample, "bad").as_ref(), Some(wanted), "{}", agent.log());
                return;
            }
        };
        let is_it = |line: &String| line.contains(" WARN ") && lines.iter().all(|part| line.contains(part.as_str()));
        // A sample may be read before the line that was written before it.
        for _ in 0..20 {
            if agent.log_of("bad").iter().any(is_it) {
                return;
            }
            agent.next();
        }
        panic!("{lines:?} in {:#?}", agent.log_of("bad"));
    }

    /// Puts a good plugin in its place, waits for that, and holds everything that has happened against what may happen.
    pub fn recover(mut self) {
        Guest::new("bad").version("9.9.9").value(99).install(&self.host.plugin("bad.wasm"));
        let is_well =
            |sample: &Sample| value(sample, "bad") == Some(99.into()) && about(sample, "plugin_up", "bad") == Some(1.0);
        let sample = self.agent.wait(is_well);
        let resident_kb = self.agent.status("VmHWM");
        let (status, _) = self.agent.terminate();
        assert!(status.success(), "it ends as it was told to: {status}");
        self.agent.assert_undisturbed(&[NEIGHBOUR]);
        assert!(resident_kb <= self.resident_kb, "{resident_kb} kB were resident, of {} at most", self.resident_kb);

        let log = self.agent.log();
        assert!(log.lines().count() <= LOG_LINES && log.len() <= LOG_LINES * 1500, "a flood:\n{log}");
        assert!(!log.contains('\u{1b}'), "{log}");
        let of_neighbour = sample["agent"].keys().any(|key| key.starts_with("plugin_faults_total{plugin=\"able\""));
        assert!(!of_neighbour, "it was counted for its neighbour: {sample:?}");
        assert_eq!(self.agent.log_of(NEIGHBOUR).len(), 1, "its neighbour is only loaded\n{log}");
        // One line for each fault of a version that serves; what is tried again and again is one line.
        let faults: f64 = (sample["agent"].iter())
            .filter(|(key, _)| key.starts_with("plugin_faults_total{plugin=\"bad\"") && !key.contains("kind=\"load\""))
            .filter_map(|(_, count)| count.as_f64())
            .sum();
        let lines = self.agent.log_of("bad");
        let of_faults = lines.iter().filter(|line| line.contains("; started afresh after ")).count();
        assert_eq!(of_faults as f64, faults, "{lines:#?}");
        let rejections = lines.iter().filter(|line| line.contains("plugin bad: plugins/bad.wasm (")).count();
        let losses =
            lines.iter().filter(|line| line.contains(" dropped the ") || line.contains(" is dropped, ")).count();
        assert!(rejections <= 1 && losses <= 1, "{lines:#?}");
    }
}

/// The plugin with this content comes to this, and nobody else notices.
pub fn endures(file: &[u8], configuration: &str, reaction: &Reaction<'_>) {
    let mut ordeal = Ordeal::new(configuration);
    ordeal.suffer(file, reaction);
    ordeal.recover();
}

/// Does the same with each of several cases, side by side: most of the time each of them waits for a tick.
pub fn for_all<T: Send>(cases: impl IntoIterator<Item = T>, each: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| each(case));
        }
    });
}

/// What the log shows of a content's hash.
fn hash(file: &[u8]) -> String {
    Sha256::digest(file)[..4].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
