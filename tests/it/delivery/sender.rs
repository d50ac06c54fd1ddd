//! The agent of these tests: a plugin with many series, a sink for each receiver, and a file with what was measured.

use std::fmt::Write as _;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::MODULE;
use super::measured::{self, Measured, now_ms};
use super::receiver::Receiver;
use crate::guest::{self, Guest};
use crate::harness::{Agent, Sample, Setup, wait_until};
use crate::sinks::{RELOADED, reload, sink_metric};

/// How long the end of the agent may take on a busy machine. A request may take longer.
pub const END: Duration = Duration::from_secs(6);

/// A plugin with so many series, whose values are others at each call: whole numbers, and fractions that need all their bits. The
/// first one is the number of its calls.
pub fn plugin(count: u32) -> Guest {
    plugin_as(MODULE, count)
}

/// The same with another module.
pub fn plugin_as(module: &str, count: u32) -> Guest {
    let (list, length) = (guest::METRICS, guest::METRICS + 4);
    let change = format!(
        "(global $calls (mut i64) (i64.const 0))
         (func $change (local $metric i32) (local $at i64)
           (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
           (local.set $metric (i32.load (i32.const {list})))
           (i64.store offset=24 (local.get $metric) (global.get $calls))
           (loop $next
             (local.set $at (i64.add (local.get $at) (i64.const 1)))
             (local.set $metric (i32.add (local.get $metric) (i32.const 64)))
             (if (i64.lt_u (local.get $at) (i64.load32_u (i32.const {length})))
               (then
                 (if (i64.eqz (i64.and (local.get $at) (i64.const 1)))
                   (then (i64.store offset=24 (local.get $metric)
                           (i64.add (i64.mul (global.get $calls) (i64.const 10000)) (local.get $at))))
                   (else (i32.store8 offset=16 (local.get $metric) (i32.const 2))
                         (f64.store offset=24 (local.get $metric)
                           (f64.mul (f64.convert_i64_u (i64.add (i64.mul (global.get $calls) (i64.const 10000)) (local.get $at)))
                                    (f64.const 0.1)))))
                 (br $next)))))"
    );
    Guest::new(module).metrics(count).with(&change).before_collect("(call $change)")
}

/// A directory for such an agent.
pub struct Sender {
    pub setup: Setup,
    /// The agent's state directory.
    pub state: PathBuf,
    interval: &'static str,
    /// The keys that all of its network sinks have.
    keys: String,
}

impl Sender {
    /// An agent with so many series of the plugin at this interval, whose state is in its own directory.
    pub fn new(interval: &'static str, series: u32) -> Self {
        let setup = Setup::new();
        let state = setup.path("state");
        plugin(series).install(&setup.plugin("many.wasm"));
        Self { setup, state, interval, keys: String::new() }
    }

    /// Keys that all of its network sinks have besides.
    pub fn keys(mut self, keys: &str) -> Self {
        let _ = writeln!(self.keys, "{keys}");
        self
    }

    /// Replaces a text in these keys.
    pub fn replace_key(&mut self, text: &str, other: &str) {
        self.keys = self.keys.replace(text, other);
    }

    /// The whole configuration, with a sink for each of these tables' lines.
    fn text(&self, sinks: &[(&str, String)]) -> String {
        let Self { interval, state, .. } = self;
        let mut text = format!(
            "interval = \"{interval}\"\nstate_directory = \"{}\"\n\
             [sinks.stdout]\nkind = \"stdout\"\ninclude = [\"agent.*\"]\n\
             [sinks.measured]\nkind = \"file\"\npath = \"{}\"\ninclude = [\"{MODULE}.*\"]\nqueue_samples = 1000\n",
            state.display(),
            self.measured_path().display()
        );
        let timeout = if self.keys.contains("timeout") { "" } else { "timeout = \"2s\"" };
        for (name, lines) in sinks {
            let _ = writeln!(text, "[sinks.{name}]\n{lines}\n{timeout}\n{}", self.keys);
        }
        text
    }

    fn tables(receivers: &[&Receiver]) -> Vec<(&'static str, String)> {
        let table = |receiver: &&Receiver| (receiver.protocol.name(), receiver.protocol.keys(receiver.address));
        receivers.iter().map(table).collect()
    }

    /// Starts the agent with a sink for each of these receivers, which have different protocols.
    pub fn start(&self, receivers: &[&Receiver]) -> Agent {
        self.start_with(&Self::tables(receivers))
    }

    /// Starts the agent with these sinks: their names, and the lines of their tables.
    pub fn start_with(&self, sinks: &[(&str, String)]) -> Agent {
        fs::write(self.setup.path("gauged.toml"), self.text(sinks)).expect("written");
        self.setup.start(&[])
    }

    /// Has the agent go on with a sink for each of these receivers.
    pub fn reload(&self, agent: &mut Agent, receivers: &[&Receiver]) {
        self.reload_with(agent, &Self::tables(receivers));
    }

    /// Has the agent go on with these sinks.
    pub fn reload_with(&self, agent: &mut Agent, sinks: &[(&str, String)]) {
        reload(&self.setup, agent, &self.text(sinks), RELOADED);
    }

    fn measured_path(&self) -> PathBuf {
        self.setup.path("measured.ndjson")
    }

    /// The samples so far, of all runs.
    pub fn measured(&self) -> Vec<Measured> {
        measured::read(&self.measured_path())
    }

    /// The files that its sinks keep in the state directory.
    pub fn kept_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        find_segments(&self.state, &mut files);
        files
    }

    /// Waits until nothing is kept any more.
    pub fn wait_nothing_kept(&self) {
        wait_until("nothing is kept", || self.kept_files().is_empty());
    }
}

/// The segments of spools below a directory. Some of it may be removed meanwhile.
fn find_segments(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            find_segments(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "seg") {
            files.push(path);
        }
    }
}

/// A metric of a sink; 0 where it has none.
pub fn metric(sample: &Sample, name: &str, sink: &str) -> f64 {
    sink_metric(sample, name, &format!("sink=\"{sink}\"")).unwrap_or_else(|| panic!("no {name} of {sink}"))
}

/// A metric of a sink with the label `reason`.
pub fn metric_by(sample: &Sample, name: &str, sink: &str, reason: &str) -> f64 {
    sink_metric(sample, name, &format!("sink=\"{sink}\",reason=\"{reason}\""))
        .unwrap_or_else(|| panic!("no {name} of {sink} for {reason}"))
}

/// The points that a sink has lost, for whatever reason.
pub fn all_lost(sample: &Sample, sink: &str) -> f64 {
    let beginning = format!("sink_dropped_points_total{{sink=\"{sink}\"");
    let lost = sample["agent"].iter().filter(|(key, _)| key.starts_with(&beginning));
    lost.map(|(_, count)| count.as_f64().expect("a number")).sum()
}

/// Waits for so many samples.
pub fn wait_ticks(agent: &mut Agent, count: usize) {
    for _ in 0..count {
        agent.next();
    }
}

/// Waits until a sink is not behind.
pub fn wait_caught_up(agent: &mut Agent, sink: &str) -> Sample {
    agent.wait(|sample| {
        let is_zero = |name: &str| metric(sample, name, sink) == 0.0;
        ["seconds", "samples", "bytes"].iter().all(|what| is_zero(&format!("sink_behind_{what}")))
            && is_zero("sink_spool_bytes")
    })
}

/// Waits until a sink has delivered points.
pub fn wait_delivering(agent: &mut Agent, sink: &str) -> Sample {
    agent.wait(|sample| metric(sample, "sink_delivered_points_total", sink) > 0.0)
}

/// Kills the agent; returns when, in the machine's time: it was between these two moments.
pub fn kill(agent: &mut Agent) -> RangeInclusive<u64> {
    let before = now_ms();
    agent.signal(Signal::KILL);
    agent.wait_exit();
    before..=now_ms()
}

#[test]
fn plugin_has_other_values_at_each_call() {
    let sender = Sender::new("100ms", 300);
    let mut agent = sender.start(&[]);
    agent.wait(|_| sender.measured().len() >= 3);
    agent.terminate();
    let measured = sender.measured();
    for pair in measured.windows(2) {
        assert_eq!((pair[0].values.len(), pair[1].values.len()), (300, 300));
        assert!(
            pair[0]
                .values
                .iter()
                .zip(&pair[1].values)
                .all(|(before, after)| before.0 == after.0 && before.1 != after.1)
        );
        let [odd, even] = [1, 2].map(|number| f64::from_bits(pair[1].values[&number]));
        let calls = f64::from_bits(pair[1].values[&0]);
        assert_eq!((odd, even), ((calls * 10000.0 + 1.0) * 0.1, calls * 10000.0 + 2.0));
    }
}
