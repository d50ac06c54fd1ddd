//! The native metrics compared with psutil on this host, under load. A counter has to lie between two of psutil's readings,
//! to the last digit; the constants below say by how much gauges may differ.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::{DEADLINE, Sample, Setup, repository};
use crate::requirement::{self, Python};

/// More than one second, below which psutil's percentages are too low.
const INTERVAL: f64 = 2.0;

/// How many ticks are compared.
const TICKS: usize = 5;

/// How far percentages may be apart, in points, as a mean over the ticks: the two do not read at the same moment.
const POINTS: f64 = 5.0;

/// How far memory may be apart beyond psutil's readings around it, as a part of the total.
const MEMORY: f64 = 0.01;

/// How far idle and iowait may be apart beyond psutil's readings, in seconds: they go backwards by themselves.
const IDLE_SECONDS: f64 = 0.5;

/// Ends the load.
static STOP: AtomicBool = AtomicBool::new(false);

/// A Python process that prints psutil's readings.
struct Peer {
    child: Child,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Peer {
    fn start(python: &Python) -> Self {
        let script = repository().join("tests/it/psutil_peer.py");
        let mut command = python.command(&[script.to_str().expect("text"), &INTERVAL.to_string()]);
        command.stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        thread::spawn(move || {
            let parsed = stdout.lines().map_while(Result::ok).map(|line| serde_json::from_str(&line).expect("JSON"));
            parsed.into_iter().try_for_each(|line| sender.send(line))
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The last reading that ended before the first moment, and the first one that began after the second.
    fn around(&mut self, from: f64, to: f64) -> (&Value, &Value) {
        while self.seen.last().is_none_or(|line| time(line, "from") <= to) {
            self.seen.push(self.lines.recv_timeout(DEADLINE).expect("psutil prints another reading"));
        }
        let before = self.seen.iter().rev().find(|line| time(line, "to") < from).expect("psutil began earlier");
        (before, self.seen.last().expect("just read"))
    }

    /// The percentages at a tick, unless psutil was late for it.
    fn percentages(&self, tick: f64) -> Option<&Value> {
        let at_tick =
            |line: &&Value| !line["percentages"].is_null() && (time(line, "from") - tick).abs() < INTERVAL / 2.0;
        let line = self.seen.iter().find(at_tick)?;
        (time(line, "late") < 0.2).then_some(&line["percentages"])
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn time(line: &Value, key: &str) -> f64 {
    line[key].as_f64().expect("a number")
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after the epoch").as_secs_f64()
}

/// Keeps the host busy until [`STOP`]: a thread that computes, two that pass a byte back and forth, one that allocates and
/// frees memory.
fn load() {
    let is_on = || !STOP.load(Ordering::Relaxed);
    thread::spawn(move || {
        while is_on() {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(60) {
                black_box((0..10_000_u64).map(|number| number.wrapping_mul(number)).fold(0, u64::wrapping_add));
            }
            thread::sleep(Duration::from_millis(40));
        }
    });
    let pass = |from: rustix::fd::OwnedFd, to: rustix::fd::OwnedFd| {
        let (mut from, mut to) = (File::from(from), File::from(to));
        thread::spawn(move || {
            let mut byte = [0];
            while is_on() && from.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() {
                thread::sleep(Duration::from_micros(200));
            }
        });
    };
    let (first, second) = (rustix::pipe::pipe().expect("a pipe"), rustix::pipe::pipe().expect("a pipe"));
    rustix::io::write(&first.1, &[0]).expect("written");
    pass(first.0, second.1);
    pass(second.0, first.1);
    thread::spawn(move || {
        while is_on() {
            let memory = vec![1_u8; 200 << 20];
            thread::sleep(Duration::from_millis(700));
            drop(black_box(memory));
            thread::sleep(Duration::from_millis(700));
        }
    });
}

#[test]
fn native_numbers_equal_psutil() {
    let Some(python) = requirement::python("psutil") else { return };
    let mut peer = Peer::start(&python);
    load();
    let setup = Setup::with_config("interval = \"2s\"\n[cpu]\nper_core = true\n");
    let mut agent = setup.start(&[]);
    // Percentages need a tick before.
    agent.next();

    let mut apart: Vec<(String, Vec<f64>)> = Vec::new();
    for _ in 0..TICKS {
        let sample = agent.next();
        let tick = sample["agent"]["timestamp"].as_f64().expect("a number");
        let (before, after) = peer.around(tick, now());
        compare(&sample, before, after);
        if let Some(percentages) = peer.percentages(tick) {
            differences(&sample, percentages, &mut apart);
        }
    }
    STOP.store(true, Ordering::Relaxed);
    assert!(apart.len() > 10, "percentages were compared");
    for (name, points) in apart {
        let mean = points.iter().sum::<f64>() / points.len() as f64;
        assert!(mean <= POINTS, "{name} is {mean} points apart: {points:?}");
    }
}

/// Compares everything but percentages over the tick.
fn compare(sample: &Sample, before: &Value, after: &Value) {
    for module in ["cpu", "load", "memory", "swap"] {
        let (before, after) = (before[module].as_object().expect("a module"), &after[module]);
        let total = before.get("total").and_then(Value::as_f64).unwrap_or_default();
        for (name, before) in before {
            let (Some(before), Some(after)) = (before.as_f64(), after[name].as_f64()) else { continue };
            let ours = sample[module].get(name).unwrap_or_else(|| panic!("psutil has {module}.{name}"));
            let Some(ours) = ours.as_f64() else { panic!("{module}.{name} is {ours}, and psutil has {before}") };
            let slack = match (module, name.as_str()) {
                ("memory", "total") | ("swap", "total" | "sin" | "sout") => 0.0,
                ("memory", "percent") => 100.0 * MEMORY,
                ("memory", _) => MEMORY * total,
                ("cpu", "idle_seconds_total" | "iowait_seconds_total") => IDLE_SECONDS,
                ("cpu", "freq_current") => before / 4.0,
                // The kernel's file has two decimals, the system call that psutil makes has more.
                ("load", _) => 0.01,
                _ => 0.0,
            };
            let (low, high) = (before.min(after) - slack, before.max(after) + slack);
            // Seconds are sums of hundredths.
            let (low, high) = (low - 1e-6, high + 1e-6);
            assert!((low..=high).contains(&ours), "{module}.{name} is {ours}, and psutil has {before} to {after}");
        }
    }
}

/// Adds the differences of percentages over the tick, by name.
fn differences(sample: &Sample, percentages: &Value, apart: &mut Vec<(String, Vec<f64>)>) {
    let all = percentages["all"].as_object().expect("modes").iter().map(|(name, theirs)| (name.clone(), theirs));
    let each = percentages["each"].as_array().expect("CPUs").iter().enumerate().flat_map(|(cpu, modes)| {
        let modes = modes.as_object().expect("modes").iter();
        modes.map(move |(name, theirs)| (format!("{name}{{cpu=\"{cpu}\"}}"), theirs))
    });
    for (name, theirs) in all.chain(each) {
        let ours = sample["cpu"].get(&name).unwrap_or_else(|| panic!("psutil has cpu.{name}"));
        let points = (ours.as_f64().expect("time has passed") - theirs.as_f64().expect("a number")).abs();
        match apart.iter_mut().find(|(known, _)| *known == name) {
            Some((_, all)) => all.push(points),
            None => apart.push((name, vec![points])),
        }
    }
}
