//! How late the native readings are beside guests that take the processor or cannot be interrupted, and what a tick costs with
//! minimal guests. On Linux, with 2.5 GB of memory. The arguments are the agents' programs; the rounds of several alternate, so
//! that they can be compared:
//!
//!     cargo bench --bench lateness -- target/dist/gauged
//!     cargo bench --bench lateness -- --ticks 1000 --only fill /tmp/before/gauged target/dist/gauged
//!
//! Without a program nothing is measured: `cargo bench` alone does not take this quarter of an hour more.
//!
//! Lateness is `agent.tick_delay_seconds` of each sample; a missed tick is late until the next one begins. A control thread in
//! this process sleeps until the same moments in the same rounds: its lateness is the machine's.

#![allow(clippy::disallowed_methods, reason = "the agents are other programs")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gauged::clock::schedule::wall_clock;
use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::Timespec;

#[allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "the tests need more of it, and other things"
)]
#[path = "../tests/it/guest.rs"]
mod guest;

use guest::Guest;

const INTERVAL_MS: u64 = 100;

/// Ticks of each build and scenario, unless `--ticks` has another number.
const TICKS: usize = 500;

/// The rounds of each build: a shared machine changes from one minute to the next.
const ROUNDS: usize = 5;

/// Ticks of a round that are not measured: the first ones after the plugins are loaded.
const WARM_UP: usize = 10;

/// How long a build may take to load the plugins of a scenario: a thousand files are compiled.
const LOADING: Duration = Duration::from_secs(300);

/// Iterations of a loop that take about 90 ms at 3 GHz.
const BURN_ITERATIONS: u64 = 250_000_000;

/// Plugins that run at the same time.
struct Scenario {
    name: String,
    plugins: Vec<(String, Guest)>,
    /// Lines of each plugin's table.
    table: &'static str,
}

impl Scenario {
    fn new(name: &str, count: usize, table: &'static str, guest: impl Fn(Guest) -> Guest) -> Self {
        let plugin = |number| {
            let module = format!("p{number}");
            let guest = guest(Guest::new(&module));
            (module, guest)
        };
        Self { name: name.to_owned(), plugins: (0..count).map(plugin).collect(), table }
    }

    /// Writes the plugins and the configuration into a directory.
    fn write(&self, directory: &Path) {
        fs::create_dir(directory.join("plugins")).expect("created");
        let mut configuration = format!("interval = \"{INTERVAL_MS}ms\"\n");
        for (module, guest) in &self.plugins {
            guest.install(&directory.join("plugins").join(format!("{module}.wasm")));
            let _ = writeln!(configuration, "[plugins.{module}]\n{}", self.table);
        }
        fs::write(directory.join("gauged.toml"), configuration).expect("written");
    }
}

fn scenarios() -> Vec<Scenario> {
    let burn = format!(
        "(local $left i64) (local.set $left (i64.const {BURN_ITERATIONS}))
         (loop $on (local.set $left (i64.sub (local.get $left) (i64.const 1)))
                   (br_if $on (i64.gt_s (local.get $left) (i64.const 0))))"
    );
    // To the next page of the same memory. A copy is not interrupted; between two the guest may be.
    let copy = "(local $left i32) (local.set $left (i32.const 10))
        (loop $on (memory.copy (i32.const 0x110000) (i32.const 0x100000) (i32.const 0x4000000))
                  (br_if $on (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))";
    // Without the first mebibyte, where the plugin's data are.
    let fill = "(memory.fill (i32.const 0x100000) (i32.const 1) (i32.const 0x3ff00000))";
    let patient = "timeout = \"60s\"";
    let mut scenarios = vec![
        Scenario::new("no plugin", 0, "", |guest| guest),
        Scenario::new("50 that burn", 50, patient, |guest| guest.before_collect(&burn)),
        Scenario::new("30 that copy 64 MB", 30, "timeout = \"60s\"\nmemory = \"128MiB\"", |guest| {
            guest.pages(0x420).before_collect(copy)
        }),
        Scenario::new("one fill of 1 GiB", 1, "timeout = \"60s\"\nmemory = \"1GiB\"", |guest| {
            guest.pages(0x4000).before_collect(fill)
        }),
    ];
    scenarios.extend([1, 10, 1000].map(|count| Scenario::new(&format!("{count} minimal"), count, "", |guest| guest)));
    scenarios
}

/// The resources that threads have used: nanoseconds of processor time, voluntary and involuntary context switches.
type Usage = [u64; 3];

/// A running agent.
struct Agent {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Agent {
    fn start(program: &Path, directory: &Path, cache: &str) -> Self {
        let mut command = Command::new(program);
        command.current_dir(directory).env("CACHE_DIRECTORY", directory.join(cache));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().expect("the agent has ended").expect("text")
    }

    /// Waits until so many plugins have returned a result, and a little longer.
    fn warm_up(&mut self, plugins: usize) {
        let until = Instant::now() + LOADING;
        let is_up = |line: &str| {
            let sample: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let agent = sample["agent"].as_object().expect("a module");
            agent.iter().filter(|(metric, value)| metric.starts_with("plugin_up{") && **value == 1).count() == plugins
        };
        while !is_up(&self.next()) {
            assert!(Instant::now() < until, "not all of {plugins} plugins are up");
        }
        (0..WARM_UP).for_each(|_| drop(self.next()));
    }

    /// The usage of each thread.
    fn usage(&self) -> BTreeMap<String, Usage> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let usage = |task: PathBuf| {
            let running = fs::read_to_string(task.join("schedstat")).ok()?;
            let status = fs::read_to_string(task.join("status")).ok()?;
            let switches = |kind: &str| status.lines().find_map(|line| line.strip_prefix(kind)?.trim().parse().ok());
            let usage = [
                running.split_whitespace().next()?.parse().ok()?,
                switches("voluntary_ctxt_switches:")?,
                switches("nonvoluntary_ctxt_switches:")?,
            ];
            Some((task.file_name()?.to_str()?.to_owned(), usage))
        };
        tasks.filter_map(|task| usage(task.ok()?.path())).collect()
    }

    fn resident_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the line on memory");
        line.trim_end_matches("kB").trim().parse().expect("a number")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number of the module `agent`, which comes first in a line. A line with a thousand plugins is not parsed: that would take
/// the processor from the agent.
fn number(line: &str, metric: &str) -> f64 {
    let found = line.split_once(&format!("\"{metric}\":")).and_then(|(_, rest)| rest.split([',', '}']).next());
    found.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {metric}"))
}

/// Sleeps until each multiple of the interval, and returns how many seconds later it woke.
fn control(is_over: &AtomicBool) -> Vec<f64> {
    let mut lateness = Vec::new();
    while !is_over.load(Ordering::Acquire) {
        let now_ms = u64::try_from(wall_clock().as_millis()).expect("a clock of this age");
        let moment = Duration::from_millis((now_ms / INTERVAL_MS + 1) * INTERVAL_MS);
        let seconds = i64::try_from(moment.as_secs()).expect("a clock of this age");
        let request = Timespec { tv_sec: seconds, tv_nsec: moment.subsec_nanos().into() };
        clock_nanosleep_absolute(ClockId::Realtime, &request).expect("no signal has a handler");
        lateness.push(wall_clock().saturating_sub(moment).as_secs_f64());
    }
    lateness
}

/// The measurements of one build in one scenario.
#[derive(Default)]
struct Measured {
    lateness: Vec<f64>,
    control: Vec<f64>,
    missed: usize,
    usage: Usage,
    resident_kb: u64,
}

impl Measured {
    /// Measures so many ticks of an agent that has loaded its plugins.
    fn add_round(&mut self, agent: &mut Agent, ticks: usize) {
        let mut missed = number(&agent.next(), "missed_ticks_total");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let control = scope.spawn(|| control(&is_over));
            let before = agent.usage();
            let end = self.lateness.len() + ticks;
            while self.lateness.len() < end {
                let line = agent.next();
                let mut late = number(&line, "tick_delay_seconds");
                self.lateness.push(late);
                while missed < number(&line, "missed_ticks_total") {
                    missed += 1.0;
                    self.missed += 1;
                    late += INTERVAL_MS as f64 / 1e3;
                    self.lateness.push(late);
                }
            }
            is_over.store(true, Ordering::Release);
            for (thread, after) in agent.usage() {
                let before = before.get(&thread).copied().unwrap_or_default();
                for (sum, (after, before)) in self.usage.iter_mut().zip(after.into_iter().zip(before)) {
                    *sum += after - before;
                }
            }
            self.resident_kb = self.resident_kb.max(agent.resident_kb());
            self.control.extend(control.join().expect("no panic"));
        });
    }

    fn print(&mut self, scenario: &str, build: &str) {
        self.lateness.sort_by(f64::total_cmp);
        self.control.sort_by(f64::total_cmp);
        let at = |sorted: &[f64], share: f64| {
            let rank = Duration::from_secs_f64(share * (sorted.len() - 1) as f64).as_secs();
            1e3 * sorted[usize::try_from(rank).expect("an index")]
        };
        let ticks = self.lateness.len() as f64;
        let [cpu_ns, voluntary, involuntary] = self.usage.map(|usage| usage as f64 / ticks);
        let (p99, control_p99) = (at(&self.lateness, 0.99), at(&self.control, 0.99));
        println!(
            "{scenario:18} {build:5} {ticks:6} {:6} {:8.3} {p99:8.3} {:8.3} {control_p99:8.3} {:8.3} {:9.3} {voluntary:9.2} \
             {involuntary:9.2} {:8.1}",
            self.missed,
            at(&self.lateness, 0.5),
            at(&self.lateness, 1.0),
            p99 - control_p99,
            cpu_ns / 1e6,
            self.resident_kb as f64 / 1024.0,
        );
    }
}

/// The arguments of the command line.
struct Options {
    ticks: usize,
    /// A part of the name of the scenarios that run.
    only: String,
    builds: Vec<PathBuf>,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self { ticks: TICKS, only: String::new(), builds: Vec::new() };
        // cargo adds an argument of its own.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--ticks" => options.ticks = arguments.next().and_then(|ticks| ticks.parse().ok()).expect("a number"),
                "--only" => options.only = arguments.next().expect("a part of a name"),
                _ => options
                    .builds
                    .push(fs::canonicalize(&argument).unwrap_or_else(|error| panic!("{argument}: {error}"))),
            }
        }
        options
    }
}

fn main() {
    let options = Options::parse();
    if options.builds.is_empty() {
        return println!("lateness: not measured, since no program is named");
    }
    for (number, build) in options.builds.iter().enumerate() {
        println!("build {number}: {}", build.display());
    }
    println!("times in ms; p50, p99 and max are the lateness of native readings, cpu and switches are per tick\n");
    println!(
        "{:18} {:5} {:>6} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>8}",
        "scenario",
        "build",
        "ticks",
        "missed",
        "p50",
        "p99",
        "max",
        "control",
        "p99-con.",
        "cpu",
        "voluntary",
        "involunt.",
        "RSS MiB"
    );
    for scenario in scenarios().into_iter().filter(|scenario| scenario.name.contains(&options.only)) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        scenario.write(directory.path());
        let mut measured: Vec<Measured> = options.builds.iter().map(|_| Measured::default()).collect();
        for round in 0..ROUNDS {
            // The remainder goes to the first rounds.
            let ticks = (options.ticks + ROUNDS - 1 - round) / ROUNDS;
            for (number, build) in options.builds.iter().enumerate().filter(|_| ticks > 0) {
                let mut agent = Agent::start(build, directory.path(), &format!("cache-{number}"));
                agent.warm_up(scenario.plugins.len());
                measured[number].add_round(&mut agent, ticks);
            }
        }
        for (number, measured) in measured.iter_mut().enumerate() {
            measured.print(&scenario.name, &number.to_string());
        }
    }
}
